"""The rows of several domains side by side: one set of folds over the union of their groups, and a layer's sums and
Gram matrices of every fold and domain, from which all probes between domains follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.numbers import count
from lens_truth.scoring.activations import HeadActivations
from lens_truth.stats.folds import check_labels, grouped_folds

_FEWEST = 3
"""Folds: one is tested on, one chooses penalty and head, at least one is left to train on."""
_FAR = 1e3
"""Squares of single precision are right to 1e-7, so that a variance is to 1e-4."""


@dataclass(frozen=True)
class DomainRows:
    """M domains of one model, N rows in all, in the order of the domains.

    >>> rows = domain_rows({"cities": one, "negated cities": other}, n_folds=5, seed=0)
    """

    names: tuple[str, ...]
    z: tuple[Float[Tensor, "_ L H D"], ...]
    labels: Int[np.ndarray, " N"]
    groups: tuple[str, ...]
    domain: Int[np.ndarray, " N"]
    """The number of every row's domain."""
    fold: Int[np.ndarray, " N"]
    n_folds: int
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, heads a layer, width."""
        L, H, D = self.z[0].shape[1:]
        return L, H, D

    def of(self, domain: int) -> Int[np.ndarray, " n"]:
        """The rows of a domain."""
        return np.flatnonzero(self.domain == domain)

    def groups_of(self, domain: int) -> list[str]:
        """The groups of a domain's rows."""
        return [group for group, its in zip(self.groups, self.domain.tolist(), strict=True) if its == domain]

    def layer(self, number: int, heads: Sequence[int] | None = None, *, exact: bool = True) -> LayerRows:
        """One layer's rows with their sums, or those of some of its heads; in double precision if `exact`, or if single
        precision would leave rounding of a head's variance."""
        parts = [z[:, number] if heads is None else z[:, number, list(heads)] for z in self.z]
        x = torch.cat([part.float() for part in parts])
        if not torch.stack(x.aminmax()).isfinite().all():
            row = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise InputError(f"domain '{self.names[self.domain[row]]}': the activations of a row are not finite")
        return LayerRows(x.double() if exact or self._far_apart(x) else x, self)

    def layers(self, *, exact: bool = True) -> Iterator[LayerRows]:
        """Every layer's."""
        return (self.layer(number, exact=exact) for number in range(self.shape[0]))

    def _far_apart(self, x: Float[Tensor, "N H D"]) -> bool:
        """Whether a domain lies far from the mean of all for what varies in it, as in a head that hardly does anything:
        sums of squares about the mean of all then hold few digits of the variance."""
        ends = np.flatnonzero(np.diff(self.domain, append=-1)) + 1
        parts = torch.tensor_split(x - x.mean(0), ends[:-1].tolist())
        return any(bool((part.mean(0).square() > _FAR * part.var(0)).any()) for part in parts)


class Sums(NamedTuple):
    """Of sets of rows (two axes of sets before the others): everything that a probe in closed form needs of them."""

    n: Float[Tensor, "S T"]
    """How many rows."""
    leaning: Float[Tensor, "S T"]
    """The sum of (label - 1/2)."""
    x: Float[Tensor, "S T H D"]
    signed: Float[Tensor, "S T H D"]
    """The sum of x times (label - 1/2)."""
    grams: Float[Tensor, "S T H D D"]

    def total(self, held_out: Sequence[tuple[int, ...]], *, others: bool = False) -> Sums:
        """Of sums by fold and domain: those of every domain without each set of folds, and behind them, if wanted,
        those of all other domains."""
        K = len(self.n)
        kept = self.n.new_tensor([[k not in out for k in range(K)] for out in held_out])
        parts = [(kept @ part.flatten(1)).view(-1, *part.shape[1:]) for part in self]
        if others:
            parts = [torch.cat([part, part.sum(1, keepdim=True) - part], dim=1) for part in parts]
        return Sums(*parts)


