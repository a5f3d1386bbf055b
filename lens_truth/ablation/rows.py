"""What an ablation found, as rows of plain data: gates on benchmarks, side effects, points of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lens_truth.io.numbers import number, short
from lens_truth.stats.paired import Comparison

TUNED = "tuned"
"""In `of`: a uniform gain chosen on validation, like lambda, instead of taken from a gate."""

ON = "on "
"""How a shift's `norm` begins: `on 48 heads`, `on 1 layer`; its lambda is alpha."""

RANDOM_HEADS, RANDOM_DIRECTIONS = "random heads", "random directions"
TUNED_DIRECTIONS, CAUSAL_HEADS = "tuned directions", "causal heads"
"""Controls of a shift."""

CAPTIONS = {"chair_s": "CHAIR_s", "chair_i": "CHAIR_i", "recall": "recall", "length": "length"}


@dataclass(frozen=True)
class GateRow:
    """One gate on one benchmark of n questions."""

    model: str
    gate: str
    """vanilla; a kind of scores (`own` before it: the model's own, where others come from its base); or a control."""
    of: str
    """For a control, the gate that it controls; `tuned` for what is chosen on validation without scores: a uniform
    gain, or a contrast where such a gain does nothing."""
    benchmark: str
    trials: int
    n: int
    accuracy: float
    accuracy_std: float
    """Standard deviation over trials (0 for one), of which accuracy, f1 and the like are means."""
    ci_low: float
    ci_high: float
    """95% bootstrap interval of the accuracy over groups of questions."""
    f1: float
    unparsed: float
    """Share of answers without a yes or no (open answers: empty ones; of choices none)."""
    answer_words: float
    """Mean length of an answer as the model wrote it."""
    lam: float | None = None
    """Of a shift, alpha: how many standard deviations along its directions."""
    norm: str | None = None
    """Of a shift, on how many heads."""
    strength: float | None = None
    """Root mean square over heads of gate - 1, or of a shift in standard deviations."""
    captions: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of captions, CHAIR's chair_s, chair_i, recall and length where they are defined."""
    negative_gates: int = 0
    """Heads whose output is inverted (most over trials)."""
    against: Mapping[str, Comparison] = field(default_factory=dict[str, Comparison])
    """Paired comparison with vanilla, and of a gate by scores with each of its controls."""
    readings: Mapping[str, float] = field(default_factory=dict[str, float])
    """Accuracy in every way to read the answers; see `BenchmarkResult`."""
    read_by: str = "strict"
    """The reading that counts, in `accuracy` and `against`."""
    chance: float = 0.0
    """What a guess reaches."""
    shorter: float | None = None
    """Of choices: how often the shorter answer is the supported one."""

    @property
    def arm(self) -> tuple[str, str]:
        """What tells gates of one model apart: the gate, and for a control the gate that it controls."""
        return self.gate, self.of

    @property
    def by_scores(self) -> bool:
        """Whether scores made the gate: neither vanilla nor a control."""
        return not self.of and self.gate not in ("vanilla", "random")


@dataclass(frozen=True)
class SideEffect:
    """On one neutral text, in nats a token: KL(vanilla || gated), and the cross-entropy of the gated model."""

    kl: float
    cross_entropy: float


@dataclass(frozen=True)
class SideEffectRow:
    """What one gate does to text without questions (means over trials)."""

    model: str
    gate: str
    of: str
    trials: int
    texts: Mapping[str, SideEffect]
    """By the name of the neutral text."""

    @property
    def arm(self) -> tuple[str, str]:
        """As that of a `GateRow`."""
        return self.gate, self.of


@dataclass(frozen=True)
class Candidate:
    """One point of the search."""

    lam: float
    norm: str
    """`uniform` for a gain of all heads, 1 + lam; `contrast N` for the Nth random direction, lam away from 1; `on N
    heads` for a shift of so many by lam standard deviations."""
    strength: float
    """Root mean square over heads of gate - 1, or of a shift in standard deviations."""
    accuracy: Mapping[str, float]
    """On each validation benchmark; none, if others ranked before it (choose alone, as earlier builds ranked)."""
    share: float | None = None
    """Where candidates were ranked by what they choose: the supported answers' mean share of the probability of all, on
    the questions that ranked them."""

    @property
    def objective(self) -> float:
        """Mean over benchmarks, so that a gain on one is weighed against losses on the others; NaN if it was asked
        none."""
        return mean_accuracy(self.accuracy)

    @property
    def setting(self) -> str:
        """As words and tables name it."""
        return f"{'α' if self.norm.startswith(ON) else 'λ'} = {short(self.lam)}, {self.norm}"

    def said(self) -> str:
        """Its setting, and what it reached."""
        return f"{self.setting}, {number(self.objective)}"


def mean_accuracy(by_benchmark: Mapping[str, float]) -> float:
    """What the search compares; NaN without a benchmark."""
    return float(np.mean(list(by_benchmark.values()))) if by_benchmark else float("nan")


def finalists(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that were asked in every way; only their objectives are of the same questions."""
    most = max(len(its.accuracy) for its in candidates)
    return [its for its in candidates if len(its.accuracy) == most]


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The one that is chosen, of those that were asked in every way: of equals the weakest gate, then the first."""
    return max(finalists(candidates), key=lambda c: (c.objective, -c.strength))
