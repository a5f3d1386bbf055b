"""Whether a device is there, and has room for a model's weights: asked before anything is loaded."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import torch

from lens_truth.errors import InputError, first_line
from lens_truth.models.weight_files import KINDS, weight_map

_FLOATS = {"F64", "F32", "F16", "BF16"}
_THINKER = "thinker."


def check_device(name: str) -> None:
    """Raises an InputError unless torch can compute on a device of that name here."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise _unusable(name, "torch knows none of that name; give cpu, cuda, cuda:1, mps or auto") from None
    if device.type == "cuda":
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not n:
            raise _unusable(name, f"PyTorch {torch.__version__} sees no GPU here; --device cpu needs none")
        if (device.index or 0) >= n:
            raise _unusable(name, "the only one is cuda:0" if n == 1 else f"PyTorch sees cuda:0 to cuda:{n - 1} here")
    if device.type == "mps" and (not torch.backends.mps.is_available() or device.index):
        raise _unusable(name, "PyTorch has no such one here; Apple's GPU is mps, and --device cpu needs none")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise _unusable(name, first_line(error)) from error


def _unusable(name: str, why: str) -> InputError:
    return InputError(f"device '{name}' cannot be used: {why}")


def check_room(name: str, needed: int, device: str) -> None:
    """Raises an InputError if a device's free memory is less than a model's weights need, in bytes."""
    on = torch.device(device)
    if needed > (free_memory(on) or needed):
        gc.collect()  # a model before this one
    if needed > (free := free_memory(on) or needed):
        raise InputError(
            f"model '{name}': its weights need {needed / 1e9:,.2f} GB, and '{device}' has {free / 1e9:,.2f} GB free: "
            "bfloat16 takes half of float32 (--dtype), and --device auto spreads them over all that there is"
        )


def free_memory(on: torch.device) -> int | None:
    """Bytes; None where nothing tells. What this process holds in reserve on a GPU is free to it; on a CPU, swap is."""
    if on.type == "cuda":
        return torch.cuda.mem_get_info(on)[0] + torch.cuda.memory_reserved(on) - torch.cuda.memory_allocated(on)
    if on.type == "cpu" and find_spec("psutil") is not None:
        import psutil

        return psutil.virtual_memory().available + psutil.swap_memory().free
    return None


def bytes_needed(folder: Path, dtype: torch.dtype | None, *, quantised: bool) -> int:
    """What the weights of a checkpoint's folder take in a number format (None: their own), by the heads of its files:
    of Qwen2.5-Omni the thinker's, which alone are loaded. 0 of a folder without weights, whose loading says what is
    wrong."""
    size = {name: of if quantised else _size(its, of, dtype) for name, its, of in _stored(folder)}
    thinker = {name: of for name, of in size.items() if name.startswith(_THINKER)}
    return sum((thinker or size).values())


def _size(its: dict[str, Any], stored: int, dtype: torch.dtype | None) -> int:
    return stored if dtype is None or its["dtype"] not in _FLOATS else prod(its["shape"]) * dtype.itemsize


def _stored(folder: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Name, entry and size of every tensor; of a `.bin` file, which has no head, the file's."""
    for kind in KINDS:
        single, index = folder / kind, folder / f"{kind}.index.json"
        if not single.is_file() and not index.is_file():
            continue
        for path in [single] if single.is_file() else sorted({*weight_map(index).values()}):
            if path.suffix != ".safetensors":
                yield path.name, {"dtype": ""}, path.stat().st_size
                continue
            with path.open("rb") as file:
                head: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            for name, its in head.items():
                if name != "__metadata__":
                    begin, end = its["data_offsets"]
                    yield name, its, end - begin
        return
