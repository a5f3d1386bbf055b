"""`models/prefixes.py` stands in for a layer of Transformers' cache, so Transformers' version is bounded."""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lens_truth.models.prefixes import rows_of

ROOT = Path(__file__).parent.parent.parent
BROKE = f"transformers {version('transformers')} changed the cache layer that models/prefixes.py overrides: "


def test_the_layer_has_the_parts_that_are_overridden() -> None:
    update = list(inspect.signature(DynamicLayer.update).parameters)
    assert update[:3] == ["self", "key_states", "value_states"], BROKE + f"update takes {update}"
    begin = list(inspect.signature(DynamicLayer.lazy_initialization).parameters)
    assert begin == ["self", "key_states", "value_states"], BROKE + f"lazy_initialization takes {begin}"


def test_a_copied_beginning_goes_on_as_the_models_own(tiny: Any) -> None:
    hf, cache = tiny.original_model, DynamicCache()
    begun, rest = torch.tensor([[1, 5, 9, 7], [1, 8, 3, 2]]), torch.tensor([[4, 6], [4, 6], [5, 5]])
    rows = [1, 0, 1]
    with torch.no_grad():
        hf(begun, past_key_values=cache, use_cache=True)
        copy = rows_of(cache, rows, 3)
        assert copy.get_seq_length() == 4, BROKE + "a copy is not as long as what it copies"
        first = hf(rest, past_key_values=copy, use_cache=True).logits
        then = hf(rest[:, :1], past_key_values=copy, use_cache=True).logits
        whole = hf(torch.cat([begun[rows], rest, rest[:, :1]], 1)).logits
    assert copy.get_seq_length() == 7 and cache.get_seq_length() == 4, BROKE + "tokens are not added to the copy alone"
    torch.testing.assert_close(torch.cat([first, then], 1), whole[:, 4:], msg=lambda said: BROKE + said)


def test_newer_versions_are_not_installed_unseen() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bounds,) = (d for d in dependencies if d.startswith("transformers>"))
    assert "," in bounds and "<" in bounds
