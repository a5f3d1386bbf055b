"""From an image's name to what a multimodal model is given: its pixels, and how many tokens stand for it.

There is no table of families. The checkpoint's own image processor makes the pixels (on Pillow, the same with and
without torchvision), and the model itself is asked how many features it makes of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lens_truth.data.examples import Example
from lens_truth.data.images import image_size, open_image
from lens_truth.errors import InputError, first_line
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.models.placing import device_of
from lens_truth.models.structure import is_multimodal_config

_PROCESSING = (ValueError, TypeError, RuntimeError, IndexError, ZeroDivisionError, AttributeError, KeyError)
"""What image processors and vision towers raise where a size or a setting does not fit."""
_PATCH = 1e4
"""What marks a patch on its way through the model: no weight is as large."""
IMAGE_KINDS = ("mm_token_type_ids", "token_type_ids")
"""What models call the argument that tells an image's tokens from words. Without it Qwen's positions and Gemma 3's
attention inside an image, which goes both ways, are wrong, silently."""


class ImageInput:
    """How one model is shown images."""

    def __init__(self, hf: Any, tokenizer: PreTrainedTokenizerBase, processor: Any) -> None:
        config: Any = hf.config
        self._hf, self._processor = hf, processor
        token_id = getattr(config, "image_token_id", None)
        self.token_id: int = config.image_token_index if token_id is None else token_id
        self.token = _token(tokenizer, self.token_id)
        """What stands for an image in a text, before the model's number of tokens takes its place."""
        if self.token is None or tokenizer.encode(self.token, add_special_tokens=False) != [self.token_id]:
            raise InputError(
                f"the tokenizer has no special token {self.token_id}, which stands for an image in {type(hf).__name__}"
            )
        family = config.model_type
        if family == "paligemma":  # its token_type_ids mean something else, and without them nothing goes both ways
            raise InputError(
                f"{type(hf).__name__} lets the words of a prompt attend to later ones, which is not done here; it "
                "cannot be shown images"
            )
        self._start = _marker(
            config, tokenizer, ("vision_start_token_id", "boi_token_index"), ("start_image_token", "vision_bos_token")
        )
        self._end = _marker(
            config, tokenizer, ("vision_end_token_id", "eoi_token_index"), ("end_image_token", "vision_eos_token")
        )
        self._around = "\n\n" if family == "gemma3" else ""  # as its processor writes an image
        self._counts: dict[str, int] = {}
        self._count = lru_cache(maxsize=None)(self._counted)
        self._accepted = inspect.signature(hf.forward).parameters
        # InternVL's processor sets this itself; its image processor, used alone, does not.
        self._tiling = {"crop_to_patches": True} if family == "internvl" else {}

    @property
    def placeholder(self) -> str:
        """An image in a text: its token, with the tokens that open and close it."""
        return f"{self._around}{self._start}{self.token}{self._end}{self._around}"

    def marked(self, text: str) -> str | None:
        """The text with its image opened and closed, as some templates leave to the processor; None unless the text
        holds exactly one image."""
        before, *after = text.split(self.token)
        if len(after) != 1:
            return None
        before = before.removesuffix(self._start).removesuffix(self._around)
        return f"{before}{self.placeholder}{after[0].removeprefix(self._end).removeprefix(self._around)}"

    @property
    def patch_size(self) -> int:
        """Width and height of the vision tower's patches, in processed pixels."""
        size = self._hf.config.vision_config.patch_size
        return size if isinstance(size, int) else size[0]

    def n_tokens(self, name: str) -> int:
        """How many tokens stand for an image: as many as the model makes features of an image of that size."""
        size = image_size(name)
        try:
            return self._count(*size)
        except _PROCESSING as error:
            raise InputError(
                f"{name}: the image processor and the vision tower of {type(self._hf).__name__} do not fit for an "
                f"image of {size[0]} x {size[1]} pixels ({first_line(error)})"
            ) from error

    def _counted(self, width: int, height: int) -> int:
        made = self._on_device(self.pixels(Image.new("RGB", (width, height))))
        # Images of many sizes become pixels of few shapes; grids of patches and original sizes are small whole numbers.
        shapes = [(name, tuple(values.shape)) for name, values in made.items()]
        numbers = [values.numpy(force=True).tolist() for values in made.values() if not values.is_floating_point()]
        seen = repr((shapes, numbers))
        if seen not in self._counts:
            self._counts[seen] = len(self._made_of(made))
        return self._counts[seen]

    def features(self, image: Image.Image) -> Float[Tensor, "n M"]:
        """What the model makes of an image: a row for each of its tokens."""
        return self._made_of(self._on_device(self.pixels(image)))

    def _made_of(self, pixels: dict[str, Tensor]) -> Float[Tensor, "n M"]:
        with torch.no_grad():
            features = self._hf.get_image_features(**pixels)
        features = getattr(features, "pooler_output", features)
        parts = [features] if isinstance(features, Tensor) else features
        return torch.cat([part.reshape(-1, self._hf.config.get_text_config().hidden_size) for part in parts])

    def packed(
        self, image: Image.Image, number: Callable[[int, int], Float[Tensor, "tiles patches c"]]
    ) -> Float[Tensor, "n c"]:
        """Numbers of the patches of every tile (`number` gives them for so many tiles of so many patches), in the order
        of the image's tokens; NaN for a token that is no patch.

        Models pack their tiles in ways of their own: they cut off padding, end every line with a token, scale down. So
        the numbers are sent through the model, in place of what its projector makes of the patches.
        """
        modules = self._hf.named_modules()
        projector = next((module for name, module in modules if name.endswith("multi_modal_projector")), None)
        if projector is None:
            raise InputError(f"{type(self._hf).__name__} has no multi_modal_projector, so its tiles cannot be followed")
        numbers: list[Float[Tensor, "tiles patches c"]] = []

        def put(module: Any, inputs: Any, features: Float[Tensor, "tiles patches M"]) -> Tensor:
            numbers.append(number(*features.shape[:2]).to(features.device))
            marked = torch.full_like(features, _PATCH, dtype=torch.float32)
            marked[..., : numbers[0].shape[-1]] = numbers[0]
            return marked

        with projector.register_forward_hook(put):
            features = self.features(image)
        is_patch = (features[:, -1:] / _PATCH - 1).abs() < 1e-3
        return torch.where(is_patch, features[:, : numbers[0].shape[-1]], torch.nan).cpu()

    def arguments(self, ids: Int[Tensor, "B T"], names: Sequence[str]) -> dict[str, Tensor]:
        """What the model's forward pass needs beside ids and mask for a batch whose row b holds the image names[b]
        (empty: none, but not for all)."""
        made: dict[str, dict[str, Tensor]] = {}
        for name in dict.fromkeys(filter(None, names)):
            image = open_image(name)
            try:
                made[name] = self._on_device(self.pixels(image))
            except _PROCESSING as error:
                raise InputError(f"{name}: the image processor cannot read it ({first_line(error)})") from error
        rows = [made[name] for name in names if name]
        arguments = {key: _cat([row[key] for row in rows]) for key in rows[0]}
        if (kinds := next(filter(self._accepted.__contains__, IMAGE_KINDS), None)) is not None:
            arguments[kinds] = (ids == self.token_id).int()
        return arguments

    def pixels(self, image: Image.Image) -> dict[str, Tensor]:
        """What the image processor makes of an image, as far as the model takes it."""
        # An image three pixels high would otherwise be taken for one with its channels first.
        made = self._processor(image, return_tensors="pt", input_data_format="channels_last", **self._tiling)
        return {key: value for key, value in made.items() if key in self._accepted}

    def _on_device(self, made: dict[str, Tensor]) -> dict[str, Tensor]:
        device, dtype = device_of(self._hf), next(self._hf.parameters()).dtype
        return {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in made.items()}


