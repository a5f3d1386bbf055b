"""Statements as they are published: read, grouped by what they are about, in parts, with their negations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from published import Case, check_recognised, check_refused, in_all_ways, lines, table

from lens_truth.data.examples import Example, read_examples, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.data.moved import moved_answers
from lens_truth.data.negations import joined_labels, negation_pairs
from lens_truth.data.subjects import parts_of, subject_of
from lens_truth.errors import InputError, gathered_notices

PUBLISHED: dict[str, Case] = {
    "geometry of truth": (
        "statements",
        {"label": "1", "statement": "Moss, on the roof, is green.", "more": "x"},
        [("", "", "Moss, on the roof, is green.", 1)],
    ),
    "stability": (
        "statements",
        {"statement": "Ulm is not in Peru.", "object_1": "Ulm", "correct": "1", "negation": "1", "in_train": "0"},
        [("", "", "Ulm is not in Peru.", 1)],
    ),
    "spectrum": (
        "claims and their negations",
        {"Domain": "Plants", "Claim": "Moss is green.", "Negated Claim": "Moss is red."},
        [("", "", "Moss is green.", 1), ("", "", "Moss is red.", 0)],
    ),
}
FLAGS = {"in_train": "0", "in_cal": "0", "in_test": "0", "real_object": "1", "fake_object": "0", "label": "1"}


@in_all_ways(PUBLISHED)
def test_statements_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lines({"statement": "", "label": 1}), "1 of 1 answers are empty"),
        (lines({"statement": 5, "label": 1}), "line 1: field 'statement' is not text"),
        (lines({"statement": "A is B.", "label": 2}), "line 1: label is 2"),
        (lines({"statement": "A is B.", "label": ""}), "line 1: has no label"),
        (lines({"statement": "A is B.", "correct": None}), "line 1: has no label"),
        (
            lines({"Claim": "A is B.", "Negated Claim": "A is C."}, {"Claim": "A is B."}),
            "line 2: has no field 'Negated",
        ),
        (
            table({"Claim": "A.", "Negated Claim": "B."}, {"Claim": "", "Negated Claim": "C."}),
            "line 3: field 'Claim' is",
        ),
        (table({"Claim": "A.", "Negated Claim": ""}), "line 2: field 'Negated Claim' is empty"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


@pytest.mark.parametrize(("said", "label"), [("True", 1), ("false", 0), (True, 1), (False, 0), (1, 1), ("0", 0)])
def test_labels_of_statements(said: object, label: int) -> None:
    assert Example.from_row({"statement": "Moss is green.", "label": said}).label == label


def test_a_statement_is_no_more_than_a_row_without_a_question() -> None:
    whole = {"question": "Q?", "answer": "A", "statement": "S.", "label": 1}
    assert Example.from_row(whole).question == "Q?"
    with pytest.raises(InputError, match="field 'question' is empty"):
        Example.from_row({**whole, "question": "", "statement": None})
    made = Example.from_row({"claim": "Ulm is in Peru.", "label": 0, "context": "C."}, statement="claim")
    assert (made.answer, made.context, made.group, made.is_statement) == ("Ulm is in Peru.", "C.", "ulm", True)


def test_written_statements_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffstatement,label\nUlm is in Peru.,0\n", encoding="utf-8")
    examples = [*load_examples(str(tmp_path / "a.csv")), Example("x", "g", "", "S.", 1, "Context.", ((0, 3),))]
    write_examples(tmp_path / "b.jsonl", examples)
    assert read_examples(tmp_path / "b.jsonl") == examples == load_examples(f"statements:{tmp_path / 'b.jsonl'}")
    assert examples[0].id == "a-0"


def test_parts(tmp_path: Path) -> None:
    rows = [
        {**FLAGS, "statement": "Ulm is in Peru.", "in_train": "1"},
        {**FLAGS, "statement": "Ulm is not in Peru.", "in_test": "1.0"},
        {**FLAGS, "statement": "Bern is in Peru.", "in_train": "true"},
        {**FLAGS, "statement": "Zorb is in Peru.", "in_train": "1", "real_object": "0", "fake_object": "1"},
    ]
    path = tmp_path / "cities.csv"
    path.write_text(table(*rows))
    with gathered_notices() as said:
        assert [e.id for e in load_examples(f"statements:{path}/train")] == ["cities-0", "cities-2", "cities-3"]
    assert said == [
        f"1 of the 3 statements of {path} are about objects that do not exist, so neither true nor false; they keep "
        "the labels that they were published with",
        f"1 of the 3 subjects of {path} stand in more than one of its parts, so a probe that was fitted on one part "
        "has seen subjects of the others",
    ]
    with gathered_notices():
        assert [e.group for e in load_examples(f"{path}/fake")] == ["zorb"]
        assert [e.group for e in load_examples(f"{path}/real", limit=2)] == ["ulm", "ulm"]
        for part, complaint in (
            ("cal", "cities.csv: part 'cal' holds no statement"),
            ("odd", "cities.csv: has no part 'odd', which a column 'in_odd' or 'odd_object' says"),
        ):
            with pytest.raises(InputError, match=complaint):
                load_examples(f"{path}/{part}")
    path.write_text(table({**rows[0], "in_train": "maybe"}))
    with pytest.raises(InputError, match="line 2: field 'in_train' is 'maybe', not 1 or 0"):
        load_examples(f"{path}/train")
    path.write_text("question,answer,label\nq,a,1\n")
    with pytest.raises(InputError, match="is read as examples, of which no part 'train' can be told from the rest"):
        load_examples(f"{path}/train")


@pytest.mark.parametrize(
    ("subject", "statements"),
    [
        ("krasnodar", ["The city of Krasnodar is in Russia.", "The city of Krasnodar isn't in Peru."]),
        ("krasnodar", ["It is the case either that the city of Krasnodar is in Peru or that it is in Russia."]),
        ("krasnodar", ["It is the case both that the city of Krasnodar is in Peru and that Ulm is in Togo."]),
        ("thallium", ["Thallium has the symbol Tl.", "Thallium does not have the symbol Pb."]),
        (
            "grace hopper",
            ["The inventor Grace Hopper lived in the U.S.", "The inventor Grace Hopper did not live in Peru."],
        ),
        ("con", ["The Spanish word 'con' means 'to speak'.", "The Spanish word 'con' does not mean 'with'."]),
        ("giant anteater", ["The giant anteater is a fish.", "The giant anteater is not a mammal."]),
        ("bank of china", ["Bank of China has headquarters in Peru.", "Bank of China engages in banking."]),
        ("fifty-one", ["Fifty-one is larger than fifty-two.", "Fifty-one is not smaller than sixty."]),
        ("earth", ["The Earth's atmosphere protects us.", "The Earth's atmosphere doesn’t protect us."]),
        ("vaccines", ["Vaccines promote disease.", "Vaccines do not promote disease."]),
        ("sao bernardo do campo", ["The city of Sao Bernardo do Campo is in Brazil."]),
        ("three states of matter", ["The three states of matter are solid, liquid and gas."]),
        ("only continent with forests", ["The only continent without any forests is Asia."]),
        ("2 + 2", ["2 + 2 = 4", "2 + 2 ≠ 4"]),
        ("danielle darrieux", ["The mother tongue of Danielle Darrieux is French."]),
    ],
)
def test_subjects(subject: str, statements: list[str]) -> None:
    assert [subject_of(statement) for statement in statements] == [subject] * len(statements)


def test_what_has_no_subject_is_about_all_of_it() -> None:
    assert subject_of("If P, then P.") == subject_of("If P, then not P.") != subject_of("If P, then Q.")
    assert subject_of("There are no stars at night.") == subject_of("There are stars at night.")
    assert subject_of("Zorbs glorb in Peru.") == subject_of("Zorbs glorb at night.")  # no verb that is known
    assert subject_of("Whatever is.", "The Bronx") == subject_of("The city of The Bronx is in Peru.") == "bronx"
    assert subject_of("...") == subject_of("") == ""


def test_parts_of_joined_statements() -> None:
    both = "It is the case both that the cat is red and that it sleeps."
    assert parts_of(both) == ("the cat is red", "the cat sleeps")
    assert parts_of("Moss is green.") == ("Moss is green.",)


def statements(*said: tuple[str, int]) -> list[Example]:
    return [Example(str(n), subject_of(text), "", text, label) for n, (text, label) in enumerate(said)]


def test_negation_pairs() -> None:
    one = statements(("Ulm is in Peru.", 0), ("Bern lies in Togo.", 0), ("Water cools.", 1))
    other = statements(("Water doesn't cool.", 0), ("Ulm isn't in Peru.", 1), ("Bern does not lie in Togo.", 1))
    assert negation_pairs(one, other) == [(0, 1), (1, 2), (2, 0)]
    with pytest.raises(InputError, match=r"1 of 3 statements have no negation in the other set \(first: 'Ulm is in"):
        negation_pairs(one, [other[0], other[2]])
    with pytest.raises(InputError, match=r"1 of 3 negations belong to no statement in the other set \(first: 'Water d"):
        negation_pairs(one[:2], other)
    with pytest.raises(InputError, match="3 of 3 statements have no negation"):
        negation_pairs(one, one)
    with gathered_notices() as said:
        negation_pairs(one[:1], statements(("Ulm is not in Peru.", 0)))
    assert said == ["1 of 1 statements have the same label as their negation (first: 'Ulm is in Peru.')"]


def test_files_that_stand_side_by_side_are_paired_by_their_rows() -> None:
    one = statements(*((f"Ulm has {n} gates.", 1) for n in range(19)), ("Water excludes ice.", 0))
    other = statements(*((f"Ulm does not have {n} gates.", 0) for n in range(19)), ("Water includes ice.", 1))
    assert negation_pairs(one, other) == [(n, n) for n in range(20)]
    with pytest.raises(InputError, match="1 of 20 statements have no negation"):
        negation_pairs(one, other[::-1])


def test_labels_of_joined_statements() -> None:
    known = statements(("The inventor Ada lived in Peru.", 1), ("Bern is in Togo.", 0), ("Ulm is not in Togo.", 1))
    both = "It is the case both that the inventor Ada lived in Peru and that Bern is in Togo."
    either = "It is the case either that Ada lived in Peru or that Bern is in Togo."
    absent = "It is the case either that Ada lived in Peru or that he/she lived in Togo."
    denied = "It is the case both that Ada lived in Peru and that Ulm is in Togo."
    joined = statements((both, 0), (either, 1), (absent, 1), (denied, 0))
    assert joined_labels(joined, known) == [0, 1, None, None]
    with pytest.raises(InputError, match="example '0' joins no two statements"):
        joined_labels(known, known)


@pytest.mark.published
@pytest.mark.parametrize("topic", ["cities", "element_symb", "inventors", "facts"])
def test_published_negations(data: Path, topic: str) -> None:
    """A negated row's label is 1 - label, and but for a row with a word left out it has the same group."""
    one, other = (load_examples(str(data / "negation" / f"{name}.csv")) for name in (topic, f"neg_{topic}"))
    pairs = negation_pairs(one, other)
    assert len(pairs) == len(one) and all(one[row].label + other[its].label == 1 for row, its in pairs)
    assert sum(one[row].group != other[its].group for row, its in pairs) == (topic == "facts")
    groups = Counter(example.group for example in one)
    assert max(groups.values()) == {"facts": 44}.get(topic, 2) and len(groups) > 90


