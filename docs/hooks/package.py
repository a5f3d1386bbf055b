"""The package as its source says, read by griffe without importing it (and so without torch)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=1)
def lens_truth() -> griffe.Module:
    """The package, with what its classes inherit."""
    package = griffe.load("lens_truth", search_paths=[str(ROOT)], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    return package


def first_sentence(item: griffe.Object | griffe.Alias) -> str:
    """The first paragraph of a docstring in one line; empty if there is none."""
    return " ".join(item.docstring.value.split("\n\n")[0].split()) if item.docstring else ""
