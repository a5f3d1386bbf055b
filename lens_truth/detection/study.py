"""`detection_study`: probes, a detector chosen on validation rows, and what it is worth on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from lens_truth.data.examples import Example, labels_of
from lens_truth.detection import baselines, metrics
from lens_truth.detection.baselines import Scored
from lens_truth.detection.choosing import Choice, chosen_detector, settled
from lens_truth.detection.parts import FOLDS, detection_parts
from lens_truth.detection.reading import AnswerReads, read_answers
from lens_truth.detection.result import DETECTOR, SURFACE, Detection, Measured, Part, Worth
from lens_truth.detection.texts import SHOWN, ScoredAnswer, ScoredTexts, scored_answers
from lens_truth.errors import InputError
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Template
from lens_truth.models.provenance import provenance_of
from lens_truth.scoring.activations import Point
from lens_truth.scoring.capturing import captures
from lens_truth.scoring.detector import Detector
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.matched import on_matched
from lens_truth.scoring.scores import HeadScores

_DRAWS = 1000
_GRID = np.linspace(0, 1, 51)
BEST_HEAD, BEST_LAYER, RANDOM, OVER_TOKENS = "best head", "best layer", "random heads", "detector, mean over tokens"


@dataclass(frozen=True, eq=False)
class DetectionStudy:
    """A detector, and what came out of judging it."""

    result: Detection
    probes: HeadProbes
    """With the detector in their provenance, where `Detector.of` finds it; they have seen the validation groups too."""
    answers: tuple[ScoredAnswer, ...]
    """All test answers, token by token."""
    test_groups: tuple[str, ...]
    """The group of each."""
    scores: HeadScores
    """Truth scores of the probes: on the training part, and on matched rows of it where they were fitted here."""


@dataclass(frozen=True)
class _Reader:
    """How answers are read."""

    model: Hooked
    probes: Mapping[Point, HeadProbes]
    template: Template
    batch_size: int | None

    def read(self, examples: Sequence[Example], heads: Sequence[tuple[int, int]] = ()) -> AnswerReads:
        how: dict[str, Any] = {"template": self.template, "batch_size": self.batch_size}
        return read_answers(self.model, examples, self.probes, heads=heads, **how)


def detection_study(
    model: Hooked,
    examples: Sequence[Example],
    *,
    probes: HeadProbes | None = None,
    layers: HeadProbes | None = None,
    template: Template = "plain",
    descendant: bool = False,
    batch_size: int | None = None,
    seed: int = 0,
) -> DetectionStudy:
    """Chooses heads, their number and weights, and a threshold on validation rows, and judges on the test rows what
    that detects, beside baselines on the same rows. No group is in two parts.

    >>> study = lens_truth.detection_study(model, lens_truth.load_examples("zoo:conflict"))
    >>> study.result.worth["detector"].measures["auroc"], study.probes.save("probes.safetensors")

    Args:
        probes: of heads; groups that they were fitted on are the training part. Without them, probes of heads and
            layers are fitted on .4 of the groups; .25 choose and .35 judge (with them, of the groups that they have not
            seen, as many for one judging).
        layers: of the residual stream, fitted on the same rows.
        descendant: whether probes may be those of another model of the same shape.

    Raises:
        InputError: if probes do not fit the model or the template, or a part of the rows is empty or has one label.
    """
    _check(model, probes, layers, template, descendant=descendant)
    parts = detection_parts(examples, probes, layers, seed)
    given: dict[Point, HeadProbes] = {}
    if probes is None:
        passes: dict[str, Any] = {"template": template, "batch_size": batch_size}
        seen = captures(model, parts[0], {"z": None, "resid_post": None}, **passes)
        given = {point: HeadProbes.fit(its, n_folds=FOLDS, seed=seed) for point, its in seen.items()}
        truth = on_matched(given["z"].scores, seen["z"], parts[0], n_folds=FOLDS, seed=seed)
    else:
        given["z"], truth = probes, probes.scores
        if layers is not None:
            given["resid_post"] = layers
    reader = _Reader(model, given, template, batch_size)
    validation, labels = reader.read(parts[1]), _labels(parts[1])
    groups = [example.group for example in parts[1]]
    choice = chosen_detector(validation.last["z"], labels, groups, seed=seed)
    test = reader.read(parts[2], choice.detector.heads)
    scored = _scored(reader, parts, (validation, test), choice, seed)
    answers = tuple(scored_answers(choice.detector, parts[2], test, labelled=True))
    made = provenance_of(model, examples, template)
    made |= {"probes": {point: dict(its.provenance) for point, its in given.items()}, "seed": seed}
    result = _judged(parts, scored, choice, answers[:SHOWN], made, seed)
    fitted = given["z"].having_seen(groups)
    kept = {**fitted.provenance, **choice.detector.in_provenance()}
    probes, test_groups = replace(fitted, provenance=kept), tuple(row.group for row in parts[2])
    return DetectionStudy(result, probes, answers, test_groups, truth)


def score_texts(
    model: Hooked,
    texts: Sequence[Example],
    probes: HeadProbes,
    *,
    template: Template = "plain",
    descendant: bool = False,
    batch_size: int | None = None,
) -> tuple[ScoredTexts, list[ScoredAnswer]]:
    """Answers by the detector that the probes carry, whatever their labels: what a run holds of them, and all.

    >>> found, answers = lens_truth.score_texts(model, examples, lens_truth.HeadProbes.load("probes.safetensors"))
    >>> [(token.text, token.score) for token in answers[0].tokens]

    Raises:
        InputError: if the probes do not fit the model or the template, or whatever `capture` refuses.
    """
    _check(model, probes, None, template, descendant=descendant)
    detector = Detector.of(probes)
    read = read_answers(model, texts, {"z": probes}, template=template, heads=detector.heads, batch_size=batch_size)
    answers = scored_answers(detector, texts, read, labelled=False)
    made = provenance_of(model, texts, template)
    n_supported = sum(its.score > detector.threshold for its in answers)
    return ScoredTexts(detector, len(answers), n_supported, tuple(answers[:SHOWN]), made), answers


def _check(
    model: Hooked, probes: HeadProbes | None, layers: HeadProbes | None, template: Template, *, descendant: bool
) -> None:
    for its in filter(None, (probes, layers)):
        its.check(model, template, descendant=descendant)
    if layers is not None and layers.point != "resid_post":
        raise InputError("probes of layers are to read the residual stream, and these read heads")
    if probes is not None and probes.point != "z":
        raise InputError("probes are to read heads, and these read the residual stream; --layers takes those")


def _scored(
    reader: _Reader, parts: list[list[Example]], reads: tuple[AnswerReads, AnswerReads], choice: Choice, seed: int
) -> dict[str, Scored]:
    """By name, the scores of validation and test rows by every method."""
    detector, (validation, test) = choice.detector, reads
    labels, groups = _labels(parts[1]), [example.group for example in parts[1]]

    def best_one(point: Point) -> Scored:
        its = chosen_detector(validation.last[point], labels, groups, seed=seed, sizes=(1,), kinds=("mean",))
        return Scored.once(its.held_out, its.detector.score(test.last[point]))

    found = {DETECTOR: Scored.once(choice.held_out, detector.score(test.last["z"]))}
    found[OVER_TOKENS] = Scored.once(*(detector.score(its.mean["z"]) for its in reads))
    found[BEST_HEAD] = best_one("z")
    if "resid_post" in reader.probes:
        found[BEST_LAYER] = best_one("resid_post")
    found[RANDOM] = baselines.random_head_scores(validation.last["z"], test.last["z"], detector.n_heads, seed)
    found |= baselines.likelihood_scores(validation, test)
    judged = baselines.judge_scores(reader.model, parts, reader.template, reader.batch_size)
    found |= {} if judged is None else {"its own judgement (yes or no)": judged}
    found[SURFACE] = baselines.surface_scores(parts, seed)
    found["bag of words"] = baselines.word_scores(parts, seed)
    return found


def _judged(
    parts: list[list[Example]],
    scored: Mapping[str, Scored],
    choice: Choice,
    shown: tuple[ScoredAnswer, ...],
    provenance: dict[str, Any],
    seed: int,
) -> Detection:
    validation, test = _labels(parts[1]), _labels(parts[2])
    weights = metrics.drawn_weights([example.group for example in parts[2]], _DRAWS, seed)
    weights = np.concatenate([np.ones((1, len(test))), weights])  # the rows as they are come first
    drawn = {name: _drawn(its, validation, test, weights) for name, its in scored.items()}
    worth = {
        name: Worth(
            trials=len(its.test),
            threshold=settled(its.validation[0], validation)[0],
            measures={measure: _measured(values) for measure, values in drawn[name].items()},
            behind={} if name == DETECTOR else _behind(drawn[DETECTOR], drawn[name]),
        )
        for name, its in scored.items()
    }
    own = scored[DETECTOR].test[0]
    single = {name: its.test[0] for name, its in scored.items() if len(its.test) == 1}
    return Detection(
        detector=choice.detector,
        parts={
            name: Part(len(rows), len({its.group for its in rows}), sum(labels_of(rows)))
            for name, rows in zip(("train", "validation", "test"), parts, strict=True)
        },
        worth=worth,
        tried=choice.tried,
        reliability=_reliability(choice.detector.probability(own), test),
        coverage=_GRID,
        risk={name: _told(metrics.risk_curve(its, test, _GRID[1:]), first=True) for name, its in single.items()},
        roc={name: _told(metrics.roc_curve(its, test, _GRID)) for name, its in single.items()},
        shown=shown,
        provenance=provenance,
    )


def _drawn(
    scored: Scored, validation: np.ndarray, test: np.ndarray, weights: Float[np.ndarray, "B N"]
) -> dict[str, Float[np.ndarray, " B"]]:
    """Every measure under each set of weights, the mean over trials."""
    trials: list[dict[str, np.ndarray]] = []
    for held_out, scores in zip(scored.validation, scored.test, strict=True):
        threshold, (slope, intercept) = settled(held_out, validation)
        probability = 0.5 * (1 + np.tanh((slope * scores + intercept) / 2))
        its = {
            "auroc": metrics.auroc(scores, test, weights),
            "auprc": metrics.average_precision(scores, test, weights),
            "accuracy": metrics.accuracy(scores, test, weights, threshold),
            "brier": metrics.brier(probability, test, weights),
            "ece": metrics.calibration_error(probability, test, weights),
            "aurc": metrics.risk_area(scores, test, weights),
        }
        kept = {f"kept {round(100 * c)}": metrics.kept_accuracy(scores, test, weights, c) for c in metrics.COVERAGES}
        trials.append(its | kept)
    return {name: cast("np.ndarray", np.mean([its[name] for its in trials], axis=0)) for name in trials[0]}


def _measured(values: Float[np.ndarray, " B"]) -> Measured:
    """The first value, and the percentile interval of the others that are defined."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist() if len(drawn) else (float("nan"), float("nan"))
    return Measured(float(values[0]), low, high)


def _behind(detector: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, Measured]:
    found = {name: _measured(detector[name] - other[name]) for name in ("auroc", "accuracy")}
    return {**found, "aurc": _measured(other["aurc"] - detector["aurc"])}


def _reliability(probability: Float[np.ndarray, " N"], labels: np.ndarray) -> Float[np.ndarray, "bins 3"]:
    held = metrics.bins_of(probability)[:, None] == np.arange(metrics.N_BINS)
    n = held.sum(0)
    with np.errstate(invalid="ignore"):
        return np.stack([probability @ held / n, labels @ held / n, n.astype(float)], axis=1)


def _told(values: Float[np.ndarray, " n"], *, first: bool = False) -> tuple[float, ...]:
    """Rounded, for a file; `first`: repeats the first value, for coverage 0."""
    kept = [round(value, 5) for value in values.tolist()]
    return (kept[0], *kept) if first else tuple(kept)


def _labels(examples: Sequence[Example]) -> np.ndarray:
    return np.array(labels_of(examples))
