"""What `compare` scores heads on and asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lens_truth.commands.ablate_data import Parts, parts_of

if TYPE_CHECKING:
    from lens_truth.commands.compare import Config


def compared_parts(config: Config, model: Any) -> Parts:
    """Of the data that the flags name; whether a model sees matters for the zoo's scenes only."""
    from lens_truth.models.image_input import is_multimodal

    return parts_of(config, is_multimodal(model) and config.data.startswith("zoo:"))
