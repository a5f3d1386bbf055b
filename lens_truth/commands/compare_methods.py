"""The methods that `compare` knows by name: what each needs, and what it is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import lens_truth
from lens_truth.commands.run import KINDS, scores_by_kind
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.commands.ablate_data import Parts
    from lens_truth.commands.compare import Config

METHODS = ("cad", "dola", "decore", "iti", "mass-mean", "truth", "causal", "learned", "uniform")
"""In the order of tables."""
UNDER = "gate"
"""What the gate of --under is called."""


class UnfitError(Exception):
    """Why a method does not fit the model or the data."""


@dataclass
class Given:
    """What methods are made from; what several need is computed once."""

    model: Any
    parts: Parts
    config: Config
    scored: dict[str, lens_truth.HeadScores] = field(default_factory=dict[str, "lens_truth.HeadScores"])
    """Scores that were computed, by title."""
    _scores: dict[str, lens_truth.HeadScores] = field(default_factory=dict[str, "lens_truth.HeadScores"])

    @property
    def asked(self) -> list[lens_truth.Example]:
        """All that judges."""
        return [example for benchmark in self.parts.test for example in benchmark.examples]

    @property
    def rows(self) -> list[lens_truth.Example]:
        """Rows with answers of both labels, which judge nothing."""
        labels = {example.label for example in self.parts.to_score}
        if len(labels) < 2:
            raise UnfitError("there are no rows with answers of both labels to compute it on")
        return self.parts.to_score

    def scores(self, kind: str) -> lens_truth.HeadScores:
        """Of a kind."""
        if kind not in self._scores:
            made = scores_by_kind(kind, self.model, self.rows, self.config, self.config.scoring)
            self._keep(kind, made)
        return self._scores[kind]

    def _keep(self, kind: str, made: lens_truth.HeadScores) -> None:
        named = replace(made, provenance={**made.provenance, "data": short_name(self.config.data)})
        self._scores[kind] = self.scored[f"{kind} scores"] = named

    @cached_property
    def probes(self) -> tuple[lens_truth.HeadActivations, lens_truth.HeadProbes]:
        """Of every head, and the activations that they are fitted on."""
        from lens_truth.models.placing import device_of

        config = self.config
        seen = lens_truth.capture(self.model, self.rows, template=config.scoring, batch_size=config.batch_size)
        return seen, lens_truth.HeadProbes.fit(seen, seed=config.seed, device=device_of(self.model))

    def retrieval(self) -> lens_truth.HeadScores:
        """How much every head copies from the context; from a file if there is one. Where the evidence is in images,
        how much it looks at it; without evidence causal scores."""
        if self.config.heads is not None:
            return lens_truth.HeadScores.load(self.config.heads)
        if "retrieval" not in self._scores:
            right = [example for example in self.parts.to_score if example.label and example.has_evidence]
            if not right:
                return self.scores("causal")
            how: dict[str, Any] = {"template": self.config.scoring, "batch_size": self.config.batch_size}
            looked = lens_truth.evidence_attention(self.model, right, seed=self.config.seed, **how).scores()
            self._keep("retrieval", looked.get("retrieval", looked["evidence"]))
        return self._scores["retrieval"]


def rivals_of(given: Given) -> tuple[dict[str, lens_truth.Rival], dict[str, str]]:
    """Rivals by name, as the flags want them, and those that do not fit, with the reason."""
    from lens_truth.gates.rows import read_intervention
    from lens_truth.rivals import known

    config = given.config
    rivals: dict[str, lens_truth.Rival] = {}
    left_out: dict[str, str] = {}
    made: dict[str, lens_truth.Rival | str] = {}
    for name in dict.fromkeys(config.methods or METHODS):
        found = [_made(part, given, made) for part in name.split("+")]
        if wrong := [its for its in found if isinstance(its, str)]:
            left_out[name] = wrong[0]
            continue
        first, *gates = [its for its in found if not isinstance(its, str)]
        if len(gates) > 1:
            raise InputError(f"--methods {name}: one gate at most stands behind the +")
        rivals[name] = first.under(gates[0]) if gates else first
    if config.under is not None:
        gate = read_intervention(config.under)
        gate.check(given.model)
        alone = {name: its for name, its in rivals.items() if its.kind in ("words", "decoding")}
        rivals[UNDER] = known.given_gate(gate)
        rivals |= {f"{name}+{UNDER}": its.under(gate) for name, its in alone.items()}
    if not rivals:
        raise InputError(f"none of the methods fits: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}")
    return rivals, left_out


def _made(name: str, given: Given, made: dict[str, lens_truth.Rival | str]) -> lens_truth.Rival | str:
    """A method by its name, or why it does not fit."""
    if name not in METHODS:
        raise InputError(f"there is no method '{name}'; the methods are {', '.join(METHODS)}")
    if name not in made:
        try:
            made[name] = _MAKERS[name](given) if name in _MAKERS else _by_scores(name, given)
        except UnfitError as why:
            made[name] = str(why)
    return made[name]


def _by_scores(kind: str, given: Given) -> lens_truth.Rival:
    from lens_truth.rivals.known import head_gate

    assert kind in KINDS
    return head_gate(given.scores(kind))


def _context_aware(given: Given) -> lens_truth.Rival:
    from lens_truth.rivals.known import context_aware

    if not any(example.context or example.image for example in given.asked):
        raise UnfitError("no question has a context or an image that could be taken away")
    return context_aware()


def _lower_layers(given: Given) -> lens_truth.Rival:
    from lens_truth.rivals.known import lower_layers

    return lower_layers()


def _silent_heads(given: Given) -> lens_truth.Rival:
    from lens_truth.rivals.known import silent_heads

    return silent_heads(given.retrieval())


def _shift(means: bool) -> Callable[[Given], lens_truth.Rival]:
    def made(given: Given) -> lens_truth.Rival:
        from lens_truth.rivals.known import head_shift

        seen, probes = given.probes
        return head_shift(lens_truth.truth_directions(probes, seen if means else None))

    return made


def _uniform(given: Given) -> lens_truth.Rival:
    from lens_truth.rivals.known import common_gain

    return common_gain(given.model, given.config.seed)


_MAKERS: dict[str, Callable[[Given], lens_truth.Rival]] = {
    "cad": _context_aware,
    "dola": _lower_layers,
    "decore": _silent_heads,
    "iti": _shift(means=False),
    "mass-mean": _shift(means=True),
    "uniform": _uniform,
}
