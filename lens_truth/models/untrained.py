"""The untrained twin of a model: its architecture with weights as they are before the first step of training. What
probes find in its heads is in the words of the data, and in no knowledge of the model."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import torch

from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.models.loading import load
from lens_truth.models.placing import device_of
from lens_truth.models.room import check_room

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@stage("untrained twin")
def untrained_twin(model: Hooked, seed: int = 0) -> Any:
    """A hooked model of the same class and config with fresh random weights, as the class itself makes them before
    training (`_init_weights`), with the model's own tokenizer and image processor, on its device.

    Weights are drawn on the CPU, so that a seed gives the same bytes wherever the model is; they are in the model's
    number format, and in bfloat16 where that holds no plain numbers. What was quantised is not, and adapters are left
    out. The vision tower of a multimodal model is untrained too. Twin and model are in memory together.

    >>> twin = untrained_twin(lens_truth.load("zoo:llama-base"), seed=0)
    >>> lens_truth.truth_scores(lens_truth.capture(twin, examples)).values.max()

    Raises:
        InputError: if there is no room for another model of that size, the model is none of Transformers' classes, or
            its class cannot be made from its config.
    """
    hf: Any = getattr(model, "original_model", None)
    if hf is None:
        raise InputError(
            f"an untrained twin is made by a model's class in Transformers, and a {type(model).__name__} holds none; "
            "wrap the checkpoint with `lens_truth.load`"
        )
    config, name = _plain_config(hf), f"{name_of(model)} (untrained)"
    dtype = hf.dtype if hf.dtype in _FLOATS else torch.bfloat16
    with torch.device("meta"):
        n = sum(weight.numel() for weight in _made(hf, deepcopy(config), dtype).parameters())
    for where in {"cpu", str(device_of(model))}:
        check_room(name, n * dtype.itemsize, where)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(int(stream(seed, Stream.UNTRAINED).integers(1 << 62)))
        twin = _made(hf, config, dtype)
    twin.name_or_path = name
    twin.to(device_of(model))
    return load(twin, tokenizer=model.tokenizer, image_processor=getattr(model, "image_processor", None))


def _plain_config(hf: Any) -> Any:
    """The model's config, not said to be quantised."""
    config = deepcopy(hf.config)
    parts: list[Any] = [config, *(getattr(config, name, None) for name in config.sub_configs)]
    for its in parts:
        if hasattr(its, "quantization_config"):
            del its.quantization_config
    return config


def _made(hf: Any, config: Any, dtype: torch.dtype) -> Any:
    try:
        return cast("Any", type(hf))._from_config(
            config, dtype=dtype, attn_implementation=hf.config._attn_implementation
        )
    except (TypeError, ValueError, AttributeError, KeyError, RuntimeError, ImportError) as error:
        raise InputError(f"{type(hf).__name__} cannot be made from its config alone ({error})") from error
