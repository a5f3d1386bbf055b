"""Made-up accelerators, `toy:0` and `toy:1`, on a machine that has none: their tensors hold real numbers, which the
processor computes, and refuse what PyTorch refuses between devices. Importing this changes PyTorch for the whole
process."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

_INDEXING = ("index", "_index", "_unsafe_index")


class _Backend:
    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 2

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None: ...

    def device(self, index: int) -> Any:
        return contextlib.nullcontext()


class OnToy(Tensor):
    """A tensor of which PyTorch believes that it is on a toy device."""

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device, **_: Any) -> OnToy:
        how = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), device=_numbered(device), **how)

    def __init__(self, held: Tensor, device: torch.device, **_: Any) -> None:
        self.held = held

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


class Toys(TorchDispatchMode):
    """While open, tensors can be made on toy devices."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


def _computed(function: Any, args: Any, kwargs: Any) -> Any:
    name = function._schema.name.split("::")[1]
    tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
    toys = {tensor.device for tensor in tensors if isinstance(tensor, OnToy)}
    others = {tensor.device for tensor in tensors if not isinstance(tensor, OnToy) and tensor.ndim}
    first = args[0].device if args and isinstance(args[0], Tensor) else None
    if name.startswith(_INDEXING):  # indices may lie on the processor, and nowhere else but where the tensor is
        mixed = bool(toys - {first})
    else:
        mixed = len(toys | others) > 1 and name not in ("_to_copy", "copy_")
    if mixed:
        raise RuntimeError(f"{name}: expected all tensors on one device, found {toys | others}")
    device = first if name.startswith(_INDEXING) else next(iter(toys), torch.device("cpu"))
    if (wanted := kwargs.get("device")) is not None:
        device, kwargs = torch.device(wanted), {**kwargs, "device": torch.device("cpu")}
    result = function(*tree_map(_held, args), **tree_map(_held, kwargs))
    if name.endswith("_"):
        return args[0]
    if device is None or device.type != "toy":
        return result
    return tree_map(lambda part: OnToy(part, device) if isinstance(part, Tensor) else part, result)


def _held(part: Any) -> Any:
    return part.held if isinstance(part, OnToy) else part


def _numbered(device: Any) -> torch.device:
    device = torch.device(device)
    return torch.device("toy:0") if device == torch.device("toy") else device


backend_registration._setup_privateuseone_for_python_backend("toy", backend_module=_Backend())


@torch.library.impl("aten::empty_strided", "PrivateUse1")
def _empty_strided(size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None, **_: Any) -> Any:
    return OnToy(torch.empty_strided(size, stride, dtype=dtype), device)


@torch.library.impl("aten::empty.memory_format", "PrivateUse1")
def _empty(size: Any, dtype: Any = None, layout: Any = None, device: Any = None, *_: Any, **__: Any) -> Any:
    return OnToy(torch.empty(size, dtype=dtype), device)


@torch.library.impl("aten::_copy_from", "PrivateUse1")
def _copy_from(source: Any, into: Any, non_blocking: bool = False) -> Any:
    _held(into).copy_(_held(source))
    return into
