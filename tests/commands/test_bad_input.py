"""What the commands refuse: exit code 2, one sentence that says what is wrong and where, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import flat_scores, refused, run

from lens_truth.cli import main
from lens_truth.scoring.scores import HeadScores

EXAMPLE = {"question": "What?", "answer": "this", "label": 1, "context": "All of it.", "group": "a"}


def rows(*changes: dict[str, Any]) -> str:
    """JSON lines: an example a change; None removes a field."""
    lines = [{key: value for key, value in (EXAMPLE | change).items() if value is not None} for change in changes]
    return "".join(json.dumps(line) + "\n" for line in lines)


BAD_DATA = {
    "no label": (rows({}, {"label": None}), "line 2: has no label"),
    "empty answer": (rows({}, {"answer": " "}), "1 of 2 answers are empty (first: line 2)"),
    "one class": (rows({}, {"group": "b"}), "all 2 examples are supported"),
    "few groups": (rows({}, {"label": 0}), "1 groups, fewer than the 5 folds"),
    "too long": (rows(*({"group": str(i), "label": i % 2, "context": "word " * 400} for i in range(12))), "12 of 12"),
    "not JSON": ("{]\n", "line 1: is not JSON"),
    "nothing": ("", "holds no rows"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_sentence_and_code_2(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path, case: str
) -> None:
    content, complaint = BAD_DATA[case]
    data, out = tmp_path / "bad.jsonl", tmp_path / "out"
    data.write_text(content)
    refused(capsys, complaint, "probe", "--model", tiny_folder, "--data", data, "--out", out)
    assert not [path for path in out.rglob("*") if path.is_file()]


def nan_scores(folder: Path) -> Path:
    values = np.full((3, 4), 0.5)
    values[1, 2] = np.nan
    np.save(folder / "nan.npy", values)
    return folder / "nan.npy"


def other_shape(folder: Path) -> Path:
    np.save(folder / "other.npy", np.full((5, 4), 0.5))
    return folder / "other.npy"


def causal_file(folder: Path) -> Path:
    HeadScores(np.full((3, 4), 0.5), "causal").save(folder / "causal.safetensors")
    return folder / "causal.safetensors"


BAD_GATES: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "NaN": (nan_scores, (), "layer 1, head 2 is nan"),
    "shape": (other_shape, (), "5 layers x 4 heads, the model 3 x 4"),
    "lambda": (flat_scores, ("--lam", "inf"), "lambda is inf"),
    "no lambda for causal scores": (causal_file, (), "causal scores have a scale of their own"),
    "missing scores": (lambda folder: folder / "none.npy", (), "there is no such file"),
    "not scores": (lambda folder: folder / "x.txt", (), ".safetensors, .npy, .csv"),
}


@pytest.mark.parametrize("case", BAD_GATES)
def test_bad_gates_are_refused_and_nothing_is_saved(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path, case: str
) -> None:
    make, flags, complaint = BAD_GATES[case]
    scores = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    flags = ("--model", tiny_folder, "--scores", scores, *flags, "--save", tmp_path / "gated")
    refused(capsys, complaint, "gate", *flags)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_a_gate_is_not_overwritten(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    flags = ("--model", tiny_folder, "--scores", flat_scores(tmp_path), "--save", precious)
    code, _, err = run(capsys, "gate", *flags)
    assert code == 2 and "was not written by this command" in err
    assert (precious / "thesis.tex").read_text() == "years of work"


@pytest.mark.zoo
def test_scores_of_another_shape_stop_an_ablation(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    flags = ("--model", "zoo:llama-memory", "--scores", flat_scores(tmp_path), "--limit", "40", "--questions", "8")
    code, _, err = run(capsys, "ablate", *flags, "--out", tmp_path / "out")
    assert code == 2 and "3 layers x 4 heads, the model 6 x 8" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.zoo
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("probe", "--model", "zoo:nobody"), "there is no model 'zoo:nobody' in the zoo"),
        (("probe", "--model", "./nowhere"), "there is no such folder"),
        (("probe", "--data", "zoo:poems"), "there is no data set 'zoo:poems'"),
        (("probe", "--data", "halueval:none.csv"), "none.csv: there is no such file"),
        (("probe", "--limit", "0"), "the limit is 0"),
        (("probe", "--seed", "-1"), "the seed is -1"),
        (("probe", "--limit", "20", "--permutations", "-1"), "-1 permutations"),
        (("probe", "--device", "meta", "--limit", "20"), "device 'meta' cannot be used"),
        (("probe", "--limit", "20", "--out", "/dev/null/x"), "/dev/null/x"),
        (("probe", "--batch-size", "0", "--limit", "20"), "the batch size is 0"),
        (("probe", "--device", "cuda:77", "--limit", "20"), "device 'cuda:77' cannot be used"),
        (("ablate", "--model"), "--model is given no value"),
        (("check", "--device", "meta"), "device 'meta' cannot be used"),
        (("check", "zoo:nobody"), "there is no model 'zoo:nobody' in the zoo"),
        (("zoo", "train", "gpt5"), "there is no recipe 'gpt5'"),
        (("juggle",), "there is no command 'juggle'"),
    ],
)
def test_other_mistakes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, complaint, *arguments)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_unknown_flags_are_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["probe", "--frobnicate"])
    assert stop.value.code == 2


def test_a_broken_checkpoint_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    (broken / "model.safetensors").write_bytes(b"\x08")
    refused(capsys, "cannot be loaded", "probe", "--model", broken, "--limit", "20", "--out", tmp_path / "out")


@pytest.mark.zoo
def test_a_mistake_found_late_is_still_one_line(tmp_path: Path) -> None:
    """In a real process, after a model has been loaded: no warning, progress bar or traceback beside the sentence."""
    save = tmp_path / "gated"
    flags = ["--scores", "truth", "--limit", "40", "--lam", "nan", "--save", str(save)]
    done = subprocess.run([sys.executable, "-m", "lens_truth.gate", *flags], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: lambda is nan; it must be a finite number\n"
    assert not save.exists()
