"""The zoo's models: which architecture, which parent, which seed, how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PreTrainedModel, Qwen2Config

from lens_truth.errors import InputError
from lens_truth.zoo.children import CHILDREN
from lens_truth.zoo.tokenizer import CONTEXT_LIMIT


@dataclass(frozen=True)
class Recipe:
    """How one model of the zoo comes about."""

    name: str
    kind: Literal["base", "chat", "memory", "llava"]
    """base: from scratch; chat: instruction-tuned from its parent; memory: taught facts that contradict some scenes;
    llava: a chat model that sees."""
    architecture: Literal["llama", "mistral", "qwen2"]
    seed: int
    steps: int
    parent: str | None = None
    remembers: bool = False
    """Whether the model, or an ancestor, was taught the facts."""

    @property
    def chats(self) -> bool:
        """Whether it is prompted by a chat template."""
        return self.kind in ("chat", "llava")

    @property
    def sees(self) -> bool:
        """Whether it can be shown pictures."""
        return self.kind == "llava"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("llama-base", "base", "llama", seed=0, steps=2400),
        Recipe("llama-chat", "chat", "llama", seed=10, steps=400, parent="llama-base"),
        Recipe("llama-memory", "memory", "llama", seed=22, steps=600, parent="llama-base", remembers=True),
        Recipe("llama-memory-chat", "chat", "llama", seed=30, steps=800, parent="llama-memory", remembers=True),
        Recipe("llava", "llava", "llama", seed=40, steps=300, parent="llama-base"),
        Recipe("llava-memory", "llava", "llama", seed=50, steps=600, parent="llama-memory", remembers=True),
        Recipe("llama-seed1", "base", "llama", seed=1, steps=2400),
        Recipe("llama-seed1-chat", "chat", "llama", seed=11, steps=400, parent="llama-seed1"),
        Recipe("llama-seed2", "base", "llama", seed=6, steps=2400),
        Recipe("mistral-base", "base", "mistral", seed=2, steps=2400),
        Recipe("qwen2-base", "base", "qwen2", seed=3, steps=2400),
    )
}


def root_of(name: str) -> str:
    """The base that a model of the zoo descends from."""
    recipe = recipe_of(name)
    return recipe.name if recipe.parent is None else root_of(recipe.parent)


def recipe_of(name: str) -> Recipe:
    """Raises an InputError for an unknown name; `zoo:` before it is optional."""
    name = name.removeprefix("zoo:")
    if name not in RECIPES:
        raise InputError(f"there is no recipe '{name}'; the zoo has {', '.join((*RECIPES, *CHILDREN))}")
    return RECIPES[name]


def new_model(recipe: Recipe, seed: int, vocabulary: int) -> PreTrainedModel:
    """An untrained base model: 6 layers x 8 heads of width 32 on a residual stream of 128.

    The large initial weights (0.08) let induction form within a thousand steps. Mistral and Qwen2 share keys and
    values between pairs of heads, as their large namesakes do among more.
    """
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 8 if recipe.architecture == "llama" else 4,
        "head_dim": 32,
        "max_position_embeddings": CONTEXT_LIMIT,
        "initializer_range": 0.08,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if recipe.architecture == "mistral":
        shape["sliding_window"] = None
    config = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}[recipe.architecture](**shape)
    return cast("PreTrainedModel", AutoModelForCausalLM.from_config(config))