class LayerRows:
    """A layer's rows in the order of folds and, in these, of domains."""

    def __init__(self, x: Float[Tensor, "N H D"], rows: DomainRows) -> None:
        K, M = rows.n_folds, len(rows.names)
        self.order = np.lexsort([rows.domain, rows.fold])
        place = rows.fold[self.order] * M + rows.domain[self.order]
        ends = np.searchsorted(place, np.arange(K * M + 1)).tolist()
        self.at = [[slice(ends[k * M + m], ends[k * M + m + 1]) for m in range(M)] for k in range(K)]
        """The rows of each fold and domain."""
        self.shift = x.mean(0)
        """What was taken from the features, for the sake of the sums' accuracy."""
        self.x = (x - self.shift)[torch.from_numpy(self.order)].transpose(0, 1).contiguous()  # H N D
        self.positive = torch.from_numpy(rows.labels[self.order] == 1)
        H, _, D = self.x.shape
        n, moments, grams = x.new_empty(K, M), x.new_empty(K, M, H, D), x.new_empty(K, M, H, D, D)
        for k in range(K):
            for m in range(M):
                part = self.x[:, self.at[k][m]]
                n[k, m], moments[k, m] = part.shape[1], part.sum(1)
                torch.bmm(part.mT, part, out=grams[k, m])
        leaning, signed = self.by_label()
        self.sums = Sums(n, leaning, moments, signed, grams)

    def relabelled(self, labels: Int[np.ndarray, " N"]) -> LayerRows:
        """The same rows with other labels, given in the order of the domains."""
        other = copy(self)
        other.positive = torch.from_numpy(labels[self.order] == 1)
        other.sums = other.sums._replace(**dict(zip(("leaning", "signed"), other.by_label(), strict=True)))
        return other

    def by_label(self) -> tuple[Float[Tensor, "K M"], Float[Tensor, "K M H D"]]:
        """Of every fold and domain: the sum of (label - 1/2), alone and times the features."""
        sign = self.positive.to(self.x.dtype) - 0.5
        leaning = torch.stack([torch.stack([sign[rows].sum() for rows in fold]) for fold in self.at])
        signed = [[torch.einsum("hnd,n->hd", self.x[:, rows], sign[rows]) for rows in fold] for fold in self.at]
        return leaning, torch.stack([torch.stack(fold) for fold in signed])

    def fold(self, k: int) -> slice:
        """The rows of a fold, of all domains."""
        return slice(self.at[k][0].start, self.at[k][-1].stop)


def domain_rows(domains: Mapping[str, HeadActivations], n_folds: int, seed: int) -> DomainRows:
    """Puts domains side by side and draws folds over the union of their groups, so that a group which several domains
    hold (a claim, its negation, a subject) is held out of all at once.

    Raises:
        InputError: for a single domain, domains of other models or shapes, of one label, with fewer groups than folds.
    """
    if len(domains) < 2:
        raise InputError(f"{count(len(domains), 'domain')} given; directions over domains need at least two")
    if n_folds < _FEWEST:
        raise InputError(f"{n_folds} folds were asked for; probes over domains need at least {_FEWEST}")
    first, one = next(iter(domains.items()))
    for name, its in domains.items():
        if its.z.shape[1:] != one.z.shape[1:]:
            here, there = (" x ".join(map(str, which.z.shape[1:])) for which in (its, one))
            raise InputError(f"domain '{name}' has {here} activations a row, '{first}' {there}")
        for what in ("weights", "template"):
            if its.provenance.get(what) != one.provenance.get(what):
                raise InputError(f"domains '{name}' and '{first}' were captured with different {what}")
        if its.point != one.point:
            raise InputError(f"domain '{name}' was read at {its.point}, '{first}' at {one.point}")
        try:
            check_labels(its.labels.numpy())
        except InputError as error:
            raise InputError(f"domain '{name}': {error}") from error
        if (n := len(set(its.groups))) < n_folds:
            raise InputError(
                f"domain '{name}' has {count(n, 'group')}, fewer than the {n_folds} folds; use fewer folds or more data"
            )
    labels = np.concatenate([its.labels.numpy() for its in domains.values()])
    groups = tuple(group for its in domains.values() for group in its.groups)
    domain = np.repeat(np.arange(len(domains)), [len(its.labels) for its in domains.values()])
    fold = grouped_folds(labels, groups, n_folds, seed, domain)
    for m, name in enumerate(domains):
        for k in range(n_folds):
            # Two folds are held out at a time, where heads are chosen; what is left must hold both labels.
            for j in range(n_folds):
                if len(np.unique(labels[(domain == m) & (fold != k) & (fold != j)])) < 2:
                    raise InputError(
                        f"domain '{name}': without folds {k} and {j} one label is left to train on; use more data"
                    )
    z = tuple(its.z for its in domains.values())
    return DomainRows(tuple(domains), z, labels, groups, domain, fold, n_folds, seed)
