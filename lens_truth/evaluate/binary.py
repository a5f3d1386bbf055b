"""Yes or no: accuracy, precision, recall, F1, and how many answers could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class BinaryMetrics:
    """Of answers to yes-or-no questions; yes is the positive class."""

    n: int
    accuracy: float
    """Share of right answers; one that could not be read is wrong."""
    precision: float | None
    """Share of right ones among the answers yes; None if there is none."""
    recall: float | None
    """Share of the questions with the answer yes that got it; None if there is none."""
    f1: float | None
    yes_ratio: float
    """Share of yes among all answers (of the model, not of the questions)."""
    unparsed: float
    """Share of answers that could not be read."""


def binary_metrics(said: Sequence[str | None], wanted: Sequence[str]) -> BinaryMetrics:
    """Compares answers (`yes`, `no`, or None for neither) with the right ones."""
    n, n_said, n_wanted = len(wanted), said.count("yes"), wanted.count("yes")
    hits = sum(s == w == "yes" for s, w in zip(said, wanted, strict=True))
    right = sum(s == w for s, w in zip(said, wanted, strict=True))
    return BinaryMetrics(
        n=n,
        accuracy=right / n,
        precision=hits / n_said if n_said else None,
        recall=hits / n_wanted if n_wanted else None,
        f1=2 * hits / (n_said + n_wanted) if n_said + n_wanted else None,
        yes_ratio=n_said / n,
        unparsed=said.count(None) / n,
    )


@dataclass(frozen=True)
class MarginMetrics:
    """Of the log-odds of yes against no, which are there whatever a model writes."""

    accuracy: float
    """Yes where the log-odds are above 0."""
    precision: float | None
    recall: float | None
    f1: float | None
    yes_ratio: float
    auroc: float | None
    """Whether they rank questions with the answer yes above the others, wherever the threshold; None where all
    questions have the same answer."""


def margin_metrics(margins: Sequence[float], wanted: Sequence[str]) -> MarginMetrics:
    """Compares log-odds with the right answers."""
    from sklearn import metrics  # takes longer than showing what was found

    m = binary_metrics(["yes" if margin > 0 else "no" for margin in margins], wanted)
    truth = [answer == "yes" for answer in wanted]
    auroc = float(cast("float", metrics.roc_auc_score(truth, margins))) if len(set(truth)) == 2 else None
    return MarginMetrics(m.accuracy, m.precision, m.recall, m.f1, m.yes_ratio, auroc)
