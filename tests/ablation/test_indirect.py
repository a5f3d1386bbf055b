"""Steering along another model's directions of truth, as a share of the way between the model's own judgements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import refused, run
from sklearn.metrics import roc_auc_score  # pyright: ignore[reportUnknownVariableType]

from lens_truth.ablation.indirect import indirect_effects, steered_halves
from lens_truth.ablation.indirect_result import Indirect
from lens_truth.data.examples import Example, split_groups
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.generate import yes_no_tokens
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.prompts import JUDGE
from lens_truth.page.write import write_report
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.capturing import capture

pytestmark = pytest.mark.zoo
NAMES = "llama-base", "llama-memory"


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return load_examples("zoo:conflict", limit=80)


@pytest.fixture(scope="module")
def seen(zoo: Any, examples: list[Example]) -> tuple[HeadActivations, HeadActivations]:
    base, tuned = (capture(zoo(name), examples) for name in NAMES)
    return base, tuned


@pytest.fixture(scope="module")
def found(zoo: Any, examples: list[Example], seen: Any) -> Indirect:
    return indirect_effects((zoo(NAMES[0]), zoo(NAMES[1])), seen, examples, n_random=3, template="plain")


def _said(model: Any, example: Example, vectors: torch.Tensor | None) -> float:
    """Log-odds of no against yes, of one prompt, with vectors added to `hook_z` by hand."""
    tokenizer = tokenizer_of(model)
    ids = torch.tensor([tokenizer(JUDGE.plain.format(content=JUDGE.content(example)))["input_ids"]])

    def add(z: torch.Tensor, hook: Any) -> torch.Tensor:
        assert vectors is not None
        return z + vectors[hook.layer()]

    hooks = [] if vectors is None else [(f"blocks.{layer}.attn.hook_z", add) for layer in range(len(vectors))]
    with torch.no_grad():
        log_probs = model.run_with_hooks(ids, fwd_hooks=hooks)[0, -1].log_softmax(-1)
    yes, no = (log_probs[list(its)].logsumexp(0) for its in yes_no_tokens(tokenizer))
    return float(no - yes)


def test_an_effect_is_what_hooks_by_hand_do(zoo: Any, examples: list[Example], seen: Any, found: Indirect) -> None:
    way = found.ways["base to tuned"]
    fitted, judged = split_groups(examples, (0.5, 0.5), 0)
    half = [row.id in {its.id for its in fitted} for row in examples]
    labels = np.array([row.label for row in examples])
    base, tuned = (
        its.z[torch.tensor(half & (labels == 1))].mean(0) - its.z[torch.tensor(half & (labels == 0))].mean(0)
        for its in seen
    )
    vectors = torch.zeros_like(base)
    for layer, head in way.heads:
        vectors[layer, head] = base[layer, head] / base[layer, head].norm() * tuned[layer, head].norm()
    model = zoo(NAMES[1])
    before = {row.id: _said(model, row, None) for row in judged}
    up, down = ([row for row in judged if row.label == its] for its in (1, 0))
    gap = np.mean([before[row.id] for row in up]) - np.mean([before[row.id] for row in down])
    assert way.gap == pytest.approx(gap, abs=1e-4)
    auroc = roc_auc_score([row.label for row in judged], [before[row.id] for row in judged])
    assert way.auroc == pytest.approx(auroc)
    towards = np.mean([_said(model, row, vectors) - before[row.id] for row in down]) / gap
    away = np.mean([before[row.id] - _said(model, row, -vectors) for row in up]) / gap
    assert way.pushes["towards truth"].given == pytest.approx(towards, abs=1e-4)
    assert way.pushes["away from truth"].given == pytest.approx(away, abs=1e-4)


def test_directions_of_truth_act_and_are_kept_where_random_ones_do_not(found: Indirect) -> None:
    for way in found.ways.values():
        for push in way.pushes.values():
            assert push.given_ci[0] <= push.given <= push.given_ci[1]
            assert push.given > 0.15 > max(push.random)
            assert push.kept == pytest.approx(push.given / push.turned)
            assert push.p == 0.25  # the least there is with three draws
    assert (found.n_fitted + found.n_judged, found.n_random) == (80, 3)


def test_a_model_keeps_all_of_its_own(zoo: Any, examples: list[Example], seen: Any) -> None:
    model = zoo(NAMES[0])
    same = indirect_effects((model, model), (seen[0], seen[0]), examples, n_random=1)
    first, second = same.ways.values()
    assert first.heads == second.heads == first.own_heads
    for push in first.pushes.values():
        assert push.given == push.turned == push.own
        assert push.kept == 1


def test_nothing_is_measured_where_the_model_does_not_tell(zoo: Any, examples: list[Example]) -> None:
    order = list(dict.fromkeys(row.group for row in examples))
    mixed = [replace(row, label=row.label if order.index(row.group) % 2 else 1 - row.label) for row in examples]
    model = zoo(NAMES[0])
    read = capture(model, mixed)
    nothing = indirect_effects((model, model), (read, read), mixed, n_random=1)
    assert all(not way.pushes for way in nothing.ways.values())
    assert all("nothing is measured" in sentence for sentence in nothing.verdicts())
    assert nothing.tables() == ()  # no header without a row


def test_layers_are_steered_as_heads_are(zoo: Any, examples: list[Example]) -> None:
    models = zoo(NAMES[0]), zoo(NAMES[1])
    base, tuned = (capture(model, examples, at="resid_post") for model in models)
    layers = indirect_effects(models, (base, tuned), examples, n_random=1)
    assert all(len(way.heads) == 1 and way.heads[0][1] == 0 for way in layers.ways.values())
    assert "1 layer" in layers.verdicts()[0]
    assert any("layer " in cell.text for row in layers.tables()[0].rows for cell in row.cells)


def test_it_is_read_back(found: Indirect, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert Indirect.load(tmp_path) == found


def test_what_does_not_fit_is_refused(zoo: Any, examples: list[Example], seen: Any) -> None:
    models = zoo(NAMES[0]), zoo(NAMES[1])
    with pytest.raises(InputError, match="not of the examples"):
        indirect_effects(models, seen, examples[:40])
    layers = capture(models[1], examples, at="resid_post")
    with pytest.raises(InputError, match="one point of heads of one shape"):
        indirect_effects(models, (seen[0], layers), examples)
    few = list(dict.fromkeys(row.group for row in examples))[:8]
    with pytest.raises(
        InputError, match="gives directions, and that is 4; their probes need 5, so give at least 10 groups"
    ):
        steered_halves([row for row in examples if row.group in few], 0)
    with pytest.raises(InputError, match="0 random directions were asked for; at least 1"):
        indirect_effects(models, seen, examples, n_random=0)
    fitted = {row.group for row in steered_halves(examples, 0)[0]}
    with pytest.raises(InputError, match=r"half of the groups holds rows of one label only \(40\)"):
        steered_halves([replace(row, label=1) if row.group in fitted else row for row in examples], 0)


@pytest.mark.usefixtures("no_pdfs")
def test_too_few_groups_are_refused_before_a_figure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--steer", "--folds", "2", "--limit", "24", "--out", tmp_path / "few")
    refused(capsys, "so give at least 10 groups", "directions", "tuned", *flags)
    assert not list(tmp_path.glob("few/*.*"))


@pytest.mark.usefixtures("no_pdfs")
def test_headings_of_a_page_name_the_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("--folds", "2", "--random", "5", "--limit", "24", "--out", tmp_path / "tuned")
    assert run(capsys, "directions", "tuned", *flags)[0] == 0
    write_report([tmp_path / "tuned"], out=tmp_path / "page.html")
    assert "run tuned; zoo:text<" in (tmp_path / "page.html").read_text()
