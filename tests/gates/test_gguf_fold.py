"""Folding a gate into a GGUF file: what of the file changes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import flat_scores, refused, run

pytest.importorskip("gguf")

from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGMLQuantizationType
from gguf_writer import projections, random_blocks, tiny, write_gguf

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.io.runs import read_record

SIZES = {"vocab_size": 96, "hidden_size": 256, "intermediate_size": 96, "num_hidden_layers": 3}
L, H = 3, 4
GATE = HeadGate(1 + 0.5 * torch.rand(L, H, generator=torch.Generator().manual_seed(0)))


def model_file(path: Path, projection: str = "Q4_0") -> Path:
    hf = tiny("llama", **SIZES, num_attention_heads=H, num_key_value_heads=2, max_position_embeddings=64)
    return write_gguf(path, hf, exchanged=projections(hf, projection))


def bare_file(path: Path, *, d_head: int = 64, kind: str = "Q8_0", arch: str = "llama", **entries: Any) -> Path:
    """Three layers with nothing but random output projections."""
    writer = GGUFWriter(path, arch)
    for key, value in {"block_count": 3, "attention.head_count": 4, **entries}.items():
        if isinstance(value, list):
            writer.add_array(f"{arch}.{key}", [*map(int, value)])
        else:
            writer.add_uint32(f"{arch}.{key}", value)
    for layer in range(3):
        blocks = random_blocks(np.random.default_rng(layer), kind, 8, 4 * d_head // (256 if kind.endswith("K") else 32))
        writer.add_tensor(
            f"blk.{layer}.attn_output.weight", blocks.reshape(8, -1), raw_dtype=GGMLQuantizationType[kind]
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_nothing_but_output_projections_changes(tmp_path: Path) -> None:
    source = model_file(tmp_path / "it.gguf")
    before = source.read_bytes()
    GATE.fold_into_gguf(source, tmp_path / "new" / "gated.gguf")
    after = (tmp_path / "new" / "gated.gguf").read_bytes()
    assert source.read_bytes() == before and len(after) == len(before)
    projections = np.zeros(len(before), bool)
    for tensor in GGUFReader(source).tensors:
        if "attn_output" in tensor.name:
            projections[tensor.data_offset : tensor.data_offset + tensor.n_bytes : 18] = True
    changed = np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)
    assert changed.sum() > projections.sum() / 2
    assert not changed[~(projections | np.roll(projections, 1))].any()  # two bytes of each block of 18
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gated.gguf"]


def test_a_gate_of_ones_is_the_same_file(tmp_path: Path) -> None:
    source = model_file(tmp_path / "it.gguf")
    fold = HeadGate(torch.ones(L, H)).fold_into_gguf(source, tmp_path / "same.gguf")
    assert (tmp_path / "same.gguf").read_bytes() == source.read_bytes()
    assert (fold.largest, fold.rms, fold.formats) == (0, 0, {"Q4_0": L})


REFUSED: dict[str, tuple[dict[str, Any], torch.Tensor, str]] = {
    "other model": ({}, torch.ones(2, 4), "2 layers x 4 heads, the model 3 x 4"),
    "batch of gates": ({}, torch.ones(2, 3, 4), "a batch axis"),
    "blocks over two heads": ({"d_head": 80}, GATE.values, "Q8_0, whose blocks of 32 weights"),
    "both signs in a block": ({"kind": "Q4_K"}, GATE.values * torch.tensor([1, -1, 1, 1]), "or one without a sign"),
    "too large": ({}, GATE.values * 1e9, "float16 cannot hold its scales times gates of up to 1"),
    "too small": ({}, GATE.values * 1e-6, "weights move by"),
    "heads in another order": ({"arch": "plamo"}, GATE.values, "hold its heads in another order"),
    "layers of several kinds": ({"attention.head_count": [4, 4, 2]}, GATE.values, "[4, 4, 2], and not one number"),
    "no layers": ({"block_count": 0}, GATE.values, "holds no blk.N.attn_output.weight"),
    "heads that do not fit": ({"attention.head_count": 3}, torch.ones(3, 3), "the 256 numbers of blk.0.attn_output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_folded_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    entries, values, complaint = REFUSED[case]
    source = bare_file(tmp_path / "it.gguf", **entries)
    with pytest.raises(InputError) as refusal:
        HeadGate(values).fold_into_gguf(source, tmp_path / "gated.gguf")
    assert complaint in str(refusal.value) and len(str(refusal.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == [source]


def test_the_file_itself_is_never_the_target(tmp_path: Path) -> None:
    source = bare_file(tmp_path / "it.gguf")
    (tmp_path / "link.gguf").symlink_to(source)
    (tmp_path / "hard.gguf").hardlink_to(source)
    for target in ("it.gguf", "link.gguf", "hard.gguf"):
        with pytest.raises(InputError, match="is the file that the gate is to be folded into"):
            GATE.fold_into_gguf(source, tmp_path / target)


@pytest.mark.parametrize(
    "entries", [{"nextn_predict_layers": 1}, {"attention.head_count_kv": [2, 2, 0], "attention.head_count": [4, 4, 4]}]
)
def test_layers_without_attention_or_for_further_tokens_are_not_gated(entries: Any, tmp_path: Path) -> None:
    source = bare_file(tmp_path / "it.gguf", **entries)
    assert HeadGate(GATE.values[:2]).fold_into_gguf(source, tmp_path / "gated.gguf").formats == {"Q8_0": 2}
    before, after = (GGUFReader(tmp_path / name).tensors for name in ("it.gguf", "gated.gguf"))
    assert [np.array_equal(a.data, b.data) for a, b in zip(before, after, strict=True)] == [False, False, True]


def test_the_command_writes_a_file_with_its_gate_beside_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, save = model_file(tmp_path / "it.gguf"), tmp_path / "gated.gguf"
    scores = tmp_path / "scores.npy"
    np.save(scores, np.random.default_rng(0).uniform(0.4, 0.9, (L, H)))
    flags = ("--model", source, "--scores", scores, "--lam", "1", "--save", save)
    for _ in range(2):  # its own file may be replaced
        code, said, _ = run(capsys, "gate", *flags)
        assert code == 0 and "3 as Q4_0" in said and "of half a quantisation step" in said
    gate = HeadGate.load(tmp_path / "gated.gate" / "gate.safetensors")
    fold = gate.fold_into_gguf(source, tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == save.read_bytes() != source.read_bytes()
    record = read_record(tmp_path / "gated.gate")
    assert record.results["gguf"] == {"formats": {"Q4_0": 3}, "largest": fold.largest, "rms": fold.rms}
    assert 0 < fold.rms < 0.01 and len(record.value["hashes"]) == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_command_overwrites_no_file_of_others(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    source, scores = bare_file(tmp_path / "it.gguf"), flat_scores(tmp_path)
    (other := tmp_path / "other.gguf").write_bytes(b"precious")
    flags = ("--scores", scores, "--lam", "1", "--save")
    refused(capsys, "is the file of the model itself", "gate", "--model", source, *flags, source)
    refused(capsys, "was not written by this command", "gate", "--model", source, *flags, other)
    refused(capsys, "a GGUF file is made of one", "gate", "--model", tiny_folder, *flags, tmp_path / "new.gguf")
    assert other.read_bytes() == b"precious" and not list(tmp_path.glob("*.gate"))
