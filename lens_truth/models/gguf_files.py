"""A language model from a GGUF file, as llama.cpp has it: its quantised weights become plain numbers.

Which of the file's tensors is which of the model's, and what llama.cpp did to them (rows of queries and keys reordered,
norms plus one, experts in one tensor), Transformers knows (`TENSOR_PROCESSORS`); here its knowledge is applied to the
config of `gguf_config`, one tensor at a time, and what is left over is refused.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,  # pyright: ignore[reportUnknownVariableType]
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lens_truth.errors import InputError
from lens_truth.io.stages import bar, on_terminal
from lens_truth.models.gguf_config import ends_of_answers, gguf_config
from lens_truth.models.gguf_header import Gguf, StoredTensor, opened_gguf
from lens_truth.models.room import check_room
from lens_truth.models.whole import load_whole

_FOR_POSITIONS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that the config has taken up."""
_FLOATS = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}
_AT_ONCE = 1 << 20
"""Numbers dequantised in one step, which takes several times their memory."""
_PROJECTIONS = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}


def load_gguf(name: str, source: str, *, attn: str | None, dtype: str, device: str = "cpu") -> PreTrainedModel:
    """The model of a GGUF file with its weights as plain numbers. `auto` keeps those of a file that is not quantised,
    and is bfloat16 otherwise: half of float32's memory, and whatever was trained in it stays finite."""
    file = opened_gguf(source)
    config = gguf_config(file)
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    wanted = _own_dtype(file) if dtype == "auto" else getattr(torch, dtype)
    with torch.device("meta"):
        empty = kind(config)
    _check_size(file, empty)
    for where in {"cpu", device}:  # it is dequantised on the one and moved to the other
        check_room(name, wanted.itemsize * sum(its.numel() for its in empty.parameters()), where)
    tensors = _converted(file, empty, wanted)
    hf = load_whole(kind, name, None, attn, config=config, state_dict=tensors, dtype=wanted)
    hf.name_or_path = hf.config.name_or_path = name
    if len(ends := ends_of_answers(file)) > 1:
        hf.generation_config.eos_token_id = ends
    return hf.to(torch.device(device))


def gguf_projections(file: Gguf) -> dict[str, StoredTensor]:
    """The attention projections that Llama-like models hold apart, by their name in Transformers."""
    found: dict[str, StoredTensor] = {}
    for layer in range(file.own("block_count", 0)):
        for side, name in _PROJECTIONS.items():
            if (tensor := file.tensors.get(f"blk.{layer}.{name}.weight")) is not None:
                found[f"model.layers.{layer}.self_attn.{side}_proj.weight"] = tensor
    return found


def _check_size(file: Gguf, empty: Any) -> None:
    """Raises an InputError if the metadata tell of a model that is not the one whose tensors are here: it would be made
    all the same, however large."""
    of_model, of_file = (sum(prod(its.shape) for its in some) for some in (empty.parameters(), file.tensors.values()))
    if of_model > 2 * of_file:  # embeddings that serve twice are in the file once
        raise InputError(
            f"model '{file.path}': its metadata describe a model of {of_model} numbers, and its tensors hold {of_file}"
        )


class GgufProjections:
    """The attention projections of a GGUF file as if it were safetensors, each in float32, its rows in the order that
    Transformers has."""

    def __init__(self, path: Path) -> None:
        self._file = opened_gguf(path)

    def get_tensor(self, name: str) -> Float[Tensor, "out in"]:
        """One of those that `gguf_projections` names."""
        tensor = gguf_projections(self._file)[name]
        processor = _processor(self._file, gguf_config(self._file))
        return torch.tensor(processor.process(weights=_numbers(tensor), name=tensor.name).weights)


def _converted(file: Gguf, empty: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's tensors by name, all of the file's used. A bar runs where somebody sees it."""
    processor = _processor(file, empty.config)
    names: dict[str, str] = cast("Any", get_gguf_hf_weights_map)(empty, processor)
    joined: dict[str, Tensor] = {}  # what several of the file's tensors make
    single: dict[str, Tensor] = {}
    left: list[str] = []
    for tensor in bar(file.tensors.values(), f"reading {file.path.name}", shown=on_terminal()):
        if tensor.name in _FOR_POSITIONS:
            continue
        more = {"tensor_key_mapping": names, "parsed_parameters": {"tensors": joined}}
        result = processor.process(weights=_numbers(tensor), name=tensor.name, **more)
        if result.name in names:
            single[names[result.name]] = torch.from_numpy(np.ascontiguousarray(result.weights)).to(dtype)
        elif result.name is not None:
            left.append(tensor.name)
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise InputError(
            f"model '{file.path}' holds {len(left)} tensors for which {type(empty).__name__} has no place "
            f"({', '.join(left[:3])}{more}), so it would compute something else; give the checkpoint it was made from"
        )
    return single | {name: tensor.to(dtype) for name, tensor in joined.items()}


def _processor(file: Gguf, config: Any) -> Any:
    """What undoes llama.cpp's changes, told the config that is used and not the entries that happen to be there."""
    kind: Any = TENSOR_PROCESSORS.get(file.architecture, TensorProcessor)
    return kind(config={key: getattr(config, key) for key in (*config.to_dict(), *config.attribute_map)})


def _numbers(tensor: StoredTensor) -> Float[np.ndarray, "..."]:
    """A tensor dequantised, in float32, some rows at a time."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(tensor.kind)
    n_rows = prod(tensor.shape[:-1])
    stored = np.memmap(tensor.file, np.uint8, "r", tensor.start, (n_rows, tensor.n_bytes // n_rows))
    numbers = np.empty((n_rows, tensor.shape[-1]), np.float32)
    step = max(1, _AT_ONCE // tensor.shape[-1])
    try:
        for row in range(0, n_rows, step):
            numbers[row : row + step] = dequantize(stored[row : row + step], kind)
    except NotImplementedError as error:
        raise InputError(
            f"{tensor.file}: {tensor.name} is stored as {kind.name}, which gguf cannot turn into plain numbers"
        ) from error
    return numbers.reshape(tensor.shape)


def _own_dtype(file: Gguf) -> torch.dtype:
    """Of the matrices, if all of them are plain numbers of one kind (some may be float32 besides)."""
    kinds = {tensor.kind for tensor in file.tensors.values() if len(tensor.shape) > 1}
    if not kinds <= set(_FLOATS):
        return torch.bfloat16
    halves = kinds - {0}
    return _FLOATS[halves.pop()] if len(halves) == 1 else torch.float32
