"""`Audit`: is a truth score on these examples an artefact? All that can be said without a model, worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lens_truth.confounds.balance import balance_findings
from lens_truth.confounds.claims import claim_findings
from lens_truth.confounds.contexts import context_findings
from lens_truth.confounds.duplicates import copy_findings, repeat_findings
from lens_truth.confounds.findings import LEVELS, Finding, warnings_of, worst_first
from lens_truth.confounds.prompts import prompt_findings
from lens_truth.confounds.row_claims import has_statements, row_findings
from lens_truth.confounds.splits import group_findings, split_findings
from lens_truth.confounds.surface import straddle_findings, surface_finding
from lens_truth.data.agreement import repeats
from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface import surface_accuracy
from lens_truth.data.surface_baselines import PERMUTATIONS, SurfaceBaseline, surface_baselines
from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value, share
from lens_truth.io.results import Result
from lens_truth.io.stages import stage
from lens_truth.io.tables import Cell, Row, Table, row, table

QUICK = ("characters", "last", "answer words", "question words")
"""Features that commands look at by themselves."""
_QUICK_DRAWS = 200


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


@stage("audit")
def audit_examples(
    examples: Sequence[Example],
    *,
    rows: Sequence[Mapping[str, object]] = (),
    n_folds: int = 5,
    seed: int = 0,
    n_permutations: int = PERMUTATIONS,
) -> Audit:
    """Is a truth score on these examples an artefact? What the surface of answers and questions tells of the labels,
    labels that contradict one another, arithmetic, the calendar or the context, what stands on both sides of folds or
    splits, labels in the prompt, repeated rows, balance and order. Looks at rows only: images need not be there.

    >>> audit = lens_truth.audit_examples(examples)
    >>> print(audit.verdict, *audit.warnings(), *audit.tables())

    Args:
        rows: of the file as they stand there: of these the column `split` (or `in_train`, ...) is looked at, and
            answers that are called right without a label of their own.
        n_folds: held-out folds of the surface baselines; groups are never split.
        n_permutations: of labels inside groups, for the p-value of each baseline; 0 for none.

    Raises:
        InputError: for no examples, and for fewer than 2 folds.
    """
    if not examples:
        raise InputError("there are no examples to audit")
    if n_folds < 2:
        raise InputError(f"{n_folds} folds were asked for; at least 2 are needed")
    surface, why = math.nan, ""
    baselines: tuple[SurfaceBaseline, ...] = ()
    try:
        surface = surface_accuracy(examples, n_folds=n_folds, seed=seed)
        baselines = surface_baselines(examples, n_folds=n_folds, seed=seed, n_permutations=n_permutations)
    except InputError as error:
        why = str(error)
    findings = [
        *(its for its in quick_findings(examples, None) if its.check != "arithmetic" or not has_statements(rows)),
        *(found for told in baselines if (found := surface_finding(told, examples))),
        *straddle_findings(examples, n_folds=n_folds, seed=seed),
        *copy_findings(examples),
        *split_findings(rows),
        *row_findings(rows),
    ]
    groups = {example.group for example in examples}
    counts = len(examples), len(groups), sum(labels_of(examples))
    return Audit(*counts, surface, why, *repeats(examples), baselines, worst_first(findings))


def quick_findings(
    examples: Sequence[Example], names: Sequence[str] | None = QUICK, *, n_folds: int = 5, seed: int = 0
) -> tuple[Finding, ...]:
    """What takes a second or two: all but near copies, splits, shuffled folds and most baselines; the others without
    permutations.

    >>> for found in quick_findings(examples):
    ...     print(found.sentence)

    Args:
        names: features whose baselines are wanted; None for no baseline at all.
    """
    found = [
        finding
        for look in (
            balance_findings,
            repeat_findings,
            claim_findings,
            context_findings,
            prompt_findings,
            group_findings,
        )
        for finding in look(examples)
    ]
    try:
        how: dict[str, Any] = {"n_folds": n_folds, "seed": seed, "n_permutations": 0, "n_bootstrap": _QUICK_DRAWS}
        told = surface_baselines(examples, None, names, **how) if names else ()
    except InputError:
        told = ()  # too few groups or one label: said by whoever fits something
    found += [its for each in told if (its := surface_finding(each, examples))]
    return worst_first(found)


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
