"""`audit_examples`: is a truth score on these examples an artefact? All that can be said without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lens_truth.confounds.audit_result import Audit
from lens_truth.confounds.balance import balance_findings
from lens_truth.confounds.claims import claim_findings
from lens_truth.confounds.contexts import context_findings
from lens_truth.confounds.duplicates import copy_findings, repeat_findings
from lens_truth.confounds.findings import Finding, worst_first
from lens_truth.confounds.prompts import prompt_findings
from lens_truth.confounds.row_claims import has_statements, row_findings
from lens_truth.confounds.splits import group_findings, split_findings
from lens_truth.confounds.surface import straddle_findings, surface_finding
from lens_truth.data.agreement import repeats
from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface import surface_accuracy
from lens_truth.data.surface_fits import PERMUTATIONS, surface_baselines
from lens_truth.data.surface_told import SurfaceBaseline
from lens_truth.errors import InputError
from lens_truth.io.stages import stage

QUICK = ("characters", "last", "overlap", "answer words", "question words")
"""Features that commands look at by themselves."""
_QUICK_DRAWS = 200


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
    >>> print(audit.verdict, *audit.warnings())

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
    """What takes a second or two: all but near copies, splits, shuffled folds and most baselines.

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
        how: dict[str, Any] = {
            "n_folds": n_folds,
            "seed": seed,
            "n_permutations": _QUICK_DRAWS - 1,
            "n_bootstrap": _QUICK_DRAWS,
        }
        told = surface_baselines(examples, None, names, **how) if names else ()
    except InputError:
        told = ()  # too few groups or one label: said by whoever fits something
    found += [its for each in told if (its := surface_finding(each, examples))]
    return worst_first(found)
