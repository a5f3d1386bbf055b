"""`lens-truth neurons`: what it writes, that others read it, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refused, run
from sklearn import metrics

import lens_truth

roc_auc_score: Any = metrics.roc_auc_score
FLAGS = ("neurons", "--data", "zoo:conflict", "--limit", "60", "--random", "2", "--nulls", "1", "--three-vs-one")


def test_it_finds_neurons_and_writes_the_published_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, said, _ = run(capsys, *FLAGS, "--out", out)
    assert code == 0
    names = {"activations", "neurons.json", "neurons.csv", "neurons.safetensors", "neurons.png", "neurons.pdf"}
    assert {path.name for path in out.iterdir()} == names | {"result.json"}
    found = lens_truth.NeuronStudy.load(out)
    assert found.worth["found neurons"].auroc.value > 0.9 and "found neurons, 3-vs-1" in found.worth
    assert all(sentence in said for sentence in found.verdicts())
    sets = {suffix: lens_truth.NeuronSet.load(out / f"neurons.{suffix}") for suffix in ("json", "csv", "safetensors")}
    published = json.loads((out / "neurons.json").read_text())
    assert sum(len(its) for its in published.values()) == len(sets["json"]) == len(sets["csv"]) == found.n_positive > 0
    assert published == sets["safetensors"].positive.by_layer()
    assert sets["safetensors"].weight.tolist() == list(found.weight)
    (folder,) = (out / "activations").iterdir()
    activity = lens_truth.NeuronActivity.load(folder)
    decided = sets["safetensors"].decision(activity)
    assert roc_auc_score(1 - activity.labels.numpy(), decided) > 0.95  # answers that it was fitted to
    assert np.isfinite(decided).all() and activity.others is not None
    page = lens_truth.write_report([out], out=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Hallucinated against right answers" in page and "H-neuron" in page


def test_replies_of_other_files_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--test", "zoo:conflict/test", "--tokens", "reply", "--nulls", "0")
    assert run(capsys, *FLAGS, *more, "--out", tmp_path / "out")[0] == 0
    found = lens_truth.NeuronStudy.load(tmp_path / "out")
    assert found.judged_on is not None and found.judged_on.answers == 60 and not found.null


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--folds", "1"), "1 folds were asked for; at least 2 are needed"),
        (("--limit", "0"), "limit"),
        (("--nulls", "-1"), "-1 draws of shuffled labels were asked for; 0 is the least"),
        (("--random", "-2"), "-2 random sets were asked for; 0 is the least"),
    ],
)
def test_what_it_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], complaint: str
) -> None:
    refused(capsys, complaint, *FLAGS, *flags, "--out", tmp_path / "out")


def test_answers_of_one_kind_are_refused_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question_id": f"q{n}", "question": f"What is {n}?", "answer": {"value": f"v{n}"}} for n in range(9)]
    (tmp_path / "trivia.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = "trivia.jsonl are right, and neurons are found in both kinds: `lens-truth neurons sample` asks a model"
    refused(capsys, told, "neurons", "--data", f"triviaqa:{tmp_path}/trivia.jsonl", "--out", tmp_path / "out")
