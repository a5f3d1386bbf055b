"""The hooks that everything else stands on: reading, scaling and shifting `hook_z` of every layer.

Only what our `HookedModel`, TransformerLens 3.9's HookedTransformer and its TransformerBridge share is used: `cfg`,
`hook_dict`, `hooks(fwd_hooks=...)` and hook names. So each can be passed wherever a hooked model is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.models.placing import device_of
from lens_truth.models.quantised import scaled, shifted


@runtime_checkable
class Hooked(Protocol):
    """What is asked of a hooked model (HookedModel, TransformerBridge, HookedTransformer)."""

    cfg: Any
    tokenizer: Any
    hook_dict: Any

    def __call__(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        """Logits of token ids: [batch, pos, vocabulary]."""
        ...

    def hooks(self, fwd_hooks: list[Any]) -> AbstractContextManager[Any]:
        """While open, each `(hook name, function)` is called with what passes there, and may return another value."""
        ...


def attention_layers(model: Any) -> Sequence[int]:
    """Which of the decoder's layers have heads, in order: the layers of scores and gates. All, but for hybrids."""
    return getattr(model, "attention_layers", range(model.cfg.n_layers))


def grid_of(model: Any) -> tuple[int, int]:
    """How many layers with heads a model has, and how many heads each."""
    return len(attention_layers(model)), model.cfg.n_heads


def hook_names(model: Hooked, kind: str = "attn.hook_z") -> list[str]:
    """One kind of hook in every layer with heads; some versions would ignore silently a name that the model lacks."""
    names = [f"blocks.{layer}.{kind}" for layer in attention_layers(model)]
    missing = [name for name in names if name not in model.hook_dict]
    if missing:
        raise InputError(f"the model has no hook {missing[0]}")
    return names


def gate_heads(
    model: Hooked,
    gate: Float[Tensor, "*batch L H"],
    kind: str = "attn.hook_z",
    factor: Callable[[Tensor, int], Tensor] = lambda gate, width: gate[..., None],
) -> AbstractContextManager[Any]:
    """While open, what passes one kind of hook is multiplied at every position: `hook_z` by each head's gate, others
    by the factor that is made of the gate and the width of what passes.

    A gate [batch, L, H] gives each row of the batch a gate of its own. Gradients flow to the gate; without them layers
    of ones are left alone. An InputError says if layers or heads do not fit the model, or (during the forward pass) the
    batch does not.
    """
    check_gate_shape(grid_of(model), gate)
    acts = gate.detach().ne(1).movedim(-2, 0).flatten(1).any(1) | gate.requires_grad
    layers = cast("list[int]", acts.nonzero().flatten().tolist())
    gate, names = gate.to(device_of(model)), hook_names(model, kind)
    acting = ((names[layer], gate[..., layer, :]) for layer in layers)
    return model.hooks(fwd_hooks=[(name, Acting(its, 1, factor, scaled)) for name, its in acting])


def shift_heads(
    model: Hooked, vectors: Float[Tensor, "*batch L H D"], kind: str = "attn.hook_z"
) -> AbstractContextManager[Any]:
    """While open, each head's vector is added to what passes one kind of hook, at every position: to `hook_z`, or
    (H = 1) to the residual stream. Layers without a vector but zeros are left alone.

    Vectors [batch, L, H, D] give each row of the batch its own. An InputError says (during the forward pass) if the
    batch has other rows.
    """
    vectors = vectors.to(device_of(model))
    by_head = kind == "attn.hook_z"
    acts = cast("list[bool]", vectors.ne(0).flatten(-2).any(-1).view(-1, vectors.shape[-3]).any(0).tolist())
    layers = [(layer, name) for layer, name in enumerate(hook_names(model, kind)) if acts[layer]]
    its = {name: vectors[..., layer, :, :] if by_head else vectors[..., layer, 0, :] for layer, name in layers}
    return model.hooks(fwd_hooks=[(name, Acting(of, 2 if by_head else 1, _cut, shifted)) for name, of in its.items()])


def _cut(vector: Tensor, width: int) -> Tensor:
    """To the heads of a layer that are narrower than others. What is 0 is negative: then not even a sign changes."""
    return vector[..., :width].masked_fill(vector[..., :width] == 0, -0.0)


class Acting:
    """A hook that does something to what passes with values of its own. They are made ready at its first call, and
    moved to where the layer is: on a GPU each move would be waited for, at every token."""

    def __init__(
        self,
        values: Tensor,
        rank: int,
        ready: Callable[[Tensor, int], Tensor],
        act: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """`rank` is the number of axes of the values of one row."""
        self._values, self._by_row, self._ready, self._act = values, values.ndim > rank, ready, act
        self._made: Tensor | None = None

    def __call__(self, output: Tensor, hook: Any) -> Tensor:
        """What passes, changed."""
        made = self._made
        if made is None or made.device != output.device:
            values = self._values.to(output.device, torch.promote_types(output.dtype, torch.float32))
            made = self._ready(values[:, None] if self._by_row else values, output.shape[-1])
            if not values.requires_grad:
                self._made = made
        if self._by_row and len(made) != len(output):
            raise InputError(f"a gate for {len(made)} rows was attached, but the batch has {len(output)} rows")
        return self._act(output, made)


def check_gate_shape(grid: tuple[int, int], gate: Float[Tensor, "*batch L H"]) -> None:
    """Raises an InputError unless the gate has so many layers and heads."""
    if gate.shape[-2:] != grid:
        raise InputError(
            f"the gate has {gate.shape[-2]} layers x {gate.shape[-1]} heads, the model {grid[0]} x {grid[1]}"
        )


def check_heads(grid: tuple[int, int], heads: Sequence[tuple[int, int]]) -> None:
    """Raises an InputError unless all heads, by layer and number, are there."""
    L, H = grid
    if wrong := [f"{layer}.{head}" for layer, head in heads if not (0 <= layer < L and 0 <= head < H)]:
        raise InputError(f"there is no head {wrong[0]} among {L} layers x {H} heads")


@contextmanager
def constant_weights(model: Any) -> Generator[None, None, None]:
    """While open, no weight asks for a gradient, so a backward pass keeps only what a gate needs."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def sliding_windows(model: Any) -> list[int | None]:
    """For each layer with heads, how many tokens up to its own a query sees; None for all."""
    hf = getattr(model, "original_model", None)
    if hf is None:  # a HookedTransformer
        kinds = model.cfg.attn_types if model.cfg.use_local_attn else [""] * model.cfg.n_layers
        return [model.cfg.window_size if kind == "local" else None for kind in kinds]
    config = hf.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None) or None
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["sliding_attention" if getattr(config, "use_sliding_window", True) else ""] * model.cfg.n_layers
    return [window if kinds[layer] == "sliding_attention" else None for layer in attention_layers(model)]


def inner_model(model: Any) -> Any:
    """The Hugging Face model inside, which writes answers; a HookedTransformer has none."""
    hf = getattr(model, "original_model", None)
    if hf is None:
        raise InputError(
            f"answers are written by the Hugging Face model inside, and a {type(model).__name__} holds none; wrap the "
            "checkpoint with `lens_truth.load`"
        )
    return hf


def name_of(model: Hooked) -> str:
    """What the model was loaded as."""
    return getattr(model.cfg, "model_name", "")
