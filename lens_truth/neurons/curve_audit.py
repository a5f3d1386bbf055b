"""A log of dose curves as `audit` tells of it: `curve_flags` as findings."""

from __future__ import annotations

from collections.abc import Mapping

from lens_truth.confounds.findings import Finding, Level, worst_first
from lens_truth.neurons.curve_flags import Kind, curve_flags, shared_points
from lens_truth.neurons.dose_log import ItemCurve

_TOLD: dict[Kind, tuple[str, Level, str]] = {
    "odd point": ("outlier in a dose curve", "wrong", "Compute this point as its neighbours were, or leave it out"),
    "step": ("step in a dose curve", "wrong", "Compute the unmodified model as the others were"),
    "copied curve": ("identical seeds", "wrong", "They are one run: leave all but one out, or run the others"),
    "copied dose": ("copied dose", "wrong", "Run this dose again"),
    "nothing changes": ("nothing changes", "wrong", "Look whether the dose was applied at all"),
    "missing items": ("missing items", "note", "Draw the curve over items that it has at every dose"),
    "repeated rows": ("repeated rows", "note", "Keep one of each"),
    "stops early": ("stops early", "note", "Compare curves over the doses that all have"),
}


def curve_findings(curves: Mapping[str, ItemCurve], *, seed: int = 42) -> tuple[Finding, ...]:
    """Outlier points, steps, identical seeds and what else `curve_flags` knows, over all curves of a log; the dose
    that leaves the model as it is is 1 if there is such a dose, else 0.

    >>> for found in curve_findings(read_dose_log(Path("compliance.csv"))):
    ...     print(found.sentence)
    """
    references = {
        name: 1.0 if 1.0 in its.alphas else 0.0 if 0.0 in its.alphas else its.alphas[0] for name, its in curves.items()
    }
    _, flags = curve_flags(curves, references, shared_points(curves), 100.0, seed)
    found: list[Finding] = []
    for kind, (check, level, cure) in _TOLD.items():
        its = [flag for flag in flags if flag.kind == kind]
        points = kind in ("odd point", "copied dose")
        n = sum(len(curve.alphas) for curve in curves.values()) if points else len(curves)
        what = "points" if points else "curves"
        if its:
            said = f"{check}: {len(its)} of {n} {what}"
            found.append(Finding(check, level, said, len(its), n, its[0].sentence, cure))
    return worst_first(found)
