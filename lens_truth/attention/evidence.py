"""`Evidence`: how much every head attends to the part of the context, or of the image, that holds the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from jaxtyping import Bool, Float
from safetensors import SafetensorError

from lens_truth.errors import InputError
from lens_truth.io.files import write_bytes
from lens_truth.io.numbers import interval, number, short, significant
from lens_truth.io.results import MisfitError, Result
from lens_truth.io.runs import Record
from lens_truth.io.streams import Stream, stream
from lens_truth.io.tables import Cell, Table, row, table
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.bootstrap import bootstrap_interval, group_sums
from lens_truth.stats.correlation import Map
from lens_truth.stats.relations import Relations, relate_measures, relation_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MEASURES = {
    "evidence": "attention of the answer's last token to the evidence, over what its length alone would give",
    "evidence over control": "the same, less that of equally long parts of the same context",
    "evidence when answering": "as evidence, of the tokens that the answer is predicted from",
    "retrieval": "share of the answer's tokens at which a head looks most at the same token in the evidence",
    "lookback": "mean attention to a token of the prompt, over the sum of that and the mean to a token of the answer",
}
MAIN = "evidence"
"""The measure that the sentences are about."""
ARRAYS = "attention.safetensors"
"""Beside `result.json`: what every head gives in every example."""


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
    """As in `Evidence`."""

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


@dataclass(frozen=True, eq=False)
class Evidence(Result):
    """What every head looks at, in every example that has evidence.

    >>> lens_truth.Evidence.load("runs/evidence").plot()
    """

    command = "evidence"
    part = "evidence"

    measures: Mapping[str, Float[np.ndarray, "N L H"]]
    """By the names of `MEASURES`, without those that no example defines. NaN where one does not: `evidence over
    control` if no other part of the context is as long, `retrieval` if the evidence is in an image, whose tokens are no
    words, all of `evidence` where a layer's sliding window does not reach the evidence."""
    ids: tuple[str, ...]
    """Of the N examples that have evidence, in their order."""
    groups: tuple[str, ...]
    """The group of each; intervals are drawn over groups."""
    provenance: Mapping[str, Any]
    """Model, weights, data and settings they were measured with."""
    seed: int = 0
    """Of the draws behind intervals and nulls."""

    def n_examples(self, measure: str) -> int:
        """How many examples define a measure, such as `looked.n_examples("retrieval")`."""
        return int(_defined(self.measures[measure]).sum())

    def means(self) -> dict[str, Map]:
        """Each measure's mean over the examples that define it, [L H]: `looked.means()["evidence"].mean()`."""
        return {name: its[_defined(its)].astype(np.float64).mean(0) for name, its in self.measures.items()}

    def scores(self, *, n_bootstrap: int = 2000) -> dict[str, HeadScores]:
        """The same as head scores; where the examples come from more than one group, with a 95% interval (bootstrap
        over groups) in `ci_low` and `ci_high`.

        >>> layer, head = looked.scores()["evidence"].best()
        """
        made: dict[str, HeadScores] = {}
        for at, (name, mean) in enumerate(self.means().items()):
            defined = _defined(self.measures[name])
            groups = np.array(self.groups)[defined].tolist()
            metrics: dict[str, Map] = {}
            if len(set(groups)) > 1:
                totals = group_sums(self.measures[name][defined].astype(np.float64), groups)
                rng = stream(self.seed, Stream.EVIDENCE_INTERVALS, at)
                low, high = bootstrap_interval(totals, group_sums(np.ones(len(groups)), groups), n_bootstrap, rng)
                metrics = {"ci_low": low, "ci_high": high}
            provenance = {**self.provenance, "n_examples": len(groups)}
            made[name] = HeadScores(mean, kind=name, metrics=metrics, provenance=provenance)
        return made

    def relate(self, scores: HeadScores, *, share: float = 0.25) -> Relations:
        """Holds scores of the same heads against every measure, with depth removed, against shuffles of heads.

        >>> looked.relate(lens_truth.truth_scores(activations))

        Args:
            share: of heads that count as those with high scores.

        Raises:
            InputError: if the scores are of other heads, or the share leaves no heads to compare.
        """
        kv = self.provenance["n_kv_heads"]
        return relate_measures(scores.values, self.means(), share=share, n_kv_heads=kv, seed=self.seed)

    def verdicts(self, relations: Mapping[str, Relations], wrong_mean: float | None = None) -> list[str]:
        """Sentences: how much heads look at the evidence, and whether those with high scores look at it more than other
        heads of their layer: `looked.verdicts({"truth": looked.relate(truth)})`.

        Args:
            relations: by the kind of scores.
            wrong_mean: mean attention to the evidence where the answer is hallucinated; None without such answers.
        """
        return self.summary.verdicts(relations, wrong_mean)

    def tables(self) -> tuple[Table, ...]:
        """A row a measure: its mean over heads, the examples that define it, and the head with the most:
        `print_table(looked.tables()[0])`."""
        return self.summary.tables()

    def plot(self, beside: Mapping[str, HeadScores] | None = None, title: str = "") -> Figure:
        """A map of heads a measure, each in its own range of colours: `looked.plot({"truth": truth})`.

        Args:
            beside: more maps of the same heads, by name.
        """
        from lens_truth.plots import heatmaps  # matplotlib, which measuring does without

        more = {name: its.values for name, its in (beside or {}).items()}
        said = title or f"{self.provenance['model']} (n = {len(self.ids)})"
        return heatmaps({**self.means(), **more}, f"{said}, each map in its own range of colours")

    def scatter(
        self,
        scores: Mapping[str, HeadScores],
        relations: Mapping[str, Relations],
        measures: Sequence[str] | None = None,
    ) -> Figure:
        """Each kind of scores against each measure, head by head; a line a kind, a panel a measure:
        `looked.scatter({"truth": truth}, {"truth": looked.relate(truth)})`.

        Args:
            measures: which; all by default.
        """
        from lens_truth.plots import Panel, scatter

        means = self.means()
        shown = measures or tuple(means)
        panels = [
            Panel(f"{kind} scores: {name}", its.values, {name: means[name]}, relation_text(relations[kind].score[name]))
            for (kind, its), name in product(scores.items(), shown)
        ]
        return scatter(panels, "head score", "what a head looks at, as each panel's title says", columns=len(shown))

    @cached_property
    def summary(self) -> EvidenceSummary:
        """In a few numbers: what `result.json` holds."""
        measured: dict[str, Measured] = {}
        for name, its in self.scores().items():
            at = its.best()
            ends = (float(its.metrics["ci_low"][at]), float(its.metrics["ci_high"][at])) if its.metrics else None
            mean, most = float(its.values.mean()), float(its.values[at])
            measured[name] = Measured(mean, its.provenance["n_examples"], at, most, ends)
        return EvidenceSummary(measured, self.ids, self.groups, self.provenance, self.seed)

    def in_record(self) -> dict[str, Any]:
        """The summary; the arrays go into a file of their own."""
        return self.summary.as_dict()

    def save_arrays(self, folder: Path) -> list[str]:
        """Writes the measures, float32."""
        arrays = {name: np.ascontiguousarray(its, dtype=np.float32) for name, its in self.measures.items()}
        write_bytes(folder / ARRAYS, safetensors.numpy.save(arrays))
        return [ARRAYS]

    @classmethod
    def of_record(cls, record: Record, name: str | None = None) -> Evidence:
        """What `result.json` holds, with the arrays from the file beside it; see `load`."""
        held = EvidenceSummary.of_record(record, name)
        file = record.file.parent / ARRAYS
        try:
            arrays = safetensors.numpy.load_file(file)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{file}: cannot be read ({error})") from error
        if arrays.keys() != held.measures.keys() or {its.shape[:-2] for its in arrays.values()} != {(len(held.ids),)}:
            raise InputError(f"{file}: is not of the run whose {record.file.name} lies beside it")
        return cls({name: arrays[name] for name in held.measures}, held.ids, held.groups, held.provenance, held.seed)


def _defined(values: Float[np.ndarray, "N L H"]) -> Bool[np.ndarray, " N"]:
    return np.isfinite(values.reshape(len(values), -1).sum(axis=1))


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
