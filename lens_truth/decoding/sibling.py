"""`Sibling`: what a model says against what a relative of it says that hallucinates more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lens_truth.data.examples import Example
from lens_truth.decoding.contrast import Contrast
from lens_truth.errors import InputError
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import Hooked, inner_model, name_of
from lens_truth.models.image_input import images_of, is_multimodal


@dataclass(frozen=True, eq=False)
class Sibling(Contrast):
    """Contrast by a hallucinating sibling of the lineage (Zhang et al. 2023, arXiv 2312.15710, who train one: induced
    hallucinations): the second pass is another model's, which reads the same tokens. It has a gate of its own or none.

    A sibling that sees no images is asked without the image (a multimodal model's base, if both have the same tokens).

    >>> sibling = lens_truth.Sibling(1.0, lens_truth.load("zoo:llama-memory"))
    >>> sibling.check(model), sibling.second_model(model), sibling.other(example)
    >>> sibling.second_rows(prompts, others)
    """

    strength: float = 1.0
    sibling: Hooked | None = None
    """Of the same tokens; it may lie on another device."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sibling is None:
            raise InputError(f"{type(self).__name__} needs a sibling, a loaded model of the same tokens")

    @property
    def _sibling(self) -> Hooked:
        assert self.sibling is not None
        return self.sibling

    @property
    def its_own(self) -> str:
        """See `Contrast.its_own`."""
        return weights_hash(self._sibling)

    def check(self, model: Hooked) -> None:
        """See `Decoder.check`."""
        super().check(model)
        inner_model(self._sibling)
        called = name_of(self._sibling) or "the sibling", name_of(model) or "the model"
        own, its = (tokenizer_of(one) for one in (model, self._sibling))
        if (words := own.get_vocab()) != (others := its.get_vocab()):
            differing = len(set(words.items()) ^ set(others.items()))
            raise InputError(
                f"{called[0]} has other tokens than {called[1]} ({differing} differ), so what they say cannot be "
                "contrasted"
            )
        if model.cfg.d_vocab != self._sibling.cfg.d_vocab:
            raise InputError(
                f"{called[0]} has logits of {self._sibling.cfg.d_vocab} tokens and {called[1]} of "
                f"{model.cfg.d_vocab}, so what they say cannot be contrasted"
            )
        if is_multimodal(model) and is_multimodal(self._sibling):
            token, other = (images_of(one).token_id for one in (model, self._sibling))
            if token != other:
                raise InputError(f"an image is token {other} to {called[0]} and token {token} to {called[1]}")

    def second_model(self, model: Hooked) -> Hooked:
        """See `Contrast.second_model`."""
        return self._sibling

    def other(self, example: Example) -> Example | None:
        """The example without its image, for a sibling that sees none."""
        if not example.image or is_multimodal(self._sibling):
            return None
        return replace(example, image="", boxes=())

    def second_rows(self, rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """The same prompts, or those without an image."""
        return [row if other is None else other for row, other in zip(rows, others, strict=True)]
