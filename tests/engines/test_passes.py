"""Passes leave this process as bytes, without the model, and come back to another copy of it; batches are the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import build, refused

from lens_truth.commands.engine import EngineFlags, check_engine
from lens_truth.engines import passes
from lens_truth.engines.on_ray import Cores, _cores, ray_engine
from lens_truth.engines.passes import Pass, batches, opened
from lens_truth.engines.shipping import packed, unpacked
from lens_truth.engines.worker import Job, Worker
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.budget import Budget, batch_ends, within_budget
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load
from lens_truth.models.provenance import setup_hash

LENGTHS = [90, 80, 70, 66, 66, 40, 30, 12, 3]


class Elsewhere:
    """An engine that packs every pass, and runs it on another copy of the model."""

    def __init__(self, model: Any, copy: Any) -> None:
        self.model, self._copy, self.sent = model, copy, 0

    def over(self, its: Pass[Any, Any]) -> Iterator[tuple[int, Any]]:
        data = packed(self.model, its)
        self.sent += len(data)
        there: Pass[Any, Any] = unpacked(self._copy, data)
        start = 0
        for stop in its.ends():
            yield from there.part(start, stop)
            start = stop


def test_ends_are_those_of_the_batches_that_are_run() -> None:
    for tokens in (1, 64, 130, 200, 10_000):
        wanted = [list(units) for units, _ in within_budget(LENGTHS, lambda n, _: n, Budget(tokens), len)]
        ends = batch_ends(LENGTHS, lambda n, _: n, tokens)
        starts = [0, *ends[:-1]]
        assert [LENGTHS[start:stop] for start, stop in zip(starts, ends, strict=True)] == wanted


def test_a_pass_runs_on_another_copy_of_the_model() -> None:
    model, copy = load(build("llama")), load(build("llama"))
    with torch.no_grad():
        copy.original_model.lm_head.weight.mul_(2)  # so that it is told which of the two ran
    ids = torch.tensor([[3, 4, 5]])
    engine = Elsewhere(model, copy)
    with opened(engine), torch.no_grad():
        made = list(batches(model, LENGTHS, lambda n, _: n, Budget(130), lambda some: (len(some), model(ids))))
        here = list(batches(copy, LENGTHS, lambda n, _: n, Budget(130), len))  # of another model, which stays
    assert [list(some) for some, _ in made] == [list(some) for some, _ in here]
    assert all(torch.equal(logits, 2 * model(ids)) and n == len(some) for some, (n, logits) in made)
    assert engine.sent < sum(weight.numel() for weight in model.parameters())  # no weight travels


def test_parts_of_a_model_stay_the_same_parts() -> None:
    model, copy = load(build("llama")), load(build("llama"))
    projection = model.original_model.model.layers[1].self_attn.o_proj
    found = unpacked(copy, packed(model, {"of": projection, "hook": model.blocks[0].attn.hook_z, "cfg": model.cfg}))
    assert found["of"] is copy.original_model.model.layers[1].self_attn.o_proj
    assert found["hook"] is copy.blocks[0].attn.hook_z and found["cfg"] is copy.cfg
    with pytest.raises(InputError, match="needs a Linear beside the model"):
        packed(model, torch.nn.Linear(2, 2))


def test_gradients_are_as_they_were_where_the_pass_was_asked_for() -> None:
    model = load(build("llama"))
    for on in (True, False):
        with torch.set_grad_enabled(on), opened(Elsewhere(model, model)):
            assert [its for _, its in batches(model, [1], lambda *_: 1, Budget(1), asked)] == [on]


def asked(_: Any) -> bool:
    return torch.is_grad_enabled()


def test_where_memory_runs_out_elsewhere_parts_are_smaller() -> None:
    def run_out(some: Any) -> int:
        if len(some) > 1:
            raise MemoryError
        return some[0]

    its = Pass([1, 2, 3, 4], lambda *_: 64, Budget(256), run_out, 1, False)
    assert its.ends() == [4]
    with pytest.warns(match="the memory ran out"):
        assert list(its.part(0, 4)) == [(1, 1), (1, 2), (1, 3), (1, 4)]


def test_hooks_from_outside_are_not_forgotten() -> None:
    model = load(build("llama"))
    gate = HeadGate(torch.full((3, 4), 1.5))
    with (
        opened(Elsewhere(model, model)),
        gate.attach(model),
        pytest.raises(InputError, match="is attached to the model here"),
    ):
        list(batches(model, [1], lambda *_: 1, Budget(1), len))
    model.original_model(torch.tensor([[3, 4]]), output_hidden_states=True)  # whose hooks stay, and only note
    with opened(Elsewhere(model, model)):
        assert [its for _, its in batches(model, [1], lambda *_: 1, Budget(1), len)] == [1]
    handle = model.original_model.lm_head.register_forward_hook(lambda *_: None)
    with opened(Elsewhere(model, model)), pytest.raises(InputError, match=r"registered on 'lm_head'"):
        list(batches(model, [1], lambda *_: 1, Budget(1), len))
    handle.remove()
    assert passes._ENGINE.get() is None


@pytest.mark.zoo
def test_a_worker_runs_the_same_model_or_none() -> None:
    model = load("zoo:llama-base")
    assert model.loading is not None
    its = Pass([70, 3, 2], lambda n, _: n, Budget(64), lambda some: heads_of(model, some), 1, False)
    weights, setup = weights_hash(model), setup_hash(model)
    job = Job(model.loading, weights, setup, torch.get_num_threads(), its.ends(), ".", packed(model, its))
    worker = Worker(job)
    assert [worker.report(number).made for number in range(2)] == [[(1, 48)], [(2, 48)]]
    assert "has other weights there" in Worker(replace(job, weights="sha256:0")).report(0).error
    assert "would not give the same numbers there" in Worker(replace(job, setup="0")).report(0).error
    elsewhere = {**model.loading, "model": "/on/no/shared/storage"}
    assert "/on/no/shared/storage" in Worker(replace(job, loading=elsewhere)).report(0).error
    failing = Worker(replace(job, its=packed(model, replace(its, run=complain))))
    assert failing.report(0).error.endswith(": an empty answer") and "ZeroDivisionError" in failing.report(1).bug


def heads_of(model: Any, some: Any) -> int:
    return model.cfg.n_heads * model.cfg.n_layers


def complain(some: Any) -> int:
    if some[0] == 70:
        raise InputError("an empty answer")
    return 1 // 0


def test_workers_are_counted_by_machine() -> None:
    """None is on two of them, and each has its copy of the model in memory."""
    model = load(build("llama"))
    two = [{"CPU": 1.0, "memory": 1e9}, {"CPU": 2.0, "memory": 1e9}]
    assert _cores(two, model, None) == Cores(3, 1, 0)
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    assert _cores([{"CPU": 8.0, "memory": 5.0 * size}], model, None).workers == 2
    with pytest.raises(InputError, match="4 workers need more than the Ray cluster's 3 CPUs"):
        _cores(two, model, 4)


def test_threads_fit_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(build("llama"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert _cores([{"CPU": 1.0, "memory": 1e9}, {"CPU": 2.0, "memory": 1e9}], model, 1) == Cores(1, 2, 0)
    assert _cores([{"CPU": 3.0, "memory": 1e9}] * 2, model, 4) == Cores(4, 1, 0)


@pytest.mark.zoo
def test_bad_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(InputError, match="cannot be loaded by workers"),
        ray_engine(load(build("llama"))),
    ):
        pass
    named = load("zoo:llama-base")
    with pytest.raises(InputError, match="the number of workers is 0"), ray_engine(named, workers=0):
        pass
    with pytest.raises(InputError, match="add --engine ray"):
        check_engine(EngineFlags(workers=2))
    refused(
        capsys,
        "needs no workers",
        "evaluate",
        "pope",
        "--questions",
        __file__,
        "--answers",
        __file__,
        "--engine",
        "ray",
    )
    monkeypatch.setattr("lens_truth.errors.find_spec", lambda name: None)
    refused(capsys, "pip install 'lens-truth[ray]'", "probe", "--engine", "ray")
