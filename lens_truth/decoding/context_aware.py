"""`ContextAware`: what the context adds to what the model would say without it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lens_truth.data.examples import Example
from lens_truth.decoding.contrast import Contrast


@dataclass(frozen=True, eq=False)
class ContextAware(Contrast):
    """Context-aware decoding (Shi et al. 2024, arXiv 2305.14739, Section 2): the second pass is shown the question
    without its context, and without its image. Where there is neither, decoding is greedy.

    >>> lens_truth.ContextAware(0.5).other(example).context
    ''
    """

    strength: float = 0.5
    """a; the paper has .5, and 1 where knowledge conflicts."""
    plausible: float = field(default=0.0, kw_only=True)
    """The paper lets all tokens in."""

    def other(self, example: Example) -> Example | None:
        """See `without_context`."""
        return without_context(example)


def without_context(example: Example) -> Example | None:
    """The question alone; None of a statement, and where there is neither context nor image."""
    if example.is_statement or not (example.context or example.image):
        return None
    return replace(example, context="", evidence=(), image="", boxes=())
