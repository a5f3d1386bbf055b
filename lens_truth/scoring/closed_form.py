"""Linear probes in closed form: ridge, mass-mean and nearest centroid, for all heads, folds and label draws at once, on
the device where the features are.

All three need nothing of the features but sums and Gram matrices. Those of a training set are sums over its folds, and
one inverse serves the true labels and any number of permuted ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.models.room import free_memory
from lens_truth.scoring.inverses import inverses
from lens_truth.scoring.label_draws import ClosedFormKind, LabelDraws

PENALTIES = (0.003, 0.1, 3.0)
"""Ridge penalties to choose from: what is added to the diagonal of the features' correlation matrix."""
_JITTER = 1e-6  # keeps mass-mean defined when features are collinear
_JURY = 8  # heads of a layer, spread evenly, that choose the penalty
_HEADS, _CACHE = 8, 1 << 22  # heads, and bytes of decisions, handled at once on a processor: more overflow its caches


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
    N, L, H, _ = x.shape
    K, P = len(given.folds), given.leaning.shape[1] - 1
    if P and L > 1:  # each layer has its own penalties for draws
        by_layer = [fit_closed_form(x[:, i : i + 1], given, kind) for i in range(L)]
        return torch.cat([told for told, _ in by_layer], dim=1), np.concatenate([null for _, null in by_layer], axis=1)
    held_out, penalties = [(k,) for k in range(K)], _penalties(given, kind)
    chosen = np.zeros((K, L, 1 + P), dtype=np.int64)  # which of them
    decisions, null = x.new_empty(N, L * H, dtype=torch.float32), np.empty((P, L * H))
    for number, (block, some) in enumerate(_blocks(x, given, kind)):
        here = torch.from_numpy(block).to(x.device)
        if number == 0 and len(penalties) > 1:  # with two folds none is left to choose on
            fits = some.trained([(k, (k + 1) % K) for k in range(K)], penalties[:, None, None])
            chosen = some.right(fits, L).argmax(0)
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


def closed_form_probes(
    x: Float[Tensor, "N L H D"], given: LabelDraws, kind: ClosedFormKind, held_out: Sequence[tuple[int, ...]]
) -> tuple[Float[Tensor, "S F D"], Float[Tensor, "S F"]]:
    """The probes of `fit_closed_form` themselves, for the true labels, trained without each set of folds: directions
    and intercepts in raw coordinates, float64. Without one fold they decide on it as `fit_closed_form` says.

    The penalty of ridge is the one with the best accuracy on the fold behind those held out, after training without it
    too; where none is held out, on each fold in turn.
    """
    _, L, H, D = x.shape
    K, penalties = len(given.folds), _penalties(given, kind)
    judged = [[(*out, k) for k in _judges(out, K)] for out in held_out]
    chosen = np.zeros((len(held_out), L), dtype=np.int64)
    directions = x.new_empty(len(held_out), L * H, D, dtype=penalties.dtype)
    intercepts = directions.new_empty(len(held_out), L * H)
    first = torch.zeros(1, dtype=torch.long, device=x.device)
    for number, (block, some) in enumerate(_blocks(x, given, kind)):
        if number == 0 and len(penalties) > 1:
            fits = some.trained([its for judges in judged for its in judges], penalties[:, None, None])
            right = iter(some.right(fits, L)[..., 0].swapaxes(0, 1))  # each A L
            chosen = np.stack([np.sum([next(right) for _ in judges], axis=0).argmax(0) for judges in judged])
        which = torch.from_numpy(chosen[:, block // H]).to(x.device)
        for i, fit in enumerate(some.trained(list(held_out), penalties[which][None])):
            direction, boundary, scale = some.directions(fit, fit.inverses[0], first)
            directions[i, block] = (direction * scale)[:, 0]
            beyond = ((some.mean + fit.mean)[:, None] * direction).sum(-1, keepdim=True) + boundary
            intercepts[i, block] = -(beyond * scale)[:, 0, 0]
    return directions.double(), intercepts.double()


def _judges(held_out: tuple[int, ...], n_folds: int) -> list[int]:
    """The folds on which a penalty is chosen."""
    if not held_out:
        return list(range(n_folds))
    return [next(k % n_folds for k in range(held_out[-1] + 1, 2 * n_folds) if k % n_folds not in held_out)]


def _penalties(given: LabelDraws, kind: ClosedFormKind) -> Float[Tensor, " A"]:
    penalties = {"ridge": PENALTIES if len(given.folds) > 2 else PENALTIES[1:2], "mass-mean": (_JITTER,)}
    return given.leaning.new_tensor(penalties.get(kind, (0.0,)))


def _blocks(
    x: Float[Tensor, "N L H D"], given: LabelDraws, kind: ClosedFormKind
) -> Iterator[tuple[Int[np.ndarray, " F"], _Heads]]:
    """Which heads, and what is computed with: the jury that chooses the penalty first, then all others."""
    N, L, H, D = x.shape
    K, P = len(given.folds), given.leaning.shape[1] - 1
    heads = np.arange(L * H)
    jury = heads.reshape(L, H)[:, :: max(1, H // _JURY)][:, :_JURY].ravel()
    others = np.setdiff1d(heads, jury)
    size = _HEADS if x.device.type == "cpu" else max(1, room(x.device) // (16 * D * (N + K * (4 * D + P))))
    flat = x.flatten(1, 2)
    for block in (jury, *(others[i : i + size] for i in range(0, len(others), size))):
        here = torch.from_numpy(block).to(x.device)
        yield block, _Heads(flat.index_select(1, here).index_select(0, given.order).to(given.leaning), given, kind)


def room(device: torch.device) -> int:
    """Bytes of an accelerator that one block of heads may take."""
    return (free_memory(device) or 0) // 4 if device.type == "cuda" else 1 << 28


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
        self.mean = x.mean(0)
        x -= self.mean  # changes no result; keeps sums accurate
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

    def right(self, fits: list[_Fit], n_layers: int) -> Float[np.ndarray, "A K L P"]:
        """How many rows each penalty decides rightly, over all heads of a layer."""
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
        return right.cpu().numpy()

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
                    direction, boundary, _ = self.directions(fit, inverse, drawn)
                    hits = torch.bmm(direction, tested).gt_(boundary).eq_(labels.index_select(0, drawn)).sum(-1)
                    right[k].index_copy_(0, drawn, hits.T)
        sizes = np.array([labels.shape[1] for labels in self._draws.labels])
        return (right.cpu().double().numpy() / sizes[:, None, None]).mean(0)

    def decisions(self, fits: list[_Fit], inverses: list[Float[Tensor, "F D D"]]) -> Float[Tensor, "N F"]:
        """Out-of-fold decisions for the first draw of the labels."""
        found: list[Float[Tensor, "n F"]] = []
        for fit, inverse in zip(fits, inverses, strict=True):
            first = torch.zeros(1, dtype=torch.long, device=self._x.device)
            direction, boundary, scale = self.directions(fit, inverse, first)
            found.append(((torch.bmm(direction, self._tested(fit)[0]) - boundary) * scale)[:, 0].T)
        return torch.cat(found).float()

    def directions(
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