@pytest.mark.published
@pytest.mark.parametrize(
    ("name", "unknown", "wrong"),
    [
        ("cities_conj", 695, 0),
        ("cities_disj", 460, 21),
        ("element_symb_conj", 0, 0),
        ("element_symb_disj", 495, 3),
        ("inventors_conj", 0, 0),
        ("inventors_disj", 427, 32),
        ("facts_conj", 2, 0),
        ("facts_disj", 2, 0),
    ],
)
def test_published_joined_statements(data: Path, name: str, unknown: int, wrong: int) -> None:
    """Some disjunctions are labelled false although their second or first part is the affirmative file's true row."""
    joined = load_examples(str(data / "negation" / f"{name}.csv"))
    labels = joined_labels(joined, load_examples(str(data / "negation" / f"{name.rpartition('_')[0]}.csv")))
    assert labels.count(None) == unknown
    differing = [(e.label, label) for e, label in zip(joined, labels, strict=True) if label not in (None, e.label)]
    assert differing == [(0, 1)] * wrong


@pytest.mark.published
def test_published_subjects_across_files_and_parts(data: Path) -> None:
    where = data / "stability" / "cities_loc_true_false.csv.gz"
    with gathered_notices() as said:
        sizes = [len(load_examples(f"statements:{where}/{part}")) for part in ("train", "cal", "test")]
    assert sizes == [3307, 922, 1271] and "1072 of the 1400 subjects" in said[0]
    whole = load_examples(str(where))
    assert {e.group for e in whole} == {subject_of(e.answer) for e in whole}  # what the column says, the text says
    cities = {e.group for e in load_examples(str(data / "truth/geometry_of_truth/cities.csv"))}
    assert len(cities) == 748 and len(cities & {e.group for e in whole}) == 460
    with gathered_notices() as said:
        synthetic = load_examples(str(data / "stability" / "cities_loc_synthetic.csv"))
    assert len(synthetic) == 1752 and said[0].startswith("1752 of the 1752 statements")


@pytest.mark.published
@pytest.mark.parametrize(
    ("name", "n"), [("definitional", 1186), ("evidential", 1164), ("fictional", 1200), ("logical", 1150)]
)
def test_published_claims(data: Path, name: str, n: int) -> None:
    examples = load_examples(str(data / "truth/spectrum" / f"claims__{name}_gemini_600_full.csv"))
    assert len(examples) == n and sum(e.label for e in examples) == n / 2
    assert all(one.group == other.group for one, other in zip(examples[::2], examples[1::2], strict=True))
    assert max(Counter(e.group for e in examples).values()) < 20


def test_statements_stand_behind_nothing_that_could_be_exchanged() -> None:
    bare = [Example(f"{n}{label}", str(n), "", f"A{n} is {label}.", label) for n in range(3) for label in (0, 1)]
    assert moved_answers(bare) == []
    behind = [Example(e.id, e.group, "", e.answer, e.label, f"Of {e.group}.") for e in bare]
    assert [e.context for e in moved_answers(behind)] == ["Of 1.", "Of 1.", "Of 2.", "Of 2.", "Of 0.", "Of 0."]
