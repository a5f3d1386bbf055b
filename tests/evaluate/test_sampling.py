"""Sampled answers: what is drawn, that nothing but the question and its number decides it, and the log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from transformers import LogitsProcessorList
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from lens_truth.data import world_examples as zoo_data
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.evaluate import sampling as module
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import first_line
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.sampling import Drawing, SampledAnswers, Sampling, sampled_answers
from lens_truth.gates.gate import HeadGate
from lens_truth.io.files import hash_of
from lens_truth.io.streams import Stream, stream
from lens_truth.models.loading import load
from lens_truth.models.prompts import Encoded
from lens_truth.scoring.causal import answer_log_probs


def questions(n: int) -> list[Example]:
    return [e for e in zoo_data.text_examples("test", 4 * n, 0) if e.label][:n]


def texts(sampled: SampledAnswers) -> list[list[str]]:
    return [[answer.text for answer in its] for its in sampled.answers]


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"), [(1.0, 0.9, 50), (0.5, 0.7, 0), (2.0, 1.0, 7), (1.0, 1.0, 0), (1.0, 0.2, 100)]
)
def test_tokens_are_drawn_as_often_as_hugging_face_s_warpers_say(temperature: float, top_p: float, top_k: int) -> None:
    logits = torch.randn(1, 90, generator=torch.Generator().manual_seed(3)) * 2
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    ids: Any = torch.zeros(1, 1, dtype=torch.long)
    wanted = LogitsProcessorList(warpers)(ids, logits.clone()).softmax(1)[0]
    grid = torch.from_numpy((np.arange(20000) + 0.5) / 20000)[:, None]
    drawing = Drawing(Sampling(temperature=temperature, top_p=top_p, top_k=top_k), grid)
    left = drawing(ids.expand(20000, 1), logits.expand(20000, 90))
    assert (left.isfinite().sum(1) == 1).all()
    drawn = left.argmax(1)
    shares = torch.bincount(drawn, minlength=90) / 20000
    assert float((shares - wanted).abs().max()) < 1e-4
    assert torch.equal(drawing.log_probs[0], logits.log_softmax(1)[0][drawn])


def test_tokens_that_rounding_exchanges_are_not_exchanged_in_the_answer() -> None:
    """Ranked by probability, the two likeliest would trade places."""
    logits = torch.tensor([[0.0, 2.0, 2.0, -1.0]])
    ids: Any = torch.zeros(97, 1, dtype=torch.long)
    numbers = torch.from_numpy(np.linspace(0, 0.999, 97))[:, None]
    nudged = logits + torch.tensor([[0.0, -1e-6, 1e-6, 0.0]])
    one, other = (Drawing(Sampling(top_p=1.0), numbers)(ids, its.expand(97, 4)).argmax(1) for its in (logits, nudged))
    assert len(set(one.tolist())) > 2
    assert int((one != other).sum()) == 0


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_answers_do_not_depend_on_the_batch_nor_on_what_else_is_asked(tiny: Any, template: Any) -> None:
    asked, how = questions(7), Sampling(n=5, temperature=1.3, top_p=1.0, top_k=0)
    every = texts(sampled_answers(tiny, asked, how, template=template, n_new=6))
    for batch_size in (1, 4, 64):
        again = sampled_answers(tiny, asked, how, template=template, n_new=6, batch_size=batch_size)
        assert texts(again) == every
    fewer = sampled_answers(tiny, asked[::-2], replace(how, n=2), template=template, n_new=6)
    assert texts(fewer) == [its[:2] for its in every[::-2]]
    assert len({text for its in every for text in its}) > 25
    other = texts(sampled_answers(tiny, asked, replace(how, seed=1), template=template, n_new=6))
    assert sum(a != b for one, two in zip(every, other, strict=True) for a, b in zip(one, two, strict=True)) > 25


def test_answers_equal_a_loop_over_tokens(tiny: Any) -> None:
    """Without cache, batch, padding or generate: the number of each step falls on a token in the vocabulary's order."""
    asked, how = questions(3), Sampling(n=3, temperature=0.8, top_p=0.8, top_k=20, seed=4)
    sampled = sampled_answers(tiny, asked, how, template="chat", n_new=5)
    for prompt, answers in zip(sampled.prompts, sampled.answers, strict=True):
        for number, answer in enumerate(answers):
            numbers = stream(4, Stream.SAMPLES, int(hash_of(prompt.content), 16), number).random(5)
            ids, total = list(prompt.ids), 0.0
            for at in numbers.tolist():
                with torch.no_grad():
                    logits = tiny.original_model(torch.tensor([ids])).logits[0, -1].double()
                kept = [int(token) for token in (logits / 0.8).topk(20).indices]
                shares = (logits[kept] / 0.8).softmax(0)
                n = 1 + int((shares.cumsum(0) < 0.8).sum())
                left = sorted(zip(kept[:n], shares[:n].tolist(), strict=True))
                point, token = at * sum(share for _, share in left), left[-1][0]
                for candidate, share in left:
                    if point < share:
                        token = candidate
                        break
                    point -= share
                if token == tiny.tokenizer.eos_token_id:
                    break
                total += float(logits.log_softmax(0)[token])
                ids.append(token)
            assert answer.tokens == tuple(ids[len(prompt.ids) :])
            assert answer.margin == pytest.approx(total, abs=1e-4)


