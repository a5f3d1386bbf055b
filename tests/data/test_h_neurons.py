"""Replies with marked answer tokens, as H-Neurons publishes them: which characters they are, and all that is lost."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from published import Case, check_recognised, check_refused, in_all_ways, lines
from tokenizers.pre_tokenizers import ByteLevel

from lens_truth.data.h_neurons import labels_beside, marked_row, read_labels, write_marked
from lens_truth.data.loading import load_examples, load_replies
from lens_truth.data.marked_tokens import Marked, characters_of, place_of
from lens_truth.data.replies import Reply
from lens_truth.errors import InputError, gathered_notices

Row = dict[str, Any]


def reply(response: str, tokens: list[str], answer: list[str], **more: Any) -> Row:
    return {
        "question": "Where is moss?",
        "response": response,
        "tokenized_response": tokens,
        "answer_tokens": answer,
        **more,
    }


ROOF = reply("On the roof.", ["On", "Ġthe", "Ġroof", "."], ["Ġroof"])
PUBLISHED: dict[str, Case] = {
    "h-neurons": (
        "H-Neurons' replies",
        {"qz_1": {**ROOF, "judge": "true"}},
        [("", "Where is moss?", "On the roof.", 1)],
    )
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"a": {**ROOF, "judge": "true", "question": ""}}, "line 1: field 'question' is empty"),
        (
            {"a": {**ROOF, "judge": "true", "tokenized_response": "On the roof"}},
            "field 'tokenized_response' is not a list of tokens",
        ),
        (
            {"a": {**ROOF, "judge": "true", "answer_tokens": [1]}},
            "field 'answer_tokens' is not a list of tokens, each a text",
        ),
        ({"a": {**ROOF, "judge": "true", "token_ids": ["x"]}}, "field 'token_ids' is not a list of numbers of tokens"),
        ({"a": ROOF}, "does not say which replies are right; their ids are looked for in .*data_qids.json"),
        ({"a": ROOF, "b": 1}, "line 1: 'b' is not an object with a question, a response and its tokens"),
        ({"a": {**ROOF, "judge": "true", "answer_tokens": []}}, "of none of its 1 replies are answer and label known"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Row, complaint: str) -> None:
    check_refused(tmp_path, lines(row), complaint)


def test_an_id_stands_once(tmp_path: Path) -> None:
    check_refused(tmp_path, lines({"a": ROOF}, {"a": ROOF}), "line 2: id 'a' stands already on line 1")


def file_of(folder: Path, labels: dict[str, list[str]] | None, *rows: Row) -> Path:
    path = folder / "Model_answer_tokens_train.jsonl"
    path.write_text(lines(*rows))
    if labels is not None:
        (folder / "Model_train_qids.json").write_text(json.dumps(labels))
    return path


def test_everything_that_is_lost_is_counted_by_what_it_lacks(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        {"t": ["kept", "no-row", "empty"], "f": ["loose", "twice", "foreign", "other-text"]},
        {"kept": ROOF},
        {"empty": {**ROOF, "answer_tokens": []}},
        {"unlabelled": ROOF},
        {"loose": reply("A, B and C", ["A", ",", "ĠB", "Ġand", "ĠC"], ["A", "ĠB", "ĠC"])},
        {"twice": reply("Moss\nMoss", ["Moss", "Ċ", "Moss"], ["Moss"])},
        {"foreign": {**ROOF, "answer_tokens": ["Ġcellar"]}},
        {"other-text": {**ROOF, "response": "In the cellar."}},
    )
    with gathered_notices() as said:
        replies = load_replies(str(path))
    assert {r.example.id: (r.answer, r.example.label) for r in replies} == {
        "kept": ("roof", 1),
        "loose": ("A, B and C", 0),
        "twice": ("Moss", 0),
    }
    assert {r.example.id: r.span for r in replies}["twice"] == (0, 4)
    lost, loose, several = said
    assert "of 7 replies 3 are kept" in lost
    for count, why in ((1, "no answer tokens"), (1, "no label"), (1, "a label and no row")):
        assert f"{count} have {why}" in lost
    assert "2 have answer tokens that are not among those of the reply, or tokens that do not spell it" in lost
    assert "of 1 replies the marked tokens do not stand side by side" in loose
    assert "in 1 replies the marked tokens stand more than once" in several
    with gathered_notices():
        assert [e.id for e in load_examples(f"h-neurons:{path}", limit=2)] == ["kept", "loose"]


def test_labels_stand_beside_or_are_given_or_in_the_rows(tmp_path: Path) -> None:
    assert labels_beside(Path("x/A_b_answer_tokens_test.jsonl")) == Path("x/A_b_test_qids.json")
    assert labels_beside(Path("answer_tokens_train.jsonl")) == Path("train_qids.json")
    judged = {"a": {**ROOF, "judge": "true"}}, {"b": {**ROOF, "judge": "false"}}, {"c": {**ROOF, "judge": "uncertain"}}
    path = file_of(tmp_path, None, *judged)
    with gathered_notices() as said:
        assert [r.example.label for r in load_replies(str(path))] == [1, 0]
    assert "1 have no label" in said[0]
    other = tmp_path / "ids.json"
    other.write_text(json.dumps({"t": [], "f": ["a"]}))
    with gathered_notices():
        assert [(r.example.id, r.example.label) for r in load_replies(str(path), labels=other)] == [("a", 0)]
    other.write_text(json.dumps({"t": ["a"], "f": ["a", "b"]}))
    with pytest.raises(InputError, match="1 ids are both right and hallucinated"):
        read_labels(other)
    other.write_text(json.dumps(["a"]))
    with pytest.raises(InputError, match="is no file of ids of right and hallucinated replies"):
        load_replies(str(path), labels=other)
    with pytest.raises(InputError, match="holds no replies with marked answer tokens, whose labels"):
        load_replies("zoo:text", labels=other)


def test_other_data_sets_are_replies_that_are_nothing_but_their_answer() -> None:
    replies = load_replies("zoo:text/test", limit=8)
    assert [r.example for r in replies] == load_examples("zoo:text/test", limit=8)
    assert all(r.answer == r.example.answer for r in replies)


@pytest.mark.parametrize(
    ("tokens", "marked", "place"),
    [
        ("a b c d", "b c", Marked(1, 3)),
        ("a b a b", "a b", Marked(0, 2, places=2)),
        ("a b x a y b", "a y b", Marked(3, 6)),
        ("a x x b a x b", "a b", Marked(4, 7, gaps=True)),
        ("A ▁naturally *.", "▁a naturally *", Marked(0, 2, gaps=True)),
        ("a b", "b a", None),
        ("a b", "", None),
        ("a b", "c", None),
    ],
)
def test_marked_tokens_stand_in_the_shortest_stretch(tokens: str, marked: str, place: Marked | None) -> None:
    assert place_of(tokens.split(), marked.split()) == place


TEXTS = ("It is Temps lié sauté, or Assemblé.", "大吉 (Da Ji) — 20 £", "  naïve   spaces\n\nand lines ", "🦙 llama 🦙")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("way", ["bytes", "pieces", "plain"])
def test_every_run_of_tokens_is_the_characters_that_it_spells(text: str, way: str) -> None:
    """Held against the tokenizer library's own pre-tokenizer and offsets, in three ways of writing."""
    cut = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str(text)
    offsets = [ends for _, ends in cut]
    tokens = [token for token, _ in cut]
    if way != "bytes":
        tokens = [text[slice(*ends)] for ends in offsets]
        tokens = [token.replace(" ", "▁") for token in tokens] if way == "pieces" else tokens
    for first in range(len(tokens)):
        for stop in range(first + 1, len(tokens) + 1):
            said = text[offsets[first][0] : offsets[stop - 1][1]]
            found = characters_of(tokens, first, stop, text)
            if not said.strip():
                assert found is None
                continue
            assert found is not None and text[slice(*found)] == said.strip()
            assert found[0] == offsets[first][0] + len(said) - len(said.lstrip())


