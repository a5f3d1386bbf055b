"""What lower layers would say: their states go through the final norm and the unembedding beside the last one's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens_truth.models.hooks import inner_model
from lens_truth.models.lens import final_norm

Combined = Callable[[Float[Tensor, "B K V"], Float[Tensor, "B T V"]], Float[Tensor, "B T V"]]


@contextmanager
def lower_states(
    model: Any, layers: Sequence[int]
) -> Generator[Callable[[], list[Float[Tensor, "B T M"]]], None, None]:
    """While open, gives after each pass (or as it comes to the unembedding) what goes from the layers' inputs into the
    unembedding."""
    norm, kept = final_norm(model), dict[int, Float[Tensor, "B T M"]]()

    def keep(layer: int, value: Tensor, hook: Any) -> None:
        kept[layer] = value

    with model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_resid_pre", partial(keep, layer)) for layer in layers]):
        yield lambda: [norm(kept[layer]) for layer in layers]


@contextmanager
def lower_logits(model: Any, layers: Sequence[int], combined: Combined) -> Generator[None, None, None]:
    """While open, a pass's logits are what `combined` makes of those of the lower layers at the last token and of its
    own. Both go through the unembedding together, so that its weights are read once."""
    K = len(layers)
    with lower_states(model, layers) as lower:

        def take(hf: Any, args: Any, output: Any) -> None:
            output.logits = combined(output.logits[:, :K], output.logits[:, K:])

        def add(unembedding: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
            return (torch.cat([*(its[:, -1:] for its in lower()), inputs[0]], 1),)

        unembedding = model.unembed
        with (
            _turned(unembedding),
            unembedding.register_forward_pre_hook(add, prepend=True),  # what is taken first stands first
            inner_model(model).register_forward_hook(take),
        ):
            yield


@contextmanager
def _turned(unembedding: nn.Module) -> Generator[None, None, None]:
    """A CPU multiplies a handful of rows by a linear layer's weights in half of the time, or less, if told to multiply
    the weights by the rows. While open, it is told so."""
    if type(unembedding) is not nn.Linear or "forward" in vars(unembedding):  # of another kind, or wrapped or turned
        yield
        return
    vars(unembedding)["forward"] = partial(_product, unembedding)
    try:
        yield
    finally:
        del vars(unembedding)["forward"]


def _product(linear: nn.Linear, rows: Float[Tensor, "B R M"]) -> Float[Tensor, "B R V"]:
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        return nn.Linear.forward(linear, rows)
    bias: Any = linear.bias
    found: Tensor = torch.mm(linear.weight, rows.flatten(0, 1).T).T.contiguous()
    return (found if bias is None else found + bias).view(*rows.shape[:2], -1)
