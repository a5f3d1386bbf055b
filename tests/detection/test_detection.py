"""What a detector is worth on rows that nothing was chosen on, beside everything else on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from lens_truth.data.loading import load_examples
from lens_truth.detection.baselines import random_head_scores, surface_scores, word_scores
from lens_truth.detection.result import Detection
from lens_truth.detection.study import DetectionStudy, detection_study, score_texts
from lens_truth.detection.texts import ScoredTexts
from lens_truth.errors import DataWarning, InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.detector import Detector
from lens_truth.scoring.head_probes import HeadProbes

EXAMPLES = load_examples("zoo:conflict", limit=240)
pytestmark = pytest.mark.zoo


@pytest.fixture(scope="module")
def model(zoo: Callable[[str], Any]) -> Any:
    return zoo("llama-memory-chat")


@pytest.fixture(scope="module")
def study(model: Any) -> DetectionStudy:
    return detection_study(model, EXAMPLES)


def test_no_group_is_in_two_parts(study: DetectionStudy) -> None:
    parts = study.result.parts
    assert sum(its.groups for its in parts.values()) == len({example.group for example in EXAMPLES})
    assert sum(its.rows for its in parts.values()) == 240 and parts["test"].rows == len(study.answers)
    seen = dict(zip((e.group for e in EXAMPLES), study.probes.seen([e.group for e in EXAMPLES]), strict=True))
    assert not any(seen[group] for group in study.test_groups)
    assert sum(seen.values()) == parts["train"].groups + parts["validation"].groups


def test_numbers_are_those_of_the_scores(study: DetectionStudy) -> None:
    labels, scores = (np.array([getattr(its, name) for its in study.answers]) for name in ("label", "score"))
    its, learn = study.result.measures, sk
    assert its["auroc"].value == pytest.approx(learn.roc_auc_score(labels, scores), abs=1e-9)
    right = (scores > study.result.detector.threshold) == labels
    assert its["accuracy"].value == pytest.approx(right.mean(), abs=1e-9)
    probability = np.array([its.probability for its in study.answers])
    assert its["brier"].value == pytest.approx(np.mean((probability - labels) ** 2), abs=1e-9)
    mean, supported, n = study.result.reliability.T
    assert n.sum() == len(labels) and np.nansum(mean * n) == pytest.approx(probability.sum())
    assert np.nansum(supported * n) == labels.sum()
    for one in its.values():
        assert one.low <= one.value + 1e-9 and one.value <= one.high + 1e-9


def test_it_knows_what_memory_does_not(study: DetectionStudy) -> None:
    """The context contradicts what this model knows by heart: what is likely need not be supported."""
    worth = study.result.worth
    assert worth["detector"].measures["auroc"].value > 0.97
    assert worth["log-probability"].behind["auroc"].low > 0.1
    assert worth["length and last character"].measures["auroc"].value == pytest.approx(0.5, abs=0.02)
    assert worth["random heads"].trials == 20
    for name, its in worth.items():
        if name != "detector":
            difference = study.result.measures["auroc"].value - its.measures["auroc"].value
            assert its.behind["auroc"].value == pytest.approx(difference)


def test_round_trip_and_words(study: DetectionStudy, tmp_path: Path) -> None:
    study.result.save(tmp_path)
    found = Detection.load(tmp_path)
    assert found == study.result
    worth, kept, calibration, tried = found.tables()
    assert [row.head.text for row in worth.rows][:2] == ["detector", "detector, mean over tokens"]
    assert len(kept.rows) == len(worth.rows) == len(found.worth) and len(calibration.rows) == 10 and tried.rows
    said = " ".join(found.verdicts())
    assert all(name in said for name in found.worth if name != "detector")
    assert not found.warnings()
    record = study.result.as_dict()
    with pytest.raises(InputError, match="nonsense"):
        Detection.from_dict({**record, "nonsense": 1})


def test_same_seed_same_bytes(model: Any, study: DetectionStudy) -> None:
    again = detection_study(model, EXAMPLES)
    assert again.result == study.result


def test_its_own_judgement_is_that_of_evaluate(model: Any, study: DetectionStudy) -> None:
    by_id = {example.id: example for example in EXAMPLES}
    shown = [by_id[its.id] for its in study.answers]
    result = Asker(model, "plain").run(benchmark_of("judge", "judge", shown, n_new=1), margins=True)[""]
    assert result.by_margin is not None
    found = study.result.worth["its own judgement (yes or no)"].measures["auroc"].value
    assert found == pytest.approx(result.by_margin.auroc, abs=1e-9)


def test_probes_that_have_seen_rows(model: Any, study: DetectionStudy) -> None:
    with pytest.warns(DataWarning, match=r"the probes have seen \d+ of the \d+ groups"):
        again = detection_study(model, EXAMPLES, probes=study.probes)
    parts = study.result.parts
    assert again.result.parts["train"].groups == parts["train"].groups + parts["validation"].groups
    assert "best layer" not in again.result.worth
    assert {its.id for its in again.answers} < {its.id for its in study.answers}
    everything = study.probes.having_seen([example.group for example in EXAMPLES])
    with pytest.raises(InputError, match="the probes have seen all"):
        detection_study(model, EXAMPLES, probes=everything)


def test_too_few_groups_are_told_in_numbers_of_all_rows(model: Any) -> None:
    rows = load_examples("zoo:conflict", limit=16)
    with pytest.raises(
        InputError, match=r"16 examples in 4 groups .* \(2 to fit probes, 1 to choose heads, 1 to judge"
    ):
        detection_study(model, rows)
    with pytest.raises(InputError, match=r"all 8 examples are supported"):
        detection_study(model, [row for row in rows if row.label == 1])


def test_probes_of_others(model: Any, zoo: Callable[[str], Any], study: DetectionStudy) -> None:
    child = zoo("llama-base")
    with pytest.raises(InputError, match="--descendant"):
        detection_study(child, EXAMPLES, probes=study.probes)
    with pytest.raises(InputError, match="fitted under the template 'plain', not 'chat'"):
        detection_study(model, EXAMPLES, probes=study.probes, template="chat")
    layers = HeadProbes.fit(capture(model, EXAMPLES[:80], at="resid_post"))
    with pytest.raises(InputError, match="probes are to read heads"):
        detection_study(model, EXAMPLES, probes=layers)
    with pytest.raises(InputError, match="probes of layers are to read the residual stream"):
        detection_study(model, EXAMPLES, probes=study.probes, layers=study.probes)
    with pytest.warns(DataWarning):
        both = detection_study(model, EXAMPLES, probes=HeadProbes.fit(capture(model, EXAMPLES[:80])), layers=layers)
    assert "best layer" in both.result.worth


def test_texts_by_the_detector_that_was_kept(model: Any, study: DetectionStudy, tmp_path: Path) -> None:
    by_id = {example.id: example for example in EXAMPLES}
    shown = [replace(by_id[its.id], label=1) for its in study.answers]
    found, answers = score_texts(model, shown, study.probes)
    assert [its.score for its in answers] == pytest.approx([its.score for its in study.answers], abs=1e-4)
    assert {its.label for its in answers} == {None} and found.n == len(answers) and len(found.answers) == 12
    for its in answers[:3]:
        assert its.tokens[-1].score == its.score and len(its.tokens[0].heads) == min(3, found.detector.n_heads)
    found.save(tmp_path)
    assert ScoredTexts.load(tmp_path) == found
    bare = replace(study.probes, provenance={k: v for k, v in study.probes.provenance.items() if k != "detector"})
    assert score_texts(model, shown[:2], bare)[0].detector.heads == Detector.of(bare).heads


def test_surface_and_words_are_held_out() -> None:
    """A confound is found; of answers that tell nothing, nothing is learnt by heart."""
    rows = load_examples("zoo:conflict", limit=120)
    marked = [replace(row, answer=row.answer + "!" * row.label) for row in rows]
    for scores in (surface_scores, word_scores):
        found = scores([marked[:40], marked[40:80], marked[80:]], 0)
        learn: Any = sk
        assert learn.roc_auc_score([row.label for row in marked[80:]], found.test[0]) == 1
        assert learn.roc_auc_score([row.label for row in marked[40:80]], found.validation[0]) == 1
        plain = scores([[], rows[:60], rows[60:]], 0)
        assert learn.roc_auc_score([row.label for row in rows[:60]], plain.validation[0]) < 0.75


def test_random_heads_are_as_many_and_follow_the_seed() -> None:
    decisions = np.arange(24.0).reshape(2, 3, 4)
    one, other = (random_head_scores(decisions, decisions, 12, seed) for seed in (0, 1))
    assert one.test.shape == (20, 2) and one.test == pytest.approx(np.tile(decisions.mean((1, 2)), (20, 1)))
    few = [random_head_scores(decisions, decisions, 2, seed).test for seed in (0, 0, 1)]
    assert (few[0] == few[1]).all() and (few[0] != few[2]).any() and other.test.shape == (20, 2)
