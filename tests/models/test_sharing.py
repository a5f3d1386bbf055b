"""Rows that share their beginning give the numbers of rows alone; where memory runs out, smaller batches do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from torch import Tensor

from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import DataWarning, InputError
from lens_truth.evaluate.answers import Mode
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.gates.gate import HeadGate
from lens_truth.models import sharing
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.hooks import grid_of
from lens_truth.models.loading import load
from lens_truth.models.prompts import encode
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.causal import causal_scores
from lens_truth.scoring.learned import learned_gate
from lens_truth.scoring.learned_forms import Learning


def questions() -> list[Example]:
    """Two questions about each of some scenes, with answers of different length, and one that stands alone."""
    rows: list[Example] = []
    for e in load_examples("zoo:text", limit=24):
        answer = e.answer if e.label else f"{e.answer} crown, the coral heart"
        rows.append(replace(e, answer=answer))
    return [*rows, Example("alone", "alone", "Where is the crown?", "attic", 1, context="The crown is in the attic.")]


def never(_: Any) -> bool:
    return False


def unshared(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]) -> Any:
    with monkeypatch.context() as patched:
        patched.setattr(sharing, "shares_beginnings", never)
        return make()


@pytest.fixture
def prefilled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many beginnings went through a model."""
    seen: list[int] = []
    prefill: Any = vars(sharing.Sharing)["_prefilled"]

    def counted(self: Any, ids: Tensor, *rest: Any) -> Any:
        seen.append(len(ids))
        return prefill(self, ids, *rest)

    monkeypatch.setattr(sharing.Sharing, "_prefilled", counted)
    return seen


def test_every_family_of_models(
    family: str, tokenizer: Any, prefilled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = load(build(family, len(tokenizer)), tokenizer=tokenizer), questions()
    shared, alone = capture(model, rows), unshared(monkeypatch, lambda: capture(model, rows))
    assert sharing.shares_beginnings(model)
    assert len(prefilled) > 1  # and not only while it is measured that beginnings can be shared
    torch.testing.assert_close(shared.z, alone.z, rtol=1e-5, atol=1e-5)
    makes = [lambda: causal_scores(model, rows), lambda: learned_gate(model, rows, learning=Learning(steps=2))]
    for make in makes:
        prefilled.clear()
        scores, plain = make(), unshared(monkeypatch, make)
        assert prefilled
        for name in ("values", *(f"metrics.{metric}" for metric in scores.metrics)):
            first, _, last = name.partition(".")
            one, other = (getattr(its, first)[last] if last else its.values for its in (scores, plain))
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * np.abs(other).max() + 1e-7, err_msg=name)


@pytest.mark.parametrize("window", [8, 40, 200])
def test_a_sliding_window_sees_what_it_would(
    window: int, tokenizer: Any, prefilled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding behind a beginning counts in a window, so rows longer than it share nothing."""
    hf = build("mistral", len(tokenizer), sliding_window=window, max_position_embeddings=256)
    model, rows = load(hf, tokenizer=tokenizer), questions()
    shared = capture(model, rows)
    torch.testing.assert_close(shared.z, unshared(monkeypatch, lambda: capture(model, rows)).z, rtol=1e-5, atol=1e-5)
    longest = max(len(row.ids) for row in encode(tokenizer, rows, "plain"))
    assert (len(prefilled) > 1) == (window >= longest)


def test_the_chat_template_and_images(zoo: Any, prefilled: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = zoo("llava"), load_examples("zoo:image", limit=16)
    shared = capture(model, rows, template="chat")
    assert sum(prefilled) > 1
    alone = unshared(monkeypatch, lambda: capture(model, rows, template="chat"))
    torch.testing.assert_close(shared.z, alone.z, rtol=1e-4, atol=1e-5)


def test_a_model_whose_beginnings_cannot_be_shared_is_found_out(tokenizer: Any) -> None:
    """It is measured, not looked up."""
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    attention: Any = model.original_model.model.layers[1].self_attn
    forward = attention.forward

    # A layer that counts positions in a way of its own.
    def counts(hidden: Tensor, *rest: Any, **more: Any) -> Any:
        return forward(hidden * (1 + hidden.shape[1] / 10), *rest, **more)

    attention.forward = counts
    assert not sharing.shares_beginnings(model)


def test_ways_to_put_a_question_share_it(zoo: Any, prefilled: list[int]) -> None:
    """And are answered as each alone."""
    model, rows = zoo("llama-memory"), load_examples("zoo:conflict", limit=24)
    modes: tuple[Mode, ...] = ("choose", "answer", "judge")
    ways = [benchmark_of(mode, mode, rows) for mode in modes]
    asker = Asker(model, "plain")
    alone = {its.name: asker.run(its)[""] for its in ways}
    n_alone, _ = sum(prefilled), prefilled.clear()
    together = asker.run_all(ways)
    assert sum(prefilled) < 0.7 * n_alone
    for name, its in alone.items():
        assert together[name][""].texts == its.texts
        if its.choices:
            one, other = ([c.margin for c in found.choices] for found in (its, together[name][""]))
            np.testing.assert_allclose(one, other, atol=1e-4)


def short_of_memory(model: Any, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Lets the model's passes fail over more tokens than that, as a GPU does."""
    hf = model.original_model
    forward = hf.forward

    def fails(input_ids: Tensor, *rest: Any, **more: Any) -> Any:
        if input_ids.numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return forward(input_ids, *rest, **more)

    monkeypatch.setattr(hf, "forward", fails)


def test_where_memory_runs_out_half_goes_on(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = load(build("llama", len(tokenizer)), tokenizer=tokenizer), questions()
    benchmark = benchmark_of("mine", "answer", rows, n_new=3)
    gates = {"vanilla": None, **{str(gain): HeadGate(gain * torch.ones(*grid_of(model))) for gain in range(2, 20)}}
    makes: list[Callable[[], Any]] = [
        lambda: capture(model, rows).z,
        lambda: torch.from_numpy(causal_scores(model, rows).values),
        lambda: [its.texts for its in Asker(model, "plain").run(benchmark, gates).values()],
    ]
    expected = [make() for make in makes]
    short_of_memory(model, monkeypatch, 150)
    for make, before in zip(makes, expected, strict=True):
        with pytest.warns(DataWarning, match="the memory ran out; no more than [0-9,]+ tokens") as said:
            found = make()
        assert len(said) == 1
        if isinstance(before, Tensor):
            torch.testing.assert_close(found, before, rtol=1e-3, atol=1e-5)
        else:
            assert found == before
    short_of_memory(model, monkeypatch, 4)
    for make in makes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            with pytest.raises(InputError, match=r"^the memory is too small for one row of \d+ tokens; a smaller"):
                make()


def test_other_errors_are_not_taken_for_it() -> None:
    def breaks(rows: Any) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(within_budget([1, 2], lambda row, before: 1, Budget(8), breaks))


def test_batches_end_where_padding_would_cost_more_than_a_pass() -> None:
    lengths = [900, 880, 300, 290, 280, 20, 18]
    made = within_budget(lengths, lambda row, before: row, Budget(4000), len)
    assert [list(rows) for rows, _ in made] == [[900, 880], [300, 290, 280], [20, 18]]
