"""Contrastive decoders equal what their papers write down, row by row, without a cache, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
import torch
from conftest import build
from multimodal import build_multimodal

import lens_truth
from lens_truth.data.examples import Example
from lens_truth.decoding.contrast import Contrast
from lens_truth.decoding.decoder import Decoder
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.asker import Asker, questions_of
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.generate import FirstMargin
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.rows import Intervention
from lens_truth.models.loading import load
from lens_truth.models.prompts import PromptTokens
from lens_truth.scoring.causal import encode_answers

N_NEW = 5
HEADS = [(0, 1), (1, 0), (2, 3)]


def gate_of(model: Any) -> HeadGate:
    shape = len(model.attention_layers), model.cfg.n_heads
    return HeadGate(torch.rand(shape, generator=torch.Generator().manual_seed(3)) + 0.5)


def examples_of(image: bool) -> list[Example]:
    """Of several lengths; one has nothing to be taken away."""
    rows = lens_truth.load_examples("zoo:image" if image else "zoo:text", limit=6)
    return [*rows, Example("bare", "bare", "Where is the crown?", "attic", 1)]


def asked(
    model: Any, decoder: Decoder, examples: Sequence[Example]
) -> tuple[list[PromptTokens], list[PromptTokens | None]]:
    benchmark = benchmark_of("b", "judge", examples, n_new=N_NEW)
    template = "chat" if model.tokenizer.chat_template else "plain"
    beside = [decoder.other(example) for example in examples]
    kept = replace(benchmark, examples=tuple(its for its in beside if its))
    rows = iter(questions_of(model, kept, template).rows if kept.examples else [])
    return list(questions_of(model, benchmark, template).rows), [its and next(rows) for its in beside]


def check_written(model: Any, decoder: Contrast, image: bool, gate: Intervention | None = None) -> None:
    decoder = replace(decoder, gate=gate)
    prompts, others = asked(model, decoder, examples_of(image))
    seconds = decoder.second_rows(prompts, others)
    rule = naive.contrast(decoder.strength, decoder.plausible, decoder.by_entropy)
    under = (lambda: gate.attach(model)) if gate else nullcontext
    alone = [
        naive.written(model, prompt, other, N_NEW, rule, under, lambda: decoder.second(model))
        for prompt, other in zip(prompts, seconds, strict=True)
    ]
    together = decoder.write(model, prompts, others, N_NEW)
    assert [row[: len(its)] for row, its in zip(together, alone, strict=True)] == alone
    greedy = Decoder(gate=gate).write(model, prompts, others, N_NEW)
    assert greedy != together  # it does something
    assert replace(decoder, strength=0.0).write(model, prompts, others, N_NEW) == greedy


DECODERS = [
    lens_truth.ContextAware(1.0),
    lens_truth.ContextAware(3.0, plausible=0.2),
    lens_truth.DeCoRe(2.0, HEADS),
    lens_truth.DeCoRe(1.0, HEADS, by_entropy=False, plausible=0.0),
]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda its: f"{type(its).__name__}-{its.strength}")
@pytest.mark.parametrize("family", ["llama-gqa-head-dim", "qwen2"])
def test_text_is_written_as_defined(family: str, decoder: Contrast, tokenizer: Any) -> None:
    model = load(build(family, vocab_size=len(tokenizer), max_position_embeddings=1024), tokenizer=tokenizer)
    check_written(model, decoder, image=False)
    check_written(model, decoder, image=False, gate=gate_of(model))


@pytest.mark.parametrize("family", ["llava", "qwen2.5-vl", "qwen3-vl"])
def test_so_are_images_spoken_of(family: str, tmp_path: Path) -> None:
    """The second pass over a row without an image does not move the positions of the first behind its image."""
    build_multimodal(family, tmp_path)
    model = load(str(tmp_path))
    check_written(model, lens_truth.ContextAware(1.0), image=True)
    check_written(model, lens_truth.DeCoRe(2.0, HEADS), image=True, gate=gate_of(model))


def test_given_answers_are_ranked_by_the_same_numbers(tiny: Any) -> None:
    examples = [e for e in examples_of(False) if e.context]
    rows = encode_answers(tiny, examples, "plain")
    for decoder in DECODERS:
        beside = [decoder.other(e) for e in examples]
        others = encode_answers(tiny, [e for e in beside if e], "plain") if all(beside) else [None] * len(rows)
        found = decoder.log_probs(tiny, rows, others).tolist()
        rule = naive.contrast(decoder.strength, 0.0, decoder.by_entropy)
        for row, other, value in zip(rows, decoder.second_rows(rows, others), found, strict=True):
            total = 0.0
            for i in range(row.n_answer_tokens):
                answer = row.ids[row.continuation : row.continuation + i]
                own = naive.logits_of(tiny, row.ids[: row.continuation] + answer)[-1]
                against = naive.logits_of(tiny, other.ids[: other.continuation] + answer, under=decoder.second(tiny))[
                    -1
                ]
                log_p, mixed = naive.log_softmax(own), rule(own, against)
                unlikely = np.exp(log_p) < decoder.plausible * np.exp(log_p).max()
                total += naive.log_softmax(np.where(unlikely, log_p, mixed))[row.ids[row.continuation + i]]
            assert value == pytest.approx(total, abs=1e-3)
    assert replace(DECODERS[0], strength=0.0).log_probs(tiny, rows, others).tolist() == pytest.approx(
        Decoder().log_probs(tiny, rows, others).tolist()
    )


def test_what_is_not_plausible_is_never_written_and_keeps_its_log_odds() -> None:
    """Where an answer begins neither with yes nor with no, log-odds between these are still the model's."""
    draws = torch.Generator().manual_seed(0)
    own, other = 4 * torch.randn(6, 40, generator=draws), 4 * torch.randn(6, 40, generator=draws)
    log_p = own.log_softmax(-1)
    for decoder in (lens_truth.ContextAware(2.0, plausible=0.5), lens_truth.DoLa(1.0, [1])):
        out = log_p < log_p.amax(-1, keepdim=True) + np.log(decoder.plausible)
        found = decoder.mixed(own, other)
        assert out.any(1).all()
        assert float(found.softmax(-1)[out].sum()) < 1e-40 and found.isfinite().all()
        torch.testing.assert_close(found[~out], decoder.over_plausible(own, other)[~out])
        for row, gone, p in zip(found, out, log_p, strict=True):
            torch.testing.assert_close(row[gone] - row[gone][0], p[gone] - p[gone][0], rtol=0, atol=1e-4)
        for yes, no in ((0, 1), (2, 3), (4, 5)):
            first = FirstMargin([yes], [no])
            first(torch.zeros(6, 1, dtype=torch.long), found)
            expected = torch.where(out[:, yes] & out[:, no], log_p[:, yes] - log_p[:, no], found[:, yes] - found[:, no])
            assert first.margins == pytest.approx(expected.clamp(-100, 100).tolist(), abs=2e-3)


