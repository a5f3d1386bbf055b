"""SmolLM2 in lm-eval: without a gate as `hf` has it, with one as attached; and the page's task of Inspect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from conftest import real_folder
from harnesses.tasks import INSPECT_TASK
from harnesses.test_lm_eval import answered, log_likelihood, numbers, offline, own, rows

import lens_truth

assert offline  # a fixture of these tests, too
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "harnesses.md"


def test_the_pages_task_is_the_one_that_is_run() -> None:
    """`tests/harnesses/test_inspect.py` runs it."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert INSPECT_TASK.strip() in [block.strip() for block in blocks]


@pytest.mark.published
def test_smollm2(tmp_path: Path) -> None:
    folder = real_folder("smollm2")
    plain, _ = answered(own(folder, dtype="float32"), tmp_path)
    hooked, _ = answered(lens_truth.lm_eval_model(folder, device="cpu", dtype="float32", batch_size=4), tmp_path)
    assert hooked == plain
    model = lens_truth.load(folder, dtype="float32")
    gate = lens_truth.HeadGate(torch.linspace(0.5, 1.5, 30 * 9).reshape(30, 9))
    lm = lens_truth.lm_eval_model(model, gate, batch_size=4)
    gated, _ = answered(lm, tmp_path)
    by_hand = [
        log_likelihood(model, row["asked"], row["right"]) for row in rows()
    ]  # gated still; lm-eval adds no space
    lm.under.close()
    assert gated["continue"] != plain["continue"]
    torch.testing.assert_close(numbers(gated["continue"])[: len(by_hand)], torch.tensor(by_hand), rtol=1e-4, atol=1e-3)