def test_characters_in_pieces() -> None:
    assert characters_of(["<0xF0><0x9F>", "<0xA6><0x99>", "▁llama"], 2, 3, "🦙 llama") == (2, 7)
    assert characters_of(["a", "<0xC3><0xA9>", "▁b"], 1, 2, "aé b") == (1, 2)
    assert characters_of(["\ufffd", "\ufffd", " llama"], 0, 2, "🦙 llama") == (0, 1)  # each half decoded alone
    assert characters_of(["U", ".", "S"], 0, 3, "U.S \n\n") == (0, 3)  # the end of the text lacks in the tokens
    assert characters_of(["a", "▁b"], 0, 1, "a c") is None
    assert characters_of(["a", "▁", "▁b"], 1, 2, "a  b") is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    first = [replace(e, evidence=()) for e in load_examples("zoo:text/test", limit=6)]
    wanted = [Reply(e, (1, len(e.answer)), (7, 8)) for e in first]
    rows = [marked_row(r, [r.example.answer[0], r.example.answer[1:]], (1, 2)) for r in wanted]
    beside = write_marked(tmp_path / "answer_tokens_test.jsonl", rows)
    assert beside.name == "test_qids.json"
    ids = json.loads(beside.read_text())
    assert ids == {
        "t": [r.example.id for r in wanted if r.example.label],
        "f": [r.example.id for r in wanted if not r.example.label],
    }
    assert load_replies(f"h-neurons:{tmp_path / 'answer_tokens_test.jsonl'}") == wanted


