"""RAGTruth as its authors publish it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published import MOSS, Case, changed, check_recognised, check_refused, in_all_ways, lines, read, told

from lens_truth.errors import InputError, gathered_notices

PUBLISHED: dict[str, Case] = {
    "ragtruth": (
        "RAGTruth",
        {"id": "3", "source_id": "9", "source_info": MOSS, "labels": [], "quality": "good", "response": "Roof moss."},
        [(MOSS, "Summarize the document.", "Roof moss.", 1)],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (changed(PUBLISHED["ragtruth"], labels=None), "line 1: field 'labels' is not a list of spans"),
        (changed(PUBLISHED["ragtruth"], source_info=5), "line 1: field 'source_info' is neither text nor an object"),
        (changed(PUBLISHED["ragtruth"], source_info=None), "needs RAGTruth's source_info.jsonl, .* in its folder"),
        (changed(PUBLISHED["ragtruth"], quality="truncated"), "holds no rows"),
        (lines({"source_id": 1, "source_info": MOSS}), "holds RAGTruth's sources, .*--data ragtruth:response.jsonl"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_responses_are_joined_with_their_sources(tmp_path: Path) -> None:
    """RAGTruth's three tasks: a question about passages, news to be summarised, data to be put into words."""
    data = {"name": "Café Moss", "stars": 3.5}
    sources = [
        {"source_id": "1", "task_type": "QA", "source": "M", "source_info": {"question": "Where?", "passages": MOSS}},
        {"source_id": "2", "task_type": "Summary", "source": "CNN/DM", "source_info": MOSS},
        {"source_id": "3", "task_type": "Data2txt", "source": "Yelp", "source_info": data},
    ]
    span = {"start": 0, "end": 3, "text": "Bog", "label_type": "Evident Conflict"}
    rows: list[dict[str, Any]] = [
        {"id": n, "source_id": s, "labels": [], "quality": "good", "response": "Roof."} for n, s in enumerate("123")
    ]
    rows += [{**rows[0], "id": 3, "labels": [span], "response": "Bog."}, {**rows[0], "id": 4, "response": " "}]
    (tmp_path / "source_info.jsonl").write_text(lines(*sources))
    with gathered_notices() as said:
        found = read(tmp_path / "response.jsonl", *rows, {**rows[0], "id": 5, "quality": "incorrect_refusal"})
    assert told(found) == [
        (MOSS, "Where?", "Roof.", 1),
        (MOSS, "Summarize the document.", "Roof.", 1),
        (
            '{"name": "Café Moss", "stars": 3.5}',
            "Write an overview of the business that the data describe.",
            "Roof.",
            1,
        ),
        (MOSS, "Where?", "Bog.", 0),
    ]
    assert [e.group for e in found] == ["ragtruth-1", "ragtruth-2", "ragtruth-3", "ragtruth-1"]
    assert "2 of 6 responses of" in said[0] and "(first: line 5)" in said[0]
    with pytest.raises(InputError, match=r"response.jsonl, line 1: no source has the source_id '7'"):
        read(tmp_path / "response.jsonl", {**rows[0], "source_id": "7"})
