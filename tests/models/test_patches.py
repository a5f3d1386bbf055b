"""Which part of a picture each image token shows: against geometry worked out by hand, and against the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from multimodal import FAMILIES, build_multimodal
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from lens_truth.data.images import tokens_showing
from lens_truth.errors import InputError
from lens_truth.models.image_input import ImageInput, images_of
from lens_truth.models.loading import load
from lens_truth.models.patches import token_boxes

SIZES = [(101, 67), (40, 160), (56, 56), (300, 211), (5, 3), (2500, 400)]
TESTED = [name for name in FAMILIES if name != "llava-next-mistral"]
QWEN = [name for name in TESTED if "qwen" in name]
# The Qwens have one image processor, which alone makes their boxes: each size is shown to one of them.
CASES = [(name, size) for name in TESTED if name not in QWEN for size in SIZES]
CASES += [(QWEN[at % len(QWEN)], size) for at, size in enumerate(SIZES)]
Boxes = Float[np.ndarray, "n 4"]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[int, int]], str]:
    """The name of a picture of some size."""
    folder = tmp_path_factory.mktemp("pictures")

    def of_size(size: tuple[int, int]) -> str:
        path = folder / f"{size[0]}x{size[1]}.png"
        Image.new("RGB", size).save(path)
        return str(path)

    return of_size


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ImageInput]:
    """How a tiny model of some family is shown images; each is built once."""

    @cache
    def of_family(family: str) -> ImageInput:
        folder = tmp_path_factory.mktemp(family)
        build_multimodal(family, folder)
        return images_of(load(str(folder)))

    return of_family


def grid(rows: int, columns: int, region: Sequence[float]) -> Boxes:
    """Equal boxes that fill a region, line after line."""
    left, top, right, bottom = region
    x, y = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    return np.array([[x[j], y[i], x[j + 1], y[i + 1]] for i in range(rows) for j in range(columns)])


def overlaps(boxes: Boxes) -> Float[np.ndarray, "n n"]:
    """How far every two different boxes reach into each other, in pixels."""
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return (high - low).min(axis=-1) - 1e9 * np.eye(len(boxes))


def fill(boxes: Boxes, region: Sequence[float]) -> None:
    """Asserts that boxes fill a region without gaps and overlaps, and lie line after line."""
    left, top, right, bottom = region
    assert overlaps(boxes).max() < 0.5
    assert (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum() == pytest.approx((right - left) * (bottom - top), rel=0.03)
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
    assert centres == sorted(centres, key=lambda centre: (round(centre[1]), centre[0]))


@pytest.mark.parametrize(("family", "size"), CASES, ids=str)
def test_boxes_fill_what_the_model_is_shown(family: str, images: Any, picture: Any, size: tuple[int, int]) -> None:
    name, model = picture(size), images(family)
    boxes = token_boxes(model, name)
    assert len(boxes) == model.n_tokens(name)
    made, whole = model.pixels(Image.new("RGB", size)), (0, 0, *size)
    near: Any = {"atol": max(0.5, max(size) / 2000), "rtol": 0}
    if "qwen" in family:
        _, rows, columns = made["image_grid_thw"][0].tolist()
        np.testing.assert_allclose(boxes, grid(rows // 2, columns // 2, whole), **near)
    elif family == "llava":  # the short side becomes 56 pixels; of the long side the 56 in the middle are kept
        scales = [side / int(56 * side / min(size)) for side in size]
        left, top = ((int(56 * side / min(size)) - 56) // 2 * scale for side, scale in zip(size, scales, strict=True))
        kept = (left, top, left + 56 * scales[0], top + 56 * scales[1])
        np.testing.assert_allclose(boxes, grid(4, 4, kept), **near)
    elif family == "gemma3":
        np.testing.assert_allclose(boxes, grid(2, 2, whole), **near)
    elif family == "internvl":  # tiles of four tokens, and behind them the whole, if there is more than one
        tiles = [(*four[:, :2].min(axis=0), *four[:, 2:].max(axis=0)) for four in boxes.reshape(-1, 4, 4)]
        for four, tile in zip(boxes.reshape(-1, 4, 4), tiles, strict=True):
            np.testing.assert_allclose(four, grid(2, 2, tile), **near)
        assert len(tiles) == len(made["pixel_values"])
        np.testing.assert_allclose(tiles[-1], whole, **near)
        if len(tiles) > 1:
            fill(np.array(tiles[:-1]), whole)
    else:  # the whole in 16 tokens, then its tiles, whose lines end in a token that shows nothing
        np.testing.assert_allclose(boxes[:16], grid(4, 4, whole), **near)
        shown = np.isfinite(boxes[16:, 0])
        lines = np.split(shown, np.flatnonzero(~shown) + 1)
        assert {len(line) for line in lines[:-1]} == {len(lines[0])} and len(lines[-1]) == 0
        if shown.sum() in (48, 24) and family == "llava-onevision" and size != (5, 3):
            assert overlaps(boxes[16:][shown]).max() < 0  # scaled down, since 48 would be too many
        else:
            fill(boxes[16:][shown], whole)


@pytest.mark.parametrize("family", TESTED)
def test_what_changes_in_a_box_changes_its_token(family: str, images: Any, picture: Any) -> None:
    """Painting over the middle of a token's box changes what the model makes of it more than any token whose box is
    elsewhere; mean over pictures, since attention in a random vision tower goes anywhere."""
    size = (101, 67)
    model = images(family)
    boxes = token_boxes(model, picture(size))
    pictures = np.random.default_rng(0).integers(0, 256, (2, size[1], size[0], 3), dtype=np.uint8)

    def seen(pixels: np.ndarray) -> torch.Tensor:
        return model.features(Image.fromarray(pixels))

    before = [seen(pixels) for pixels in pictures]
    for token in np.flatnonzero(np.isfinite(boxes[:, 0])):
        shrink = (boxes[token, 2:] - boxes[token, :2]) / 5
        left, top = np.rint(boxes[token, :2] + shrink).astype(int)
        right, bottom = np.rint(boxes[token, 2:] - shrink).astype(int)
        change = torch.zeros(len(boxes))
        for pixels, features in zip(pictures.copy(), before, strict=True):
            pixels[top:bottom, left:right] = 255
            change += (seen(pixels) - features).norm(dim=-1)
        painted = np.concatenate([boxes, [[left, top, right, bottom]]])
        elsewhere = ~(overlaps(painted)[-1, :-1] > 0)
        assert not elsewhere[token] and elsewhere.any()
        assert change[token] > 1.2 * change[torch.from_numpy(elsewhere)].max()


@pytest.fixture
def shown_by(tmp_path: Path) -> Callable[..., ImageInput]:
    """A tiny LLaVA behind another image processor."""

    def behind(processor: Any, **config: Any) -> ImageInput:
        hf: Any = build_multimodal("llava", tmp_path)
        for name, value in config.items():
            setattr(hf.config, name, value)
            setattr(hf.model.config, name, value)
        return ImageInput(hf, PreTrainedTokenizerFast.from_pretrained(tmp_path), processor)

    return behind


def test_padding_is_in_no_box(shown_by: Any, picture: Any) -> None:
    """A picture twice as wide as high, in the middle of a square: half of the outer lines is padding."""
    square: Any = {"size": {"height": 56, "width": 56}, "crop_size": {"height": 56, "width": 56}}
    padded = shown_by(LlavaImageProcessorPil(**square, do_pad=True))
    boxes = token_boxes(padded, picture((120, 30)))
    assert np.isnan(boxes[[*range(4), *range(12, 16)]]).all()
    np.testing.assert_allclose(boxes[4:12], grid(2, 4, (0, 0, 120, 30)), atol=0.5)
    half = token_boxes(padded, picture((120, 90)))
    heights = half[::4, 3] - half[::4, 1]
    np.testing.assert_allclose(heights, [15, 30, 30, 15], atol=1)


def test_what_fills_no_patch_is_in_no_box(shown_by: Any, picture: Any) -> None:
    """As in SigLIP's towers, whose 384 pixels are no multiple of 14: 60 processed pixels hold 4 patches of 14."""
    wide: Any = {"size": {"shortest_edge": 60}, "crop_size": {"height": 60, "width": 60}}
    images = shown_by(CLIPImageProcessorPil(**wide))
    images._hf.model.vision_tower.embeddings.image_size = 60
    np.testing.assert_allclose(token_boxes(images, picture((60, 60))), grid(4, 4, (0, 0, 56, 56)), atol=0.5)


