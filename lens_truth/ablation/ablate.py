"""`run_ablation`: does gating by scores help, and is it the scores that help? Gates against vanilla and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import TUNED, Candidate, GateRow, SideEffect, SideEffectRow, best_of
from lens_truth.ablation.search import Search, search_lambda, search_uniform, strength_of, vanilla_accuracy
from lens_truth.ablation.side_effects import NeutralText, side_effects
from lens_truth.ablation.tables import CAPTIONS
from lens_truth.gates.controls import DRAWN, check_control, control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import Comparison, compare, group_interval

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult

GATE_NAMES = {"truth": "probe"}
"""What a gate by scores of a kind is called in a table; other kinds keep their name."""


@dataclass(frozen=True)
class Controls:
    """What gates by scores have to beat.

    >>> lens_truth.Controls(("permuted", "uniform", "inverse", "norm-matched"), random_trials=3)

    Raises:
        InputError: for a kind that `control_gate` does not know.
    """

    kinds: tuple[str, ...] = ("permuted", "uniform")
    """Made from each gate by scores (`control_gate`); with `uniform`, a gain for all heads alike is also tuned on
    validation by itself, since it needs no scores."""
    trials: int = 5
    """Draws of each kind that draws."""
    random_trials: int = 0
    """Draws of TruthProbe's control 1 + U(-1, 1), which stands beside all gates; 0 for none."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_control(kind)


@dataclass(frozen=True)
class _Arm:
    """A gate (or several draws of one control) to be evaluated."""

    gate: str
    of: str
    gates: tuple[HeadGate | None, ...]
    candidate: Candidate | None = None

    def trial_names(self) -> list[str]:
        """A name for each draw."""
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

    >>> model = lens_truth.load("zoo:llama-memory")
    >>> scores = lens_truth.causal_scores(model, lens_truth.load_examples("zoo:conflict", limit=40))
    >>> ablation = lens_truth.run_ablation(
    ...     lens_truth.Asker(model, "plain"),
    ...     {"causal": scores},
    ...     test=lens_truth.zoo_benchmarks("test", 20, seed=0)[:1],
    ...     validation=lens_truth.zoo_benchmarks("validation", 10, seed=0)[:1],
    ... )
    >>> print(*ablation.verdicts(), sep="\\n")

    Args:
        asker: the model, and how it is asked; rows bear its name.
        scores: by kind (`truth`, `causal`, `learned`), or `own` and kind for scores of this model beside those of
            another; all of its shape (layers, heads).
        test: benchmarks that judge all gates; asked once a gate, and never for a choice.
        validation: benchmarks on which lambda and normalisation are chosen.
        controls: by default `permuted` and `uniform`, five draws of what draws.
        search: by default ten candidates a kind of scores; learned scores are taken as they are.
        neutral: texts on which side effects are measured.

    Returns:
        A row for each gate and test benchmark, the searches behind them, and side effects.

    Raises:
        InputError: if scores do not have the model's shape.
    """
    search = search or Search()
    arms, searched = _arms(asker, scores, validation, controls or Controls(), search, seed)
    gates = {name: gate for arm in arms for name, gate in zip(arm.trial_names(), arm.gates, strict=True)}
    rows: list[list[GateRow]] = [[] for _ in arms]
    for benchmark in test:
        by_gate = asker.run(benchmark, gates)
        results = [[by_gate[name] for name in arm.trial_names()] for arm in arms]
        for i in range(len(arms)):
            rows[i].append(_row(asker.name, benchmark.name, i, arms, results, seed))
    effects = {text.name: side_effects(asker.model, gates, text, batch_size=asker.batch_size) for text in neutral}
    return Ablation(
        rows=tuple(row for of_arm in rows for row in of_arm),
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
        name = _gate_name(kind)
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


def _gate_name(kind: str) -> str:
    origin, _, kind = kind.rpartition(" ")
    return f"{origin} {GATE_NAMES.get(kind, kind)}".strip()


def _effect(model: str, arm: _Arm, effects: Mapping[str, Mapping[str, SideEffect]]) -> SideEffectRow:
    """Means over the arm's trials; `effects` are by text and by name of a trial."""
    texts: dict[str, SideEffect] = {}
    for text, by_gate in effects.items():
        found = [by_gate[name] for name in arm.trial_names()]
        means = np.mean([(its.kl, its.cross_entropy) for its in found], axis=0)
        texts[text] = SideEffect(*means.tolist())
    return SideEffectRow(model, arm.gate, arm.of, len(arm.gates), texts)


def _row(
    model: str,
    benchmark: str,
    number: int,
    arms: Sequence[_Arm],
    results: Sequence[Sequence[BenchmarkResult]],
    seed: int,
) -> GateRow:
    """`results` are those of one benchmark: by arm, by trial."""
    arm, mine = arms[number], results[number]
    groups, marks = mine[0].groups, _marks(mine)
    against: dict[str, Comparison] = {}
    if number:
        against["vanilla"] = compare(marks, _marks(results[0]), groups, seed)
    if arm.candidate is not None and not arm.of:
        for other, theirs in zip(arms, results, strict=True):
            if other.of in (arm.gate, TUNED) or other.gate == "random":
                label = f"{other.gate} ({TUNED})" if other.of == TUNED else other.gate
                against[label] = compare(marks, _marks(theirs), groups, seed)
    accuracies = marks.mean(1)
    low, high = group_interval(marks.mean(0), groups, seed)
    gates = [gate for gate in arm.gates if gate is not None]
    return GateRow(
        model=model,
        gate=arm.gate,
        of=arm.of,
        benchmark=benchmark,
        trials=len(mine),
        n=marks.shape[1],
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std(ddof=1)) if len(accuracies) > 1 else 0.0,
        ci_low=low,
        ci_high=high,
        f1=float(np.mean([result.f1 for result in mine])),
        unparsed=float(np.mean([result.unparsed for result in mine])),
        answer_words=float(np.mean([result.answer_words for result in mine])),
        captions=_captions(mine),
        lam=arm.candidate.lam if arm.candidate else None,
        norm=arm.candidate.norm if arm.candidate else None,
        strength=float(np.mean([strength_of(gate) for gate in gates])) if gates else None,
        negative_gates=max((gate.n_negative for gate in gates), default=0),
        against=against,
    )


def _captions(results: Sequence[BenchmarkResult]) -> dict[str, float]:
    scores = [result.chair for result in results if result.chair is not None]
    measured = {name: [getattr(score, name) for score in scores] for name in CAPTIONS}
    return {name: float(np.mean(values)) for name, values in measured.items() if values and None not in values}


def _marks(results: Sequence[BenchmarkResult]) -> Float[np.ndarray, "R N"]:
    return np.stack([result.correct for result in results])
