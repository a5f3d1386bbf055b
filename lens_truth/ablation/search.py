"""The search on validation: which lambda and normalisation, which gain without scores, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from lens_truth.ablation.rows import Candidate, best_of, mean_accuracy
from lens_truth.data.examples import question_pairs
from lens_truth.decoding.decoder import Decoder
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.evaluate.result import MARGIN
from lens_truth.gates.controls import contrast_gate
from lens_truth.gates.gate import HeadGate, Norm, Site
from lens_truth.gates.rows import UNGATED, Intervention
from lens_truth.io.files import hash_of
from lens_truth.models.hooks import Hooked, grid_of
from lens_truth.scoring.scores import HeadScores

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult

STRENGTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""How far gates may be from 1 (root mean square over heads). Scores of different kinds have different units, so
lambda is set to reach these; TruthProbe's control 1 + U(-1, 1) has 0.58. What a model stands differs with its depth, so
they begin low."""
FINALISTS = 2
"""Candidates of a gate that are asked in every way, where all of them are first ranked by what they choose."""
RANKED = 16
"""The most questions on which they are ranked. A share of probability tells candidates apart that as few right answers
would not."""
CONTRASTS = 2
"""Directions that are tried for a contrast without scores: as many candidates as a gate by scores has."""


Way = TypeVar("Way", bound=Intervention | Decoder)
Tried = tuple[Intervention, float, str]
"""What acts on the model, with its lambda and normalisation."""


@dataclass(frozen=True)
class Search:
    """What is tried on validation.

    >>> lens_truth.Search(fixed=("minmax", 0.65))  # nothing: lambda was chosen elsewhere
    """

    fixed: tuple[Norm, float] | None = None
    """Normalisation and lambda chosen elsewhere, instead of twelve candidates: `center` and `minmax`, each with the
    lambdas that bring the gate .01, .02, .05, .1, .2 and .5 away from 1 (root mean square over heads)."""
    site: Site = "z"
    """Where all gates act; see `HeadGate`."""


@dataclass(frozen=True)
class Found(Generic[Way]):
    """What a search found."""

    candidates: tuple[Candidate, ...]
    gate: Way | None
    """That of the best candidate (as `best_of` chooses); None where none does better than no gate."""

    @property
    def best(self) -> Candidate:
        """Of the candidates."""
        return best_of(self.candidates)


@dataclass(frozen=True)
class Validation:
    """The questions on which lambda is chosen, and what the model without a gate makes of them."""

    asker: Asker
    benchmarks: tuple[Benchmark, ...]
    """With the reading that counts first."""
    vanilla: Mapping[str, float] = field(default_factory=dict[str, float])
    """Accuracy without a gate on each benchmark: lambda 0, where every curve begins."""

    @classmethod
    def of(cls, asker: Asker, benchmarks: Sequence[Benchmark]) -> Validation:
        """Asks the model as it is, once; how it answers decides how answers are read."""
        asked = [with_margin(asker, benchmark) for benchmark in benchmarks]
        results = [by_gate[""] for by_gate in asker.run_all(asked, UNGATED).values()]
        counted = [read_by(benchmark, counting(its)) for benchmark, its in zip(asked, results, strict=True)]
        vanilla = {b.name: its.by_reading[b.parses[0]] for b, its in zip(counted, results, strict=True)}
        return cls(asker, tuple(counted), vanilla)

    def read(self, benchmark: Benchmark) -> Benchmark:
        """A test benchmark, read as the validation benchmark of its name is."""
        benchmark = with_margin(self.asker, benchmark)
        mine = [its.parses[0] for its in self.benchmarks if (its.name, its.mode) == (benchmark.name, benchmark.mode)]
        return read_by(benchmark, mine[0]) if mine else benchmark

    def tried(self, gates: Sequence[tuple[Way, float, str]], fixed: bool = False) -> Found[Way]:
        """All gates (or ways to decode) with their lambda and normalisation (or what else sets their size); a fixed one
        is taken whatever it does.

        Where questions are put as a choice and in other ways too, all gates choose, which takes one short pass, on
        `RANKED` of the questions. The `FINALISTS` that give the supported answers the largest share of the probability
        (of equals the weaker) are asked everything; the winner is best in all ways.
        """
        named = {f"search {norm} {lam:.3g}": gate for gate, lam, norm in gates}
        choices, share = [its for its in self.benchmarks if its.mode == "choose"], dict[str, float]()
        asked = list(named)
        if choices and len(choices) < len(self.benchmarks) and len(named) > FINALISTS:
            by_way = self.asker.run_all([_some_of(its) for its in choices], named).values()
            share = {
                name: float(np.mean([its[name].ranked.measures["mass"].mean() for its in by_way])) for name in named
            }
            asked = sorted(named, key=lambda name: (-share[name], named[name].strength))[:FINALISTS]
        found = self.asker.run_all(self.benchmarks, {name: named[name] for name in asked})
        reached = {name: {its: by_gate[name].accuracy for its, by_gate in found.items()} for name in asked}
        candidates = tuple(
            Candidate(lam, norm, gate.strength, reached.get(name, {}), share.get(name))
            for name, (gate, lam, norm) in zip(named, gates, strict=True)
        )
        best = best_of(candidates)
        wanted = fixed or best.objective > mean_accuracy(self.vanilla)
        return Found(candidates, gates[candidates.index(best)][0] if wanted else None)


