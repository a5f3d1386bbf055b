"""`Detector`: which heads' probes are asked together, with what weights, and from where on an answer counts as
supported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.io.results import structured

if TYPE_CHECKING:
    from torch import Tensor

    from lens_truth.scoring.head_probes import HeadProbes

Head = tuple[int, int]
_UNCHOSEN = 16
"""Heads of a detector that was not chosen on any rows."""
_PART = "detector"
"""Where it stands in the provenance of probes."""


@dataclass(frozen=True, eq=False)
class Detector:
    """A score of answers: the weighted sum of some heads' decisions, each in units of its own standard deviation (that
    over the rows that its probe was fitted on).

    >>> detector = lens_truth.Detector.of(lens_truth.HeadProbes.load("runs/detect/probes.safetensors"))
    >>> scores = detector.score(decisions)  # of all heads, in units of their standard deviations
    >>> supported, probability = scores > detector.threshold, detector.probability(scores)
    >>> kept = dataclasses.replace(probes, provenance={**probes.provenance, **detector.in_provenance()})
    """

    heads: tuple[Head, ...]
    """Layer and head of each, best first; of probes of the residual stream the head is 0."""
    weights: Float[np.ndarray, " K"]
    offset: float
    kind: str
    """`mean` or `logistic`."""
    threshold: float
    """An answer with a higher score counts as supported: the best accuracy on validation rows, while held out."""
    slope: float
    """P(supported) = sigmoid(slope * score + intercept), by Platt scaling on the same rows."""
    intercept: float
    n_validation: int
    """Rows that it was chosen on; 0 if the heads are the best of the probes' own folds, and nothing was chosen."""

    @classmethod
    def of(cls, probes: HeadProbes, heads: Sequence[Head] | None = None) -> Detector:
        """The detector that `lens-truth detect` left with probes; without one, or with `heads` named, the mean of the
        decisions of those (by default of the 16 with the best AUROC out of fold), above 0 for supported; probabilities
        by the means of their calibrations' slopes and offsets.

        Raises:
            InputError: if a head is not there, or the kept detector cannot be read.
        """
        L, H = probes.intercepts.shape
        if heads is None and (kept := probes.provenance.get(_PART)) is not None:
            found = structured(cls, kept, _PART)
            _check_heads(found.heads, L, H)
            return found
        if heads is None:
            best = np.argsort(-probes.auroc.numpy().ravel(), kind="stable")[:_UNCHOSEN]
            heads = [divmod(head, H) for head in best.tolist()]
        _check_heads(heads, L, H)
        at = tuple(np.array(list(heads)).T)
        scaling, unit = probes.calibration.double().numpy()[at], units_of(probes)[at]
        return cls(
            heads=tuple((int(layer), int(head)) for layer, head in heads),
            weights=np.full(len(heads), 1 / len(heads)),
            offset=0.0,
            kind="mean",
            threshold=0.0,
            slope=float((scaling[:, 0] * unit).mean()),
            intercept=float(scaling[:, 1].mean()),
            n_validation=0,
        )

    def in_provenance(self) -> dict[str, Any]:
        """As `of` finds it in the provenance of probes."""
        return {_PART: {**asdict(self), "heads": [list(head) for head in self.heads], "weights": self.weights.tolist()}}

    @property
    def n_heads(self) -> int:
        """How many it reads."""
        return len(self.heads)

    def score(self, decisions: Float[np.ndarray, "*rows L H"]) -> Float[np.ndarray, "*rows"]:
        """Above `threshold` for supported; from all heads' decisions in units of their standard deviations."""
        layers, heads = np.array(self.heads).T
        return decisions[..., layers, heads] @ self.weights + self.offset

    def probability(self, scores: Float[np.ndarray, "*rows"]) -> Float[np.ndarray, "*rows"]:
        """That the answer is supported."""
        return 0.5 * (1 + np.tanh((self.slope * scores + self.intercept) / 2))


def units_of(probes: HeadProbes) -> Float[np.ndarray, "L H"]:
    """The standard deviation of every head's decisions over the rows that its probe was fitted on; 1 for a probe that
    decides all rows alike."""
    length = cast("Tensor", probes.directions.double().norm(dim=-1))
    unit = (probes.sigma.double() * length).numpy()
    return np.where(unit > 0, unit, 1.0)


def summed_directions(
    detector: Detector, probes: HeadProbes, widths: Mapping[int, int]
) -> tuple[list[Float[Tensor, "H D"]], float]:
    """For each layer that is read (with the width of all its heads side by side), in order, what its heads' outputs are
    multiplied by, and what is added to the sum: together the detector's score."""
    import torch

    H, unit, constant = probes.intercepts.shape[1], units_of(probes), detector.offset
    summed = {layer: torch.zeros(H, width // H, dtype=torch.float64) for layer, width in widths.items()}
    for (layer, head), weight in zip(detector.heads, detector.weights.tolist(), strict=True):
        of_layer, scale = summed[layer], weight / float(unit[layer, head])
        of_layer[head] += scale * probes.directions[layer, head, : of_layer.shape[1]].double()
        constant += scale * float(probes.intercepts[layer, head])
    return [its.float() for its in summed.values()], constant


def _check_heads(heads: Sequence[Head], n_layers: int, n_heads: int) -> None:
    if not heads:
        raise InputError("no heads were named to be watched")
    for layer, head in heads:
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise InputError(f"there is no probe of head {layer}.{head}: they are of {n_layers} x {n_heads} heads")
