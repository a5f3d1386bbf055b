"""What a comparison of rivals found, as plain data: what each costs, and what it does where nothing is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lens_truth.stats.paired import Comparison

VANILLA = "vanilla"
"""The model as it is."""
Kind = Literal["words", "decoding", "gain", "heads", "dynamic", "both"]
KINDS: dict[Kind, str] = {
    "words": "other words in the prompt",
    "decoding": "another way to the next token",
    "gain": "all heads alike",
    "heads": "heads scaled or shifted, always",
    "dynamic": "heads scaled or shifted, where a rule says so",
    "both": "a way to decode under a gate",
}
"""What a rival changes, the plainest first."""
OF_HEADS: tuple[Kind, ...] = ("heads", "dynamic")
"""Kinds that tell heads apart."""


@dataclass(frozen=True)
class Elsewhere:
    """Change of the accuracy on all benchmarks but the one that counts, mean over them, against the model as it is."""

    difference: float
    ci_low: float
    ci_high: float
    """95% bootstrap interval over groups of questions, which benchmarks may share."""


@dataclass(frozen=True)
class TextEffect:
    """What a rival does to a text about which nothing is asked, at places cut out of it."""

    n: int
    """Places."""
    changed: float
    """Share of them at which it would write another token than the model as it is."""
    changed_ci: tuple[float, float]
    """95% bootstrap interval over passages."""
    kl: float
    """KL(model as it is || rival) of the next token, in nats; NaN where the rival leaves some tokens no chance, so that
    there is none."""


@dataclass(frozen=True)
class Cost:
    """Time of writing the same prompts, as many tokens each. It is measured, and so differs from run to run."""

    seconds: float
    """Of a round, median."""
    ratio: float
    """Over the model as it is right before, median."""
    low: float
    high: float
    """The smallest and the largest ratio of a round."""


@dataclass(frozen=True)
class Triggered:
    """How often a dynamic gate acts, asked at the end of each prompt; and what that is worth."""

    of_rows: Mapping[str, float]
    """By test benchmark, share of the prompts on which it acts."""
    mean: float
    """By how much of itself it acts on the validation prompts, mean."""
    against_twin: Comparison
    """On the benchmark that counts, against the gate of that mean strength, which acts always: the first less the
    second."""
    against_static: Comparison | None = None
    """The same against the gate itself, acting always; None in results of earlier builds."""


@dataclass(frozen=True)
class HeadsOrNot:
    """The best rival that tells heads apart against the best that does not, as validation ranks them."""

    heads: str
    other: str
    against: Comparison
    """On the benchmark that counts: the first less the second."""
