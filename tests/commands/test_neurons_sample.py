"""`lens-truth neurons sample`: what it writes, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import refused, run

from lens_truth.data.loading import load_replies
from lens_truth.data.world import COLOURS, TYPICAL
from lens_truth.evaluate.consistent import ReplyConsistency
from lens_truth.models.loading import load

MODEL = "zoo:llama-memory-chat"
FLAGS = ("neurons", "sample", "--model", MODEL, "--data", "zoo:conflict", "--limit", 120, "--samples", 3)


def rows(path: Path) -> dict[str, Any]:
    return {id: its for line in path.read_text().split("\n") if line for id, its in json.loads(line).items()}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sampled") / "out"


def test_it_writes_the_published_format(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(capsys, *map(str, FLAGS), "--out", out)
    assert code == 0
    names = {"answers.jsonl", "consistency_samples.jsonl", "consistency.png", "consistency.pdf", "result.json"}
    names |= {"answer_tokens_train.jsonl", "train_qids.json"}
    names |= {"answer_tokens_test.jsonl", "test_qids.json"}
    assert {path.name for path in out.iterdir()} == names
    samples = rows(out / "consistency_samples.jsonl")
    parts = {part: rows(out / f"answer_tokens_{part}.jsonl") for part in ("train", "test")}
    groups = [{its["group"] for its in part.values()} for part in parts.values()]
    assert groups[0].isdisjoint(groups[1])
    tokenizer = load(MODEL).tokenizer
    for name, part in parts.items():
        ids = json.loads((out / f"{name}_qids.json").read_text())
        assert len(ids["t"]) == len(ids["f"]) > 0 and {*ids["t"], *ids["f"]} == {*part}
        for id, its in part.items():
            judges = samples[id]["judges"]
            assert set(judges) == {its["judge"]} and (id in ids["t"]) == (its["judge"] == "true")
            assert its["response"] in [said.strip() for said in samples[id]["responses"]]
            assert tokenizer.convert_tokens_to_ids(its["tokenized_response"]) == its["token_ids"]
            assert its["tokenized_response"][slice(*its["answer_at"])] == its["answer_tokens"]
        replies = load_replies(str(out / f"answer_tokens_{name}.jsonl"))
        assert len(replies) == len(part)
        for reply in replies:
            its = part[reply.example.id]
            inside = tokenizer.decode(list(reply.tokens)[slice(*its["answer_at"])])
            assert reply.answer in inside and reply.example.context
    found = ReplyConsistency.load(out)
    assert found.questions == len(samples) == 60
    assert found.parts == {name: (len(part) // 2, len(part) // 2) for name, part in parts.items()}
    page = out.parent / "page.html"
    assert run(capsys, "report", out, "--out", page)[0] == 0
    assert "Replies that come every time" in page.read_text() and found.verdicts()[0] in page.read_text()
    assert found.verdicts()[0] in said and "neurons are found in them by `lens-truth neurons --model" in said


def test_it_goes_on_where_it_stopped(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a log of half the answers the same files come; of a full log nothing is asked again."""
    kept = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".pdf"}
    log = out / "answers.jsonl"
    lines = log.read_bytes().split(b"\n")
    log.write_bytes(b"\n".join(lines[:77]) + b'\n{"key": "cut')
    assert run(capsys, *map(str, FLAGS), "--out", out)[0] == 0
    again = {name: (out / name).read_bytes() for name in kept}
    assert sorted(again.pop("answers.jsonl").split(b"\n")) == sorted(lines)
    del kept["answers.jsonl"], kept["result.json"], again["result.json"]
    assert again == kept


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--test-share", "1"), "--test-share is 1.0; it is a share of the questions, from 0 to below 1"),
        (("--per-class", "0"), "0 replies of each kind were asked for; it must be at least 1"),
        (("--samples", "0"), "0 sampled answers were asked for"),
        (("--data", "zoo:image", "--limit", "8"), "questions have images"),
        (("--match", "strict", "--temperature", "100", "--top-p", "1", "--top-k", "0"), "is answered right by all 3"),
    ],
)
def test_what_it_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], complaint: str
) -> None:
    refused(capsys, complaint, *map(str, FLAGS), *flags, "--out", tmp_path / "out")


def test_without_a_test_part_and_with_an_instruction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--test-share", "0", "--per-class", "2", "--instruction", "What colour?")
    assert run(capsys, *map(str, FLAGS), *more, "--out", tmp_path / "out")[0] == 0
    assert not (tmp_path / "out" / "answer_tokens_test.jsonl").exists()
    replies = load_replies(str(tmp_path / "out" / "answer_tokens_train.jsonl"))
    assert len(replies) == 4
    assert all(reply.example.question.endswith(" What colour?") for reply in replies)


def test_questions_of_triviaqa(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that knows the usual colours is right every time where that is the answer, or an alias of it, and wrong
    where it is another."""
    rows = [
        {
            "question": f"What colour is the {thing}?",
            "question_id": f"{kind}_{thing}",
            "answer": {"value": value, "aliases": aliases},
        }
        for thing, colour in sorted(TYPICAL.items())
        for kind, value, aliases in (
            ("known", "an unknown word", [colour]),
            ("other", next(other for other in COLOURS if other != colour), []),
        )
    ]
    (tmp_path / "trivia.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--data", f"triviaqa:{tmp_path / 'trivia.jsonl'}", "--samples", 2, "--top-k", 1, "--test-share", 0)
    assert run(capsys, "neurons", "sample", "--model", MODEL, *map(str, flags), "--out", tmp_path / "out")[0] == 0
    ids = json.loads((tmp_path / "out" / "train_qids.json").read_text())
    assert len(ids["t"]) == len(ids["f"]) > 5
    assert sum(id.startswith("triviaqa-known_") for id in ids["t"]) >= 0.8 * len(ids["t"])
    assert sum(id.startswith("triviaqa-other_") for id in ids["f"]) >= 0.8 * len(ids["f"])
