"""All methods of verification on made answers, where what they should find is known, and on a model of the zoo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.detection import verification as names
from lens_truth.detection.ends import AnswerEnds
from lens_truth.detection.reranking import (
    AMONG,
    BY_MARGIN,
    FIRST,
    LIKELIEST,
    MAJORITY,
    NEAREST,
    ORACLE,
    RANDOM,
    SHORTEST,
    Reranking,
)
from lens_truth.detection.rules import reranked
from lens_truth.detection.verification import ABOUT, Verification
from lens_truth.detection.verifying import (
    Answers,
    answers_of_samples,
    given_answers,
    shuffled_truths,
    verified,
)
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.sampling import SampledAnswers, Sampling, sampled_answers
from lens_truth.models.prompts import PromptTokens

Q = 60


def made(truth: float, length: float, *, seed: int = 0) -> Answers:
    """Two answers to each of 60 questions; `truth` is what a right one's delta holds of a direction, and `length` how
    many more tokens it has, each of which adds to another direction."""
    rng = np.random.default_rng(seed)
    labels = np.tile([1, 0], Q)
    tokens = rng.integers(3, 8, 2 * Q) + np.round(length * labels).astype(int)
    about, grows = rng.normal(size=(2, 2, 12))
    start = np.repeat(rng.normal(size=(Q, 2, 12)), 2, axis=0)
    delta = truth * labels[:, None, None] * about + tokens[:, None, None] * grows + rng.normal(size=(2 * Q, 2, 12))
    first, last = (torch.from_numpy(its).float() for its in (start, start + delta))
    ends = AnswerEnds(first, last, tokens, -1.0 * tokens, tokens)
    groups = tuple(f"g{i // 4}" for i in range(2 * Q))
    return Answers("given", ends, labels, groups, np.arange(2 * Q) // 2, ("x",) * 2 * Q, (("", ""),) * 2 * Q)


def found(tiny: Any, answers: Answers, **how: Any) -> Verification:
    return verified(tiny, answers, n_permutations=40, **how)


def test_length_alone_makes_clue_and_is_seen(tiny: Any) -> None:
    its = found(tiny, made(0.0, 2.0)).measured
    assert its[names.CLUE, "all"].low > 0.6 and its[names.LENGTH, "all"].low > 0.6
    alike = its[names.CLUE, "length"]
    assert alike.low < 0.5 < alike.high
    assert its[names.LENGTH, "length"].low < 0.5 < its[names.LENGTH, "length"].high
    assert its[names.MATCHED, "length"].low < 0.5 < its[names.MATCHED, "length"].high


def test_truth_is_left_where_answers_are_as_long(tiny: Any) -> None:
    result = found(tiny, made(1.0, 2.0))
    for name in (names.CLUE, names.MATCHED):
        assert result.measured[name, "length"].low > 0.7
        assert result.measured[name, "question"].value > 0.8
    assert result.measured[names.START, "question"].value == 0.5  # of one question both begin alike
    assert result.p_null == pytest.approx(1 / 41)
    accuracy, (low, high) = result.accuracy(names.CLUE)
    assert low <= accuracy <= high and accuracy > 0.75


def test_nothing_is_found_where_nothing_is(tiny: Any) -> None:
    above = [found(tiny, made(0.0, 0.0, seed=seed)).measured[names.CLUE, "all"] for seed in range(6)]
    assert sum(its.low <= 0.5 <= its.high for its in above) >= 4
    assert np.mean([its.value for its in above]) == pytest.approx(0.5, abs=0.06)


def test_experiences_are_of_other_groups(tiny: Any) -> None:
    """A direction of each group's own, with opposite signs: it is known only to who has seen the group."""
    answers = made(0.0, 0.0)
    rng = np.random.default_rng(1)
    own = torch.from_numpy(np.repeat(rng.normal(size=(30, 2, 12)), 4, axis=0)).float() * 20
    sign = torch.from_numpy(2 * answers.labels - 1)[:, None, None]
    ends = replace(answers.ends, end=answers.ends.end + sign * own)
    value = found(tiny, replace(answers, ends=ends)).measured[names.CLUE, "question"]
    assert value.low < 0.5 < value.high or value.value < 0.5


