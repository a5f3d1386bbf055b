"""Files in no format, or in another than is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published import check_refused, lines


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            lines({"sentence": "Moss is green.", "label": 1}),
            r"line 1: has the fields 'sentence', 'label'; what can be read has those of examples \(question, answer, "
            r"label\); HaluEval's questions \(knowledge, question, right_answer, hallucinated_answer\); .*SQuAD \(da",
        ),
        (lines({str(n): n for n in range(99)}), r"'7', ... \(99 in all\); what can be read"),
        ("{}\n", "line 1: has the fields of nothing; what can be read"),
        ("", "holds no rows"),
        (
            lines({"question_id": 1, "prompt": "Is there?", "text": "Yes"}),
            "holds answers to POPE's questions, not answ",
        ),
        (lines({"image_id": 1, "caption": "A cat."}), "holds captions, .* `lens-truth evaluate chair --captions FILE`"),
        (json.dumps({"images": [], "annotations": []}), "holds COCO's annotations, .* evaluate chair --objects FILE`"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)
