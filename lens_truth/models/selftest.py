"""Does a hooked model do what its hooks say? Run in part whenever a model is loaded, in full by `lens-truth check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from lens_truth.errors import InputError
from lens_truth.models.hooks import gate_z, hook_names
from lens_truth.models.tower import heads_of, output_projections, plain_twin, scale_heads

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference of logits that rounding may make, relative to the largest logit (or 1 if that is smaller)."""


@dataclass(frozen=True)
class Check:
    """One property of a hooked model: what was compared, how far apart it was, and how far it may be."""

    name: str
    difference: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.allowed  # False for NaN


def verify_hooks(hf: nn.Module, model: TransformerBridge) -> TransformerBridge:
    """`model` itself, if it passes `hook_checks`.

    Raises:
        InputError: names the first check that failed.
    """
    for check in hook_checks(hf, model):
        if not check.passed:
            raise InputError(
                f"{type(hf).__name__} cannot be hooked safely: {check.name} "
                f"(differs by {check.difference:.3g}, allowed {check.allowed:.3g})"
            )
    return model


def hook_checks(hf: nn.Module, model: TransformerBridge) -> Iterator[Check]:
    """What must hold before any number of a hooked model can be trusted; `hf` is the same model without hooks."""
    heads = heads_of(hf)
    ids = _random_ids(hf, batch=2, length=8)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        plain = hf(ids, attention_mask=mask).logits
        hooked = model(ids, attention_mask=mask)
        yield Check("logits equal Hugging Face's bit for bit", _distance(hooked, plain), 0.0)

        shapes: dict[str, tuple[int, ...]] = {}

        def note_shape(z: Tensor, hook: Any) -> None:
            shapes[hook.name] = tuple(z.shape)

        with model.hooks(fwd_hooks=[(name, note_shape) for name in hook_names(model)]):
            model(ids, attention_mask=mask)
        expected = (*ids.shape, heads.n_heads, heads.d_head)
        fired = list(shapes.values())
        wrong = sum(shape != expected for shape in fired) + heads.n_layers - len(fired)
        yield Check(f"hook_z of every layer is {list(expected)} (query heads)", float(wrong), 0.0)
        if wrong:  # without the right shape a gate means nothing
            return

        with gate_z(model, torch.ones(heads.n_layers, heads.n_heads)):
            gated = model(ids, attention_mask=mask)
        yield Check("a gate of ones leaves the logits as they are", _distance(gated, plain), 0.0)

        gate = 1 + torch.rand(heads.n_layers, heads.n_heads, generator=torch.Generator().manual_seed(0))
        with gate_z(model, gate):
            gated = model(ids, attention_mask=mask)
        twin = plain_twin(hf)
        for layer, projection in enumerate(output_projections(twin)):
            projection.weight = nn.Parameter(scale_heads(projection.weight, gate[layer]), requires_grad=False)
        folded = twin(ids, attention_mask=mask).logits
        yield Check("a random gate equals the same gate folded into the weights", *_close(gated, folded))
        moved = _distance(gated, plain)
        yield Check("a random gate changes the logits", 0.0 if moved > 0 else 1.0, 0.0)


def batch_checks(model: TransformerBridge) -> Iterator[Check]:
    """What must hold for batches and for generation: padding and the KV cache change nothing."""
    hf: Any = model.original_model
    ids = _random_ids(hf, batch=1, length=12)
    short = ids[:, :7]
    padding = torch.zeros(1, 5, dtype=ids.dtype)
    with torch.no_grad():
        alone = model(short, attention_mask=torch.ones_like(short))
        for side in ("left", "right"):
            padded = torch.cat([padding, short] if side == "left" else [short, padding], dim=1)
            mask = torch.cat([padding, short * 0 + 1] if side == "left" else [short * 0 + 1, padding], dim=1)
            batch = model(torch.cat([padded, ids]), attention_mask=torch.cat([mask, ids * 0 + 1]))
            kept = batch[:1, 5:] if side == "left" else batch[:1, :7]
            yield Check(f"a row in a batch padded on the {side} equals the row alone", *_close(kept, alone))
        steps = [hf.generate(ids, max_new_tokens=8, do_sample=False, use_cache=cache) for cache in (True, False)]
        same = steps[0].shape == steps[1].shape and bool((steps[0] == steps[1]).all())
        yield Check("generation with and without the KV cache gives the same tokens", 0.0 if same else 1.0, 0.0)


def _random_ids(hf: Any, batch: int, length: int) -> Int[Tensor, "batch length"]:
    generator = torch.Generator().manual_seed(0)
    size = hf.config.get_text_config().vocab_size
    return torch.randint(size, (batch, length), generator=generator).to(next(hf.parameters()).device)


def _distance(a: Float[Tensor, ...], b: Float[Tensor, ...]) -> float:
    return float((a.double() - b.double()).abs().max())


def _close(a: Float[Tensor, ...], b: Float[Tensor, ...]) -> tuple[float, float]:
    return _distance(a, b), TOLERANCE[a.dtype] * max(1.0, float(b.abs().max()))
