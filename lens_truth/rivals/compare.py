"""`compare_rivals`: what helps against hallucination in a model, at what cost, and is it the heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.ablation.limits import limit_of
from lens_truth.ablation.measured import gate_row, marks_of
from lens_truth.ablation.rows import Candidate, GateRow
from lens_truth.ablation.search import Found, Validation
from lens_truth.ablation.side_effects import NeutralText
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.rivals.costs import writing_costs
from lens_truth.rivals.result import RivalComparison
from lens_truth.rivals.rival import Rival, Searching, Way
from lens_truth.rivals.rows import KINDS, OF_HEADS, VANILLA, Cost, Elsewhere, HeadsOrNot, TextEffect, Triggered
from lens_truth.rivals.texts import text_effects
from lens_truth.rivals.twins import static_of, static_twins, triggered_of
from lens_truth.stats.correlation import holm_by_name
from lens_truth.stats.paired import Comparison, compare, ratio_interval

if TYPE_CHECKING:
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.result import BenchmarkResult

_Results = Mapping[str, "BenchmarkResult"]
"""Of one benchmark, by rival."""


def compare_rivals(
    asker: Asker,
    rivals: Mapping[str, Rival],
    *,
    test: Sequence[Benchmark],
    validation: Sequence[Benchmark],
    neutral: Sequence[NeutralText] = (),
    headline: str | None = None,
    timed: int = 4,
    left_out: Mapping[str, str] | None = None,
    seed: int = 0,
) -> RivalComparison:
    """Rivals beside the model as it is, on the same prompts, read in the same way.

    Each is tried in all its sizes on `validation`, as `run_ablation` tries lambdas, and tested in the best one; one
    that does no better there than the model as it is does not act, and is not tested. Differences are paired over
    questions (groups of them) and p-values are Holm's over all rivals that were tested.

    >>> rivals = {"cad": lens_truth.Rival.of("decoding", [(lens_truth.ContextAware(1.0), 1.0, "strength")])}
    >>> found = lens_truth.compare_rivals(asker, rivals, test=test, validation=validation)

    Args:
        asker: the model, and how it is asked.
        rivals: by name.
        test: benchmarks that judge; one of them counts, the others say what a rival costs elsewhere.
        validation: benchmarks on which sizes are chosen, of other questions.
        headline: the name of the one that counts; by default the first on which the model as it is could gain and lose.
        neutral: texts about which nothing is asked.
        timed: prompts of the first test benchmark with written answers behind which all write, to be timed; 0: none.
        left_out: rivals that do not fit the model or the data, with the reason; they stand in the table.

    Raises:
        InputError: if there are no rivals or benchmarks, or two go by one name, or a rival does not fit the model or
            has no sizes, or two that are called alike, or no test benchmark is called as the headline.
    """
    _check(rivals, test, validation, headline, left_out or {})
    with stage("search"):
        searching = Searching(Validation.of(asker, validation))
        found = {name: searching.of(rival) for name, rival in rivals.items()}
    acting = {name: its.gate for name, its in found.items() if its.gate is not None}
    with stage("test"):
        asked = [searching.validation.read(benchmark) for benchmark in test]
        twins = static_twins(searching.validation, acting)
        results = list(asker.run_all(asked, {VANILLA: None, **acting, **twins}).values())
    rows = [gate_row(asker.name, VANILLA, [its[VANILLA]], [None], seed) for its in results]
    for name, way in acting.items():
        parts = [other for other in acting if rivals[other] in rivals[name].parts]
        rows += [_row(asker.name, name, way, found[name].best, parts, its, seed) for its in results]
    bare = [row for row in rows if row.gate == VANILLA]
    headline = headline or next((row.benchmark for row in bare if limit_of(row) is None), bare[0].benchmark)
    counts, *others = sorted(results, key=lambda its: its[VANILLA].name != headline)
    p_values = {name: row.against[VANILLA].p_value for name in acting for row in rows if _is(row, name, headline)}
    return RivalComparison(
        model=asker.name,
        headline=headline,
        rows=tuple(rows),
        kinds={name: rival.kind for name, rival in rivals.items()},
        search={name: its.candidates for name, its in found.items()},
        validation=searching.validation.vanilla,
        p_holm={name: p for name, p in holm_by_name(p_values).items() if p is not None},
        elsewhere={name: _elsewhere(name, others, seed) for name in acting if others},
        texts=_texts(asker, rivals, acting, neutral, seed),
        apart={name: rival.apart for name, rival in rivals.items() if rival.apart},
        costs=_costs(asker, {name: searching.best(rival) for name, rival in rivals.items()}, test, timed),
        triggered={
            name: _triggered(asker, asked, name, gate, twins, counts, seed)
            for name, gate in acting.items()
            if isinstance(gate, DynamicGate)
        },
        heads_or_not=_heads_or_not(rivals, found, counts, seed),
        left_out=dict(left_out or {}),
        seed=seed,
    )


def _check(
    rivals: Mapping[str, Rival],
    test: Sequence[Benchmark],
    validation: Sequence[Benchmark],
    headline: str | None,
    left_out: Mapping[str, str],
) -> None:
    """Raises an InputError for what cannot be compared."""
    if not test or not validation:
        raise InputError("rivals are compared on one benchmark or more, and their sizes chosen on others: name both")
    for benchmarks in (test, validation):
        names = [benchmark.name for benchmark in benchmarks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"two benchmarks are called '{twice}'")
    check_headline(headline, test)
    if not rivals:
        raise InputError("there is no rival to compare with the model as it is")
    twins = {twin for name in rivals for twin in static_of(name)}
    if taken := {VANILLA, *left_out, *twins} & rivals.keys():
        raise InputError(f"a rival is called '{min(taken)}', which is taken")


def check_headline(headline: str | None, test: Sequence[Benchmark]) -> None:
    """Raises an InputError if a benchmark is to count that is not there."""
    if headline is not None and headline not in (names := [benchmark.name for benchmark in test]):
        raise InputError(f"there is no test benchmark '{headline}', only {', '.join(names)}")


def _is(row: GateRow, name: str, benchmark: str) -> bool:
    return (row.gate, row.benchmark) == (name, benchmark)


def _row(
    model: str, name: str, acting: Way, best: Candidate, parts: Sequence[str], its: _Results, seed: int
) -> GateRow:
    """Against the model as it is; of a way to decode under a gate, against both alone too."""
    against = {other: _against(its, name, other, seed) for other in (VANILLA, *parts)}
    return replace(gate_row(model, name, [its[name]], [acting], seed), lam=best.lam, norm=best.norm, against=against)


def _against(its: _Results, first: str, second: str, seed: int) -> Comparison:
    return compare(marks_of([its[first]]), marks_of([its[second]]), its[first].groups, seed)


def _elsewhere(name: str, others: Iterable[_Results], seed: int) -> Elsewhere:
    """Benchmarks weigh alike, whatever the number of their questions."""
    changes = [its[name].correct - its[VANILLA].correct for its in others]
    whole = np.concatenate([np.full(len(its), 1 / len(its)) for its in changes])
    groups = [group for its in others for group in its[name].groups]
    part = np.concatenate(changes) * whole
    return Elsewhere(float(part.sum() / whole.sum()), *ratio_interval(part, whole, groups, seed))


def _texts(
    asker: Asker, rivals: Mapping[str, Rival], acting: Mapping[str, Way], neutral: Sequence[NeutralText], seed: int
) -> dict[str, dict[str, TextEffect]]:
    """By rival and text, of those that a text without a question can show."""
    shown = {name: its for name, its in acting.items() if not rivals[name].apart}
    found: dict[str, dict[str, TextEffect]] = {name: {} for name in shown}
    with stage("side effects"):
        for text in neutral if shown else ():
            by_name = text_effects(asker.model, shown, text, batch_size=asker.batch_size, seed=seed)
            for name, effect in by_name.items():
                found[name][text.name] = effect
    return {name: its for name, its in found.items() if its}


def _costs(asker: Asker, sizes: Mapping[str, Way], test: Sequence[Benchmark], timed: int) -> dict[str, Cost]:
    """Of the best size on validation, wanted or not."""
    written = next((benchmark for benchmark in test if benchmark.mode != "choose"), None)
    if written is None or timed < 1:
        return {}
    with stage("timing"):
        return writing_costs(asker, written, sizes, timed)


def _triggered(
    asker: Asker,
    test: Sequence[Benchmark],
    name: str,
    gate: DynamicGate,
    twins: Mapping[str, Way],
    counts: _Results,
    seed: int,
) -> Triggered:
    full, twin = static_of(name)
    return triggered_of(asker, test, gate, twins[twin], (counts[name], counts[full], counts[twin]), seed)


def _heads_or_not(
    rivals: Mapping[str, Rival], found: Mapping[str, Found[Way]], its: _Results, seed: int
) -> HeadsOrNot | None:
    """Of the rivals that were tested; which two is decided on validation (of equals the plainer kind, and the first),
    so one test is all there is."""
    plainest = list(KINDS)
    tested = [name for name in rivals if name in its and rivals[name].kind != "both"]
    tested.sort(key=lambda name: plainest.index(rivals[name].kind))

    def best(names: list[str]) -> str | None:
        return max(names, key=lambda name: found[name].best.objective, default=None)

    heads = best([name for name in tested if rivals[name].kind in OF_HEADS])
    other = best([name for name in tested if rivals[name].kind not in OF_HEADS])
    if heads is None or other is None:
        return None
    return HeadsOrNot(heads, other, _against(its, heads, other, seed))
