"""The eye of the zoo's multimodal models: a small CLIP vision tower.

In place of CLIP's pictures and captions it is taught to say what every patch stands for: the four patches of a room are
to say colour, name and room of the thing in it, and a full stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import CLIPVisionConfig, CLIPVisionModel, PreTrainedTokenizerBase

from lens_truth.data import world
from lens_truth.data.drawing import SIZE, draw_scene
from lens_truth.data.world import Scene
from lens_truth.zoo.tokenizer import PATCHES

PATCH_SIZE = 12
TOWER_SEED = 0
"""All models of the zoo see through the same tower, as many large ones see through the same CLIP."""
_STEPS, _BATCH = 1200, 64


def pixels_of(pictures: Sequence[Image.Image]) -> Float[Tensor, "I 3 48 48"]:
    """Pictures of the zoo as its image processor makes them, bit for bit, but quicker."""
    stacked = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return (stacked.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def train_tower(tokenizer: PreTrainedTokenizerBase, log: Callable[[str], None]) -> CLIPVisionModel:
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
    fit_to_words(parameters, loss_of, tokenizer, rng, _STEPS, lambda line: log(f"tower: {line}"))
    return tower.eval()


def patch_features(tower: nn.Module, pixels: Float[Tensor, "I 3 48 48"]) -> Float[Tensor, "I 16 d"]:
    """What the projector is given: the last layer, without the class token."""
    return tower(pixel_values=pixels).last_hidden_state[:, 1:]


def fit_to_words(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    tokenizer: PreTrainedTokenizerBase,
    rng: np.random.Generator,
    steps: int,
    log: Callable[[str], None],
) -> None:
    """Descent on pictures of fresh scenes; `loss_of` gives loss and scores of all words, for every patch."""
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    for step in range(1, steps + 1):
        pixels, words = pictures_and_words(rng, tokenizer)
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
    rng: np.random.Generator, tokenizer: PreTrainedTokenizerBase
) -> tuple[Float[Tensor, "B 3 48 48"], Int[Tensor, "B 16"]]:
    """Pictures of fresh training scenes, and for each of their patches the id of the token that it stands for."""
    scenes = [world.sample_scene(rng, "train") for _ in range(_BATCH)]
    words = tokenizer.convert_tokens_to_ids([word for scene in scenes for word in patch_words(scene)])
    pictures = [draw_scene(scene, int(rng.integers(2**31))) for scene in scenes]
    return pixels_of(pictures), torch.tensor(words).view(_BATCH, PATCHES)


def patch_words(scene: Scene) -> list[str]:
    """The token that each patch of a picture is to stand for, row by row; full stops for an empty room."""
    words: list[str] = []
    for room in world.ROOMS:
        thing = next((thing for thing in scene if thing.room == room), None)
        words += [f"Ġ{thing.colour}", f"Ġ{thing.name}", f"Ġ{thing.room}", "."] if thing else ["."] * 4
    return words
