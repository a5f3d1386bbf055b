"""`run_ablation`: does gating by scores help, and is it the scores that help? Gates against vanilla and controls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import CAPTIONS, TUNED, Candidate, GateRow, SideEffect, SideEffectRow
from lens_truth.ablation.search import (
    Found,
    Search,
    Validation,
    search_contrast,
    search_lambda,
    search_uniform,
    strength_of,
)
from lens_truth.ablation.side_effects import NeutralText, side_effects
from lens_truth.gates.controls import DRAWN, check_control, control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.io.stages import stage
from lens_truth.models.common_gain import common_gain_acts
from lens_truth.models.hooks import check_gate_shape, grid_of
from lens_truth.scoring.scores import HeadScores
from lens_truth.scoring.surface import ENOUGH
from lens_truth.stats.paired import compare, group_interval

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult


@dataclass(frozen=True)
class Controls:
    """What gates by scores have to beat.

    >>> lens_truth.Controls(("permuted", "uniform", "inverse", "norm-matched"), random_trials=3)

    Raises:
        InputError: for a kind that `control_gate` does not know.
    """

    kinds: tuple[str, ...] = ("permuted", "uniform")
    """Made from each gate by scores; with `uniform`, a gain for all heads is also tuned on validation by itself.

    Where a norm behind the projection undoes a gain that all heads of a layer share (`common_gain_acts`), `uniform`
    would be the model as it is, and beating it beating nothing. Of such a model `norm-matched` stands in its place, and
    a tuned `contrast` (`contrast_gate`) in that of the tuned gain.
    """
    trials: int = 5
    """The most draws of each kind that draws. Each is drawn once; then again, on every benchmark by itself, while the
    gate is significantly better than none there and than every draw. So what is said of a control is what all draws
    would say: one that is as good settles that it is not beaten, and only all of them that it is."""
    random_trials: int = 0
    """Draws of TruthProbe's control 1 + U(-1, 1), which stands beside all gates; 0 for none."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_control(kind)


@dataclass(frozen=True)
class _Arm:
    """A gate, or all draws of one control that may be made."""

    gate: str
    of: str
    gates: tuple[HeadGate | None, ...]
    candidate: Candidate | None = None

    @property
    def names(self) -> list[str]:
        """Of its trials."""
        name = f"{self.gate} of {self.of}" if self.of else self.gate
        return [name] if len(self.gates) == 1 else [f"{name} {trial}" for trial in range(1, len(self.gates) + 1)]


