"""`truth_scores`, the out-of-fold accuracy of a linear probe on every head's output. Metrics are means over folds, as
in scikit-learn's `cross_val_score` and in the paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.data.matching import Matched
from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.room import check_device
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import fit_closed_form, room
from lens_truth.scoring.iterative import ITERATIVE, held_out_by
from lens_truth.scoring.label_draws import LabelDraws
from lens_truth.scoring.metrics import accuracy_intervals, fold_metrics
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Map
from lens_truth.stats.folds import grouped_folds, paper_folds, permuted_labels

Estimator = Literal["ridge", "logistic", "adamw", "mass-mean", "centroid"]

_PERMUTATIONS = {"logistic": 20, "adamw": 20}
"""Iterative estimators pay a whole fit for each permutation; 1,000 for the others cost less than one such fit."""


@stage("probes")
def truth_scores(
    activations: HeadActivations,
    *,
    estimator: Estimator = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    n_permutations: int | None = None,
    n_bootstrap: int = 1000,
    device: str | torch.device | None = None,
    progress: bool = False,
    matched: Matched | None = None,
) -> HeadScores:
    """Truth scores: how well a linear probe on one head's output tells supported from hallucinated answers.

    The score is the accuracy on held-out folds (mean over folds, as in TruthProbe, Section 3.1); folds are stratified
    and keep groups whole. `adamw` is the paper's recipe with the paper's own ungrouped folds (seed 42, whatever
    `seed` is), for comparison with published scores.

    Metrics beside the score: auroc, precision, recall, f1; ci_low and ci_high, a 95% bootstrap interval over groups;
    null_mean, null_q95 and p_value from probes on permuted labels, and p_familywise, the p-value of the head against
    the best head of each permutation (Westfall and Young 1993), which holds for all heads together. With `matched`
    rows, in which the surface of answers no longer tells the labels, also `matched`, `matched_low` and `matched_high`:
    the score of probes that are fitted and judged on these rows alone, in folds of their own, with its interval.

    >>> truth = lens_truth.truth_scores(lens_truth.capture(model, examples))
    >>> layer, head = truth.best()

    Args:
        activations: of N rows and L x H heads of width D.
        estimator: `ridge`, `mass-mean` and `centroid` in closed form (`lens_truth.scoring.closed_form`); `logistic`,
            scikit-learn's; `adamw`.
        n_permutations: 0 for no null; by default 1,000, and 20 for the iterative estimators.
        device: where to compute; by default where the activations are. Layers come there one by one, or as many as
            there is room for. (`logistic` stays on the CPU, and `mass-mean` too where a device lacks double precision.)
        matched: of the examples that the activations are of (`lens_truth.data.match`). Where it left too few rows,
            the provenance says so and there are no such scores.

    Raises:
        InputError: for one class only, fewer groups than folds, activations that are not finite, a device that cannot
            be used, or rows that were matched among others.
    """
    check_estimator(estimator)
    if matched is not None:
        _check_matched(matched, activations)
    n_permutations = _PERMUTATIONS.get(estimator, 1000) if n_permutations is None else n_permutations
    labels = activations.labels.cpu().numpy()
    if n_permutations < 0 or n_bootstrap < 1:
        raise InputError(
            f"{n_permutations} permutations and {n_bootstrap} bootstrap draws were asked for; at least 0 and 1 are "
            "needed"
        )
    fold = folds_of(activations, estimator, n_folds, seed)
    # The paper's folds cut through groups and know nothing of labels, so they restrict no draw.
    kept = None if estimator == "adamw" else fold
    draws = permuted_labels(labels, activations.groups, n_permutations, seed, kept)
    decisions, null = _fit(activations, estimator, fold, draws, device, progress)

    per_fold = fold_metrics(decisions, labels, fold)
    metrics = {name: nan_mean(values) for name, values in per_fold.items()}
    right = (decisions > 0) == (activations.labels > 0).to(decisions.device)[:, None]
    weight = 1 / (len(per_fold["accuracy"]) * np.bincount(fold))[fold]  # the weighted mean is the mean over folds
    drawn = n_bootstrap, stream(seed, Stream.SCORE_INTERVALS)
    metrics["ci_low"], metrics["ci_high"] = accuracy_intervals(right, weight, activations.groups, *drawn)
    if n_permutations:
        accuracy = metrics["accuracy"] - 1e-6  # means over folds are rounded: equal ones must count as reached
        metrics["null_mean"], metrics["null_q95"] = null.mean(0), np.quantile(null, 0.95, axis=0)
        metrics["p_value"] = (1 + (null >= accuracy).sum(0)) / (1 + n_permutations)
        metrics["p_familywise"] = (1 + (null.max(1)[:, None] >= accuracy).sum(0)) / (1 + n_permutations)

    L, H = activations.z.shape[1:3]
    maps = {name: values.reshape(L, H) for name, values in metrics.items()}
    provenance = {**activations.provenance, "estimator": estimator, "n_examples": len(labels), "n_folds": n_folds}
    provenance |= {"seed": seed, "n_permutations": n_permutations, "n_bootstrap": n_bootstrap}
    scores = HeadScores(maps["accuracy"], "truth", maps, per_fold["accuracy"].reshape(-1, L, H), provenance)
    if matched is None:
        return scores
    how: dict[str, Any] = {"estimator": estimator, "n_folds": n_folds, "seed": seed, "n_bootstrap": n_bootstrap}
    return with_matched(scores, activations, matched, device=device, progress=progress, **how)


def with_matched(scores: HeadScores, activations: HeadActivations, matched: Matched, **how: Any) -> HeadScores:
    """Truth scores of these activations, with those of the matched rows alone beside them; what these rows are goes
    into the provenance, with the reason where they cannot be scored.

    >>> with_matched(probes.scores, activations, lens_truth.data.match(examples), estimator="ridge", seed=0)

    Args:
        how: what `truth_scores` is given, but for permutations.
    """
    _check_matched(matched, activations)
    maps, record = _on_matched(activations, matched, **how)
    provenance = {**scores.provenance, "matched": record}
    return replace(scores, metrics={**scores.metrics, **maps}, provenance=provenance)


def _check_matched(matched: Matched, activations: HeadActivations) -> None:
    if matched.rewritten:
        raise InputError("the matched rows are rewritten ones, which no activations are of: capture `matched.examples`")
    if matched.of != len(activations.ids):
        raise InputError(
            f"rows were matched among {matched.of} examples, and the activations are of {len(activations.ids)}; match "
            "the examples that were captured"
        )


def _on_matched(activations: HeadActivations, matched: Matched, **how: Any) -> tuple[dict[str, Map], dict[str, Any]]:
    """Metrics and the record."""
    record = matched.as_record()
    if not matched.left:
        return {}, record
    numbers: list[int] = matched.rows.tolist()
    groups, ids = (tuple(its[row] for row in numbers) for its in (activations.groups, activations.ids))
    rows = torch.from_numpy(matched.rows)
    z, labels = activations.z[rows.to(activations.z.device)], activations.labels[rows.to(activations.labels.device)]
    part = HeadActivations(z, labels, groups, ids, activations.provenance)
    try:
        scores = truth_scores(part, n_permutations=0, **how)
    except InputError as error:
        return {}, {**record, "said": f"{record['said']}; but {error}"}
    maps = {
        "matched": scores.values,
        "matched_low": scores.metrics["ci_low"],
        "matched_high": scores.metrics["ci_high"],
    }
    return maps, record


@stage("probes")
def held_out_decisions(
    activations: HeadActivations,
    *,
    estimator: Estimator = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> tuple[Float[np.ndarray, "N L H"], Int[np.ndarray, " N"]]:
    """The decision of every head's probe on every row while it was held out (above 0: supported), and the fold of
    every row; arguments and errors as for `truth_scores`.

    >>> decisions, fold = lens_truth.held_out_decisions(activations, estimator="mass-mean")
    >>> right = (decisions > 0) == (activations.labels.numpy() == 1)[:, None, None]
    """
    fold = folds_of(activations, estimator, n_folds, seed)
    none = np.empty((0, len(fold)), dtype=np.int64)
    decisions, _ = _fit(activations, estimator, fold, none, device, progress=False)
    return decisions.cpu().numpy().reshape(activations.z.shape[:3]), fold


def check_estimator(estimator: str) -> None:
    """Raises an InputError unless there is such a probe."""
    if estimator not in get_args(Estimator):
        raise InputError(f"estimator '{estimator}' is not one of {', '.join(get_args(Estimator))}")


def folds_of(activations: HeadActivations, estimator: Estimator, n_folds: int, seed: int) -> Int[np.ndarray, " N"]:
    """The fold of every row."""
    labels = activations.labels.cpu().numpy()
    if estimator == "adamw":
        return paper_folds(labels, n_folds)
    return grouped_folds(labels, activations.groups, n_folds, seed)


def _fit(
    activations: HeadActivations,
    estimator: Estimator,
    fold: Int[np.ndarray, " N"],
    draws: Int[np.ndarray, "P N"],
    device: str | torch.device | None,
    progress: bool,
) -> tuple[Float[Tensor, "N F"], Float[np.ndarray, "P F"]]:
    """Decisions, where they were computed, and accuracies under the null, of all L x H heads."""
    labels = activations.labels.cpu().numpy()
    found: list[tuple[Float[Tensor, "N _"], Float[np.ndarray, "P _"]]] = []
    given: LabelDraws | None = None
    for x in blocks_of(activations, estimator, device, progress=progress):
        if estimator == "logistic" or estimator == "adamw":
            fit, heads = ITERATIVE[estimator], x.flatten(1, 2)
            shuffled = bar(draws, "null", shown=progress)
            null = [
                fold_metrics(held_out_by(fit, heads, draw, fold), draw, fold)["accuracy"].mean(0) for draw in shuffled
            ]
            decided = held_out_by(fit, heads, labels, fold)
            found.append((decided, np.array(null).reshape(len(draws), heads.shape[1])))
        else:  # a name that is no kind of closed form does not pass the type checker
            given = given or LabelDraws(labels, draws, fold, estimator, x.device)
            found.append(fit_closed_form(x, given, estimator))
    decisions, null = zip(*found, strict=True)
    return torch.cat(decisions, dim=1), np.concatenate(null, axis=1)


def blocks_of(
    activations: HeadActivations, estimator: Estimator, device: str | torch.device | None, *, progress: bool = False
) -> Iterator[Float[Tensor, "N l H D"]]:
    """Activations where probes are fitted, as many layers at a time as the device has room for, on a processor one; an
    InputError names the first example that is not finite."""
    z = activations.z
    on = _usable(z.device if device is None else device, estimator)
    layers = z.shape[1]  # adamw's loss is a mean over all heads
    if estimator != "adamw":
        layers = 1 if on.type == "cpu" else max(1, room(on) // (4 * z[:, :1].numel()))
    for block in bar(torch.split(z, layers, dim=1), f"probe ({estimator})", shown=progress):
        x = block.to(on).float()
        if not torch.stack(x.aminmax()).isfinite().all():
            row = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise InputError(f"the activations of example '{activations.ids[row]}' are not finite")
        yield x


def _usable(device: str | torch.device, estimator: Estimator) -> torch.device:
    """The device, or the CPU where scikit-learn computes or the device (Apple's) lacks double precision."""
    check_device(str(device))
    on = torch.zeros(1, device=device).device
    on_cpu = estimator == "logistic" or (estimator == "mass-mean" and on.type == "mps")
    return torch.device("cpu") if on_cpu else on


def nan_mean(values: Float[np.ndarray, "K F"]) -> Float[np.ndarray, " F"]:
    """Mean over the folds in which a metric is defined; 0.5 (chance) where none defines it."""
    defined = np.isfinite(values)
    return np.where(defined.any(0), np.where(defined, values, 0).sum(0) / np.maximum(defined.sum(0), 1), 0.5)
