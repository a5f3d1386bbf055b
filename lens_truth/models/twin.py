"""A model's modules made anew around the same tensors, so that weights can be exchanged in one and not the other."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from lens_truth.models.points import remove_feeds


def shared_copy(hf: nn.Module) -> nn.Module:
    """A model of the same modules and the same tensors (the same objects, nothing is copied), without hook points:
    adapters, quantised layers and device maps included. Replacing its parameters leaves `hf` as it is.

    What was read from a GGUF file is floats since then, and is no longer marked as quantised.
    """
    tensors = (*hf.parameters(), *hf.buffers())
    twin = copy.deepcopy(hf, {id(tensor): tensor for tensor in tensors})
    remove_feeds(twin)
    return without_gguf_mark(twin)


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
