"""What is no language model in a GGUF file, or no whole one: one sentence, whatever the bytes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build, refused

pytest.importorskip("gguf")

from gguf import GGUFWriter
from gguf_writer import write_gguf

from lens_truth.errors import InputError
from lens_truth.models import gguf_header
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.loading import load_plain, load_tokenizer
from lens_truth.models.names import model_source


def llama(path: Path, **more: Any) -> None:
    write_gguf(path, build("llama", num_hidden_layers=2), **more)


def bare(path: Path, arch: str, **entries: str) -> None:
    """A file of one tensor."""
    writer = GGUFWriter(path, arch)
    for key, value in entries.items():
        writer.add_string(key.replace("_", "."), value)
    writer.add_tensor("v.patch_embd.weight", np.zeros((4, 4), np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()


def cut_off(path: Path) -> None:
    llama(path)
    path.write_bytes(path.read_bytes()[:-4000])


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "vision tower": (lambda path: bare(path, "clip"), "is a vision tower alone; give the language model"),
    "projector": (lambda path: bare(path, "llava", general_type="mmproj"), "is a vision tower alone"),
    "adapter": (
        lambda path: bare(path, "llama", general_type="adapter", adapter_type="lora"),
        "is an adapter without the model it is for: merge it with llama.cpp's `llama-export-lora`",
    ),
    "architecture": (
        lambda path: bare(path, "rwkv6"),
        r"its architecture 'rwkv6' is not among those that are read from GGUF \(bloom, falcon, gemma2,",
    ),
    "no words": (lambda path: bare(path, "llama"), "lacks token_embd.weight, so it is no language model"),
    "cut off": (
        cut_off,
        r"is not a readable GGUF file \(it is cut off: tensor \S+ ends at byte \d+, the file at \d+\)",
    ),
    "empty": (lambda path: path.touch(), r"is not a readable GGUF file \(cannot mmap an empty file\)"),
    "something else": (lambda path: path.write_text("<html>"), r"\(it does not begin with GGUF\)"),
    "version 1": (lambda path: path.write_bytes(b"GGUF\1\0\0\0" + bytes(99)), "its version is 1; 2 and 3 are read"),
    "layers": (lambda path: llama(path, block_count=9), "its metadata say 9 layers, and it holds tensors of 2"),
    "sizes": (
        lambda path: llama(path, feed_forward_length=2**31),
        r"describe a model of \d+ numbers, and its tensors hold \d+",
    ),
    "shapes": (lambda path: llama(path, feed_forward_length=64), "hold 6 of another shape"),
    "scale": (
        lambda path: llama(path, logit_scale=16.0),
        "llama.logit_scale is 16.0, for which Transformers' llama has",
    ),
    "rotation": (lambda path: llama(path, **{"rope.scaling.type": "su"}), "are scaled by 'su', which is not read"),
    "part of a head": (
        lambda path: llama(path, **{"attention.key_length": 8, "rope.dimension_count": 4}),
        "rotates 4 of the 8 numbers of a head",
    ),
    "heads": (
        lambda path: llama(path, **{"attention.head_count_kv": [4, 2]}),
        "its layers differ in num_key_value_heads, for which Transformers has no place",
    ),
    "no sizes": (lambda path: llama(path, embedding_length=None), "its metadata lack embedding_length; give the"),
    "no config": (lambda path: llama(path, context_length="long"), "its metadata make no config"),
    "more tensors": (
        lambda path: write_gguf(path, build("llama"), more={"blk.0.attn_q_norm.weight": np.ones(8, np.float32)}),
        r"holds 1 tensors for which LlamaForCausalLM has no place \(blk.0.attn_q_norm.weight\)",
    ),
    "a tensor less": (
        lambda path: write_gguf(path, build("llama"), without="blk.1.ffn_up.weight"),
        r"does not load whole as LlamaForCausalLM: its files lack 1 of its \d+ tensors \(model.layers.1.mlp.up_proj",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_rightly_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, complaint = REFUSED[name]
    make(tmp_path / "it.gguf")
    with pytest.raises(InputError, match=complaint):
        load_plain(str(tmp_path / "it.gguf"))
    if name == "cut off":
        refused(capsys, "is not a readable GGUF file (it is cut off: tensor", "check", tmp_path / "it.gguf")


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"model 'it.gguf': there is no such file"):
        model_source("it.gguf")
    (tmp_path / "a.gguf").touch()
    (tmp_path / "b.gguf").touch()
    with pytest.raises(InputError, match=r"holds 2 GGUF files; give one of them \(a.gguf, b.gguf\)"):
        model_source(str(tmp_path))


def test_without_gguf_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llama(tmp_path / "it.gguf")
    monkeypatch.setattr(gguf_header, "find_spec", lambda name: None)
    for read in (load_plain, load_tokenizer, open_checkpoint):
        with pytest.raises(
            InputError, match=r"is a GGUF file, which is read with gguf: `pip install lens-truth\[gguf\]`"
        ):
            read(str(tmp_path / "it.gguf"))


def test_damage_is_told_or_does_no_harm(tokenizer: Any, tmp_path: Path) -> None:
    """Whatever bytes of the head are exchanged, and wherever the file ends: a model or one sentence."""
    path = write_gguf(tmp_path / "it.gguf", build("llama", len(tokenizer), num_hidden_layers=1), tokenizer=tokenizer)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    head = whole.index(b"token_embd.weight") + 2000
    outcomes = {"read": 0, "refused": 0}
    for number in range(75):
        damaged = bytearray(whole)
        if number % 3 == 0:
            damaged = damaged[: random.integers(head)]
        else:
            for at in random.integers(0, head if number % 3 == 1 else 900, random.integers(1, 4)):
                damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        for read in (load_plain, load_tokenizer):
            try:
                read(str(path))
                outcomes["read"] += 1
            except InputError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 10
    assert torch.get_default_dtype() == torch.float32