def test_a_row_may_say_where_its_answer_stands(tmp_path: Path) -> None:
    moss = reply("Moss\nMoss", ["Moss", "Ċ", "Moss"], ["Moss"], judge="false", answer_at=[2, 3])
    with gathered_notices() as said:
        (found,) = load_replies(str(file_of(tmp_path, None, {"a": moss})))
    assert (found.span, said) == ((5, 9), [])


EXPECTED = {
    "Llama33_TriviaQA_answer_tokens_train": (2736, 679, 57, 0),
    "Llama33_TriviaQA_answer_tokens_test": (2710, 648, 62, 1),
    "gemma27b_TriviaQA_answer_tokens_train": (2600, 561, 39, 1),
    "gemma27b_TriviaQA_answer_tokens_test": (2600, 558, 42, 3),
}


@pytest.mark.published
@pytest.mark.parametrize("name", EXPECTED)
def test_published_replies(data: Path, name: str) -> None:
    """All 2,000 labelled replies are aligned, and each answer is what its tokens say."""
    path = data / "h_neurons" / f"{name}.jsonl"
    rows, unlabelled, empty, several = EXPECTED[name]
    with gathered_notices() as said:
        replies = load_replies(str(path))
    assert len(replies) == 2000 and sum(r.example.label for r in replies) == 1000
    assert f"of {rows} replies 2000 are kept; " in said[0]
    assert f"{unlabelled} have no label" in said[0] and f"{empty} have no answer tokens" in said[0]
    assert said[1:] == (
        [f"{path}: in {several} replies the marked tokens stand more than once; the first place counts"]
        if several
        else []
    )
    held = {id: its for line in path.read_text().split("\n") if line for id, its in json.loads(line).items()}
    for r in replies:
        its = held[r.example.id]
        spelt = "".join(its["answer_tokens"]).encode("utf-8")
        ascii_only = re.fullmatch(rb"[\x00-\x7f]*", spelt.replace("Ġ".encode(), b" ").replace("▁".encode(), b" "))
        if ascii_only:
            assert r.answer == ascii_only[0].decode().strip()
