"""Stages of a study: how many gates and tokens, against what `ablate` and `capture` really do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lens_truth.ablation import search
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.evaluate.generate import Questions
from lens_truth.gates.controls import DRAWN
from lens_truth.models import budget
from lens_truth.models.prefixes import prompt_families
from lens_truth.models.prompts import encode
from lens_truth.planning import costing, study
from lens_truth.planning.costing import at_once, cost_of, devices_needed, laid_out
from lens_truth.planning.devices import DEVICES, accelerator, measured_cpu
from lens_truth.planning.estimate import study_cost
from lens_truth.planning.llama import LLAMA_2, llava_child
from lens_truth.planning.paper import HALUEVAL, paper_works
from lens_truth.planning.ratios import ANY, CPU, GPU
from lens_truth.planning.result import Ends, StudyCost, time_said
from lens_truth.planning.sizes import counted_size, data_size, stated_size
from lens_truth.planning.study import GateCounts, ablation_works, probe_flops, scoring_works
from lens_truth.planning.work import Passes, Work

SEVEN, SEVENTY = LLAMA_2["7b"], LLAMA_2["70b"]


def test_constants_are_those_of_the_search_and_the_budget() -> None:
    assert (study.FINALISTS, study.RANKED) == (search.FINALISTS, search.RANKED)
    assert len(search.STRENGTHS) == study.GAINS and 2 * len(search.STRENGTHS) == study.CANDIDATES
    assert {kind for kind in GateCounts().controls if kind in DRAWN} == set(study._DRAWN)
    assert (costing._MOST, costing._SHORT, costing._LOGITS) == (budget._MOST, budget._SHORT, budget.LOGITS_AT_ONCE)


def test_gates_are_those_of_docs_ablation() -> None:
    """docs/ablation.md: 44 gates before, 20 now where no gate gains; 2,064 questions in the search of 66 (one kind of
    scores, learned ones, is a single candidate there and not here)."""
    three = GateCounts(kinds=3)
    assert (three.arms("good"), three.arms("bad")) == (20, 44)
    two = GateCounts(kinds=2)
    assert two.candidates + 1 == 31  # and the learned gate
    assert two.candidates * 16 + (two.finalists + 1) * 66 * 3 == 2064
    default = GateCounts(controls=("permuted", "uniform"), random=False)
    assert default.arms("bad") == 1 + 2 * (1 + 5 + 1) + 1
    assert replace(default, controls=("permuted",)).candidates == 24


def test_passes_are_counted_by_hand() -> None:
    passes = Passes(3, 10, rows=2, rest=4, logits=4, written=5, times=7)
    assert passes.read == 7 * 3 * (10 + 2 * 4) and passes.answers == 42
    assert passes.pairs == 7 * 3 * (10 * 10 + 2 * 4 * 14)
    assert replace(passes, shared=True).read == 7 * 3 * 8
    forward = SEVEN.forward_flops(passes.read, passes.pairs, 42 * 4)
    assert passes.reading_flops(SEVEN) == forward
    backward = SEVEN.backward_flops(passes.read, passes.pairs, 42 * 4)
    assert replace(passes, backward=2).reading_flops(SEVEN) == forward + 2 * backward
    child = llava_child(SEVEN)
    assert child.vision is not None
    assert replace(passes, images=True).reading_flops(child) == forward + 21 * child.vision.flops
    tokens = 42 * 5
    assert passes.writing_flops(SEVEN) == SEVEN.forward_flops(tokens, tokens * (10 + 4 + 2.5), tokens)


@pytest.fixture(scope="module")
def shown() -> list[Example]:
    return load_examples("zoo:conflict", limit=60)


def test_tokens_are_those_that_capture_reads(tokenizer: Any, shown: list[Example]) -> None:
    size = counted_size("zoo:conflict", shown, tokenizer)
    rows = encode(tokenizer, shown, "plain")
    assert size.rows == len(shown) and size.longest == max(len(row.ids) for row in rows)
    assert size.rows * size.answer == sum(row.n_answer_tokens for row in rows)
    families = prompt_families([row.shown for row in rows])
    saved = sum((len(family.rows) - 1) * family.length for family in families)
    (capture, *_) = scoring_works(SEVEN, size, "M", "D")
    assert capture.passes[0].read == pytest.approx(sum(len(row.ids) for row in rows) - saved)
    assert size.rows / size.shared[0] > 1 and size.shared[1] < size.prompt  # several questions about one scene
    alone = counted_size("alone", shown[::10], tokenizer)
    assert alone.shared == (alone.questions, alone.prompt, alone.answer) and alone.questions == alone.rows
    assert capture.stored == len(shown) * 32 * 32 * 128 * 4


def test_open_questions_have_the_room_that_ablate_leaves(tiny: Any, shown: list[Example]) -> None:
    from lens_truth.evaluate.asker import questions_of

    asked: Questions = questions_of(tiny, benchmark_of("open", "answer", shown), "plain")
    assert counted_size("zoo:conflict", shown, tiny.tokenizer).n_new == asked.n_new


def test_rows_without_pairs_take_no_causal_scores(tokenizer: Any, shown: list[Example]) -> None:
    right = [example for example in shown if example.label]
    size = counted_size("right", right, tokenizer)
    assert not size.paired and counted_size("all", shown, tokenizer).paired
    assert [work.name for work in scoring_works(SEVEN, size, "M", "D")] == ["capture", "probing"]
    names = [work.name for work in ablation_works(SEVEN, size, GateCounts(), "bad", "M", "D")]
    assert names == ["ablate: scores", "ablate: search", "ablate: test"]


def test_the_h200s_forward_pass_lies_between_the_ends() -> None:
    """116,210 tokens of 256 rows in 3.41 s on an H200, plain, and 1.019 times as long with hooks."""
    passes = Passes(256, 116_210 / 256)
    reached = passes.reading_flops(SEVEN) / 3.41 / DEVICES["h200"].flops(2)
    assert reached == pytest.approx(0.45, abs=0.01)
    layout = laid_out(SEVEN, DEVICES["h200"], 1, None, "layers", 642)
    low, high = (cost_of(Work("capture", "", SEVEN, (passes,)), layout, case).seconds for case in ("good", "bad"))
    assert low < 3.41 < 1.019 * 3.41 < high < 2.5 * low


def test_probing_takes_what_was_measured() -> None:
    """docs/speed.md: 10.3 s for 2,000 rows x 1,024 heads x 128 and 1,000 permutations, 1.46 s with 128 heads."""
    for shape, seconds in ((SEVEN, 10.3), (replace(SEVEN, n_layers=4), 1.46)):
        flops = probe_flops(2000, shape)
        assert flops / (1e9 * ANY["probes"].good) * 0.95 < seconds < flops / (1e9 * ANY["probes"].bad)


def test_70b_lies_on_two_h100s_and_says_how() -> None:
    assert not laid_out(SEVENTY, DEVICES["h100"], 1, None, "layers", 500).fits
    assert devices_needed(SEVENTY, DEVICES["h100"], 500) == 2
    eight = laid_out(SEVENTY, DEVICES["h100"], 8, None, "layers", 500)
    assert (eight.group, eight.workers, eight.fits) == (2, 4, True)
    assert eight.speed("good") == 4 and eight.speed("bad") == 4 * ANY["workers"].bad
    tensor = laid_out(SEVENTY, DEVICES["h100"], 8, 2, "tensor", 500)
    assert tensor.workers == 2 and tensor.speed("good") == pytest.approx(2 * 2 * ANY["tensor parallel"].good)
    one = study_cost(SEVENTY, "paper", "h100")
    assert "does not fit on 1 x h100 (80 GB): its weights take 138.7 GB; what does: 2 of them" in one.warnings[0]
    assert "layer after layer" in study_cost(SEVENTY, "paper", "h100", n_devices=2).warnings[0]
    small = study_cost(SEVEN.in_dtype("float32"), stated_size("D", 10, 50), "l4")
    assert "--dtype bfloat16 (13.5 GB)" in small.warnings[0]
    assert "3 devices a copy would do" in study_cost(SEVENTY, "paper", "h100", n_devices=2).warnings[1]
    assert "loading takes" in study_cost(SEVEN, "paper", "h100").warnings[0]
    idle = study_cost(SEVENTY, "paper", "h100", n_devices=3)
    assert "1 of 3 devices have nothing to do" in idle.warnings


def test_more_devices_and_faster_ones_take_less_time() -> None:
    size = stated_size("D", 4000, 300)
    hours = [study_cost(SEVEN, size, "h100", n_devices=n).total.hours for n in (1, 8)]
    assert hours[1].low < hours[0].low and hours[1].high < hours[0].high
    by_device = [study_cost(SEVEN, size, name).total.hours.high for name in ("l4", "a100", "h100", "h200")]
    assert by_device == sorted(by_device, reverse=True)
    assert all(
        ends.low <= ends.high for stage in study_cost(SEVEN, size).stages for ends in (stage.hours, stage.tokens)
    )


def test_a_pass_is_bound_by_the_slowest_of_three() -> None:
    layout = laid_out(SEVEN, DEVICES["h100"], 1, None, "layers", 500)
    one = Work("one", "", SEVEN, (Passes(1, 100, written=50),))
    seconds = cost_of(one, layout, "good").seconds / GPU["hooks"].good
    assert seconds == pytest.approx(51 * 32 * GPU["layer"].good, rel=0.01)  # one row: Python and kernels
    slow = replace(layout, device=replace(layout.device, bandwidth=10.0))
    moved = 51 * SEVEN.weight_bytes + (100 + 50 * 125) * SEVEN.kv_bytes
    by_memory = cost_of(one, slow, "good").seconds / GPU["hooks"].good
    assert by_memory == pytest.approx(moved / (1e10 * GPU["bandwidth"].good), rel=0.01)
    full = Work("full", "", SEVEN, (Passes(1000, 500),))
    flops = full.passes[0].reading_flops(SEVEN)
    by_peak = cost_of(full, layout, "good").seconds / GPU["hooks"].good
    assert by_peak == pytest.approx(flops / (GPU["forward"].good * 989e12))


def test_processors_take_batches_of_their_own() -> None:
    cpu = measured_cpu()
    assert cpu.single_tflops > 0 and cpu.bandwidth > 0 and cpu.memory > 0
    layout = laid_out(SEVEN, replace(cpu, memory=100), 1, None, "layers", 500)
    assert layout.ratios is CPU
    assert [at_once(SEVEN, layout), at_once(SEVEN, layout, writes=True)] == [2048, 8192]
    assert at_once(SEVEN, layout, backward=True) == 1024


def test_the_paper_asks_27_000_questions_of_each_gate() -> None:
    works = {work.name: work for work in paper_works(SEVEN, 1, "bad", "M")}
    arms = GateCounts(kinds=4).arms("bad")
    assert works["POPE (child)"].passes[0].answers == 27_000 * arms
    assert works["CHAIR (child)"].passes[0].answers == 500 * arms
    pope = works["POPE (child)"]
    assert pope.loads == 9 * arms and pope.apart and not works["capture"].apart
    loading = [
        cost_of(pope, laid_out(SEVEN, DEVICES["h100"], n, None, "layers", 9), "bad").loading for n in (1, 4, 9999)
    ]
    assert loading[0] == pytest.approx(4 * loading[1]) == pytest.approx(9 * arms * loading[2])
    assert works["capture"].passes[0].answers == HALUEVAL.rows == 20_000
    assert works["capture"].stored == 20_000 * 32 * 32 * 128 * 4
    assert len(list(paper_works(SEVEN, 3, "bad", "M"))) == 6 + 3 * 8
    assert not [name for work in paper_works(SEVEN, 0, "bad", "M") if "child" in (name := work.name)]


def test_it_comes_back_equal(tmp_path: Path) -> None:
    cost = study_cost(SEVENTY, "paper", "h200", n_devices=8)
    cost.save(tmp_path)
    again = StudyCost.load(tmp_path)
    assert again == cost and again.total.hours == cost.total.hours
    with pytest.raises(InputError, match="is a field that this version of lens_truth does not know"):
        StudyCost.from_dict(cost.as_dict() | {"price": 3})
    assert cost.total.hours.low == pytest.approx(sum(stage.hours.low for stage in cost.stages))
    assert cost.total.memory_gb.high == max(stage.memory_gb.high for stage in cost.stages)
    assert [len(row) for row in cost.stage_table().texts()] == [8] * (len(cost.stages) + 1)
    assert set(cost.ratios) == {*GPU, *ANY}


def test_times_are_said_as_large_as_they_are() -> None:
    assert time_said(Ends(2.04, 26.7)) == "2.0 to 27 h"
    assert time_said(Ends(0.05, 0.5)) == "3.0 to 30 min"
    assert time_said(Ends(0.001, 0.002)) == "3.6 to 7.2 s"
    assert Ends(123_456, 123_499).said == "120,000" and Ends(0, 0).said == "0"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no device 'h1000' in the table; it has h100, .*, cpu"):
        accelerator("h1000")
    with pytest.raises(InputError, match="--devices is 0"):
        study_cost(SEVEN, "paper", n_devices=0)
    with pytest.raises(InputError, match="--rows is 0"):
        stated_size("D", 0, 5)
    with pytest.raises(InputError, match="'7b' has no tokenizer, so the tokens of zoo:text cannot be counted"):
        data_size("zoo:text", "7b", limit=4)
    assert data_size("zoo:text", "7b", limit=4, tokens=50).rows == 4
