"""What is said of scores beside their numbers, in a sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lens_truth.io.numbers import count, number
from lens_truth.io.readers import is_object

if TYPE_CHECKING:
    from lens_truth.scoring.scores import HeadScores


def residual_said(scores: HeadScores) -> str:
    """How many heads know more than the best surface classifier, and how many add to it, by the lower ends of their
    95% intervals; empty for scores that do not hold that.

    >>> residual_said(residual)
    '12 of 128 heads are above the best surface classifier (words of the answer, 0.812); 7 add to it'
    """
    surface = scores.provenance.get("best_surface")
    if not is_object(surface) or not {"above_low", "ci_low"} <= scores.metrics.keys():
        return ""
    what, accuracy = surface.get("what"), surface.get("accuracy")
    if not isinstance(what, str) or not isinstance(accuracy, float):
        return ""
    above, adding = (int((scores.metrics[name] > 0).sum()) for name in ("above_low", "ci_low"))
    return (
        f"{above} of {count(scores.values.size, 'head')} {'is' if above == 1 else 'are'} above the best surface "
        f"classifier ({what}, {number(accuracy)}); {adding} {'adds' if adding == 1 else 'add'} to it"
    )


def matched_said(scores: HeadScores) -> str:
    """Of truth scores with their twins on matched rows: the best head by both, and which rows these are; or why there
    are none. Empty where nothing was matched.

    >>> matched_said(lens_truth.truth_scores(activations, matched=lens_truth.data.match(examples)))
    """
    record = scores.provenance.get("matched")
    if scores.kind != "truth" or not is_object(record) or not isinstance(said := record.get("said"), str):
        return ""
    twin = scores.metrics.get("matched")
    if twin is None or not np.isfinite(twin).all():
        return f"no truth scores on matched rows: {said}"
    at = scores.best()
    layer, head = np.unravel_index(int(twin.argmax()), twin.shape)
    return (
        f"on matched rows the best head, {at[0]}.{at[1]}, goes from {number(float(scores.values[at]))} to "
        f"{number(float(twin[at]))}, and the best one there is {layer}.{head} with {number(float(twin.max()))}; {said}"
    )
