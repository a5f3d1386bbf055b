"""World facts: splits share no subject, every label is true, answers are matched, evidence is where it should be."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from lens_truth import InputError, load_examples
from lens_truth.confounds.audit import audit_examples
from lens_truth.data.examples import Example
from lens_truth.data.fact_passages import DIFFICULTIES, Difficulty
from lens_truth.data.fact_sets import FACT_KINDS, MORE_OR_LESS_CLEAR, FactKind, fact_examples
from lens_truth.data.facts import TABLES, Fact, also_right, pairs, relations, world_facts
from lens_truth.data.places import standing
from lens_truth.data.row_fields import NOT_STATED
from lens_truth.data.world import Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CONTEXTS: tuple[FactKind, ...] = ("text", "agreeing", "conflict", "unstated", "conflict-agreeing")


@cache
def questions() -> dict[str, Fact]:
    """The fact that each question asks for."""
    asked = [(fact.say(wording), fact) for fact in world_facts() for wording in fact.relation.questions]
    assert len(dict(asked)) == len(asked)
    return dict(asked)


def asked_about(example: Example) -> Fact:
    return questions()[example.question]


def test_the_table_is_large_and_clean() -> None:
    by_relation = Counter(fact.relation.name for fact in world_facts())
    assert len(world_facts()) >= 600
    assert len(by_relation) >= 10
    assert by_relation.keys() == relations().keys()
    assert len({(fact.relation.name, fact.subject) for fact in world_facts()}) == len(world_facts())
    for fact in world_facts():
        assert fact.subject == fact.subject.strip()
        assert fact.object == fact.object.strip()
        assert fact.object.isascii()
    assert len({(f.relation.kind, f.subject) for f in world_facts()}) == len({f.subject for f in world_facts()})
    for relation in relations().values():
        assert all("{subject}" in text and "{object}" in text for text in (*relation.claims, relation.denial))
        assert all("{subject}" in text and "{object}" not in text for text in (*relation.questions, relation.noun))
        assert min(len(set(relation.claims)), len(set(relation.questions))) == 3


def test_no_subject_is_in_two_splits() -> None:
    subjects = {split: {fact.subject for fact in world_facts() if fact.split == split} for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not subjects[one] & subjects[other]
    assert all(len(its) > 80 for its in subjects.values())


@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_trade_objects_inside_a_relation_and_a_split(seed: int) -> None:
    for split in SPLITS:
        its = pairs(split, seed)
        paired = [fact for pair in its for fact in (pair.one, pair.other)]
        assert len(set(paired)) == len(paired)
        assert len(paired) > 0.85 * sum(fact.split == split for fact in world_facts())
        for pair in its:
            assert pair.one.relation == pair.other.relation
            assert pair.one.object != pair.other.object
            assert pair.one.split == pair.other.split == split
        groups = defaultdict(set)
        for pair in its:
            groups[pair.one.subject].add(pair.group)
            groups[pair.other.subject].add(pair.group)
        assert all(len(group) == 1 for group in groups.values())
    assert pairs("test", seed) != pairs("test", seed + 1)


def test_what_is_also_right_is_never_said_in_its_place() -> None:
    """Every line of that table is about a fact."""
    facts = {(fact.relation.name, fact.subject): fact for fact in world_facts()}
    with (TABLES / "also.csv").open(encoding="utf-8", newline="") as file:
        also = [(row["relation"], row["subject"], row["object"]) for row in csv.DictReader(file)]
    assert len(set(also)) == len(also) > 50
    for name, subject, object in also:
        assert object != facts[name, subject].object
        assert object in also_right(facts[name, subject])
    for split in SPLITS:
        for seed in range(10):
            said = {(f.relation.name, f.subject, other) for pair in pairs(split, seed) for f, other in pair.each_way()}
            assert not said & {*also}


@pytest.mark.parametrize("kind", FACT_KINDS)
def test_labels_cannot_be_told_from_the_look_of_answers(kind: FactKind) -> None:
    """Length and last character; and a bag of words and word pairs, of the answer and of all that is written, over
    subjects that it has not seen."""
    examples = fact_examples(kind, "train", 1200, seed=0)
    audit = audit_examples(examples)
    assert abs(audit.surface_accuracy - 0.5) < 0.03
    assert (audit.repeated, audit.contradictory) == (0, 0)
    assert audit.supported * 2 == audit.rows
    labels, groups = [example.label for example in examples], [example.group for example in examples]
    supported, hallucinated = ([e.answer for e in examples if e.label == label] for label in (1, 0))
    if kind not in ("negated", "conjunction", "disjunction"):
        assert Counter(supported) == Counter(hallucinated) or kind in ("affirmative", "text") or "premise" in kind
    lengths = [np.mean([len(answer) for answer in side]) for side in (supported, hallucinated)]
    assert abs(lengths[0] - lengths[1]) < 0.05 * lengths[0]
    for texts in (
        [example.answer for example in examples],
        [f"{example.context} {example.question} {example.answer}" for example in examples],
    ):
        model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=300))
        found = cross_val_score(model, texts, labels, groups=groups, cv=GroupKFold(5))
        assert abs(found.mean() - 0.5) < 0.05


def test_question_and_answer_do_not_tell_the_label_of_text() -> None:
    """Half of its passages agree with the world."""
    agree = [(asked_about(e).object in e.answer) == (e.label == 1) for e in fact_examples("text", "test", 800, seed=0)]
    assert 0.45 < np.mean(agree) < 0.55


@pytest.mark.parametrize("kind", CONTEXTS)
def test_evidence_is_the_sentence_that_tells_the_answer(kind: FactKind) -> None:
    for example in fact_examples(kind, "validation", 400, seed=3):
        fact = asked_about(example)
        sentences = [example.context[start:stop] for start, stop in example.evidence]
        if not sentences:
            assert kind == "unstated"
            without = example.context.replace(fact.object, "")  # which is in the air: an eaglet, Oklahoma City
            assert not standing(fact.subject, any_case=True).search(without)
            assert (example.answer == NOT_STATED) == (example.label == 1)
            continue
        tells_truth = any(fact.object.lower() in sentence.lower() for sentence in sentences)
        assert all(fact.subject.lower() in sentence.lower() for sentence in sentences)
        if kind == "conflict":
            assert (example.answer != fact.object) == (example.label == 1)
            assert all(example.label != 1 or example.answer.lower() in sentence.lower() for sentence in sentences)
        elif kind != "text":
            assert tells_truth
            assert (example.answer == fact.object) == (example.label == 1)


@pytest.mark.parametrize("kind", MORE_OR_LESS_CLEAR)
def test_difficulties_differ_in_how_often_and_how_plainly_it_is_said(kind: FactKind) -> None:
    spans = {"repeated": 3, "stated": 1, "passing": 1, "rival": 1}
    for level in DIFFICULTIES:
        examples = fact_examples(kind, "test", 80, seed=0, difficulty=level)
        assert {len(example.evidence) for example in examples} - {0} == {spans[level]}
    conflict: dict[Difficulty, list[Example]] = {
        level: fact_examples("conflict", "test", 80, seed=0, difficulty=level) for level in DIFFICULTIES
    }
    truth_is_named = {
        level: np.mean([asked_about(e).object.lower() in e.context.lower() for e in examples])
        for level, examples in conflict.items()
    }
    assert truth_is_named["rival"] == 1
    assert truth_is_named["passing"] < 0.2


def test_claims_are_true_where_they_are_supported() -> None:
    """Read back from their words: a claim holds if the table has it; a denial if it has not."""
    true = {fact.say(wording) for fact in world_facts() for wording in fact.relation.claims}
    for example in fact_examples("affirmative", "test", 400, seed=0):
        assert (example.answer in true) == (example.label == 1)
    denied = {fact.say(fact.relation.denial) for fact in world_facts()}
    for example in fact_examples("negated", "test", 400, seed=0):
        assert (example.answer in denied) == (example.label == 0)


@pytest.mark.parametrize("kind", ["conflict", "premise", "sycophancy", "mentioned"])
def test_what_agrees_is_the_same_question_with_the_true_object(kind: FactKind) -> None:
    """Row for row; the supported answer is then the true one."""
    misled, agreeing = (load_examples(f"facts:{its}/test", limit=400, seed=1) for its in (kind, f"{kind}-agreeing"))
    assert len(misled) == len(agreeing) == 400
    objects = [example.aliases[0] if kind == "premise" else example.answer for example in agreeing]
    for n, (one, other) in enumerate(zip(misled, agreeing, strict=True)):
        assert (one.group, one.label) == (other.group, other.label)
        truth, rival = objects[n - n % 2], objects[n - n % 2 + 1]
        assert other.id.startswith(f"facts-{kind}-agreeing-") and one.id == other.id.replace("-agreeing", "")
        facts = [fact for fact in world_facts() if one.id.removesuffix("-right").endswith(f"-{fact.subject}")]
        assert one.label == 0 or truth in {fact.object for fact in facts}
        for named, its in ((rival, one), (truth, other)):
            assert named.lower() in f"{its.context} {its.question}".lower()
        either = re.compile(f"{re.escape(truth)}|{re.escape(rival)}", re.IGNORECASE)
        shown, shown_true = (either.sub("*", f"{its.context} {its.question}") for its in (one, other))
        assert shown == shown_true or (kind == "conflict" and "rival" in one.id)
        assert (one.answer == other.answer) == (kind != "conflict")


@pytest.mark.parametrize(
    ("kind", "link", "counts"), [("conjunction", "and", {2: 1, 1: 0}), ("disjunction", "or", {1: 1, 0: 0})]
)
def test_compounds_hold_as_their_claims_do(kind: FactKind, link: str, counts: dict[int, int]) -> None:
    true = {fact.phrase(wording).removesuffix(".") for fact in world_facts() for wording in fact.relation.claims}
    true |= {claim[:1].upper() + claim[1:] for claim in true}
    for example in fact_examples(kind, "test", 200, seed=0):
        parts = example.answer.removesuffix(".").split(f" {link} ")
        halves = [(f" {link} ".join(parts[:at]), f" {link} ".join(parts[at:])) for at in range(1, len(parts))]
        holds = max(sum(half in true for half in both) for both in halves)
        assert counts[holds] == example.label


def test_the_same_seed_gives_the_same_rows_and_more_of_them_other_words() -> None:
    first = load_examples("facts:conflict/test", limit=100, seed=2)
    assert load_examples("facts:conflict/test", limit=300, seed=2)[:100] == first
    assert load_examples("facts:conflict/test", limit=100, seed=3) != first
    many = fact_examples("conflict", "validation", 2000, seed=0)
    assert len(many) == 2000
    assert len({example.group for example in many}) < 100
    assert len(fact_examples("negated", "validation", 10**6, seed=0)) < 2000  # no other words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("facts:", "there is no data set 'facts:'; it is facts:KIND@DIFFICULTY/SPLIT"),
        ("facts:conflict@easy", "DIFFICULTY repeated, stated, passing, rival"),
        ("facts:conflict@", "there is no data set 'facts:conflict@'"),
        ("facts:text/dev", "SPLIT train, validation, test"),
        ("facts:text@passing", "facts:text is not more or less difficult, so @passing means nothing"),
    ],
)
def test_what_there_is_not(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_examples(name)
