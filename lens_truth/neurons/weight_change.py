"""`neuron_change`: how far a tuned model's neurons lie from their base's, by their weights alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.models.adapted import merged
from lens_truth.models.folding import check_plain
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.neurons import Mlp, input_maps, mlps
from lens_truth.models.placing import fetched
from lens_truth.models.twin import shared_copy


@stage("weights")
def neuron_change(base: Hooked, child: Hooked) -> Float[np.ndarray, "L M"]:
    """1 minus the cosine of every neuron's weights in base and child: what the neuron reads (its rows of the gate and
    the up projection) and what it writes (its column of the down projection), as one vector. NaN where a layer has
    fewer neurons than the widest, or all weights are 0.

    H-Neurons (arXiv 2512.01797, Section 5) asks the same of the up and the down projection. Adapters count as merged.

    >>> models = lens_truth.load("zoo:llama-base"), lens_truth.load("zoo:llama-chat")
    >>> lens_truth.neuron_change(*models)[0, 5]  # of neuron 5 of the first layer

    Raises:
        InputError: if the models have different neurons, a layer has no gated MLP, or weights are quantised.
    """
    # Weights that an adapter changes as it runs are taken with what it adds.
    both = [merged(shared_copy(inner_model(model))) for model in (base, child)]
    found = [mlps(hf) for hf in both]
    widths = [[mlp.width for mlp in its] for its in found]
    if widths[0] != widths[1]:
        sizes = [f"{len(its)} x {max(its)}" for its in widths]
        raise InputError(
            f"the base has {sizes[0]} layers x neurons and the child {sizes[1]}, so their neurons do not correspond"
        )
    change = np.full((len(widths[0]), max(widths[0])), np.nan)
    with torch.no_grad():
        for one, other in bar(zip(*found, strict=True), "weights", len(widths[0])):
            its, theirs = (_weights(hf, mlp) for hf, mlp in zip(both, (one, other), strict=True))
            product, lengths = torch.zeros(one.width).double(), torch.zeros(2, one.width).double()
            for a, b in zip(its, theirs, strict=True):
                product += (a.double() * b.double()).sum(1)
                lengths += torch.stack([a.double().square().sum(1), b.double().square().sum(1)])
            size = lengths.prod(0).sqrt().numpy()
            with np.errstate(invalid="ignore", divide="ignore"):
                change[one.layer, : one.width] = np.maximum(0, 1 - product.numpy() / size)
    return change


def _weights(hf: Any, mlp: Mlp) -> list[Float[Tensor, "M D"]]:
    """What a layer's neurons read and write, a row a neuron."""
    down = _plain(hf.get_submodule(mlp.path))
    parts = [down.T if down.shape[1] == mlp.width else down]
    for path in input_maps(hf, mlp):
        weight = _plain(hf.get_submodule(path))
        weight = weight.T if weight.shape[0] not in (mlp.width, 2 * mlp.width) else weight
        parts += [*weight.split(mlp.width)]
    return parts


def _plain(module: Any) -> Tensor:
    check_plain(module)
    weight = fetched(module, "weight") if module.weight.is_meta else module.weight
    return cast("Tensor", weight).detach().cpu()
