"""What `ablate` measures of real models: what a person finds by hand, and controls that act."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_truth.ablation.search import Validation
from lens_truth.data.examples import Example, read_examples
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.gates.controls import contrast_gate
from lens_truth.models.common_gain import common_gain_acts
from lens_truth.models.prompts import default_template

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "own-data.md"


@pytest.fixture
def births(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Example]:
    """The first questions of the file that the documentation makes."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(import json.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    return read_examples("births.jsonl")[:80]


def test_a_chat_model_is_right_in_half_of_the_questions(real: Callable[[str], Any], births: list[Example]) -> None:
    """By hand .525; it answers in sentences, of which next to none is the bare answer."""
    model = real("smollm2")
    asker = Asker(model, default_template(model.tokenizer))
    ways = [benchmark_of("open", "answer", births), benchmark_of("choose", "choose", births)]
    validation = Validation.of(asker, ways)
    assert [b.parses[0] for b in validation.benchmarks] == ["contains", "total"]
    assert validation.vanilla["open"] == pytest.approx(0.525, abs=0.1)
    assert validation.vanilla["choose"] == pytest.approx(0.525, abs=0.05)  # it hardly tells whose town is whose


def test_a_common_gain_does_nothing_in_gemma_and_a_contrast_does(
    real: Callable[[str], Any], births: list[Example]
) -> None:
    model = real("gemma3-270m")
    acts = common_gain_acts(model)
    assert not any(acts) and len(acts) == 18
    shape = (18, model.cfg.n_heads)
    gain, contrast = contrast_gate((True,) * 18, shape[1], 1.0, 0), contrast_gate(acts, shape[1], 0.2, 0)
    assert torch.equal(gain.values, torch.full(shape, 2.0))
    gates = {"vanilla": None, "gain": gain, "contrast": contrast}
    found = Asker(model, "plain").rank(births[:24], gates)
    margins = {name: torch.tensor([choice.margin for choice in its]) for name, its in found.items()}
    assert torch.allclose(margins["gain"], margins["vanilla"], atol=0.01)
    assert (margins["contrast"] - margins["vanilla"]).abs().max() > 0.1
