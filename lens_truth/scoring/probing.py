"""`truth_scores`, the out-of-fold accuracy of a linear probe on every head's output; the probes that are fitted by
iteration; and metrics, means over folds as in scikit-learn's `cross_val_score` and in the paper."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from sklearn import model_selection, pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import fit_closed_form
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.bootstrap import bootstrap_interval, group_sums
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
    progress: bool = False,
) -> HeadScores:
    """Truth scores: how well a linear probe on one head's output tells supported from hallucinated answers.

    The score is the accuracy on held-out folds (mean over folds, as in TruthProbe, Section 3.1); folds are stratified
    and keep groups whole. `adamw` is the paper's recipe with the paper's own ungrouped folds (seed 42, whatever
    `seed` is), for comparison with published scores.

    Metrics beside the score: auroc, precision, recall, f1; ci_low and ci_high, a 95% bootstrap interval over groups;
    null_mean, null_q95 and p_value from probes on permuted labels, and p_familywise, the p-value of the head against
    the best head of each permutation (Westfall and Young 1993), which holds for all heads together.

    >>> truth = lens_truth.truth_scores(lens_truth.capture(model, examples))
    >>> layer, head = truth.best()

    Args:
        activations: of N rows and L x H heads of width D.
        estimator: `ridge`, `mass-mean` and `centroid` in closed form (`lens_truth.scoring.closed_form`); `logistic`,
            scikit-learn's; `adamw`.
        n_permutations: 0 for no null; by default 1,000, and 20 for the iterative estimators.

    Raises:
        InputError: for one class only, fewer groups than folds, or activations that are not finite.
    """
    if estimator not in get_args(Estimator):
        raise InputError(f"estimator '{estimator}' is not one of {', '.join(get_args(Estimator))}")
    n_permutations = _PERMUTATIONS.get(estimator, 1000) if n_permutations is None else n_permutations
    labels = activations.labels.numpy()
    if n_permutations < 0 or n_bootstrap < 1:
        raise InputError(
            f"{n_permutations} permutations and {n_bootstrap} bootstrap draws were asked for; at least 0 and 1 are "
            "needed"
        )
    fold = _folds(activations, estimator, n_folds, seed)
    # The paper's folds cut through groups and know nothing of labels, so they restrict no draw.
    kept = None if estimator == "adamw" else fold
    draws = permuted_labels(labels, activations.groups, n_permutations, seed, kept)
    decisions, null = _fit(activations, estimator, fold, draws, progress)

    per_fold = fold_metrics(decisions, labels, fold)
    metrics = {name: _nanmean(values) for name, values in per_fold.items()}
    right = (decisions > 0) == (labels[:, None] > 0)
    weight = 1 / (len(per_fold["accuracy"]) * np.bincount(fold))[fold]  # the weighted mean is the mean over folds
    totals, mass = (group_sums(values, activations.groups) for values in (weight[:, None] * right, weight))
    rng = stream(seed, Stream.SCORE_INTERVALS)
    metrics["ci_low"], metrics["ci_high"] = bootstrap_interval(totals, mass, n_bootstrap, rng)
    if n_permutations:
        accuracy = metrics["accuracy"] - 1e-6  # null accuracies are float32: equal ones must count as reached
        metrics["null_mean"], metrics["null_q95"] = null.mean(0), np.quantile(null, 0.95, axis=0)
        metrics["p_value"] = (1 + (null >= accuracy).sum(0)) / (1 + n_permutations)
        metrics["p_familywise"] = (1 + (null.max(1)[:, None] >= accuracy).sum(0)) / (1 + n_permutations)

    L, H = activations.z.shape[1:3]
    maps = {name: values.reshape(L, H) for name, values in metrics.items()}
    provenance = {**activations.provenance, "estimator": estimator, "n_examples": len(labels), "n_folds": n_folds}
    provenance |= {"seed": seed, "n_permutations": n_permutations, "n_bootstrap": n_bootstrap}
    return HeadScores(maps["accuracy"], "truth", maps, per_fold["accuracy"].reshape(-1, L, H), provenance)


@stage("probes")
def held_out_decisions(
    activations: HeadActivations, *, estimator: Estimator = "ridge", n_folds: int = 5, seed: int = 0
) -> tuple[Float[np.ndarray, "N L H"], Int[np.ndarray, " N"]]:
    """The decision of every head's probe on every row while it was held out (above 0: supported), and the fold of
    every row; arguments and errors as for `truth_scores`.

    >>> decisions, fold = lens_truth.held_out_decisions(activations, estimator="mass-mean")
    >>> right = (decisions > 0) == (activations.labels.numpy() == 1)[:, None, None]
    """
    fold = _folds(activations, estimator, n_folds, seed)
    decisions, _ = _fit(activations, estimator, fold, np.empty((0, len(fold)), dtype=np.int64), progress=False)
    return decisions.reshape(activations.z.shape[:3]), fold


def _folds(activations: HeadActivations, estimator: Estimator, n_folds: int, seed: int) -> Int[np.ndarray, " N"]:
    labels = activations.labels.numpy()
    if estimator == "adamw":
        return paper_folds(labels, n_folds)
    return grouped_folds(labels, activations.groups, n_folds, seed)


def _fit(
    activations: HeadActivations,
    estimator: Estimator,
    fold: Int[np.ndarray, " N"],
    draws: Int[np.ndarray, "P N"],
    progress: bool,
) -> tuple[Float[np.ndarray, "N F"], Float[np.ndarray, "P F"]]:
    """Decisions, and accuracies under the null, of all L x H heads; one layer of activations in memory at a time."""
    z, labels = activations.z, activations.labels.numpy()
    blocks = [z.flatten(1, 2)] if estimator == "adamw" else z.unbind(1)  # adamw's loss is a mean over all heads
    found: list[tuple[Float[Tensor, "N _"], Float[Tensor, "P _"]]] = []
    for block in bar(blocks, f"probe ({estimator})", shown=progress):
        x = block.float()
        if not torch.isfinite(x).all():
            row = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise InputError(f"the activations of example '{activations.ids[row]}' are not finite")
        if estimator == "logistic" or estimator == "adamw":
            fit = logistic_decisions if estimator == "logistic" else adamw_decisions
            null = [
                fold_metrics(fit(x, draw, fold).numpy(), draw, fold)["accuracy"].mean(0)
                for draw in bar(draws, "null", shown=progress)
            ]
            found.append((fit(x, labels, fold), torch.from_numpy(np.array(null).reshape(len(draws), x.shape[1]))))
        else:  # a name that is no kind of closed form does not pass the type checker
            found.append(fit_closed_form(x, labels, fold, draws, estimator))
    decisions, null = zip(*found, strict=True)
    return torch.cat(decisions, dim=1).numpy(), torch.cat(null, dim=1).numpy()


def _nanmean(values: Float[np.ndarray, "K F"]) -> Float[np.ndarray, " F"]:
    """Mean over the folds in which a metric is defined; 0.5 (chance) where none defines it."""
    defined = np.isfinite(values)
    return np.where(defined.any(0), np.where(defined, values, 0).sum(0) / np.maximum(defined.sum(0), 1), 0.5)


def logistic_decisions(
    x: Float[Tensor, "N F D"], y: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[Tensor, "N F"]:
    """Out-of-fold decisions of scikit-learn's LogisticRegression (C = 1) on features standardised in the fold."""
    features, folds = x.numpy().astype(np.float64), model_selection.PredefinedSplit(fold)
    model = pipeline.make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    decide = cast("Any", model_selection.cross_val_predict)
    result = np.empty(features.shape[:2])
    for head in range(features.shape[1]):
        result[:, head] = decide(model, features[:, head], y, cv=folds, method="decision_function")
    return torch.from_numpy(result)


