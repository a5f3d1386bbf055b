"""One revision of a model on a hub (`NAME@REVISION`: a branch, a tag, a commit) as the folder of its files."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.models.weight_files import why

_REVISED = re.compile(r"(?P<repo>\w[\w.-]*(?:/[\w.-]+)?)@(?P<revision>[\w./-]+)")
_BESIDE = ["*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
"""A config's, tokenizer's and processor's files."""


def revision_of(name: str) -> str | None:
    """What stands behind `@` in the name of a model on a hub; None of a path that exists, or of any other name."""
    found = _REVISED.fullmatch(name)
    return None if found is None or Path(name).exists() else found["revision"]


@cache
@stage("load")
def snapshot(name: str) -> Path:
    """The folder of a model's files at a revision, in huggingface_hub's cache; fetched there if they are not, unless
    the environment says `HF_HUB_OFFLINE=1`. An InputError says what cannot be had."""
    import huggingface_hub

    found = _REVISED.fullmatch(name)
    assert found is not None
    for weights in ("model*.safetensors", "pytorch_model*.bin"):
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    found["repo"], revision=found["revision"], allow_patterns=[*_BESIDE, weights]
                )
            )
        except (OSError, ValueError, huggingface_hub.errors.HFValidationError) as error:
            raise InputError(f"model '{name}' cannot be found: {why(error)}") from error
        if any(folder.glob(weights)):
            return folder
    raise InputError(f"model '{name}' holds no weights (model.safetensors, pytorch_model.bin)")
