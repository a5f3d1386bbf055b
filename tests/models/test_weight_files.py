"""What lies in a folder in the place of whole weights is told by what it is, with what to do, and no code is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import build
from safetensors.torch import load_file, save_file

from lens_truth.errors import DataWarning, InputError
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.loading import load_plain, load_tokenizer
from lens_truth.models.names import model_source

WEIGHTS, BIN, INDEX = "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
RUNS_CODE = "raise SystemExit('code of the checkpoint was run')\n"
DEEP = '{"a":' * 9999
"""More objects in one another than Python follows."""
Change = Callable[[Path], Any]


class Code:
    def __reduce__(self) -> Any:
        return exec, (RUNS_CODE,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build("llama").save_pretrained(tmp_path / "it")
    return tmp_path / "it"


def pickled(extra: Any = None) -> Change:
    def change(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        torch.save(held if extra is None else extra(held), folder / BIN)

    return change


def parts(folder: Path) -> None:
    held = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(held)
    places = {name: PARTS[name > names[9]] for name in names}
    for part in PARTS:
        save_file({name: held[name] for name in names if places[name] == part}, folder / part, {"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def without(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def named(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / WEIGHTS).rename(folder / name)

    return change


def half(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:5000])


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def whole_numbers(folder: Path) -> None:
    held = load_file(folder / WEIGHTS)
    save_file({name: its.mul(100).to(torch.int8) for name, its in held.items()}, folder / WEIGHTS, {"format": "pt"})


REFUSED: dict[str, tuple[Change, str]] = {
    "a part": (both(parts, without(PARTS[1])), rf"1 of the 2 files .*index.json names are not there .*{PARTS[1]}\)"),
    "index": (both(parts, without(INDEX)), rf"the index that belongs to {PARTS[0]} .* is not there: fetch it too"),
    "deep index": (both(parts, lambda folder: (folder / INDEX).write_text(DEEP)), "is not an index of weight files"),
    "variant": (named("model.fp16.safetensors"), r"model.fp16.safetensors is a variant of it: load it with Transf"),
    "part of a variant": (named("model.fp16-00001-of-00002.safetensors"), "of-00002.safetensors is a variant of it"),
    "name": (named("weights.safetensors"), "weights.safetensors has another name: .* rename it"),
    "Mistral": (named("consolidated.safetensors"), "in another format than Hugging Face's: convert it"),
    "Meta": (named("original/consolidated.00.pth"), "original is in another format"),
    "TensorFlow": (named("tf_model.h5"), "load it with the Transformers that wrote it"),
    "DeepSpeed": (named("global_step10/mp_rank_00_model_states.pt"), "saved: gather the parts"),
    "nothing": (without(WEIGHTS), "beside config.json no weights are there: fetch them too"),
    "pointer": (lambda folder: (folder / WEIGHTS).write_bytes(POINTER), "is a pointer to what it should be: `git lfs"),
    "cut off": (half(WEIGHTS), f"{WEIGHTS}: is cut off after 5000 bytes: fetch it anew"),
    "empty": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "is cut off after 0 bytes"),
    "pickle cut off": (both(pickled(), half(BIN)), f"{BIN}: is cut off after 5000 bytes"),
    "whole numbers": (whole_numbers, r"holds whole numbers \(lm_head.weight: I8\), and config.json says nothing"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_before_anything_is_loaded(name: str, folder: Path) -> None:
    change, complaint = REFUSED[name]
    change(folder)
    with pytest.raises(InputError, match=complaint):
        model_source(str(folder))


LOADED: dict[str, tuple[Change, str]] = {
    "deep": (
        lambda folder: (folder / WEIGHTS).write_bytes(len(DEEP).to_bytes(8, "little") + DEEP.encode() + b" "),
        "cannot be loaded",
    ),
    "code": (
        pickled(lambda held: {**held, "more": Code()}),
        "holds more than tensors, or is damaged; nothing in it is",
    ),
    "a level deeper": (
        pickled(lambda held: {"state_dict": held}),
        r"hold 1 .*\(state_dict\); the tensors lie one level",
    ),
}


@pytest.mark.parametrize("name", list(LOADED))
def test_when_it_is_loaded(name: str, folder: Path) -> None:
    change, complaint = LOADED[name]
    change(folder)
    with pytest.raises(InputError, match=complaint):
        load_plain(str(folder))
    with pytest.raises(InputError):
        open_checkpoint(folder)


def test_an_old_pickle_is_read(folder: Path) -> None:
    pickled()(folder)
    held = torch.load(folder / BIN)
    torch.save(held, folder / BIN, _use_new_zipfile_serialization=False)
    assert torch.equal(open_checkpoint(folder).projection(1, "q"), held["model.layers.1.self_attn.q_proj.weight"])
    assert torch.equal(load_plain(str(folder)).lm_head.weight, held["lm_head.weight"])


def with_code(folder: Path, **config: Any) -> None:
    entries = json.loads((folder / "config.json").read_text())
    entries |= {"auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}, **config}
    (folder / "config.json").write_text(json.dumps(entries))
    (folder / "code.py").write_text(RUNS_CODE)


def test_code_of_a_checkpoint_is_not_run(folder: Path) -> None:
    with_code(folder)
    with pytest.warns(DataWarning, match="brings code of its own, which is not run: it is read as LlamaForCausalLM"):
        load_plain(str(folder))
    with_code(folder, model_type="mine")
    for read in (load_plain, open_checkpoint):
        with pytest.raises(InputError, match=r"runs only under `trust_remote_code=True` \(`--trust-remote-code`\)"):
            read(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["code.T", None]}}))
    with pytest.raises(InputError, match=r"the tokenizer of .*runs only under `trust_remote_code=True`"):
        load_tokenizer(str(folder))


def test_a_folder_with_a_part_of_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"holds no tokenizer.json or tokenizer.model \(or vocab.json with merges.txt\)"
    ):
        load_tokenizer(str(folder))


def test_pieces_that_are_cut_otherwise_are_told(folder: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    lines = iter(["a b c d the cat sat"] * 50 + ["red blue green"] * 20)
    with (folder / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=file, vocab_size=40, minloglevel=5, hard_vocab_limit=False
        )
    with pytest.warns(
        DataWarning, match=r"tokenizer.model alone otherwise than SentencePiece: 'the cat' as \[.*not \["
    ):
        load_tokenizer(str(folder))
