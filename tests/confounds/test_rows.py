"""Copies, splits, contexts, prompts, balance: each fault planted, counted, shown; and none where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lens_truth import Example
from lens_truth.confounds.balance import balance_findings
from lens_truth.confounds.contexts import context_findings
from lens_truth.confounds.duplicates import copy_findings, repeat_findings
from lens_truth.confounds.findings import Finding, shown, warnings_of, worst_first
from lens_truth.confounds.prompts import prompt_findings
from lens_truth.confounds.splits import group_findings, split_findings

NAMES = ("Arbo", "Belu", "Cato", "Dunu", "Ebri", "Fola", "Gano", "Hiru", "Ilto", "Jaro", "Kelu", "Lomo", "Mira", "Nado")


def asked(n: int = 40) -> list[Example]:
    """A right and a wrong answer to each of n questions, with contexts."""
    rng = np.random.default_rng(0)
    found: list[Example] = []
    for number in range(n):
        right, wrong, river = (str(its) for its in rng.choice(NAMES, 3, replace=False))
        context = f"The bridge of street {number} was built by {right} over the {river} in {1800 + number}."
        question = f"Who built the bridge of street {number}?"
        for answer, label in ((right, 1), (wrong, 0)):
            found.append(Example(f"{number}-{label}", str(number), question, answer, label, context))
    return found


def only(findings: list[Finding], check: str) -> Finding:
    (found,) = [its for its in findings if its.check == check]
    return found


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    examples = asked()
    for look in (balance_findings, context_findings, copy_findings, group_findings, prompt_findings, repeat_findings):
        assert look(examples) == [], look


def test_repeats_and_both_labels_are_counted() -> None:
    examples = asked()
    examples += [replace(examples[0], id="again"), replace(examples[2], id="turned", label=0)]
    both, repeated = (only(repeat_findings(examples), check) for check in ("both labels", "repeated rows"))
    assert (both.count, both.of, both.level) == (1, 80, "wrong") and "'turned'" in both.example
    assert (repeated.count, repeated.of) == (2, 82) and "'again'" in repeated.example


def test_copies_in_other_groups_are_found_near_and_word_by_word() -> None:
    examples = [replace(e, context="") for e in asked()]
    long = "Which of the many bridges over the wide river Amber near the old mill was built by a certain {} in 1870?"
    examples += [
        Example("a", "a", long.format("Mason"), "The third", 1),
        Example("b", "b", long.format("mason") + "!", "the third.", 1),
    ]
    examples += [Example("c", "c", long.format("mason") + " Say", "the third", 0)]
    same, near = (
        only(copy_findings(examples), check) for check in ("copies across groups", "near copies across groups")
    )
    assert (same.count, same.of, same.level) == (2, 83, "leak") and "'a'" in same.example and "'b'" in same.example
    assert near.count == 2 and "'c'" in near.example
    assert copy_findings([replace(e, group="one") for e in examples]) == []


def test_formulas_with_other_signs_are_no_copies() -> None:
    one, other = "If a = b and b = c, then a = c.", "If a > b and b > c, then a > c."
    assert copy_findings([Example("1", "1", "", one, 1), Example("2", "2", "", other, 1)]) == []


@pytest.mark.parametrize("column", ["split", "fold", "in_train"])
def test_what_stands_in_several_splits_is_counted(column: str) -> None:
    rows = [
        {"statement": f"{name} is in {land}.", "label": "1", "id": f"{n}", **_split(column, n % 2 and n < 8)}
        for n, (name, land) in enumerate((name, land) for name in NAMES[:6] for land in ("Peru", "Mali"))
    ]
    found = only(split_findings(rows), "subjects across splits")
    assert (found.count, found.of, found.level) == (4, 6, "leak") and found.example.startswith("'arbo' in ")
    assert [its.check for its in split_findings(rows)] == ["subjects across splits"]
    alone = [{k: v for k, v in row.items() if k in ("statement", "label", "id")} for row in rows]
    assert split_findings(alone) == []


def _split(column: str, first: bool) -> dict[str, str]:
    if column == "in_train":
        return {"in_train": str(int(first)), "in_test": str(int(not first))}
    return {column: ("train" if first else "test") if column == "split" else str(int(first))}


def test_ids_images_and_questions_across_splits() -> None:
    rows = [
        {"question_id": n // 2, "image": f"folder{n}/{n // 2}.jpg", "question": f"What is {n // 2}?", "split": split}
        for n, split in enumerate(["train", "test"] * 5)
    ]
    assert {its.check: its.count for its in split_findings(rows)} == {
        "question ids across splits": 5,
        "images across splits": 5,
        "questions across splits": 5,
    }


def test_subjects_images_and_questions_across_groups() -> None:
    statements = [Example(f"{n}", f"{n}", "", f"{NAMES[n // 2]} is in Peru.", n % 2) for n in range(12)]
    found = only(group_findings(statements), "subjects across groups")
    assert (found.count, found.of) == (6, 6) and "column 'group'" in found.cure
    pictures = [Example(f"{n}", f"{n}", f"Is it {n}?", "yes", n % 2, image=f"/a/{n // 3}.jpg") for n in range(12)]
    assert only(group_findings(pictures), "images across groups").count == 4
    assert group_findings([replace(e, group=e.image) for e in pictures]) == []
    again = [*asked(), *(replace(e, id=f"again {e.id}", group="other") for e in asked(3))]
    checks = {its.check: its.count for its in group_findings(again)}
    assert checks == {"questions across groups": 3, "contexts across groups": 3}


def test_supported_answers_that_their_context_does_not_hold() -> None:
    examples = asked()
    examples[0] = replace(examples[0], answer="Zanzibar")
    examples[2] = replace(examples[2], answer="the bridge builder Cato himself")
    examples[4] = replace(examples[4], answer="no")
    examples[6] = replace(examples[6], answer="Someone", aliases=(examples[6].answer,))
    found = only(context_findings(examples), "not in the context")
    assert (found.count, found.of, found.level) == (2, 39, "note")
    assert "the context has no word of 1 of them" in found.says
    assert found.example.startswith("'0-1': ") and "Zanzibar" in found.example
    for row in (8, 10):
        examples[row] = replace(examples[row], answer="Zanzibar")
    assert only(context_findings(examples), "not in the context").level == "wrong"


def test_numbers_in_words_dots_and_scripts_without_spaces_stand_in_their_context() -> None:
    said = [
        ("3", "She had three cats."),
        ("five", "There were 5 of them."),
        ("U.S.A.", "He lived in the USA."),
        ("东京", "他住在东京市中心。"),
    ]
    examples = [Example(f"{n}", f"{n}", "What?", answer, 1, context) for n, (answer, context) in enumerate(said)]
    assert context_findings(examples) == []


def test_the_label_in_the_prompt_is_found_by_its_word() -> None:
    examples = [replace(e, question=f"{e.question} [{'ok' if e.label else 'meh'}]") for e in asked()]
    found = only(prompt_findings(examples), "label in the prompt")
    assert found.level == "leak" and "of 40 supported and" in found.says and found.of == 80
    rare = [replace(e, context=f"(verified) {e.context}") if e.label and int(e.group) < 15 else e for e in asked()]
    assert (
        "'verified' stands in question or context of 15 of 40 supported and 0 of 40"
        in only(prompt_findings(rare), "label in the prompt").says
    )
    harmless = [replace(e, context=f"(sunday) {e.context}") if e.label and int(e.group) < 15 else e for e in asked()]
    assert prompt_findings(harmless) == []


def test_balance_order_groups_and_length() -> None:
    examples = asked()
    supported = [e for e in examples if e.label]
    assert only(balance_findings(supported), "one label").level == "wrong"
    uneven = balance_findings([*supported, *(e for e in examples[:40] if not e.label)])
    assert only(uneven, "label balance").count == 40 and "0.667 of all" in only(uneven, "label balance").says
    assert only(uneven, "order of labels").count == 40
    assert only(balance_findings([replace(e, group=e.group[-1]) for e in examples[:16]]), "few groups").count == 8
    long = only(balance_findings([*examples[1:], replace(examples[0], answer="x" * 1_000_000)]), "long answers")
    assert long.count == 1 and "the longest 1,000,000" in long.says and long.example == "'0-1'"


def test_findings_are_shown_worst_first() -> None:
    def finding(check: str, level: str, count: int) -> Finding:
        return Finding(check, level, f"{check} is off", count, 10, "", "Mend it")  # pyright: ignore[reportArgumentType]

    order = worst_first(
        [finding("a", "note", 9), finding("b", "confound", 9), finding("c", "wrong", 1), finding("d", "confound", 10)]
    )
    assert [its.check for its in order] == ["c", "d", "b", "a"]
    assert warnings_of(order, "mine") == [f"mine: {check} is off. Mend it" for check in "cdb"]
    alike = [replace(its, says=f"SURFACE CONFOUND: {its.check}") for its in order[1:3]]
    assert warnings_of(alike, "mine") == ["mine: SURFACE CONFOUND: d; so they are by b. Mend it"]
    assert shown(Example("7", "7", "Who  is\nit?", "x" * 100, 1)) == f"'7': Who is it? / {'x' * 57}..."
    assert Finding("a", "note", "", 0, 0, "", "").share == 0
