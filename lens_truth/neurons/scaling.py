"""What a model does when some of its neurons are scaled: dose-response curves of over-compliance beside those of random
sets of neurons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from lens_truth.ablation.side_effects import NeutralText, side_effects
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import contains
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import Benchmark
from lens_truth.evaluate.choices import Choice
from lens_truth.gates.rows import Gates
from lens_truth.io.streams import Stream, stream
from lens_truth.models.neurons import neuron_grid
from lens_truth.neurons.compliance import Compliance, answers_of, first_of_each, first_questions
from lens_truth.neurons.neuron_set import NeuronSet, random_set
from lens_truth.neurons.scaling_result import READINGS, Curve, MeasureFound, NeuronScaling, Side
from lens_truth.stats.dose import against_controls, dose_response

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
_ROOM = 24
"""Tokens of a written answer."""
OWN, RANDOM, MATCHED = "H-neurons", "random", "layer-matched"
Outcomes = dict[str, Float[np.ndarray, " N"]]
"""One number a question, by what is read."""


def neuron_scaling(
    asker: Asker,
    neurons: NeuronSet,
    measures: Sequence[Compliance],
    alphas: Sequence[float] = ALPHAS,
    *,
    n_random: int = 8,
    n_layer_matched: int = 8,
    control_alphas: Sequence[float] | None = None,
    written: int = 0,
    neutral: Sequence[NeutralText] = (),
    seed: int = 0,
) -> NeuronScaling:
    """Multiplies the activations of the neurons with weights above 0 by each alpha, and asks. Going along is read from
    likelihoods (which answer is the likelier, and by how much), and if wanted from what the model writes.

    >>> measures = [lens_truth.compliance_of(name, limit=200) for name in lens_truth.MEASURES]
    >>> scaling = lens_truth.neuron_scaling(asker, lens_truth.NeuronSet.load("neurons.json"), measures)

    Args:
        alphas: 1 is the model itself and is always among them.
        n_random: controls: sets of equal size, drawn from all other neurons.
        n_layer_matched: the same with as many neurons in each layer.
        control_alphas: of the controls; by default 1 and the lowest and highest of `alphas`, which costs a third of
            all.
        written: of each measure so many questions are answered in writing too, greedily.
        neutral: texts on which side effects are measured.
        seed: of the controls and of the bootstrap.

    Raises:
        InputError: if no neuron is selected, the set is of another model, the model has no gated MLPs, alphas are fewer
            than two beside each other or not finite, or there is no measure.
    """
    grid = neuron_grid(asker.model)
    chosen = neurons.positive
    chosen.check(grid)
    doses = _with_one(alphas)
    few = _with_one((doses[0], doses[-1]) if control_alphas is None else control_alphas)
    if stray := [alpha for alpha in few if alpha not in doses]:
        raise InputError(f"controls are to be scaled by {stray[0]:g}, and the neurons are not; name it in alphas too")
    if min(n_random, n_layer_matched, written) < 0:
        raise InputError("numbers of random sets, of layer-matched sets and of written answers must not be negative")
    if not measures:
        raise InputError("no measure of over-compliance is named, so there is nothing to ask under the gates")
    names = [its.name for its in measures]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"the measure '{twice[0]}' is named twice")
    sets = {OWN: chosen, **control_sets(chosen, grid, n_random, n_layer_matched, seed)}
    gates = {
        (name, alpha): its.gate(alpha, grid) for name, its in sets.items() for alpha in (doses if name == OWN else few)
    }
    plain: Gates = {_name(*at): gate for at, gate in gates.items()}
    found = {its.name: _measured(asker, its, plain, [*sets], (doses, few), written, seed) for its in measures}
    return NeuronScaling(
        model=asker.name,
        template=asker.template,
        n_neurons=len(chosen),
        grid=grid,
        alphas=doses,
        control_alphas=few,
        measures=found,
        side_effects={text.name: _aside(asker, text, plain, [*sets], (doses, few)) for text in neutral},
    )


def control_sets(
    neurons: NeuronSet, grid: tuple[int, int], n_random: int, n_layer_matched: int, seed: int
) -> dict[str, NeuronSet]:
    """Sets of equal size by name, `random 1`, ..., `layer-matched 1`, ...; none holds any of the neurons.

    >>> controls = lens_truth.control_sets(neurons.positive, lens_truth.neuron_grid(model), 8, 8, seed=0)
    """
    found: dict[str, NeuronSet] = {}
    for kind, n in ((RANDOM, n_random), (MATCHED, n_layer_matched)):
        seeds = stream(seed, Stream.SCALED_CONTROLS, int(kind == MATCHED)).integers(2**31, size=n)
        for number, its in enumerate(seeds.tolist(), start=1):
            found[f"{kind} {number}"] = random_set(neurons, grid, its, layer_matched=kind == MATCHED)
    return found


def _with_one(alphas: Sequence[float]) -> tuple[float, ...]:
    if wrong := [alpha for alpha in alphas if not math.isfinite(alpha)]:
        raise InputError(f"alpha is {wrong[0]}; it must be a finite number")
    doses = tuple(sorted({1.0, *map(float, alphas)}))
    if len(doses) < 2:
        raise InputError("alpha is 1 alone, which leaves the model as it is; a curve needs another")
    return doses


def _name(set: str, alpha: float) -> str:
    return f"{set} x {repr(float(alpha)).removesuffix('.0')}"  # all digits: no two alphas share a name


def _measured(
    asker: Asker,
    measure: Compliance,
    gates: Gates,
    sets: Sequence[str],
    doses: tuple[tuple[float, ...], tuple[float, ...]],
    written: int,
    seed: int,
) -> MeasureFound:
    """All curves of one measure."""
    outcomes = _ranked(asker, measure, gates)
    asked = first_questions(measure, written) if written else None
    texts = {} if asked is None else _written(asker, asked, gates)
    curves: dict[str, Curve] = {}
    for by_gate, groups in ((outcomes, measure.groups), (texts, asked.groups if asked else [])):
        for reading in next(iter(by_gate.values()), ()):
            table = {name: its[reading] for name, its in by_gate.items()}
            curves[reading] = _curve(table, sets, doses, groups, READINGS[reading].scale, seed)
    n_written = len(asked.groups) if asked else 0
    return MeasureFound(len(measure.groups), len(set(measure.groups)), n_written, bool(measure.control), curves)


def _curve(
    table: Mapping[str, Float[np.ndarray, " N"]],
    sets: Sequence[str],
    doses: tuple[tuple[float, ...], tuple[float, ...]],
    groups: Sequence[str],
    scale: float,
    seed: int,
) -> Curve:
    own = np.stack([table[_name(OWN, alpha)] for alpha in doses[0]])
    there = own[[doses[0].index(alpha) for alpha in doses[1]]]
    kinds: dict[str, list[str]] = {}
    for name in sets[1:]:
        kinds.setdefault(name.rsplit(" ", 1)[0], []).append(name)
    controls = {
        kind: np.stack([[table[_name(name, alpha)] for alpha in doses[1]] for name in names])
        for kind, names in kinds.items()
    }
    return Curve(
        response=dose_response(own, doses[0], groups, scale=scale, seed=seed),
        controls={
            name: tuple((scale * levels.mean(-1)).tolist())
            for kind, names in kinds.items()
            for name, levels in zip(names, controls[kind], strict=True)
        },
        against={
            kind: against_controls(there, its, doses[1], groups, scale=scale, seed=seed)
            for kind, its in controls.items()
        },
    )


def _ranked(asker: Asker, measure: Compliance, gates: Gates) -> dict[str, Outcomes]:
    """By gate; margins are nats by which the answer that goes along is the likelier."""
    own = asker.rank(measure.examples, gates, measure.name)
    its = asker.rank(measure.control, gates, f"{measure.name}, agreeing") if measure.control else {}
    sign = 1 if measure.goes_along else -1
    found: dict[str, Outcomes] = {}
    for gate in gates:
        margin = sign * _margins(own[gate])
        outcomes = {"goes along": 1.0 * (margin > 0), "margin": margin}
        if measure.control:
            true = _margins(its[gate])
            outcomes |= {"agrees": 1.0 * (true > 0), "said": (margin + true) / 2, "truth": (true - margin) / 2}
        found[gate] = outcomes
    return found


def _margins(choices: Sequence[Choice]) -> Float[np.ndarray, " N"]:
    return np.array([choice.margin for choice in choices], dtype=float)


def _written(asker: Asker, measure: Compliance, gates: Gates) -> dict[str, Outcomes]:
    """An answer goes along if it has what was said in it and not the other."""
    found: dict[str, Outcomes] = {gate: {} for gate in gates}
    sides = [("writes along", measure.examples, measure.goes_along)]
    sides += [("writes the truth", measure.control, 1)] if measure.control else []
    for reading, rows, label in sides:
        along, other = answers_of(rows, label), answers_of(rows, 1 - label)
        asked = Benchmark(f"{measure.name}, {reading}", "answer", first_of_each(rows), n_new=_ROOM)
        for gate, answers in asker.ask(asked, gates).items():
            texts = [answer.text for answer in answers]
            found[gate][reading] = np.array(
                [
                    float(_any(text, its) and not _any(text, others))
                    for text, its, others in zip(texts, along, other, strict=True)
                ]
            )
    return found


def _any(text: str, answers: Sequence[str]) -> bool:
    return any(contains(text, answer) for answer in answers)


def _aside(
    asker: Asker,
    text: NeutralText,
    gates: Gates,
    sets: Sequence[str],
    doses: tuple[tuple[float, ...], tuple[float, ...]],
) -> tuple[Side, ...]:
    found = side_effects(asker.model, gates, text, batch_size=asker.batch_size)
    sides: list[Side] = []
    for alpha in doses[0]:
        own = found[_name(OWN, alpha)]
        kl: dict[str, tuple[float, ...]] = {}
        for name in sets[1:] if alpha in doses[1] else ():
            kind = name.rsplit(" ", 1)[0]
            kl[kind] = (*kl.get(kind, ()), found[_name(name, alpha)].kl)
        sides.append(Side(alpha, own.kl, own.cross_entropy, kl))
    return tuple(sides)
