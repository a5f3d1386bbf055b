"""Does a hooked model do what its hooks say? Run in part whenever a model is loaded, in full by `lens-truth check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from lens_truth.data.images import BLACK
from lens_truth.errors import InputError
from lens_truth.models import tower
from lens_truth.models.batches import no_words, pad_rows, random_words, tokenizer_of
from lens_truth.models.hooks import gate_heads, hook_names
from lens_truth.models.image_input import image_arguments, images_of, is_multimodal
from lens_truth.models.prompts import Prompt, PromptTokens, encode_prompts

_IMAGES = (BLACK, "zoo:coral.heart.attic+white.pearl.vault#0")
"""Two images of different sizes that need no file."""
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
        """Whether the difference is allowed."""
        return self.difference <= self.allowed  # False for NaN


def verify_hooks(hf: nn.Module, model: TransformerBridge) -> TransformerBridge:
    """`model` itself, if it passes `hook_checks`, on images too where it can be shown any."""
    for check in chain.from_iterable(hook_checks(hf, model, names) for names in images_to_check(model)):
        if not check.passed:
            raise InputError(
                f"{type(hf).__name__} cannot be hooked safely: {check.name} "
                f"(differs by {check.difference:.3g}, allowed {check.allowed:.3g})"
            )
    return model


def images_to_check(model: TransformerBridge) -> list[tuple[str, str]]:
    """The images of two rows, for each round of checks: none, and if the model can be shown any, two of other sizes."""
    shown = is_multimodal(model) and getattr(model, "image_processor", None) is not None and model.tokenizer is not None
    return [("", ""), *([_IMAGES] if shown else [])]


def hook_checks(hf: nn.Module, model: TransformerBridge, images: tuple[str, str] = ("", "")) -> Iterator[Check]:
    """What must hold before any number of a hooked model can be trusted; `hf` is the same model without hooks."""
    heads = tower.heads_of(hf)
    ids, more = _batch(model, [_row(model, 8, name, seed) for seed, name in enumerate(images)])
    seen = " of rows with images" if any(images) else ""
    with torch.no_grad():
        plain = hf(ids, **more).logits
        hooked = model(ids, **more)
        yield Check(f"logits{seen} equal Hugging Face's bit for bit", _distance(hooked, plain), 0.0)

        shapes: list[tuple[int, ...]] = []

        def note_shape(z: Tensor, hook: Any) -> None:
            shapes.append(z.shape)

        with model.hooks(fwd_hooks=[(name, note_shape) for name in hook_names(model)]):
            model(ids, **more)
        expected = (*ids.shape, heads.n_heads, heads.d_head)
        wrong = sum(shape != expected for shape in shapes) + abs(heads.n_layers - len(shapes))
        yield Check(f"hook_z of every layer is {list(expected)} (query heads)", float(wrong), 0.0)
        if wrong:  # without the right shape a gate means nothing
            return

        with gate_heads(model, torch.ones(heads.n_layers, heads.n_heads)):
            gated = model(ids, **more)
        yield Check(f"a gate of ones leaves the logits{seen} as they are", _distance(gated, plain), 0.0)

        gate = 1 + torch.rand(heads.n_layers, heads.n_heads, generator=torch.Generator().manual_seed(0))
        with gate_heads(model, gate):
            gated = model(ids, **more)
        twin = tower.plain_twin(hf)
        for layer, projection in enumerate(tower.output_projections(twin)):
            projection.weight = nn.Parameter(tower.scale_heads(projection.weight, gate[layer]), requires_grad=False)
        folded = twin(ids, **more).logits
        yield Check(f"a random gate equals the same gate folded into the weights{seen}", *_close(gated, folded))
        moved = _distance(gated, plain)
        yield Check(f"a random gate changes the logits{seen}", 0.0 if moved > 0 else 1.0, 0.0)


def batch_checks(model: TransformerBridge, images: tuple[str, str] = ("", "")) -> Iterator[Check]:
    """What must hold for batches and for generation: padding and the KV cache change nothing."""
    hf: Any = model.original_model
    short, long = _row(model, 7, images[0], 0), _row(model, 12, images[1], 1)
    seen = " with an image" if any(images) else ""
    with torch.no_grad():
        ids, more = _batch(model, [short])
        alone = model(ids, **more)
        for side in ("left", "right"):
            ids, more = _batch(model, [short, long], side)
            kept = model(ids, **more)[:1, more["attention_mask"][0].bool()]
            yield Check(f"a row{seen} in a batch padded on the {side} equals the row alone", *_close(kept, alone))
        ids, more = _batch(model, [long])
        # Without a cache, an image token that the model itself wrote would be one image too many.
        more |= {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": no_words(hf.config) or None}
        steps = [hf.generate(ids, **more, use_cache=cache) for cache in (True, False)]
        same = steps[0].shape == steps[1].shape and bool((steps[0] == steps[1]).all())
        yield Check(f"generation{seen} gives the same tokens with and without the KV cache", 0.0 if same else 1.0, 0.0)


def _row(model: TransformerBridge, length: int, image: str, seed: int) -> PromptTokens:
    """Random words, in the midst of which the image stands."""
    words = random_words(model, length, seed)
    if not image:
        return PromptTokens(words)
    shown = images_of(model)
    (block,) = encode_prompts(tokenizer_of(model), [Prompt(shown.placeholder, False, image, image)], shown)
    return PromptTokens([*words[:2], *block.ids, *words[2:]], image)


def _batch(
    model: TransformerBridge, rows: list[PromptTokens], side: Literal["left", "right"] = "right"
) -> tuple[Int[Tensor, "B T"], dict[str, Tensor]]:
    """Token ids, and whatever else the forward pass needs."""
    ids, mask = pad_rows([row.ids for row in rows], model, side)
    return ids, {"attention_mask": mask, **image_arguments(model, ids, [row.image for row in rows])}


def _distance(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> float:
    return float((a.double() - b.double()).abs().max())


def _close(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> tuple[float, float]:
    return _distance(a, b), TOLERANCE[a.dtype] * max(1.0, float(b.abs().max()))
