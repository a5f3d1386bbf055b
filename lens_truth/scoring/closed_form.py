"""Linear probes in closed form: ridge, mass-mean and nearest centroid, for all heads, folds and label draws at once, on
the device where the features are.

All three need nothing of the features but sums and Gram matrices. Those of a training set are sums over its folds, and
one inverse serves the true labels and any number of permuted ones.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.models.room import free_memory
from lens_truth.scoring.inverses import inverses

ClosedFormKind = Literal["ridge", "mass-mean", "centroid"]

PENALTIES = (0.003, 0.1, 3.0)
"""Ridge penalties to choose from: what is added to the diagonal of the features' correlation matrix."""
_JITTER = 1e-6  # keeps mass-mean defined when features are collinear
_JURY = 8  # heads of a layer, spread evenly, that choose the penalty
_HEADS, _CACHE = 8, 1 << 22  # heads, and bytes of decisions, handled at once on a processor: more overflow its caches
_FEW = 64  # draws for which pairing rows costs more than it saves


def fit_closed_form(
    x: Float[Tensor, "N L H D"], given: LabelDraws, kind: ClosedFormKind
) -> tuple[Float[Tensor, "N F"], Float[np.ndarray, "P F"]]:
    """Out-of-fold decisions of probes on F = L H heads (above 0: supported), on the device of `x`, and the accuracies
    (mean over folds) of probes fitted and tested on permuted labels. `given` must be for that device and this kind.

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
    K, P = len(given.folds), given.leaning.shape[1] - 1
    if P and L > 1:  # each layer has its own penalties for draws
        by_layer = [fit_closed_form(x[:, i : i + 1], given, kind) for i in range(L)]
        return torch.cat([told for told, _ in by_layer], dim=1), np.concatenate([null for _, null in by_layer], axis=1)
    flat, held_out = x.flatten(1, 2), [(k,) for k in range(K)]
    penalties = {"ridge": PENALTIES if K > 2 else PENALTIES[1:2], "mass-mean": (_JITTER,)}.get(kind, (0.0,))
    penalties = given.leaning.new_tensor(penalties)
    chosen = np.zeros((K, L, 1 + P), dtype=np.int64)  # which of them

    heads = np.arange(L * H)
    jury = heads.reshape(L, H)[:, :: max(1, H // _JURY)][:, :_JURY].ravel()
    others = np.setdiff1d(heads, jury)
    size = _HEADS if x.device.type == "cpu" else max(1, room(x.device) // (16 * D * (N + K * (4 * D + P))))
    blocks = [jury, *(others[i : i + size] for i in range(0, len(others), size))]
    decisions, null = x.new_empty(N, L * H, dtype=torch.float32), np.empty((P, L * H))
    for number, block in enumerate(blocks):
        here = torch.from_numpy(block).to(x.device)
        some = _Heads(flat.index_select(1, here).index_select(0, given.order).to(penalties), given, kind)
        if number == 0 and len(penalties) > 1:  # with two folds none is left to choose on
            chosen = some.choose(some.trained([(k, (k + 1) % K) for k in range(K)], penalties[:, None, None]), L)
        if P:
            fits = some.trained(held_out, penalties[:, None, None])
            null[:, block] = some.accuracies(fits, chosen[:, 0])[1:]
            told = [fit.inverses[chosen[k, 0, 0]] for k, fit in enumerate(fits)]
        else:
            which = torch.from_numpy(chosen[:, block // H, 0]).to(x.device)
            fits = some.trained(held_out, penalties[which][None])
            told = [fit.inverses[0] for fit in fits]
        decisions[given.order[:, None], here] = some.decisions(fits, told)
    return decisions, null


def room(device: torch.device) -> int:
    """Bytes of an accelerator that one block of heads may take."""
    return (free_memory(device) or 0) // 4 if device.type == "cuda" else 1 << 28


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


class _Fit(NamedTuple):
    """What probes need that are trained without some folds and tested on the last of these."""

    held_out: tuple[int, ...]
    n: float
    mean: Float[Tensor, "F D"]
    inverses: Float[Tensor, "A F D D"]
    """For each penalty a: of S + a D; for the centroid of D."""


class _Heads:
    """Some heads' rows, with the sums and Gram matrices of each fold."""

    def __init__(self, x: Float[Tensor, "N F D"], draws: LabelDraws, kind: str) -> None:
        x -= x.mean(0)  # changes no result; keeps sums accurate
        self._x, self._draws, self._kind = x, draws, kind
        self._moments = torch.stack([x[rows].sum(0) for rows in draws.folds])  # K F D
        self._grams = x.new_empty(len(draws.folds), *x.shape[1:], x.shape[2])  # K F D D
        for rows, gram in zip(draws.folds, self._grams, strict=True):
            torch.bmm(x[rows].permute(1, 2, 0), x[rows].transpose(0, 1), out=gram)
        self._sums = draws.sums(x)

    def trained(self, held_out: list[tuple[int, ...]], penalties: Float[Tensor, "..."]) -> list[_Fit]:
        """Probes for each set of folds to be held out."""
        sizes = [rows.stop - rows.start for rows in self._draws.folds]
        n = [sum(size for k, size in enumerate(sizes) if k not in out) for out in held_out]
        shares = [[(k not in out) / its for k in range(len(sizes))] for out, its in zip(held_out, n, strict=True)]
        kept = self._x.new_tensor(shares)  # S K
        mean, covariance = ((kept @ of.flatten(1)).view(-1, *of.shape[1:]) for of in (self._moments, self._grams))
        flat = mean.flatten(0, 1)
        covariance.flatten(0, 1).baddbmm_(flat[:, :, None], flat[:, None], alpha=-1)
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        # A constant feature gets variance 1, which leaves it without effect.
        variance.masked_fill_(variance <= 1e-12 * variance.amax(-1, keepdim=True).clamp(min=1e-30), 1)
        if self._kind == "centroid":
            found = torch.diag_embed(1 / variance)[None]
        else:
            matrices = covariance.repeat(len(penalties), 1, 1, 1, 1)
            matrices.diagonal(dim1=-2, dim2=-1).mul_(1 + penalties[..., None])
            found = inverses(matrices)
        return [_Fit(out, n[i], mean[i], found[:, i]) for i, out in enumerate(held_out)]

    def choose(self, fits: list[_Fit], n_layers: int) -> Int[np.ndarray, "K L P"]:
        """Which penalty decides best over all heads of a layer."""
        n_draws = self._sums.shape[1]
        right = self._x.new_empty(len(fits[0].inverses), len(fits), n_layers, n_draws)
        for k, fit in enumerate(fits):
            tested, labels = self._tested(fit)
            weighed = [inverse @ tested for inverse in fit.inverses]
            for drawn in torch.split(torch.arange(n_draws, device=self._x.device), self._step(tested)):
                apart, leaning = self._apart(fit, drawn)
                these = labels.index_select(0, drawn)
                for a, by in enumerate(weighed):
                    hits = torch.bmm(apart, by).gt_(-leaning).eq_(these).sum(-1)
                    right[a, k].index_copy_(1, drawn, hits.view(n_layers, -1, len(drawn)).sum(1))
        return right.cpu().numpy().argmax(0)

    def accuracies(self, fits: list[_Fit], chosen: Int[np.ndarray, "K P"]) -> Float[np.ndarray, "P F"]:
        """Means over folds, for every draw of the labels."""
        right = self._x.new_empty(len(fits), *self._sums.shape[1:3])
        for k, fit in enumerate(fits):
            tested, labels = self._tested(fit)
            step = self._step(tested)
            for a, inverse in enumerate(fit.inverses):
                its = torch.from_numpy(np.flatnonzero(chosen[k] == a)).to(right.device)
                for start in range(0, len(its), step):
                    drawn = its[start : start + step]
                    direction, boundary, _ = self._directions(fit, inverse, drawn)
                    hits = torch.bmm(direction, tested).gt_(boundary).eq_(labels.index_select(0, drawn)).sum(-1)
                    right[k].index_copy_(0, drawn, hits.T)
        sizes = np.array([labels.shape[1] for labels in self._draws.labels])
        return (right.cpu().double().numpy() / sizes[:, None, None]).mean(0)

    def decisions(self, fits: list[_Fit], inverses: list[Float[Tensor, "F D D"]]) -> Float[Tensor, "N F"]:
        """Out-of-fold decisions for the first draw of the labels."""
        found: list[Float[Tensor, "n F"]] = []
        for fit, inverse in zip(fits, inverses, strict=True):
            first = torch.zeros(1, dtype=torch.long, device=self._x.device)
            direction, boundary, scale = self._directions(fit, inverse, first)
            found.append(((torch.bmm(direction, self._tested(fit)[0]) - boundary) * scale)[:, 0].T)
        return torch.cat(found).float()

    def _directions(
        self, fit: _Fit, inverse: Float[Tensor, "F D D"], drawn: Int[Tensor, " p"]
    ) -> tuple[Float[Tensor, "F p D"], Float[Tensor, "#F p 1"], Float[Tensor, "p 1"] | float]:
        """Directions for some draws, the boundary on each, and the factor that makes decisions of what lies beyond."""
        apart, leaning = self._apart(fit, drawn)
        direction = torch.bmm(apart, inverse)
        if self._kind == "ridge":
            return direction, -leaning[None], 1 / fit.n
        balance = fit.n**2 / 4 - leaning**2  # labels 1 times labels 0
        return direction, (apart * direction).sum(-1, keepdim=True) * (-leaning / balance), fit.n / balance

    def _apart(self, fit: _Fit, drawn: Int[Tensor, " p"]) -> tuple[Float[Tensor, "F p D"], Float[Tensor, "p 1"]]:
        """Of the training rows: sums of centred features times (label - 1/2), and how many labels above half are 1."""
        sums, leaning = (of.index_select(0, drawn) for of in (self._sums[-1], self._draws.leaning[-1]))
        for k in fit.held_out:
            sums -= self._sums[k].index_select(0, drawn)
            leaning -= self._draws.leaning[k].index_select(0, drawn)
        if not self._draws.even:
            sums.addcmul_(leaning[:, None, None], fit.mean, value=-1)
        return sums.transpose(0, 1), leaning[:, None]

    def _tested(self, fit: _Fit) -> tuple[Float[Tensor, "F D n"], Float[Tensor, "P n"]]:
        """Centred features of the fold to test on, and its labels."""
        k = fit.held_out[-1]
        return (self._x[self._draws.folds[k]] - fit.mean).permute(1, 2, 0), self._draws.labels[k]

    def _step(self, tested: Float[Tensor, "F D n"]) -> int:
        """How many draws are decided at once."""
        F, _, n = tested.shape
        return max(1, (_CACHE if tested.device.type == "cpu" else room(tested.device)) // (4 * F * n))
