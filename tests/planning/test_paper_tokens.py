"""The sizes of the paper's study, counted again on the published files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import real_folder

from lens_truth.data.examples import SUPPORTED
from lens_truth.data.loading import load_examples
from lens_truth.evaluate.pope import WORDING, read_questions
from lens_truth.models.loading import load_tokenizer
from lens_truth.planning import paper
from lens_truth.planning.sizes import counted_size


@pytest.fixture(scope="module")
def smollm2() -> Any:
    return load_tokenizer(str(real_folder("smollm2")))


@pytest.mark.published
def test_halueval_has_so_many_tokens(data: Path, smollm2: Any) -> None:
    examples = load_examples(f"halueval:{data / 'halueval' / 'qa_2000.csv'}")
    found = counted_size("HaluEval", examples, smollm2)
    assert (found.rows, found.questions) == (4000, 2000) and found.paired
    assert round(found.prompt) == paper.HALUEVAL.prompt and round(found.answer) == paper.HALUEVAL.answer
    assert found.longest == paper.HALUEVAL.longest and found.n_new == paper.HALUEVAL.n_new
    right = [example for example in examples if example.label == SUPPORTED]
    assert round(counted_size("right", right, smollm2).answer) == 4


@pytest.mark.published
def test_pope_and_chair_have_so_many_tokens(data: Path, smollm2: Any) -> None:
    files = sorted((data / "pope" / "questions").glob("*"))
    asked = [read_questions(path) for path in files]
    assert len(files) == paper.POPE_FILES and {len(its) for its in asked} == {paper.POPE_IMAGES * paper.POPE_QUESTIONS}
    assert all(len({its.image for its in some}) == paper.POPE_IMAGES for some in asked)
    plain = WORDING.plain.replace("{content}", "\n{}\nAnswer the question using a single word or phrase.")
    n = [len(smollm2(plain.format(its.text))["input_ids"]) for its in asked[0][:300]]
    assert sum(n) / len(n) == pytest.approx(paper.POPE_BEGUN + paper.POPE_REST, abs=0.5)
    rows = (data / "chair" / "captions" / "llava-1.5_greedy.jsonl").read_text().splitlines()
    captions = [json.loads(row)["caption"] for row in rows]
    assert len(captions) == paper.CHAIR_IMAGES
    assert max(len(smollm2(caption)["input_ids"]) for caption in captions) == paper.CHAIR_WRITTEN["good"]
