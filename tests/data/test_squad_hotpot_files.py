"""SQuAD and HotpotQA as their authors and the hub publish them."""

from __future__ import annotations

import json
from pathlib import Path

from published import MOSS, Case, check_recognised, in_all_ways, told

from lens_truth.data.loading import load_examples

SPANNED = {"id": "s1", "title": "Moss", "context": MOSS, "question": "Where?"}
FACTS = {"title": ["Moss"], "sent_id": [0]}

PUBLISHED: dict[str, Case] = {
    "squad flat": (
        "SQuAD's rows",
        {**SPANNED, "answers": {"text": ["the roof"], "answer_start": [14]}},
        [(MOSS, "Where?", "the roof", 1)],
    ),
    "squad 2": (
        "SQuAD",
        {
            "version": "v2.0",
            "data": [
                {
                    "title": "Moss",
                    "paragraphs": [
                        {
                            "context": MOSS,
                            "qas": [
                                {
                                    "id": "1",
                                    "question": "Why?",
                                    "is_impossible": True,
                                    "answers": [],
                                    "plausible_answers": [{"text": "roof", "answer_start": 18}],
                                },
                                {
                                    "id": "2",
                                    "question": "Where?",
                                    "is_impossible": False,
                                    "answers": [{"text": "roof", "answer_start": 18}],
                                },
                            ],
                        }
                    ],
                }
            ],
        },
        [(MOSS, "Why?", "not stated", 1), (MOSS, "Why?", "roof", 0), (MOSS, "Where?", "roof", 1)],
    ),
    "hotpot": (
        "HotpotQA",
        {
            "_id": "h",
            "question": "Where?",
            "answer": "roof",
            "context": [["Moss", [MOSS]], ["Ivy", ["Ivy climbs."]]],
            "supporting_facts": [["Moss", 0]],
        },
        [(f"Moss: {MOSS}\nIvy: Ivy climbs.", "Where?", "roof", 1)],
    ),
    "hotpot hub": (
        "HotpotQA",
        {
            "id": "h",
            "question": "Where?",
            "answer": "roof",
            "context": {"title": ["Moss"], "sentences": [[MOSS]]},
            "supporting_facts": FACTS,
        },
        [(f"Moss: {MOSS}", "Where?", "roof", 1)],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


def test_one_object_on_many_lines(tmp_path: Path) -> None:
    _, row, expected = PUBLISHED["squad 2"]
    (tmp_path / "dev.json").write_text(json.dumps(row, indent=2))
    assert told(load_examples(str(tmp_path / "dev.json"))) == expected
