"""The ablation: its rows, its comparisons and its words, on trained models and on made-up outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lens_truth.ablation.ablate import run_ablation
from lens_truth.ablation.arms import Controls
from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import GateRow
from lens_truth.ablation.search import Search
from lens_truth.ablation.side_effects import zoo_text
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.rows import UNGATED
from lens_truth.scoring.causal import causal_scores
from lens_truth.scoring.scores import HeadScores
from lens_truth.zoo.benchmarks import zoo_benchmarks


@pytest.fixture(scope="module")
def ablation(zoo: Any) -> Ablation:
    model = zoo("llama-memory")
    scores = causal_scores(model, load_examples("zoo:conflict", limit=120))
    noise = HeadScores(np.random.default_rng(0).normal(size=(6, 8)))
    return run_ablation(
        Asker(model, "plain", "zoo:llama-memory"),
        {"causal": scores, "truth": noise},
        test=[b for b in zoo_benchmarks("test", 60, 0) if b.name in ("conflict", "closed-book")],
        validation=[b for b in zoo_benchmarks("validation", 40, 0) if b.name in ("conflict", "judgement")],
        controls=Controls(("permuted", "uniform", "inverse", "norm-matched"), trials=3, random_trials=3),
        neutral=[zoo_text(0)],
    )


def row_of(ablation: Ablation, gate: str, of: str = "", benchmark: str = "conflict") -> Any:
    (row,) = [r for r in ablation.rows if (r.gate, r.of, r.benchmark) == (gate, of, benchmark)]
    return row


def test_every_gate_and_control_has_a_row(ablation: Ablation) -> None:
    arms = list(dict.fromkeys((row.gate, row.of) for row in ablation.rows))
    per_source = [("permuted", 3), ("uniform", 1), ("inverse", 1), ("norm-matched", 3)]
    expected = [("vanilla", "")]
    for source in ("causal", "probe"):
        expected += [(source, ""), *((control, source) for control, _ in per_source)]
    assert arms == [*expected, ("uniform", "tuned"), ("random", "")]
    for control, trials in per_source:
        assert row_of(ablation, control, "causal").trials == trials
    assert row_of(ablation, "random").trials == 3
    assert len(ablation.rows) == 2 * len(arms)
    assert row_of(ablation, "vanilla", benchmark="closed-book").n == 16


def test_causal_scores_beat_their_controls_here(ablation: Ablation) -> None:
    causal, vanilla = row_of(ablation, "causal"), row_of(ablation, "vanilla")
    assert causal.accuracy > vanilla.accuracy + 0.1
    assert causal.against["vanilla"].difference == pytest.approx(causal.accuracy - vanilla.accuracy)
    controls = ["vanilla", "permuted", "uniform", "inverse", "norm-matched", "uniform (tuned)", "random"]
    assert list(causal.against) == controls
    assert causal.against["permuted"].difference > 0.1
    assert row_of(ablation, "inverse", "causal").accuracy < vanilla.accuracy
    assert row_of(ablation, "random").accuracy < vanilla.accuracy


def test_numbers_are_consistent(ablation: Ablation) -> None:
    for row in ablation.rows:
        assert row.ci_low <= row.accuracy <= row.ci_high
        assert (row.accuracy_std > 0) <= (row.trials > 1)
        assert row.f1 >= row.accuracy - 1e-9  # one-word answers: F1 counts partial answers too
        assert (row.lam is None) == (row.gate in ("vanilla", "random"))
        if row.gate == "permuted":
            assert row.strength == pytest.approx(row_of(ablation, row.of).strength, rel=1e-4)
    searched = {name: len(found) for name, found in ablation.search["zoo:llama-memory"].items()}
    assert searched == {"causal": 12, "probe": 12, "uniform (tuned)": 6}


def test_side_effects_of_every_gate(ablation: Ablation) -> None:
    effects = {(e.gate, e.of): e.texts["zoo"] for e in ablation.side_effects}
    assert list(effects) == list(dict.fromkeys((row.gate, row.of) for row in ablation.rows))
    vanilla = effects["vanilla", ""]
    assert vanilla.kl == 0 and 0 < vanilla.cross_entropy < 6
    assert all(e.kl > 0.001 for arm, e in effects.items() if arm != ("vanilla", ""))
    assert effects["random", ""].kl > effects["causal", ""].kl
    table = ablation.tables()[2]
    assert table.header == ("gate", "KL, zoo", "cross-entropy, zoo", "words")
    random = effects["random", ""]
    assert ["random ×3", f"{random.kl:.4f}", f"{random.cross_entropy:.3f}"] in [line[:3] for line in table.texts()]
    assert len(table.rows) == len(effects)


def test_lambda_is_chosen_on_validation_alone(zoo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    run_all = Asker.run_all

    def spy(self: Asker, benchmarks: Any, gates: Any = UNGATED, margins: bool = False) -> Any:
        if all(not name or name.startswith("search ") for name in gates):
            seen.update(example.context for benchmark in benchmarks for example in benchmark.examples)
        return run_all(self, benchmarks, gates, margins)

    monkeypatch.setattr(Asker, "run_all", spy)
    test, validation = (zoo_benchmarks(split, 10, 0)[:1] for split in ("test", "validation"))  # pyright: ignore[reportArgumentType]
    scores = {"causal": HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "causal")}
    asker = Asker(zoo("llama-memory"), "plain")
    run_ablation(asker, scores, test=test, validation=validation, controls=Controls(trials=1))
    assert seen == {example.context for example in validation[0].examples}
    assert not seen & {example.context for example in test[0].examples}


def test_same_seed_same_rows(zoo: Any) -> None:
    scores = {"causal": HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "causal")}
    test, validation = zoo_benchmarks("test", 10, 0)[:1], zoo_benchmarks("validation", 10, 0)[:1]
    asker, controls = Asker(zoo("llama-memory"), "plain"), Controls(trials=2, random_trials=2)
    runs = [
        run_ablation(asker, scores, test=test, validation=validation, controls=controls, seed=seed)
        for seed in (3, 3, 4)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0].rows != runs[2].rows


def with_row(ablation: Ablation, old: GateRow, **changed: Any) -> Ablation:
    """With other comparisons in one of its rows."""
    new = replace(old, against={**old.against, **changed})
    return replace(ablation, rows=tuple(new if row is old else row for row in ablation.rows))


def test_words_name_every_control_that_is_not_beaten(ablation: Ablation) -> None:
    causal, noise = ablation.verdicts()
    assert causal.startswith("zoo:llama-memory, causal gate on conflict: +")
    assert "against vanilla" in causal
    assert noise.startswith("zoo:llama-memory, probe gate on conflict:")
    assert "It does NOT beat: " in noise

    row = row_of(ablation, "causal")
    tied = replace(row.against["permuted"], difference=-0.01, p_value=0.8, as_good=2)
    said = with_row(ablation, row, permuted=tied).verdicts()[0]
    assert "does NOT beat: permuted (-0.010 " in said and "2 of 3 trials as good" in said

    lucky = replace(row.against["permuted"], as_good=1)  # a mean difference is not enough if one shuffle does as well
    assert "does NOT beat: permuted" in with_row(ablation, row, permuted=lucky).verdicts()[0]

    other = row_of(ablation, "causal", benchmark="closed-book")
    lost = replace(other.against["vanilla"], difference=-0.2, p_value=0.001)
    assert with_row(ablation, other, vanilla=lost).verdicts()[0].endswith("Side effects: closed-book -0.200.")


def test_table_shows_every_row(ablation: Ablation) -> None:
    table = ablation.tables()[0]
    assert len(table.rows) == len({row.arm for row in ablation.rows})
    assert table.header == ("gate", "λ", "conflict (n=60)", "closed-book (n=16)")
    (causal,) = (line for line in table.texts() if line[0].startswith("causal"))
    row = row_of(ablation, "causal")
    gain = row.accuracy - row_of(ablation, "vanilla").accuracy
    assert causal[2] == f"{row.accuracy:.3f} [{row.ci_low:.2f}, {row.ci_high:.2f}] {gain:+.3f}*"
    (random,) = (line for line in table.texts() if line[0] == "random ×3")
    assert " ± " in random[2]
    read = ablation.tables()[1]
    assert read.header == (
        "gate",
        *(f"{b}, {way}" for b in ("conflict", "closed-book") for way in ("strict", "contains")),
    )
    assert read.texts()[0][1] == f"{row_of(ablation, 'vanilla').readings['strict']:.3f}"


def test_a_setting_from_elsewhere_is_the_only_candidate(zoo: Any) -> None:
    found = run_ablation(
        Asker(zoo("llama-memory"), "plain"),
        {"causal": HeadScores(np.random.default_rng(0).normal(size=(6, 8)), "causal")},
        test=zoo_benchmarks("test", 5, 0)[:1],
        validation=zoo_benchmarks("validation", 5, 0)[:1],
        controls=Controls(("permuted",), trials=1),
        search=Search(("minmax", 0.25)),
    )
    assert [(its.lam, its.norm) for its in found.search["model"]["causal"]] == [(0.25, "minmax")]
    assert found.chosen("causal") == found.search["model"]["causal"][0]
    assert [(row.gate, row.of) for row in found.rows] == [("vanilla", ""), ("causal", ""), ("permuted", "causal")]


def test_a_control_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="control 'shuffled' is not one of random, permuted, uniform, inverse, norm"):
        Controls(("permuted", "shuffled"))


def test_scores_of_another_shape_are_refused(zoo: Any) -> None:
    with pytest.raises(InputError, match="gate has 4 layers x 8 heads, the model 6 x 8"):
        run_ablation(
            Asker(zoo("llama-memory"), "plain"),
            {"truth": HeadScores(np.random.default_rng(0).normal(size=(4, 8)))},
            test=zoo_benchmarks("test", 5, 0),
            validation=zoo_benchmarks("validation", 5, 0),
        )