def _token(tokenizer: Any, token_id: int) -> Any:
    try:
        return tokenizer.convert_ids_to_tokens(token_id)
    except (IndexError, OverflowError):
        return None


def _marker(config: Any, tokenizer: Any, in_config: Sequence[str], in_tokenizer: Sequence[str]) -> str:
    """The token that opens or closes an image, if the family has one."""
    for name in in_config:
        if (token_id := getattr(config, name, None)) is not None and (token := _token(tokenizer, token_id)):
            return token
    return next((token for name in in_tokenizer if (token := getattr(tokenizer, name, None))), "")


def _cat(parts: list[Tensor]) -> Tensor:
    """All images' tensors, one after the other; images of fewer tiles are filled up with zeros."""
    shape = [max(part.shape[d] for part in parts) for d in range(1, parts[0].ndim)]
    padded = [part.new_zeros(len(part), *shape) for part in parts]
    for whole, part in zip(padded, parts, strict=True):
        whole[tuple(slice(n) for n in part.shape)] = part
    return torch.cat(padded)


def is_multimodal(model: Hooked) -> bool:
    """Whether a model has a vision tower."""
    hf: Any = getattr(model, "original_model", None)
    return hf is not None and is_multimodal_config(hf.config)


def with_images(model: Any, processor: Any) -> Any:
    """The model itself, which from now on is shown images as a Hugging Face image processor (or None) prepares them."""
    hooked: Any = model
    hooked.image_processor, hooked.image_input = processor, None
    return model


def images_of(model: Hooked) -> ImageInput:
    """How the model is shown images; an InputError says why it cannot be."""
    hooked: Any = model
    name = name_of(model) or "the model"
    if not is_multimodal(model):
        raise InputError(f"{name} is a text model, which cannot be shown images")
    if getattr(hooked, "image_input", None) is None:
        if getattr(hooked, "image_processor", None) is None:
            raise InputError(
                f"{name} has no image processor (preprocessor_config.json), so it cannot be shown images; pass one to "
                "`load(model, image_processor=...)`"
            )
        if model.tokenizer is None:
            raise InputError("the model has no tokenizer; pass one to `load(model, tokenizer=...)`")
        hooked.image_input = ImageInput(hooked.original_model, model.tokenizer, hooked.image_processor)
    return hooked.image_input


def images_for(model: Hooked, examples: Sequence[Example]) -> ImageInput | None:
    """How the model is shown the images of some examples; None where there are none to be shown."""
    with_image = [example for example in examples if example.image]
    if not with_image:
        return None
    try:
        return images_of(model)
    except InputError as error:
        raise InputError(
            f"{len(with_image)} of {len(examples)} examples hold an image (first: '{with_image[0].id}'): {error}"
        ) from error


def image_arguments(model: Hooked, ids: Int[Tensor, "B T"], names: Sequence[str]) -> dict[str, Tensor]:
    """`ImageInput.arguments` of the model's own, and nothing for a batch without images."""
    return images_of(model).arguments(ids, names) if any(names) else {}
