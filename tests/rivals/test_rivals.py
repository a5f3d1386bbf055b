"""Rivals under one harness: what is tried, tested, measured beside, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from drawn import faults
from made import against, comparison
from matplotlib.figure import Figure

from lens_truth.ablation.search import Validation
from lens_truth.ablation.side_effects import NeutralText, side_effects, zoo_text
from lens_truth.decoding.context_aware import ContextAware
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.decore import DeCoRe
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.neuron_gate import NeuronGate
from lens_truth.gates.shift import HeadShift
from lens_truth.io.results import Result
from lens_truth.models.loading import load
from lens_truth.rivals import known
from lens_truth.rivals.compare import compare_rivals
from lens_truth.rivals.costs import writing_costs
from lens_truth.rivals.result import RivalComparison
from lens_truth.rivals.rival import Rival, Searching
from lens_truth.rivals.rows import VANILLA
from lens_truth.rivals.texts import text_effects
from lens_truth.scoring.causal import causal_scores
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import compare
from lens_truth.zoo.benchmarks import zoo_benchmarks

HALVES = torch.tensor([0.5, 0.4]).repeat(6, 4)  # heads told apart
LONG = "models--Qwen--Qwen2.5-VL-7B-Instruct"


def of(split: Any, n: int, *names: str) -> list[Any]:
    made = {benchmark.name: benchmark for benchmark in zoo_benchmarks(split, n, 0)}
    return [made[name] for name in names]


@pytest.fixture(scope="module")
def asker(zoo: Any) -> Asker:
    return Asker(zoo("llama-memory-chat"), "chat", "memory")


@pytest.fixture(scope="module")
def causal(asker: Asker) -> HeadScores:
    examples = [example for benchmark in of("train", 30, "judgement") for example in benchmark.examples]
    return causal_scores(asker.model, examples, n_bootstrap=10)


@pytest.fixture(scope="module")
def found(asker: Asker) -> RivalComparison:
    halves = HeadGate(HALVES)
    rivals = {
        "cad": Rival.of("decoding", known.sized(ContextAware(a) for a in (0.5, 2.0)), apart="why"),
        "silence": Rival.of("heads", [(HeadGate(torch.zeros(6, 8)), 1.0, "none")]),
        "halves": known.given_gate(halves),
    }
    rivals["cad+halves"] = replace(rivals["cad"].under(rivals["halves"]), fixed=True)
    return compare_rivals(
        asker,
        rivals,
        test=of("test", 10, "open", "conflict", "judgement"),
        validation=of("validation", 10, "conflict"),
        neutral=[NeutralText("few", zoo_text().passages[:4])],
        timed=2,
        left_out={"vcd": "the questions show no image"},
    )


def test_what_is_wanted_is_tested_and_the_rest_is_not(found: RivalComparison) -> None:
    assert found.tested == ("cad", "halves", "cad+halves") and found.unwanted == ("silence",)
    assert found.headline == "conflict"  # at open the model is at its ceiling
    assert [row.benchmark for row in found.rows] == ["open", "conflict", "judgement"] * 4
    assert found.kinds["cad+halves"] == "both"
    assert list(found.elsewhere) == list(found.p_holm) == list(found.tested)
    assert list(found.texts) == ["halves"] and set(found.apart) == {"cad", "cad+halves"}
    assert list(found.costs) == [VANILLA, "cad", "silence", "halves", "cad+halves"]
    assert found.heads_or_not is not None
    assert (found.heads_or_not.heads, found.heads_or_not.other) == ("halves", "cad")


def test_rows_are_those_of_each_rival_by_itself(found: RivalComparison, asker: Asker) -> None:
    best = found.chosen("cad")
    decoder = ContextAware(best.lam)
    for benchmark in of("test", 10, "open", "conflict", "judgement"):
        results = asker.run(benchmark, {VANILLA: None, "cad": decoder})
        row = found.row("cad", benchmark.name)
        assert row.accuracy == results["cad"].accuracy
        marks = [results[name].correct[None] for name in ("cad", VANILLA)]
        same = compare(*marks, results[VANILLA].groups, 0)
        np.testing.assert_equal(asdict(row.against[VANILLA]), asdict(same))  # NaN equals NaN
        assert (row.lam, row.norm) == (best.lam, "strength")


def test_elsewhere_is_the_mean_over_the_other_benchmarks(found: RivalComparison) -> None:
    others = [found.row("halves", name).against[VANILLA].difference for name in ("open", "judgement")]
    its = found.elsewhere["halves"]
    assert its.difference == pytest.approx(np.mean(others))
    assert its.ci_low <= its.difference <= its.ci_high


def test_a_headline_can_be_named(asker: Asker) -> None:
    test = of("test", 4, "open", "conflict")
    rivals = {"halves": known.given_gate(HeadGate(torch.full((6, 8), 0.5)))}
    found = compare_rivals(asker, rivals, test=test, validation=test[:1], headline="open", timed=0)
    assert found.headline == "open" and not found.costs and not found.texts and found.heads_or_not is None
    with pytest.raises(InputError, match="there is no test benchmark 'presence', only open, conflict"):
        compare_rivals(asker, rivals, test=test, validation=test, headline="presence")
    with pytest.raises(InputError, match="a rival is called 'vanilla', which is taken"):
        compare_rivals(asker, {VANILLA: rivals["halves"]}, test=test, validation=test)
    with pytest.raises(InputError, match="there is no rival"):
        compare_rivals(asker, {}, test=test, validation=test)


def test_what_cannot_be_compared(asker: Asker) -> None:
    test, half = of("test", 4, "open"), HeadGate(torch.full((6, 8), 0.5))
    rivals = {"halves": known.given_gate(half)}

    def said(rivals: dict[str, Rival], **how: Any) -> str:
        with pytest.raises(InputError) as error:
            compare_rivals(asker, rivals, **{"test": test, "validation": test, "timed": 0, **how})
        return str(error.value)

    assert said(rivals, test=[]) == said(rivals, validation=[]) and "name both" in said(rivals, test=[])
    assert said(rivals, test=[*test, *test]) == "two benchmarks are called 'open'"
    assert said({}) == "there is no rival to compare with the model as it is"
    assert "'halves, always', which is taken" in said({**rivals, "halves, always": rivals["halves"]})
    assert said({"none": Rival.of("heads", [])}) == "a rival has no size in which it could be tried"
    alike = Rival.of("decoding", [(ContextAware(0.5), 0.5, "x"), (ContextAware(0.6), 0.5, "x")])
    assert said({"alike": alike}) == "two sizes of a rival are called 'x, 0.5'; give them other words"


def test_what_a_given_gate_tells_apart(asker: Asker) -> None:
    one = torch.ones(6, 8)
    one[2, 3] = 0
    grid = {"gain": HeadGate(torch.full((6, 8), 0.5)), "heads": HeadGate(one)}
    assert {known.given_gate(gate).kind: gate for gate in grid.values()} == grid
    stream = HeadShift(torch.ones(6, 1, 128), "resid_post")
    for gate in (stream, NeuronGate(torch.ones(6, 4))):
        with pytest.raises(InputError, match="a gate or a shift of heads is compared"):
            known.given_gate(gate)


def test_shallow_models_have_high_layers_only(tokenizer: Any) -> None:
    model = load(build("llama-bias-tied", vocab_size=len(tokenizer), num_hidden_layers=4), tokenizer=tokenizer)
    rival = known.lower_layers(model)
    rival.check(model)
    assert {what for _, _, what in rival.ready} == {"high layers, strength"}


def test_what_stands_under_a_gate_is_held_against_both_alone(found: RivalComparison, asker: Asker) -> None:
    (benchmark,) = of("test", 10, "conflict")
    gate = HeadGate(HALVES)
    cad = ContextAware(found.chosen("cad").lam)
    both = ContextAware(found.chosen("cad+halves").lam, gate=gate)
    results = asker.run(benchmark, {VANILLA: None, "cad": cad, "halves": gate, "cad+halves": both})
    row = found.row("cad+halves")
    assert list(row.against) == [VANILLA, "cad", "halves"] and list(found.row("cad").against) == [VANILLA]
    marks = {name: its.correct[None] for name, its in results.items()}
    for other, its in row.against.items():
        same = compare(marks["cad+halves"], marks[other], results[VANILLA].groups, 0)
        np.testing.assert_equal(asdict(its), asdict(same))
    said = next(line for line in found.verdicts() if "cad+halves" in line)
    assert " over cad alone; " in said and " over halves alone; " in said


def test_the_same_run_gives_the_same_but_for_times(found: RivalComparison, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert RivalComparison.load(tmp_path) == found
    record = json.loads((tmp_path / "result.json").read_text())
    record["results"]["rivals"]["costs"]["cad"]["hours"] = 1
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="hours is a field that this version of lens_truth does not know"):
        RivalComparison.load(tmp_path)


def test_a_rival_stands_under_what_validation_likes_best(asker: Asker, causal: HeadScores) -> None:
    searching = Searching(Validation.of(asker, of("validation", 6, "conflict")))
    gates = known.head_gate(causal)
    both = known.context_aware().under(gates)
    found = searching.of(both)
    best = searching.best(gates)
    assert isinstance(best, HeadGate)
    for (decoder, size, _), candidate in zip(both.candidates(searching), found.candidates, strict=True):
        assert isinstance(decoder, ContextAware) and decoder.gate is best and decoder.strength == size == candidate.lam
    assert searching.of(gates).candidates == searching.validation.tried(gates.candidates(searching)).candidates
    with pytest.raises(InputError, match="only ways to decode and to ask can be put under a gate"):
        gates.under(gates)
    with pytest.raises(InputError, match="what decodes or asks cannot stand in for a gate"):
        known.context_aware().under(known.context_aware())


def test_sizes_in_which_methods_are_tried(asker: Asker, causal: HeadScores) -> None:
    searching = Searching(Validation.of(asker, of("validation", 2, "conflict")))
    silent = known.silent_heads(causal).candidates(searching)
    assert [(size, what) for _, size, what in silent] == [
        (size, what) for what in ("1 head silent, strength", "2 heads silent, strength") for size in (0.5, 1.0, 2.0)
    ]  # .01, .02 and .05 of 48
    first = silent[0][0]
    assert isinstance(first, DeCoRe) and list(first.heads) == [causal.best()]
    listed = known.silent_heads([(1, 2), (3, 4)]).candidates(searching)
    assert {what for _, _, what in listed} == {"2 heads silent, strength"} and len(listed) == 3
    assert len(known.lower_layers(asker.model).candidates(searching)) == 6
    assert [size for _, size, _ in known.common_gain(asker.model).candidates(searching)] == [
        *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    ]


def test_effects_on_a_text_are_those_of_a_forward_pass(asker: Asker) -> None:
    gate = HeadGate(torch.full((6, 8), 0.3))
    passages = zoo_text().passages[:3]
    text = NeutralText("some", passages)
    effects = text_effects(asker.model, {"nothing": Decoder(), "gate": gate, "cad": ContextAware(1.0)}, text)
    for name in ("nothing", "cad"):  # without a question nothing is taken away
        assert effects[name].changed == 0 and effects[name].kl == pytest.approx(0, abs=1e-6)
    changed, divergence = list[bool](), list[float]()
    for passage in passages:
        ids = asker.model.tokenizer(passage)["input_ids"]
        for part in range(1, 9):
            prompt = torch.tensor([ids[: len(ids) * part // 8]])
            with torch.no_grad():
                bare = asker.model(prompt)[0, -1].log_softmax(-1)
                with gate.attach(asker.model):
                    own = asker.model(prompt)[0, -1].log_softmax(-1)
            changed.append(bool(bare.argmax() != own.argmax()))
            divergence.append(float((bare.exp() * (bare - own)).sum()))
    its = effects["gate"]
    assert its.n == len(changed) and 0 < its.changed < 1
    assert its.changed == pytest.approx(np.mean(changed))
    assert its.kl == pytest.approx(np.mean(divergence), rel=1e-3)
    assert its.changed_ci[0] <= its.changed <= its.changed_ci[1]
    # of the same order as over all places
    assert its.kl == pytest.approx(side_effects(asker.model, {"gate": gate}, text)["gate"].kl, rel=0.7)


def test_a_rival_that_leaves_tokens_no_chance_has_no_divergence(asker: Asker) -> None:
    text = NeutralText("some", zoo_text().passages[:2])
    silent = {"decore": DeCoRe(1.0, [(0, 0)]), "all tokens": DeCoRe(1.0, [(0, 0)], plausible=0.0)}
    effects = text_effects(asker.model, silent, text)
    assert np.isnan(effects["decore"].kl) and np.isfinite(effects["all tokens"].kl)


def test_all_write_as_many_tokens_to_be_timed(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: dict[str, set[int]] = {}
    write = Decoder.write

    def watched(self: Decoder, *given: Any, **more: Any) -> list[list[int]]:
        written = write(self, *given, **more)
        lengths.setdefault(type(self).__name__, set()).update(map(len, written))
        return written

    monkeypatch.setattr(Decoder, "write", watched)
    ends = asker.model.original_model.generation_config.eos_token_id
    costs = writing_costs(asker, of("test", 4, "conflict")[0], {"cad": ContextAware(1.0)}, rows=3)
    assert lengths == {"Decoder": {16}, "ContextAware": {16}}  # answers have one or two words
    assert asker.model.original_model.generation_config.eos_token_id == ends
    assert costs[VANILLA].ratio == costs[VANILLA].low == costs[VANILLA].high == 1
    assert costs["cad"].low <= costs["cad"].ratio <= costs["cad"].high and costs["cad"].seconds > 0


def test_what_is_said() -> None:
    found = comparison()
    helps, none, off, heads = found.verdicts()
    assert "cad (strength 1) on conflict: +0.300 [+0.200, +0.400], p 0.002 (Holm): it helps; 1.90 times" in helps
    assert helps.endswith("It loses on closed-book -0.200.")
    assert "p 0.8 (Holm): no effect told (50 questions could show +0.120); on zoo it would write another" in none
    assert "validation wanted these off, where the model as it is reaches 0.700: dola (0.750)" in off
    assert "causal, which validation likes best of what tells heads apart, against cad" in heads
    assert heads.endswith("-0.250 [-0.350, -0.150], p 0.02: cad is better.")
    assert found.verdicts()[0] == replace(found, heads_or_not=None).verdicts()[0]
    rows = tuple(
        replace(its, against={VANILLA: against(-0.3, 0.001)}) if its.gate == "cad" else its for its in found.rows
    )
    assert "it HARMS" in replace(found, rows=rows).verdicts()[0]
    undecided = replace(found.heads_or_not, against=against(0.02, 0.5))  # pyright: ignore[reportArgumentType]
    assert replace(found, heads_or_not=undecided).verdicts()[-1].endswith("better (could show +0.120).")
    none = replace(found, rows=tuple(its for its in found.rows if its.gate == VANILLA), p_holm={}, heads_or_not=None)
    assert none.verdicts()[-1].endswith("nothing that was tried helps on validation.")


def test_where_no_benchmark_can_tell_that_is_said(asker: Asker) -> None:
    test = of("test", 6, "open")
    its = compare_rivals(asker, {"halves": known.given_gate(HeadGate(HALVES))}, test=test, validation=test, timed=0)
    assert "memory: no benchmark leaves room for a gain and for a loss; open counts all the same" in its.warnings()
    assert not any("counts all the same" in said for said in comparison().warnings())


def test_the_tables_hold_what_the_fields_say() -> None:
    main, benchmarks, tried, left_out = comparison().tables()
    cells = {row.head.text: [cell.text for cell in row.cells] for row in main.rows}
    assert main.header[2:6] == ("conflict (n=50)", "gain", "p (Holm)", "elsewhere") and main.header[-1] == "time"
    assert cells["cad"][:4] == ["strength 1", "0.800 [0.70, 0.90]", "+0.300* [+0.20, +0.40]", "0.002"]
    assert cells["cad"][5:] == ["", "", "", "", "×1.90"]
    assert cells["causal"][4:] == ["-0.200 [-0.30, -0.10]", "15%", "", "15%", "", "×1.90"]
    assert cells["dola"][0] == "none: validation wanted it off"
    assert all(len(row.cells) == len(main.header) - 1 for row in main.rows)
    assert [row.head.text for row in benchmarks.rows] == [VANILLA, "cad", "causal"]
    assert len(tried.rows) == 1 + 6 and [row.head.text for row in left_out.rows] == ["vcd"]
    assert isinstance(comparison(), Result)


HARD: dict[str, Callable[[], Figure]] = {
    "many": lambda: comparison(tuple(f"pre-intervention+dynamic-context-{i}" for i in range(24)), LONG).plot(),
    "few": lambda: comparison(("cad", "dola"), f"/home/me/checkpoints/{LONG}/step_9000").plot(),
    "no side effects": lambda: replace(comparison(), texts={}, costs={}, elsewhere={}).plot(),
}


@pytest.mark.parametrize("name", HARD)
def test_every_text_of_the_figure_can_be_read(name: str) -> None:
    assert list(faults(HARD[name]())) == []
