"""`Audit`: what makes truth scores on a set of labelled answers an artefact, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lens_truth.confounds.findings import LEVELS, Finding, warnings_of
from lens_truth.data.surface_told import SurfaceBaseline
from lens_truth.io.numbers import interval, number, p_value, share
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table


@dataclass(frozen=True, eq=False)
class Audit(Result):
    """What a set of labelled answers gives away without a model; see `audit_examples`.

    >>> audit = lens_truth.Audit.load("runs/audit")
    >>> print(audit.verdict, *audit.warnings(), audit.tables()[0])
    """

    command = "audit"
    part = "audit"
    named = True

    rows: int
    groups: int
    supported: int
    """Rows with label 1."""
    surface_accuracy: float
    """Of the baseline that sees the answer's length and last character; NaN where there is none."""
    no_surface: str
    """Why there are no surface baselines; empty where there are."""
    repeated: int
    """Rows beyond the first with the same context, question, answer and image."""
    contradictory: int
    """Answers (each counted once) that have both labels."""
    baselines: tuple[SurfaceBaseline, ...] = ()
    """What each feature of the surface tells, and what a model tells without knowledge."""
    findings: tuple[Finding, ...] = ()
    """Worst first."""

    @property
    def majority_share(self) -> float:
        """Share of the larger class: the accuracy of an answer that is always the same."""
        return max(self.supported, self.rows - self.supported) / self.rows

    @property
    def verdict(self) -> str:
        """In a few words, from the worst finding."""
        if not self.findings:
            return "nothing found"
        return LEVELS[self.findings[0].level]

    def warnings(self, name: str = "the data") -> list[str]:
        """A sentence for whatever keeps truth scores from being about truth, worst first, with the name of the set:
        `audit.warnings("mine.jsonl")`."""
        none = [f"{name}: no surface baselines: {self.no_surface}"] if self.no_surface else []
        return [*none, *warnings_of(self.findings, name)]

    def tables(self) -> tuple[Table, ...]:
        """The set in numbers, its findings, its baselines."""
        more = [
            *([findings_table({"": self.findings})] if self.findings else []),
            *([baselines_table(self.baselines)] if self.baselines else []),
        ]
        return (audit_table({"": self}), *more)


def audit_table(audits: Mapping[str, Audit]) -> Table:
    """A row a data set, by name."""
    header = ("data", "rows", "groups", "supported", "larger class", "surface", "repeated", "both labels", "verdict")
    rows: list[Row] = []
    for name, its in audits.items():
        counts = [str(n) for n in (its.rows, its.groups, its.supported, its.repeated, its.contradictory)]
        shares = [number(its.majority_share), number(its.surface_accuracy)]
        alarm = bool(its.findings) and its.findings[0].level != "note"
        rows.append(row(name, *counts[:3], *shares, *counts[3:], Cell(its.verdict, alarm=alarm)))
    note = "surface: accuracy of a baseline that sees only the answer's length and last character"
    return table("Are the labels fit to be probed?", header, rows, note)


def findings_table(findings: Mapping[str, Sequence[Finding]]) -> Table:
    """A row a finding, worst first within each data set."""
    rows = [
        row(
            name,
            Cell(its.check, alarm=its.level != "note"),
            LEVELS[its.level],
            f"{its.count} of {its.of}",
            its.says,
            its.example,
            its.cure,
        )
        for name, found in findings.items()
        for its in found
    ]
    header = ("data", "check", "which means", "how many", "what", "example", "cure")
    return Table("What was found, worst first", header, tuple(rows), form="words")


def baselines_table(baselines: Sequence[SurfaceBaseline], name: str = "") -> Table:
    """A row a feature, of the data of a name."""
    rows = [
        row(
            its.what,
            number(its.auroc),
            interval((its.low, its.high), 3),
            p_value(its.p_value),
            number(its.accuracy),
            share(abs(2 * its.auroc - 1)),
        )
        for its in baselines
    ]
    note = (
        "AUROC: mean over held-out folds that keep groups whole, with a 95% interval over groups; p: labels permuted "
        "inside groups, each fold read by what was fitted on the folds before it (empty where that moves nothing)"
    )
    header = ("what is seen", "AUROC", "95%", "p", "accuracy", "apart from .5")
    caption = f"What tells the labels{f' of {name}' if name else ''} without understanding them"
    return table(caption, header, rows, note)
