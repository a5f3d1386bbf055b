"""`run_ablation`: does gating by scores help, and is it the scores that help? Gates against vanilla and controls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lens_truth.ablation.result import Ablation
from lens_truth.ablation.side_effects import NeutralText, side_effects
from lens_truth.ablation.tables import CAPTIONS, TUNED, Candidate, GateRow, SideEffect, SideEffectRow, best_of
from lens_truth.gates.controls import DRAWN, check_control, control_gate
from lens_truth.gates.gate import HeadGate, Norm, Site
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import compare, group_interval

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult

STRENGTHS = (0.1, 0.2, 0.35, 0.5, 0.75)
"""How far gates may be from 1 (root mean square over heads). Scores of different kinds have different units, so
lambda is set to reach these; TruthProbe's control 1 + U(-1, 1) has 0.58."""


@dataclass(frozen=True)
class Search:
    """What is tried on validation.

    >>> lens_truth.Search(fixed=("minmax", 0.65))  # nothing: lambda was chosen elsewhere
    """

    fixed: tuple[Norm, float] | None = None
    """Normalisation and lambda chosen elsewhere, instead of ten candidates: `center` and `minmax`, each with the
    lambdas that bring the gate .1, .2, .35, .5 and .75 away from 1 (root mean square over heads)."""
    site: Site = "z"
    """Where all gates act; see `HeadGate`."""


Found = tuple[HeadGate, tuple[Candidate, ...]]
"""The gate that was chosen (as `best_of` chooses), and all candidates."""


