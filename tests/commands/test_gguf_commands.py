"""Commands take a GGUF file where they take a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import build, flat_scores, run

pytest.importorskip("gguf")

from gguf_writer import write_gguf

import lens_truth

pytestmark = pytest.mark.usefixtures("no_pdfs")


@pytest.fixture(scope="module")
def files(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model as a folder and as a GGUF file."""
    folder, hf = tmp_path_factory.mktemp("both"), build("llama-gqa-head-dim", len(tokenizer))
    hf.save_pretrained(folder / "folder")
    tokenizer.save_pretrained(folder / "folder")
    return folder / "folder", write_gguf(folder / "it.gguf", hf, tokenizer=tokenizer)


def test_check(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", files[1])
    assert code == 0 and "LlamaForCausalLM, 3 layers x 4 query heads of width 12 (2 key-value heads), float32" in out


def test_probe_gives_the_folder_s_scores(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records: list[Any] = []
    for number, model in enumerate(files):
        out = tmp_path / str(number)
        code, _, err = run(capsys, "probe", "--model", model, "--limit", "40", "--permutations", "0", "--out", out)
        assert code == 0, err
        records.append(json.loads((out / "result.json").read_text()))
    ours, theirs = (record["hashes"]["weights"] for record in records)
    assert ours == theirs
    assert (tmp_path / "0" / "scores.csv").read_text() == (tmp_path / "1" / "scores.csv").read_text()


def test_gate_saves_a_folder(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = flat_scores(tmp_path)
    saved: list[bytes] = []
    for number, model in enumerate(files):
        save = tmp_path / f"gated-{number}"
        code, _, err = run(
            capsys, "gate", "--model", model, "--scores", scores, "--lam", "2", "--norm", "none", "--save", save
        )
        assert code == 0, err
        saved.append((save / "model.safetensors").read_bytes())
        assert (save / "tokenizer.json").is_file()
    assert saved[0] == saved[1]


def test_it_can_be_compared_with_a_folder(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = files
    similarity = lens_truth.weight_similarity(folder, file)
    for side in "qkvo":
        assert np.allclose(getattr(similarity, side), 1)
    how = ("--scores", "truth", "--data", "zoo:conflict", "--limit", "40", "--permutations", "99", "--out", tmp_path)
    code, out, err = run(capsys, "inherit", f"a={folder}", f"b={file}", *how)
    assert code == 0 and re.search(r"a\W+b\W+1.000", out), (out, err)
