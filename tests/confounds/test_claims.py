"""Labels that arithmetic or the calendar contradict: in made files with a known number of them, and in published
files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import inflect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_truth.confounds.claims import claim_findings, computed
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples

WORDS = inflect.engine()
SAY: list[Callable[[int], str]] = [str, lambda n: str(WORDS.number_to_words(n))]  # type: ignore[arg-type]


def label_of(question: str, answer: str) -> int | None:
    its = computed(Example("1", "1", question, answer, 1))
    return None if its is None else its.label


LAYOUTS: dict[str, tuple[str, str, str]] = {
    "yes or no": ("Is {a} smaller than {b}?", "Yes", "No"),
    "and why": ("Is {a} smaller than {b}?", "Yes, {a} is smaller than {b}.", "No, {a} is not smaller than {b}."),
    "the statement": ("Is {a} smaller than {b}?", "{A} is smaller than {b}.", "{A} is larger than {b}."),
    "of two": ("Which is smaller, {a} or {b}?", "{A}", "{B}"),
    "of two numbers": ("Which number is smaller: {a} or {b}?", "{a}.", "{b}."),
    "the smaller": ("What is the smaller of {a} and {b}?", "The answer is {a}.", "The answer is {b}."),
    "told in full": ("Which is smaller, {a} or {b}?", "{A} is smaller than {b}.", "{B} is smaller than {a}."),
    "the smaller number": ("Of {a} and {b}, which is smaller?", "{A} is the smaller number.", "The smaller is {b}."),
    "either": ("Is {a} smaller or larger than {b}?", "smaller", "It is larger."),
    "true": ("Is it true that {a} is smaller than {b}?", "True", "False"),
    "true or false": ("True or false: {A} is smaller than {b}.", "true", "false."),
    "the following": ("Is the following statement true? {A} is smaller than {b}.", "Yes.", "No."),
    "with instruction": ("Is {a} smaller than {b}? Answer yes or no.", "yes", "no"),
    "marked": ("Q: Is {a} smaller than {b}?\nA:", "Yes", "No"),
    "than what": ("{A} is smaller than what?", "{b}", "{c}"),
    "what is": ("What number is smaller than {b}?", "{a}", "{d}"),
    "in one string": ("", "Question: Is {a} smaller than {b}? Answer: Yes", "Q: Is {a} smaller than {b}? A: No"),
    "in one line": ("", "Which is smaller, {a} or {b}? {A}.", "Which is smaller, {a} or {b}? {B}."),
}  # fmt: skip
"""Question, right and wrong answer for a < b; c < a and d > b."""


@pytest.mark.parametrize("say", SAY, ids=["digits", "words"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_answers_are_counted(layout: str, say: Callable[[int], str]) -> None:
    """60 answers, of which those of every third are labelled as if they were the other one."""
    question, right, wrong = LAYOUTS[layout]
    examples: list[Example] = []
    for n, a in enumerate(range(21, 81)):
        numbers = {"a": say(a), "b": say(a + 1 + 7 * n), "c": say(a - 3), "d": say(a + 5 + 7 * n)}
        numbers |= {name.upper(): text.capitalize() for name, text in numbers.items()}
        is_right = n % 2
        answer = (wrong, right)[is_right].format(**numbers)
        label = 1 - is_right if n % 3 == 0 else is_right
        examples.append(Example(f"{n}", f"{n}", question.format(**numbers), answer, label))
    (finding,) = claim_findings(examples)
    assert (finding.check, finding.level, finding.count, finding.of) == ("arithmetic", "wrong", 20, 60)
    what = "answers" if question else "rows"
    assert finding.says == f"20 of 60 {what} that can be computed compute to the other label"
    assert finding.example.startswith("'0': ") and finding.cure.startswith("Mend these labels")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(list(product(SAY, SAY))), st.booleans())
def test_answers_are_right_as_python_says(
    a: int, b: int, say: tuple[Callable[[int], str], Callable[[int], str]], yes: bool
) -> None:
    one, other = say[0](a).replace(",", ""), say[1](b).replace(",", "")
    assert label_of(f"Is {one} smaller than {other}?", "Yes" if yes else "No") == ((a < b) == yes)
    assert label_of("", f"{one.capitalize()} is larger than {other}.") == (a > b)
    chosen = label_of(f"Which is larger, {one} or {other}?", one)
    assert chosen == (None if a == b else a > b)
    assert label_of(f"What is {one} plus {other}?", f"{a + b + 1 - yes}") == yes


@pytest.mark.parametrize(
    ("question", "answer", "label"),
    [
        ("What is 3 + 4?", "7", 1),
        ("What is 3 + 4?", "The answer is eight.", 0),
        ("What is 3 + 4?", "3 + 4 = 7", 1),
        ("What is 3 + 4?", "3 + 4 = 8", 0),
        ("3 plus four equals?", "seven", 1),
        ("3 + 4 = ?", "= 7", 1),
        ("How much is 12 times 3?", "12 times 3 is 36.", 1),
        ("What is half of ten?", "4", 0),
        ("What percent of 50 is 5?", "10%", 1),
        ("What is 5 more than 3?", "8", 1),
        ("Does 2 + 2 equal 5?", "Yes", 0),
        ("Is 2 + 2 = 4?", "That is correct.", 1),
        ("Is 10 even or odd?", "Odd", 0),
        ("Is 7 a prime number?", "Yes, it is.", 1),
        ("Is 12 divisible by 5?", "No, it isn't.", 1),
        ("Which is greater: 3.11 or 3.9?", "3.11", 0),
        ("Which is smallest: 3, 1, or 2?", "1", 1),
        ("Which number is smaller than 52: 51 or 53?", "53", 0),
        ("", "It is not true that 3 is larger than 2.", 0),
        ("", "It is the case both that 3 is larger than 2 and that 2 is larger than 3.", 0),
        ("", "It is the case either that 3 is larger than 2 or that 2 is larger than 3.", 1),
        ("", 'The statement "51 is smaller than 52" is false.', 0),
        ("", "Fifty-one is smaller than fifty-two. This statement is true.", 1),
        # open, or not understood to the last word
        ("What is 10 divided by 3?", "3.33", None),
        ("What is 24-7?", "A shop", None),
        ("2020-01-02", "2017", None),
        ("The 2", "7", None),
        ("What is the difference between 3 and 7?", "4", None),
        ("Isn't 51 smaller than 52?", "No", None),
        ("Is 51 smaller than 52?", "I do not know.", None),
        ("Is 51 smaller than 52?", "Yes, 52 is smaller than 51.", None),
        ("Is 51 smaller than 52?", "Two is smaller than three.", None),
        ("Is 51 smaller than 52 in base 3?", "Yes", None),
        ("Which is smaller, 51 or 52?", "Neither", None),
        ("Which is smaller, 51 or 52?", "52 is larger than 51", None),
        ("What is it?", "3 is larger than 2", None),
        ("", "It is the case both that 3 is larger than 2 and that Rome is in Italy.", None),
        ("", "Krasnodar is larger than fifty-one.", None),
        ("", " ", None),
    ],
)
def test_answers(question: str, answer: str, label: int | None) -> None:
    assert label_of(question, answer) == label


def test_arithmetic_and_dates_are_two_findings_and_what_holds_is_none() -> None:
    right = [Example("1", "1", "", "2 + 2 = 4", 1), Example("2", "2", "", "A week has 6 days.", 0)]
    assert claim_findings(right) == [] and claim_findings([]) == []
    wrong = [Example(its.id, its.group, "", its.answer, 1 - its.label) for its in right]
    found = claim_findings([*right[:1], *wrong])
    assert [(its.check, its.count, its.of) for its in found] == [("arithmetic", 1, 2), ("dates", 1, 1)]
    assert found[0].example == "'1': 2 + 2 = 4, labelled 0 -- 2 + 2 (4) = 4 is true"
    assert "the others hold" in found[0].cure and "the others hold" not in found[1].cure


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("", "The city of Krasnodar is in Russia."),
        ("Who wrote it?", "moss " * 200_000),
        ("", "5" * 1_000_000),
        ("", "is 5 more than " * 19 + "5"),
        ("What is 3 " + "plus 3 is " * 28, "no"),
        ("", "born in 1950 and died " * 13),
        ("", "(" * 299),
        ("", "-" * 290 + "5 = 5"),
    ],
    ids=["statement", "long", "digits", "many words", "long question", "born", "brackets", "signs"],
)
def test_rows_on_which_a_pattern_might_search_for_ever_are_not_computed(question: str, answer: str) -> None:
    assert label_of(question, answer) is None


@pytest.mark.published
def test_published_statements_hold(data: Path) -> None:
    """All of larger_than and smaller_than, and two in five of the logical claims, can be computed."""
    truth = data / "truth"
    for name, n, least in (
        ("geometry_of_truth/larger_than.csv", 1980, 1980),
        ("geometry_of_truth/smaller_than.csv", 1980, 1980),
        ("spectrum/claims__logical_gemini_600_full.csv", 1150, 450),
    ):
        examples = load_examples(str(truth / name))
        assert len(examples) == n
        assert sum(computed(example) is not None for example in examples) >= least
        assert claim_findings(examples) == []


@pytest.mark.published
@pytest.mark.parametrize(
    "name", ["halueval/qa_2000.csv", "evidence/xquad.en.json", "negation/facts.csv", "negation/neg_facts.csv"]
)  # fmt: skip
def test_other_published_rows_raise_no_alarm(data: Path, name: str) -> None:
    assert claim_findings(load_examples(str(data / name))) == []


def test_answers_beside_statements_are_held_against_arithmetic_and_labels_against_statements() -> None:
    from lens_truth.confounds.audit import audit_examples
    from lens_truth.confounds.row_claims import row_findings

    rows = [
        {
            "statement": f"{a} is smaller than {b}.",
            "label": str(int(a < b)),
            "question": f"Which is smaller, {a} or {b}?",
            "answer": str(max(a, b) if n < 7 else min(a, b)),
        }
        for n, (a, b) in enumerate((a, b) for a in range(51, 56) for b in range(51, 56) if a != b)
    ]
    (found,) = row_findings(rows)
    assert (found.check, found.count, found.of, found.level) == ("arithmetic of answers", 7, 20, "wrong")
    as_read = [Example(f"{n}", f"{n}", row["question"], row["answer"], int(row["label"])) for n, row in enumerate(rows)]
    checks = [its.check for its in audit_examples(as_read, rows=rows, n_permutations=0).findings]
    assert "arithmetic of answers" in checks and "arithmetic" not in checks
    pairs = [{"question": "What is 2 + 2?", "correct_answer": 4, "incorrect answer": "4"}]
    assert row_findings(pairs)[0].says.startswith("1 of 2 answers")
    assert row_findings([{"question": "What is 2 + 2?", "answer": "5", "label": "0"}]) == []
