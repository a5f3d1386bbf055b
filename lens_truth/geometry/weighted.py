"""Sums of some rows, each with a weight and a label that can be changed, for probes in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.geometry.probes import Probes, probes
from lens_truth.geometry.rows import Sums
from lens_truth.scoring.label_draws import ClosedFormKind


class Part(NamedTuple):
    """Sums over sets of rows."""

    n: Float[Tensor, " S"]
    leaning: Float[Tensor, " S"]
    x: Float[Tensor, "S H D"]
    signed: Float[Tensor, "S H D"]
    grams: Float[Tensor, "S H D D"]

    def labelled(self, label: float) -> Part:
        """The same rows, all with one label."""
        return self._replace(leaning=self.n * (label - 0.5), signed=self.x * (label - 0.5))

    def plus(self, other: Part) -> Part:
        """Both together."""
        return Part(*(one + its for one, its in zip(self, other, strict=True)))

    def without_each(self) -> Part:
        """Of parts by fold: all but each."""
        return Part(*(its.sum(0, keepdim=True) - its for its in self))

    def total(self) -> Part:
        """All sets as one."""
        return Part(*(its.sum(0, keepdim=True) for its in self))


def weighted_sums(x: Float[Tensor, "H N D"], weights: Float[Tensor, "S N"], sign: Float[Tensor, " N"]) -> Part:
    """Of every set of rows, each row as often as its weight says; `sign` is the label less 1/2."""
    H, _, D = x.shape
    grams = x.new_empty(len(weights), H, D, D)
    for weight, gram in zip(weights, grams, strict=True):
        rows = weight.nonzero()[:, 0]
        part = x[:, rows]
        torch.bmm((part * weight[rows, None]).mT, part, out=gram)
    one, signed = (torch.einsum("sn,hnd->shd", its, x) for its in (weights, weights * sign))
    return Part(weights.sum(1), weights @ sign, one, signed, grams)


def fitted(*parts: Part, kind: ClosedFormKind) -> Probes:
    """Probes on several kinds of training rows (T), for every set (S)."""
    return probes(Sums(*(torch.stack(its, dim=1) for its in zip(*parts, strict=True))), kind)
