"""Swaps of a truth direction: TransformerLens's tools against hooks written out, and what a judge of the zoo does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import refused, run

from lens_truth.data.loading import load_examples
from lens_truth.detection.swapping import interchange, truth_swaps
from lens_truth.detection.swaps import TruthSwaps
from lens_truth.errors import InputError
from lens_truth.evaluate.generate import yes_no_tokens
from lens_truth.models.prompts import judge_text
from lens_truth.page.write import write_report
from lens_truth.scoring.capturing import capture
from lens_truth.stats.folds import grouped_folds
from lens_truth.zoo.benchmarks import JUDGE_AS_TRAINED


@pytest.fixture(scope="module")
def judged(zoo: Any) -> tuple[Any, Any, Any]:
    model, examples = zoo("llama-chat"), load_examples("zoo:text/test", limit=48)
    return model, examples, capture(model, examples, at="resid_post")


def by_hand(model: Any, text: str, answer: str, layer: int, move: Any) -> tuple[float, torch.Tensor]:
    """One prompt alone: the margin with something added at the answer's last token, and the state there."""
    made = model.tokenizer([text], return_offsets_mapping=True)
    end = text.rindex(answer) + len(answer)
    at = max(i for i, (start, stop) in enumerate(made["offset_mapping"][0]) if start < end and start < stop)
    seen = []

    def hook(passing: torch.Tensor, hook: Any) -> torch.Tensor:
        seen.append(passing[0, at].clone())
        moved = passing.clone()
        moved[0, at] += move
        return moved

    ids = torch.tensor(made["input_ids"])
    with torch.no_grad(), model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_resid_post", hook)]):
        logits = model(ids, attention_mask=torch.ones_like(ids))[0, -1]
    yes, no = yes_no_tokens(model.tokenizer)
    return float(logits[yes].logsumexp(0) - logits[no].logsumexp(0)), seen[0]


def test_swaps_equal_hooks_that_are_written_out(judged: Any) -> None:
    model, examples, activations = judged
    found = truth_swaps(model, activations, examples, layers=[2], wording=JUDGE_AS_TRAINED, n_placebos=2)
    again = truth_swaps(model, activations, examples, layers=[2], wording=JUDGE_AS_TRAINED, n_placebos=2, batch_size=1)
    for one, other in ((found.truth, again.truth), (found.whole, again.whole), (found.placebo, again.placebo)):
        assert one == pytest.approx(other, abs=2e-3)  # of rows that are padded, and alone
    labels, z = activations.labels.numpy(), activations.z[:, 2, 0]
    fold = grouped_folds(labels, activations.groups, 2, 0)
    for row in (0, 1, 6, 7):
        partner = row ^ 1
        assert examples[row].question == examples[partner].question
        texts = [judge_text(examples[at]) for at in (row, partner)]
        zero = torch.zeros(z.shape[1])
        margin, state = by_hand(model, texts[0], examples[row].answer, 2, zero)
        _, other = by_hand(model, texts[1], examples[partner].answer, 2, zero)
        assert torch.allclose(state, z[row], atol=1e-3)  # the judgement begins as the captured prompt does
        known = fold != fold[row]
        direction = z[known & (labels == 1)].mean(0) - z[known & (labels == 0)].mean(0)
        unit = direction / direction.norm()
        swapped, _ = by_hand(model, texts[0], examples[row].answer, 2, ((other - state) @ unit) * unit)
        whole, _ = by_hand(model, texts[0], examples[row].answer, 2, other - state)
        towards = 1 if labels[row] else -1
        assert found.margins[row] == pytest.approx(margin, abs=2e-3)
        assert found.hallucinated[row] == 1 - labels[row]
        assert found.truth[0, row] == pytest.approx(towards * (swapped - margin), abs=5e-3)
        assert found.whole[0, row] == pytest.approx(towards * (whole - margin), abs=5e-3)


def test_a_truth_direction_of_the_zoo_acts(judged: Any, tmp_path: Path) -> None:
    found = truth_swaps(*judged[::2], judged[1], wording=JUDGE_AS_TRAINED)
    assert found.layers == (1, 2, 3, 4)
    assert found.judgement.value > 0.99 and found.gap > 5
    at = found.layers.index(2)
    assert found.against_placebo(at).gained and found.against_placebo(at).ci_low > 0
    assert found.whole[at].mean() > found.truth[at].mean() > 0
    assert "2" in found.verdicts()[0] and len(found.verdicts()) == 1
    found.save(tmp_path)
    assert TruthSwaps.load(tmp_path) == found
    assert [row.head.text for row in found.tables()[0].rows] == ["layer 1", "layer 2", "layer 3", "layer 4"]
    blind = replace(found, margins=np.zeros(len(found.margins)))
    assert "is not shown to know anything" in blind.verdicts()[1]


def test_from_the_last_layer_nothing_reaches_the_end(judged: Any) -> None:
    model, examples, activations = judged
    found = truth_swaps(model, activations, examples, layers=[5], wording=JUDGE_AS_TRAINED, n_placebos=1)
    assert abs(np.stack([found.truth, found.whole, found.placebo[0]])).max() < 1e-3
    assert not found.against_placebo(0).gained


def test_bad_input(judged: Any) -> None:
    model, examples, activations = judged
    with pytest.raises(InputError, match="there is no layer 6: the model has 6 layers with heads"):
        truth_swaps(model, activations, examples, layers=[6])
    with pytest.raises(InputError, match="swaps take the activations of the residual stream"):
        truth_swaps(model, capture(model, examples), examples)
    with pytest.raises(InputError, match="of the same examples"):
        truth_swaps(model, activations, examples[:-1])


def test_an_earlier_transformerlens_is_named(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformer_lens.tools.analysis", None)
    with pytest.raises(InputError, match="swaps are interchange interventions of TransformerLens 4.3"):
        interchange()


def test_the_tools_run_on_our_models_and_see_their_mode(tiny: Any) -> None:
    """TransformerLens's analysis tools refuse a model of which a module is in training mode."""
    assert not any(module.training for module in tiny.modules())


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "swap"
    how = ("directions", "swap", "--limit", "48", "--layers", "2", "--placebos", "2", "--out", out)
    code, said, _ = run(capsys, *how)
    assert code == 0 and "layer 2" in said and "placebo (mean of 2)" in said
    found = TruthSwaps.load(out, "zoo:text/test")
    assert found.layers == (2,) and len(found.placebo) == 2 and found.verdicts()[0] in said
    text = write_report([out], out=tmp_path / "page.html").read_text()
    assert "Swaps of a truth direction" in text and "whole state" in text
    refused(capsys, "0 placebos were asked for", *how[:-4], "--placebos", "0", "--out", out)
    refused(capsys, "there is no layer 99", "directions", "swap", "--limit", "48", "--layers", "99", "--out", out)
