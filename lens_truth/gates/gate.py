"""`HeadGate`: one factor a head, made from scores, attached to a running model or folded into its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from lens_truth.errors import InputError
from lens_truth.gates.gguf_fold import GgufFold, fold_into_file
from lens_truth.io.files import write_bytes
from lens_truth.io.stages import stage
from lens_truth.models.adapted import kept, merged, plain_model
from lens_truth.models.folding import scale_inputs, scale_outputs, verify_fold
from lens_truth.models.hooks import Hooked, check_gate_shape, gate_heads, grid_of
from lens_truth.models.structure import attentions, heads_of, linear_shape
from lens_truth.models.twin import shared_copy
from lens_truth.scoring.score_files import METADATA, kept_tensors
from lens_truth.scoring.scores import HeadScores

Norm = Literal["center", "minmax", "none"]
Site = Literal["z", "result", "block"]


@dataclass(frozen=True)
class HeadGate:
    """Every head's output is multiplied by its value: 1 leaves it, above 1 amplifies, 0 removes it.

    >>> gate = lens_truth.HeadGate.from_scores(scores, lam=0.65, norm="minmax")
    >>> with gate.attach(model):
    ...     model.original_model.generate(**prompt)
    >>> gate.fold_into(model).save_pretrained("gated")
    >>> gate.save("gate.safetensors")
    >>> lens_truth.HeadGate.load("gate.safetensors")
    """

    values: Float[Tensor, "*batch L H"]
    """The gate; with a leading batch axis, row b of a batch has a gate of its own."""
    site: Site = "z"
    """Where it acts: `z`, each head's output before the projection; `result`, each head's contribution to the residual
    stream (the same numbers, through `hook_result`, on a model loaded with `stock=True`); `block`, H equal slices of
    the projected output, as in TruthProbe's code: a different intervention, since every head writes to every slice."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The scores, lambda and normalisation that it was made from; empty for a gate made by hand."""

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3) or 0 in self.values.shape:
            raise InputError(f"a gate has shape {tuple(self.values.shape)}; it must be (layers, heads)")
        if not torch.isfinite(self.values).all():
            raise InputError("the gate holds values that are not finite")
        if self.site not in get_args(Site):
            raise InputError(f"gate site '{self.site}' is not one of {', '.join(get_args(Site))}")

    @classmethod
    def from_scores(
        cls, scores: HeadScores, lam: float, norm: Norm = "center", floor: float | None = None, site: Site = "z"
    ) -> HeadGate:
        """g = 1 + lam * norm(score), layer by layer (TruthProbe, Section 5).

        Args:
            norm: `center`, score minus the layer's mean; `minmax`, (s - min) / (max - min + 1e-6); `none`.
            floor: gates below it are raised to it; by default none are, and `n_negative` counts those below 0.

        Raises:
            InputError: if lam or floor is not finite.
        """
        if not math.isfinite(lam):
            raise InputError(f"lambda is {lam}; it must be a finite number")
        if floor is not None and not math.isfinite(floor):
            raise InputError(f"the floor is {floor}; it must be a finite number")
        s = torch.from_numpy(scores.values).double()
        if norm == "center":
            s = s - s.mean(1, keepdim=True)
        elif norm == "minmax":
            low, high = s.amin(1, keepdim=True), s.amax(1, keepdim=True)
            s = (s - low) / (high - low + 1e-6)
        elif norm != "none":
            raise InputError(f"normalisation '{norm}' is not one of {', '.join(get_args(Norm))}")
        values = 1 + lam * s if floor is None else (1 + lam * s).clamp(min=floor)
        provenance = {"scores": scores.kind, "lam": lam, "norm": norm, "floor": floor, **scores.provenance}
        return cls(values.float(), site, provenance)

    @property
    def n_negative(self) -> int:
        """How many heads the gate inverts."""
        return int((self.values < 0).sum())

    @property
    def strength(self) -> float:
        """Root mean square of gate - 1 over heads."""
        return float((self.values - 1).square().mean().sqrt())

    @property
    def acts(self) -> tuple[str, Float[Tensor, "*batch L H"]] | None:
        """What tells it from other interventions: where it acts, and its values; None if it does nothing."""
        nothing = self.values.ndim == 2 and self.site == "z" and not (self.values != 1).any()
        return None if nothing else (self.site, self.values)

    def check(self, model: Hooked) -> None:
        """Raises an InputError unless the gate's shape is the model's: `gate.check(model)`."""
        check_gate_shape(grid_of(model), self.values)

    def attach(self, model: Hooked) -> AbstractContextManager[Any]:
        """While open, the gate acts on the model: in a forward pass, `run_with_cache`, and Hugging Face's `generate`
        (`model.original_model.generate` or `model.generate`), in prefill and at every decoded token.

        Raises:
            InputError: if the gate's shape is not the model's, or the model lacks the site's hook.
        """
        if self.site == "block":
            return gate_heads(model, self.values, "hook_attn_out", _by_block)
        if self.site == "result" and not getattr(model.cfg, "use_attn_result", False):
            raise InputError("the site 'result' needs a model loaded with stock=True, which computes hook_result")
        return gate_heads(model, self.values, f"attn.hook_{self.site}")

    @stage("fold")
    def fold_into(self, model: Hooked | nn.Module, *, keep_adapter: bool = False) -> PreTrainedModel:
        """A plain Hugging Face model with the gate in its weights: no hooks, no cost, `save_pretrained` as usual.

        `o_proj.weight[:, h*D:(h+1)*D]` is multiplied by gate[l, h] (for the site `block`, rows and bias instead). The
        given model is not changed; all other weights are shared with it, not copied. An adapter in it (LoRA, ...) is
        merged.

        Args:
            keep_adapter: fold into the base and into the adapter, which stays beside it, to the same logits.
                `save_pretrained` then saves the gated adapter alone, which is for the gated base: the gate folded into
                the base by itself.

        Raises:
            InputError: if the gate's shape is not the model's, it has a batch axis, or weights are quantised in groups
                that hold heads with different gates, or in a way that is not known.
        """
        self._check_one()
        plain = plain_model(model, "gate")
        heads = heads_of(plain)
        check_gate_shape((heads.n_layers, heads.n_heads), self.values)
        twin = (kept if keep_adapter else merged)(shared_copy(plain))
        with torch.no_grad():
            for gate, attention in zip(self.values, attentions(twin), strict=True):
                old, new = (hf.get_submodule(attention.projection) for hf in (plain, twin))
                by_block = self.site == "block"
                n_outputs = (linear_shape(new) or (0, 0))[1]
                factor = _by_block(gate, n_outputs) if by_block else gate.repeat_interleave(attention.d_head)
                (scale_outputs if by_block else scale_inputs)(new, factor)
                verify_fold(old, new, factor, of_outputs=by_block, dtype=plain.dtype)
        assert isinstance(twin, PreTrainedModel)
        return twin

    def fold_into_gguf(self, source: str | Path, target: str | Path) -> GgufFold:
        """Writes a GGUF file with the gate in its output projections, as they are quantised: everything else in it is
        the source's, to the byte. The source is not changed; the target is whole or absent.

        A format's float16 scales are multiplied, and rounded once. Where a block of 256 of a K-quant holds several
        heads, the small integers by which its parts are scaled are chosen anew. What is returned says how far that has
        moved weights, in halves of a quantisation step.

        >>> gate.fold_into_gguf("model.Q4_K_M.gguf", "gated.gguf").rms
        0.0026

        Raises:
            InputError: if the gate's shape is not the model's, it has a batch axis, or a format cannot take it: a scale
                would have to serve several heads, one without a sign both signs, or rounding would move weights further
                than quantising has.
        """
        self._check_one()
        return fold_into_file(self.values.detach().cpu(), Path(source), Path(target), rows=self.site == "block")

    def _check_one(self) -> None:
        if self.values.ndim != 2:
            raise InputError("a gate with a batch axis cannot be folded into one set of weights")

    def save(self, path: str | Path) -> None:
        """Writes a `.safetensors` file with the provenance."""
        metadata = {METADATA: json.dumps({"site": self.site, "provenance": dict(self.provenance)}, sort_keys=True)}
        values = {"gate": self.values.contiguous()}
        write_bytes(Path(path), safetensors.torch.save(values, metadata))

    @classmethod
    def load(cls, path: str | Path) -> HeadGate:
        """Reads what `save` writes; an InputError says if the file is missing or is not a gate."""
        with kept_tensors(Path(path), f"{path}: is not a readable gate") as (file, metadata):
            return cls(file.get_tensor("gate"), metadata["site"], metadata["provenance"])


def _by_block(gate: Float[Tensor, "*any H"], d_model: int) -> Float[Tensor, "*any M"]:
    """Each gate repeated over its slice of the residual stream."""
    if d_model % gate.shape[-1]:
        raise InputError(f"the residual stream of width {d_model} cannot be cut into {gate.shape[-1]} equal blocks")
    return repeat(gate, "... h -> ... (h m)", m=d_model // gate.shape[-1])
