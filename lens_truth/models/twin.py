"""A model's modules made anew around the same tensors, so that weights can be exchanged in one and not the other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from lens_truth.models.placing import shared_by_copies
from lens_truth.models.points import remove_feeds
from lens_truth.models.quantised_bnb import settle
from lens_truth.models.structure import modules_of


def shared_copy(hf: nn.Module) -> nn.Module:
    """A model of the same modules and the same tensors (the same objects, nothing is copied), without hook points:
    adapters, quantised layers and device maps included. Replacing its parameters leaves `hf` as it is.

    What was read from a GGUF file is floats since then, and is no longer marked as quantised.
    """
    settle(hf)
    tensors = [tensor for _, module in modules_of(hf) for tensor in _tensors_in(vars(module))]
    twin = copy.deepcopy(hf, {id(its): its for its in (*tensors, *shared_by_copies(hf))})
    remove_feeds(twin)
    return without_gguf_mark(twin)


def _tensors_in(held: Any, deep: int = 5) -> Iterator[Tensor]:
    """Parameters and buffers, and what lies in objects of others (bitsandbytes' states, HQQ's dictionaries)."""
    if isinstance(held, Tensor):
        yield held
    elif deep and not isinstance(held, nn.Module | type):
        inside = cast("Any", held if isinstance(held, dict | list | tuple) else getattr(held, "__dict__", ()))
        parts: Any = inside.values() if hasattr(inside, "values") else inside
        for part in parts:
            yield from _tensors_in(part, deep - 1)


def without_gguf_mark(hf: Any) -> Any:
    """`hf` itself, whose weights are floats, not said to be quantised, which `save_pretrained` would refuse."""
    quantisation = getattr(hf.config, "quantization_config", None)
    if quantisation is not None and _method(quantisation) == "gguf":
        del hf.config.quantization_config
        hf.hf_quantizer = None
    return hf


def _method(quantisation: Any) -> Any:
    """Of an entry of a config, which is an object until it has been saved once."""
    method = quantisation.get("quant_method") if hasattr(quantisation, "get") else quantisation.quant_method
    return getattr(method, "value", method)
