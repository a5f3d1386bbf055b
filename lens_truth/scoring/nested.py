"""Decisions of every head on given folds, and of the head that is best on the others: nothing is chosen on the rows on
which it is judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import fit_closed_form
from lens_truth.scoring.label_draws import LabelDraws
from lens_truth.scoring.metrics import fold_metrics
from lens_truth.scoring.probing import blocks_of, nan_mean
from lens_truth.scoring.scores import HeadScores

Fold = Int[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class FoldDecisions:
    """What ridge probes decide on each fold while it is held out."""

    decisions: Float[np.ndarray, "N L H"]
    """Above 0: supported."""
    scores: HeadScores
    """Mean accuracy over folds, as truth scores have it, with the other metrics of decisions (there is no null)."""
    best: Float[np.ndarray, " N"] | None = None
    """The decision of the head that is best on the other folds; None unless it was asked for."""
    chosen: tuple[tuple[int, int], ...] = ()
    """That head by layer and number, for each fold."""


@stage("probes")
def decisions_on_folds(
    activations: HeadActivations, fold: Fold, *, kind: str = "truth", choose: bool = False, device: Any = None
) -> FoldDecisions:
    """`held_out_decisions` by ridge on folds that are given, equal to it where they are its own.

    >>> found = decisions_on_folds(activations, fold, choose=True)
    >>> found.scores.best(), found.chosen

    Args:
        fold: of every row; the folds are 0 to K - 1.
        kind: what the scores are called.
        choose: also the head whose probes have the highest accuracy on the other folds (the first of equals), fitted
            and tested among these alone, fold by fold.
        device: as for `truth_scores`.

    Raises:
        InputError: if activations are not finite, or there are fewer than 3 folds to choose on.
    """
    labels, K = activations.labels.cpu().numpy(), int(fold.max()) + 1
    if choose and K < 3:
        raise InputError(f"there are {K} folds; a head is chosen by probes fitted on some and tested on others: take 3")
    parts = [np.arange(len(fold)), *(np.flatnonzero(fold != k) for k in range(K) if choose)]
    folds = [fold, *(np.searchsorted(np.delete(np.arange(K), k), fold[rows]) for k, rows in enumerate(parts[1:]))]
    given: list[LabelDraws] = []
    outer, inner = list[Tensor](), list[Float[np.ndarray, "K _"]]()
    for x in blocks_of(activations, "ridge", device):
        given = given or [_undrawn(labels[rows], its, x.device) for rows, its in zip(parts, folds, strict=True)]
        told = [fit_closed_form(x[rows], by, "ridge")[0] for rows, by in zip(parts, given, strict=True)]
        outer.append(told[0])
        if choose:
            those = zip(told[1:], parts[1:], folds[1:], strict=True)
            inner.append(np.stack([fold_metrics(d, labels[rows], its)["accuracy"].mean(0) for d, rows, its in those]))
    decided = torch.cat(outer, dim=1)
    scores = _scores(decided, labels, fold, activations, kind)
    decisions = decided.cpu().numpy().reshape(activations.z.shape[:3])
    if not choose:
        return FoldDecisions(decisions, scores)
    heads = np.concatenate(inner, axis=1).argmax(1)
    best = decisions.reshape(len(fold), -1)[np.arange(len(fold)), heads[fold]]
    H = activations.z.shape[2]
    return FoldDecisions(decisions, scores, best, tuple((int(head) // H, int(head) % H) for head in heads))


def decisions_before(
    activations: HeadActivations, fold: Fold, *, choose: bool = False, device: Any = None
) -> Float[np.ndarray, "N F"]:
    """The decisions on each fold, from the third on, of probes that were fitted on the folds before it: of all L x H
    heads, or (`choose`) of the one that is best among those folds (F = 1). NaN in the first folds. They are what labels
    may be permuted against (see `lens_truth/data/surface_fits.py`).

    >>> before = decisions_before(activations, fold, choose=True)[:, 0]
    """
    N, K = len(fold), int(fold.max()) + 1
    found = np.full((N, 1 if choose else activations.z[0, :, :, 0].numel()), np.nan)
    for k in range(2, K):
        rows = np.flatnonzero(fold <= k)
        some = replace(
            activations,
            z=activations.z[rows],
            labels=activations.labels[rows],
            groups=tuple(activations.groups[row] for row in rows.tolist()),
            ids=tuple(activations.ids[row] for row in rows.tolist()),
        )
        its = decisions_on_folds(some, fold[rows], choose=choose, device=device)
        decided = its.decisions.reshape(len(rows), -1) if its.best is None else its.best[:, None]
        found[fold == k] = decided[fold[rows] == k]
    return found


def _undrawn(labels: Int[np.ndarray, " n"], fold: Int[np.ndarray, " n"], device: torch.device) -> LabelDraws:
    return LabelDraws(labels, np.empty((0, len(labels)), dtype=np.int64), fold, "ridge", device)


def _scores(
    decisions: Float[Tensor, "N F"], labels: Fold, fold: Fold, activations: HeadActivations, kind: str
) -> HeadScores:
    L, H = activations.z.shape[1:3]
    of_folds = fold_metrics(decisions, labels, fold)
    metrics = {name: nan_mean(values).reshape(L, H) for name, values in of_folds.items()}
    told = {"estimator": "ridge", "n_examples": len(labels), "n_folds": int(fold.max()) + 1}
    provenance = {**activations.provenance, **told}
    return HeadScores(metrics["accuracy"], kind, metrics, of_folds["accuracy"].reshape(-1, L, H), provenance)