_Trials = list[list["BenchmarkResult"]]
"""What was asked of one benchmark, by arm and trial."""


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

    Lambda and normalisation are chosen on `validation` only, and a gate that does no better there than none is not
    tested, nor are its controls. Where validation puts questions as a choice and in other ways too, all candidates are
    ranked by what they choose on some, and the best two are asked everything. Controls are made from the chosen gate,
    and drawn as often as the verdict needs (`Controls.trials`). How answers are read is decided by what the model
    without a gate writes on validation.

    >>> test, validation = (lens_truth.zoo_benchmarks(split, 20, seed=0) for split in ("test", "validation"))
    >>> ablation = lens_truth.run_ablation(asker, {"causal": scores}, test=test, validation=validation)

    Args:
        asker: the model, and how it is asked; rows bear its name.
        scores: by kind (`truth`, `own truth` for the model's own beside those of another); shape (layers, heads).
        test: benchmarks that judge all gates; asked once a gate, and never for a choice.
        validation: benchmarks on which lambda and normalisation are chosen.
        controls: by default `permuted` and `uniform`, up to five draws of what draws.
        search: by default twelve candidates a kind of scores; learned scores are taken as they are.
        neutral: texts on which side effects are measured.

    Raises:
        InputError: if scores do not have the model's shape.
    """
    for its in scores.values():  # before anything is asked
        check_gate_shape(grid_of(asker.model), torch.from_numpy(its.values))
    search = search or Search()
    acts = common_gain_acts(asker.model)
    with stage("search"):
        chosen_on = Validation.of(asker, validation)
        arms, searched = _arms(chosen_on, scores, controls or Controls(), search, acts, seed)
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


def _acting(kinds: Sequence[str], acts: Sequence[bool]) -> tuple[str, ...]:
    """Controls with `norm-matched` for `uniform` where that does nothing."""
    return tuple(dict.fromkeys("norm-matched" if kind == "uniform" and not all(acts) else kind for kind in kinds))


def _arms(
    validation: Validation,
    scores: Mapping[str, HeadScores],
    controls: Controls,
    search: Search,
    acts: Sequence[bool],
    seed: int,
) -> tuple[list[_Arm], dict[str, Found]]:
    """All that is compared, vanilla first, and what each search found."""
    arms = [_Arm("vanilla", "", (None,))]
    searched: dict[str, Found] = {}

    def drawn(control: str, gate: HeadGate, trials: int) -> tuple[HeadGate, ...]:
        return tuple(control_gate(control, gate, 1000 * seed + trial, acts) for trial in range(trials))

    for kind, its_scores in scores.items():
        name = re.sub(r"(?<!\S)truth$", "probe", kind)
        found = searched[name] = search_lambda(validation, its_scores, search)
        if (gate := found.gate) is None:
            continue
        arms.append(_Arm(name, "", (gate,), found.best))
        for control in _acting(controls.kinds, acts):
            gates = drawn(control, gate, controls.trials if control in DRAWN else 1)
            arms.append(_Arm(control, name, gates, found.best))
    if "uniform" in controls.kinds:
        tuned = "uniform" if all(acts) else "contrast"
        where = search_uniform if all(acts) else partial(search_contrast, acts=acts, seed=seed)
        found = searched[f"{tuned} ({TUNED})"] = where(validation, site=search.site)
        if found.gate is not None:
            arms.append(_Arm(tuned, TUNED, (found.gate,), found.best))
    if controls.random_trials:
        any_gate = HeadGate(torch.ones(len(acts), validation.asker.model.cfg.n_heads), search.site)  # of any values
        arms.append(_Arm("random", "", drawn("random", any_gate, controls.random_trials)))
    return arms, searched


def _tested(asker: Asker, test: Sequence[Benchmark], arms: Sequence[_Arm], seed: int) -> list[_Trials]:
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


def _wanted(arms: Sequence[_Arm], found: _Trials, seed: int) -> tuple[tuple[int, int], ...]:
    """Arms and the number of their trial that one benchmark is to be asked next: all at first, of a gate's control one;
    then one more of each control with draws left on which the gate's verdict hangs."""
    if not found[0]:
        once = (range(1 if arm.of else len(arm.gates)) for arm in arms)
        return tuple((i, trial) for i, trials in enumerate(once) for trial in trials)
    groups, marks = found[0][0].groups, [_marks(trials) for trials in found]
    at = {arm.gate: i for i, arm in enumerate(arms) if not arm.of}
    left = [i for i, arm in enumerate(arms) if len(found[i]) < len(arm.gates)]
    gained = {of: compare(marks[at[of]], marks[0], groups, seed).gained for of in {arms[i].of for i in left}}
    hang = (i for i in left if gained[arms[i].of] and marks[i].mean(1).max() < marks[at[arms[i].of]].mean())
    return tuple((i, len(found[i])) for i in hang)


def _marks(trials: Sequence[BenchmarkResult]) -> Float[np.ndarray, "R N"]:
    return np.stack([result.correct for result in trials])


def _effect(model: str, arm: _Arm, effects: Mapping[str, Mapping[str, SideEffect]], drawn: int) -> SideEffectRow:
    """Means over the arm's trials; `effects` are by text and by name of a trial."""
    found = {text: [astuple(by_gate[name]) for name in arm.names[:drawn]] for text, by_gate in effects.items()}
    means = {text: SideEffect(*np.mean(trials, axis=0).tolist()) for text, trials in found.items()}
    return SideEffectRow(model, arm.gate, arm.of, drawn, means)


def _row(model: str, number: int, arms: Sequence[_Arm], results: _Trials, seed: int) -> GateRow:
    """Of one arm; `results` are those of one benchmark."""
    arm, mine = arms[number], results[number]
    groups = mine[0].groups
    marks = _marks(mine)
    others = {"vanilla": 0} if number else {}
    if arm.candidate is not None and not arm.of:
        for i, other in enumerate(arms):
            if other.of in (arm.gate, TUNED) or other.gate == "random":
                others[f"{other.gate} ({TUNED})" if other.of == TUNED else other.gate] = i
    undrawn = [len(one.gates) - len(trials) for one, trials in zip(arms, results, strict=True)]
    accuracies = marks.mean(1)
    low, high = group_interval(marks.mean(0), groups, seed)
    gates = [gate for gate in arm.gates[: len(mine)] if gate is not None]
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
        readings=_readings(mine),
        read_by=mine[0].parses[0],
        chance=mine[0].chance,
        shorter=float(mine[0].ranked.measures["shorter"].mean()) if mine[0].choices else None,
        answer_words=float(np.mean([result.answer_words for result in mine])),
        captions={name: float(np.mean(its)) for name, its in captions.items() if its and None not in its},
        lam=arm.candidate.lam if arm.candidate else None,
        norm=arm.candidate.norm if arm.candidate else None,
        strength=float(np.mean([strength_of(gate) for gate in gates])) if gates else None,
        negative_gates=max((gate.n_negative for gate in gates), default=0),
        against={name: compare(marks, _marks(results[i]), groups, seed, undrawn[i]) for name, i in others.items()},
    )


def _readings(results: Sequence[BenchmarkResult]) -> dict[str, float]:
    """Accuracy in each way to read the answers, mean over trials; of choices also where the answers are equally long,
    if there are enough of them."""
    found = {parse: [its.by_reading[parse] for its in results] for parse in results[0].parses}
    if results[0].choices and (n := int((matched := results[0].ranked.matched).sum())) >= ENOUGH:
        found[f"{n} equally long"] = [float(its.correct[matched].mean()) for its in results]
    return {reading: float(np.mean(its)) for reading, its in found.items()}
