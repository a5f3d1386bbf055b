"""`ablate`: does gating by scores help, and is it the scores that help? Gates against vanilla and control gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from lens_truth.ablation.search import Candidate, search_lambda, search_uniform, strength_of, vanilla_accuracy
from lens_truth.ablation.side_effects import NeutralText, SideEffect, side_effects
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import Benchmark
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.gates.controls import DRAWN, Control, control_gate
from lens_truth.gates.gate import HeadGate, Norm, Site
from lens_truth.models.prompts import Template
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import Comparison, compare, group_interval

GATE_NAMES = {"truth": "probe"}
"""What a gate by scores of a kind is called in a table; other kinds keep their name."""

CAPTION_MEASURES = ("chair_s", "chair_i", "recall", "length")

TUNED = "tuned"
"""In `of`: a uniform gain chosen on validation, like lambda, instead of taken from a gate."""


@dataclass(frozen=True)
class Row:
    """One gate on one benchmark."""

    model: str
    gate: str
    """vanilla; probe, causal, learned (`own` before it: by the model's own scores, where others come from its base); or
    a control: random, permuted, uniform, inverse, norm-matched."""
    of: str
    """For a control, the gate that it controls; `tuned` for the uniform gain chosen on validation."""
    benchmark: str
    trials: int
    n: int
    """Questions."""
    accuracy: float
    """Mean over trials."""
    accuracy_std: float
    """Standard deviation over trials (0 for one)."""
    ci_low: float
    ci_high: float
    """95% bootstrap interval of the accuracy over groups of questions."""
    f1: float
    unparsed: float
    """Share of answers without a yes or no (open answers: empty ones)."""
    answer_words: float
    """Mean length of an answer as the model wrote it."""
    lam: float | None = None
    norm: str | None = None
    strength: float | None = None
    """Root mean square of gate - 1 over heads."""
    captions: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of captions, CHAIR's chair_s, chair_i, recall and length where they are defined, means over trials."""
    negative_gates: int = 0
    """Heads whose output is inverted (most over trials)."""
    against: Mapping[str, Comparison] = field(default_factory=dict[str, Comparison])
    """Paired comparison with vanilla, and of a gate by scores with each of its controls."""

    def as_dict(self) -> dict[str, Any]:
        """A member of `results.rows` in result.json."""
        return asdict(self)


@dataclass(frozen=True)
class SideEffectRow:
    """What one gate does to text without questions (means over trials)."""

    model: str
    gate: str
    of: str
    trials: int
    texts: Mapping[str, SideEffect]
    """By the name of the neutral text."""


@dataclass(frozen=True)
class Ablation:
    """All rows of one model, and the searches behind them."""

    rows: tuple[Row, ...]
    """One for each gate or control on each test benchmark; those of the vanilla model come first."""
    search: Mapping[str, tuple[Candidate, ...]]
    """For each gate by scores, and for the uniform gain, all candidates of the search on validation."""
    validation_vanilla: Mapping[str, float]
    """Accuracy without a gate on each validation benchmark."""
    side_effects: tuple[SideEffectRow, ...] = ()
    """One for each gate, if neutral texts were given."""

    @property
    def vanilla_objective(self) -> float:
        """What candidates have to exceed on validation."""
        return float(np.mean(list(self.validation_vanilla.values())))


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
    model: Any,
    scores: Mapping[str, HeadScores],
    *,
    test: Sequence[Benchmark],
    validation: Sequence[Benchmark],
    template: Template,
    name: str = "model",
    controls: Sequence[Control] = ("permuted", "uniform"),
    random_trials: int = 0,
    trials: int = 5,
    fixed: tuple[Norm, float] | None = None,
    site: Site = "z",
    neutral: Sequence[NeutralText] = (),
    seed: int = 0,
    batch_size: int = 256,
    log: AnswerLog | None = None,
    progress: bool = False,
) -> Ablation:
    """Gates `model` by each kind of scores and by control gates, and compares them on the test benchmarks.

    Lambda and normalisation are chosen on `validation` only. Controls are made from the chosen gate; `uniform` is also
    tuned by itself, since a gain for all heads alike needs no scores.

    Args:
        model: as `load` returns it.
        scores: by kind (`truth`, `causal`, `learned`), or `own` and kind for scores of this model beside those of
            another; all of its shape.
        test: benchmarks that judge all gates; asked once a gate, and never for a choice.
        validation: benchmarks on which lambda and normalisation are chosen.
        template: `plain` for the paper's prompt, `chat` for the model's chat template.
        name: of the model, in rows and messages.
        controls: beside each gate by scores (`control_gate`).
        random_trials: draws of TruthProbe's control 1 + U(-1, 1); 0 for none.
        trials: draws of every other control that draws.
        fixed: normalisation and lambda that were chosen elsewhere, instead of a search.
        site: where all gates act.
        neutral: texts on which side effects are measured.
        log: answers that are known already, and where new ones are written.

    Raises:
        InputError: if scores do not have the model's shape.
    """
    asker = Asker(model, template, name, batch_size, log, progress)
    arms = [_Arm("vanilla", "", (None,))]
    search: dict[str, tuple[Candidate, ...]] = {}
    for kind, its_scores in scores.items():
        gate_name = _gate_name(kind)
        best, candidates = search_lambda(asker, its_scores, validation, fixed=fixed, site=site)
        search[gate_name] = tuple(candidates)
        arms.append(_Arm(gate_name, "", (best.gate,), best))
        for control in controls:
            n = trials if control in DRAWN else 1
            drawn = tuple(control_gate(control, best.gate, _seed(seed, trial)) for trial in range(n))
            arms.append(_Arm(control, gate_name, drawn, best))
    shape = (model.cfg.n_layers, model.cfg.n_heads)
    if "uniform" in controls:
        gain, gains = search_uniform(asker, shape, validation, site=site)
        search[f"uniform ({TUNED})"] = tuple(gains)
        arms.append(_Arm("uniform", TUNED, (gain.gate,), gain))
    if random_trials:
        any_gate = HeadGate(torch.ones(shape), site)  # its values do not matter
        drawn = tuple(control_gate("random", any_gate, _seed(seed, trial)) for trial in range(random_trials))
        arms.append(_Arm("random", "", drawn))

    gates = {n: gate for arm in arms for n, gate in zip(arm.trial_names(), arm.gates, strict=True)}
    rows: list[list[Row]] = [[] for _ in arms]
    for benchmark in test:
        by_gate = asker.run(benchmark, gates)
        outcomes = [[by_gate[n] for n in arm.trial_names()] for arm in arms]
        for i in range(len(arms)):
            rows[i].append(_row(name, i, arms, outcomes, benchmark.name, seed))
    effects = {text.name: side_effects(model, gates, text, batch_size=batch_size) for text in neutral}
    return Ablation(
        rows=tuple(row for of_arm in rows for row in of_arm),
        search=search,
        validation_vanilla=vanilla_accuracy(asker, validation),
        side_effects=tuple(
            SideEffectRow(
                name,
                arm.gate,
                arm.of,
                len(arm.gates),
                {text: _mean_effect([found[n] for n in arm.trial_names()]) for text, found in effects.items()},
            )
            for arm in arms
            if effects
        ),
    )


