"""MemoTrap as its authors publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import Case, changed, check_recognised, check_refused, in_all_ways, read

PUBLISHED: dict[str, Case] = {
    "memotrap": (
        "MemoTrap",
        {
            "prompt": 'End with "moss": A rolling stone gathers no',
            "classes": "[' dust.', ' moss.']",
            "answer_index": 1,
            "part": 1,
        },
        [
            ("", 'End with "moss": A rolling stone gathers no', "dust.", 0),
            ("", 'End with "moss": A rolling stone gathers no', "moss.", 1),
        ],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (changed(PUBLISHED["memotrap"], classes="[' moss.']"), "line 1: field 'classes' does not hold two endings"),
        (
            changed(PUBLISHED["memotrap"], answer_index=2),
            "field 'answer_index' is '2', not the place of one of 2 endings",
        ),
        (
            changed(PUBLISHED["memotrap"], answer_index=None),
            "field 'answer_index' is '', not the place of one of 2 endings",
        ),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_prompts_of_one_proverb_share_a_group(tmp_path: Path) -> None:
    """Endings as a list, as JSON or as Python writes it; an empty last line leaves the whole prompt."""
    row = PUBLISHED["memotrap"][1]
    again = {**row, "prompt": 'End with "dust": A rolling stone gathers no', "classes": [" dust.", " moss."]}
    asked = {**row, "prompt": "What is moss?\nA. a plant\nAnswer:", "classes": '[" A", " B"]', "answer_index": "0"}
    found = read(tmp_path / "a.json", row, again, asked)
    assert [e.group for e in found[::2]] == ["A rolling stone gathers no"] * 2 + [asked["prompt"]]
    assert [(e.answer, e.label) for e in found[4:]] == [("A", 1), ("B", 0)]
