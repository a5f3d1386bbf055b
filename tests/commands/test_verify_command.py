"""`lens-truth verify`: what it writes, every flag, every bad input, and a killed run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import refused, run

from lens_truth.detection.reranking import Reranking
from lens_truth.detection.verification import Verification
from lens_truth.page.write import write_report

pytestmark = [pytest.mark.zoo, pytest.mark.usefixtures("no_pdfs")]
CONFLICT = ("verify", "--data", "zoo:conflict/test", "--limit", "160", "--permutations", "20")


def test_without_flags_the_answers_of_the_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "verify"
    code, said, _ = run(capsys, "verify", "--limit", "160", "--out", out)
    assert code == 0
    assert {path.name for path in out.iterdir()} == {"result.json", "verification.png", "verification.pdf"}
    found = Verification.load(out, "given")
    assert len(found.null) == 200 and found.n_folds == 5 and len(found.right) == 160
    assert "160 examples in" in said and "asked by its chat template" in said
    for sentence in found.verdicts():
        assert sentence in said
    assert f"{found.measured['CLUE', 'all'].value:.3f}" in said
    first = json.loads((out / "result.json").read_text())
    assert run(capsys, "verify", "--limit", "160", "--out", out)[0] == 0
    again = json.loads((out / "result.json").read_text())
    assert first["results"] == again["results"]  # same seed, same numbers
    text = write_report([out], out=tmp_path / "page.html").read_text()
    assert "Verification of given answers" in text and "experiences matched in length" in text


def test_sampled_answers_and_a_killed_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "verify"
    how = (*CONFLICT, "--samples", "4", "--seed", "1", "--folds", "4", "--out", out)
    code, said, _ = run(capsys, *how)
    assert code == 0
    assert {path.name for path in out.iterdir()} == {
        "answers.jsonl",
        "result.json",
        "verification.png",
        "verification.pdf",
    }
    assert "320 answers to 80 questions" in said and "oracle (any is right)" in said
    chosen, found = Reranking.load(out), Verification.load(out, "sampled")
    assert chosen.n_samples == 4 and found.n_folds == 4 and found.seed == chosen.seed == 1
    lines = (out / "answers.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 320 and json.loads(lines[0])["tokens"]
    (out / "answers.jsonl").write_text("".join(lines[:100]) + lines[100][:9])
    (out / "result.json").unlink()
    assert run(capsys, *how)[0] == 0
    assert Reranking.load(out) == chosen and Verification.load(out, "sampled") == found
    text = write_report([out], out=tmp_path / "page.html").read_text()
    assert "Which of the sampled answers" in text and "majority vote" in text


def test_flags_of_sampling(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each makes other answers; strictly read fewer are right."""
    common = (*CONFLICT, "--samples", "3", "--template", "plain", "--model", "zoo:llama-memory")
    flags = [(), ("--temperature", "2"), ("--top-p", "1", "--top-k", "0", "--temperature", "2"), ("--new-tokens", "1")]
    kept = set()
    for place, more in enumerate(flags):
        assert run(capsys, *common, *more, "--out", tmp_path / str(place))[0] == 0
        lines = (tmp_path / str(place) / "answers.jsonl").read_text().splitlines()
        kept.add(tuple(json.loads(line)["answer"] for line in lines))
    assert len(kept) >= 3
    said = run(capsys, *common, "--match", "strict", "--out", tmp_path / "strict")[1]
    assert "right (strict)" in said


def test_data_without_wrong_answers_is_answered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As TriviaQA is: questions with aliases. Without --samples ten are drawn."""
    from lens_truth.data.world_examples import conflict_examples

    supported = [e for e in conflict_examples("test", 80, 0) if e.label]
    rows = [
        {
            "question": f"{e.context} {e.question}",
            "question_id": e.id,
            "answer": {"value": "the one", "aliases": [e.answer]},
        }
        for e in supported
    ]
    file = tmp_path / "trivia.json"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, said, _ = run(
        capsys, "verify", "--data", f"triviaqa:{file}", "--permutations", "0", "--out", tmp_path / "out"
    )
    assert code == 0 and "read as TriviaQA" in said and f"{10 * len(rows)} answers to {len(rows)} questions" in said
    right = [json.loads(line)["answer"] for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert not any("the one" in text for text in right)  # only aliases are ever said


def test_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused(capsys, "0 sampled answers were asked for", *CONFLICT, "--samples", "0", *out)
    refused(capsys, "the temperature is 0.0", *CONFLICT, "--samples", "2", "--temperature", "0", *out)
    refused(capsys, "top-p is 2.0", *CONFLICT, "--samples", "2", "--top-p", "2", *out)
    refused(capsys, "--tags takes two texts", *CONFLICT, "--tags", "<think>", *out)
    refused(capsys, "-1 permutations were asked for", "verify", "--permutations", "-1", *out)
    refused(capsys, "none of the 160 answers holds the closing tag '</t>'", *CONFLICT, "--tags", "<t>", "</t>", *out)
    refused(capsys, "fewer than the 500 folds", *CONFLICT, "--folds", "500", *out)
    refused(capsys, "there is no such file", "verify", "--data", str(tmp_path / "no.jsonl"), *out)
    refused(capsys, "the number of new tokens is 0", *CONFLICT, "--samples", "2", "--new-tokens", "0", *out)
    row = {"id": "1", "question": "Who?", "answer": "Ada", "label": 0}
    (tmp_path / "wrong.jsonl").write_text(json.dumps(row) + "\n")
    refused(capsys, "has no supported example", "verify", "--data", str(tmp_path / "wrong.jsonl"), *out)
