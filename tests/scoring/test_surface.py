"""What length makes of causal scores: records counted by hand, controls against what is written out, and warnings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import run

from lens_truth.ablation.result import Ablation
from lens_truth.data.examples import Example, question_pairs, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.data.moved import moved_answers
from lens_truth.models.hooks import constant_weights, gate_heads
from lens_truth.scoring.causal import answer_log_probs, causal_scores, encode_answers
from lens_truth.scoring.learned import learned_gate
from lens_truth.scoring.learned_forms import Learning
from lens_truth.scoring.surface import length_record, length_warning


def test_lengths_by_hand() -> None:
    pairs = [([0], [1]), ([2], [3, 4]), ([5], [6]), ([7], [8])]
    found = length_record(pairs, np.array([1, 2, 3, 4, 8, 5, 5, 6, 3.0]))
    assert found["shorter"] == 0.625
    assert found["length_ratio"] == pytest.approx((2 * 2 * 1 * 0.5) ** 0.25)


def test_controls_are_what_their_words_say(tiny: Any) -> None:
    """Per token and over questions whose answers are as long, written out."""
    examples = load_examples("zoo:text", limit=40)
    examples[:9] = [e if e.label else replace(e, answer=f"the {e.answer} in the attic") for e in examples[:9]]
    scores = causal_scores(tiny, examples)
    encoded, pairs = encode_answers(tiny, examples, "plain"), question_pairs(examples)
    tokens = np.array([e.answer[1] - e.continuation for e in encoded])

    def mean_margin(questions: Any, divide: bool) -> np.ndarray:
        gate = torch.ones(3, 4, requires_grad=True)
        with constant_weights(tiny), gate_heads(tiny, gate):
            log_prob = answer_log_probs(tiny, encoded)
        log_prob = log_prob / torch.tensor(tokens) if divide else log_prob
        margins = torch.stack([log_prob[right].mean() - log_prob[wrong].mean() for right, wrong in questions])
        return torch.autograd.grad(margins.mean(), gate)[0].numpy()

    alike = [p for p in pairs if max(tokens[[*p[0], *p[1]]]) < 1.25 * min(tokens[[*p[0], *p[1]]])]
    assert scores.provenance["surface"]["n_matched"] == len(alike) >= 10 and len(alike) < len(pairs)
    np.testing.assert_allclose(scores.metrics["per_token"], mean_margin(pairs, True), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(scores.metrics["matched"], mean_margin(alike, False), rtol=1e-3, atol=1e-5)
    r = np.corrcoef(scores.values.ravel(), scores.metrics["per_token"].ravel())[0, 1]
    assert scores.provenance["surface"]["r_per_token"] == pytest.approx(r)
    assert learned_gate(tiny, examples, learning=Learning(steps=1)).provenance["surface"].keys() == {
        "shorter",
        "length_ratio",
    }


def test_moved_answers_belong_to_other_groups() -> None:
    examples = load_examples("zoo:text", limit=40)
    by_id, home = {e.id: e for e in examples}, {(e.context, e.question): e.group for e in examples}
    moved = moved_answers(examples)
    assert len(moved) == sum(len(right + wrong) for right, wrong in question_pairs(examples))
    for example in moved:
        old = by_id[example.id]
        assert (example.answer, example.label, example.group) == (old.answer, old.label, old.group)
        assert home[example.context, example.question] != old.group
    assert len(moved_answers(examples, 3)) == 6
    assert moved_answers([e for e in examples if e.group == examples[0].group]) == []


def test_warnings_say_which_is_longer() -> None:
    assert length_warning("causal", None) is None
    assert length_warning("causal", {"shorter": 0.6, "length_ratio": 3.0}) is None
    said = length_warning("causal", {"shorter": 0.9, "length_ratio": 5.0, "r_per_token": None, "r_moved": 0.43})
    assert said is not None and "the shorter one in .900" in said.replace("0.", ".") and "5.0 times" in said
    assert "0.430 with those of the same answers moved" in said and "per token" not in said
    said = length_warning("learned", {"shorter": 0.2, "length_ratio": 0.5})
    assert said is not None and "the longer one in 0.800" in said and "2.0 times" in said


def long_answers(path: Path, n: int) -> Path:
    """So many questions whose supported answers are the shorter ones."""
    long = [
        Example(f"{i}{label}", str(i), f"What is the {i}?", "coral" if label else "the white heart in the vault", label)
        for i in range(n)
        for label in (1, 0)
    ]
    write_examples(path, long)
    return path


@pytest.mark.usefixtures("no_pdfs")
def test_probe_warns_of_causal_scores_that_length_makes(tiny_folder: Path, tmp_path: Path, capsys: Any) -> None:
    flags = ["probe", "--model", tiny_folder, "--scores", "causal", "--out", tmp_path / "out"]
    code, out, err = run(capsys, *flags, "--data", long_answers(tmp_path / "long.jsonl", 6))
    assert code == 0 and "SURFACE CONFOUND" in out + err
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert any("moved to other questions" in sentence for sentence in record["warnings"])
    assert any(sentence.startswith("intervals rest on 6 groups of examples") for sentence in record["warnings"])
    assert record["results"]["surface"]["shorter"] == 1 and -1 <= record["results"]["surface"]["r_moved"] <= 1


@pytest.mark.usefixtures("no_pdfs")
def test_ablate_warns_of_scores_that_length_makes(
    tiny_folder: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    plot = Ablation.plot

    def watched(self: Ablation, what: str = "gates", warning: str = "") -> Any:
        drawn.append(warning)
        return plot(self, what, warning)

    monkeypatch.setattr(Ablation, "plot", watched)
    flags = ["--model", tiny_folder, "--scores", "causal", "learned", "--trials", "1", "--new-tokens", "1"]
    data = long_answers(tmp_path / "long.jsonl", 30)
    code, out, _ = run(capsys, "ablate", *flags, "--data", data, "--out", tmp_path / "out")
    assert code == 0
    warnings = json.loads((tmp_path / "out" / "result.json").read_text())["warnings"]
    for kind in ("causal", "learned"):
        begins = f"{kind}: SURFACE CONFOUND: the supported answer is the shorter one in 1.000"
        assert begins in out and begins in drawn[0] and any(said.startswith(begins) for said in warnings)
    assert not any("intervals rest on" in said for said in warnings)
