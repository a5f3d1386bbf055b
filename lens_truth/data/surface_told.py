"""`SurfaceBaseline`: what one feature of the surface of examples tells of their labels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SurfaceBaseline:
    """What one feature of the surface tells.

    >>> for told in lens_truth.audit_examples(examples).baselines:
    ...     print(told.what, told.auroc, told.low, told.high, told.p_value)
    >>> lens_truth.data.SurfaceBaseline("last", "last character", 0.62, 0.57, 0.67, 0.004, 0.6).apart  # .07
    """

    name: str
    """As `match` knows it."""
    what: str
    """In words."""
    auroc: float
    """Mean over held-out folds; .5 tells nothing, below it words stand with one label here and the other there."""
    low: float
    """Of its 95% interval, a bootstrap over groups."""
    high: float
    p_value: float
    """Of no association, two-sided, by labels permuted inside groups; NaN where that is no test of it (all rows of a
    group look alike, or groups have unequal shares of labels), and where it was not asked for."""
    accuracy: float
    """Mean over held-out folds."""
    surest: int = 0
    """The row of which it is surest, and right."""
    right: int = 0
    """Rows that it tells rightly."""

    @property
    def apart(self) -> float:
        """How far the interval lies from .5, 0 if it holds it."""
        return max(0.0, self.low - 0.5, 0.5 - self.high)
