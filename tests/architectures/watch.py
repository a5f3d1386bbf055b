"""What attention computes, seen without any module's name: PyTorch's own calls are watched while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_PRODUCTS = ("matmul", "__matmul__", "bmm", "baddbmm", "einsum")
_LINEAR = ("linear", "addmm", "mm", *_PRODUCTS)
_KEEP_WEIGHTS = (
    "dropout", "to", "type", "type_as", "float", "__getitem__", "view", "reshape", "transpose", "contiguous", "permute",
    "masked_fill", "nan_to_num", "mul", "__mul__", "unsqueeze", "squeeze", "clone", "bfloat16", "half", "expand",
)  # fmt: skip


_TURNED = ("__get__", "t", "transpose", "permute", "view", "reshape")


@dataclass
class Seen:
    """One attention: what its heads gave out, [batch, heads, pos, width] (heads of a batch may lie in one axis), and
    what the first weights behind it were given."""

    out: Tensor
    values: Tensor
    inputs: Tensor | None = None
    weight: Tensor | None = None
    transposed: bool = False
    """Whether the weight is [inputs, outputs], as a Conv1D's is."""


class Watch(TorchFunctionMode):
    """Notes every product of a softmax over tokens with values, in order, and the weights that it reaches; multiplies
    some of the heads, if asked, right where they come out."""

    def __init__(self, n_tokens: int, scale: Mapping[int, Callable[[Tensor], Tensor]] | None = None) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self._n_tokens, self._scale = n_tokens, scale or {}
        self._weights: dict[int, Tensor] = {}
        self._heads: dict[int, tuple[Tensor, int]] = {}
        self._turned: dict[int, tuple[Tensor, nn.Parameter]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        given = list(_tensors((args, kwargs or {})))
        if name == "softmax" and out.ndim >= 3 and out.shape[-1] >= self._n_tokens:
            self._weights[id(out)] = out
        elif name == "scaled_dot_product_attention":
            out = self._see(out, (kwargs or {}).get("value", args[2] if len(args) > 2 else None))
        elif any(id(tensor) in self._weights for tensor in given):
            if name in _PRODUCTS:
                out = self._see(out, next(tensor for tensor in reversed(given) if id(tensor) not in self._weights))
            elif name in _KEEP_WEIGHTS and isinstance(out, Tensor):
                self._weights[id(out)] = out
        elif name in _TURNED and given and (weight := self._weight(given[0])) is not None:
            self._turned[id(out)] = out, weight
        elif index := next((self._heads[id(tensor)][1] + 1 for tensor in given if id(tensor) in self._heads), 0):
            event = self.seen[index - 1]
            weight = next((self._weight(tensor) for tensor in given if self._weight(tensor) is not None), None)
            if name in _LINEAR and weight is not None:
                if event.weight is None:
                    event.inputs = next(tensor for tensor in given if id(tensor) in self._heads)
                    event.weight, event.transposed = weight, name == "addmm"
            else:
                for tensor in _tensors(out):
                    self._heads[id(tensor)] = tensor, index - 1
        return out

    def _weight(self, tensor: Tensor) -> nn.Parameter | None:
        """The parameter that a tensor is, or is another view of."""
        if isinstance(tensor, nn.Parameter):
            return tensor if tensor.ndim > 1 else None
        return self._turned.get(id(tensor), (None, None))[1]

    def _see(self, out: Tensor, values: Tensor) -> Tensor:
        if out.shape[-2] != self._n_tokens:  # attention to other things than tokens
            return out
        index = len(self.seen)
        if index in self._scale:
            out = self._scale[index](out)
        self.seen.append(Seen(out, values))
        self._heads[id(out)] = out, index
        return out


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))


def watched(hf: Any, given: dict[str, Tensor], scale: Any = None) -> tuple[Tensor, list[Seen]]:
    """Logits of a plain model, and its attentions in the order in which they ran."""
    with torch.no_grad(), Watch(given["input_ids"].shape[1], scale) as watch:
        logits = hf(**given, use_cache=False).logits
    return logits, watch.seen
