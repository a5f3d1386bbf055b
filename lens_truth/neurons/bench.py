"""Where classifiers of hallucination are judged: the same splits, answers and draws of groups for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from lens_truth.data.overlap import shared_questions
from lens_truth.data.replies import Reply
from lens_truth.detection.metrics import auroc, drawn_weights
from lens_truth.detection.result import Measured
from lens_truth.errors import InputError, notice
from lens_truth.io.streams import Stream
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.finding import Rows
from lens_truth.neurons.study_result import Worth
from lens_truth.stats.folds import check_labels, grouped_folds

_DRAWS = 1000
Numbers = Int[np.ndarray, " _"]
Decisions = Float[np.ndarray, " _"]
Trial = Sequence[Decisions]
"""The decisions on the test answers of every split."""


@dataclass(frozen=True, eq=False)
class Side:
    """Answers with the texts that they are of."""

    rows: Rows
    replies: list[Reply]
    n_tokens: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, activity: NeuronActivity, replies: Sequence[Reply]) -> Side:
        """Activity, and of the replies those that it is of, in its order."""
        by_id = {reply.example.id: reply for reply in replies}
        if missing := [id for id in activity.ids if id not in by_id]:
            raise InputError(
                f"{len(missing)} of {len(activity.ids)} answers whose neurons were read are not among the replies "
                f"(first: '{missing[0]}')"
            )
        return cls(Rows.of(activity), [by_id[id] for id in activity.ids], activity.n_tokens)

    def __len__(self) -> int:
        return len(self.replies)

    def texts(self, numbers: Numbers, of: str) -> list[str]:
        """The questions (with their contexts) or the answers of some."""
        some: list[int] = numbers.tolist()
        replies = [self.replies[n] for n in some]
        if of == "answer":
            return [reply.answer for reply in replies]
        return [f"{reply.example.context} {reply.example.question}" for reply in replies]

    def apart_from(self, train: Side) -> Side:
        """The answers without those of groups that are trained on, which are counted (a `DataWarning`); questions that
        are the same in other groups are named alone."""
        seen = {*train.rows.groups}
        kept = np.array([n for n, group in enumerate(self.rows.groups) if group not in seen], dtype=np.int64)
        side = self
        if lost := len(self) - len(kept):
            notice(f"{lost} of {len(self)} test answers are left out: their groups are among the training answers")
            if not len(kept):
                raise InputError("all test answers are of groups that neurons are found in: give others, or none")
            numbers: list[int] = kept.tolist()
            replies = [self.replies[n] for n in numbers]
            side = Side(self.rows.part(kept), replies, self.n_tokens[kept])
        texts = [[reply.example for reply in its.replies] for its in (train, side)]
        for told in shared_questions(*texts).warnings("training answers", "test answers"):
            notice(told)
        check_labels(side.rows.hallucinated)
        return side


@dataclass(frozen=True)
class Split:
    """Answers to train on, and others to judge on; none is of a group of the first."""

    train: Numbers
    test: Numbers


@dataclass(frozen=True, eq=False)
class Bench:
    """Training and test answers, and how they are split."""

    train: Side
    test: Side
    splits: Sequence[Split]
    weights: Float[np.ndarray, "B N"]
    """How often each test answer counts: once, and then in every draw of groups."""

    @classmethod
    def of(cls, train: Side, test: Side | None, n_folds: int, seed: int) -> Bench:
        """Without test answers every training answer is judged once, by what was found without its group."""
        if test is None:
            labels, groups = train.rows.hallucinated, train.rows.groups
            fold = grouped_folds(labels, groups, n_folds, seed)
            splits = [Split(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]
        else:
            test = test.apart_from(train)
            splits = [Split(np.arange(len(train)), np.arange(len(test)))]
        judged = train if test is None else test
        drawn = drawn_weights(judged.rows.groups, _DRAWS, seed, Stream.NEURON_INTERVALS)
        return cls(train, judged, splits, np.concatenate([np.ones((1, len(judged))), drawn]))

    def relabelled(self, rows: Rows) -> Bench:
        """The same splits and draws of answers that are both trained and judged on, with other labels."""
        side = replace(self.train, rows=rows)
        return replace(self, train=side, test=side)

    def trial(self, decide: Callable[[Side, Numbers, Side, Numbers], Decisions]) -> Trial:
        """Decisions of what is trained on every split."""
        return [decide(self.train, split.train, self.test, split.test) for split in self.splits]

    def aurocs(self, trial: Trial, weights: Float[np.ndarray, "B N"] | None = None) -> Float[np.ndarray, " _"]:
        """How often a hallucinated answer has the higher decision than a right one of the same split (decisions of
        different fits are not compared), for every draw."""
        of, won, pairs = self.weights if weights is None else weights, np.zeros(1), np.zeros(1)
        for decided, split in zip(trial, self.splits, strict=True):
            y, its = self.test.rows.hallucinated[split.test], of[:, split.test]
            many = (its * y).sum(1) * (its * (1 - y)).sum(1)
            won = won + many * np.nan_to_num(auroc(decided, y, its))
            pairs = pairs + many
        return np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)

    def accuracies(self, trial: Trial) -> Float[np.ndarray, " B"]:
        """Share of answers on their side of 0."""
        right = np.empty(len(self.test))
        for decided, split in zip(trial, self.splits, strict=True):
            right[split.test] = (decided > 0) == (self.test.rows.hallucinated[split.test] == 1)
        return (self.weights @ right) / self.weights.sum(1)

    def worth(self, trials: Sequence[Trial], found: Trial, n_neurons: int | None = None) -> Worth:
        """Means over trials; the difference from what was found is by the same draws."""
        own = np.mean([self.aurocs(trial) for trial in trials], axis=0)
        right = np.mean([self.accuracies(trial) for trial in trials], axis=0)
        behind = self.aurocs(found) - own
        return Worth(n_neurons, len(trials), *(_measured(its) for its in (own, right, behind)))


def _measured(draws: Float[np.ndarray, " B"]) -> Measured:
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    return Measured(float(draws[0]), float(low), float(high))
