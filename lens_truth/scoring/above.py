"""How many heads are above the surface of the data that they were scored on."""

from __future__ import annotations

from collections.abc import Mapping

from lens_truth.confounds.audit_result import Audit
from lens_truth.confounds.findings import Finding
from lens_truth.io.numbers import number
from lens_truth.scoring.scores import HeadScores


def heads_above(scores: Mapping[str, HeadScores], audits: Mapping[str, Audit]) -> list[Finding]:
    """A finding for truth scores of which not all heads that matter are above the best baseline of their data: how many
    are not, by the lower end of their interval where there is one. Scores go with the audited data that their
    provenance names; those that name none, with the only one there is, which is said.

    >>> heads_above({"truth": truth}, {"mine.jsonl": lens_truth.audit_examples(examples)})
    """
    found: list[Finding] = []
    for name, its in scores.items():
        said = its.provenance.get("data")
        audit = audits.get(str(said)) if said else next(iter(audits.values())) if len(audits) == 1 else None
        shares = bool((its.values >= 0).all() and (its.values <= 1).all())  # a .npy file does not say its kind
        if its.kind != "truth" or not shares or audit is None or not audit.baselines:
            continue
        named = "" if said else ", if these were computed on its rows (the file does not say)"
        best = max(audit.baselines, key=lambda told: told.accuracy)
        least = its.metrics.get("ci_low", its.values)
        above, n = int((least > best.accuracy).sum()), its.values.size
        clearly = " with all of their interval" if "ci_low" in its.metrics else ""
        if above == n:
            continue
        layer, head = its.best()
        found.append(
            Finding(
                "heads above the surface",
                "confound" if above == 0 else "note",
                f"{above} of {n} heads of {name} are{clearly} above the best baseline ({best.what}, accuracy "
                f"{number(best.accuracy)}){named}",
                n - above,
                n,
                f"the best head, {layer}.{head}, has {number(float(its.values.max()))}",
                "Score what heads add to the surface (lens-truth probe --scores residual), or match the rows",
            )
        )
    return found
