"""What passes through neurons, against hooks written out on the Hugging Face model, a question at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_truth.data.examples import Example, question_pairs
from lens_truth.data.world_examples import text_examples
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.models.neurons import neuron_grid
from lens_truth.models.prompts import encode
from lens_truth.neurons.mediation import neuron_mediation
from lens_truth.neurons.mediation_result import Mediation, Passing
from lens_truth.neurons.neuron_set import NeuronSet

FEW: dict[str, Any] = {"n_random": 2, "n_layer_matched": 2}


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return text_examples("test", 16, 0)


def gate() -> HeadGate:
    values = torch.ones(3, 4)
    values[0, 1] = values[1, 2] = 0
    values[0, 3] = 1.7
    return HeadGate(values)


def some(layers: tuple[int, ...] = (0, 1, 2)) -> NeuronSet:
    layer = np.repeat(layers, 5)
    neuron = np.concatenate([np.random.default_rng(at).choice(48, 5, replace=False) for at in layers])
    return NeuronSet(layer, neuron, np.ones(len(layer)))


def answer_log_prob(
    hf: Any, row: Any, heads: torch.Tensor | None, given: dict[int, torch.Tensor], columns: dict[int, np.ndarray]
) -> tuple[float, dict[int, torch.Tensor]]:
    """By forward hooks on o_proj and down_proj: log-probability of the answer, and what the neurons were."""
    handles, seen = list[Any](), dict[int, torch.Tensor]()
    for number, layer in enumerate(hf.model.layers):

        def gated(module: Any, inputs: Any, n: int = number) -> Any:
            z = inputs[0].unflatten(-1, (4, -1))
            return ((z * heads[n][:, None]).flatten(-2),) if heads is not None else None

        def exchanged(module: Any, inputs: Any, n: int = number) -> Any:
            value = inputs[0].clone()
            if n in columns:
                value[..., columns[n]] = given[n][..., columns[n]]
            seen[n] = inputs[0].clone()
            return (value,)

        handles.append(layer.self_attn.o_proj.register_forward_pre_hook(gated))
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(exchanged))
    with torch.no_grad():
        logits = hf(torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
    for handle in handles:
        handle.remove()
    at = range(row.continuation, row.answer[1])
    return sum(float(logits[t - 1, row.ids[t]]) for t in at), seen


def by_hand(model: Any, examples: list[Example], heads: torch.Tensor, columns: dict[int, np.ndarray]) -> np.ndarray:
    """Margins [plain, gated, frozen, alone] of every question."""
    hf, rows = model.original_model, encode(model.tokenizer, examples, "plain")
    values = np.empty((4, len(rows)))
    for number, row in enumerate(rows):
        shown = row.shown
        values[0, number], before = answer_log_prob(hf, shown, None, {}, {})
        values[1, number], under = answer_log_prob(hf, shown, heads, {}, {})
        values[2, number], _ = answer_log_prob(hf, shown, heads, before, columns)
        values[3, number], _ = answer_log_prob(hf, shown, None, under, columns)
    return np.stack([values[:, r].mean(1) - values[:, w].mean(1) for r, w in question_pairs(examples)], axis=1)


def test_equals_hooks_written_out(tiny: Any, examples: list[Example]) -> None:
    neurons = some()
    found = neuron_mediation(tiny, examples, gate(), neurons, **FEW)
    columns = {layer: neurons.neuron[neurons.layer == layer] for layer in range(3)}
    plain, gated, frozen, alone = by_hand(tiny, examples, gate().values, columns).mean(1)
    assert np.isclose(found.margin, plain, atol=1e-4) and np.isclose(found.total, gated - plain, atol=1e-4)
    its = found.passing["neurons"]
    assert np.isclose(its.frozen, (gated - frozen) / (gated - plain), atol=1e-3)
    assert np.isclose(its.alone, (alone - plain) / (gated - plain), atol=1e-3)
    every = {layer: np.arange(48) for layer in range(3)}  # what the maps write stands for all neurons
    plain, gated, frozen, alone = by_hand(tiny, examples, gate().values, every).mean(1)
    whole = found.passing["all neurons"]
    assert np.isclose(whole.frozen, (gated - frozen) / (gated - plain), atol=1e-3)
    assert np.isclose(whole.alone, (alone - plain) / (gated - plain), atol=1e-3)


def test_neurons_before_the_heads_carry_nothing_and_batches_change_nothing(tiny: Any, examples: list[Example]) -> None:
    values = torch.ones(3, 4)
    values[2, :2] = 0
    found = neuron_mediation(tiny, examples, HeadGate(values), some((0, 1)), **FEW)
    assert found.heads == "2 heads removed"
    assert np.isclose(found.passing["neurons"].frozen, 0, atol=1e-5)
    assert np.isclose(found.passing["neurons"].alone, 0, atol=1e-5)
    assert abs(found.passing["all neurons"].frozen) > 1e-3
    alone = neuron_mediation(tiny, examples, HeadGate(values), some((0, 1)), batch_size=1, **FEW)
    assert np.isclose(found.total, alone.total, atol=1e-4)
    for name, its in found.passing.items():
        assert np.isclose(its.frozen, alone.passing[name].frozen, atol=1e-3), name


def test_a_shift_of_heads(tiny: Any, examples: list[Example]) -> None:
    vectors = torch.zeros(3, 4, 12)
    vectors[0, 1] = 0.5
    found = neuron_mediation(tiny, examples, HeadShift(vectors, "z"), some(), **FEW)
    assert found.heads == "a shift of heads" and abs(found.total) > 0


def test_bad_input(tiny: Any, examples: list[Example]) -> None:
    L, M = neuron_grid(tiny)
    with pytest.raises(InputError, match="leaves all heads as they are"):
        neuron_mediation(tiny, examples, HeadGate(torch.ones(3, 4)), some())
    with pytest.raises(InputError, match="no neuron is selected"):
        neuron_mediation(
            tiny, examples, gate(), NeuronSet(np.array([], dtype=int), np.array([], dtype=int), np.array([]))
        )
    with pytest.raises(InputError, match="2 layers x 4 heads, the model 3 x 4"):
        neuron_mediation(tiny, examples, HeadGate(torch.zeros(2, 4)), some())
    with pytest.raises(InputError, match="at least 1 of each"):
        neuron_mediation(tiny, examples, gate(), some(), n_random=0)
    every = np.divmod(np.arange(L * M), M)
    with pytest.raises(InputError, match="other neurons were to be drawn"):
        neuron_mediation(tiny, examples, gate(), NeuronSet(*every, np.ones(L * M)))
    with pytest.raises(InputError, match="margin is not defined"):
        neuron_mediation(tiny, examples[:1], gate(), some())


def result(total: float, ends: tuple[float, float], frozen: float) -> Mediation:
    passing = {"neurons": Passing(frozen, (frozen - 0.05, frozen + 0.05), 0.1, (0.0, 0.2))}
    passing |= {
        f"{kind} {at}": Passing(0.02 * at, (0, 1), 0.0, (0, 1))
        for kind in ("random", "layer-matched")
        for at in (0, 1, 2)
    }
    passing["all neurons"] = Passing(0.8, (0.7, 0.9), 0.7, (0.6, 0.8))
    return Mediation("m", "2 heads removed", 5, 40, 20, 0, 1.0, total, ends, passing)


def test_what_is_said_and_read_back(tmp_path: Path) -> None:
    found = result(-0.5, (-0.7, -0.3), 0.3)
    assert "more than any of them" in found.verdicts()[0] and "p 0.25" in found.verdicts()[0]
    assert "not told from them" in result(-0.5, (-0.7, -0.3), 0.05).verdicts()[0]
    assert "not told from 0" in result(0.1, (-0.2, 0.3), 0.3).verdicts()[0]
    assert len(found.controls("layer-matched")) == 3 and len(found.tables()[0].rows) == 4
    found.save(tmp_path / "run")
    assert Mediation.load(tmp_path / "run") == found
    with pytest.raises(InputError, match="does not know"):
        Mediation.from_dict({**found.as_dict(), "more": 1})
