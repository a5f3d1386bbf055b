"""Gates that look at the input, among rivals: where they act, and their static twins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.ablation.search import Validation
from lens_truth.data.loading import load_examples
from lens_truth.decoding.context_aware import ContextAware
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.intervention import PreIntervention
from lens_truth.decoding.rules import ContextChanges, EntropyAbove
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.gate import HeadGate
from lens_truth.rivals import known, known_dynamic
from lens_truth.rivals.compare import compare_rivals
from lens_truth.rivals.prompts import factors_on, rule_values
from lens_truth.rivals.rival import Rival, Searching
from lens_truth.rivals.rows import VANILLA
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.directions import truth_directions
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.zoo.benchmarks import zoo_benchmarks

HALVES = HeadGate(torch.full((6, 8), 0.5))


def of(split: Any, n: int, *names: str) -> list[Any]:
    made = {benchmark.name: benchmark for benchmark in zoo_benchmarks(split, n, 0)}
    return [made[name] for name in names]


@pytest.fixture(scope="module")
def asker(zoo: Any) -> Asker:
    return Asker(zoo("llama-memory-chat"), "chat", "memory")


@pytest.fixture(scope="module")
def probes(asker: Asker) -> HeadProbes:
    return HeadProbes.fit(capture(asker.model, load_examples("zoo:conflict", limit=40)))


@pytest.fixture(scope="module")
def searching(asker: Asker) -> Searching:
    return Searching(Validation.of(asker, of("validation", 12, "conflict", "judgement")))


def shares(searching: Searching, rival: Rival) -> list[float]:
    """Of the validation prompts, on which each candidate acts."""
    found: list[float] = []
    for gate, _, _ in rival.candidates(searching):
        assert isinstance(gate, DynamicGate)
        its = [factors_on(searching.validation.asker, b, gate) for b in searching.validation.benchmarks]
        found.append(float((torch.cat(its) > 0).float().mean()))
    return found


def test_of_equals_the_plainer_is_held_against_the_rest(asker: Asker) -> None:
    halves = HeadGate(torch.tensor([0.5, 0.4]).repeat(6, 4))  # heads told apart
    always = DynamicGate(switched=halves, rule=EntropyAbove(-1.0))
    rivals = {
        "dynamic": Rival.of("dynamic", [(always, 1.0, "always")], fixed=True),
        "halves": known.given_gate(halves),
        "cad": replace(Rival.of("decoding", known.sized([ContextAware(1.0)])), fixed=True),
    }
    test = [its for its in zoo_benchmarks("test", 6, seed=0) if its.name == "conflict"]
    its = compare_rivals(asker, rivals, test=test, validation=test, timed=0)
    assert its.chosen("dynamic").objective == its.chosen("halves").objective
    assert its.heads_or_not is not None and its.heads_or_not.heads == "halves"


def test_thresholds_are_where_rules_say_yes_on_so_many(searching: Searching, asker: Asker, probes: HeadProbes) -> None:
    gate = known.given_gate(HALVES)
    for rival in (known_dynamic.unsure(gate), known_dynamic.objecting(gate, probes)):
        assert shares(searching, rival) == pytest.approx([0.25, 0.25, 0.5, 0.5, 0.75, 0.75], abs=0.07)
        assert [c[2] for c in rival.candidates(searching)][:2] == [
            "25% of the prompts, from their first token on, threshold",
            "25% of the prompts, in the answer only, threshold",
        ]
    looks = known_dynamic.inattentive(gate, [(2, 3), (4, 5)])
    assert shares(searching, looks)[-1] == pytest.approx(0.75, abs=0.07) and looks.apart
    changes = known_dynamic.disagreeing(gate).candidates(searching)
    assert [type(c[0].rule) for c in changes if isinstance(c[0], DynamicGate)] == [ContextChanges, ContextChanges]
    shift = known.head_shift(truth_directions(probes))
    (first, *_) = known_dynamic.rejecting(shift, probes).candidates(searching)
    assert isinstance(first[0], PreIntervention) and first[0].switched is searching.best(shift)


def test_prompts_without_a_context_set_no_threshold(asker: Asker) -> None:
    (conflict,) = of("validation", 6, "conflict")
    for bare, n in ((len(conflict.examples) - 2, 2), (len(conflict.examples), 0)):
        rows = [replace(row, context="") if i < bare else row for i, row in enumerate(conflict.examples)]
        searching = Searching(Validation.of(asker, [replace(conflict, examples=tuple(rows))]))
        looks = known_dynamic.inattentive(known.given_gate(HALVES), [(2, 3)]).candidates(searching)
        assert looks and all(np.isfinite(threshold) for _, threshold, _ in looks)
        acts = factors_on(asker, searching.validation.benchmarks[0], looks[-1][0])
        assert not acts[:bare].any() and int(acts.sum()) == n // 2


def test_what_a_rule_goes_by_is_asked_of_every_benchmark(asker: Asker) -> None:
    some = of("validation", 5, "conflict", "judgement")
    values = rule_values(asker, some, EntropyAbove(), rows=3)
    alone = [float(rule_values(asker, some, EntropyAbove(), rows=1)[at]) for at in (0, 1)]
    one_by_one = rule_values(replace(asker, batch_size=1), some, EntropyAbove(), rows=3)
    torch.testing.assert_close(one_by_one, values, rtol=0, atol=1e-4)
    assert len(values) == 6
    torch.testing.assert_close(values[[0, 3]], torch.tensor(alone))


def test_a_dynamic_gate_stands_beside_its_static_twin(asker: Asker) -> None:
    always = DynamicGate(switched=HALVES, rule=EntropyAbove(-1.0))
    never = DynamicGate(switched=HALVES, rule=EntropyAbove(99.0))
    rivals = {
        name: Rival.of("dynamic", [(gate, 1.0, "")], fixed=True) for name, gate in {"yes": always, "no": never}.items()
    }
    rivals["halves"] = known.given_gate(HALVES)
    test = of("test", 8, "conflict", "open")
    found = compare_rivals(asker, rivals, test=test, validation=of("validation", 4, "conflict"), timed=0)
    assert found.triggered["yes"].of_rows == {"conflict": 1, "open": 1} and found.triggered["yes"].mean == 1
    assert found.triggered["no"].of_rows == {"conflict": 0, "open": 0} and found.triggered["no"].mean == 0
    for name in ("yes", "no"):  # the gate itself, and none
        its = found.triggered[name].against_twin
        assert (its.difference, its.p_value) == (0, 1)
    for its, twin in ((found.triggered["yes"].against_static, 0.0), (found.triggered["no"].against_static, None)):
        away = found.row(VANILLA).accuracy - found.row("halves").accuracy
        assert its is not None
        assert its.difference == pytest.approx(away if twin is None else twin)
    assert found.row("yes").accuracy == found.row("halves").accuracy
    assert found.row("no").accuracy == found.row(VANILLA).accuracy
    assert set(found.tested) == {"yes", "no", "halves"}  # twins stand in no table
    (dynamic,) = [table for table in found.tables() if table.caption == "Gates that look at the input"]
    assert [cell.text for cell in dynamic.rows[0].cells][:2] == ["100%", "100%"]
    assert dynamic.rows[0].cells[2].text.startswith("+0.000 [") and dynamic.rows[0].cells[3].text == "1.00"
    assert "it acts on 100%: +0.000 [+0.000, +0.000] over the same gate acting always, +0.000" in found.verdicts()[0]


def test_the_static_twin_has_the_mean_strength(asker: Asker) -> None:
    middle = float(np.median(rule_values(asker, of("validation", 8, "conflict"), EntropyAbove(), 8)))
    some = {
        "some": Rival.of("dynamic", [(DynamicGate(switched=HALVES, rule=EntropyAbove(middle)), 1.0, "")], fixed=True)
    }
    test = of("test", 8, "conflict")
    found = compare_rivals(asker, some, test=test, validation=of("validation", 8, "conflict"), timed=0)
    assert found.triggered["some"].mean == pytest.approx(0.5, abs=0.13)
    twin = HeadGate(1 + found.triggered["some"].mean * (HALVES.values - 1))
    results = asker.run(test[0], {"twin": twin})["twin"]
    difference = found.row("some").accuracy - results.accuracy
    assert found.triggered["some"].against_twin.difference == pytest.approx(difference)
