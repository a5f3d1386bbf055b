"""Scores that are the same for all heads make a gate that does nothing, which is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import run

from lens_truth import HeadScores

pytestmark = pytest.mark.zoo


def test_a_gate_of_ones_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    HeadScores(np.zeros((6, 8)), "residual").save(tmp_path / "flat.safetensors")
    arguments = (
        "gate",
        "--model",
        "zoo:llama-base",
        "--scores",
        tmp_path / "flat.safetensors",
        "--save",
        tmp_path / "g",
    )
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and "all residual scores are the same, so every gate is 1" in out
