"""The sizes in which gates that look at the input are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Literal

from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.head_rules import ContextAttentionBelow, DraftProbeBelow, ProbeBelow
from lens_truth.decoding.intervention import PreIntervention
from lens_truth.decoding.rules import ContextChanges, EntropyAbove, Rule
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.io.numbers import share
from lens_truth.rivals.prompts import rule_values
from lens_truth.rivals.rival import Rival, Searching, Tried
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.scores import HeadScores

SHARES = (0.25, 0.5, 0.75)
"""Of the validation prompts, on which a rule says yes."""
ROWS = 32
"""Prompts of each validation benchmark at which thresholds are taken."""
HEADS = 10
"""Whose attention to the context is looked at."""
NO_CONTEXT = "a text that asks nothing has no context beside it"
_WHERE: dict[Literal["all", "answer"], str] = {"all": "from their first token on", "answer": "in the answer only"}


def unsure(gate: Rival) -> Rival:
    """A gate that acts where the model is unsure of the first token."""
    return _switched(gate, EntropyAbove)


def objecting(gate: Rival, probes: HeadProbes) -> Rival:
    """A gate that acts where probes read the prompt's end as hallucinated."""
    return _switched(gate, lambda threshold: ProbeBelow(threshold, probes=probes))


def inattentive(gate: Rival, heads: HeadScores | list[tuple[int, int]]) -> Rival:
    """A gate that acts where heads that copy from the context hardly look at it."""
    if isinstance(heads, HeadScores):
        heads = list(ContextAttentionBelow.from_scores(heads, min(HEADS, heads.values.size)).heads)
    made = _switched(gate, lambda threshold: ContextAttentionBelow(threshold, heads=heads))
    return replace(made, apart=NO_CONTEXT)


def disagreeing(gate: Rival) -> Rival:
    """A gate that acts where the first token would be another one without the context."""

    def candidates(searching: Searching) -> list[Tried]:
        its = _gate(searching, gate)
        made: list[Tried] = []
        for positions, where in _WHERE.items():
            made += [(DynamicGate(switched=its, rule=ContextChanges(), positions=positions), 1.0, where)]
        return made

    return Rival("dynamic", candidates, apart=NO_CONTEXT)


def rejecting(shift: Rival, probes: HeadProbes) -> Rival:
    """Answers are written anew under a shift where probes object to the draft."""

    def candidates(searching: Searching) -> list[Tried]:
        its = searching.best(shift)
        assert isinstance(its, HeadShift)
        thresholds = _thresholds(searching, lambda threshold: DraftProbeBelow(threshold, probes=probes))
        return [
            (PreIntervention.of(probes, its, threshold), threshold, f"{share(part)} of the drafts, threshold")
            for threshold, part in thresholds.items()
        ]

    return Rival("dynamic", candidates)


def _gate(searching: Searching, gate: Rival) -> HeadGate | HeadShift:
    its = searching.best(gate)
    assert isinstance(its, HeadGate | HeadShift)
    return its


def _switched(gate: Rival, rule: Callable[[float], Rule]) -> Rival:
    def candidates(searching: Searching) -> list[Tried]:
        its = _gate(searching, gate)
        thresholds = _thresholds(searching, rule)
        return [
            (
                DynamicGate(switched=its, rule=rule(threshold), positions=positions),
                threshold,
                f"{share(part)} of the prompts, {where}, threshold",
            )
            for (threshold, part), (positions, where) in product(thresholds.items(), _WHERE.items())
        ]

    return Rival("dynamic", candidates)


def _thresholds(searching: Searching, rule: Callable[[float], Rule]) -> dict[float, float]:
    """By threshold, of the validation prompts the share on which the rule says yes, about as `SHARES` has it; of those
    that have what the rule looks at, such as a context. Where none has, a threshold at which it says no to all."""
    asked = rule(0.0)
    values = rule_values(searching.validation.asker, searching.validation.benchmarks, asked, ROWS)
    values = values[values.isfinite()]
    if not len(values):
        return {0.0: 0.0}
    found: dict[float, float] = {}
    for part in SHARES:
        at = values.quantile(part if asked.side == "below" else 1 - part).item()
        found.setdefault(float(f"{at:.3g}"), part)
    return found
