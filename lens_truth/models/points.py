"""TransformerLens's hook points, each fed by a torch hook on one of Hugging Face's modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformer_lens.hook_points import HookPoint

from lens_truth.models.cut import Cut, Given, cut_of
from lens_truth.models.structure import modules_of

_OURS: set[int] = set()
"""Numbers of the torch hooks that feed points."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_NOTES = "transformers.utils.output_capturing"
"""Whose hooks stay after `output_hidden_states` was asked for once, and change nothing."""
Feed = Callable[["Point"], RemovableHandle]
"""Registers the torch hook that feeds a point."""


class Point(HookPoint):
    """A hook point that something of a Hugging Face model passes. Nobody listening, it costs nothing, or if `always`
    a microsecond: then its torch hook is there from the start, as `torch.compile` asks, which sees no torch hook that
    is registered later, but does see that somebody has begun to listen to one that was there."""

    def __init__(self, feed: Feed, *, always: bool = False) -> None:
        super().__init__()
        self._register, self._always = feed, always
        self._fed: RemovableHandle | None = None
        if always:
            self._feed()

    def _feed(self) -> None:
        self._fed = self._register(self)
        _OURS.add(self._fed.id)

    def add_hook(self, *args: Any, **how: Any) -> Any:
        """As TransformerLens's."""
        if self._fed is None:
            self._feed()
        return super().add_hook(*args, **how)

    def remove_hooks(self, *args: Any, **how: Any) -> None:
        """As TransformerLens's."""
        super().remove_hooks(*args, **how)
        if not self._always and self._fed is not None and not listened_to(self):
            self._fed.remove()
            _OURS.discard(self._fed.id)
            self._fed = None


def remove_feeds(module: nn.Module) -> None:
    """Takes the torch hooks of points, and no others, off the modules of a copy."""
    for _, part in modules_of(module):
        for hooks in (getattr(part, name) for name in _HOOKS):
            for number in _OURS & set(hooks):
                del hooks[number]


def other_hook(module: nn.Module) -> str:
    """The path of a part with a torch hook that feeds no point: of a gate that is open on it, or a user's. '' where
    there is none but those by which Transformers notes hidden states."""
    for path, part in modules_of(module):
        for number, hook in (its for name in _HOOKS for its in getattr(part, name).items()):
            if number not in _OURS and getattr(hook, "__module__", "") != _NOTES:
                return path or type(module).__name__
    return ""


def listened_to(point: HookPoint) -> bool:
    """Whether any function is called with what passes."""
    return bool(point.fwd_hooks or point.bwd_hooks)


def heads_into(projection: nn.Module, n_heads: int) -> Feed:
    """What the heads give out, [batch, pos, head, d_head], on its way into the output projection."""
    return _into_map(projection, lambda point, z: point(z.unflatten(-1, (n_heads, -1))).flatten(-2))


def neurons_into(down: nn.Module) -> Feed:
    """What the neurons of an MLP give out, [batch, pos, neuron], on its way into the map to the residual stream."""
    return _into_map(down, lambda point, neurons: point(neurons))


def _into_map(linear: nn.Module, act: Callable[[Point, Tensor], Tensor]) -> Feed:
    """What a linear map is given, of all processes where it is cut over several."""
    whole = Given(linear)

    def feed(point: Point) -> RemovableHandle:
        def pass_on(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not listened_to(point):
                return None
            return (whole.acted(partial(act, point), args[0]), *args[1:])

        return linear.register_forward_pre_hook(pass_on)

    return feed


def into(module: nn.Module) -> Feed:
    """The first thing that a module is given."""

    def feed(point: Point) -> RemovableHandle:
        def pass_on(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not listened_to(point):
                return None
            if args:
                return (point(args[0]), *args[1:]), kwargs
            name = next(iter(kwargs))
            return args, {**kwargs, name: point(kwargs[name])}

        return module.register_forward_pre_hook(pass_on, with_kwargs=True)

    return feed


def out_of(module: nn.Module) -> Feed:
    """What a module gives out, or the first of several things."""

    def feed(point: Point) -> RemovableHandle:
        def pass_on(module: nn.Module, args: Any, output: Any) -> Any:
            if not listened_to(point):
                return None
            return point(output) if isinstance(output, Tensor) else (point(output[0]), *output[1:])

        return module.register_forward_hook(pass_on)

    return feed


def pattern_of(attention: nn.Module, projection: nn.Module, n_heads: int) -> Feed:
    """The attention pattern [batch, head, query, key], where the attention gives it out (eager); for reading only."""
    cut = cut_of(projection)

    def feed(point: Point) -> RemovableHandle:
        return attention.register_forward_hook(partial(_read_pattern, point, n_heads, cut))

    return feed


def _read_pattern(point: Point, n_heads: int, cut: Cut | None, module: nn.Module, args: Any, output: Any) -> None:
    if not isinstance(output, Tensor) and listened_to(point):
        for part in output[1:]:
            if isinstance(part, Tensor) and part.ndim == 4 and part.shape[1] * (cut.size if cut else 1) == n_heads:
                point(cut.whole(part, 1) if cut else part)
                return
