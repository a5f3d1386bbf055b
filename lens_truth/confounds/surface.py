"""What the surface tells, as findings; and what folds that ignore groups make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.bag_of_words import PENALTY
from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface_features import FEATURES
from lens_truth.data.surface_fits import Judge, held_out, seen_by
from lens_truth.data.surface_told import SurfaceBaseline
from lens_truth.errors import InputError
from lens_truth.io.numbers import interval, number, p_value
from lens_truth.stats.folds import cut_folds, grouped_folds

SURFACE, UNTAUGHT = "SURFACE CONFOUND", "NO HEAD NEEDED"
"""What sentences of baselines begin with."""
APART = 0.03
"""An AUROC's interval that lies farther than this from .5 is a confound; nearer, it is no finding."""
STRADDLES = 0.1
"""By how much groups on both sides must move an AUROC to be told of."""
_CERTAIN = 0.01
_CURES = {
    "overlap": "A head that finds the answer's words in context or question does as well: hold scores against it",
    "question words": "Ask every question with a right and a wrong answer, match on it, or hold scores against it",
    "context words": "Show every context with a right and a wrong answer, match on it, or hold scores against it",
    "untrained twin": "What an untrained model tells is no knowledge: hold scores against this baseline",
    "layer-0 embedding, mean": "What a bag of tokens tells needs no head: hold scores against it, or swap answers",
    "layer-0 embedding, last token": "What the last token alone tells needs no head: hold scores against this baseline",
    "log-probability": "A head may know only what is likely: hold scores against this baseline",
    "log-probability per token": "A head may know only what is likely: hold scores against this baseline",
}
_CURE = (
    'Match the rows (lens_truth.data.match(examples, on=["{}"]), which says what is left), or swap answers (swap:FILE)'
)


def surface_finding(told: SurfaceBaseline, examples: Sequence[Example]) -> Finding | None:
    """A finding where a baseline tells the labels: its interval is .03 from .5, and labels permuted inside groups (if
    that moves it) hardly ever get so far."""
    if told.apart < APART or told.p_value > _CERTAIN:
        return None
    way = "" if told.auroc > 0.5 else ", the wrong way round: it goes with the other label in other groups"
    p = "" if math.isnan(told.p_value) else f", p = {p_value(told.p_value)}"
    right = "" if math.isnan(told.accuracy) else f", accuracy {number(told.accuracy)}"
    kind = SURFACE if told.name in FEATURES else UNTAUGHT
    auroc = f"{number(told.auroc)} {interval((told.low, told.high))}"
    says = f"{kind}: by the {told.what} alone the labels are told apart with AUROC {auroc}{p}{right}{way}"
    touched = told.right if told.auroc > 0.5 else len(examples) - told.right
    example, cure = shown(examples[told.surest]), _CURES.get(told.name, _CURE.format(told.name))
    return Finding(told.name, "confound", says, touched, len(examples), example, cure)


def straddle_findings(examples: Sequence[Example], *, n_folds: int, seed: int) -> list[Finding]:
    """A bag of words in folds that cut through groups against one in folds that do not: what published numbers with
    shuffled rows are off by."""
    if len({example.group for example in examples}) == len(examples):
        return []
    labels, groups_of = np.array(labels_of(examples)), [example.group for example in examples]
    try:
        folds = grouped_folds(labels, groups_of, n_folds, seed), cut_folds(labels, n_folds, seed)
    except InputError:
        return []
    x = seen_by("both words" if examples[0].question.strip() else "answer words", examples)
    if not x.shape[1]:
        return []
    kept, cut = (Judge(labels, groups_of, fold, seed, 0, 1).auroc(held_out(x, labels, fold, PENALTY)) for fold in folds)
    if abs(kept - cut) < STRADDLES:
        return []
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    several = [its for its in groups.values() if len(its) > 1]
    example = f"{several[0][0].answer[:80]} / {several[0][1].answer[:80]}" if several else ""
    return [
        Finding(
            "pairs straddle folds",
            "note",
            f"where folds ignore groups, words read AUROC {number(cut)}; where they keep groups whole, {number(kept)}: "
            "rows of a group share their words, and in shuffled folds one is trained on for the other",
            sum(map(len, several)),
            len(examples),
            example,
            "Keep groups in one fold, as this package does; numbers from shuffled folds are about the pairs",
        )
    ]