def test_one_token_alone_is_the_greedy_answer(zoo: Any) -> None:
    model = zoo("llama-memory-chat")
    benchmark = benchmark_of("sampled", "answer", questions(12))
    greedy = [answer.text for answer in Asker(model, "chat").ask(benchmark)[""]]
    sampled = sampled_answers(model, questions(12), Sampling(n=2, top_k=1), template="chat")
    assert texts(sampled) == [[text] * 2 for text in greedy]


def test_log_probabilities_are_the_model_s(tiny: Any) -> None:
    sampled = sampled_answers(tiny, questions(4), Sampling(n=3, top_p=1.0, top_k=0), template="chat", n_new=6)
    for q, (prompt, answers) in enumerate(zip(sampled.prompts, sampled.answers, strict=True)):
        n = len(prompt.ids)
        rows = [Encoded([*prompt.ids, *a.tokens], answer=(n, n + len(a.tokens)), continuation=n) for a in answers]
        with torch.no_grad():
            wanted = answer_log_probs(tiny, rows).tolist()
        assert sampled.log_probs[q].tolist() == pytest.approx(wanted, abs=1e-3)
        assert sampled.n_tokens[q].tolist() == [len(row.ids) - n for row in rows]


def test_a_plain_answer_is_a_line(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows it is neither said nor counted, and no more of it is written than the batch's longest line."""
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    long = sampled_answers(model, questions(8), Sampling(n=4, temperature=3.0, top_k=0, top_p=1.0), n_new=40)
    every = [answer for its in long.answers for answer in its]
    assert all(answer.text == first_line(answer.text) for answer in every)
    cut = [answer for answer in every if 0 < len(answer.tokens) < 40]
    assert cut
    for answer in cut:
        assert first_line(tokenizer.decode(answer.tokens)) == answer.text
        assert first_line(tokenizer.decode(answer.tokens[:-1])) != answer.text  # not a token more than it takes
    assert any("\n" in tokenizer.decode([token]) for token in range(len(tokenizer)))


def test_answers_are_judged_by_aliases() -> None:
    example = Example("1", "1", "Who?", "Tim Berners-Lee", 1, aliases=("TBL",))
    said = ["It was Tim Berners-Lee.", "tbl", "A tbl", "Ada", ""]
    answers = tuple(module.Answer(text, -1.0, (1,)) for text in said)
    sampled = SampledAnswers((example,), (module.PromptTokens([1]),), (answers,))
    assert sampled.right().tolist() == [[True, True, True, False, False]]
    assert sampled.right("strict").tolist() == [[False, True, True, False, False]]


def test_a_killed_run_goes_on(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked, how = tmp_path / "answers.jsonl", questions(6), Sampling(n=3)
    with AnswerLog(path, tiny, "m", "w") as log:
        whole = sampled_answers(tiny, asked, how, n_new=5, log=log, batch_size=4)
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 18 and {json.loads(line)["gate"] for line in lines} == {"sample 0", "sample 1", "sample 2"}
    path.write_text("".join(lines[:7]) + lines[7][:20])  # as a kill leaves it
    drawn: list[int] = []
    written = module._written
    monkeypatch.setattr(
        module, "_written", lambda model, batch, *a: (drawn.append(len(batch.at)), written(model, batch, *a))[1]
    )
    with AnswerLog(path, tiny, "m", "w") as log:
        assert sampled_answers(tiny, asked, how, n_new=5, log=log, batch_size=4) == whole
    assert sum(drawn) < 18
    drawn.clear()
    with AnswerLog(path, tiny, "m", "w") as log:
        assert sampled_answers(tiny, asked, how, n_new=5, log=log) == whole
        assert not drawn  # all of it was known
        more = sampled_answers(tiny, asked, replace(how, n=4), n_new=5, log=log)
        assert [its[:3] for its in more.answers] == list(whole.answers)
        for other in (
            replace(how, temperature=0.9),
            replace(how, top_p=0.8),
            replace(how, top_k=9),
            replace(how, seed=1),
        ):
            drawn.clear()
            sampled_answers(tiny, asked, other, n_new=5, log=log)
            assert sum(drawn) == 18  # they are other answers


def test_a_gate_that_is_attached_acts(zoo: Any) -> None:
    model = zoo("llama-memory-chat")
    plain = texts(sampled_answers(model, questions(6), Sampling(n=3), template="chat"))
    shape = (model.cfg.n_layers, model.cfg.n_heads)
    with HeadGate(torch.zeros(shape)).attach(model):
        gated = texts(sampled_answers(model, questions(6), Sampling(n=3), template="chat"))
    assert gated != plain


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"n": 0}, "0 sampled answers were asked for; it must be at least 1"),
        ({"temperature": 0.0}, "the temperature is 0.0; samples need a finite one above 0"),
        ({"temperature": float("inf")}, "the temperature is inf; samples need a finite one above 0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"top_p": 0.0}, "top-p is 0.0 and top-k 50"),
        ({"top_p": 1.1}, "top-p is 1.1"),
        ({"top_k": -1}, "top-k -1"),
    ],
)
def test_bad_settings(how: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Sampling(**how)


def test_bad_questions(tiny: Any) -> None:
    wrong = [replace(e, label=0) for e in questions(2)]
    with pytest.raises(InputError, match="benchmark 'sampled' has no supported example"):
        sampled_answers(tiny, wrong)
    with pytest.raises(InputError, match="longer than the model's context"):
        sampled_answers(tiny, questions(2), n_new=4000)
