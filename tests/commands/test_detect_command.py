"""`lens-truth detect`: what it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from conftest import refused, run

from lens_truth.detection.result import Detection
from lens_truth.detection.texts import ScoredTexts
from lens_truth.scoring.detector import Detector
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.scores import HeadScores

pytestmark = [pytest.mark.zoo, pytest.mark.usefixtures("no_pdfs")]
CAPTURED = pytest.CaptureFixture[str]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    rows = [
        {"prompt": "What colour is the heart?", "answer": answer, "context": "The coral heart is in the attic."}
        for answer in ("coral", "amber")
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_then_texts(tmp_path: Path, capsys: CAPTURED, answers: Path) -> None:
    out = tmp_path / "out"
    code, said, err = run(capsys, "detect", "--data", "zoo:conflict", "--limit", "200", "--text", answers, "--out", out)
    assert code == 0, err
    found, probes = Detection.load(out), HeadProbes.load(out / "probes.safetensors")
    assert Detector.of(probes).heads == found.detector.heads
    written = re.search(f"written to {out}/: (.*) \\(each", said)
    assert written is not None
    names = written[1].split(", ")
    assert {"probes.safetensors", "scores.csv", "tokens.jsonl", "detection.png", "texts.csv", "texts.jsonl"} < {*names}
    assert all((out / name).stat().st_size for name in names)
    lines = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert len(lines) == found.parts["test"].rows
    right = [(float(its["score"]) > found.detector.threshold) == (its["label"] == "1") for its in lines]
    assert sum(right) / len(right) == pytest.approx(found.measures["accuracy"].value)
    assert len((out / "tokens.jsonl").read_text().splitlines()) == len(lines)
    record = json.loads((out / "result.json").read_text())
    assert record["results"]["verdicts"] == found.verdicts() and record["hashes"]["examples"]
    (title, scores), *rest = record["results"]["head_scores"].items()
    assert "training part" in title and not rest and HeadScores.from_dict(scores, "").kind == "truth"
    record = HeadScores.from_dict(scores, "").provenance["matched"]
    assert record["of"] == found.parts["train"].rows and "truth scores of the training part: " in said
    for sentence in found.verdicts():
        assert sentence in said
    texts = ScoredTexts.load(out)
    assert texts.n == 2 and texts.detector.heads == found.detector.heads

    again = tmp_path / "again"
    code, said, err = run(capsys, "detect", "--text", answers, "--probes", out / "probes.safetensors", "--out", again)
    assert code == 0, err
    assert (again / "texts.csv").read_text() == (out / "texts.csv").read_text() and "WARNING" not in said
    assert not (again / "scores.csv").exists()


def test_a_descendant_by_probes_of_its_base(tmp_path: Path, capsys: CAPTURED) -> None:
    probed = tmp_path / "probed"
    code, _, err = run(capsys, "probe", "--data", "zoo:conflict", "--limit", "80", "--permutations", "0", "--layers",
                       "--out", probed)  # fmt: skip
    assert code == 0, err
    given = ("--probes", probed / "probes.safetensors", "--layers", probed / "layers.safetensors")
    flags = ("detect", "--model", "zoo:llama-chat", "--data", "zoo:conflict", "--limit", "240", *given)
    refused(capsys, "other weights", *flags, "--out", tmp_path / "out")
    code, said, err = run(capsys, *flags, "--descendant", "--out", tmp_path / "out")
    assert code == 0, err
    assert "the probes have seen" in said and Detection.load(tmp_path / "out").worth["best layer"].trials == 1


def test_texts_by_probes_without_a_choice(tmp_path: Path, capsys: CAPTURED) -> None:
    probed, letter = tmp_path / "probed", tmp_path / "letter.txt"
    letter.write_text("The coral heart is in the attic.")
    assert run(capsys, "probe", "--limit", "80", "--permutations", "0", "--out", probed)[0] == 0
    code, said, err = run(
        capsys, "detect", "--text", letter, "--probes", probed / "probes.safetensors", "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert "no heads were chosen for these probes: the mean of the 16 best" in said
    (its,) = ScoredTexts.load(tmp_path / "out").answers
    assert its.n_tokens >= 6 and its.question == ""


def test_refused(tmp_path: Path, capsys: CAPTURED, answers: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused(capsys, "--text is scored by probes", "detect", "--text", answers, *out)
    refused(capsys, "there is no such file", "detect", "--text", tmp_path / "none.jsonl", "--data", "zoo:text", *out)
    refused(capsys, "there is no such file", "detect", "--probes", tmp_path / "none.safetensors", *out)
    refused(capsys, "holds no readable probes", "detect", "--probes", answers, *out)
    refused(capsys, "--layers belongs to --probes", "detect", "--layers", answers, *out)
    refused(capsys, "--limit leaves rows of --data out", "detect", "--text", answers, "--probes", answers, "--limit",
            "3", *out)  # fmt: skip
    refused(capsys, "groups are too few", "detect", "--limit", "2", *out)
    assert not (tmp_path / "out" / "result.json").exists()
