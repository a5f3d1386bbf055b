"""What a statement that can be computed comes to, and what a question that can be computed asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Check = Literal["arithmetic", "dates"]


@dataclass(frozen=True)
class Truth:
    """Whether a statement holds.

    >>> Truth(True, "51 < 52", (Fraction(51), Fraction(52)), "arithmetic", "<")
    """

    holds: bool
    how: str
    """What was computed, without whether it holds."""
    of: tuple[object, ...]
    """The values it is about, in its order: that of its subject first."""
    check: Check = "arithmetic"
    sign: str = ""
    """The relation between them; empty for what is no relation of two values."""

    @property
    def sentence(self) -> str:
        """What was computed, and what it is."""
        return f"{self.how} is {'true' if self.holds else 'false'}"

    def negated(self, negated: bool = True) -> Truth:
        """The truth of its negation; itself if it is not negated."""
        if not negated:
            return self
        return Truth(not self.holds, f"not {self.how}", self.of, self.check, "")


@dataclass(frozen=True)
class Asked:
    """A question whose right answer can be computed; one to which yes or no is the answer has a `Truth` instead."""

    how: str
    """What was computed: `the smaller of 51 and 52 is 51`."""
    read: Callable[[str], object | None]
    """The value that a bare answer names; None where it is none."""
    right: Callable[[object], bool | None]
    """Whether a value is a right answer; None where that is open."""
    stated: Callable[[Truth], bool | None]
    """Whether a statement that was computed is a right answer; None where it does not say."""
    check: Check = "arithmetic"
    words: tuple[str, ...] = ()
    """Patterns of how an answer may repeat what was asked, with `(.+)` for the value: `(.+) is smaller`."""
