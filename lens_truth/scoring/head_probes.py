"""`HeadProbes`: the probes behind truth scores, kept: a direction and an intercept for every head, to decide on what
was not there when they were fitted."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.files import write_bytes
from lens_truth.io.stages import stage
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.scoring.activations import HeadActivations, Point
from lens_truth.scoring.calibration import platt_scaling
from lens_truth.scoring.capturing import shape_of
from lens_truth.scoring.fitted import fitted_probes
from lens_truth.scoring.metrics import fold_metrics
from lens_truth.scoring.probing import Estimator, blocks_of, check_estimator, folds_of, nan_mean
from lens_truth.scoring.score_files import METADATA, kept_tensors
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.folds import check_labels

POSITION = "last answer token"
"""Where activations are read, and so what probes know to read."""


@dataclass(frozen=True, eq=False, repr=False)
class HeadProbes:
    """A linear probe for every head, or for the residual stream behind every layer (H = 1, D = d_model).

    >>> probes = lens_truth.HeadProbes.fit(lens_truth.capture(model, examples))
    >>> probes.save("probes.safetensors")
    >>> probes = lens_truth.HeadProbes.load("probes.safetensors")
    >>> probes.probability(lens_truth.capture(model, others).z)[:, 5, 3]  # that head 5.3 says "supported"
    """

    directions: Float[Tensor, "L H D"]
    """In raw coordinates, float32; a decision is `z . direction + intercept`."""
    intercepts: Float[Tensor, "L H"]
    calibration: Float[Tensor, "L H 2"]
    """Slope a and offset b of P(supported) = sigmoid(a * decision + b), from decisions out of fold (Platt 1999)."""
    sigma: Float[Tensor, "L H"]
    """Standard deviation, over the rows fitted on, of the projection on the direction of length 1 (ITI, Section 3)."""
    accuracy: Float[Tensor, "L H"]
    """Out of fold, mean over folds: the truth score."""
    auroc: Float[Tensor, "L H"]
    """Out of fold, mean over folds."""
    saw: Int[Tensor, " G"]
    """Of each group fitted on a hash, ascending: see `seen`."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Model, weights, data, template, point and position that they were fitted on, estimator, folds, seed."""

    def __post_init__(self) -> None:
        L, H, D = self.directions.shape if self.directions.ndim == 3 else (0, 0, 0)
        held = {name: getattr(self, name) for name in ("intercepts", "sigma", "accuracy", "auroc")}
        wrong = {name: tuple(its.shape) for name, its in held.items() if its.shape != (L, H)}
        if self.calibration.shape != (L, H, 2):
            wrong["calibration"] = tuple(self.calibration.shape)
        if not L * H * D or wrong:
            shapes = "".join(f", {name} {shape}" for name, shape in wrong.items())
            raise InputError(
                f"probes have directions of shape {tuple(self.directions.shape)}{shapes}; they must be (layers, heads, "
                "width), and the others (layers, heads)"
            )
        for name, its in {"directions": self.directions, "calibration": self.calibration, **held}.items():
            if not (its.is_floating_point() and torch.isfinite(its).all()):
                raise InputError(f"the {name} of the probes hold numbers that are not finite, or whole ones")
        if self.saw.ndim != 1 or self.saw.dtype != torch.int64:
            raise InputError(
                f"the groups that the probes have seen are {self.saw.dtype} of shape {tuple(self.saw.shape)}; they "
                "must be a list of hashes, int64"
            )

    @classmethod
    @stage("probes")
    def fit(
        cls,
        activations: HeadActivations,
        *,
        estimator: Estimator = "ridge",
        n_folds: int = 5,
        seed: int = 0,
        without: Collection[int] = (),
        device: str | torch.device | None = None,
    ) -> HeadProbes:
        """Probes on all rows, or on all but those of some folds; accuracy, AUROC and calibration come from decisions on
        each fold that is fitted on, while it is held out too.

        >>> kept_back = lens_truth.HeadProbes.fit(activations, without=[0])

        Args:
            estimator: as for `truth_scores`.
            n_folds: as for `truth_scores`.
            seed: as for `truth_scores`.
            device: as for `truth_scores`.
            without: numbers of folds (of those that `held_out_decisions` tells) to be left out. Without one fold, its
                decisions on that fold are those of `held_out_decisions`.

        Raises:
            InputError: as `truth_scores`; and for a fold that there is not, or fewer than two that are left.
        """
        check_estimator(estimator)
        fold, labels = folds_of(activations, estimator, n_folds, seed), activations.labels.cpu().numpy()
        out = tuple(sorted(set(without)))
        if out and not (out[0] >= 0 and out[-1] < n_folds):
            raise InputError(
                f"folds {', '.join(map(str, out))} were to be left out, and there are folds 0 to {n_folds - 1}"
            )
        left = [k for k in range(n_folds) if k not in out]
        if len(left) < 2:
            raise InputError(f"{len(left)} of {n_folds} folds would be left to fit probes on; at least 2 are needed")
        held_out = [out, *((*out, k) for k in left)]
        parts = [fitted_probes(x, labels, fold, estimator, held_out) for x in blocks_of(activations, estimator, device)]
        directions, intercepts, sigma, decisions = (torch.cat(part, dim=-1) for part in zip(*parts, strict=True))
        kept = ~np.isin(fold, out)
        number = np.searchsorted(left, fold[kept])
        metrics = fold_metrics(decisions, labels[kept], number)
        scaling = platt_scaling(decisions.double().cpu().numpy(), labels[kept])
        L, H, D = activations.z.shape[1:]

        def grid(its: Any, *more: int) -> Tensor:
            return torch.as_tensor(its).float().cpu().reshape(L, H, *more)

        groups = [group for group, stays in zip(activations.groups, kept, strict=True) if stays]
        provenance = {**activations.provenance, "point": activations.point, "position": POSITION}
        provenance |= {"estimator": estimator, "n_folds": n_folds, "seed": seed, "without": list(out)}
        return cls(
            directions=grid(directions.mT, D),
            intercepts=grid(intercepts),
            calibration=grid(scaling, 2),
            sigma=grid(sigma),
            accuracy=grid(nan_mean(metrics["accuracy"])),
            auroc=grid(nan_mean(metrics["auroc"])),
            saw=torch.from_numpy(np.unique(_hashes(groups))),
            provenance={**provenance, "n_examples": int(kept.sum())},
        )

    @classmethod
    def from_coefficients(
        cls,
        directions: Float[Tensor, "L H D"] | Float[np.ndarray, "L H D"],
        intercepts: Float[Tensor, "L H"] | Float[np.ndarray, "L H"],
        on: HeadActivations,
    ) -> HeadProbes:
        """Probes that were fitted elsewhere (scikit-learn's `coef_` and `intercept_`, in raw coordinates), measured and
        calibrated on labelled rows, which are to be such that they were not fitted on.

        >>> probes = lens_truth.HeadProbes.from_coefficients(coef, intercept, on=activations)

        Raises:
            InputError: if the rows are of other heads or of one class only, or coefficients are no finite real numbers.
        """
        directions, intercepts = _tensor(directions), _tensor(intercepts)
        if on.z.shape[1:] != directions.shape or intercepts.shape != directions.shape[:2]:
            raise InputError(
                f"activations are of shape {_by(on.z.shape[1:])}, the probes of {_by(directions.shape)}, their "
                f"intercepts of {_by(intercepts.shape)}"
            )
        if not (directions.isfinite().all() and intercepts.isfinite().all()):
            raise InputError("the coefficients of the probes are not finite")
        labels = on.labels.cpu().numpy()
        check_labels(labels)
        z, w = on.z.float(), directions.to(on.z.device, torch.float32)
        decisions = (torch.einsum("nlhd,lhd->nlh", z, w) + intercepts.to(z)).flatten(1).cpu()
        metrics = fold_metrics(decisions, labels, np.zeros(len(labels), dtype=np.int64))
        grid = directions.shape[:2]
        length = cast("Tensor", w.norm(dim=2)).flatten().cpu()
        return cls(
            directions=w.cpu(),
            intercepts=intercepts.float().cpu(),
            calibration=torch.from_numpy(platt_scaling(decisions.double().numpy(), labels)).float().view(*grid, 2),
            sigma=(decisions.std(0, correction=0) / length.clamp(min=torch.finfo(torch.float32).tiny)).view(grid),
            accuracy=torch.from_numpy(metrics["accuracy"][0]).float().view(grid),
            auroc=torch.from_numpy(metrics["auroc"][0]).float().view(grid),
            saw=torch.empty(0, dtype=torch.int64),
            provenance={**on.provenance, "point": on.point, "position": POSITION, "estimator": "given"},
        )

    @property
    def point(self) -> Point:
        """Where they read."""
        return "resid_post" if self.provenance.get("point") == "resid_post" else "z"

    @property
    def scores(self) -> HeadScores:
        """Their accuracies out of fold, as truth scores."""
        auroc = self.auroc.double().numpy()
        return HeadScores(self.accuracy.double().numpy(), "truth", {"auroc": auroc}, None, dict(self.provenance))

    def decision(self, z: Float[Tensor, "*rows L H D"]) -> Float[Tensor, "*rows L H"]:
        """Above 0 where a head says that the context supports the answer; where `z` is, in float32.

        >>> probes.decision(lens_truth.capture(model, others).z)[:, 5, 3] > 0  # of head 5.3

        Raises:
            InputError: if `z` is of other heads.
        """
        if z.shape[-3:] != self.directions.shape:
            raise InputError(
                f"activations are of shape {_by(z.shape[-3:])}, the probes of {_by(self.directions.shape)}"
            )
        directions, intercepts = self.directions.to(z.device), self.intercepts.to(z.device)
        return torch.einsum("...lhd,lhd->...lh", z.float(), directions) + intercepts

    def probability(self, z: Float[Tensor, "*rows L H D"]) -> Float[Tensor, "*rows L H"]:
        """Of "supported", calibrated on folds that a probe was not fitted on."""
        slope, offset = self.calibration.to(z.device).unbind(-1)
        return torch.sigmoid(slope * self.decision(z) + offset)

    def seen(self, groups: Sequence[str]) -> list[bool]:
        """For each group by its name whether the probes were fitted on rows of it.

        >>> probes.seen([example.group for example in others])
        """
        return np.isin(_hashes(groups), self.saw.numpy()).tolist()

    def having_seen(self, groups: Sequence[str]) -> HeadProbes:
        """The same probes, to which rows of some more groups count as seen: what was chosen on these must not be judged
        on them.

        >>> probes = probes.having_seen([example.group for example in others])
        """
        seen = np.union1d(self.saw.numpy(), _hashes(groups))
        return replace(self, saw=torch.from_numpy(seen))

    def check(self, model: Hooked, template: str, *, descendant: bool = False) -> None:
        """Raises an InputError unless they can read the model under a template: they are of its layers, heads and
        width, of its weights (or, where it is a `descendant` of the model that they are of, of others), and were fitted
        under that template.

        >>> probes.check(model, "plain")
        """
        shape, its = shape_of(model, self.point), self.provenance
        if shape != self.directions.shape:
            raise InputError(
                f"the probes are of {_by(self.directions.shape)} (layers, heads, width), and {name_of(model)} has "
                f"{_by(shape)}"
            )
        if not descendant and (weights := its.get("weights")) is not None and weights != weights_hash(model):
            raise InputError(
                f"the probes were fitted on {its.get('model')}, and {name_of(model)} has other weights; if that is a "
                "descendant of it, say so (--descendant)"
            )
        if (fitted := its.get("template")) is not None and fitted != template:
            raise InputError(f"the probes were fitted under the template '{fitted}', not '{template}'")
        if (position := its.get("position", POSITION)) != POSITION:
            raise InputError(f"the probes read at '{position}', which is not the {POSITION}")

    def __repr__(self) -> str:
        best = self.scores.best()
        said = f"{self.provenance.get('estimator', 'unknown')} at {self.point}, {_by(self.directions.shape)}"
        return f"HeadProbes({said}, best {best[0]}.{best[1]}: {float(self.accuracy.max()):.3g})"

    def save(self, path: str | Path) -> None:
        """Writes a `.safetensors` file with the provenance."""
        about = {METADATA: json.dumps({"kind": "probes", "provenance": dict(self.provenance)}, sort_keys=True)}
        held = {name: getattr(self, name).contiguous() for name in _TENSORS}
        write_bytes(Path(path), safetensors.torch.save(held, about))

    @classmethod
    def load(cls, path: str | Path) -> HeadProbes:
        """Reads what `save` writes; an InputError says if the file is missing or does not hold probes."""
        with kept_tensors(Path(path), f"{path}: holds no readable probes") as (file, about):
            return cls(**{name: file.get_tensor(name) for name in _TENSORS}, provenance=about["provenance"])


_TENSORS = ("directions", "intercepts", "calibration", "sigma", "accuracy", "auroc", "saw")


def _tensor(given: Tensor | np.ndarray) -> Tensor:
    """A copy of an array that may be a view, turned round, or of another byte order."""
    try:
        if not np.iscomplexobj(given):  # also of a tensor
            return (
                given if isinstance(given, Tensor) else torch.from_numpy(np.array(given, dtype=np.float64, order="C"))
            )
    except (TypeError, ValueError):
        pass
    raise InputError("the coefficients of the probes are no array of real numbers")


def _hashes(groups: Sequence[str]) -> Int[np.ndarray, " N"]:
    digests = (blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest() for group in groups)
    return np.array([int.from_bytes(digest, "little", signed=True) for digest in digests], dtype=np.int64)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
