"""`run_ablation`: does gating by scores help, and is it the scores that help? Gates, and shifts along directions,
against vanilla and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lens_truth.ablation.arms import Arm, Controls, Source, arms_of
from lens_truth.ablation.measured import gate_row, marks_of
from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import TUNED, GateRow, SideEffect, SideEffectRow
from lens_truth.ablation.search import Search, Validation
from lens_truth.ablation.side_effects import NeutralText, side_effects
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.models.common_gain import common_gain_acts
from lens_truth.models.hooks import Hooked, check_gate_shape, grid_of, name_of
from lens_truth.scoring.capturing import shape_of
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import compare

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult


_Trials = list[list["BenchmarkResult"]]
"""What was asked of one benchmark, by arm and trial."""


def run_ablation(
    asker: Asker,
    scores: Mapping[str, Source],
    *,
    test: Sequence[Benchmark],
    validation: Sequence[Benchmark],
    controls: Controls | None = None,
    search: Search | None = None,
    neutral: Sequence[NeutralText] = (),
    seed: int = 0,
) -> Ablation:
    """Gates a model by each kind of scores and by control gates, and compares them on the test benchmarks. What is
    given as directions of truth (probes) becomes a shift (`HeadShift.from_probes`) beside controls of its own.

    Lambda and normalisation are chosen on `validation` only, and a gate that does no better there than none is not
    tested, nor are its controls. Where validation puts questions as a choice and in other ways too, all candidates are
    ranked by what they choose on some, and the best two are asked everything. Controls are made from the chosen gate,
    and drawn as often as the verdict needs (`Controls.trials`). How answers are read is decided by what the model
    without a gate writes on validation.

    >>> test, validation = (lens_truth.zoo_benchmarks(split, 20, seed=0) for split in ("test", "validation"))
    >>> ablation = lens_truth.run_ablation(asker, {"causal": scores}, test=test, validation=validation)

    Args:
        asker: the model, and how it is asked; rows bear its name.
        scores: by kind (`truth`, `own truth` for the model's own beside those of another); shape (layers, heads). Or,
            under any other name, `HeadProbes` or `truth_directions`: how many heads are shifted (ITI's share of them,
            or four times as many) and by how many standard deviations is chosen on `validation`. Controls of a shift
            are as many random heads along their own directions, random directions of equal norm on the same heads, and,
            each tuned on validation by itself, random directions and the heads with the highest `causal` scores, if
            there are such.
        test: benchmarks that judge all gates; asked once a gate, and never for a choice.
        validation: benchmarks on which lambda and normalisation are chosen.
        controls: by default `permuted` and `uniform`, up to five draws of what draws.
        search: by default twelve candidates a kind of scores; learned scores are taken as they are.
        neutral: texts on which side effects are measured.

    Raises:
        InputError: if scores do not have the model's shape.
    """
    for its in scores.values():  # before anything is asked
        _check_shape(asker.model, its)
    search = search or Search()
    acts = common_gain_acts(asker.model)
    with stage("search"):
        chosen_on = Validation.of(asker, validation)
        arms, searched = arms_of(chosen_on, scores, controls or Controls(), search, acts, seed)
    with stage("test"):
        results = _tested(asker, [chosen_on.read(benchmark) for benchmark in test], arms, seed)
    drawn = [max(len(by_arm[i]) for by_arm in results) for i in range(len(arms))]
    gates = {arm.names[k]: arm.gates[k] for arm, n in zip(arms, drawn, strict=True) for k in range(n)}
    with stage("side effects"):
        effects = {text.name: side_effects(asker.model, gates, text, batch_size=asker.batch_size) for text in neutral}
    return Ablation(
        rows=tuple(_row(asker.name, i, arms, by_arm, seed) for i in range(len(arms)) for by_arm in results),
        search={asker.name: {name: found.candidates for name, found in searched.items()}},
        validation={asker.name: chosen_on.vanilla},
        side_effects=tuple(_effect(asker.name, arm, effects, n) for arm, n in zip(arms, drawn, strict=True) if effects),
        relative={asker.name: tuple(layer for layer, its in enumerate(acts) if not its)},
    )


def _check_shape(model: Hooked, source: Source) -> None:
    if isinstance(source, HeadScores):
        check_gate_shape(grid_of(model), torch.from_numpy(source.values))
        return
    its, shape = tuple(source.directions.shape), shape_of(model, source.point)
    if its != shape:
        of, wanted = (" x ".join(map(str, sizes)) for sizes in (its, shape))
        raise InputError(f"directions are of {of} (layers, heads, width), and {name_of(model)} has {wanted}")


def _tested(asker: Asker, test: Sequence[Benchmark], arms: Sequence[Arm], seed: int) -> list[_Trials]:
    """All arms on each benchmark: once, but controls that draw as often as the verdict needs. Benchmarks of which the
    same is wanted are asked together."""
    found: list[_Trials] = [[[] for _ in arms] for _ in test]
    while True:
        rounds: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for at, by_arm in enumerate(found):
            rounds.setdefault(_wanted(arms, by_arm, seed), []).append(at)
        rounds.pop((), None)
        if not rounds:
            return found
        for trials, places in rounds.items():
            gates = {arms[i].names[trial]: arms[i].gates[trial] for i, trial in trials}
            results = asker.run_all([test[at] for at in places], gates)
            for at in places:
                for i, trial in trials:
                    found[at][i].append(results[test[at].name][arms[i].names[trial]])


def _wanted(arms: Sequence[Arm], found: _Trials, seed: int) -> tuple[tuple[int, int], ...]:
    """Arms and the number of their trial that one benchmark is to be asked next: all at first, of a gate's control one;
    then one more of each control with draws left on which the gate's verdict hangs."""
    if not found[0]:
        once = (range(1 if arm.of else len(arm.gates)) for arm in arms)
        return tuple((i, trial) for i, trials in enumerate(once) for trial in trials)
    groups, marks = found[0][0].groups, [marks_of(trials) for trials in found]
    at = {arm.gate: i for i, arm in enumerate(arms) if not arm.of}
    left = [i for i, arm in enumerate(arms) if len(found[i]) < len(arm.gates)]
    gained = {of: compare(marks[at[of]], marks[0], groups, seed).gained for of in {arms[i].of for i in left}}
    hang = (i for i in left if gained[arms[i].of] and marks[i].mean(1).max() < marks[at[arms[i].of]].mean())
    return tuple((i, len(found[i])) for i in hang)


def _effect(model: str, arm: Arm, effects: Mapping[str, Mapping[str, SideEffect]], drawn: int) -> SideEffectRow:
    """Means over the arm's trials; `effects` are by text and by name of a trial."""
    found = {text: [astuple(by_gate[name]) for name in arm.names[:drawn]] for text, by_gate in effects.items()}
    means = {text: SideEffect(*np.mean(trials, axis=0).tolist()) for text, trials in found.items()}
    return SideEffectRow(model, arm.gate, arm.of, drawn, means)


def _row(model: str, number: int, arms: Sequence[Arm], results: _Trials, seed: int) -> GateRow:
    """Of one arm; `results` are those of one benchmark."""
    arm, mine = arms[number], results[number]
    others = {"vanilla": 0} if number else {}
    if arm.candidate is not None and not arm.of:
        for i, other in enumerate(arms):
            if other.of in (arm.gate, TUNED) or other.gate == "random":
                others[f"{other.gate} ({TUNED})" if other.of == TUNED else other.gate] = i
    undrawn = [len(one.gates) - len(trials) for one, trials in zip(arms, results, strict=True)]
    marks, groups = marks_of(mine), mine[0].groups
    against = {name: compare(marks, marks_of(results[i]), groups, seed, undrawn[i]) for name, i in others.items()}
    row = gate_row(model, arm.gate, mine, arm.gates[: len(mine)], seed)
    lam, norm = (arm.candidate.lam, arm.candidate.norm) if arm.candidate else (None, None)
    return replace(row, of=arm.of, lam=lam, norm=norm, against=against)
