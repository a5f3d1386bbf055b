"""A hash of a model's weights, made where they lie and remembered until they change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lens_truth.io.files import OF_WEIGHTS
from lens_truth.io.stages import stage
from lens_truth.models.adapted import adapter_states
from lens_truth.models.cut import in_one, is_cut, own_part
from lens_truth.models.placing import fetched

_KNOWN: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()
_EARLIER: WeakKeyDictionary[Any, tuple[bytes, str]] = WeakKeyDictionary()
_GLANCE = 4096
_WRAPPER = "_original_component."
"""What TransformerLens's bridge puts into the names of what it wraps."""
_LANES, _BLOCK = 1 << 18, 1 << 15
"""64-bit numbers of the state: 2 MB, few kernels on a GPU; on a CPU, 256 KB of it at a time stay in a core's cache."""
_ODD = 0x9E3779B97F4A7C15 - (1 << 64)


@stage("hash")
def weights_hash(model: Any) -> str:
    """A hash of all weights (parameters, and saved buffers, in which quantised layers keep theirs), names and shapes
    included, and of how strongly adapters act; the same for a model with and without hooks, on every device, and in
    every process of those that a model is cut over (which must all ask for it).

    It takes one pass over the bytes where they lie, and is remembered until the weights look different (`_look`). It
    sees every edit that is made by accident; no more is claimed of it, so whoever wants to forge a model can.
    """
    return _remembered(_KNOWN, model, _hashed)


def is_hash_of(said: object, model: Any) -> bool:
    """Whether `said` is the hash of a model's weights: that of now, or the one that an earlier build would have
    written, for which all bytes go through the CPU."""
    if isinstance(said, str) and not said.startswith(OF_WEIGHTS):
        return said == _remembered(_EARLIER, model, _sha256)
    return said == weights_hash(model)


def _remembered(known: WeakKeyDictionary[Any, tuple[bytes, str]], model: Any, make: Callable[[Any], str]) -> str:
    plain = getattr(model, "original_model", model)
    look = _look(plain)
    if plain not in known or known[plain][0] != look:
        known[plain] = look, make(plain)
    return known[plain][1]


@torch.inference_mode(mode=False)  # in whose threads its tensors could not be changed
def _hashed(plain: Any) -> str:
    """Of the weights, as 64-bit words, rows of a wide state are fed with one after the other: state = words + odd *
    (state ^ state >> 32), a number of it (a lane) for each word of a row. Whole numbers that wrap around are exact, so
    it is the same in any order of threads; the shift brings a flipped sign down to where it cannot cancel another. Two
    models agree in a lane by chance once in 2^60, and they must in every lane that an edit touches."""
    digest, state = hashlib.sha256(), torch.arange(1, _LANES + 1, device="cpu").repeat(2, 1) * _ODD
    for name, tensor in _in_order(plain):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        numbers = _flat(tensor if tensor.device.type in ("cpu", "cuda") else tensor.cpu())
        state = state.to(numbers.device)
        if whole := len(numbers) // 8 * 8:
            _feed(state, numbers[:whole].view(torch.int64))
        if len(numbers) % 8:
            _feed(state, pad(numbers[whole:], (0, -len(numbers) % 8)).view(torch.int64))
    digest.update(_bytes(state[0]))
    digest.update(_strengths(plain))
    return OF_WEIGHTS + digest.hexdigest()[:16]


def _feed(state: Tensor, words: Tensor) -> None:
    block = _BLOCK if state.device.type == "cpu" else _LANES

    def feed(start: int) -> None:
        for row in range(start, len(words), _LANES):
            fed = words[row : row + block]
            lanes, high = state[:, start : start + len(fed)]  # the second row is room to work in
            torch.bitwise_right_shift(lanes, 32, out=high)
            torch.add(fed, high.bitwise_xor_(lanes), alpha=_ODD, out=lanes)

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(feed, range(0, min(_LANES, len(words)), block)))


def _sha256(plain: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in _in_order(plain):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _strengths(plain: Any) -> bytes:
    """What of adapters lies outside their weights; nothing of a model without."""
    states = adapter_states(plain)
    return repr(states).encode() if states else b""


def _in_order(plain: Any) -> Iterator[tuple[str, Tensor]]:
    """By name; what is offloaded is fetched, and what is cut over processes is put together, one at a time."""
    for name, tensor in sorted(_tensors(plain), key=lambda named: named[0]):
        yield name, fetched(plain, name) if tensor.is_meta else in_one(tensor)


def _tensors(plain: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor once, by the first of its names."""
    seen: set[int] = set()
    tied = getattr(plain, "all_tied_weights_keys", {})
    for name, tensor in plain.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen and not (tensor.is_meta and name in tied):
            seen.add(id(tensor))
            yield from _parts(name.replace(_WRAPPER, ""), tensor)


def _parts(name: str, tensor: Any) -> Iterator[tuple[str, Any]]:
    """The plain tensors in one of a class of its own (torchao's, quanto's)."""
    if is_cut(tensor) or not is_traceable_wrapper_subclass(tensor):
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
    for _, given in _tensors(plain):
        tensor = own_part(given)
        version = 0 if tensor.is_inference() else tensor._version  # what was made in inference mode has none
        place = (tensor.data_ptr(), version) if tensor.numel() > _GLANCE else ()
        digest.update(f"{place} {tensor.shape} {tensor.dtype}".encode())
        if not tensor.is_meta:
            numbers = tensor.detach().reshape(-1)
            digest.update(_bytes(numbers[:: len(numbers) // _GLANCE | 1]))
    digest.update(_strengths(plain))
    return digest.digest()


def _bytes(numbers: Tensor) -> Any:
    return _flat(numbers.cpu()).numpy().data


def _flat(numbers: Tensor) -> Tensor:
    """Its bytes in a row: copied only if they are not in order, or do not begin where a 64-bit number can."""
    flat = numbers.detach().reshape(-1).contiguous().view(torch.uint8)
    return flat.clone() if flat.storage_offset() % 8 or flat.data_ptr() % 8 else flat
