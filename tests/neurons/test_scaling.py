"""Scaled neurons: every level against a model with the gate in its weights; what is planted is found; what is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build

from lens_truth import Example, NeuronSet, load_examples, neuron_scaling
from lens_truth.ablation.side_effects import NeutralText
from lens_truth.data.examples import question_pairs
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import Benchmark
from lens_truth.models.loading import load
from lens_truth.models.neurons import neuron_grid, scale_neurons
from lens_truth.neurons.compliance import MEASURES, compliance_of, first_questions
from lens_truth.neurons.scaling import ALPHAS, control_sets
from lens_truth.neurons.scaling_result import NeuronScaling
from lens_truth.scoring.causal import encode_answers


@pytest.fixture(scope="module")
def small(tokenizer: Any) -> Any:
    """A hooked random Llama with room for passages."""
    return load(build("llama-gqa-head-dim", len(tokenizer), max_position_embeddings=512), tokenizer=tokenizer)


def some(model: Any, n: int = 5, seed: int = 0) -> NeuronSet:
    L, M = neuron_grid(model)
    at = np.random.default_rng(seed).choice(L * M, n, replace=False)
    weight = np.ones(n)
    weight[-1] = -1.0  # which is not scaled
    return NeuronSet(at // M, at % M, weight, 0.0, (L, M))


def log_prob(model: Any, example: Example) -> float:
    """Of an answer behind its question, by the model's own forward pass."""
    (row,) = encode_answers(model, [example], "plain")
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        log_probs = model(ids)[0].log_softmax(-1)
    start = len(row.ids) - row.n_answer_tokens
    return sum(float(log_probs[at - 1, row.ids[at]]) for at in range(start, len(row.ids)))


def margins(model: Any, examples: Sequence[Example], label: int) -> np.ndarray:
    """Of the answers with a label over the others."""
    found = []
    for right, wrong in question_pairs(examples):
        own, other = (right, wrong) if label == 1 else (wrong, right)
        sides = [max(log_prob(model, examples[row]) for row in rows) for rows in (own, other)]
        found.append(sides[0] - sides[1])
    return np.array(found)


@pytest.mark.parametrize("name", ["facts:conflict/test", "facts:sycophancy/test"])
def test_levels_are_those_of_models_with_the_gate_in_their_weights(small: Any, tokenizer: Any, name: str) -> None:
    measure, neurons = compliance_of(name, limit=12), some(small)
    asker = Asker(small, "plain", "tiny")
    found = neuron_scaling(asker, neurons, [measure], (0.0, 3.0), n_random=2, n_layer_matched=1)
    curves = found.measures[name].curves
    grid = neuron_grid(small)
    assert (found.n_neurons, found.alphas) == (4, (0.0, 1.0, 3.0))
    controls = control_sets(neurons.positive, grid, 2, 1, seed=0)
    name_of = {id(its): key for key, its in controls.items()}
    for at, alpha in enumerate(found.alphas):
        for its in (neurons.positive, *controls.values()):
            folded = its.gate(alpha, grid).fold_into(small)
            plain = small if alpha == 1 else load(folded, tokenizer=tokenizer)
            m = margins(plain, measure.examples, measure.goes_along)
            n = margins(plain, measure.control, 1)
            wanted = {"margin": m.mean(), "said": (m + n).mean() / 2, "truth": (n - m).mean() / 2}
            wanted |= {"goes along": 100 * (m > 0).mean(), "agrees": 100 * (n > 0).mean()}
            for reading, level in wanted.items():
                own = [own.value for own in curves[reading].response.levels]
                levels = curves[reading].controls.get(name_of.get(id(its), ""), own)
                assert levels[at] == pytest.approx(level, abs=2e-4), (alpha, reading)
    slope = np.polyfit(found.alphas, [level.value for level in curves["margin"].response.levels], 1)[0]
    assert curves["margin"].response.slope.value == pytest.approx(slope)


