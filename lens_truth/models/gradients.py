"""Whether gradients flow through a model's quantised layers."""

from __future__ import annotations

from typing import Any

import torch

from lens_truth.errors import InputError
from lens_truth.models.quantised import scale_of
from lens_truth.models.structure import linear_shape


def check_gradients(model: Any) -> None:
    """Raises an InputError if a layer lets no gradient through, as those do that round what they are given to 8 bits:
    what lies beside it would still have one, and a wrong one."""
    hf = getattr(model, "original_model", model)
    for path, module in hf.named_modules():
        if (shape := linear_shape(module)) and (scale_of(module) or "quantization_scheme" in vars(module)):
            row = torch.ones(1, shape[0], device=_device(module), dtype=hf.dtype, requires_grad=True)
            with torch.enable_grad():
                flows = module.forward(row).requires_grad
            if not flows:
                raise InputError(
                    f"no gradient flows through {path}, which rounds what it is given: for causal scores load the "
                    "model in full precision, or with its weights alone quantised"
                )


def _device(module: Any) -> torch.device:
    return next(tensor.device for tensor in (*module.parameters(), *module.buffers()))
