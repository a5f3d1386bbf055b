"""`truth_scores`, the out-of-fold accuracy of a linear probe on every head's output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from tqdm import tqdm

from lens_truth.errors import InputError
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import fit_closed_form
from lens_truth.scoring.iterative import adamw_decisions, logistic_decisions
from lens_truth.scoring.metrics import accuracy_interval, fold_metrics
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.folds import grouped_folds, paper_folds, permuted_labels

Estimator = Literal["ridge", "logistic", "adamw", "mass-mean", "centroid"]

_PERMUTATIONS = {"logistic": 20, "adamw": 20}
"""Iterative estimators pay a whole fit for each permutation; 1,000 for the others cost less than one such fit."""


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
        n_bootstrap: draws of groups behind the interval.

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
    fold = _folds(estimator, labels, activations.groups, n_folds, seed)
    # The paper's folds cut through groups and know nothing of labels, so they restrict no draw.
    kept = None if estimator == "adamw" else fold
    draws = permuted_labels(labels, activations.groups, n_permutations, seed, kept)
    decisions, null = _fit(activations, estimator, labels, fold, draws, progress)

    L, H = activations.z.shape[1:3]
    per_fold = fold_metrics(decisions, labels, fold)
    metrics = {name: _nanmean(values) for name, values in per_fold.items()}
    right = (decisions > 0) == (labels[:, None] > 0)
    metrics["ci_low"], metrics["ci_high"] = accuracy_interval(right, fold, activations.groups, n_bootstrap, seed)
    if n_permutations:
        accuracy = metrics["accuracy"] - 1e-6  # null accuracies are float32: equal ones must count as reached
        metrics["null_mean"], metrics["null_q95"] = null.mean(0), np.quantile(null, 0.95, axis=0)
        metrics["p_value"] = (1 + (null >= accuracy).sum(0)) / (1 + n_permutations)
        metrics["p_familywise"] = (1 + (null.max(1)[:, None] >= accuracy).sum(0)) / (1 + n_permutations)
    return HeadScores(
        values=metrics["accuracy"].reshape(L, H),
        kind="truth",
        metrics={name: values.reshape(L, H) for name, values in metrics.items()},
        folds=per_fold["accuracy"].reshape(-1, L, H),
        provenance={
            **activations.provenance,
            "estimator": estimator,
            "n_examples": len(labels),
            "n_folds": n_folds,
            "seed": seed,
            "n_permutations": n_permutations,
            "n_bootstrap": n_bootstrap,
        },
    )


def held_out_decisions(
    activations: HeadActivations, *, estimator: Estimator = "ridge", n_folds: int = 5, seed: int = 0
) -> tuple[Float[np.ndarray, "N L H"], Int[np.ndarray, " N"]]:
    """The decision of every head's probe on every row while it was held out (above 0: supported), and the fold of
    every row; arguments and errors as for `truth_scores`.

    >>> decisions, fold = lens_truth.held_out_decisions(activations, estimator="mass-mean")
    >>> right = (decisions > 0) == (activations.labels.numpy() == 1)[:, None, None]
    """
    labels = activations.labels.numpy()
    fold = _folds(estimator, labels, activations.groups, n_folds, seed)
    no_draws = np.empty((0, len(labels)), dtype=labels.dtype)
    decisions, _ = _fit(activations, estimator, labels, fold, no_draws, progress=False)
    return decisions.reshape(len(labels), *activations.z.shape[1:3]), fold


def _folds(
    estimator: Estimator, labels: Int[np.ndarray, " N"], groups: Sequence[str], n_folds: int, seed: int
) -> Int[np.ndarray, " N"]:
    return paper_folds(labels, n_folds) if estimator == "adamw" else grouped_folds(labels, groups, n_folds, seed)


def _fit(
    activations: HeadActivations,
    estimator: Estimator,
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    draws: Int[np.ndarray, "P N"],
    progress: bool,
) -> tuple[Float[np.ndarray, "N F"], Float[np.ndarray, "P F"]]:
    """Decisions, and accuracies under the null, of all L x H heads; one layer of activations in memory at a time."""
    decisions: list[Float[np.ndarray, "N _"]] = []
    null: list[Float[np.ndarray, "P _"]] = []
    for x in tqdm(_blocks(activations, estimator), desc=f"probe ({estimator})", disable=not progress, leave=False):
        if not torch.isfinite(x).all():
            row = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise InputError(f"the activations of example '{activations.ids[row]}' are not finite")
        if estimator == "logistic" or estimator == "adamw":
            fit = logistic_decisions if estimator == "logistic" else adamw_decisions
            accuracies = [fold_metrics(fit(x, draw, fold).numpy(), draw, fold)["accuracy"].mean(0) for draw in draws]
            parts = [fit(x, labels, fold).numpy(), np.array(accuracies).reshape(len(draws), x.shape[1])]
        else:  # a name that is no kind of closed form does not pass the type checker
            parts = [part.numpy() for part in fit_closed_form(x, labels, fold, draws, estimator)]
        decisions.append(parts[0])
        null.append(parts[1])
    return np.concatenate(decisions, axis=1), np.concatenate(null, axis=1)


def _blocks(activations: HeadActivations, estimator: Estimator) -> Iterator[Float[torch.Tensor, "N F D"]]:
    if estimator == "adamw":  # its loss is a mean over all heads
        yield activations.z.flatten(1, 2).float()
        return
    for layer in range(activations.z.shape[1]):
        yield activations.z[:, layer].float()


def _nanmean(values: Float[np.ndarray, "K F"]) -> Float[np.ndarray, " F"]:
    """Mean over the folds in which a metric is defined; 0.5 (chance) where none defines it."""
    defined = np.isfinite(values)
    return np.where(defined.any(0), np.where(defined, values, 0).sum(0) / np.maximum(defined.sum(0), 1), 0.5)
