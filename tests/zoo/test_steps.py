"""Steps that are kept while a model of the zoo is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import refused

from lens_truth.errors import InputError
from lens_truth.models.loading import load_plain
from lens_truth.zoo import build as building
from lens_truth.zoo.build import build
from lens_truth.zoo.recipes import RECIPES

pytestmark = pytest.mark.zoo


def test_steps_are_plain_models_and_change_no_byte_of_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object, **__: object) -> dict[str, float]:
        return {"open": 0.0}

    monkeypatch.setattr(building, "measure", measured)
    recipe = replace(RECIPES["llama-base"], steps=6)
    build(recipe, 0, tmp_path / "kept", print, every=2)
    build(recipe, 0, tmp_path / "plain", print)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("kept", "plain"))
    assert one == other
    steps = sorted(path.name for path in (tmp_path / "kept" / "steps").iterdir())
    assert steps == ["step-000000", "step-000002", "step-000004", "step-000006"]
    assert not (tmp_path / "plain" / "steps").exists()
    read = [load_plain(str(tmp_path / "kept" / "steps" / step)).state_dict() for step in steps]
    last = load_plain(str(tmp_path / "kept")).state_dict()
    assert all(torch.equal(read[-1][name], weights) for name, weights in last.items())
    assert any(not torch.equal(read[0][name], read[1][name]) for name in last)
    assert (tmp_path / "kept" / "steps" / steps[0] / "tokenizer.json").is_file()
    build(recipe, 0, tmp_path / "kept", print, every=3)  # in the place of its own
    assert len([*(tmp_path / "kept" / "steps").iterdir()]) == 3
    (tmp_path / "kept" / "steps" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not a model of the zoo alone"):
        build(recipe, 0, tmp_path / "kept", print)


def test_numbers_of_steps_that_are_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    complaint = "--every is 0; llama-base is trained for 2400 steps"
    refused(capsys, complaint, "zoo", "train", "llama-base", "--every", "0", "--out", tmp_path / "a")
    child = ("zoo", "train", "smollm2-reader", "--every", "10")
    refused(capsys, "is an adapter of SmolLM2", *child, "--out", tmp_path / "b")
