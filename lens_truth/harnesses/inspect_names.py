"""What the entry point `inspect_ai` loads: the name `lens_truth` of a model provider, and nothing heavy, since Inspect
loads it whatever model it was asked for."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import modelapi


@modelapi(name="lens_truth")
def lens_truth_provider() -> Any:
    """The class that answers for `lens_truth/NAME`, imported when it is asked for."""
    from lens_truth.harnesses.inspect_provider import GatedProvider

    return GatedProvider
