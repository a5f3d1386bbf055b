"""Controls that draw: as many draws as the verdict needs, and the verdict that all draws would bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lens_truth.ablation.ablate import run_ablation
from lens_truth.ablation.arms import Controls
from lens_truth.ablation.result import Ablation
from lens_truth.ablation.search import Search
from lens_truth.ablation.side_effects import NeutralText
from lens_truth.data.loading import load_examples
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import Benchmark, benchmark_of, marked
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import compare

N, DRAWS = 40, 4
RIGHT = {
    "late": (12, 35, 5, 5, 36, 5),
    "clear": (12, 35, 5, 5, 5, 5),
    "flat": (20, 20, 5),
    "lost": (20, 5, 20),
}
"""Of N answers those that are right, by benchmark: without a gate, under the gate, under each draw of its control."""
GATES = ("vanilla", "causal", *(f"permuted of causal {draw}" for draw in range(1, DRAWS + 1)))


@pytest.fixture
def asked() -> list[tuple[list[str], list[str]]]:
    return []


@pytest.fixture
def found(tiny: Any, asked: list[tuple[list[str], list[str]]], monkeypatch: pytest.MonkeyPatch) -> Ablation:
    def made_up(_: Asker, benchmarks: Sequence[Benchmark], gates: Any) -> Any:
        if benchmarks:
            asked.append(([its.name for its in benchmarks], list(gates)))
        return {its.name: {gate: marked(its, answers(its, gate)) for gate in gates} for its in benchmarks}

    def answers(benchmark: Benchmark, gate: str) -> list[Answer]:
        right = RIGHT[benchmark.name][GATES.index(gate)]
        return [Answer(e.answer if i < right else "nothing") for i, e in enumerate(benchmark.examples)]

    monkeypatch.setattr(Asker, "run_all", made_up)
    examples = [e for e in load_examples("zoo:text", limit=4 * N) if e.label][:N]
    return run_ablation(
        Asker(tiny, "plain"),
        {"causal": HeadScores(np.random.default_rng(0).normal(size=(3, 4)), "causal")},
        test=[benchmark_of(name, "answer", examples) for name in RIGHT],
        validation=[],
        controls=Controls(("permuted",), DRAWS),
        search=Search(("center", 0.1)),
        neutral=[NeutralText("proverb", ("Still waters run deep.",))],
    )


def test_draws_are_made_while_a_verdict_hangs_on_them(
    found: Ablation, asked: list[tuple[list[str], list[str]]]
) -> None:
    assert asked == [
        (list(RIGHT), list(GATES[:3])),
        (["late", "clear"], [GATES[3]]),
        (["late", "clear"], [GATES[4]]),
        (["clear"], [GATES[5]]),
    ]
    rows = {row.benchmark: row for row in found.rows if row.gate == "permuted"}
    assert {name: row.trials for name, row in rows.items()} == {"late": 3, "clear": 4, "flat": 1, "lost": 1}
    assert rows["late"].accuracy == pytest.approx((5 + 5 + 36) / 3 / N)
    assert [effect.trials for effect in found.side_effects] == [1, 1, 4]


def test_what_is_said_of_a_control_is_what_all_draws_would_say(found: Ablation) -> None:
    """But where the gate gained nothing, nothing is said."""
    against = {row.benchmark: row.against["permuted"] for row in found.rows if row.gate == "causal"}
    assert {name: (its.trials, its.undrawn) for name, its in against.items()} == {
        "late": (3, 1),
        "clear": (4, 0),
        "flat": (1, 3),
        "lost": (1, 3),
    }
    groups = [str(i) for i in range(N)]
    for name in ("late", "clear"):
        marks = np.array([[float(i < right) for i in range(N)] for right in RIGHT[name]])
        assert against[name].beaten == compare(marks[1:2], marks[2:], groups, 0).beaten == (name == "clear")
    assert {name: its.unsettled for name, its in against.items()} == dict.fromkeys(RIGHT, False) | {"flat": True}
    assert against["flat"].gained and not against["flat"].beaten


def test_words_and_table_say_how_many_draws_there_were(found: Ablation) -> None:
    (said,) = found.verdicts()
    assert "does NOT beat: permuted (" in said and "; 1 of 3 trials as good, 1 not needed)" in said
    flat = Ablation(tuple(row for row in found.rows if row.benchmark == "flat"), {}, {})
    (said,) = flat.verdicts()
    assert said.endswith("; 0 of 1 trial as good, 3 not needed).")
    could = f"(40 questions could show {flat.rows[1].against['vanilla'].detectable:+.3f})"
    assert f"no significant gain {could}. Drawn no further, since nothing was gained: permuted (+0.375 " in said
    table = found.tables()[0]
    assert table.texts()[2][0] == "permuted (causal) ×1 to 4"
    late, clear, none, lost = (cell.more[1] for cell in table.rows[2].cells[1:])
    assert late.startswith("✗ NOT beaten by its gate") and late.endswith("; 1 of 3 trials as good, 1 not needed")
    assert clear.startswith("✓ beaten by its gate") and "needed" not in clear
    assert none.startswith("– not settled by its gate") and lost.startswith("✗ NOT beaten by its gate")
