"""`Found`: what was found in something else than labelled answers: score files, dose curves."""

from __future__ import annotations

from dataclasses import dataclass

from lens_truth.confounds.audit_result import findings_table
from lens_truth.confounds.findings import Finding
from lens_truth.io.results import Result
from lens_truth.io.tables import Table


@dataclass(frozen=True, eq=False)
class Found(Result):
    """Findings alone.

    >>> found = lens_truth.Found.load("runs/audit", "compliance.csv")
    >>> print(*found.warnings("compliance.csv"), *found.tables())
    """

    command = "audit"
    part = "found"
    named = True

    what: str
    """What was looked at, in words."""
    findings: tuple[Finding, ...]
    """Worst first."""

    def warnings(self, name: str) -> list[str]:
        """A sentence for each: `found.warnings("compliance.csv")`."""
        return [f"{name}: {its.sentence}" for its in self.findings if its.level != "note"]

    def tables(self) -> tuple[Table, ...]:
        """A row a finding."""
        return (findings_table({"": self.findings}),) if self.findings else ()
