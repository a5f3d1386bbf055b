"""How a language model of the zoo learns to see: a small CLIP vision tower, and a projector that turns the patches of a
picture into words.

In place of CLIP's pictures and captions the tower is taught to say what every patch stands for: the four patches of a
room are to say colour, name and room of the thing in it, and a full stop. The projector is first fitted to give the
language model's own embeddings of these words, so that a picture reads like a terse sentence from the beginning. Then
it is trained with the language model frozen, then both. As in LLaVA-1.5, the tower is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lens_truth.data import world
from lens_truth.data.drawing import SIZE, draw_scene
from lens_truth.data.world import Scene
from lens_truth.zoo.rows import pixels_of
from lens_truth.zoo.tokenizer import IMAGE, PATCHES
from lens_truth.zoo.train import FineTuning, Log, fit

PATCH_SIZE = 12
TOWER_SEED = 0
"""All models of the zoo see through the same tower, as many large ones see through the same CLIP."""
IdsOf = Callable[[list[str]], list[int]]
"""From words, as tokens of the zoo, to the numbers by which they are known."""
_TOWER_STEPS, _ALIGN_STEPS, _PROJECTOR_STEPS, _BATCH = 1200, 800, 100, 64


def learn_to_see(
    parent: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, log: Log
) -> LlavaForConditionalGeneration:
    """LLaVA whose language model is still its parent, and whose projector already speaks to it; the tower is frozen."""
    torch.manual_seed(seed)
    model = new_llava(parent, train_tower(tokenizer, log), tokenizer)
    embeddings = model.state_dict()["model.language_model.embed_tokens.weight"]
    start_projector(model, embeddings, _ids_in(tokenizer), seed, log)
    projector = model.model.multi_modal_projector
    model.requires_grad_(False)
    projector.requires_grad_(True)
    feed = FineTuning(tokenizer, seed, log, chat=False, monitor=None, drawn=1.0)
    fit(model, feed, _PROJECTOR_STEPS, lr=4e-4, warmup=20, decay_from=0.6)
    model.requires_grad_(True)
    model.model.vision_tower.requires_grad_(False)
    return model


def image_processor() -> CLIPImageProcessorPil:
    """Makes pixels from -1 to 1; pictures of the zoo keep their size, others are cropped to a square."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def processor(tokenizer: PreTrainedTokenizerBase) -> LlavaProcessor:
    """Hugging Face's processor of texts and images together."""
    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which that strategy drops
        chat_template=tokenizer.chat_template,
    )


def new_llava(
    parent: PreTrainedModel, tower: CLIPVisionModel, tokenizer: PreTrainedTokenizerBase
) -> LlavaForConditionalGeneration:
    """LLaVA from a language model and a tower, with an untrained projector.

    The language model's weights are its parent's; embeddings and output have one row more, for the image token.
    """
    image_token: Any = tokenizer.convert_tokens_to_ids(IMAGE)
    settings: dict[str, Any] = {**parent.config.to_dict(), "vocab_size": len(tokenizer)}
    del settings["_name_or_path"]  # a folder of this machine
    text_config = type(parent.config)(**settings)
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=text_config,
        image_token_index=image_token,
        image_seq_length=PATCHES,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        architectures=["LlavaForConditionalGeneration"],
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    weights = parent.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.cat([weights[name], weights[name].mean(dim=0, keepdim=True)])
    model.lm_head.load_state_dict({"weight": weights.pop("lm_head.weight")})
    model.model.language_model.load_state_dict({name.removeprefix("model."): w for name, w in weights.items()})
    return model