def adamw_decisions(
    x: Float[Tensor, "N F D"], y: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[Tensor, "N F"]:
    """Out-of-fold decisions of TruthProbe's recipe: raw features, zero start, AdamW (learning rate 1e-2, weight decay
    1e-3), 200 epochs over batches of 512 in the order of the rows.

    The loss is the mean over rows and heads, as in the reference code; heads stay independent, since AdamW divides
    each gradient by its own size. `x` must hold all heads at once for that mean to be the reference's.
    """
    x, target = x.float(), torch.from_numpy(y).float()
    result = x.new_empty(x.shape[:2])
    for k in range(int(fold.max()) + 1):
        train, test = torch.from_numpy(np.flatnonzero(fold != k)), torch.from_numpy(np.flatnonzero(fold == k))
        weight = x.new_zeros(x.shape[1:]).requires_grad_()
        bias = x.new_zeros(x.shape[1]).requires_grad_()
        optimizer = torch.optim.AdamW([weight, bias], lr=1e-2, weight_decay=1e-3)
        for _ in range(200):
            for rows in torch.split(train, 512):
                logits = (x[rows] * weight).sum(-1) + bias
                wanted = target[rows, None].expand_as(logits)
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            result[test] = (x[test] * weight).sum(-1) + bias
    return result


def fold_metrics(
    decisions: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> dict[str, Float[np.ndarray, "K F"]]:
    """Accuracy, precision, recall, F1 (supported = positive; 0 where nothing is predicted so) and AUROC of each fold.

    AUROC is NaN in a fold whose test rows lack a class.
    """
    rows = [np.flatnonzero(fold == k) for k in range(int(fold.max()) + 1)]
    per_fold = [_metrics(decisions[r], labels[r].astype(bool)) for r in rows]
    return {name: np.stack([m[name] for m in per_fold]) for name in per_fold[0]}


def _metrics(decisions: Float[np.ndarray, "n F"], labels: Bool[np.ndarray, " n"]) -> dict[str, Float[np.ndarray, " F"]]:
    predicted, positive = decisions > 0, labels[:, None]
    hits = (predicted & positive).sum(0).astype(float)
    n_predicted, n_positive = predicted.sum(0), positive.sum()
    n_negative = len(labels) - n_positive
    ranks = stats.rankdata(decisions, axis=0)[labels].sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return {
        "accuracy": (predicted == positive).mean(0),
        "precision": hits / np.maximum(n_predicted, 1),
        "recall": hits / max(n_positive, 1),
        "f1": 2 * hits / np.maximum(n_predicted + n_positive, 1),
        "auroc": auroc,
    }
