"""Whether hook_z is cut into heads rightly: what one head's attention gives out reaches that head, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lens_truth.models.batches import pad_rows, random_words, run_body
from lens_truth.models.cut import cut_of
from lens_truth.models.hooked import HookedModel
from lens_truth.models.layerwise import as_first_row, layer_by_layer
from lens_truth.models.twin import shared_copy

_TOKENS = 8
_SEEN = ("sdpa", "eager")
"""Implementations of attention whose parts PyTorch shows; others are kernels of their own."""
_PRODUCTS = ("matmul", "__matmul__", "bmm", "baddbmm", "einsum")
_STILL_WEIGHTS = (
    "dropout", "to", "type", "type_as", "float", "half", "bfloat16", "__getitem__", "view", "reshape", "transpose",
    "permute", "contiguous", "clone", "masked_fill", "nan_to_num", "mul", "__mul__", "expand", "squeeze", "unsqueeze",
)  # fmt: skip


def shared_by_heads(model: HookedModel) -> float:
    """How much of what a head's attention gives out reaches other heads, as a part of what reaches the head itself, for
    the first and the last head of every layer: 0 where hook_z is cut right; where one attention map is taken from
    another (differential attention) about 1; infinite where no attention over so many heads of this width is seen. A
    norm over all heads, which makes others louder or softer and turns none (BitNet), does not count.

    PyTorch's own calls are watched, so that no name of a module matters: where a softmax over tokens has been
    multiplied with values, the vectors of one head are turned, in each row of a batch those of another head.
    """
    if model.original_model.config._attn_implementation not in _SEEN:
        twin: Any = shared_copy(model.original_model)
        twin.set_attn_implementation(_SEEN[-1])
        model = HookedModel(twin, model.tokenizer, "")
    turned = (0, model.cfg.n_heads - 1)
    ids, mask = pad_rows([random_words(model, _TOKENS)] * (1 + len(turned)), model)
    with torch.no_grad(), _Turning(model, turned), layer_by_layer(model, "attn.hook_z", as_first_row) as seen:
        run_body(model, ids, mask, [""] * len(ids))
    return max(_share(z[[0, row]], head) for z in seen.passed for row, head in enumerate(turned, start=1))


class _Turning(TorchFunctionMode):
    """Turns what a head's attention gives out, in row i + 1 of a batch that of the i-th of some heads."""

    def __init__(self, model: HookedModel, heads: tuple[int, ...]) -> None:
        super().__init__()
        cut = cut_of(model.original_model.get_submodule(model.attentions[0].projection))
        size, rank = (cut.size, cut.rank) if cut else (1, 0)
        self._n_heads = model.cfg.n_heads // size
        self._turned_in = [(row, head - rank * self._n_heads) for row, head in enumerate(heads, start=1)]
        self._n_rows = 1 + len(heads)
        self._widths = {attention.d_head for attention in model.attentions}
        self._weights: dict[int, Tensor] = {}
        """What is still a softmax over tokens, kept alive so that its id stays its own."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, name = func(*args, **(kwargs or {})), getattr(func, "__name__", "")
        if not isinstance(out, Tensor):
            return out
        if name == "scaled_dot_product_attention":
            return self._turned(out)
        of_weights = any(id(tensor) in self._weights for tensor in _tensors((args, kwargs or {})))
        if of_weights and name in _PRODUCTS:
            return self._turned(out)
        if (of_weights and name in _STILL_WEIGHTS) or (name == "softmax" and out.ndim > 2 and out.shape[-1] >= _TOKENS):
            self._weights[id(out)] = out
        return out

    def _turned(self, out: Float[Tensor, "*batch_and_heads T D"]) -> Tensor:
        if out.shape[-2] != _TOKENS or out.shape[-1] not in self._widths:
            return out
        if out.shape[:-2].numel() != self._n_rows * self._n_heads:
            return out
        turned = out.reshape(-1, self._n_heads, *out.shape[-2:]).clone()
        for row, head in self._turned_in:
            if 0 <= head < self._n_heads:  # else another process's, of a model that is cut over several
                turned[row, head] = turned[row, head].roll(1, -1)
        return turned.reshape(out.shape)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | Mapping):
        parts = cast("Iterable[Any]", value.values() if isinstance(value, Mapping) else value)
        for part in parts:
            yield from _tensors(part)


def _share(z: Float[Tensor, "2 T H D"], head: int) -> float:
    """How far the turned head's attention turned other heads, beside how far it turned this one."""
    plain, moved = z.double()
    along = (moved * plain).sum(-1, keepdim=True) / plain.square().sum(-1, keepdim=True).clamp(min=1e-30)
    aside = (moved - along * plain).square().sum((0, 2))
    own, rounding = float(aside[head]), torch.finfo(z.dtype).eps ** 2 * float(plain.square().sum())
    return float((aside.sum() - own).clamp(min=0) / own) ** 0.5 if own > 4 * rounding else torch.inf
