"""Models cut over several processes (tensor parallelism, `tp_plan="auto"` of Transformers): each holds some heads and
some neurons of every layer. Hooks are given those of all processes, and the process goes on with its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lens_truth.errors import InputError
from lens_truth.models.structure import linear_shape, modules_of


@dataclass(frozen=True)
class Cut:
    """Of what a linear map is given, equal parts lie with processes of a group, in their order."""

    group: Any
    size: int
    rank: int
    """Of this process in the group."""

    def whole(self, part: Tensor, axis: int = -1) -> Tensor:
        """What all processes hold, from what each holds; every one must ask for it. A gradient of the whole, which is
        the same everywhere, is cut again."""
        return cast("Tensor", _Whole.apply(part, self, axis))

    def own(self, whole: Tensor, axis: int = -1) -> Tensor:
        """This process's part. Its gradient is that of the whole, of all parts together."""
        return cast("Tensor", _Own.apply(whole, self, axis))


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, cut: Cut, axis: int) -> Tensor:
        ctx.how = cut, axis
        return _joined(part, cut, axis)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        cut, axis = ctx.how
        return gradients[0].chunk(cut.size, axis)[cut.rank], None, None


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, cut: Cut, axis: int) -> Tensor:
        ctx.how = cut, axis
        return whole.chunk(cut.size, axis)[cut.rank].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _joined(gradients[0], *ctx.how), None, None


def _joined(part: Tensor, cut: Cut, axis: int) -> Tensor:
    part = part.contiguous()
    parts = [torch.empty_like(part) for _ in range(cut.size)]
    dist.all_gather(parts, part, group=cut.group)
    return torch.cat(parts, axis)


class Given:
    """What passes into a linear map: all of it, also where this process is given a part."""

    def __init__(self, linear: nn.Module) -> None:
        self._cut, self._n = cut_of(linear), (linear_shape(linear) or (0, 0))[0]

    def whole(self, given: Tensor) -> Tensor:
        """Of all processes."""
        return given if (cut := self._cut_of(given)) is None else cut.whole(given)

    def acted(self, act: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        """What `act` makes of the whole, as far as it is this process's."""
        return act(given) if (cut := self._cut_of(given)) is None else cut.own(act(cut.whole(given)))

    def _cut_of(self, given: Tensor) -> Cut | None:
        """None also where the map itself cuts what it is given whole."""
        return self._cut if self._cut is not None and given.shape[-1] * self._cut.size == self._n else None


def cut_of(linear: Any) -> Cut | None:
    """How what a linear map is given is cut over processes; None if it is whole."""
    weight = getattr(linear, "weight", None)
    if not is_cut(weight):
        return None
    placed: Any = weight
    axes = [axis for axis, its in enumerate(placed.placements) if its.is_shard(1) or its.is_shard(-1)]
    if len(axes) != 1:
        return None
    group = placed.device_mesh.get_group(axes[0])
    cut = Cut(group, dist.get_world_size(group), dist.get_rank(group))
    return cut if cut.size > 1 else None


def is_cut(tensor: Any) -> bool:
    """Whether a tensor is one of several processes' (a DTensor)."""
    return hasattr(tensor, "placements") and hasattr(tensor, "full_tensor")


def in_one(tensor: Any) -> Tensor:
    """The whole of a tensor that is cut, which every process must ask for; others as they are."""
    return tensor.full_tensor() if is_cut(tensor) else tensor


def own_part(tensor: Any) -> Tensor:
    """Of a tensor that is cut what this process holds; others as they are."""
    return tensor.to_local() if is_cut(tensor) else tensor


def check_in_one(model: nn.Module, what: str) -> None:
    """Raises an InputError if a model is cut over processes, which `what` cannot be done with."""
    for name, module in modules_of(model):
        if linear_shape(module) and is_cut(getattr(module, "weight", None)):
            raise InputError(
                f"the weights of '{name}' are cut over several processes (tensor parallelism), and {what}: load the "
                "model in one process, over several devices if need be (device='auto')"
            )
