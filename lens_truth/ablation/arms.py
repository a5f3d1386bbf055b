"""Arms of an ablation: the model as it is, what scores and directions make of it, and their controls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from lens_truth.ablation.rows import (
    CAUSAL_HEADS,
    RANDOM_DIRECTIONS,
    RANDOM_HEADS,
    TUNED,
    TUNED_DIRECTIONS,
    Candidate,
)
from lens_truth.ablation.search import Found, Search, Validation, search_contrast, search_lambda, search_uniform
from lens_truth.ablation.steering import (
    Steering,
    random_directions,
    random_heads,
    search_shift,
)
from lens_truth.gates.controls import DRAWN, check_control, control_gate
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.rows import Intervention
from lens_truth.gates.shift import HeadShift
from lens_truth.scoring.directions import TruthDirections, truth_directions
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.scores import HeadScores

Source = HeadScores | HeadProbes | TruthDirections
"""What arms are made from: scores make gates, directions make shifts."""


@dataclass(frozen=True)
class Controls:
    """What gates by scores have to beat (shifts along directions have controls of their own, see `run_ablation`).

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
    """The most draws of each kind that draws, of shifts too. Each is drawn once; then again, on every benchmark by
    itself, while the gate is significantly better than none there and than every draw. So what is said of a control is
    what all draws would say: one that is as good settles that it is not beaten, and only all of them that it is."""
    random_trials: int = 0
    """Draws of TruthProbe's control 1 + U(-1, 1), which stands beside all gates; 0 for none."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            check_control(kind)


@dataclass(frozen=True)
class Arm:
    """A gate or a shift, or all draws of one control that may be made."""

    gate: str
    of: str
    gates: tuple[Intervention | None, ...]
    candidate: Candidate | None = None

    @property
    def names(self) -> list[str]:
        """Of its trials."""
        name = f"{self.gate} of {self.of}" if self.of else self.gate
        return [name] if len(self.gates) == 1 else [f"{name} {trial}" for trial in range(1, len(self.gates) + 1)]


def _acting(kinds: Sequence[str], acts: Sequence[bool]) -> tuple[str, ...]:
    """Controls with `norm-matched` for `uniform` where that does nothing."""
    return tuple(dict.fromkeys("norm-matched" if kind == "uniform" and not all(acts) else kind for kind in kinds))


def arms_of(
    validation: Validation,
    sources: Mapping[str, Source],
    controls: Controls,
    search: Search,
    acts: Sequence[bool],
    seed: int,
) -> tuple[list[Arm], dict[str, Found[Intervention]]]:
    """All that is compared, vanilla first, and what each search found."""
    arms = [Arm("vanilla", "", (None,))]
    searched: dict[str, Found[Intervention]] = {}

    def drawn(control: str, gate: HeadGate, trials: int) -> tuple[HeadGate, ...]:
        return tuple(control_gate(control, gate, 1000 * seed + trial, acts) for trial in range(trials))

    for kind, source in sources.items():
        if not isinstance(source, HeadScores):
            its = truth_directions(source) if isinstance(source, HeadProbes) else source
            arms += _shifting(validation, kind, its, _causal(kind, sources), searched, controls.trials, seed)
            continue
        name = re.sub(r"(?<!\S)truth$", "probe", kind)
        found = searched[name] = search_lambda(validation, source, search)
        if not isinstance(gate := found.gate, HeadGate):
            continue
        arms.append(Arm(name, "", (gate,), found.best))
        for control in _acting(controls.kinds, acts):
            gates = drawn(control, gate, controls.trials if control in DRAWN else 1)
            arms.append(Arm(control, name, gates, found.best))
    if "uniform" in controls.kinds:
        tuned = "uniform" if all(acts) else "contrast"
        where = search_uniform if all(acts) else partial(search_contrast, acts=acts, seed=seed)
        found = searched[f"{tuned} ({TUNED})"] = where(validation, site=search.site)
        if found.gate is not None:
            arms.append(Arm(tuned, TUNED, (found.gate,), found.best))
    if controls.random_trials:
        any_gate = HeadGate(torch.ones(len(acts), validation.asker.model.cfg.n_heads), search.site)  # of any values
        arms.append(Arm("random", "", drawn("random", any_gate, controls.random_trials)))
    return arms, searched


def _causal(kind: str, sources: Mapping[str, Source]) -> HeadScores | None:
    """The causal scores that belong to directions: the model's own to its own."""
    names = ("own causal", "causal") if kind.startswith("own ") else ("causal",)
    found = (sources.get(name) for name in names)
    return next((its for its in found if isinstance(its, HeadScores)), None)


def _shifting(
    validation: Validation,
    name: str,
    directions: TruthDirections,
    causal: HeadScores | None,
    searched: dict[str, Found[Intervention]],
    trials: int,
    seed: int,
) -> list[Arm]:
    """A shift along directions of truth, and its controls: as many heads at random, each along its own direction;
    random directions, as long, on the same heads; and, each with a search of its own, the heads with the highest causal
    scores along their own directions, and random directions on the heads with the best probes."""
    ranked = Steering.of(directions)
    found = searched[name] = search_shift(validation, ranked)
    if not isinstance(shift := found.gate, HeadShift):
        return []
    alpha, heads = shift.provenance["alpha"], [(layer, head) for layer, head in shift.provenance["heads"]]
    seeds = [1000 * seed + trial for trial in range(trials)]
    turned = (random_directions(directions, its) for its in seeds)
    arms = [
        Arm(name, "", (shift,), found.best),
        Arm(RANDOM_HEADS, name, tuple(random_heads(directions, shift, its) for its in seeds), found.best),
        Arm(RANDOM_DIRECTIONS, name, tuple(HeadShift.from_probes(its, alpha, heads) for its in turned), found.best),
    ]
    others = {TUNED_DIRECTIONS: replace(ranked, directions=random_directions(directions, 1000 * seed + trials))}
    if causal is not None and causal.values.shape == directions.accuracy.shape:
        others[CAUSAL_HEADS] = ranked.by(causal)
    for control, steering in others.items():
        tuned = searched[f"{control} ({name})"] = search_shift(validation, steering)
        if tuned.gate is not None:
            arms.append(Arm(control, name, (tuned.gate,), tuned.best))
    return arms
