"""TransformerLens hooks around Hugging Face modules as they are: native attention, logits equal bit for bit."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn
from transformer_lens import model_bridge
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components import RMSNormalizationBridge
from transformer_lens.model_bridge.sources import build_bridge_config_from_hf, build_bridge_from_module
from transformers import PreTrainedTokenizerBase

from lens_truth.errors import InputError, first_line
from lens_truth.models import tower

if TYPE_CHECKING:
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent


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
        block: dict[str, GeneralizedComponent] = {"ln2": norm(name="post_attention_layernorm"), "attn": attention}
        if tower.in_every_layer(hf, "input_layernorm"):  # OLMo 2 and 3 and EXAONE 4 have none
            block["ln1"] = norm(name="input_layernorm")
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
    try:
        cfg = build_bridge_config_from_hf(config, type(hf).__name__, name, next(hf.parameters()).dtype)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{type(hf).__name__}: TransformerLens cannot read its config ({first_line(error)})"
        ) from error
    adapter = NativeAdapter(cfg, hf)
    adapter.cfg.device = str(next(hf.parameters()).device)
    adapter.cfg.is_multimodal = tower.is_multimodal_config(config)
    if tokenizer is not None:
        ids, bos, eos = tokenizer.encode("a") or [None], tokenizer.bos_token_id, tokenizer.eos_token_id
        adapter.cfg.tokenizer_prepends_bos = bos is not None and ids[0] == bos
        adapter.cfg.tokenizer_appends_eos = eos is not None and ids[-1] == eos
        # `model.generate(text)` reads the words that the tokenizer makes, not one more in front of them.
        adapter.cfg.default_prepend_bos = adapter.cfg.tokenizer_prepends_bos
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
