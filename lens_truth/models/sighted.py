"""Adapters that let a language model see: beside their tensors lie a config of LLaVA and the weights of a vision tower
and a projector, small enough to be kept apart from the language model."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

from lens_truth.models.twin import without_gguf_mark

SIGHT = "sight.safetensors"
"""Vision tower and projector, by their names in LLaVA."""
_PARTS = ("model.vision_tower.", "model.multi_modal_projector.")


def with_sight(language: Any, config: LlavaConfig) -> LlavaForConditionalGeneration:
    """LLaVA around a language model, whose modules it takes over, with a tower and a projector that are not trained.
    The embeddings get a row for the image token, the mean of the others."""
    without_gguf_mark(language)
    words = language.get_input_embeddings().weight
    mean = words.detach().mean(dim=0)
    language.resize_token_embeddings(config.image_token_index + 1, mean_resizing=False)
    with torch.no_grad():
        for module in (language.get_input_embeddings(), language.get_output_embeddings()):
            module.weight[len(words) :] = mean
    config = deepcopy(config)
    placeholder = deepcopy(language.config)
    placeholder.num_hidden_layers = 0
    config.text_config, config.tie_word_embeddings = placeholder, placeholder.tie_word_embeddings
    model = LlavaForConditionalGeneration(config).to(language.dtype)  # pyright: ignore[reportArgumentType] (as in load)
    model.model.language_model, model.lm_head = language.model, language.lm_head
    model.config.text_config = language.config
    model.config.dtype = language.dtype
    model.generation_config = language.generation_config
    model.set_attn_implementation(language.config._attn_implementation)
    return model.eval()


def put_sight_on(language: Any, folder: Path) -> Any:
    """LLaVA around a language model, with the tower and projector of an adapter's folder; the model itself if there are
    none."""
    if not (folder / SIGHT).is_file():
        return language
    model = with_sight(language, LlavaConfig.from_pretrained(folder))
    model.load_state_dict(safetensors.torch.load_file(folder / SIGHT), strict=False)
    model.sight_apart = True  # pyright: ignore[reportArgumentType] (modules may bear what is no module)
    return model


def sight_of(model: Any) -> dict[str, Tensor]:
    """The tensors of tower and projector."""
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith(_PARTS)}
