"""Shifts in an ablation: what is tried, what controls share with the shift, and that gates are what they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.ablation.ablate import run_ablation
from lens_truth.ablation.arms import Controls
from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import Candidate
from lens_truth.ablation.search import Search, Validation
from lens_truth.ablation.steering import ALPHAS, Steering, random_directions, random_heads, search_shift
from lens_truth.ablation.tables import search_tables
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.shift import HeadShift
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.directions import TruthDirections, truth_directions
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.scores import HeadScores
from lens_truth.zoo.benchmarks import zoo_benchmarks

CAUSAL = HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "causal")


@pytest.fixture(scope="module")
def directions(zoo: Any) -> TruthDirections:
    return truth_directions(HeadProbes.fit(capture(zoo("llama-memory"), load_examples("zoo:conflict", limit=80))))


def of(split: Any, n: int, *names: str) -> list[Any]:
    return [benchmark for benchmark in zoo_benchmarks(split, n, 0) if benchmark.name in names]


@pytest.fixture(scope="module")
def ablation(zoo: Any, directions: TruthDirections) -> Ablation:
    """Away from truth, which the search takes for an improvement where labels are exchanged."""
    asker = Asker(zoo("llama-memory"), "plain", "memory")
    named = {"causal": CAUSAL, "iti": directions}
    validation, test = of("validation", 12, "conflict"), of("test", 12, "conflict", "closed-book")
    patched = pytest.MonkeyPatch()
    patched.setattr("lens_truth.ablation.search.mean_accuracy", lambda _: -1.0)  # whatever was best is wanted
    try:
        return run_ablation(asker, named, test=test, validation=validation, controls=Controls(("permuted",), 2))
    finally:
        patched.undo()


def test_a_shift_has_as_many_candidates_as_a_gate(zoo: Any, directions: TruthDirections) -> None:
    validation = Validation.of(Asker(zoo("llama-memory"), "plain"), of("validation", 6, "conflict"))
    found = search_shift(validation, Steering.of(directions))
    assert [(c.lam, c.norm) for c in found.candidates] == [
        (alpha, f"on {n} heads") for n in (2, 9) for alpha in ALPHAS
    ]  # 48 heads: ITI's share is 2.25 of them, four times as many 9
    best = found.best
    assert best.strength == pytest.approx(best.lam * np.sqrt((2 if "2" in best.norm else 9) / 48))
    for candidate in found.candidates[:2]:
        shift = HeadShift.from_probes(directions, candidate.lam, 2)
        with shift.attach(validation.asker.model):
            (result,) = [validation.asker.one(benchmark) for benchmark in validation.benchmarks]
        assert candidate.accuracy == {"conflict": result.accuracy}


def test_every_shift_stands_beside_its_controls(ablation: Ablation) -> None:
    arms = list(dict.fromkeys(row.arm for row in ablation.rows))
    controls = ["random heads", "random directions", "tuned directions", "causal heads"]
    assert arms[:3] == [("vanilla", ""), ("causal", ""), ("permuted", "causal")]
    assert arms[3:] == [("iti", ""), *((control, "iti") for control in controls)]
    rows = {(row.gate, row.benchmark): row for row in ablation.rows}
    iti = rows["iti", "conflict"]
    assert list(iti.against) == ["vanilla", *controls]
    assert (
        iti.norm is not None
        and iti.norm.startswith("on ")
        and iti.strength
        == pytest.approx(
            iti.lam * np.sqrt(int(iti.norm.split()[1]) / 48)  # pyright: ignore[reportOptionalOperand]
        )
    )
    for control in controls[:2]:
        assert rows[control, "conflict"].strength == pytest.approx(iti.strength)
        assert (rows[control, "conflict"].lam, rows[control, "conflict"].norm) == (iti.lam, iti.norm)
    searched = ablation.search["memory"]
    assert list(searched) == ["causal", "iti", "tuned directions (iti)", "causal heads (iti)"]
    assert all(len(its) == 12 for its in searched.values())
    (said,) = [sentence for sentence in ablation.verdicts() if ", iti gate on " in sentence]
    assert "against vanilla" in said or "no verdict" in said
    assert "λ is α" in next(iter(ablation.gate_tables().values())).note
    ablation.plot("search")
    ablation.plot()


def test_controls_share_what_they_say(directions: TruthDirections) -> None:
    shift = HeadShift.from_probes(directions, 5, 9)
    moved = random_heads(directions, shift, seed=0)
    heads = [tuple(head) for head in moved.provenance["heads"]]
    assert len(set(heads)) == 9 and moved.provenance["alpha"] == 5 and moved.strength == shift.strength
    for layer, head in heads:
        own = 5 * directions.sigma[layer, head] * directions.directions[layer, head]
        torch.testing.assert_close(moved.vectors[layer, head], own)
    turned = random_directions(directions, seed=0)
    among = [(layer, head) for layer, head in shift.provenance["heads"]]
    other = HeadShift.from_probes(turned, 5, among)
    torch.testing.assert_close(other.vectors.norm(dim=-1), shift.vectors.norm(dim=-1))
    assert float(torch.cosine_similarity(other.vectors, shift.vectors, dim=-1).abs().max()) < 0.9
    again, third = random_directions(directions, seed=0), random_directions(directions, seed=1)
    assert torch.equal(again.directions, turned.directions) and not torch.equal(third.directions, turned.directions)
    assert random_heads(directions, shift, seed=1).provenance["heads"] != moved.provenance["heads"]


def test_random_directions_stay_inside_narrower_heads(directions: TruthDirections) -> None:
    narrow = directions.directions.clone()
    narrow[2, :, 4:] = 0
    turned = random_directions(replace(directions, directions=narrow), seed=0)
    assert not turned.directions[2, :, 4:].any()
    torch.testing.assert_close(turned.directions.norm(dim=-1), torch.ones(6, 8))


def test_causal_heads_are_those_of_the_causal_scores(directions: TruthDirections) -> None:
    steering = Steering.of(directions).by(CAUSAL)
    order = np.argsort(-CAUSAL.values, axis=None)[:3]
    assert steering.shifted(1, 3).provenance["heads"] == [[int(at) // 8, int(at) % 8] for at in order]


def test_gates_do_not_change_beside_shifts(zoo: Any, ablation: Ablation) -> None:
    """The same numbers as without any."""
    asker = Asker(zoo("llama-memory"), "plain", "memory")
    validation, test = of("validation", 12, "conflict"), of("test", 12, "conflict", "closed-book")
    alone = run_ablation(
        asker, {"causal": CAUSAL}, test=test, validation=validation, controls=Controls(("permuted",), 2)
    )
    assert alone.search["memory"]["causal"] == ablation.search["memory"]["causal"]
    vanilla = [row for row in ablation.rows if row.gate == "vanilla"]
    assert [row for row in alone.rows if row.gate == "vanilla"] == vanilla
    assert "α" not in next(iter(alone.gate_tables().values())).note


def test_directions_of_another_model_are_refused(zoo: Any, directions: TruthDirections) -> None:
    asker = Asker(zoo("llama-memory"), "plain")
    wrong = replace(directions, directions=directions.directions[:, :, :4])
    with pytest.raises(InputError, match="directions are of 6 x 8 x 4 .layers, heads, width., and "):
        run_ablation(asker, {"iti": wrong}, test=[], validation=[], search=Search())


def test_tables_of_a_search_for_a_shift_go_by_alpha() -> None:
    candidates = [Candidate(alpha, f"on {n} heads", alpha * n, {"a": 0.5}) for n in (2, 9) for alpha in (1.0, 5.0)]
    (table,) = search_tables({"iti": candidates}, 0.4)
    assert table.header == ("α, in standard deviations", "on 2 heads", "on 9 heads")
    assert table.caption == "iti: α = 1, on 2 heads"
    assert [line[0] for line in table.texts()] == ["no gate", "1", "5"]


def test_load_gives_back_what_was_saved(ablation: Ablation, tmp_path: Path) -> None:
    ablation.save(tmp_path)
    assert Ablation.load(tmp_path) == ablation