@dataclass(frozen=True)
class Controls:
    """What gates by scores have to beat.

    >>> lens_truth.Controls(("permuted", "uniform", "inverse", "norm-matched"), random_trials=3)

    Raises:
        InputError: for a kind that `control_gate` does not know.
    """

    kinds: tuple[str, ...] = ("permuted", "uniform")
    """Made from each gate by scores; with `uniform`, a gain for all heads is also tuned on validation by itself."""
    trials: int = 5
    """Draws of each kind that draws."""
    random_trials: int = 0
    """Draws of TruthProbe's control 1 + U(-1, 1), which stands beside all gates; 0 for none."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_control(kind)


@dataclass(frozen=True)
class _Arm:
    """A gate, or several draws of one control."""

    gate: str
    of: str
    gates: tuple[HeadGate | None, ...]
    candidate: Candidate | None = None

    def trial_names(self) -> list[str]:
        name = f"{self.gate} of {self.of}" if self.of else self.gate
        return [name] if len(self.gates) == 1 else [f"{name} {trial}" for trial in range(1, len(self.gates) + 1)]


def run_ablation(
    asker: Asker,
    scores: Mapping[str, HeadScores],
    *,
    test: Sequence[Benchmark],
    validation: Sequence[Benchmark],
    controls: Controls | None = None,
    search: Search | None = None,
    neutral: Sequence[NeutralText] = (),
    seed: int = 0,
) -> Ablation:
    """Gates a model by each kind of scores and by control gates, and compares them on the test benchmarks.

    Lambda and normalisation are chosen on `validation` only. Controls are made from the chosen gate.

    >>> test, validation = (lens_truth.zoo_benchmarks(split, 20, seed=0) for split in ("test", "validation"))
    >>> ablation = lens_truth.run_ablation(asker, {"causal": scores}, test=test, validation=validation)

    Args:
        asker: the model, and how it is asked; rows bear its name.
        scores: by kind (`truth`, `own truth` for the model's own beside those of another); shape (layers, heads).
        test: benchmarks that judge all gates; asked once a gate, and never for a choice.
        validation: benchmarks on which lambda and normalisation are chosen.
        controls: by default `permuted` and `uniform`, five draws of what draws.
        search: by default ten candidates a kind of scores; learned scores are taken as they are.
        neutral: texts on which side effects are measured.

    Raises:
        InputError: if scores do not have the model's shape.
    """
    arms, searched = _arms(asker, scores, validation, controls or Controls(), search or Search(), seed)
    gates = {name: gate for arm in arms for name, gate in zip(arm.trial_names(), arm.gates, strict=True)}
    asked = [asker.run(benchmark, gates) for benchmark in test]
    results = [[[by_gate[name] for name in arm.trial_names()] for arm in arms] for by_gate in asked]
    effects = {text.name: side_effects(asker.model, gates, text, batch_size=asker.batch_size) for text in neutral}
    return Ablation(
        rows=tuple(_row(asker.name, i, arms, by_arm, seed) for i in range(len(arms)) for by_arm in results),
        search={asker.name: searched},
        validation={asker.name: vanilla_accuracy(asker, validation)},
        side_effects=tuple(_effect(asker.name, arm, effects) for arm in arms if effects),
    )


def _arms(
    asker: Asker,
    scores: Mapping[str, HeadScores],
    validation: Sequence[Benchmark],
    controls: Controls,
    search: Search,
    seed: int,
) -> tuple[list[_Arm], dict[str, tuple[Candidate, ...]]]:
    """All that is compared, vanilla first, and the candidates of each search."""
    arms = [_Arm("vanilla", "", (None,))]
    searched: dict[str, tuple[Candidate, ...]] = {}

    def drawn(control: str, gate: HeadGate, trials: int) -> tuple[HeadGate, ...]:
        return tuple(control_gate(control, gate, 1000 * seed + trial) for trial in range(trials))

    for kind, its_scores in scores.items():
        name = re.sub(r"(?<!\S)truth$", "probe", kind)
        gate, searched[name] = search_lambda(asker, its_scores, validation, search)
        best = best_of(searched[name])
        arms.append(_Arm(name, "", (gate,), best))
        for control in controls.kinds:
            arms.append(_Arm(control, name, drawn(control, gate, controls.trials if control in DRAWN else 1), best))
    if "uniform" in controls.kinds:
        gain, gains = search_uniform(asker, validation, search.site)
        searched[f"uniform ({TUNED})"] = gains
        arms.append(_Arm("uniform", TUNED, (gain,), best_of(gains)))
    if controls.random_trials:
        shape = (asker.model.cfg.n_layers, asker.model.cfg.n_heads)
        any_gate = HeadGate(torch.ones(shape), search.site)  # its values do not matter
        arms.append(_Arm("random", "", drawn("random", any_gate, controls.random_trials)))
    return arms, searched


def search_lambda(
    asker: Asker, scores: HeadScores, validation: Sequence[Benchmark], search: Search | None = None
) -> Found:
    """A fixed normalisation and lambda are the only candidate; so are those of learned scores, a gate already."""
    search = search or Search()
    if search.fixed is not None:
        settings: list[tuple[Norm, float]] = [search.fixed]
    elif scores.kind == "learned":
        settings = [("none", 1.0)]
    else:
        norms: tuple[Norm, ...] = ("center", "minmax")
        spreads: dict[Norm, float] = {norm: strength_of(HeadGate.from_scores(scores, 1.0, norm)) for norm in norms}
        settings = [(norm, far / spread) for norm, spread in spreads.items() if spread for far in STRENGTHS]
        settings = settings or [("center", 1.0)]  # constant scores make a gate of ones whatever lambda is
    gates = [(HeadGate.from_scores(scores, lam, norm, site=search.site), lam, norm) for norm, lam in settings]
    return _tried(asker, gates, validation)


def search_uniform(asker: Asker, validation: Sequence[Benchmark], site: Site = "z") -> Found:
    """A single gain for all heads: what amplifying attention as a whole achieves, without any scores."""
    shape = (asker.model.cfg.n_layers, asker.model.cfg.n_heads)
    gates = [(HeadGate(torch.full(shape, 1 + strength), site), strength, "uniform") for strength in STRENGTHS]
    return _tried(asker, gates, validation)


def vanilla_accuracy(asker: Asker, validation: Sequence[Benchmark]) -> dict[str, float]:
    """Accuracy without a gate on each validation benchmark: lambda 0, where every curve begins."""
    return {benchmark.name: asker.one(benchmark).accuracy for benchmark in validation}


def _tried(asker: Asker, gates: Sequence[tuple[HeadGate, float, str]], validation: Sequence[Benchmark]) -> Found:
    named = {f"search {norm} {lam:.3g}": gate for gate, lam, norm in gates}
    results = {benchmark.name: asker.run(benchmark, named) for benchmark in validation}
    candidates = [
        Candidate(lam, norm, strength_of(gate), {b: by_gate[name].accuracy for b, by_gate in results.items()})
        for name, (gate, lam, norm) in zip(named, gates, strict=True)
    ]
    best = candidates.index(best_of(candidates))
    return gates[best][0], tuple(candidates)


def strength_of(gate: HeadGate) -> float:
    """Root mean square of gate - 1 over heads."""
    return float((gate.values - 1).square().mean().sqrt())


def _effect(model: str, arm: _Arm, effects: Mapping[str, Mapping[str, SideEffect]]) -> SideEffectRow:
    """Means over the arm's trials; `effects` are by text and by name of a trial."""
    found = {text: [astuple(by_gate[name]) for name in arm.trial_names()] for text, by_gate in effects.items()}
    means = {text: SideEffect(*np.mean(trials, axis=0).tolist()) for text, trials in found.items()}
    return SideEffectRow(model, arm.gate, arm.of, len(arm.gates), means)


def _row(
    model: str, number: int, arms: Sequence[_Arm], results: Sequence[Sequence[BenchmarkResult]], seed: int
) -> GateRow:
    """Of one arm; `results` are those of one benchmark, by arm, by trial."""
    arm, mine = arms[number], results[number]
    groups = mine[0].groups
    all_marks = [np.stack([result.correct for result in trials]) for trials in results]
    marks = all_marks[number]
    others = {"vanilla": all_marks[0]} if number else {}
    if arm.candidate is not None and not arm.of:
        for other, theirs in zip(arms, all_marks, strict=True):
            if other.of in (arm.gate, TUNED) or other.gate == "random":
                others[f"{other.gate} ({TUNED})" if other.of == TUNED else other.gate] = theirs
    accuracies = marks.mean(1)
    low, high = group_interval(marks.mean(0), groups, seed)
    gates = [gate for gate in arm.gates if gate is not None]
    chairs = [result.chair for result in mine if result.chair is not None]
    captions = {name: [getattr(chair, name) for chair in chairs] for name in CAPTIONS}
    return GateRow(
        model=model,
        gate=arm.gate,
        of=arm.of,
        benchmark=mine[0].name,
        trials=len(mine),
        n=marks.shape[1],
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std(ddof=1)) if len(accuracies) > 1 else 0.0,
        ci_low=low,
        ci_high=high,
        f1=float(np.mean([result.f1 for result in mine])),
        unparsed=float(np.mean([result.unparsed for result in mine])),
        answer_words=float(np.mean([result.answer_words for result in mine])),
        captions={name: float(np.mean(its)) for name, its in captions.items() if its and None not in its},
        lam=arm.candidate.lam if arm.candidate else None,
        norm=arm.candidate.norm if arm.candidate else None,
        strength=float(np.mean([strength_of(gate) for gate in gates])) if gates else None,
        negative_gates=max((gate.n_negative for gate in gates), default=0),
        against={name: compare(marks, theirs, groups, seed) for name, theirs in others.items()},
    )
