"""A model on a hub, perhaps at a revision (`NAME@REVISION`: a branch, a tag, a commit), as the folder of its files."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

from lens_truth.errors import InputError, first_line
from lens_truth.io.stages import stage

_REVISED = re.compile(r"\w[\w.-]*(?:/[\w.-]+)?@(?P<revision>[\w./-]+)")
_BESIDE = ["*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
"""A config's, tokenizer's and processor's files."""


def revision_of(name: str) -> str | None:
    """What stands behind `@` in the name of a model on a hub; None of a path that exists, or of any other name."""
    found = _REVISED.fullmatch(name)
    return None if found is None or Path(name).exists() else found["revision"]


@cache
@stage("load")
def snapshot(name: str) -> Path:
    """The folder of the files of a model on a hub, perhaps at a revision, in huggingface_hub's cache; fetched there if
    they are not, unless the environment says `HF_HUB_OFFLINE=1`. An InputError says what cannot be had."""
    import huggingface_hub

    repo, _, revision = name.partition("@")
    fetch = partial(huggingface_hub.snapshot_download, repo, revision=revision or None)
    for weights in ("model*.safetensors", "pytorch_model*.bin"):
        try:
            folder = Path(fetch(allow_patterns=[*_BESIDE, weights]))
        except (OSError, ValueError) as error:
            raise InputError(f"model '{name}' cannot be found: {first_line(error)}") from error
        if any(folder.glob(weights)):
            return folder
    raise InputError(f"model '{name}' holds no weights (model.safetensors, pytorch_model.bin)")
