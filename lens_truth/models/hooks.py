"""The hooks that everything else stands on: reading and scaling `hook_z` of every layer.

Only what TransformerLens 3.9's HookedTransformer and 4.x's TransformerBridge share is used: `cfg`, `hook_dict`,
`hooks(fwd_hooks=...)` and hook names. So either can be passed wherever a hooked model is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.data.examples import Example, examples_hash
from lens_truth.errors import InputError
from lens_truth.models.tower import scaled, weights_hash


@runtime_checkable
class Hooked(Protocol):
    """What is asked of a hooked model (TransformerBridge, HookedTransformer)."""

    cfg: Any
    tokenizer: Any
    hook_dict: Any

    def __call__(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        """Logits of token ids: [batch, pos, vocabulary]."""
        ...

    def hooks(self, fwd_hooks: list[Any]) -> AbstractContextManager[Any]:
        """While open, each `(hook name, function)` is called with what passes there, and may return another value."""
        ...


def hook_names(model: Hooked, kind: str = "attn.hook_z") -> list[str]:
    """One kind of hook in every layer; some versions would ignore silently a name that the model lacks."""
    names = [f"blocks.{layer}.{kind}" for layer in range(model.cfg.n_layers)]
    missing = [name for name in names if name not in model.hook_dict]
    if missing:
        raise InputError(f"the model has no hook {missing[0]}")
    return names


def gate_heads(
    model: Hooked,
    gate: Float[Tensor, "*batch L H"],
    kind: str = "attn.hook_z",
    factor: Callable[[Tensor, Tensor], Tensor] = lambda gate, output: gate[..., None],
) -> AbstractContextManager[Any]:
    """While open, what passes one kind of hook is multiplied at every position: `hook_z` by each head's gate, others
    by the factor that is made of gate and output.

    A gate [batch, L, H] gives each row of the batch a gate of its own. Gradients flow to the gate. An InputError says
    if layers or heads do not fit the model, or (during the forward pass) the batch does not.
    """
    check_gate_shape(model.cfg, gate)
    layers = enumerate(hook_names(model, kind))
    return model.hooks(fwd_hooks=[(name, partial(_scale, gate[..., layer, :], factor)) for layer, name in layers])


def _scale(
    gate: Float[Tensor, "*rows H"], factor: Callable[[Tensor, Tensor], Tensor], output: Tensor, hook: Any
) -> Tensor:
    if gate.ndim == 1:
        return scaled(output, factor(gate, output))
    if len(gate) != len(output):
        raise InputError(f"a gate for {len(gate)} rows was attached, but the batch has {len(output)} rows")
    return scaled(output, factor(gate[:, None], output))


def check_gate_shape(model: Any, gate: Float[Tensor, "*batch L H"]) -> None:
    """Raises an InputError unless the gate has the layers and heads of a model's `cfg`, or of its `Heads`."""
    if gate.shape[-2:] != (model.n_layers, model.n_heads):
        raise InputError(
            f"the gate has {gate.shape[-2]} layers x {gate.shape[-1]} heads, the model {model.n_layers} x "
            f"{model.n_heads}"
        )


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
    """For each layer, how many tokens up to its own a query sees; None for all."""
    hf = getattr(model, "original_model", None)
    if hf is None:  # a HookedTransformer
        kinds = model.cfg.attn_types if model.cfg.use_local_attn else [""] * model.cfg.n_layers
        return [model.cfg.window_size if kind == "local" else None for kind in kinds]
    config = hf.config.get_text_config()
    window = getattr(config, "sliding_window", None) or None
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["sliding_attention" if getattr(config, "use_sliding_window", True) else ""] * model.cfg.n_layers
    return [window if kind == "sliding_attention" else None for kind in kinds]


def inner_model(model: Any) -> Any:
    """The Hugging Face model inside, which writes answers; a HookedTransformer has none."""
    hf = getattr(model, "original_model", None)
    if hf is None:
        raise InputError(
            f"answers are written by the Hugging Face model inside, and a {type(model).__name__} holds none; wrap the "
            "checkpoint with `lens_truth.load`"
        )
    return hf


def device_of(model: Any) -> torch.device:
    """Where a model's weights are (its first parameter, if they are in several places)."""
    return next(model.parameters()).device


def name_of(model: Hooked) -> str:
    """What the model was loaded as."""
    return getattr(model.cfg, "model_name", "")


def provenance_of(model: Hooked, examples: Sequence[Example], template: str) -> dict[str, Any]:
    """What a number comes from: name, weights and KV heads of the model, the examples, the prompt they were put in."""
    return {
        "model": name_of(model),
        "weights": weights_hash(model),
        "n_kv_heads": getattr(model.cfg, "n_key_value_heads", None) or model.cfg.n_heads,
        "examples": examples_hash(examples),
        "template": template,
    }