def test_every_curve_is_the_model_itself_at_alpha_1_and_controls_are_of_equal_size(small: Any) -> None:
    measure, neurons, grid = compliance_of("facts:premise/test", limit=16), some(small, 9), neuron_grid(small)
    found = neuron_scaling(Asker(small, "plain"), neurons, [measure], n_random=3, n_layer_matched=3)
    assert found.alphas == ALPHAS and found.control_alphas == (0.0, 1.0, 3.0)
    for curve in found.measures[measure.name].curves.values():
        own = curve.response.levels[ALPHAS.index(1.0)].value
        assert [levels[1] for levels in curve.controls.values()] == [pytest.approx(own, abs=1e-9)] * 6
        assert [*curve.against] == ["random", "layer-matched"] and len(curve.controls) == 6
    for name, its in control_sets(neurons.positive, grid, 3, 3, seed=0).items():
        assert len(its) == 8 and not its.gate(0, grid).values[neurons.layer[:-1], neurons.neuron[:-1]].eq(0).any()
        if name.startswith("layer"):
            assert sorted(its.layer) == sorted(neurons.positive.layer)


def gradients(model: Any, examples: Sequence[Example]) -> np.ndarray:
    """Of the mean margin of supported answers, by the value of every neuron's gate."""
    values = torch.ones(neuron_grid(model), requires_grad=True)
    total = torch.zeros(())
    for example, row in zip(examples, encode_answers(model, examples, "plain"), strict=True):
        with scale_neurons(model, values * 1.0000001):  # not 1, or no layer would be scaled
            log_probs = model(torch.tensor([row.ids]))[0].log_softmax(-1)
        start = len(row.ids) - row.n_answer_tokens
        its = sum(log_probs[at - 1, row.ids[at]] for at in range(start, len(row.ids)))
        total = total + (2 * example.label - 1) * its
    total.backward()
    assert values.grad is not None
    return values.grad.numpy()


