"""Which part of a picture each of its image tokens shows.

There is no table of families: made pictures are sent through the checkpoint's own image processor. Ramps of grey say
where in the picture each processed pixel comes from, after any resizing, cropping, tiling and normalisation; where
black and white look alike there is padding. What the model then does with its tiles is followed through the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from lens_truth.data.images import image_size
from lens_truth.errors import InputError
from lens_truth.models.image_input import ImageInput

_LEVELS, _MOST_RAMPS = 255, 8
_MEASURED: WeakKeyDictionary[ImageInput, dict[tuple[int, int], Float[np.ndarray, "n 4"]]] = WeakKeyDictionary()


def token_boxes(images: ImageInput, name: str) -> Float[np.ndarray, "n 4"]:
    """The part of the picture that each image token's patch shows: left, top, right, bottom in pixels, as
    `lens_truth.data.images.open_image` gives them; NaN for a token that shows nothing of it (padding, the end of a
    line).

    Measured once a size, to half a pixel or a two-thousandth of the size, whichever is more. What is cropped away is in
    no box. Where a model is shown a picture as a whole and in tiles, boxes overlap; where it scales patches down
    (LLaVA-OneVision), the box is interpolated as the patch is, and leaves gaps.
    """
    width, height = size = image_size(name)
    measured = _MEASURED.setdefault(images, {})
    if size not in measured:
        n = images.n_tokens(name)
        boxes = _measure(images, width, height, n)
        if len(boxes) != n:
            raise InputError(f"{name}: {n} tokens stand for the image, but {len(boxes)} patches were found")
        boxes.setflags(write=False)
        measured[size] = boxes
    return measured[size]


def _measure(images: ImageInput, width: int, height: int, n: int) -> Float[np.ndarray, "n 4"]:
    black, white = (_shown(images, np.full((height, width), level, dtype=np.uint8)) for level in (0, _LEVELS))
    contrast = white - black
    contrast[contrast.abs() < contrast.abs().max() / 10] = torch.nan  # padding

    def where(size: int, spread: Sequence[int]) -> Tensor:
        """For every processed pixel, where in the picture it comes from, along an axis of that size."""
        found = torch.zeros_like(black)
        edges = np.linspace(0, size, min(math.ceil(size / _LEVELS), _MOST_RAMPS) + 1)
        for start, stop in pairwise(edges):  # each ramp rises over a part of the picture
            ramp = np.clip((np.arange(size) + 0.5 - start) / (stop - start), 0, 1)
            levels = np.rint(ramp * _LEVELS).astype(np.uint8).reshape(spread)
            shown = _shown(images, np.broadcast_to(levels, (height, width)))
            found += (shown - black) / contrast * (stop - start)
        return found

    x, y = where(width, (1, -1)), where(height, (-1, 1))
    pixels = torch.stack([x, y], dim=-1)
    if black.ndim == 2:  # patches in a list: equally many, one after the other, make a token
        boxes = _edges(pixels.reshape(n, -1, 2)) if len(pixels) % n == 0 else pixels.new_empty(0, 4)
    else:
        tiles = pixels.mean(dim=-4).flatten(0, -4)  # over the channels

        def of_tiles(n_tiles: int, n_patches: int) -> Float[Tensor, "tiles patches 4"]:
            return _edges(_patches(tiles, n_tiles, n_patches, images.patch_size))

        boxes = images.packed(Image.new("RGB", (width, height)), of_tiles)
    return _within(boxes.numpy(), width, height)


def _shown(images: ImageInput, grey: UInt8[np.ndarray, "height width"]) -> Tensor:
    """The processed pixels of a grey picture."""
    picture = Image.fromarray(np.ascontiguousarray(grey)).convert("RGB")
    return images.pixels(picture)["pixel_values"].double()


def _patches(
    tiles: Float[Tensor, "tiles h w 2"], n_tiles: int, n_patches: int, patch_size: int
) -> Float[Tensor, "tiles patches pixels 2"]:
    """The pixels of every patch that becomes a token, line after line; towers leave out what fills no patch."""
    found, height, width, _ = tiles.shape
    rows, columns = height // patch_size, width // patch_size
    merged = math.isqrt(rows * columns // n_patches)  # patches of the tower along the side of one that becomes a token
    if found != n_tiles or rows * columns != n_patches * merged**2 or rows % merged or columns % merged:
        raise InputError(
            f"{n_patches} image tokens in each of {n_tiles} tiles do not fit {found} tiles of {height} x {width} "
            f"pixels in patches of {patch_size}"
        )
    side = patch_size * merged
    rows, columns = rows // merged, columns // merged
    whole = tiles[:, : rows * side, : columns * side]
    return whole.reshape(found, rows, side, columns, side, 2).transpose(2, 3).reshape(found, n_patches, side**2, 2)


def _edges(pixels: Float[Tensor, "*tokens pixels 2"]) -> Float[Tensor, "*tokens 4"]:
    """Left, top, right and bottom of every token's pixels, in whatever order they are: an even spread reaches sqrt(3)
    standard deviations to either side of its mean. Padding (NaN) does not count."""
    mean = pixels.nanmean(dim=-2)
    squares = ((pixels - mean.unsqueeze(-2)) ** 2).nansum(dim=-2)
    # For a square of n pixels, n - 1 makes up exactly for their centres not reaching its edges.
    reach = (3 * squares / (pixels.isfinite().sum(dim=-2) - 1)).sqrt()
    return torch.cat([mean - reach, mean + reach], dim=-1)


def _within(boxes: Float[np.ndarray, "n 4"], width: int, height: int) -> Float[np.ndarray, "n 4"]:
    """The boxes inside the picture; edges near its border lie on it, where resampling has blurred the ramps."""
    size = np.array([width, height, width, height])
    near = np.maximum(0.5, size / 2000)
    boxes = np.where(boxes < near, 0, np.where(boxes > size - near, size, boxes))
    empty = np.any(boxes[:, 2:] <= boxes[:, :2], axis=1, keepdims=True)  # a line of pixels at the edge of padding
    return np.where(empty, np.nan, boxes)
