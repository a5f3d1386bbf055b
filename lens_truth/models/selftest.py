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

from lens_truth.data.images import BLACK
from lens_truth.errors import InputError, first_line
from lens_truth.models.batches import no_words, pad_rows, random_words, run_body, takes, tokenizer_of
from lens_truth.models.cut import Given
from lens_truth.models.finite import first_not_finite
from lens_truth.models.folding import scale_inputs, scaled
from lens_truth.models.hooked import HookedModel
from lens_truth.models.hooks import gate_heads, grid_of, hook_names
from lens_truth.models.image_input import image_arguments, images_of, is_multimodal
from lens_truth.models.layerwise import Seen, as_first_row, layer_by_layer
from lens_truth.models.ownership import shared_by_heads
from lens_truth.models.prompts import Prompt, PromptTokens, encode_prompts
from lens_truth.models.quantised import scale_of
from lens_truth.models.twin import shared_copy

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


def verify_hooks(model: HookedModel) -> HookedModel:
    """`model` itself, if it passes `hook_checks`, on images too where it can be shown any."""
    kind = type(model.original_model).__name__
    for check in chain.from_iterable(hook_checks(model, names) for names in images_to_check(model)):
        if not check.passed:
            if isnan(check.difference) and not (finite := finite_check(model)).passed:
                raise InputError(f"{kind} cannot be used: not all {finite.name}")
            raise InputError(
                f"{kind} cannot be hooked safely: {check.name} "
                f"(differs by {check.difference:.3g}, allowed {check.allowed:.3g})"
            )
    return model


def images_to_check(model: HookedModel) -> list[tuple[str, str]]:
    """The images of two rows, for each round of checks: none, and if the model can be shown any, two of other sizes."""
    shown = is_multimodal(model) and model.image_processor is not None and model.tokenizer is not None
    return [("", ""), *([_IMAGES] if shown else [])]


def hook_checks(model: HookedModel, images: tuple[str, str] = ("", "")) -> Iterator[Check]:
    """What must hold before any number of a hooked model can be trusted."""
    hf, (n_layers, n_heads) = model.original_model, grid_of(model)
    ids, more = _batch(model, [_row(model, 8, name, seed) for seed, name in enumerate(images)])
    seen = " of rows with images" if any(images) else ""
    shapes: list[tuple[int, ...]] = []

    def note_shape(z: Tensor, hook: Any) -> Tensor:
        shapes.append(z.shape)
        return z

    with torch.no_grad():
        try:
            plain = hf(ids, **more).logits
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"{type(hf).__name__} cannot be run: {first_line(error)}") from error
        with model.hooks(fwd_hooks=[(name, note_shape) for name in hook_names(model)]):
            hooked = model(ids, **more)
        yield Check(f"logits{seen} equal Hugging Face's bit for bit", _distance(hooked, plain), 0.0)
        widths = [attention.d_head for attention in model.attentions]
        wrong = sum(shape != (*ids.shape, n_heads, d) for shape, d in zip(shapes, widths, strict=False))
        wrong += abs(n_layers - len(shapes))
        called = f"{[*ids.shape, n_heads, model.cfg.d_head]}" if len({*widths}) == 1 else "as wide as its heads"
        yield Check(f"hook_z of every layer is {called} (query heads), once a pass", float(wrong), 0.0)
        if wrong:  # without the right shape a gate means nothing
            return
        if not any(images):
            yield _reads_backwards_only(model)
            yield Check("hook_z of a head is what its own attention gives out", shared_by_heads(model), 0.1)

        with gate_heads(model, torch.ones(n_layers, n_heads)):
            gated = model(ids, **more)
        yield Check(f"a gate of ones leaves the logits{seen} as they are", _distance(gated, plain), 0.0)

        gate = 1 + torch.rand(n_layers, n_heads, generator=torch.Generator().manual_seed(0))
        with gate_heads(model, gate), layer_by_layer(model, "hook_attn_out") as by_hooks:
            gated = model(ids, **more)
        folded, how = _folded(model, gate)
        compared = _close(gated, folded.original_model(ids, **more).logits)
        if compared[0] > compared[1]:  # rounding may have grown from layer to layer, above all where it chooses experts
            with layer_by_layer(folded, "hook_attn_out", lambda layer, _: by_hooks.entered[layer]) as by_weights:
                folded(ids, **more)
            compared = _worst(zip(by_hooks.passed, by_weights.passed, strict=True))
        yield Check(f"a random gate equals {how}{seen}", *compared)
        moved = _distance(gated, plain)
        yield Check(f"a random gate changes the logits{seen}", 0.0 if moved > 0 else 1.0, 0.0)


def _folded(model: HookedModel, gate: Float[Tensor, "L H"]) -> tuple[HookedModel, str]:
    """The model with a gate in its weights; where that cannot be, with torch hooks of its own that multiply."""
    twin, how = shared_copy(model.original_model), "the same gate folded into the weights"
    for factors, attention in zip(gate, model.attentions, strict=True):
        projection, factor = twin.get_submodule(attention.projection), factors.repeat_interleave(attention.d_head)
        try:
            if any(scale_of(part) for part in projection.modules()):  # a scale rounded once more is no test of hooks
                raise InputError("its weights are quantised")
            scale_inputs(projection, factor)
        except InputError as error:
            how = f"the same gate multiplied by hand ({error})"
            projection.register_forward_pre_hook(partial(_by_hand, factor))
    return HookedModel(twin, model.tokenizer, ""), how


