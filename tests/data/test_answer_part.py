"""Where the answer lies in a reply: by rule, and held against what a judge model marked in the published replies."""

from __future__ import annotations

from pathlib import Path

import pytest

from lens_truth.data.answer_part import answer_part
from lens_truth.data.h_neurons import ASKED_FOR
from lens_truth.data.loading import load_replies
from lens_truth.errors import gathered_notices


@pytest.mark.parametrize(
    ("question", "reply", "part"),
    [
        ("What is the capital of France?", "Paris", "Paris"),
        ("What is the capital of France?", "The capital of France is Paris.", "Paris"),
        ("What is the capital of France?", "Paris is the capital of France.", "Paris"),
        ("What is France's capital?", "France’s capital is Paris!", "Paris"),
        ("What is the capital of France?", "It is Paris. It lies on the Seine.", "Paris"),
        ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet.", "William Shakespeare"),
        ("Who wrote Hamlet?", "Hamlet was written by William Shakespeare", "William Shakespeare"),
        ("In which country was Niels Bohr born?", "Niels Bohr was born in Denmark.", "Denmark"),
        ("Which road race began in Boston?", "The Boston Marathon", "The Boston Marathon"),
        ("Which London market was moved?", "New Covent Garden Market", "New Covent Garden Market"),
        ("What set is it on a board?", "Green set", "Green set"),
        ("Who played whom?", "Mrs. Hudson. She was 30.", "Mrs. Hudson"),
        ("Who wrote Catcher?", "J.D. Salinger. He wrote no more.", "J.D. Salinger"),
        ("What is the opposite of young?", 'The opposite of "young" is "old."', "old"),
        ("Name a film", '\n\n"For Your Eyes Only"\nIt is a film', "For Your Eyes Only"),
        ("From which series did it come?", "Are You Being Served?", "Are You Being Served"),
        ("What is it?", "It is.", "It is"),
        (
            "What is the capital of the state of Kentucky?",
            "Kentucky is the capital of the state",
            "Kentucky is the capital of the state",
        ),
        ("How much?", ".5 litres", ".5 litres"),
        ("Which sign?", " * ", "*"),
        ("Where is moss?", "Where is moss?", "Where is moss"),
    ],
)
def test_parts(question: str, reply: str, part: str) -> None:
    found = answer_part(question, reply)
    assert found is not None and reply[slice(*found)] == part


@pytest.mark.parametrize("reply", ["", "  \n "])
def test_an_empty_reply_has_none(reply: str) -> None:
    assert answer_part("What?", reply) is None


@pytest.mark.published
def test_the_rule_finds_what_the_judge_of_the_published_replies_marked(data: Path) -> None:
    """The same characters in .969 of the labelled replies, of right ones a little more often than of hallucinated ones:
    the judge cut these more often."""
    same = {0: list[bool](), 1: list[bool]()}
    for model in ("Llama33", "gemma27b"):
        for part in ("train", "test"):
            with gathered_notices():
                replies = load_replies(str(data / "h_neurons" / f"{model}_TriviaQA_answer_tokens_{part}.jsonl"))
            for its in replies:
                asked = its.example.question.removesuffix(ASKED_FOR)
                same[its.example.label].append(answer_part(asked, its.example.answer) == its.span)
    assert {label: (sum(found), len(found)) for label, found in same.items()} == {0: (3861, 4000), 1: (3910, 4000)}
