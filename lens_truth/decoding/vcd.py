"""`VCD`: what the model says of an image against what it says of noise over it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from lens_truth.decoding.contrast import Contrast
from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import ImageInput, images_of
from lens_truth.models.sharing import shares_as

STEPS = 1000
"""Of the diffusion by whose schedule noise is added."""


@dataclass(frozen=True, eq=False)
class VCD(Contrast):
    """Visual contrastive decoding (Leng et al. 2024, arXiv 2311.16922, Section 3): the second pass is shown the image
    after so many of 1,000 steps of a diffusion, whose noise is drawn once for an image. Rows without an image are
    decoded greedily.

    The noise goes over what the image processor makes (normalised pixels), as in the published code; where a processor
    packs every pixel twice (Qwen-VL), the two get noise of their own.

    >>> noisy = lens_truth.VCD(1.0, noise_steps=500)
    >>> noisy.check(model), noisy.second_model(model)  # the same model, which sees worse
    >>> noisy.second_rows(prompts, others)
    """

    noise_steps: int = 500
    """From 0 to 999, as the published code counts: at 500 the noise has .26 of the variance, at 999 .92."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise_steps < STEPS:
            raise InputError(f"{self.noise_steps} steps of noise were asked for; it must be from 0 to {STEPS - 1}")

    @property
    def its_own(self) -> str:
        """See `Contrast.its_own`."""
        return f"{self.noise_steps} {self.seed}"

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        images_of(model)

    def second_model(self, model: Hooked) -> Hooked:
        """See `Contrast.second_model`."""
        twin = copy.copy(model)  # the same modules
        seeing: Any = twin
        seeing.image_input = _Noised(images_of(model), self.noise_steps, self.seed)
        return shares_as(twin, model)

    def second_rows(self, rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """Those with an image."""
        return [row if row.image else None for row in rows]


class _Noised(ImageInput):
    """Shows images with noise over them."""

    def __init__(self, clean: ImageInput, steps: int, seed: int) -> None:
        vars(self).update(vars(clean))
        self._steps, self._seed = steps, seed

    def pixels(self, image: Image.Image) -> dict[str, Tensor]:
        made = super().pixels(image)
        content = sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).digest()
        parts = [int.from_bytes(content[i : i + 4], "big") for i in range(0, 16, 4)]
        rng = stream(self._seed, Stream.IMAGE_NOISE, *parts)
        return {
            key: noised(value, torch.from_numpy(rng.standard_normal(tuple(value.shape))), self._steps)
            if value.is_floating_point()
            else value
            for key, value in made.items()
        }


def noised(pixels: Float[Tensor, "..."], noise: Float[Tensor, "..."], steps: int) -> Float[Tensor, "..."]:
    """After these steps and a first one of a diffusion whose steps' variances rise along a sigmoid from 1e-5 to 5e-3
    (as in the published code): sqrt(s) x + sqrt(1 - s) noise, where s is the share of the variance that is left."""
    ramp = torch.sigmoid(torch.linspace(-6, 6, STEPS, dtype=torch.float64))
    left = float((1 - (1e-5 + (5e-3 - 1e-5) * ramp))[: steps + 1].prod())
    return (left**0.5 * pixels.double() + (1 - left) ** 0.5 * noise).to(pixels.dtype)
