"""`NeuronGate`: one factor a neuron of the gated MLPs, attached to a running model or folded into its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from lens_truth.errors import InputError
from lens_truth.io.files import write_bytes
from lens_truth.io.stages import stage
from lens_truth.models.adapted import merged, plain_model
from lens_truth.models.folding import scale_inputs, verify_fold
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.models.neurons import mlps, neuron_grid, scale_neurons
from lens_truth.models.twin import shared_copy
from lens_truth.scoring.score_files import METADATA, kept_tensors


@dataclass(frozen=True)
class NeuronGate:
    """Every neuron's activation is multiplied by its value, and with it what the neuron writes: 1 leaves it, 0 removes
    it (the scaling of H-Neurons, arXiv 2512.01797, Section 4).

    >>> gate = lens_truth.NeuronSet.load("neurons.json").gate(3.0, lens_truth.neuron_grid(model))
    >>> with gate.attach(model):
    ...     model.original_model.generate(**prompt)
    >>> gate.fold_into(model).save_pretrained("scaled")
    >>> gate.save("neuron-gate.safetensors")
    >>> lens_truth.NeuronGate.load("neuron-gate.safetensors").check(model)
    """

    values: Float[Tensor, "*batch L M"]
    """Of every neuron of L decoder layers, M those of the widest; with a leading batch axis, row b of a batch has a
    gate of its own."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The set of neurons and alpha that it was made from; empty for a gate made by hand."""

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3) or 0 in self.values.shape:
            raise InputError(f"a gate of neurons has shape {tuple(self.values.shape)}; it must be (layers, neurons)")
        if not torch.isfinite(self.values).all():
            raise InputError("the gate of neurons holds values that are not finite")

    @property
    def n_negative(self) -> int:
        """How many neurons the gate inverts."""
        return int((self.values < 0).sum())

    @property
    def strength(self) -> float:
        """Root mean square of gate - 1 over neurons."""
        return float((self.values - 1).square().mean().sqrt())

    @property
    def acts(self) -> tuple[str, Float[Tensor, "..."]] | None:
        """What tells it from other interventions: the neurons that it changes, counted through all layers, and their
        values; None if it does nothing."""
        flat = self.values.detach().cpu().double().flatten()
        changed = (flat != 1).nonzero().flatten()
        if not len(changed):
            return None
        return f"neurons of {tuple(self.values.shape)}", torch.stack([changed.double(), flat[changed]])

    def check(self, model: Hooked) -> None:
        """Raises an InputError unless the gate is of the model's layers and neurons: `gate.check(model)`."""
        _check_grid(tuple(self.values.shape[-2:]), neuron_grid(model), name_of(model))

    def attach(self, model: Hooked) -> AbstractContextManager[Any]:
        """While open, the gate acts on the model: in a forward pass, `run_with_cache`, and Hugging Face's `generate`,
        in prefill and at every decoded token. In half precision products are rounded once.

        Raises:
            InputError: if the gate's shape is not the model's, or its layers have no gated MLP.
        """
        self.check(model)
        return scale_neurons(model, self.values)

    @stage("fold")
    def fold_into(self, model: Hooked | nn.Module) -> PreTrainedModel:
        """A plain Hugging Face model with the gate in its weights: no hooks, no cost, `save_pretrained` as usual.

        Column j of a layer's down projection is multiplied by the value of neuron j. The given model is not changed;
        all other weights are shared with it, not copied. An adapter in it (LoRA, ...) is merged.

        Raises:
            InputError: if the gate's shape is not the model's, it has a batch axis, or weights are quantised in groups
                that hold neurons with different values, or in a way that is not known.
        """
        if self.values.ndim != 2:
            raise InputError("a gate with a batch axis cannot be folded into one set of weights")
        plain = plain_model(model, "gate")
        found = mlps(plain)
        grid = (len(found), max(mlp.width for mlp in found))
        _check_grid(tuple(self.values.shape), grid, type(plain).__name__)
        twin = merged(shared_copy(plain))
        with torch.no_grad():
            for values, mlp in zip(self.values, mlps(twin), strict=True):
                factor = values[: mlp.width]
                if (factor != 1).any():
                    old, new = (hf.get_submodule(mlp.path) for hf in (plain, twin))
                    scale_inputs(new, factor)
                    verify_fold(old, new, factor, of_outputs=False, dtype=plain.dtype)
        assert isinstance(twin, PreTrainedModel)
        return twin

    def save(self, path: str | Path) -> None:
        """Writes a `.safetensors` file with the provenance."""
        metadata = {METADATA: json.dumps({"provenance": dict(self.provenance)}, sort_keys=True)}
        write_bytes(Path(path), safetensors.torch.save({"neuron_gate": self.values.contiguous()}, metadata))

    @classmethod
    def load(cls, path: str | Path) -> NeuronGate:
        """Reads what `save` writes; an InputError says if the file is missing or is not a gate of neurons."""
        with kept_tensors(Path(path), f"{path}: is not a readable gate of neurons") as (file, metadata):
            return cls(file.get_tensor("neuron_gate"), metadata["provenance"])


def _check_grid(its: tuple[int, ...], grid: tuple[int, int], name: str) -> None:
    if its != grid:
        raise InputError(
            f"the gate is of {its[0]} layers x {its[1]} neurons, and {name or 'the model'} has {grid[0]} x {grid[1]}"
        )
