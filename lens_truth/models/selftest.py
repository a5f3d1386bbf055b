"""Does a hooked model do what its hooks say? Run in part whenever a model is loaded, in full by `lens-truth check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import isnan
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from lens_truth.data.images import BLACK
from lens_truth.errors import InputError
from lens_truth.models import tower
from lens_truth.models.adapters import hook_native
from lens_truth.models.batches import no_words, pad_rows, random_words, run_body, tokenizer_of
from lens_truth.models.finite import first_not_finite
from lens_truth.models.hooks import gate_heads, hook_names
from lens_truth.models.image_input import image_arguments, images_of, is_multimodal
from lens_truth.models.layerwise import as_first_row, layer_by_layer
from lens_truth.models.prompts import Prompt, PromptTokens, encode_prompts

_IMAGES = (BLACK, "zoo:coral.heart.attic+white.pearl.vault#0")
"""Two images of different sizes that need no file."""
_LONG = 256
"""Tokens of a long row."""
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
            if isnan(check.difference) and not (finite := finite_check(model)).passed:
                raise InputError(f"{type(hf).__name__} cannot be used: not all {finite.name}")
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
    shapes: list[tuple[int, ...]] = []

    def note_shape(z: Tensor, hook: Any) -> None:
        shapes.append(z.shape)

    with torch.no_grad():
        plain = hf(ids, **more).logits
        with model.hooks(fwd_hooks=[(name, note_shape) for name in hook_names(model)]):
            hooked = model(ids, **more)
        yield Check(f"logits{seen} equal Hugging Face's bit for bit", _distance(hooked, plain), 0.0)
        expected = (*ids.shape, heads.n_heads, heads.d_head)
        wrong = sum(shape != expected for shape in shapes) + abs(heads.n_layers - len(shapes))
        yield Check(f"hook_z of every layer is {list(expected)} (query heads)", float(wrong), 0.0)
        if wrong:  # without the right shape a gate means nothing
            return
        if not any(images):
            yield _own_query(model)

        with gate_heads(model, torch.ones(heads.n_layers, heads.n_heads)):
            gated = model(ids, **more)
        yield Check(f"a gate of ones leaves the logits{seen} as they are", _distance(gated, plain), 0.0)

        gate = 1 + torch.rand(heads.n_layers, heads.n_heads, generator=torch.Generator().manual_seed(0))
        twin = tower.plain_twin(hf)
        for layer, projection in enumerate(tower.output_projections(twin)):
            projection.weight = nn.Parameter(tower.scale_heads(projection.weight, gate[layer]), requires_grad=False)
        with gate_heads(model, gate), layer_by_layer(model, "hook_attn_out") as by_hooks:
            gated = model(ids, **more)
        compared = _close(gated, twin(ids, **more).logits)
        if compared[0] > compared[1]:  # rounding may have grown from layer to layer, above all where it chooses experts
            folded = hook_native(twin, model.tokenizer, "")
            with layer_by_layer(folded, "hook_attn_out", lambda layer, _: by_hooks.entered[layer]) as by_weights:
                folded(ids, **more)
            compared = _worst(zip(by_hooks.passed, by_weights.passed, strict=True))
        yield Check(f"a random gate equals the same gate folded into the weights{seen}", *compared)
        moved = _distance(gated, plain)
        yield Check(f"a random gate changes the logits{seen}", 0.0 if moved > 0 else 1.0, 0.0)


def _own_query(model: TransformerBridge) -> Check:
    """Whether the query of a head makes hook_z of that head and of no other: not so in differential attention, where
    one map is taken from another. The first head and the last stand for all; their queries are turned, which a norm
    over all heads does not see."""
    n_heads: int = model.cfg.n_heads
    ids, mask = pad_rows([random_words(model, 8)] * 3, model)
    heads = {1: 0, 2: n_heads - 1}  # by row

    def turn(query: Tensor, hook: Any) -> Tensor:
        by_head = query.reshape(*query.shape[:2], n_heads, -1).clone()
        for row, head in heads.items():
            by_head[row, :, head] = by_head[row, :, head].roll(1, -1)
        return by_head.reshape(query.shape)

    turned: list[Any] = [(name, turn) for name in hook_names(model, "attn.q.hook_out")]
    with layer_by_layer(model, "attn.hook_z", as_first_row) as seen, model.hooks(fwd_hooks=turned):
        run_body(model, ids, mask, [""] * 3)
    worst = 0.0
    for z in seen.passed:
        rounding = torch.finfo(z.dtype).eps ** 2 * float(z[0].double().square().sum())
        for row, head in heads.items():
            changed = (z[row] - z[0]).double().square().sum((0, 2))
            own = float(changed[head])
            worst = max(worst, (float(changed.sum()) - own) / max(own, rounding, 1e-30))
    return Check("hook_z of a head is what its own query makes", max(worst, 0.0) ** 0.5, 0.1)


def finite_check(model: TransformerBridge) -> Check:
    """Whether a short and a long row, which begin as texts do, give finite numbers in every layer."""
    hf: Any = model.original_model
    config = hf.config.get_text_config()
    lengths = (8, min(_LONG, model.cfg.n_ctx))
    rows = [random_words(model, length) for length in lengths]
    if isinstance(start := getattr(config, "bos_token_id", None), int) and 0 <= start < config.vocab_size:
        rows = [[start, *row[1:]] for row in rows]
    name = f"rows of {lengths[0]} and {lengths[1]} tokens give finite numbers"
    place = first_not_finite(model, *pad_rows(rows, model, "left"), images=["", ""])
    if place is None:
        return Check(name, 0.0, 0.0)
    layer, row = place
    where = "the logits" if layer == model.cfg.n_layers else f"layer {layer}"
    kind = f"{hf.dtype}".replace("torch.", "")
    return Check(f"{name} (NaN or infinity in {kind}: first in {where}, row of {lengths[row]})", float("nan"), 0.0)


def batch_checks(model: TransformerBridge, images: tuple[str, str] = ("", "")) -> Iterator[Check]:
    """What must hold for batches and for generation: padding and the KV cache change nothing."""
    short, long = _row(model, 7, images[0], 0), _row(model, 12, images[1], 1)
    seen = " with an image" if any(images) else ""
    with torch.no_grad():
        ids, more = _batch(model, [short])
        with layer_by_layer(model, "hook_attn_out") as alone:
            logits = model(ids, **more)
        for side in ("left", "right"):
            ids, more = _batch(model, [short, long], side)
            kept = more["attention_mask"][0].bool()
            if tower.has_gated_mlp(model.original_model):
                compared = _close(model(ids, **more)[:1, kept], logits)
            else:  # a mixture of experts, or an MLP that is not known
                with layer_by_layer(model, "hook_attn_out", partial(_placed, alone.entered, kept)) as batch:
                    model(ids, **more)
                compared = _worst((a[:1, kept], b) for a, b in zip(batch.passed, alone.passed, strict=True))
            yield Check(f"a row{seen} in a batch padded on the {side} equals the row alone", *compared)
        yield _cached(model, long, seen)


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


def _placed(entered: Sequence[Tensor], kept: Tensor, layer: int, stream: Tensor) -> Tensor:
    """Gives the first row of a batch, where it is not padded, what the row alone was given."""
    stream = stream.clone()
    stream[0, kept] = entered[layer][0]
    return stream


def _cached(model: TransformerBridge, row: PromptTokens, seen: str) -> Check:
    """Generation with the KV cache against generation without: the same tokens, or where rounding may choose other
    experts the same attention."""
    hf: Any = model.original_model
    ids, more = _batch(model, [row])
    if tower.has_gated_mlp(hf):
        # Without a cache, an image token that the model itself wrote would be one image too many.
        more |= {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": no_words(hf.config) or None}
        steps = [hf.generate(ids, **more, use_cache=cache) for cache in (True, False)]
        same = steps[0].shape == steps[1].shape and bool((steps[0] == steps[1]).all())
        return Check(f"generation{seen} gives the same tokens with and without the KV cache", 0.0 if same else 1.0, 0.0)
    with layer_by_layer(model, "hook_attn_out") as whole:
        hf(ids, **more, use_cache=False)
    with layer_by_layer(model, "hook_attn_out", lambda layer, _: whole.entered[layer][:, :-1]):
        past = hf(ids[:, :-1], attention_mask=more["attention_mask"][:, :-1], use_cache=True).past_key_values
    with layer_by_layer(model, "hook_attn_out", lambda layer, _: whole.entered[layer][:, -1:]) as last:
        hf(ids[:, -1:], attention_mask=more["attention_mask"], past_key_values=past, use_cache=True)
    compared = _worst((a, b[:, -1:]) for a, b in zip(last.passed, whole.passed, strict=True))
    return Check(f"attention{seen} to the KV cache equals attention without it", *compared)


def _distance(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> float:
    return float((a.double() - b.double()).abs().max())


def _close(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> tuple[float, float]:
    return _distance(a, b), TOLERANCE[a.dtype] * max(1.0, float(b.abs().max()))


def _worst(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Of layers, each relative to what it gives out, that which is farthest from what is allowed."""
    found = [(_distance(a, b), TOLERANCE[a.dtype] * float(b.abs().max())) for a, b in pairs]
    return max(found, key=lambda pair: pair[0] / max(pair[1], 1e-30))
