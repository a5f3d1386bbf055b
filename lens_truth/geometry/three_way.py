"""True, false or neither: three classes told apart by every head, and sets of classes that hold the right one as often as
they say (split conformal prediction: Vovk, Gammerman and Shafer 2005, Section 2.2; scores as in Sadinle, Lei and Wasserman
2019, Section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.geometry.probes import MIDDLE
from lens_truth.geometry.stability_result import COVERAGE, ThreeWay
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.inverses import inverses
from lens_truth.stats.paired import group_interval


class ThreeWayRows(NamedTuple):
    """True and false rows, rows that are neither, and the folds of both."""

    statements: HeadActivations
    neither: HeadActivations
    fold: Int[np.ndarray, " N"]
    n_folds: int
    seed: int


def three_way(rows: ThreeWayRows, surface: Float[np.ndarray, " N"] | None) -> ThreeWay:
    """Linear discriminants of one covariance, shrunk as ridge's is. Each fold is tested with discriminants of all folds
    but it and the next, on which the size of the sets is settled; the head that is shown for it is the one that tells the
    classes of the other folds best."""
    statements, neither, fold, K, seed = rows
    labels = np.concatenate([statements.labels.numpy(), np.full(len(neither.labels), 2)])
    groups = (*statements.groups, *neither.groups)
    given = torch.from_numpy(labels)
    layers = [
        _layer(torch.cat([one, other]).float().transpose(0, 1), given, fold, K)
        for one, other in zip(statements.z.unbind(1), neither.z.unbind(1), strict=True)
    ]
    told, sets = (np.concatenate(part) for part in zip(*layers, strict=True))  # F N, F N 3
    right = told == labels
    by_fold = np.stack([right[:, fold == k].mean(1) for k in range(K)])
    head = np.array([np.delete(by_fold, [k, (k + 1) % K], axis=0).mean(0).argmax() for k in range(K)])[fold]
    all_rows = np.arange(len(labels))
    shown, its_sets = right[head, all_rows].astype(float), sets[head, all_rows]
    held, size = its_sets[all_rows, labels].astype(float), its_sets.sum(-1)
    confusion = np.array([[(told[head, all_rows][labels == a] == b).mean() for b in range(3)] for a in range(3)])
    L, H = statements.z.shape[1:3]
    everywhere = np.take_along_axis(sets, labels[None, :, None], axis=2)[..., 0]
    return ThreeWay(
        accuracy=float(shown.mean()),
        accuracy_ci=group_interval(shown, groups, seed),
        chance=float(np.bincount(labels).max() / len(labels)),
        surface=float("nan") if surface is None else float(surface.mean()),
        surface_ci=(float("nan"),) * 2 if surface is None else group_interval(surface, groups, seed),
        confusion=confusion,
        coverage=float(held.mean()),
        coverage_ci=group_interval(held, groups, seed),
        size=float(size.mean()),
        single=float((size == 1).mean()),
        empty=float((size == 0).mean()),
        accuracies=right.mean(1).reshape(L, H),
        coverages=everywhere.mean(1).reshape(L, H),
        sizes=sets.sum(-1).mean(1).reshape(L, H),
    )


def _layer(
    x: Float[Tensor, "H N D"], labels: Int[Tensor, " N"], fold: Int[np.ndarray, " N"], n_folds: int
) -> tuple[Int[np.ndarray, "H N"], Bool[np.ndarray, "H N 3"]]:
    """The likeliest class of every row, and the set of classes that is likely enough."""
    told = np.empty(x.shape[:2], dtype=np.int64)
    sets = np.empty((*x.shape[:2], 3), dtype=bool)
    for k in range(n_folds):
        train, check, test = (
            torch.from_numpy(np.flatnonzero(its))
            for its in ((fold != k) & (fold != (k + 1) % n_folds), fold == (k + 1) % n_folds, fold == k)
        )
        weights, offsets = discriminants(x[:, train], labels[train])
        checked, tested = ((x[:, its] @ weights + offsets[:, None]).softmax(-1) for its in (check, test))
        likely = checked[:, torch.arange(len(check)), labels[check]]
        told[:, test], sets[:, test] = tested.argmax(-1).numpy(), (tested >= _least(likely)[:, None, None]).numpy()
    return told, sets


def _least(likely: Float[Tensor, "H n"]) -> Float[Tensor, " H"]:
    """How likely a class must be to be in a set: below this is the right class in a tenth of new rows at most, if they
    can be exchanged with the rows that this was settled on."""
    n = likely.shape[1]
    rank = int(np.floor((n + 1) * (1 - COVERAGE)))  # of the least likely ones, so many may be missed
    return likely.sort(dim=1).values[:, rank - 1] if rank else likely.new_zeros(len(likely))


def discriminants(
    x: Float[Tensor, "H n D"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "H D 3"], Float[Tensor, "H 3"]]:
    """Logits of three classes that are normal with one covariance, that inside classes, whose diagonal is .1 longer."""
    mean = x.mean(1, keepdim=True)
    x = x - mean
    kinds = torch.nn.functional.one_hot(labels, 3).to(x)
    shares = kinds.mean(0)
    means = torch.einsum("nc,hnd->hcd", kinds, x) / kinds.sum(0)[:, None]
    inside = x - means[:, labels]
    matrices = inside.mT @ inside / x.shape[1]
    variance = matrices.diagonal(dim1=1, dim2=2)
    variance.masked_fill_(variance <= 1e-12 * variance.amax(-1, keepdim=True).clamp(min=1e-30), 1).mul_(1 + MIDDLE)
    weights = (means @ inverses(matrices)).mT
    offsets = shares.log() - torch.einsum("hcd,hdc->hc", means, weights) / 2
    return weights, offsets - (mean @ weights)[:, 0]