def start_projector(
    model: LlavaForConditionalGeneration,
    embeddings: Float[Tensor, "V d"],
    ids_of: IdsOf,
    seed: int,
    log: Log,
    steps: int = _ALIGN_STEPS,
) -> None:
    """Fits the projector alone to the embeddings of the words: first by least squares, then by descent.

    Without the first step descent stays at predicting the mean of all embeddings.
    """
    rng = np.random.default_rng([seed, 1])
    tower = cast(nn.Module, model.model.vision_tower)
    projector = cast(nn.Module, model.model.multi_modal_projector)
    _least_squares(tower, projector, embeddings, ids_of, rng)
    scale = embeddings.pow(2).mean()

    def loss_of(pixels: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = patch_features(tower, pixels)
        projected = projector(features)
        near = 2 * projected @ embeddings.T - embeddings.pow(2).sum(dim=-1)  # minus squared distance, plus a constant
        distance = (projected - embeddings[words]).pow(2).mean() / scale
        return distance + 0.5 * cross_entropy(4 * near.flatten(0, 1), words.flatten()), near

    parameters = list(projector.parameters())
    fit_to_words(parameters, loss_of, ids_of, rng, steps, lambda line: log(f"projector: {line}"))


@torch.no_grad()
def _least_squares(
    tower: nn.Module,
    projector: Any,
    embeddings: Float[Tensor, "V d"],
    ids_of: IdsOf,
    rng: np.random.Generator,
) -> None:
    """A random first layer on features of unit scale; the second layer by ridge regression."""
    batches = [pictures_and_words(rng, ids_of) for _ in range(40)]
    features = torch.cat([patch_features(tower, pixels).flatten(0, 1) for pixels, _ in batches])
    targets = embeddings[torch.cat([words.flatten() for _, words in batches])]
    first, second = projector.linear_1, projector.linear_2
    first.weight.copy_(torch.randn(first.weight.shape) / features.std(dim=0) / features.shape[1] ** 0.5)
    first.bias.copy_(0.3 * torch.randn(first.bias.shape) - first.weight @ features.mean(dim=0))
    hidden = torch.cat([projector.act(first(features)), torch.ones(len(features), 1)], dim=1)
    normal = hidden.T @ hidden + 0.1 * torch.eye(hidden.shape[1])
    solved = cast("Tensor", torch.linalg.solve(normal, hidden.T @ targets))
    second.weight.copy_(solved[:-1].T)
    second.bias.copy_(solved[-1])


def train_tower(tokenizer: PreTrainedTokenizerBase, log: Log) -> CLIPVisionModel:
    """A small CLIP vision tower that knows what stands in every room."""
    torch.manual_seed(TOWER_SEED)
    rng = np.random.default_rng(TOWER_SEED)
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH_SIZE,
        initializer_factor=4.0,  # as for the language models, large initial weights save steps
    )
    tower = CLIPVisionModel(config)
    head = nn.Linear(config.hidden_size, len(tokenizer))

    def loss_of(pixels: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        said = head(patch_features(tower, pixels))
        return cross_entropy(said.flatten(0, 1), words.flatten()), said

    parameters = [*tower.parameters(), *head.parameters()]
    fit_to_words(parameters, loss_of, _ids_in(tokenizer), rng, _TOWER_STEPS, lambda line: log(f"tower: {line}"))
    return tower.eval()


def patch_features(tower: nn.Module, pixels: Float[Tensor, "I 3 48 48"]) -> Float[Tensor, "I 16 d"]:
    """What the projector is given: the last layer, without the class token."""
    return tower(pixel_values=pixels).last_hidden_state[:, 1:]


def fit_to_words(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ids_of: IdsOf,
    rng: np.random.Generator,
    steps: int,
    log: Log,
) -> None:
    """Descent on pictures of fresh scenes; `loss_of` gives loss and scores of all words, for every patch."""
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    for step in range(1, steps + 1):
        pixels, words = pictures_and_words(rng, ids_of)
        loss, scores = loss_of(pixels, words)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, step / 20, max(0.02, (steps - step) / (0.4 * steps)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 200 == 0:
            right = (scores.argmax(dim=-1) == words).float().mean().item()
            log(f"step {step}: loss {loss.item():.3f}, words right {right:.3f}")


def pictures_and_words(
    rng: np.random.Generator, ids_of: IdsOf
) -> tuple[Float[Tensor, "B 3 48 48"], Int[Tensor, "B 16"]]:
    """Pictures of fresh training scenes, and for each of their patches the id of the word that it stands for."""
    scenes = [world.sample_scene(rng, "train") for _ in range(_BATCH)]
    words = ids_of([word for scene in scenes for word in patch_words(scene)])
    pictures = [draw_scene(scene, int(rng.integers(2**31))) for scene in scenes]
    return pixels_of(pictures), torch.tensor(words).view(_BATCH, PATCHES)


def _ids_in(tokenizer: PreTrainedTokenizerBase) -> IdsOf:
    return cast("IdsOf", tokenizer.convert_tokens_to_ids)


def patch_words(scene: Scene) -> list[str]:
    """The token that each patch of a picture is to stand for, row by row; full stops for an empty room."""
    words: list[str] = []
    for room in world.ROOMS:
        thing = next((thing for thing in scene if thing.room == room), None)
        words += [f"Ġ{thing.colour}", f"Ġ{thing.name}", f"Ġ{thing.room}", "."] if thing else ["."] * 4
    return words
