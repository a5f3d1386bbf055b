"""Linear probes in closed form: ridge, mass-mean and nearest centroid, for all heads, folds and label draws at once, on
the device where the features are.

All three need nothing of the features but sums and Gram matrices. Those of a training set are sums over its folds, and
one inverse serves the true labels and any number of permuted ones.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.scoring.inverses import inverses

ClosedFormKind = Literal["ridge", "mass-mean", "centroid"]

PENALTIES = (0.003, 0.1, 3.0)
"""Ridge penalties to choose from: what is added to the diagonal of the features' correlation matrix."""
_JITTER = 1e-6  # keeps mass-mean defined when features are collinear
_JURY = 8  # heads of a layer, spread evenly, that choose the penalty
_HEADS, _CACHE = 8, 1 << 21  # heads, and bytes of decisions, handled at once on a processor: more overflow its caches
_FEW = 64  # draws for which pairing rows costs more than it saves


def fit_closed_form(
    x: Float[Tensor, "N L H D"],
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    draws: Int[np.ndarray, "P N"],
    kind: ClosedFormKind,
) -> tuple[Float[Tensor, "N F"], Float[np.ndarray, "P F"]]:
    """Out-of-fold decisions of probes on F = L H heads (above 0: supported), on the device of `x`, and the accuracies
    (mean over folds) of probes fitted and tested on permuted labels.

    Features are standardised inside the training rows. In raw coordinates, with training covariance S, D = diag(S),
    difference of class means d, covariance of features and label b, and labels y in {0, 1}, the direction is

    - ridge: (S + a D)^-1 b, and the decision is the fitted label minus 1/2. For each held-out fold and draw of the
      labels, the penalty `a` is the one with the best accuracy on the next fold after training on the others; one for
      all heads of a layer, by a jury of 8 of them;
    - mass-mean: S^-1 d, the optimal probe for two Gaussians of one covariance (Marks and Tegmark 2023, Section 5, the
      form for in-distribution data; total and within-class covariance give the same direction);
    - centroid: D^-1 d, so that the class of the nearer mean wins (scikit-learn's NearestCentroid);

    and for the last two the boundary lies midway between the projected class means.
    """
    N, L, H, D = x.shape
    order = np.argsort(fold, kind="stable")
    folds = [slice(a, b) for a, b in pairwise([0, *np.cumsum(np.bincount(fold)).tolist()])]
    K, P = len(folds), len(draws)
    rows = torch.from_numpy(order).to(x.device)
    like = x.new_empty(0, dtype=torch.float64 if kind == "mass-mean" else torch.float32)
    told, drawn = (_Draws(y.take(order, axis=1), folds, like) for y in (labels[None], draws))
    penalties = like.new_tensor({"ridge": PENALTIES if K > 2 else PENALTIES[1:2], "mass-mean": [_JITTER]}.get(kind, [0]))
    of_told, of_drawn = np.zeros((K, L, 1), dtype=np.int64), np.zeros((K, L, P), dtype=np.int64)
    if len(penalties) > 1:  # with two folds none is left to choose on
        chosen_by = x[:, :, :: max(1, H // _JURY)][:, :, :_JURY].flatten(1, 2)
        jury = _Heads(chosen_by[rows].to(like), folds, [(k, (k + 1) % K) for k in range(K)], kind)
        of_told, of_drawn = (jury.choose(draws, penalties, L) for draws in (told, drawn))

    decisions, null = x.new_empty(N, L * H, dtype=torch.float32), np.empty((P, L * H))
    flat, layer = x.flatten(1, 2), np.repeat(np.arange(L), H)
    span = H if P else L * H  # of so many heads each draw has one penalty
    size = min(span, _HEADS if x.device.type == "cpu" else max(1, _room(x.device) // (16 * D * (N + K * (4 * D + P)))))
    for start, stop in ((a, min(a + size, b + span)) for b in range(0, L * H, span) for a in range(b, b + span, size)):
        heads = _Heads(flat[:, start:stop].index_select(0, rows).to(like), folds, [(k,) for k in range(K)], kind)
        which = torch.from_numpy(of_told[:, layer[start:stop], 0]).to(x.device)  # K F
        if P:
            inverse = heads.inverses(penalties[:, None, None])
            right = heads.count(drawn, inverse, of_drawn[:, layer[start]]).cpu().double()
            shares = right / torch.tensor([part.stop - part.start for part in folds])[:, None, None]
            null[:, start:stop] = shares.mean(0).numpy()
            inverse = torch.stack([inverse[which[k], k, torch.arange(stop - start)] for k in range(K)])
        else:
            inverse = heads.inverses(penalties[which][None])[0]
        decisions[rows, start:stop] = heads.decide(told, inverse).float()
    return decisions, null


def _room(device: torch.device) -> int:
    """Bytes that one block of heads may take on an accelerator."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 1 << 28


class _Draws:
    """Draws of the labels, of rows in the order of the folds."""

    def __init__(self, y: Int[np.ndarray, "P N"], folds: list[slice], like: Tensor) -> None:
        self.labels = [like.new_tensor(y[:, rows]) for rows in folds]  # each P n
        self.leaning = torch.stack([(labels - 0.5).sum(1) for labels in self.labels])  # K P: how many more than half are 1
        self._folds = folds
        self._pairs = [_paired(y[:, rows], like) if len(y) > _FEW else None for rows in folds]

    def sums(self, x: Float[Tensor, "N F D"]) -> Float[Tensor, "K P F D"]:
        """Of each fold: the sum of features times (label - 1/2)."""
        sums = x.new_empty(len(self._folds), len(self.labels[0]), *x.shape[1:])
        for rows, labels, pairs, out in zip(self._folds, self.labels, self._pairs, sums, strict=True):
            part, signs = x[rows], labels - 0.5
            if pairs is not None:
                first, second, relation = pairs
                part = part.index_select(0, first).addcmul_(part.index_select(0, second), relation[:, None, None])
                signs = signs.index_select(1, first)
            torch.mm(signs, part.flatten(1), out=out.view(len(signs), -1))
        return sums


def _paired(y: Int[np.ndarray, "P n"], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows two and two whose labels are equal (1) or opposite (-1) in every draw, as in pairs of a right and a wrong
    answer, so that they count as one row; a row without such another stands by itself (0)."""
    _, number = np.unique(np.packbits(y ^ y[:1] ^ 1, axis=0).T, axis=0, return_inverse=True)
    in_order = np.argsort(number, kind="stable")
    first, second, relation = [], [], []
    i = 0
    while i < len(in_order):
        a = b = in_order[i]
        if i + 1 < len(in_order) and number[in_order[i + 1]] == number[a]:
            b = in_order[i + 1]
        first.append(a), second.append(b), relation.append(0 if a == b else 1 if y[0, a] == y[0, b] else -1)
        i += 1 if a == b else 2
    return torch.tensor(first, device=like.device), torch.tensor(second, device=like.device), like.new_tensor(relation)


class _Heads:
    """Some heads' rows in the order of the folds, and what probes need that are trained without some folds: K times,
    each time tested on the last of these."""

    def __init__(
        self, x: Float[Tensor, "N F D"], folds: list[slice], held_out: list[tuple[int, ...]], kind: str
    ) -> None:
        x -= x.mean(0)  # changes no result; keeps sums accurate
        self._x, self._folds, self._held_out, self._kind = x, folds, held_out, kind
        sizes = x.new_tensor([rows.stop - rows.start for rows in folds])
        sums = torch.stack([x[rows].sum(0) for rows in folds])  # K F D
        grams = x.new_empty(len(folds), *x.shape[1:], x.shape[2])  # K F D D
        for rows, gram in zip(folds, grams, strict=True):
            torch.bmm(x[rows].permute(1, 2, 0), x[rows].transpose(0, 1), out=gram)
        self._kept = x.new_tensor([[k not in out for k in range(len(folds))] for out in held_out])  # K K
        self._n = self._kept @ sizes
        self._mean = torch.tensordot(self._kept, sums, 1) / self._n[:, None, None]
        self._covariance = torch.tensordot(self._kept / self._n[:, None], grams, 1)
        self._covariance -= self._mean[..., :, None] * self._mean[..., None, :]
        variance = self._covariance.diagonal(dim1=-2, dim2=-1)
        # A constant feature gets variance 1, which leaves it without effect.
        variance.masked_fill_(variance <= 1e-12 * variance.amax(-1, keepdim=True).clamp(min=1e-30), 1)

    def inverses(self, penalties: Float[Tensor, "A #K #F"]) -> Float[Tensor, "A K F D D"]:
        """Of S + penalty * diag(S); for the centroid of diag(S)."""
        variance = self._covariance.diagonal(dim1=-2, dim2=-1)
        if self._kind == "centroid":
            return torch.diag_embed(1 / variance)[None]
        matrices = self._covariance.repeat(len(penalties), 1, 1, 1, 1)
        matrices.diagonal(dim1=-2, dim2=-1).mul_(1 + penalties[..., None])
        return inverses(matrices)

    def choose(self, draws: _Draws, penalties: Float[Tensor, " A"], n_layers: int) -> Int[np.ndarray, "K L P"]:
        """Which penalty decides best over all heads of a layer."""
        sums, inverse = draws.sums(self._x), self.inverses(penalties[:, None, None])
        right = sums.new_empty(len(penalties), len(self._folds), n_layers, sums.shape[1])
        for k in range(len(self._folds)):
            contrast, leaning, tested, labels = self._split(k, draws, sums)
            for a in range(len(penalties)):
                weighed = inverse[a, k] @ tested
                for some in torch.arange(sums.shape[1]).split(self._step(tested)):
                    drawn = slice(int(some[0]), int(some[-1]) + 1)
                    decisions = torch.bmm(contrast[drawn].transpose(0, 1), weighed)  # F p n
                    hits = decisions.gt_(-leaning[drawn, None]).eq_(labels[drawn]).sum(-1)
                    right[a, k, :, drawn] = hits.unflatten(0, (n_layers, -1)).sum(1)
        return right.cpu().numpy().argmax(0)

    def count(
        self, draws: _Draws, inverse: Float[Tensor, "A K F D D"], chosen: Int[np.ndarray, "K P"]
    ) -> Float[Tensor, "K P F"]:
        """How many decisions are right on each fold."""
        sums = draws.sums(self._x)
        right = sums.new_empty(sums.shape[:3])
        for k in range(len(self._folds)):
            contrast, leaning, tested, labels = self._split(k, draws, sums)
            for a in range(len(inverse)):
                for drawn in torch.from_numpy(np.flatnonzero(chosen[k] == a)).to(sums.device).split(self._step(tested)):
                    apart = contrast.index_select(0, drawn).transpose(0, 1)  # F p D
                    direction = torch.bmm(apart, inverse[a, k])
                    boundary = self._boundary(k, leaning[drawn], apart, direction)
                    hits = torch.bmm(direction, tested).gt_(boundary).eq_(labels.index_select(0, drawn)).sum(-1)
                    right[k].index_copy_(0, drawn, hits.T)
        return right

    def decide(self, draws: _Draws, inverse: Float[Tensor, "K F D D"]) -> Float[Tensor, "N F"]:
        """Out-of-fold decisions for one draw."""
        sums, decisions = draws.sums(self._x), []
        for k in range(len(self._folds)):
            contrast, leaning, tested, _ = self._split(k, draws, sums)
            apart = contrast.transpose(0, 1)  # F 1 D
            direction = torch.bmm(apart, inverse[k])
            n = self._n[k]
            scale = 1 / n if self._kind == "ridge" else n / (n * n / 4 - leaning**2)
            found = (torch.bmm(direction, tested) - self._boundary(k, leaning, apart, direction)) * scale
            decisions.append(found[:, 0].T)
        return torch.cat(decisions)

    def _split(self, k: int, draws: _Draws, sums: Float[Tensor, "K P F D"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of training without some folds: the sum of centred features times (label - 1/2), the number of labels 1 above
        half; and of the fold to test on: features and labels."""
        training = [j for j in range(len(self._folds)) if j not in self._held_out[k]]
        tested = self._held_out[k][-1]
        contrast = sums[training[0]].clone()
        for j in training[1:]:
            contrast += sums[j]
        leaning = draws.leaning[training].sum(0)
        contrast.addcmul_(leaning[:, None, None], self._mean[k], value=-1)
        centred = self._x[self._folds[tested]] - self._mean[k]
        return contrast, leaning, centred.permute(1, 2, 0), draws.labels[tested]

    def _boundary(self, k: int, leaning: Tensor, apart: Tensor, direction: Tensor) -> Tensor:
        if self._kind == "ridge":
            return -leaning[:, None]
        return (apart * direction).sum(-1, keepdim=True) * (-leaning / (self._n[k] ** 2 / 4 - leaning**2))[:, None]

    def _step(self, tested: Float[Tensor, "F D n"]) -> int:
        """How many draws are decided at once."""
        F, _, n = tested.shape
        return max(1, (_CACHE if tested.device.type == "cpu" else _room(tested.device)) // (4 * F * n))