def test_neurons_that_raise_compliance_are_told_from_random_ones(zoo: Any) -> None:
    """Those whose gates raise the margin of the context's answer most, on other scenes."""
    model = zoo("llama-memory")
    steep = gradients(model, load_examples("zoo:conflict", limit=24))
    at = np.argsort(-steep.ravel())[:12]
    L, M = steep.shape
    neurons = NeuronSet(at // M, at % M, np.ones(12), 0.0, (L, M))
    measure = compliance_of("zoo:conflict/test", limit=60)
    assert measure.goes_along == 1 and not measure.control
    text = NeutralText("scenes", tuple(dict.fromkeys(example.context for example in measure.examples[:8])))
    asker = Asker(model, "plain", "memory")
    found = neuron_scaling(asker, neurons, [measure], (0.0, 1.0, 3.0), neutral=[text])
    curve = found.measures[measure.name].curves["margin"]
    assert curve.response.slope.clear and curve.response.slope.value > 0
    assert all(its.beyond and its.p_value == its.least_p == 1 / 9 for its in curve.against.values())
    sides = found.side_effects["scenes"]
    assert [side.alpha for side in sides] == [0.0, 1.0, 3.0] and sides[1].kl == 0 < sides[2].kl
    assert all(len(kl) == 8 for kl in sides[2].controls.values())
    assert any("has no control in which the truth is said" in sentence for sentence in found.verdicts())


def test_what_is_written_goes_along_if_it_names_what_was_said_alone(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = compliance_of("facts:premise/test", limit=12)
    said, true = {}, {}
    for right, wrong in question_pairs(measure.examples):
        first = measure.examples[right[0]]
        said[first.question], true[first.question] = measure.examples[wrong[0]].aliases[0], first.aliases[0]
    replies = iter(["so it is {s}.", "no, it is {t}, not {s}", "{t}", "", "{s} and that is {s}", "nothing"] * 100)

    def ask(self: Asker, benchmark: Benchmark, gates: Any, **_: Any) -> Any:
        texts = [
            next(replies).format(s=said.get(e.question, "?"), t=true.get(e.question, "?")) for e in benchmark.examples
        ]
        return {gate: [Answer(text) for text in texts] for gate in gates}

    monkeypatch.setattr(Asker, "ask", ask)
    found = neuron_scaling(
        Asker(small, "plain"), some(small), [measure], (0.0,), n_random=0, n_layer_matched=0, written=6
    )
    its = found.measures[measure.name]
    assert its.n_written == 6 == its.n
    levels = [level.value for level in its.curves["writes along"].response.levels]
    assert levels == [pytest.approx(100 * 2 / 6)] * 2


def test_results_are_read_back_and_told(small: Any, tmp_path: Path) -> None:
    measures = [compliance_of(name, limit=12) for name in MEASURES[1:]]
    text = NeutralText("proverbs", ("A rolling stone gathers no moss.",))
    found = neuron_scaling(
        Asker(small, "plain", "tiny"), some(small), measures, (0.0, 2.0), n_random=2, n_layer_matched=2, neutral=[text]
    )
    found.save(tmp_path)
    again = NeuronScaling.load(tmp_path)
    assert again == found
    slopes, levels, beside, aside = again.tables()
    assert slopes.header[5] == "1 to 2" and len(slopes.rows) == len(levels.rows) == 3 * 5
    assert len(beside.rows) == 3 * 3 * 2 and len(aside.rows) == 3
    first = found.measures[measures[0].name].curves["goes along"].response
    said = again.verdicts()
    assert said[0].startswith("facts:premise/test: going along") and f"{first.n} questions" in said[0]
    assert "2 random sets: " in said[0] and "2 layer-matched sets: " in said[0]
    assert "what is said pulls" in said[1] and said[-1].startswith("On proverbs, where nothing is asked, alpha")
    figure = again.plot()
    assert len(figure.axes) == 9
    lines = figure.axes[0].get_lines()
    assert len(lines) == 4 + 2  # controls, neurons, alpha = 1
    assert [*lines[4].get_ydata()] == [level.value for level in first.levels]


def test_a_measure_has_its_control_question_for_question() -> None:
    its = compliance_of("facts:conflict@rival/test", limit=20, seed=3)
    assert its.control == tuple(load_examples("facts:conflict-agreeing@rival/test", limit=20, seed=3))
    assert (its.goes_along, compliance_of("facts:mentioned", limit=8).goes_along) == (1, 0)
    assert compliance_of("facts:premise", limit=8).goes_along == 0 and len(its.groups) == 10
    assert not compliance_of("facts:closed-book", limit=8).control
    few = first_questions(its, 3)
    assert few.examples == its.examples[:6] and few.control == its.control[:6]
    with pytest.raises(InputError, match="its 10 questions and the 9 of its control are not the same ones"):
        replace(its, control=its.control[2:])
    with pytest.raises(InputError, match="answers that go along have label 0 or 1, not 2"):
        replace(its, goes_along=2)
    with pytest.raises(InputError, match="no question has both"):
        compliance_of("facts:conflict", limit=1)


def test_what_is_refused(small: Any) -> None:
    asker, neurons = Asker(small, "plain"), some(small)
    measure = compliance_of("facts:premise/test", limit=4)
    for complaint, changed in {
        "alpha is nan; it must be a finite number": {"alphas": (0.0, float("nan"))},
        "alpha is 1 alone": {"alphas": (1.0,)},
        "controls are to be scaled by 4, and the neurons are not": {"control_alphas": (4.0,)},
        "must not be negative": {"n_random": -1},
        "the measure 'facts:premise/test' is named twice": {"measures": [measure, measure]},
        "no measure of over-compliance": {"measures": []},
        "no neuron is selected": {"neurons": replace(neurons, weight=-np.ones(5))},
        "the neurons are of a model with 9 layers": {"neurons": replace(neurons, shape=(9, 500))},
    }.items():
        with pytest.raises(InputError, match=complaint):
            neuron_scaling(asker, **{"neurons": neurons, "measures": [measure], **changed})