@pytest.mark.zoo
def test_decoders_are_asked_beside_gates_and_kept_in_the_log(zoo: Any, tmp_path: Path) -> None:
    model = zoo("llama-memory-chat")
    (conflict, *_) = lens_truth.zoo_benchmarks("test", 30, seed=0)
    gate = gate_of(model)
    ways = {
        "vanilla": None,
        "off": lens_truth.ContextAware(0.0),
        "cad": lens_truth.ContextAware(1.0),
        "gated": gate,
        "off, gated": lens_truth.DoLa(0.0, gate=gate),
        "both": lens_truth.ContextAware(1.0, gate=gate),
    }
    with AnswerLog(tmp_path / "answers.jsonl", model, "m", "w") as log:
        first = Asker(model, "chat", log=log).run(conflict, ways)
    assert first["cad"].accuracy > first["vanilla"].accuracy + 0.2  # memory against context is what it is for
    assert first["off"].texts == first["vanilla"].texts and first["off, gated"].texts == first["gated"].texts
    assert first["both"].texts != first["cad"].texts
    before = (tmp_path / "answers.jsonl").read_bytes()
    with AnswerLog(tmp_path / "answers.jsonl", model, "m", "w") as log:
        again = Asker(model, "chat", batch_size=2, log=log).run(conflict, ways)
    assert (tmp_path / "answers.jsonl").read_bytes() == before
    assert {name: its.texts for name, its in again.items()} == {name: its.texts for name, its in first.items()}
    alone = Asker(model, "chat", batch_size=1).run(conflict, {"cad": ways["cad"]})["cad"]
    assert alone.texts == first["cad"].texts


def test_what_does_not_fit_is_refused(tiny: Any) -> None:
    for make, complaint in [
        (lambda: lens_truth.ContextAware(-1.0), "the strength of ContextAware is -1.0"),
        (lambda: lens_truth.ContextAware(float("nan")), "it must be a finite number, 0 or more"),
        (lambda: lens_truth.DeCoRe(1.0, HEADS, plausible=2.0), "it is from 0 to 1"),
        (lambda: lens_truth.DeCoRe(1.0, [(9, 0)]).check(tiny), "there is no head 9.0 among"),
        (lambda: lens_truth.DeCoRe(1.0).check(tiny), "DeCoRe needs heads that are silent"),
        (lambda: lens_truth.DoLa(1.0, layers=[7]).check(tiny), "there is no layer 7 among"),
        (lambda: lens_truth.DoLa(1.0, layers=[]).check(tiny), "DoLa needs lower layers"),
    ]:
        with pytest.raises(InputError, match=complaint):
            make()
