"""What a number that was computed from a model and examples came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lens_truth.data.examples import Example, examples_hash
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Template
from lens_truth.models.tower import weights_hash


def provenance_of(model: Hooked, examples: Sequence[Example], template: Template) -> dict[str, Any]:
    """Name, weights and KV heads of the model, the examples and the prompt they were put in."""
    return {
        "model": name_of(model),
        "weights": weights_hash(model),
        "n_kv_heads": getattr(model.cfg, "n_key_value_heads", None) or model.cfg.n_heads,
        "examples": examples_hash(examples),
        "template": template,
    }


def name_of(model: Hooked) -> str:
    """What the model was loaded as."""
    return getattr(model.cfg, "model_name", "")