def test_verdicts_say_what_is_left(tiny: Any) -> None:
    confounded, true = found(tiny, made(0.0, 2.0)).verdicts(), found(tiny, made(1.5, 2.0)).verdicts()
    assert "which chance could give" in confounded[1] and "length alone has" in confounded[1]
    assert "which chance does not give" in true[1]
    apart = made(1.0, 9.0)
    assert "length and truth cannot be told apart here" in found(tiny, apart).verdicts()[1]


def test_a_result_comes_back(tiny: Any, tmp_path: Path) -> None:
    result = found(tiny, made(1.0, 1.0), seed=3, n_folds=4)
    result.save(tmp_path)
    assert Verification.load(tmp_path) == result
    (table, lengths) = result.tables()
    assert [row.head.text for row in table.rows] == [name for name in ABOUT if name in result.scores]
    assert {len(row.cells) for row in table.rows} == {5} and "120 answers, 0.500 right, to 60 questions" in table.note
    assert [row.cells[0].text for row in lengths.rows] == ["60", "60"]
    with pytest.raises(InputError, match="unknown|does not know"):
        Verification.from_dict({**result.as_dict(), "more": 1})


def sampled_by_hand() -> tuple[SampledAnswers, Answers]:
    """Three questions: the third sample is right and said once, two others say the same wrong thing; of the third
    question all are wrong; as many answers are empty."""
    said = [["", "no", "coral", "no", ""], ["", "wrong", "pearl", "wrong", ""], ["", "e", "b", "e", ""]]
    asked = tuple(Example(f"{q}", f"g{q}", f"Q{q}?", gold, 1) for q, gold in enumerate(("coral", "pearl", "moss")))
    tokens = {"no": (1, 1), "coral": (2,), "wrong": (3, 3), "pearl": (4,), "e": (5, 5), "b": (6, 6, 6), "": ()}
    answers = tuple(tuple(Answer(t, -2.0 * len(tokens[t]) - (t == "b"), tokens[t]) for t in its) for its in said)
    sampled = SampledAnswers(asked, tuple(PromptTokens([9, q]) for q in range(3)), answers)
    at = ((0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2))
    ends = AnswerEnds(*torch.zeros(2, 6, 1, 1), np.ones(6, dtype=int), np.zeros(6), np.ones(6, dtype=int))
    labels = np.array([0, 1, 0, 1, 0, 0])
    return sampled, Answers("sampled", ends, labels, tuple("001122"), np.array([0, 0, 1, 1, 2, 2]), ("",) * 6, (), at)


def test_each_rule_takes_what_it_says(tmp_path: Path) -> None:
    sampled, answers = sampled_by_hand()
    # CLUE knows in the first question, errs in the second; by distance to right alone it is the other way round.
    margin, near = np.array([-1.0, 1, 1, -1, 0, 1]), np.array([-1.0, -2, -4, -3, 0, 0])
    scores = {names.CLUE: margin, names.NEAR: near, names.MATCHED: margin * np.nan, names.UNIT: -margin}
    scores[names.PER_TOKEN] = np.array([-1.0, -1, -1, -0.5, -1, -1])
    result = Verification(
        "sampled", answers.groups, answers.question * 1.0, answers.labels * 1.0, np.ones(6), scores, np.empty(0), 2, 1
    )
    chosen = reranked(sampled, answers, result)
    marks = {rule: its.tolist() for rule, its in chosen.marks.items()}
    assert marks[RANDOM] == [0.2, 0.2, 0.0] and marks[ORACLE] == [1, 1, 0]
    assert marks[FIRST] == [0, 0, 0] and marks[MAJORITY] == [0, 0, 0]
    assert marks[LIKELIEST] == [0, 1, 0] and marks[SHORTEST] == [1, 1, 0]
    assert marks[BY_MARGIN] == [1, 0, 0] and marks[NEAREST] == [0, 1, 0]
    assert marks["CLUE: by margin, deltas of length 1"] == [0, 1, 0]
    assert marks[AMONG] == [0, 1, 0]  # of the nearest two
    assert chosen.mixed.tolist() == [True, True, False]
    assert chosen.repeated == pytest.approx(6 / 9)
    assert chosen.against(BY_MARGIN).difference == pytest.approx(1 / 3)
    chosen.save(tmp_path)
    assert Reranking.load(tmp_path) == chosen
    assert len(chosen.tables()[0].rows) == 11 and "right and wrong ones in 2" in chosen.tables()[0].note
    assert chosen.verdicts()[0].startswith("CLUE's choice by margin is not shown to be right more often than majority")


