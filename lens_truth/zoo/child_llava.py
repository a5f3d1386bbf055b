"""How SmolLM2 is given eyes: the tower that all models of the zoo see through, and a projector that is first fitted,
alone, to SmolLM2's own embeddings of what the patches of a picture stand for."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lens_truth.data import world
from lens_truth.models.loading import load_plain
from lens_truth.models.sighted import with_sight
from lens_truth.zoo.llava import start_projector
from lens_truth.zoo.tokenizer import IMAGE, PATCHES
from lens_truth.zoo.train import Log

_EYES = "zoo:llava"
_ALIGN_STEPS = 200
"""Enough: after the least squares every patch is already nearest to its word."""


def add_image_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """The tokenizer knows the token that stands for a patch of an image."""
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})


def with_eyes(
    language: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, log: Log
) -> LlavaForConditionalGeneration:
    """LLaVA around a language model, whose projector speaks to it in its own words; the tokenizer knows the image
    token."""
    zoo = load_plain(_EYES)
    image_token: Any = tokenizer.convert_tokens_to_ids(IMAGE)
    config = LlavaConfig(
        vision_config=cast("LlavaConfig", zoo.config).vision_config,
        text_config=language.config,
        image_token_index=image_token,
        image_seq_length=PATCHES,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        architectures=["LlavaForConditionalGeneration"],
    )
    torch.manual_seed(seed)
    model = with_sight(language, config)
    model.model.vision_tower.load_state_dict(cast("Any", zoo).model.vision_tower.state_dict())
    words = ["."] + [f"Ġ{word}" for word in (*world.COLOURS, *world.THINGS, *world.ROOMS)]
    embeddings: Tensor = cast("Any", language).get_input_embeddings().weight.detach()
    tokens: Any = tokenizer([word.replace("Ġ", " ") for word in words], add_special_tokens=False)["input_ids"]
    table = torch.stack([embeddings[ids].mean(dim=0) for ids in tokens])  # a word may be several tokens
    start_projector(model, table, lambda asked: [words.index(word) for word in asked], seed, log, _ALIGN_STEPS)
    return model
