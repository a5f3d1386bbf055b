"""Decisions at every token, from hooks that project: what `capture` and `evaluate` say, in batches and one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.data.loading import load_examples
from lens_truth.detection.reading import AnswerReads, read_answers
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.prompts import encode
from lens_truth.scoring.capturing import captures
from lens_truth.scoring.causal import answer_log_probs, encode_answers
from lens_truth.scoring.detector import units_of
from lens_truth.scoring.head_probes import HeadProbes

EXAMPLES = [
    replace(example, answer=f"{example.answer} in the {room}")
    for example, room in zip(load_examples("zoo:text", limit=40), ["attic", "hall and the attic"] * 20, strict=True)
]
HEADS = [(1, 3), (0, 0)]


@pytest.fixture(scope="module")
def probes(tiny: Any) -> dict[Any, HeadProbes]:
    found = captures(tiny, EXAMPLES, {"z": None, "resid_post": None})
    return {point: HeadProbes.fit(its) for point, its in found.items()}


@pytest.fixture(scope="module")
def read(tiny: Any, probes: dict[Any, HeadProbes]) -> AnswerReads:
    return read_answers(tiny, EXAMPLES, probes, heads=HEADS)


def test_last_token_is_what_capture_reads(tiny: Any, probes: dict[Any, HeadProbes], read: AnswerReads) -> None:
    found = captures(tiny, EXAMPLES, {"z": None, "resid_post": None})
    for point, its in probes.items():
        wanted = its.decision(found[point].z).double().numpy() / units_of(its)
        assert read.last[point] == pytest.approx(wanted, abs=2e-4)


def test_every_token_is_what_the_model_does_there(tiny: Any, probes: dict[Any, HeadProbes], read: AnswerReads) -> None:
    units = units_of(probes["z"])
    for number in (0, 1, 7):
        (row,) = encode(tiny.tokenizer, [EXAMPLES[number]], "plain")
        ids = torch.tensor([row.ids[: row.answer[1]]])
        with torch.no_grad():
            logits, cache = tiny.run_with_cache(ids, names_filter=lambda name: name.endswith("hook_z"))
        z = torch.stack([cache[f"blocks.{layer}.attn.hook_z"][0] for layer in range(3)], dim=1)
        decisions = probes["z"].decision(z).double().numpy() / units
        its, (start, stop) = read.tokens[number], row.answer
        for column, (layer, head) in enumerate(HEADS):
            assert its.decisions[:, column] == pytest.approx(decisions[start:stop, layer, head], abs=2e-4)
        assert read.mean["z"][number] == pytest.approx(decisions[start:stop].mean(0), abs=2e-4)
        likely = logits[0].log_softmax(-1)[torch.arange(start - 1, stop - 1), ids[0, start:stop]]
        assert its.log_probs == pytest.approx(likely.numpy(), abs=1e-4)
        assert "".join(its.texts).strip() == EXAMPLES[number].answer
        assert len(its.texts) == stop - start == its.n_likely


def test_answers_are_as_likely_as_to_evaluate(tiny: Any, read: AnswerReads) -> None:
    with torch.no_grad():
        wanted = answer_log_probs(tiny, encode_answers(tiny, EXAMPLES, "plain"))
    assert [its.log_prob for its in read.tokens] == pytest.approx(wanted.tolist(), abs=1e-3)


def test_one_by_one(tiny: Any, probes: dict[Any, HeadProbes], read: AnswerReads) -> None:
    for number in (0, 5):
        alone = read_answers(tiny, [EXAMPLES[number]], probes, heads=HEADS, batch_size=1)
        assert alone.last["z"][0] == pytest.approx(read.last["z"][number], abs=2e-4)
        assert alone.tokens[0].decisions == pytest.approx(read.tokens[number].decisions, abs=2e-4)


def test_under_a_gate(tiny: Any, probes: dict[Any, HeadProbes], read: AnswerReads) -> None:
    gate = HeadGate(torch.linspace(0.2, 1.9, 12).reshape(3, 4))
    with gate.attach(tiny):
        gated = read_answers(tiny, EXAMPLES[:6], probes)
        found = captures(tiny, EXAMPLES[:6], {"z": None})["z"]
    wanted = probes["z"].decision(found.z).double().numpy() / units_of(probes["z"])
    assert gated.last["z"] == pytest.approx(wanted, abs=2e-4)
    assert np.abs(gated.last["z"] - read.last["z"][:6]).max() > 0.1


def test_a_text_without_anything_before_it(tiny: Any, probes: dict[Any, HeadProbes]) -> None:
    text = replace(EXAMPLES[0], question="", context="", evidence=(), answer="The coral heart is in the attic.")
    (its,) = read_answers(tiny, [text], probes, heads=HEADS).tokens
    assert "".join(its.texts).strip() == text.answer and np.isfinite(its.decisions).all()
    assert its.log_prob == pytest.approx(np.nansum(its.log_probs))


def test_nothing_to_read(tiny: Any, probes: dict[Any, HeadProbes]) -> None:
    with pytest.raises(InputError, match="there are no answers to be read"):
        read_answers(tiny, [], probes)
