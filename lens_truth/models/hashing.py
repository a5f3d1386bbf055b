"""A hash of a model's weights, remembered until they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lens_truth.models.placing import fetched

_KNOWN: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()
_GLANCE = 4096
_WRAPPER = "_original_component."
"""What TransformerLens's bridge puts into the names of what it wraps."""


def weights_hash(model: Any) -> str:
    """A hash of all weights (parameters, and saved buffers, in which quantised layers keep theirs), names and shapes
    included; the same for a model with and without hooks.

    It takes a second for half a gigabyte, so it is remembered until the weights look different (`_look`).
    """
    plain = getattr(model, "original_model", model)
    look = _look(plain)
    if plain not in _KNOWN or _KNOWN[plain][0] != look:
        _KNOWN[plain] = look, _hashed(plain)
    return _KNOWN[plain][1]


def _hashed(plain: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(plain), key=lambda named: named[0]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(fetched(plain, name) if tensor.is_meta else tensor))
    return digest.hexdigest()[:16]


def _tensors(plain: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor once, by the first of its names."""
    seen: set[int] = set()
    tied = getattr(plain, "all_tied_weights_keys", {})
    for name, tensor in plain.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen and not (tensor.is_meta and name in tied):
            seen.add(id(tensor))
            yield from _parts(name.replace(_WRAPPER, ""), tensor)


def _parts(name: str, tensor: Any) -> Iterator[tuple[str, Tensor]]:
    """The plain tensors in one of a class of its own (torchao's, quanto's)."""
    if not is_traceable_wrapper_subclass(tensor):
        yield name, tensor
        return
    names, _ = cast("tuple[list[str], Any]", tensor.__tensor_flatten__())
    for part in names:
        yield from _parts(f"{name}.{part}", getattr(tensor, part))


def _look(plain: Any) -> bytes:
    """Where every tensor lies and how often PyTorch saw it change. PyTorch sees no change through `.data`, so some of
    the numbers too, at an odd distance, which hits every head of a projection; of small tensors, which some layers make
    anew each time, all of them and nothing else. What is offloaded is taken to stay."""
    digest = hashlib.sha256()
    for _, tensor in _tensors(plain):
        version = 0 if tensor.is_inference() else tensor._version  # what was made in inference mode has none
        place = (tensor.data_ptr(), version) if tensor.numel() > _GLANCE else ()
        digest.update(f"{place} {tensor.shape} {tensor.dtype}".encode())
        if not tensor.is_meta:
            numbers = tensor.detach().reshape(-1)
            digest.update(_bytes(numbers[:: len(numbers) // _GLANCE | 1]))
    return digest.digest()


def _bytes(numbers: Tensor) -> Any:
    return numbers.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data
