"""What lower layers would say: their states go through the final norm and the unembedding beside the last one's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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

        def add(unembedding: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
            return (torch.cat([*(its[:, -1:] for its in lower()), inputs[0]], 1),)

        def take(hf: Any, args: Any, output: Any) -> None:
            output.logits = combined(output.logits[:, :K], output.logits[:, K:])

        with model.unembed.register_forward_pre_hook(add), inner_model(model).register_forward_hook(take):
            yield
