"""TransformerLens hooks around Hugging Face modules as they are: native attention, logits equal bit for bit.

Whether a hooked model does what its hooks say is checked in part whenever one is loaded, in full by `lens-truth check`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import model_bridge
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components import RMSNormalizationBridge
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf, build_bridge_from_module
from transformers import PreTrainedTokenizerBase

from lens_truth.data.images import BLACK
from lens_truth.errors import InputError, first_line
from lens_truth.models import tower
from lens_truth.models.batches import pad_rows, tokenizer_of
from lens_truth.models.hooks import gate_heads, hook_names
from lens_truth.models.image_input import image_arguments, images_of, is_multimodal
from lens_truth.models.prompts import Prompt, PromptTokens, encode_prompts

if TYPE_CHECKING:
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

_IMAGES = (BLACK, "zoo:coral.heart.attic+white.pearl.vault#0")
"""Two images of different sizes that need no file."""
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference of logits that rounding may make, relative to the largest logit (or 1 if that is smaller)."""


class HookedModel(TransformerBridge):
    """A TransformerLens model that leaves every decision to the Hugging Face model inside.

    Hook names and shapes are TransformerLens's: `blocks.{l}.attn.hook_z` is [batch, pos, n_heads, d_head], of a
    multimodal model those of its language tower.
    """

    image_processor: Any = None
    """A multimodal model's Hugging Face image processor; None if it can be shown no images."""
    image_input: Any = None
    """How it is shown images: the `ImageInput` that `images_of` makes when it is first asked."""

    def _accepts_derived_position_ids(self) -> bool:
        # The bridge would derive position ids from a left-padded mask, which Hugging Face's forward does not do:
        # the same under rotary embeddings but for rounding, and "equal bit for bit" would be lost.
        return False


class NativeAdapter(model_bridge.ArchitectureAdapter):
    """Hooks for every decoder that uses Llama's module names, in a text model or in a multimodal model's tower.

    There is no table of architectures: `tower_path` has checked that the modules are there. Attention stays
    Hugging Face's own (SDPA or eager, as loaded), so `hook_pattern` fires under eager attention only, and
    `hook_result` never does (see `hook_stock`).
    """

    def __init__(self, cfg: Any, hf: nn.Module) -> None:
        super().__init__(cfg)
        self._set_rms_rotary_defaults()
        self.weight_processing_conversions = {**self._qkvo_weight_conversions(include_biases=True)}
        path = tower.tower_path(hf)

        norm = partial(RMSNormalizationBridge, config=self.cfg)
        attention = model_bridge.AttentionBridge(
            name="self_attn",
            config=self.cfg,
            submodules={part: model_bridge.LinearBridge(name=f"{part}_proj") for part in ("q", "k", "v", "o")},
            maintain_native_attention=True,
            requires_attention_mask=True,
        )
        block: dict[str, GeneralizedComponent] = {
            "ln1": norm(name="input_layernorm"),
            "ln2": norm(name="post_attention_layernorm"),
            "attn": attention,
        }
        if tower.has_gated_mlp(hf):  # a mixture of experts keeps its MLP unhooked
            block["mlp"] = self._gated_mlp()
        self.component_mapping = {
            "embed": model_bridge.EmbeddingBridge(name=f"{path}.embed_tokens"),
            "blocks": model_bridge.BlockBridge(name=f"{path}.layers", submodules=block),
            "ln_final": norm(name=f"{path}.norm"),
            "unembed": model_bridge.UnembeddingBridge(name="lm_head", config=self.cfg),
        }


def hook_native(hf: nn.Module, tokenizer: PreTrainedTokenizerBase | None, name: str) -> HookedModel:
    """Wraps `hf` in place; an InputError names the modules that this architecture lacks."""
    tower.tower_path(hf)
    config: Any = hf.config
    cfg = build_bridge_config_from_hf(config, type(hf).__name__, name, next(hf.parameters()).dtype)
    adapter = NativeAdapter(cfg, hf)
    adapter.cfg.device = str(next(hf.parameters()).device)
    adapter.cfg.is_multimodal = tower.is_multimodal_config(config)
    if tokenizer is not None:
        ids, bos, eos = tokenizer.encode("a") or [None], tokenizer.bos_token_id, tokenizer.eos_token_id
        adapter.cfg.tokenizer_prepends_bos = bos is not None and ids[0] == bos
        adapter.cfg.tokenizer_appends_eos = eos is not None and ids[-1] == eos
    with _unembedding_kept(hf):
        return HookedModel(hf, adapter, tokenizer)


def hook_stock(hf: nn.Module, tokenizer: PreTrainedTokenizerBase | None, name: str) -> TransformerBridge:
    """Wraps `hf` in place with TransformerLens's own adapter, which computes attention itself: slower, equal to
    rounding only, but (where it has it) with `hook_result`, every head's contribution to the residual stream."""
    config: Any = hf.config
    try:
        with _unembedding_kept(hf):
            bridge = build_bridge_from_module(
                hf, type(hf).__name__, hf_config=config, tokenizer=tokenizer, model_name=name
            )
        bridge.set_use_attn_result(True)
    except (ValueError, NotImplementedError, ImportError) as error:  # some of its adapters want torchvision
        raise InputError(
            f"{type(hf).__name__} has no hook_result in TransformerLens ({first_line(error)}); gate z instead"
        ) from error
    return bridge


@contextmanager
def _unembedding_kept(hf: Any) -> Generator[None, None, None]:
    """TransformerLens before 4.0 gives an unembedding without bias one of zeros: another set of weights."""
    head = hf.get_output_embeddings()
    bias = getattr(head, "bias", None)
    try:
        yield
    finally:
        if head is not None:
            head.bias = bias


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
        more |= {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": _no_words(hf.config) or None}
        steps = [hf.generate(ids, **more, use_cache=cache) for cache in (True, False)]
        same = steps[0].shape == steps[1].shape and bool((steps[0] == steps[1]).all())
        yield Check(f"generation{seen} gives the same tokens with and without the KV cache", 0.0 if same else 1.0, 0.0)


def _row(model: TransformerBridge, length: int, image: str, seed: int) -> PromptTokens:
    """Random words, in the midst of which the image stands."""
    config: Any = model.original_model.config
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(config.get_text_config().vocab_size, (length,), generator=generator).numpy().tolist()
    no_words = _no_words(config)
    words = [1 if word in no_words else word for word in words]
    if not image:
        return PromptTokens(words)
    shown = images_of(model)
    (block,) = encode_prompts(tokenizer_of(model), [Prompt(shown.placeholder, False, image, image)], shown)
    return PromptTokens([*words[:2], *block.ids, *words[2:]], image)


def _no_words(config: Any) -> list[int]:
    """Tokens that stand for images, films and sounds."""
    return [
        value
        for name, value in config.to_dict().items()
        if name.startswith(("image", "video", "audio")) and name.endswith(("_token_id", "_token_index"))
    ]


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
