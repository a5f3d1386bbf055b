"""NQ-Swap as the hub publishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import MOSS, Case, changed, check_recognised, check_refused, in_all_ways, read

from lens_truth.errors import gathered_notices

PUBLISHED: dict[str, Case] = {
    "nq-swap": (
        "NQ-Swap",
        {
            "question": "where does moss grow",
            "org_context": MOSS,
            "org_answer": ["roof"],
            "sub_context": "Moss grows on the fence.",
            "sub_answer": ["fence"],
        },
        [
            ("Moss grows on the fence.", "where does moss grow", "fence", 1),
            ("Moss grows on the fence.", "where does moss grow", "roof", 0),
        ],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (changed(PUBLISHED["nq-swap"], sub_answer=[]), "line 1: field 'sub_answer' or 'org_answer' is empty"),
        (changed(PUBLISHED["nq-swap"], sub_answer=[7]), "line 1: field 'sub_answer' is not a list of texts"),
        (changed(PUBLISHED["nq-swap"], org_answer="[roof"), "line 1: field 'org_answer' is not a list of texts"),
        (changed(PUBLISHED["nq-swap"], org_answer=["FENCE"]), "holds no rows"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_what_was_exchanged_is_evidence(tmp_path: Path) -> None:
    """Wherever it stands as a word; a row that exchanges an answer for itself is counted and left out."""
    row = PUBLISHED["nq-swap"][1]
    context = "Fence moss: it grows on the fence, not on fences."
    same = {**row, "sub_answer": ["Roof"]}
    with gathered_notices() as said:
        right, wrong = read(tmp_path / "a.json", {**row, "sub_context": context, "org_answer": ["roof", "wall"]}, same)
    assert [context[start:stop] for start, stop in right.evidence] == ["Fence", "fence"] and not wrong.evidence
    assert right.group == wrong.group == row["question"] and wrong.aliases == ("wall",)
    assert said == [f"1 of 2 rows of {tmp_path / 'a.json'} exchange nothing and are left out (first: line 2)"]