def _some_of(benchmark: Benchmark) -> Benchmark:
    """So many of its questions as rank candidates, whatever their order."""
    pairs = question_pairs(benchmark.examples)
    kept = sorted(pairs, key=lambda pair: hash_of(benchmark.examples[pair[0][0]].id))[:RANKED]
    rows = sorted(row for pair in kept for side in pair for row in side)
    return replace(benchmark, examples=tuple(benchmark.examples[row] for row in rows))


def counting(result: BenchmarkResult) -> str:
    """The reading that counts, by what the model without a gate wrote: the strict one, unless it finds less than half
    of what the lenient one finds right (the model answers in sentences), or cannot read one in twenty (then the
    log-odds of yes and no count)."""
    found, strict = result.by_reading, result.parses[0]
    if "contains" in found and found[strict] < found["contains"] / 2:
        return "contains"
    return MARGIN if MARGIN in found and result.unparsed > UNREADABLE else strict


def read_by(benchmark: Benchmark, reading: str) -> Benchmark:
    """With the reading that counts first."""
    return replace(benchmark, parses=tuple(dict.fromkeys((reading, *benchmark.parses))))


def with_margin(asker: Asker, benchmark: Benchmark) -> Benchmark:
    """Yes or no is read by its log-odds too, where the tokenizer tells one from the other."""
    if benchmark.mode not in ("yes-no", "judge") or not asker.has_margins:
        return benchmark
    return replace(benchmark, parses=tuple(dict.fromkeys((*benchmark.parses, MARGIN))))


def search_lambda(validation: Validation, scores: HeadScores, search: Search | None = None) -> Found[Intervention]:
    """A fixed normalisation and lambda are the only candidate; so are those of learned scores, a gate already."""
    search = search or Search()
    return validation.tried(gates_by(scores, search), fixed=search.fixed is not None)


def gates_by(scores: HeadScores, search: Search) -> list[Tried]:
    """All candidates of a gate by scores."""
    if search.fixed is not None:
        settings: list[tuple[Norm, float]] = [search.fixed]
    elif scores.kind == "learned":
        settings = [("none", 1.0)]
    else:
        norms: tuple[Norm, ...] = ("center", "minmax")
        spreads: dict[Norm, float] = {norm: HeadGate.from_scores(scores, 1.0, norm).strength for norm in norms}
        settings = [(norm, far / spread) for norm, spread in spreads.items() if spread for far in STRENGTHS]
        settings = settings or [("center", 1.0)]  # constant scores make a gate of ones whatever lambda is
    return [(HeadGate.from_scores(scores, lam, norm, site=search.site), lam, norm) for norm, lam in settings]


def search_uniform(validation: Validation, site: Site = "z") -> Found[Intervention]:
    """A single gain for all heads: what amplifying attention as a whole achieves, without any scores."""
    return validation.tried(uniform_gains(validation.asker.model, site))


def uniform_gains(model: Hooked, site: Site = "z") -> list[Tried]:
    """All candidates of such a gain."""
    ones = torch.ones(*grid_of(model))
    return [(HeadGate(ones + far, site), far, "uniform") for far in STRENGTHS]


def search_contrast(validation: Validation, acts: Sequence[bool], seed: int, site: Site = "z") -> Found[Intervention]:
    """The same where a norm undoes a gain that all heads of a layer share: there heads are told apart at random."""
    return validation.tried(contrasts(validation.asker.model, acts, seed, site))


def contrasts(model: Hooked, acts: Sequence[bool], seed: int, site: Site = "z") -> list[Tried]:
    """All candidates of such a contrast."""
    n_heads, gates = model.cfg.n_heads, list[Tried]()
    for draw in range(CONTRASTS):
        made = ((contrast_gate(acts, n_heads, far, 1000 * seed + draw, site), far) for far in STRENGTHS)
        gates += [(gate, far, f"contrast {draw + 1}") for gate, far in made]
    return gates