def test_another_s_truth_is_another_group_s() -> None:
    groups = tuple(f"g{i // 3}" for i in range(30))
    other = shuffled_truths(groups, 0)
    assert all(groups[one] != groups[its] for one, its in enumerate(other))
    assert len({groups[its] for its in other}) == 10 and not np.array_equal(other, shuffled_truths(groups, 1))


@pytest.fixture(scope="module")
def conflict(zoo: Any) -> tuple[Any, list[Example]]:
    return zoo("llama-memory-chat"), load_examples("zoo:conflict/test", limit=240)


def test_given_answers_of_the_zoo(conflict: Any) -> None:
    """Closed by the model's own memory: supported and remembered answers are told apart, and LSD without the truth too;
    another's truth gives what motion gives."""
    model, examples = conflict
    answers = given_answers(model, examples, template="chat")
    assert answers.labels.tolist() == [e.label for e in examples]
    supported = {(e.context, e.question): e.answer for e in examples if e.label}
    assert [truth for _, truth in answers.truths] == [supported[e.context, e.question] for e in examples]
    result = verified(model, answers, n_permutations=20)
    assert set(result.scores) == set(ABOUT)
    assert result.measured[names.CLUE, "length"].low > 0.9
    assert result.measured[names.START, "question"].value == 0.5
    assert result.measured[names.WORDS, "all"].value == 1.0 and result.measured[names.LSD, "all"].low > 0.95
    with pytest.raises(InputError, match="all 120 answers are supported, so there is nothing to verify"):
        given_answers(model, [e for e in examples if e.label])
    one = given_answers(model, [replace(e, group="one") for e in examples[:40]])
    with pytest.raises(InputError, match="there are 1 groups, fewer than the 5 folds"):
        verified(model, one)


def test_sampled_answers_of_the_zoo(conflict: Any) -> None:
    model, examples = conflict
    sampled = sampled_answers(model, examples, Sampling(n=6), template="chat")
    answers = answers_of_samples(model, sampled)
    right = sampled.right()
    assert [bool(label) for label in answers.labels] == [bool(right[place]) for place in answers.sample]
    assert [sampled.answers[q][n].text for q, n in answers.sample] == list(answers.texts)
    result = verified(model, answers, n_permutations=20)
    chosen = reranked(sampled, answers, result)
    assert chosen.marks[BY_MARGIN].mean() > chosen.marks[MAJORITY].mean() + 0.1
    assert (chosen.marks[ORACLE] >= chosen.marks[BY_MARGIN]).all()
    certain = sampled_answers(model, [e for e in examples if e.label][:4], Sampling(n=2, top_k=1), template="chat")
    same = SampledAnswers(certain.questions, certain.prompts, tuple((Answer("no", -1.0, (5,)),) * 2 for _ in range(4)))
    with pytest.raises(InputError, match="all 8 sampled answers are wrong or empty, so nothing can be verified"):
        answers_of_samples(model, same)
