"""What heads look at, in a few numbers and in words: as much of an `Evidence` as `result.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lens_truth.io.numbers import interval, number, short, significant
from lens_truth.io.results import MisfitError, Result
from lens_truth.io.tables import Cell, Table, row, table
from lens_truth.stats.relations import Relations, relation_text

MEASURES = {
    "evidence": "attention of the answer's last token to the evidence, over what its length alone would give",
    "evidence over control": "the same, less that of equally long parts of the same context",
    "evidence when answering": "as evidence, of the tokens that the answer is predicted from",
    "retrieval": "share of the answer's tokens at which a head looks most at the same token in the evidence",
    "lookback": "mean attention to a token of the prompt, over the sum of that and the mean to a token of the answer",
}
MAIN = "evidence"
"""The measure that the sentences are about."""


@dataclass(frozen=True)
class Measured:
    """One measure."""

    mean: float
    """Over heads, of their means over examples."""
    n_examples: int
    """That define it."""
    best: tuple[int, int]
    """Layer and head with the highest mean over examples,"""
    most: float
    """which is this,"""
    interval: tuple[float, float] | None
    """with its 95% interval; None where all examples are of one group."""


@dataclass(frozen=True, eq=False)
class EvidenceSummary(Result):
    """All measures, and the examples that were looked at."""

    command = "evidence"
    part = "evidence"

    measures: Mapping[str, Measured]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    provenance: Mapping[str, Any]
    seed: int
    """As in `lens_truth.attention.evidence.Evidence`."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.groups):
            raise MisfitError(["groups"], f"has {len(self.groups)} items for {len(self.ids)} ids")

    def tables(self) -> tuple[Table, ...]:
        """A row a measure."""
        header = ("", "mean over heads", "examples", "head with the most [95%]")
        rows = (
            row(
                Cell(name, more=(MEASURES[name],) if name in MEASURES else ()),
                short(its.mean),
                str(its.n_examples),
                f"{its.best[0]}.{its.best[1]}: {number(its.most, 2)} {interval(its.interval)}".rstrip(),
            )
            for name, its in self.measures.items()
        )
        return (table("What heads look at", header, rows),)

    def verdicts(self, relations: Mapping[str, Relations], wrong_mean: float | None) -> list[str]:
        """See `Evidence.verdicts`."""
        its = self.measures[MAIN]
        layer, head = its.best
        ends = interval(its.interval) or "[one group of examples, so no interval]"
        sentence = (
            f"At the answer's last token heads give the evidence {its.mean:.2f} times what its length alone would "
            f"(mean over heads); most, head {layer}.{head}: {its.most:.2f} {ends}"
        )
        if wrong_mean is not None:
            sentence += f". Where the answer is hallucinated the mean is {wrong_mean:.2f}"
        return [f"{sentence}.", *(_verdict(kind, related) for kind, related in relations.items())]


def _verdict(kind: str, related: Relations) -> str:
    relation, top = related.score[MAIN], related.top[MAIN]
    p = related.p_holm[MAIN][0]
    if relation is None or top is None or p is None:
        return f"{kind} scores and attention to the evidence: no correlation over heads is defined."
    holds = "a relation beyond depth" if significant(p) else "no relation beyond depth holds up"
    others = [
        f"{name} ({other.pearson_within_layer:+.2f} inside layers, Holm p = {its:.2g})"
        for name, other in related.score.items()
        if name != MAIN and other is not None and (its := related.p_holm[name][0]) is not None and significant(its)
    ]
    return (
        f"{kind} scores and attention to the evidence: {relation_text(relation)}; {holds} (Holm p = {p:.2g}). "
        f"The {top.n_top} heads with the highest {kind} scores give it {top.difference:+.2f} more than the rest, "
        f"{top.difference_within_layer:+.2f} inside layers (p = {top.p_value:.2g})."
        + (f" Related: {', '.join(others)}." if others else "")
    )
