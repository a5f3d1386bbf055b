"""HaluEval's protocols, POPE's files, yes-or-no metrics, choosing by likelihood, side effects."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from lens_truth.data.examples import Example, question_pairs
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import PARSES, binary_metrics, margin_metrics
from lens_truth.evaluate.asker import Asker, choose
from lens_truth.evaluate.halueval import WITH_KNOWLEDGE, few_shot, judgement
from lens_truth.evaluate.pope import count_duplicates, pope_examples, pope_result, read_answers, read_questions
from lens_truth.gates.gate import HeadGate
from lens_truth.models.prompts import prompt_of
from lens_truth.scoring.causal import causal_scores


@pytest.mark.parametrize(
    ("text", "strict", "truthprobe", "halueval", "pope"),
    [
        ("Yes.", "yes", "yes", "yes", "yes"),
        (" no, it is", "no", "no", None, "no"),
        ("No.", "no", "no", "no", "no"),
        ("The answer is Yes", None, "no", "yes", "yes"),
        ("Yes and No", "yes", "yes", None, "no"),
        ("yes", "yes", "yes", None, "yes"),
        ("There is not a car.", None, "no", None, "no"),
        ("I see a car. No bus", None, "no", "no", "yes"),
        ("Nothing", None, "no", "no", "yes"),
        ("", None, "no", None, "yes"),
        ("no,", "no", "no", None, "no"),
    ],
)
def test_parses(text: str, strict: Any, truthprobe: str, halueval: Any, pope: str) -> None:
    said = [PARSES[name](text) for name in ("strict", "truthprobe", "halueval", "pope")]
    assert said == [strict, truthprobe, halueval, pope]


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    said = [["yes", "no"][i] for i in rng.integers(2, size=200)]
    wanted = [["yes", "no"][i] for i in rng.integers(2, size=200)]
    m = binary_metrics(said, wanted)
    assert m.accuracy == np.mean([s == w for s, w in zip(said, wanted, strict=True)])
    for ours, theirs in ((m.precision, precision_score), (m.recall, recall_score), (m.f1, f1_score)):
        assert ours == pytest.approx(theirs(wanted, said, pos_label="yes"))
    assert (m.yes_ratio, m.unparsed) == (said.count("yes") / 200, 0)
    margins = rng.normal(size=200)
    found = margin_metrics(margins.tolist(), wanted)
    assert found.auroc == pytest.approx(roc_auc_score([w == "yes" for w in wanted], margins))
    assert found.yes_ratio == np.mean(margins > 0)


def test_what_is_not_defined_is_none() -> None:
    m = binary_metrics(["no", None, "no"], ["no", "no", "no"])
    assert (m.accuracy, m.precision, m.recall, m.f1) == (pytest.approx(2 / 3), None, None, None)
    assert m.unparsed == pytest.approx(1 / 3)
    assert binary_metrics(["no"], ["yes"]).f1 == 0
    assert margin_metrics([1.0], ["yes"]).auroc is None


PAIR = [
    Example("1", "g", "Who?", "Ann", 1, "Ann did it."),
    Example("2", "g", "Who?", "Bob", 0, "Ann did it."),
]


def test_halueval_prompts_of_both_protocols(tmp_path: Path, tokenizer: Any) -> None:
    text = prompt_of(tokenizer, PAIR[1], "plain", WITH_KNOWLEDGE).text
    assert text.startswith("USER: You are a huallucination detector. You MUST determine")
    assert text.endswith("MUST be Yes or No.\n\n#Knowledge:Ann did it.\n\n#Question#: Who?\n#Answer#: Bob ASSISTANT:")
    chat = prompt_of(tokenizer, PAIR[1], "chat", WITH_KNOWLEDGE).text
    assert chat.count("USER:") == 1 and "#Answer#: Bob\nASSISTANT:" in chat
    (tmp_path / "i.txt").write_text("Judge {this}.\n#Your Judgement#: No")
    few = prompt_of(tokenizer, PAIR[1], "plain", few_shot(tmp_path / "i.txt")).text
    assert few == ("Judge {this}.\n#Your Judgement#: No\n\n#Question#: Who?\n#Answer#: Bob\n#Your Judgement#:")
    (tmp_path / "i.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"i\.txt: the instruction is empty"):
        few_shot(tmp_path / "i.txt")
    with pytest.raises(InputError, match=r"j\.txt: cannot be read"):
        few_shot(tmp_path / "j.txt")


def test_which_answer_is_shown_follows_the_seed() -> None:
    examples = load_examples("zoo:text", limit=400)
    shown = [judgement(examples, WITH_KNOWLEDGE, seed, ("strict",)) for seed in (0, 0, 1)]
    assert shown[0] == shown[1] != shown[2]
    assert len(shown[0].examples) == len(question_pairs(examples)) and shown[0].n_new == 7
    assert {(e.group, e.question) for e in shown[0].examples} == {(e.group, e.question) for e in examples}
    assert 0.4 < Counter(shown[0].wanted)["yes"] / len(shown[0].examples) < 0.6


QUESTIONS = [
    {"question_id": i, "image": f"{i // 2}.jpg", "text": f"Is there a {['cat', 'dog'][i % 2]}?", "label": label}
    for i, label in enumerate(["yes", "no", "no", "yes"])
]
ANSWERS = [{"question_id": i, "answer": answer} for i, answer in enumerate(["Yes.", "No", "I see one", "no"])]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pope_files(tmp_path: Path) -> None:
    questions = read_questions(lines(tmp_path / "q.json", QUESTIONS))
    answers = read_answers(lines(tmp_path / "a.jsonl", ANSWERS[::-1]), questions)
    assert answers == ["Yes.", "No", "I see one", "no"]
    metrics = pope_result({"q": (questions, answers)}).by_parse
    assert (metrics["pope"].accuracy, metrics["pope"].unparsed) == (0.5, 0)
    assert (metrics["strict"].accuracy, metrics["strict"].unparsed, metrics["strict"].precision) == (0.5, 0.25, 1)
    (tmp_path / "list.json").write_text(json.dumps(QUESTIONS, indent=4))  # as POPE's A-OKVQA and GQA files are
    assert read_questions(tmp_path / "list.json") == questions
    again = [{**QUESTIONS[0], "question_id": 9}, {**QUESTIONS[0], "question_id": 10, "image": "x.jpg"}]
    assert count_duplicates(read_questions(lines(tmp_path / "d.json", QUESTIONS + again))) == 1


def test_ids_as_libraries_write_them(tmp_path: Path) -> None:
    rows = [{**row, "question_id": float(row["question_id"]), "label": row["label"].upper()} for row in QUESTIONS]
    questions = read_questions(lines(tmp_path / "q.json", rows))
    answers = lines(tmp_path / "a.jsonl", [{**row, "question_id": str(row["question_id"])} for row in ANSWERS])
    assert len(read_answers(answers, questions)) == 4 and questions[0].label == "yes"


@pytest.mark.parametrize(
    ("questions", "answers", "complaint"),
    [
        ([], ANSWERS, r"q\.json: holds no questions"),
        (
            [{**QUESTIONS[0], "label": "maybe"}, QUESTIONS[1]],
            ANSWERS,
            "1 of 2 labels are not yes or no .*question 0 with 'm",
        ),
        ([QUESTIONS[0], QUESTIONS[0]], ANSWERS, "line 2: question_id 0 stands there already"),
        ([{"question_id": 1}], ANSWERS, "line 1: has no field 'image'"),
        ([{**QUESTIONS[0], "image": [1]}], ANSWERS, "line 1: field 'image' is not text"),
        (QUESTIONS, ANSWERS[:2], r"2 of 4 questions have no answer \(first: 2\)"),
        (QUESTIONS[:3], ANSWERS, r"1 of 4 answers are to unknown questions \(first: 3\)"),
        (QUESTIONS[:3], ANSWERS[1:], "1 of 3 answers are to unknown .*; 1 of 3 questions have no answer"),
        (QUESTIONS, [*ANSWERS, ANSWERS[0]], "line 5: question 0 is answered already"),
        (QUESTIONS, [{"question_id": 1, "answer": None}], "line 1: has no field 'answer'"),
        (QUESTIONS, [], "4 of 4 questions have no answer"),
    ],
)
def test_bad_pope_files(tmp_path: Path, questions: Any, answers: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_answers(lines(tmp_path / "a.jsonl", answers), read_questions(lines(tmp_path / "q.json", questions)))


def test_missing_images_are_counted(tmp_path: Path) -> None:
    questions = read_questions(lines(tmp_path / "q.json", QUESTIONS))
    with pytest.raises(InputError, match=r"2 of 2 images are not there \(first: .*0\.jpg\)"):
        pope_examples("random", questions, tmp_path)
    (tmp_path / "0.jpg").touch()
    with pytest.raises(InputError, match=r"1 of 2 images are not there \(first: .*1\.jpg\)"):
        pope_examples("random", questions, tmp_path)
    (tmp_path / "1.jpg").touch()
    made = pope_examples("random", questions, tmp_path)
    assert [e.answer for e in made] == [q.label for q in questions]
    assert {Path(e.image).name for e in made} == {"0.jpg", "1.jpg"} and made[0].id == "random/0"
    with pytest.raises(InputError, match="there is no such folder of images"):
        pope_examples("random", questions, tmp_path / "none")


@pytest.mark.published
def test_published_pope_questions_are_read(data: Path) -> None:
    found = {path.stem: read_questions(path) for path in sorted((data / "pope" / "questions").glob("*.json"))}
    assert len(found) == 9 and all(len(questions) == 3000 for questions in found.values())
    assert all(sum(q.label == "yes" for q in questions) == 1500 for questions in found.values())
    duplicates = {name: count_duplicates(questions) for name, questions in found.items() if count_duplicates(questions)}
    assert duplicates == {"aokvqa_pope_seem_adversarial": 1, "gqa_pope_seem_adversarial": 1}


def test_choosing_ranks_by_log_probability(zoo: Any) -> None:
    model = zoo("llama-memory")
    examples = load_examples("zoo:conflict/test", limit=60)
    choices = choose(Asker(model, "plain", batch_size=7), examples).choices
    assert len(choices) == len(question_pairs(examples))
    supported, hallucinated = (side[0] for side in question_pairs(examples)[0])
    prompt, answers = [], []
    for row in (supported, hallucinated):
        e = examples[row]
        prompt = model.tokenizer(f"Context:\n{e.context}\n\nQuestion: {e.question}\nAnswer:")["input_ids"]
        answers.append(model.tokenizer(f" {e.answer}", add_special_tokens=False)["input_ids"])
    log_probs = model(torch.tensor([prompt]))[0, -1].log_softmax(-1).detach()
    right, wrong = (float(log_probs[answer[0]]) for answer in answers)
    assert all(len(answer) == 1 for answer in answers)
    assert choices[0].margin == pytest.approx(right - wrong, abs=1e-4)
    assert choices[0].margin_per_token == pytest.approx(choices[0].margin)
    assert choices[0].mass == pytest.approx(np.exp(right) / (np.exp(right) + np.exp(wrong)), abs=1e-5)
    accuracy = np.mean([choice.margin > 0 for choice in choices])
    assert 0.4 < accuracy < 0.95
    with HeadGate.from_scores(causal_scores(model, load_examples("zoo:conflict", limit=120)), 0.6, "minmax").attach(
        model
    ):
        assert np.mean([choice.margin > 0 for choice in choose(Asker(model, "plain"), examples).choices]) > accuracy


def test_long_answers_are_not_unlikely_per_token(zoo: Any) -> None:
    rows = [
        Example("1", "g", "What colour is the heart?", "coral coral coral", 1, "The coral heart is in the attic."),
        Example("2", "g", "What colour is the heart?", "white", 0, "The coral heart is in the attic."),
    ]
    (choice,) = choose(Asker(zoo("llama-base"), "plain"), rows).choices
    assert choice.margin_per_token > choice.margin
