"""Replies that come every time: which questions are kept, which reply stands for them, and how parts are drawn."""

from __future__ import annotations

from collections import Counter

import pytest
from drawn import faults

from lens_truth.data.examples import Example
from lens_truth.data.replies import Reply
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.consistent import (
    ReplyConsistency,
    balanced_replies,
    consistent_replies,
    judged,
    sample_rows,
)
from lens_truth.evaluate.sampling import SampledAnswers


def sampled(**answers: list[str]) -> SampledAnswers:
    """Answers to a question each, whose right answer is moss, also called bryophyte."""
    questions = tuple(Example(name, f"g-{name}", "What is it?", "moss", 1, aliases=("bryophyte",)) for name in answers)
    said = tuple(
        tuple(Answer(text, -1.0, (number, len(text))) for number, text in enumerate(its)) for its in answers.values()
    )
    return SampledAnswers(questions, (), said)


SAID = sampled(
    right=["moss", "It is moss.", "moss", "A bryophyte"],
    wrong=["fern", " It is grass.", "It is grass. ", "Fern"],
    tie=["oak", "ash", "ash", "oak"],
    mixed=["moss", "moss", "moss", "fern"],
    unsure=["fern", "I don’t know.", "fern", "fern"],
    empty=["fern", " ", "fern", "fern"],
    sure=["I do not know, moss", "moss", "moss", "moss"],
    half=["moss", "No information", "moss", "moss"],
)


def test_questions_are_kept_whose_samples_agree() -> None:
    replies, found = consistent_replies(SAID)
    assert [(r.example.id, r.example.label, r.example.answer, r.answer) for r in replies] == [
        ("right", 1, "moss", "moss"),
        ("wrong", 0, "It is grass.", "grass"),
        ("tie", 0, "oak", "oak"),
        ("sure", 1, "moss", "moss"),
    ]
    assert [r.tokens[0] for r in replies] == [0, 1, 0, 1]  # the first of the samples with that text
    assert all(r.example.group == f"g-{r.example.id}" and r.example.aliases == () for r in replies)
    assert found == ReplyConsistency("contains", (4, 0, 0, 2, 2), 2, 0, 2, 2, {})
    assert (found.questions, found.mixed) == (8, 2)
    counts = [int(row.cells[0].text) for row in found.tables()[0].rows]
    assert counts == [2, 2, 2, 2, 0] and sum(counts) == found.questions
    assert judged(SAID)[4] == ["false", "uncertain", "false", "false"]
    assert judged(SAID)[6] == ["true"] * 4  # who gives the right answer does know
    assert "2 are answered right 4 times out of 4, and 2 wrong; 4 are left out" in found.verdicts()[0]


def test_what_is_written_of_samples() -> None:
    rows = list(sample_rows(SAID))
    assert rows[1] == {
        "wrong": {
            "question": "What is it?",
            "responses": ["fern", " It is grass.", "It is grass. ", "Fern"],
            "judges": ["false"] * 4,
            "ground_truth": ["moss", "bryophyte"],
        }
    }


def test_both_kinds_are_needed() -> None:
    with pytest.raises(InputError, match=r"no question of 1 is answered right by all 2 samples, 1 wrong by all"):
        consistent_replies(sampled(a=["fern", "oak"]))
    with pytest.raises(InputError, match="no question of 1 is answered wrong by all 1 samples.*harder"):
        consistent_replies(sampled(a=["moss"]))
    with pytest.raises(InputError, match=r"answered right by all 2 samples, 0 wrong by all.*easier"):
        consistent_replies(sampled(a=["moss", "fern"]))


def replies(n_right: int, n_wrong: int) -> list[Reply]:
    return [Reply(Example(f"{n}", f"{n}", "What?", "moss", int(n < n_right)), (0, 4)) for n in range(n_right + n_wrong)]


def test_parts_are_balanced_and_drawn_by_seed_and_part() -> None:
    given = replies(30, 12)
    drawn = balanced_replies(given, None, seed=0)
    assert Counter(r.example.label for r in drawn) == {0: 12, 1: 12}
    assert [r for r in given if r in drawn] == drawn
    few = balanced_replies(given, 5, seed=0)
    assert Counter(r.example.label for r in few) == {0: 5, 1: 5}
    assert few == balanced_replies(given, 5, seed=0)
    assert few != balanced_replies(given, 5, seed=1) and few != balanced_replies(given, 5, seed=0, part=1)
    often = Counter(r.example.id for seed in range(300) for r in balanced_replies(given, 6, seed))
    assert len(often) == 42
    assert (
        max(abs(often[f"{n}"] - 60) for n in range(30)) < 35
        and max(abs(often[f"{n}"] - 150) for n in range(30, 42)) < 45
    )
    with pytest.raises(InputError, match="among 3 replies of one part none is hallucinated.*--test-share 0"):
        balanced_replies(replies(3, 0), None, seed=0)
    with pytest.raises(InputError, match="0 replies of each kind were asked for"):
        balanced_replies(given, 0, seed=0)


@pytest.mark.parametrize("counts", [(4, 2), (123456, *range(0, 99000, 1000), 98765)])
def test_the_figure_can_be_read(counts: tuple[int, ...]) -> None:
    figure = ReplyConsistency("contains", counts, 0, 0, counts[-1], counts[0], {}).plot()
    assert list(faults(figure)) == []
