"""`TruthDirections`: in which direction of each head truth lies, how far activations spread along it, and how well the
head tells: what an intervention along directions is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.numbers import count
from lens_truth.scoring.activations import HeadActivations, Point
from lens_truth.scoring.head_probes import HeadProbes

Kind = Literal["probe", "mass-mean"]


@dataclass(frozen=True, eq=False)
class TruthDirections:
    """A direction of length 1 for every head, or for the residual stream behind every layer (H = 1): from
    "hallucinated" to "supported".

    >>> directions = lens_truth.truth_directions(lens_truth.HeadProbes.load("probes.safetensors"))
    >>> assert isinstance(directions, lens_truth.TruthDirections)
    >>> directions.best(48)[:3]  # heads
    """

    directions: Float[Tensor, "L H D"]
    """Of length 1; 0 where a head's probe is 0."""
    sigma: Float[Tensor, "L H"]
    """Standard deviation of the projection on it, over the rows that it is from."""
    accuracy: Float[Tensor, "L H"]
    """Of the probes by which heads are ranked, out of fold."""
    provenance: Mapping[str, Any]
    """Of the probes, and the `direction`."""

    @property
    def point(self) -> Point:
        """Where activations were read, and so where the directions act."""
        return "resid_post" if self.provenance.get("point") == "resid_post" else "z"

    def best(self, n: int) -> tuple[tuple[int, int], ...]:
        """The `n` heads (layer, head) with the best probes, the best first; of equals that of the lower layer, then of
        the lower number, which is ITI's order.

        Raises:
            InputError: if there are not so many heads.
        """
        return best_heads(self.accuracy.double().numpy(), n)


def best_heads(scores: Float[np.ndarray, "L H"], n: int) -> tuple[tuple[int, int], ...]:
    """The `n` highest, the highest first; of equals the first."""
    L, H = scores.shape
    if not 1 <= n <= L * H:
        raise InputError(f"{count(n, 'head')} were asked for, and there are 1 to {L * H}")
    order = np.argsort(-scores, axis=None, kind="stable")[:n].tolist()
    return tuple((at // H, at % H) for at in cast("list[int]", order))


def truth_directions(probes: HeadProbes, activations: HeadActivations | None = None) -> TruthDirections:
    """Directions of truth, with what ITI wants beside them (Li et al. 2023, Section 3.2, arXiv 2306.03341).

    - Without `activations` those of the probes: the probe's weights in raw coordinates, scaled to length 1, and the
      standard deviation of the projection on it over the rows that the probes were fitted on.
    - With `activations` the *mass mean shift*: the mean of the supported rows minus the mean of the hallucinated ones,
      scaled to length 1 (no covariance in between: neither the estimator `mass-mean`, S^-1 d, nor `centroid`, D^-1 d),
      and the standard deviation of the projection over these rows. Heads are still ranked by the probes.

    >>> lens_truth.truth_directions(probes, activations).sigma[5, 3]  # of head 5.3

    Args:
        activations: at the point of the probes, of heads of their shape; the rows that they were fitted on, or others.

    Raises:
        InputError: if activations are of another shape or point, or of one label only.
    """
    if activations is None:
        directions, sigma = probes.directions, probes.sigma
    else:
        directions, sigma = _mass_mean(probes, activations)
    length = cast("Tensor", directions.norm(dim=-1, keepdim=True))
    unit = directions / length.clamp(min=torch.finfo(torch.float32).tiny)
    provenance = {**probes.provenance, "direction": "probe" if activations is None else "mass-mean"}
    return TruthDirections(unit, sigma, probes.accuracy, provenance)


def _mass_mean(probes: HeadProbes, activations: HeadActivations) -> tuple[Float[Tensor, "L H D"], Float[Tensor, "L H"]]:
    """The difference of class means, and the standard deviation of the projection on it."""
    its, labels = tuple(activations.z.shape[1:]), activations.labels.cpu().bool()
    if its != tuple(probes.directions.shape) or activations.point != probes.point:
        raise InputError(
            f"activations are of {_by(its)} at {activations.point}, the probes of {_by(probes.directions.shape)} at "
            f"{probes.point}; directions need both of the same heads"
        )
    if labels.all() or not labels.any():
        raise InputError(f"all {len(labels)} rows have one label, and so no difference of means")
    found: list[tuple[Tensor, Tensor]] = []
    for layer in range(its[0]):  # activations may lie on disk
        z = activations.z[:, layer].double()
        apart = z[labels].mean(0) - z[~labels].mean(0)
        length = cast("Tensor", apart.norm(dim=-1, keepdim=True))
        unit = apart / length.clamp(min=torch.finfo(torch.float64).tiny)
        found.append((apart, torch.einsum("nhd,hd->nh", z, unit).std(0, correction=0)))
    apart, sigma = (torch.stack(part).float() for part in zip(*found, strict=True))
    return apart, sigma


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