def _by_hand(factor: Tensor, projection: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (Given(projection).acted(lambda z: scaled(z, factor), args[0]), *args[1:])


def _reads_backwards_only(model: HookedModel) -> Check:
    """Whether another last token leaves what the layers make of those before it as it is."""
    words = random_words(model, 8)
    ids, mask = pad_rows([words, [*words[:-1], (words[-1] + 1) % model.cfg.d_vocab]], model)
    with layer_by_layer(model, "hook_attn_out", _as_first_row_but_last) as seen:
        run_body(model, ids, mask, [""] * 2)
    return Check("no token sees those behind it", *_worst((z[:1, :-1], z[1:, :-1]) for z in seen.passed))


def _as_first_row_but_last(layer: int, stream: Float[Tensor, "B T *M"]) -> Float[Tensor, "B T *M"]:
    return torch.cat([as_first_row(layer, stream)[:, :-1], stream[:, -1:]], 1)


def finite_check(model: HookedModel) -> Check:
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
    where = "the logits" if layer == grid_of(model)[0] else f"layer {layer}"
    kind = f"{hf.dtype}".replace("torch.", "")
    return Check(f"{name} (NaN or infinity in {kind}: first in {where}, row of {lengths[row]})", float("nan"), 0.0)


def batch_checks(model: HookedModel, images: tuple[str, str] = ("", "")) -> Iterator[Check]:
    """What must hold for batches and for generation: padding and the KV cache change nothing."""
    short, long = _row(model, 7, images[0], 0), _row(model, 12, images[1], 1)
    seen = " with an image" if any(images) else ""
    with torch.no_grad():
        ids, more = _batch(model, [short])
        with layer_by_layer(model, "hook_attn_out") as alone:
            logits = model(ids, **more)
        for side in ("left", "right"):
            ids, more = _batch(model, [short, long], side)
            compared = _padded(model, ids, more, alone, logits)
            if (
                compared[0] > compared[1] and not any(images) and takes(model, "position_ids")
            ):  # GPT-2 counts the padding
                positions = (more["attention_mask"].cumsum(1) - 1).clamp(min=0)  # as `generate` numbers tokens
                compared = _padded(model, ids, more | {"position_ids": positions}, alone, logits)
            yield Check(f"a row{seen} in a batch padded on the {side} equals the row alone", *compared)
        yield _cached(model, long, seen)


def _padded(
    model: HookedModel, ids: Int[Tensor, "B T"], more: dict[str, Tensor], alone: Seen, logits: Float[Tensor, "1 t V"]
) -> tuple[float, float]:
    """How far a batch's first row is from the row alone, and how far it may be."""
    kept = more["attention_mask"][0].bool()
    if not _routed(model):
        return _close(model(ids, **more)[:1, kept], logits)
    with layer_by_layer(model, "hook_attn_out", partial(_placed, alone.entered, kept)) as batch:
        model(ids, **more)
    return _worst((a[:1, kept], b) for a, b in zip(batch.passed, alone.passed, strict=True))


def _routed(model: HookedModel) -> bool:
    """Whether rounding may send a token another way: in a mixture of experts, or an MLP that is not known."""
    return any(f"blocks.{layer}.mlp.hook_post" not in model.hook_dict for layer in model.attention_layers)


def _row(model: HookedModel, length: int, image: str, seed: int) -> PromptTokens:
    """Random words, in the midst of which the image stands."""
    words = random_words(model, length, seed)
    if not image:
        return PromptTokens(words)
    shown = images_of(model)
    (block,) = encode_prompts(tokenizer_of(model), [Prompt(shown.placeholder, False, image, image)], shown)
    return PromptTokens([*words[:2], *block.ids, *words[2:]], image)


def _batch(
    model: HookedModel, rows: list[PromptTokens], side: Literal["left", "right"] = "right"
) -> tuple[Int[Tensor, "B T"], dict[str, Tensor]]:
    """Token ids, and whatever else the forward pass needs."""
    ids, mask = pad_rows([row.ids for row in rows], model, side)
    return ids, {"attention_mask": mask, **image_arguments(model, ids, [row.image for row in rows])}


def _placed(entered: Sequence[Tensor], kept: Tensor, layer: int, stream: Tensor) -> Tensor:
    """Gives the first row of a batch, where it is not padded, what the row alone was given."""
    stream = stream.clone()
    stream[0, kept] = entered[layer][0]
    return stream


def _cached(model: HookedModel, row: PromptTokens, seen: str) -> Check:
    """Generation with the KV cache against generation without: the same tokens, or where rounding may choose other
    experts the same attention."""
    hf: Any = model.original_model
    ids, more = _batch(model, [row])
    if not _routed(model):
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
    return float((a.cpu().double() - b.cpu().double()).abs().max())  # Apple's GPUs have no doubles


def _close(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> tuple[float, float]:
    return _distance(a, b), TOLERANCE[a.dtype] * max(1.0, float(b.abs().max()))


def _worst(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Of layers, each relative to what it gives out, that which is farthest from what is allowed."""
    found = [(_distance(a, b), TOLERANCE[a.dtype] * float(b.abs().max())) for a, b in pairs]
    return max(found, key=lambda pair: pair[0] / max(pair[1], 1e-30))
