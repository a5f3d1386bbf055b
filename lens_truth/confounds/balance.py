"""Labels as such: whether there are both, how many of each, in which order they stand, and over how many groups; and
answers that are too long to be answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.examples import Example, labels_of
from lens_truth.io.numbers import count, number

_UNEVEN = 0.6
FEW = 10
"""Fewer groups make no interval to be trusted."""
_LONG = 20_000
"""Characters of an answer that no one has written as an answer to a question."""


def balance_findings(examples: Sequence[Example]) -> list[Finding]:
    """What the labels' numbers and order do to scores."""
    labels = np.array(labels_of(examples))
    supported, N = int(labels.sum()), len(labels)
    if supported in (0, N):
        which = "supported" if supported else "hallucinated"
        return [
            Finding(
                "one label",
                "wrong",
                f"all {N} rows are {which}: no probe can be fitted, and no baseline",
                N,
                N,
                shown(examples[0]),
                "Add rows of the other label",
            ),
            *_few(examples),
            *_long(examples),
        ]
    found: list[Finding] = []
    larger = max(supported, N - supported) / N
    if larger >= _UNEVEN:
        which = "supported" if 2 * supported > N else "hallucinated"
        found.append(
            Finding(
                "label balance",
                "note",
                f"{which} rows are {number(larger)} of all, so an answer that is always the same has that accuracy",
                max(supported, N - supported),
                N,
                "",
                "Hold accuracies against that share, or use AUROC",
            )
        )
    return [*found, *_order(examples, labels), *_few(examples), *_long(examples)]


def _order(examples: Sequence[Example], labels: np.ndarray) -> list[Finding]:
    """A file sorted by label: its first rows, which `--limit` takes, have one."""
    run = int(np.argmax(labels != labels[0]))
    share = float((labels == labels[0]).mean())
    if run < 20 or share**run > 1e-6:
        return []
    which = "supported" if labels[0] else "hallucinated"
    return [
        Finding(
            "order of labels",
            "note",
            f"the first {run} rows are all {which}, so a limit of fewer rows takes one label only",
            run,
            len(labels),
            shown(examples[0]),
            "Shuffle the file before you limit it",
        )
    ]


def _few(examples: Sequence[Example]) -> list[Finding]:
    n = len({example.group for example in examples})
    if n >= FEW or len(examples) < FEW:
        return []
    return [
        Finding(
            "few groups",
            "note",
            f"all rows lie in {count(n, 'group')}; intervals over fewer than {FEW} are mostly too narrow",
            n,
            n,
            f"group '{examples[0].group[:60]}'",
            "Take more questions rather than more answers to each",
        )
    ]


def _long(examples: Sequence[Example]) -> list[Finding]:
    long = [example for example in examples if len(example.answer) > _LONG]
    if not long:
        return []
    worst = max(long, key=lambda example: len(example.answer))
    return [
        Finding(
            "long answers",
            "note",
            f"{len(long)} of {len(examples)} answers have more than {_LONG:,} characters, the longest "
            f"{len(worst.answer):,}: no model was meant to read them",
            len(long),
            len(examples),
            f"'{worst.id[:60]}'",
            "Look whether a quote or a line break is missing in the file",
        )
    ]