def _gate_name(kind: str) -> str:
    origin, _, kind = kind.rpartition(" ")
    return f"{origin} {GATE_NAMES.get(kind, kind)}".strip()


def _mean_effect(effects: Sequence[SideEffect]) -> SideEffect:
    return SideEffect(float(np.mean([e.kl for e in effects])), float(np.mean([e.cross_entropy for e in effects])))


def _row(
    model: str,
    number: int,
    arms: Sequence[_Arm],
    outcomes: Sequence[Sequence[BenchmarkResult]],
    benchmark: str,
    seed: int,
) -> Row:
    """`outcomes` are those of one benchmark: by arm, by trial."""
    arm, mine = arms[number], outcomes[number]
    groups = mine[0].groups
    marks = _marks(mine)
    against: dict[str, Comparison] = {}
    if number:
        against["vanilla"] = compare(marks, _marks(outcomes[0]), groups, seed)
    if arm.candidate is not None and not arm.of:
        for other, theirs in zip(arms, outcomes, strict=True):
            if other.of in (arm.gate, TUNED) or other.gate == "random":
                label = f"{other.gate} ({TUNED})" if other.of == TUNED else other.gate
                against[label] = compare(marks, _marks(theirs), groups, seed)
    accuracies = marks.mean(1)
    low, high = group_interval(marks.mean(0), groups, seed)
    gates = [gate for gate in arm.gates if gate is not None]
    return Row(
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
        f1=float(np.mean([outcome.f1 for outcome in mine])),
        unparsed=float(np.mean([outcome.unparsed for outcome in mine])),
        answer_words=float(np.mean([outcome.answer_words for outcome in mine])),
        captions=_captions(mine),
        lam=arm.candidate.lam if arm.candidate else None,
        norm=arm.candidate.norm if arm.candidate else None,
        strength=float(np.mean([strength_of(gate) for gate in gates])) if gates else None,
        negative_gates=max((gate.n_negative for gate in gates), default=0),
        against=against,
    )


def _captions(outcomes: Sequence[BenchmarkResult]) -> dict[str, float]:
    scores = [outcome.chair for outcome in outcomes if outcome.chair is not None]
    measured = {name: [getattr(score, name) for score in scores] for name in CAPTION_MEASURES}
    return {name: float(np.mean(values)) for name, values in measured.items() if values and None not in values}


def _marks(outcomes: Sequence[BenchmarkResult]) -> Float[np.ndarray, "R N"]:
    return np.stack([outcome.correct for outcome in outcomes])


def _seed(seed: int, trial: int) -> int:
    return 1000 * seed + trial