def test_tokens_that_are_no_patches_are_refused(shown_by: Any, picture: Any) -> None:
    square: Any = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
    images = shown_by(CLIPImageProcessorPil(**square), vision_feature_select_strategy="full")
    with pytest.raises(InputError, match=r"^17 image tokens in each of 1 tiles do not fit 1 tiles of 56 x 56 pixels"):
        token_boxes(images, picture((56, 56)))


def test_a_size_is_measured_once(zoo: Any, picture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of(zoo("llava"))
    measured = token_boxes(images, picture((48, 48)))
    monkeypatch.setattr(images, "pixels", None)
    again = token_boxes(images, "zoo:coral.heart.attic#1")
    assert again is measured and not again.flags.writeable
    np.testing.assert_allclose(again, grid(4, 4, (0, 0, 48, 48)), atol=0.1)


def test_a_missing_image_is_named(zoo: Any) -> None:
    with pytest.raises(InputError, match="nowhere.png: there is no such image"):
        token_boxes(images_of(zoo("llava")), "nowhere.png")


FOUR = grid(2, 2, (0, 0, 20, 20))


@pytest.mark.parametrize(
    ("evidence", "tokens"),
    [
        ([(0, 0, 20, 10)], [0, 1]),
        ([(0, 0, 15, 10)], [0, 1]),  # half of the second
        ([(0, 0, 14, 10)], [0]),
        ([(8, 8, 13, 12)], [1]),  # none by half: the largest part
        ([(8, 8, 13, 12), (0, 10, 10, 20)], [1, 2]),
        ([(30, 0, 40, 10)], []),
        ([(20, 0, 40, 10)], []),  # touches in a line
        ([], []),
    ],
)
def test_tokens_showing_evidence(evidence: list[Any], tokens: list[int]) -> None:
    assert tokens_showing(FOUR, evidence) == tokens
    with_padding = np.concatenate([np.full((1, 4), np.nan), FOUR])
    assert tokens_showing(with_padding, evidence) == [token + 1 for token in tokens]
