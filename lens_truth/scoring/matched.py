"""Truth scores with those on matched rows beside them, for whoever has the examples at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lens_truth.data.examples import Example
from lens_truth.data.matching import match
from lens_truth.errors import InputError, notice
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.probing import with_matched
from lens_truth.scoring.scores import HeadScores


def on_matched(scores: HeadScores, activations: HeadActivations, examples: Sequence[Example], **how: Any) -> HeadScores:
    """Truth scores and those on rows matched on length and last character; rows that cannot be folded (the paper's
    folds need no groups) are told of (`DataWarning`).

    >>> on_matched(probes.scores, activations, examples, estimator="ridge", n_folds=5, seed=0)

    Args:
        how: what the scores were made with, but for permutations.
    """
    try:
        matched = match(examples, n_folds=how.get("n_folds", 5), seed=how["seed"])
    except InputError as error:
        notice(f"no truth scores on matched rows: {error}")
        return scores
    return with_matched(scores, activations, matched, **how)
