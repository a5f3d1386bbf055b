"""What learned gates are worth on held-out questions: ways to learn, how many questions it takes, what a child can
take from its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.ablation.held_out import Judge
from lens_truth.ablation.learned_result import CurvePoint, LearnedGates, Passed, Way
from lens_truth.data.examples import Example, question_pairs
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.controls import control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.learned import learned_gate
from lens_truth.scoring.learned_forms import TOUCHED, Learning
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.correlation import Relation, relate
from lens_truth.stats.paired import ratio_interval

_SMALLEST = 8
"""Questions of the smallest fits of the curve."""


@dataclass(frozen=True)
class Fitting:
    """The questions that gates are fitted to, chosen on and judged by; no group is in two of them.

    >>> fitting = lens_truth.Fitting(fitted, validation, test)
    """

    fitted: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    keep: Path | None = None
    """A folder in which fits are kept, and from which those of the same model, questions and settings are taken."""


@stage("learned gates")
def learned_gates(
    asker: Asker,
    fitting: Fitting,
    ways: Sequence[Learning],
    *,
    penalties: Sequence[float] = (1.0,),
    children: Mapping[str, Asker] | None = None,
    curve: bool = True,
    n_permuted: int = 5,
    seed: int = 0,
) -> LearnedGates:
    """Gates learned in several ways, judged on held-out questions beside the same values shuffled inside layers; fits
    on 8, 16, 32, ... questions, twice each, and how well they agree; the first way's gate in children of the model,
    beside a gate of their own learned from the same questions.

    >>> ways = [lens_truth.Learning(), lens_truth.Learning(norm="l1")]
    >>> found = lens_truth.learned_gates(asker, lens_truth.Fitting(fitted, validation, test), ways)
    >>> found.verdicts()

    Args:
        asker: the model, and how it is asked (and gates are fitted).
        ways: at least one; their penalties are replaced by those of `penalties`.
        penalties: of which validation chooses one a way, by its loss.
        children: models of the same shape, by name.
        curve: whether small fits are made.
        n_permuted: shuffled gates; at least one.

    Raises:
        InputError: if there is no way, no penalty or no shuffled gate, two parts share a group, or a part has no
            question with answers of both labels.
    """
    _check(fitting, ways, penalties, n_permuted)
    study = _Study(asker, fitting, n_permuted, seed)
    found = {way.name: study.way(way, penalties) for way in ways}
    gates = {name: scores for name, (scores, _) in found.items()}
    first = replace(ways[0], penalty=found[ways[0].name][1].penalty)
    points = study.curve(first) if curve else []
    passed = {
        name: _Study(child, fitting, n_permuted, seed).passed(gates[ways[0].name], first)
        for name, child in (children or {}).items()
    }
    vanilla = study.vanilla
    return LearnedGates(
        model=asker.name,
        n_heads=gates[ways[0].name].values.size,
        n_fitted=len(question_pairs(fitting.fitted)),
        n_validation=len(question_pairs(fitting.validation)),
        n_questions=len(vanilla),
        n_groups=len(set(study.judge.groups)),
        seed=seed,
        margin=float(vanilla.mean()),
        accuracy=float((vanilla > 0).mean()),
        ways={name: way for name, (_, way) in found.items()},
        curve=tuple(points),
        children=passed,
    )


def _check(fitting: Fitting, ways: Sequence[Learning], penalties: Sequence[float], n_permuted: int) -> None:
    if not ways or not penalties or n_permuted < 1:
        raise InputError(
            f"{len(ways)} ways to learn a gate, {len(penalties)} penalties and {n_permuted} shuffled gates were asked "
            "for; at least 1 of each is needed"
        )
    seen: set[str] = set()
    for part in (fitting.fitted, fitting.validation, fitting.test):
        groups = {row.group for row in part}
        if shared := sorted(groups & seen):
            raise InputError(
                f"group '{shared[0]}' is in two of the parts that gates are fitted to, chosen on and judged by; give "
                "each its own groups"
            )
        seen |= groups


class _Study:
    """One model."""

    def __init__(self, asker: Asker, fitting: Fitting, n_permuted: int, seed: int) -> None:
        self._asker, self._fitting, self._n, self._seed = asker, fitting, n_permuted, seed
        self.judge = Judge(asker, fitting.test, seed)

    @property
    def vanilla(self) -> Float[np.ndarray, " Q"]:
        """Margins without a gate."""
        return self.judge.margins({}, "learned")[""]

    def fit(self, learning: Learning, examples: Sequence[Example]) -> HeadScores:
        """A gate learned from some examples."""
        asker = self._asker
        how: dict[str, Any] = {"batch_size": asker.batch_size, "seed": self._seed, "keep": self._fitting.keep}
        return learned_gate(
            asker.model, examples, learning=learning, template=asker.template, progress=asker.progress, **how
        )

    def way(self, learning: Learning, penalties: Sequence[float]) -> tuple[HeadScores, Way]:
        """The gate with the penalty that validation chooses, and what it is worth."""
        named = {f"{its:g}": its for its in penalties}
        fits = {name: self.fit(replace(learning, penalty=its), self._fitting.fitted) for name, its in named.items()}
        tried = dict.fromkeys(fits, 0.0)
        if len(fits) > 1:
            chosen_on = Judge(self._asker, self._fitting.validation, self._seed)
            margins = chosen_on.margins({name: _gate(its) for name, its in fits.items()}, "validation")
            tried = {name: float(np.logaddexp(0, -margins[name]).mean()) for name in fits}
        best = min(fits, key=lambda name: tried[name])
        scores, gate = fits[best], _gate(fits[best])
        gates = {"gate": gate, "uniform": control_gate("uniform", gate, 0), **self._permuted(gate)}
        margins = self.judge.margins(gates, "learned")
        held = self.judge.of([margins["gate"]], margins[""])
        permuted = self._gains(margins)
        away = np.abs(scores.values)
        return scores, Way(
            penalty=named[best],
            tried=tried if len(fits) > 1 else {},
            n_touched=int((away > TOUCHED).sum()),
            strength=gate.strength,
            held=held,
            permuted=permuted,
            uniform=float((margins["uniform"] - margins[""]).mean()),
            p=_share(permuted, held.gain),
        )

    def curve(self, learning: Learning) -> list[CurvePoint]:
        """Fits on disjoint questions, twice as many each time."""
        halves, points = self._halves(), list[CurvePoint]()
        most = min(len(half) for half in halves)
        sizes = [_SMALLEST << i for i in range(most.bit_length()) if _SMALLEST << i <= most] or [most]
        for n in sizes:
            fits = [self.fit(learning, [row for question in half[:n] for row in question]) for half in halves]
            margins = self.judge.margins({str(i): _gate(its) for i, its in enumerate(fits)}, "curve")
            held = self.judge.of([margins["0"], margins["1"]], margins[""])
            points.append(CurvePoint(n, self._relate(*fits), held))
        return points

    def passed(self, given: HeadScores, learning: Learning) -> Passed:
        """Another model's gate, beside one of this model's own."""
        own, gate = self.fit(learning, self._fitting.fitted), _gate(given)
        gates = {"given": gate, "own": _gate(own), **self._permuted(gate)}
        margins = self.judge.margins(gates, "learned")
        its = {name: self.judge.of([margins[name]], margins[""]) for name in ("given", "own")}
        told, kept, ends = its["own"].gain_ci[0] > 0, float("nan"), (float("nan"), float("nan"))
        if told:
            part, whole = (margins[name] - margins[""] for name in ("given", "own"))
            kept, ends = float(part.sum() / whole.sum()), ratio_interval(part, whole, self.judge.groups, self._seed)
        permuted, vanilla = self._gains(margins), margins[""]
        return Passed(
            n_questions=len(vanilla),
            margin=float(vanilla.mean()),
            accuracy=float((vanilla > 0).mean()),
            given=its["given"],
            own=its["own"],
            kept=kept,
            kept_ci=ends,
            permuted=permuted,
            p=_share(permuted, its["given"].gain),
            agreement=self._relate(given, own),
        )

    def _halves(self) -> list[list[list[Example]]]:
        """The questions of half of the groups, and of the others, in an order of chance."""
        rows = self._fitting.fitted
        groups: dict[str, list[list[Example]]] = {}
        for supported, hallucinated in question_pairs(rows):
            question = [rows[i] for i in sorted(supported + hallucinated)]
            groups.setdefault(question[0].group, []).append(question)
        if len(groups) < 2:
            raise InputError("all questions that gates are fitted to are of one group; small fits need two")
        order: list[int] = stream(self._seed, Stream.LEARNED_ROWS).permutation(len(groups)).tolist()
        halves, each = (list[list[Example]](), list[list[Example]]()), list(groups.values())
        for at in order:
            shorter = halves[0] if len(halves[0]) <= len(halves[1]) else halves[1]
            shorter += each[at]
        return [*halves]

    def _permuted(self, gate: HeadGate) -> dict[str, HeadGate]:
        draws = range(self._n)
        return {f"permuted {draw}": control_gate("permuted", gate, 1000 * self._seed + draw) for draw in draws}

    def _gains(self, margins: Mapping[str, Float[np.ndarray, " Q"]]) -> tuple[float, ...]:
        return tuple(float((margins[f"permuted {draw}"] - margins[""]).mean()) for draw in range(self._n))

    def _relate(self, one: HeadScores, other: HeadScores) -> Relation | None:
        return relate(one.values, other.values, n_kv_heads=one.n_kv_heads, seed=self._seed)


def _gate(learned: HeadScores) -> HeadGate:
    return HeadGate.from_scores(learned, 1.0, "none")


def _share(drawn: Sequence[float], its: float) -> float:
    return (1 + sum(one >= its for one in drawn)) / (1 + len(drawn))
