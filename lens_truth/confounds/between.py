"""`between_sets`: what two data sets have both, and what the words of one tell of the other's labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lens_truth.confounds.between_result import Between, Transfer
from lens_truth.confounds.duplicates import loose_key
from lens_truth.confounds.findings import Finding, Level, shown, worst_first
from lens_truth.confounds.splits import context_of, image_of, subject_named
from lens_truth.confounds.surface import APART, STRADDLES
from lens_truth.data.agreement import answer_key
from lens_truth.data.bag_of_words import PENALTY
from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface_features import FEATURES
from lens_truth.data.surface_fits import Judge, held_out_of, seen_by
from lens_truth.errors import InputError, shortened
from lens_truth.io.numbers import interval, number
from lens_truth.io.stages import stage
from lens_truth.stats.folds import check_labels, grouped_folds

_TEXTS = ("question words", "answer words")
_SHARED: tuple[tuple[str, str, Callable[[Example], str], Level], ...] = (
    ("subjects", "subject", subject_named, "leak"),
    ("images", "image", image_of, "leak"),
    ("contexts", "context", context_of, "note"),
)


@stage("surface")
def between_sets(
    one_name: str,
    one: Sequence[Example],
    other_name: str,
    other: Sequence[Example],
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> Between:
    """Subjects, images and contexts in both, and how a bag of words goes over from each to the other.

    >>> print(*lens_truth.between_sets("cities", cities, "negated cities", negated).warnings())
    """
    findings: list[Finding] = []
    for kind, single, named, level in _SHARED:
        here, there = ({name for e in its if (name := named(e))} for its in (one, other))
        if both := sorted(here & there):
            findings.append(
                Finding(
                    f"{kind} in both",
                    level,
                    f"{one_name} and {other_name} share {len(both)} {kind} (of {len(here)} and {len(there)})",
                    len(both),
                    min(len(here), len(there)),
                    f"'{shortened(both[0])}'",
                    f"What is trained on one has seen the other's {kind}: hold out by {single} over both",
                )
            )
    findings += _labels(one_name, one, other_name, other)
    transfers: list[Transfer] = []
    for (train_name, train), (test_name, test) in (
        ((one_name, one), (other_name, other)),
        ((other_name, other), (one_name, one)),
    ):
        for text in _TEXTS:
            found = _transfer(train_name, train, test_name, test, text, n_folds, seed)
            if found is not None:
                transfers.append(found)
                findings += _told(found, len(test))
    return Between(tuple(transfers), worst_first(findings))


def _labels(one_name: str, one: Sequence[Example], other_name: str, other: Sequence[Example]) -> list[Finding]:
    """Answers that are the same but for case and signs, and labelled the other way; those that are the same to the
    letter are `label_agreement`'s."""
    first = {loose_key(example): example for example in one}
    exact = {answer_key(example) for example in one}
    turned = [
        example
        for example in other
        if answer_key(example) not in exact
        and (same := first.get(loose_key(example))) is not None
        and same.label != example.label
    ]
    if not turned:
        return []
    return [
        Finding(
            "labels of near copies",
            "wrong",
            f"LABEL CONFLICT: {one_name} and {other_name} label {len(turned)} answers oppositely, alike but for case "
            "or signs",
            len(turned),
            len(other),
            f"{shown(turned[0])}, and {shown(first[loose_key(turned[0])])}",
            "Decide which label holds",
        )
    ]


def _transfer(
    train_name: str,
    train: Sequence[Example],
    test_name: str,
    test: Sequence[Example],
    text: str,
    n_folds: int,
    seed: int,
) -> Transfer | None:
    both = [*train, *test]
    labels = np.array(labels_of(both))
    second = np.arange(len(both)) >= len(train)
    try:
        check_labels(labels[~second])
        check_labels(labels[second])
        fold = grouped_folds(labels, [e.group for e in both], n_folds, seed, second.astype(np.int64))
    except InputError:
        return None
    x = seen_by(text, both)
    if not x.shape[1] or not x[~second].sum() or not x[second].sum():
        return None
    decided = np.zeros(len(both))
    for k in range(n_folds):
        train_rows, test_rows = ~second & (fold != k), second & (fold == k)
        if len(set(labels[train_rows].tolist())) < 2 or not test_rows.any():
            return None
        decided[test_rows] = held_out_of(x, labels, train_rows, test_rows, PENALTY)
    groups = [e.group for e in test]
    judge = Judge(labels[second], groups, fold[second], seed, 0)
    told = judge.baseline(text, FEATURES[text].what, decided[second], None)
    whole = held_out_of(x, labels, ~second, second, PENALTY)
    shared = Judge(labels[second], groups, 0 * fold[second], seed, 0, 1).auroc(whole)
    return Transfer(train_name, test_name, told.what, told.auroc, told.low, told.high, shared)


def _told(its: Transfer, n: int) -> list[Finding]:
    found: list[Finding] = []
    apart = max(its.low - 0.5, 0.5 - its.high)
    if apart >= APART:
        way = "" if its.auroc > 0.5 else ", the wrong way round"
        found.append(
            Finding(
                "words transfer",
                "confound",
                f"{its.what}, trained on {its.trained}, separate the labels of {its.tested} with AUROC "
                f"{number(its.auroc)} {interval((its.low, its.high))}{way}",
                n,
                n,
                "",
                "Hold a probe that goes over from one to the other against this number, not against .5",
            )
        )
    if abs(its.shared - its.auroc) >= STRADDLES:
        found.append(
            Finding(
                "groups straddle",
                "leak",
                f"{its.what}, trained on {its.trained}, separate the labels of {its.tested} with AUROC "
                f"{number(its.shared)} where groups stand in both, and {number(its.auroc)} where the tested ones are "
                "held out",
                n,
                n,
                "",
                "Hold the groups that are tested out of training",
            )
        )
    return found
