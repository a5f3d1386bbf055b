"""`LabelDraws`: labels, draws of them, and sums of features over each, for probes in closed form."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

ClosedFormKind = Literal["ridge", "mass-mean", "centroid"]

_FEW = 64  # draws for which pairing rows costs more than it saves


class LabelDraws:
    """The true labels and draws of them, and an order of the rows: by folds, and in each first pairs of rows whose
    labels are equal or opposite in every draw (as those of a right and a wrong answer are), which count as one row in
    sums."""

    def __init__(
        self,
        labels: Int[np.ndarray, " N"],
        draws: Int[np.ndarray, "P N"],
        fold: Int[np.ndarray, " N"],
        kind: ClosedFormKind,
        device: torch.device,
    ) -> None:
        y = np.concatenate([labels[None], draws]).astype(np.int8)
        like = torch.empty(0, dtype=torch.float64 if kind == "mass-mean" else torch.float32, device=device)
        orders = [_in_pairs(y, np.flatnonzero(fold == k), paired=len(y) > _FEW) for k in range(int(fold.max()) + 1)]
        self.order = torch.from_numpy(np.concatenate([rows for rows, _ in orders])).to(device)
        self.folds = [slice(a, b) for a, b in pairwise([0, *np.cumsum([len(rows) for rows, _ in orders]).tolist()])]
        self.labels = [torch.from_numpy(y.take(rows, axis=1)).to(like) for rows, _ in orders]  # each P+1 n
        leaning = torch.stack([its.sum(1) - its.shape[1] / 2 for its in self.labels])
        self.leaning = torch.cat([leaning, leaning.sum(0, keepdim=True)])  # K+1 P+1: how many above half are 1
        self.even = not self.leaning.any()
        self._signs, self._relations = list[Tensor](), list[Tensor]()
        for its, (_, n) in zip(self.labels, orders, strict=True):
            self._signs.append(torch.cat([its[:, :n], its[:, 2 * n :]], dim=1) - 0.5)
            self._relations.append(torch.where(its[0, :n] == its[0, n : 2 * n], 1, -1).to(like)[:, None, None])

    def sums(self, x: Float[Tensor, "N F D"]) -> Float[Tensor, "K1 P1 F D"]:
        """Of each fold, and at last of all: the sum of features times (label - 1/2)."""
        sums = x.new_empty(len(self.folds) + 1, self.leaning.shape[1], *x.shape[1:])
        for rows, signs, relation, out in zip(self.folds, self._signs, self._relations, sums[:-1], strict=True):
            n, part = len(relation), x[rows]
            if n:
                part = torch.cat([torch.addcmul(part[:n], part[n : 2 * n], relation), part[2 * n :]])
            torch.mm(signs, part.flatten(1), out=out.view(len(signs), -1))
        torch.sum(sums[:-1], 0, out=sums[-1])
        return sums


def _in_pairs(y: Int[np.ndarray, "P N"], rows: Int[np.ndarray, " n"], *, paired: bool) -> tuple[np.ndarray, int]:
    """The rows in the order: the first of each pair, the second of each, rows without such another; and how many pairs
    there are."""
    if not paired:
        return rows, 0
    here = y[:, rows]
    _, kind = np.unique(np.packbits(here != here[:1], axis=0).T, axis=0, return_inverse=True)
    by_kind = np.argsort(kind.ravel(), kind="stable")
    place = np.arange(len(rows)) - np.searchsorted(kind.ravel()[by_kind], kind.ravel()[by_kind])  # among those alike
    second = np.flatnonzero(place % 2)
    alone = np.setdiff1d(np.arange(len(rows)), [*second, *(second - 1)])
    return rows[by_kind[np.concatenate([second - 1, second, alone]).astype(int)]], len(second)
