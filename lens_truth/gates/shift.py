"""`HeadShift`: a vector added to what heads write, or to the residual stream; attached to a running model or folded
into its biases. Inference-time intervention along directions of truth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from lens_truth.errors import InputError
from lens_truth.gates.shift_fold import folded
from lens_truth.io.files import write_bytes
from lens_truth.io.stages import stage
from lens_truth.models.hooks import Hooked, check_heads, name_of, shift_heads
from lens_truth.scoring.activations import Point
from lens_truth.scoring.capturing import shape_of
from lens_truth.scoring.directions import TruthDirections, truth_directions
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.score_files import METADATA, kept_tensors

_HOOKS = {"z": "attn.hook_z", "resid_post": "hook_resid_post"}


@dataclass(frozen=True, eq=False)
class HeadShift:
    """To what every head writes a vector of its own is added, at every position: zeros leave it.

    >>> probes = lens_truth.HeadProbes.fit(lens_truth.capture(model, examples))
    >>> shift = lens_truth.HeadShift.from_probes(probes, alpha=15, heads=48)
    >>> with shift.attach(model):
    ...     model.original_model.generate(**prompt)
    >>> shift.fold_into(model).save_pretrained("steered")
    >>> shift.save("shift.safetensors")
    >>> lens_truth.HeadShift.load("shift.safetensors").check(model)
    """

    vectors: Float[Tensor, "*batch L H D"]
    """Of every head; or (H = 1, D = d_model) of the residual stream behind every layer. With a leading batch axis,
    row b of a batch has vectors of its own."""
    site: Point = "z"
    """Where they are added: `z`, each head's output before the projection; `resid_post`, the residual stream."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The probes, alpha, the heads in the order of their rank, and sigma of each; empty for one made by hand."""

    def __post_init__(self) -> None:
        if self.site not in get_args(Point):
            raise InputError(f"a shift acts at {' or '.join(get_args(Point))}, not at '{self.site}'")
        shape = tuple(self.vectors.shape)
        if len(shape) not in (3, 4) or 0 in shape or (self.site == "resid_post" and shape[-2] != 1):
            wanted = "(layers, heads, width)" if self.site == "z" else "(layers, 1, width)"
            raise InputError(f"a shift has shape {shape}; it must be {wanted}")
        if not torch.isfinite(self.vectors).all():
            raise InputError("the shift holds numbers that are not finite")

    @classmethod
    def from_probes(
        cls,
        probes: HeadProbes | TruthDirections,
        alpha: float,
        heads: int | Sequence[tuple[int, int]] = 48,
    ) -> HeadShift:
        """Inference-time intervention (Li et al. 2023, Section 3.2): z += alpha * sigma * theta on some heads, where
        theta is the direction of truth of length 1 and sigma the standard deviation of the projection on it.

        What published code leaves open is settled so: directions are from the last answer token of all rows that the
        probes were fitted on, and act at every position; heads are ranked by accuracy out of fold (the mean over the
        grouped folds of the probes), of equals the first. With probes of the residual stream, layers stand for heads.

        >>> steered = lens_truth.HeadShift.from_probes(probes, 15, heads=[(5, 3), (7, 0)])
        >>> means = lens_truth.truth_directions(probes, activations)
        >>> steered = lens_truth.HeadShift.from_probes(means, 15)  # along the differences of class means

        Args:
            probes: with their own directions, or with those of `truth_directions`.
            alpha: how many standard deviations; ITI found 15 on 48 of the 1,024 heads of LLaMA-7B. Below 0: away from
                truth.
            heads: so many of the best, or which (layer, head).

        Raises:
            InputError: if there are not so many heads, or not that one, or alpha is not finite.
        """
        its = truth_directions(probes) if isinstance(probes, HeadProbes) else probes
        if not math.isfinite(alpha):
            raise InputError(f"alpha is {alpha}; it must be a finite number")
        L, H, _ = its.directions.shape
        chosen = its.best(heads) if isinstance(heads, int) else tuple((layer, head) for layer, head in heads)
        check_heads((L, H), chosen)
        if not chosen or len(set(chosen)) < len(chosen):
            raise InputError("the heads to be shifted are none, or one stands twice among them")
        vectors = torch.zeros_like(its.directions)
        for layer, head in chosen:
            vectors[layer, head] = alpha * its.sigma[layer, head] * its.directions[layer, head]
        sigma = [float(its.sigma[layer, head]) for layer, head in chosen]
        made = {"alpha": alpha, "heads": [list(head) for head in chosen], "sigma": sigma}
        return cls(vectors, its.point, {**its.provenance, **made})

    @property
    def n_negative(self) -> int:
        """How many heads it inverts: none, whatever is added."""
        return 0

    @property
    def strength(self) -> float:
        """Root mean square over all heads of what is added, in standard deviations of the projection; of a shift by
        hand in units of the activations."""
        n = self.vectors.shape[-3] * self.vectors.shape[-2]
        if "alpha" in self.provenance:
            return abs(self.provenance["alpha"]) * math.sqrt(len(self.provenance["heads"]) / n)
        return float(self.vectors.square().sum(-1).mean().sqrt())

    @property
    def acts(self) -> tuple[str, Float[Tensor, "*batch L H D"]] | None:
        """What tells it from other interventions: where it acts, and its vectors; None if it does nothing."""
        return (f"shift at {self.site}", self.vectors) if (self.vectors != 0).any() else None

    def check(self, model: Hooked) -> None:
        """Raises an InputError unless the shift is of the model's layers, heads and width."""
        its, shape = tuple(self.vectors.shape[-3:]), shape_of(model, self.site)
        if its != shape:
            of, wanted = (" x ".join(map(str, sizes)) for sizes in (its, shape))
            raise InputError(
                f"the shift is of {of} (layers, heads, width) at {self.site}, and {name_of(model) or 'the model'} has "
                f"{wanted} there"
            )

    def attach(self, model: Hooked) -> AbstractContextManager[Any]:
        """While open, the shift acts on the model: in a forward pass, `run_with_cache`, and Hugging Face's `generate`,
        in prefill and at every decoded token. In half precision sums are rounded once.

        Raises:
            InputError: if it is of another model's shape, or the model lacks the site's hook.
        """
        self.check(model)
        return shift_heads(model, self.vectors, _HOOKS[self.site])

    @stage("fold")
    def fold_into(self, model: Hooked | nn.Module) -> PreTrainedModel:
        """A plain Hugging Face model with the shift in its biases: no hooks, no cost, `save_pretrained` as usual.

        At `z` each output projection's bias grows by the projection of the layer's vectors; at `resid_post` that of the
        MLP's last map grows by the layer's vector. Where maps have no bias, one is made if the architecture's config
        has a switch for it (`attention_bias`, `mlp_bias`, ...; what else that switches on is zero), so that
        `from_pretrained` reads it. The given model is not changed; all other weights are shared with it. An adapter in
        it is merged.

        Raises:
            InputError: if the shift is not of the model's shape or has a batch axis, the architecture has no such bias
                and no switch for one (a checkpoint would load without the shift), weights are quantised or not in
                memory, or something stands between the MLP and the residual stream.
        """
        if self.vectors.ndim != 3:
            raise InputError("a shift with a batch axis cannot be folded into one set of weights")
        return folded(model, self.vectors, at_heads=self.site == "z")

    def save(self, path: str | Path) -> None:
        """Writes a `.safetensors` file with the provenance."""
        metadata = {METADATA: json.dumps({"site": self.site, "provenance": dict(self.provenance)}, sort_keys=True)}
        write_bytes(Path(path), safetensors.torch.save({"shift": self.vectors.contiguous()}, metadata))

    @classmethod
    def load(cls, path: str | Path) -> HeadShift:
        """Reads what `save` writes; an InputError says if the file is missing or is not a shift."""
        with kept_tensors(Path(path), f"{path}: is not a readable shift") as (file, metadata):
            return cls(file.get_tensor("shift"), metadata["site"], metadata["provenance"])
