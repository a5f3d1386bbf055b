"""The report shows what the runs hold."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
import torch
import tyro
from hypothesis import given
from hypothesis import strategies as st
from lens_truth.page.numbers import number, short
from lens_truth.page.repeat import command_line
from report_pages import reported, viewed
from reports import BASE

from lens_truth.ablation.search import Candidate, best_of
from lens_truth.ablation.words import verdicts
from lens_truth.commands import audit, evaluate, inherit, probe
from lens_truth.data.boxes import tokens_showing
from lens_truth.gates.gate import HeadGate
from lens_truth.io.runs import Run
from lens_truth.page.ablation import arms, read_row
from lens_truth.page.attention import showing
from lens_truth.page.blocks import Cell, Chart, Details, Row, Section, Side, Table, Text
from lens_truth.page.curves import curve_blocks, ticks
from lens_truth.page.fields import Fields
from lens_truth.page.generic import plain_blocks
from lens_truth.page.reading import read_runs
from lens_truth.page.sections import View


def section(view: View, id: str) -> Section:
    return next(one for one in view.sections if one.id == id)


def tables(blocks: Any) -> Iterator[Table]:
    """All of them, also in folded parts."""
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details | Side):
            yield from tables(block.blocks)


def find(table: Table, head: str) -> Row:
    return next(row for row in table.rows if row.head.text == head)


def texts(row: Row) -> list[str]:
    return [cell.text for cell in row.cells]


def said(cell: Cell) -> str:
    return " | ".join((cell.text, *cell.more))


def test_lineage_matrix_is_the_runs(tmp_path: Path) -> None:
    folder = reports.inherit_run(tmp_path / "inherit", n=4)
    results = json.loads((folder / "result.json").read_text())["results"]
    shown = list(tables(section(viewed(folder), "lineage").blocks))
    assert [table.caption for table in shown] == ["Pearson r over heads", "inside layers", "Every pair"] * 2
    for kind, (raw, inside, pairs) in {"truth": shown[:3], "causal": shown[3:]}.items():
        its = results if kind == "truth" else results[kind]
        for i, j in combinations(range(4), 2):
            for table, matrix in ((raw, its["pearson"]), (inside, its["pearson_within_layer"])):
                cell = table.rows[i].cells[j]
                assert cell.text == number(matrix[i][j], 2) and cell.tint == matrix[i][j]
                assert cell.strong == (its["p_permutation"][i][j] < 0.05)
            low, high = its["null_within_layer"][i][j]
            assert f"null [{number(low, 2)}, {number(high, 2)}]" in inside.rows[i].cells[j].tip
            assert number(its["spearman"][i][j]) in texts(find(pairs, f"model-{i} – model-{j}"))


def test_weights_and_their_relation_to_scores(tmp_path: Path) -> None:
    folder = reports.weights_run(tmp_path / "weights")
    results = json.loads((folder / "result.json").read_text())["results"]
    view = viewed(folder)
    means, child, stranger = tables(section(view, "weights").blocks)
    assert texts(find(means, "cosine of the OV circuit")) == [
        number(results[role]["mean"]["ov"], 4) for role in ("child", "unrelated")
    ]
    for table, role in ((child, "child"), (stranger, "unrelated")):
        its = results[role]["preservation"]
        for name, measure in (("cosine of W_Q", "q"), ("relative change", "change")):
            cells = texts(find(table, name))
            assert cells[0] == number(its["score"][measure]["pearson"], 2)
            assert cells[3] == f"{its['p_holm'][measure][0]:.2g}"
            assert cells[4] == short(its["top"][measure]["difference"], plus=True)
    circuits = [(scatter.x_label, scatter.y_label) for scatter in view.scatters.values()]
    assert circuits[0] == ("truth score in org/base", "OV cosine with org/child") and len(circuits) == 4
    assert next(iter(view.scatters.values())).y == results["child"]["heads"]["ov"]


def test_evidence_tables_and_scatter(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence")
    results = json.loads((folder / "result.json").read_text())["results"]
    view = viewed(folder)
    means, related = tables(section(view, "evidence").blocks)
    assert texts(find(means, "lookback")) == [short(results["mean"]["lookback"]), "50"]
    relation = results["relations"]["truth"]["score"]["evidence"]
    assert texts(find(related, "evidence"))[0] == number(relation["pearson"], 2)
    (scatter,) = view.scatters.values()
    lift = next(its for title, its in results["head_scores"].items() if title.startswith("evidence"))
    np.testing.assert_allclose(np.array(scatter.y, dtype=float), np.array(lift["values"]), rtol=1e-4)
    assert scatter.log == (np.max(lift["values"]) > 10 * np.min(lift["values"]))


def test_ablation_table(tmp_path: Path) -> None:
    (table, captions) = tables(section(viewed(reports.ablate_run(tmp_path / "ablate")), "ablation").blocks)
    assert [(row.head.text, row.below) for row in table.rows] == [
        ("vanilla", False),
        ("causal gate", False),
        ("its values shuffled inside layers, 5 draws", True),
        ("every head its layer's mean", True),
        ("one gain for all heads, tuned", False),
        ("random gate 1 + U(−1, 1), 3 draws", False),
    ]
    vanilla, causal, shuffled, means, _, random = (row.cells[0] for row in table.rows)
    assert vanilla.text == "0.600 [0.54, 0.65]"
    assert said(causal) == (
        "0.900 [0.84, 0.95] | +0.300 [+0.25, +0.35] p\u00a00.001 | ✓ beaten: the tuned gain, +0.300 | "
        "✗ NOT beaten: the random gate, +0.300; 1 of 3 as good | ⚠ 12% unparsed"
    )
    assert causal.strong and causal.alarm and causal.bar is not None
    assert (causal.bar.low, causal.bar.point, causal.bar.mark) == pytest.approx((0.84, 0.9, 0.6))
    assert shuffled.text == "0.600 ± 0.020 [0.54, 0.65]"
    assert shuffled.more[1] == "✓ beaten by its gate, +0.300 [+0.25, +0.35] p\u00a00.001"
    assert means.more[1] == "✗ NOT beaten by its gate, +0.020 [−0.03, +0.07] p\u00a00.4"
    assert len(random.more) == 1
    head = find(table, "causal gate").head
    assert head.alarm and head.more == ("λ = 0.65, minmax", "⚠ 2 negative gates")
    assert texts(find(captions, "its values shuffled inside layers, 5 draws")) == ["0.440", "–", "–", "–"]


def test_a_control_is_beaten_here_where_the_verdicts_say_so(tmp_path: Path) -> None:
    """The same rule, written twice since the other one comes with PyTorch."""
    rows = []
    for difference, p, as_good in ((0.1, 0.01, 0), (0.1, 0.01, 1), (0.1, 0.2, 0), (-0.1, 0.01, 0), (0.0, 1.0, 1)):
        (made,) = (row for row in reports.ablation_rows() if (row.gate, row.benchmark) == ("causal", "conflict"))
        against = {"vanilla": made.against["vanilla"], "permuted": reports.comparison(difference, p, as_good, 5)}
        rows.append(replace(made, against=against))
    for row in rows:
        (sentence,) = verdicts([row], {row.model: "conflict"})
        mine = read_row(Fields(json.loads(json.dumps(row.as_dict())), "row"))
        assert mine.against["permuted"].beaten == ("NOT beat" not in sentence)


def test_controls_of_a_gate_that_is_not_there_are_kept() -> None:
    rows = [
        read_row(Fields(json.loads(json.dumps(row.as_dict())), "row"))
        for row in reports.ablation_rows()
        if row.gate != "causal"
    ]
    assert set(arms(rows)) == {(row.gate, row.of) for row in rows}


def test_side_effects(tmp_path: Path) -> None:
    (table,) = tables(section(viewed(reports.ablate_run(tmp_path / "ablate")), "side-effects").blocks)
    assert table.header == ("gate", "KL, wikitext", "cross-entropy, wikitext", "words")
    assert texts(find(table, "causal gate")) == ["0.0100", "3.000", "1.50"]


def test_curves_show_what_the_search_chose(tmp_path: Path) -> None:
    (run,), _ = read_runs([reports.ablate_run(tmp_path / "ablate")])
    (chart,) = (chart for block in curve_blocks(run) if isinstance(block, Side) for chart in block.blocks)
    assert isinstance(chart, Chart)
    candidates = [
        Candidate(HeadGate(torch.ones(1, 1)), its["lam"], its["norm"], its["strength"], its["accuracy"])
        for its in run.results.value["search"]["org/base"]["causal"]
    ]
    best = best_of(candidates)  # of equals the weaker gate
    assert (best.norm, best.strength) == ("minmax", 0.1)
    assert chart.caption == "causal: λ = 0.2, minmax" and "0.800 against 0.625 without" in chart.said
    centre, minmax = chart.lines
    assert chart.chosen == minmax.points[1][:2] and minmax.points[0][1] == centre.points[0][1] == chart.level
    assert centre.points[1][1] > centre.points[2][1]  # better is higher up


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 8))
def test_ticks_enclose(low: float, width: float, about: int) -> None:
    found = ticks(low, low + width, about)
    size = max(abs(low), width, 1)
    assert found[0] <= low + 1e-6 * size and found[-1] >= low + width - 1e-6 * size
    assert 2 <= len(found) <= 2 * about + 3 and found == sorted(set(found))


def test_any_results_are_shown(tmp_path: Path) -> None:
    results = {
        "accuracy": 0.875,
        "accuracy_ci": [0.8, 0.95],
        "parse": "strict",
        "splits": {"random": {"strict": {"f1": 0.25}, "pope": {"f1": 0.5}, "duplicates": 3}},
        "deep": {"er": {"and": {"deeper": {"x": 7.5}}}},
        "pairs": [{"one": "A", "same": True, "none": None}],
        "many": [[1, 2], [3, 4]],
        "empty": {},
    }
    shown = {table.caption: table for table in tables(plain_blocks(results, "Results"))}
    first = shown["Results"]
    assert first.header == ("accuracy", "parse")
    assert (first.rows[0].head.text, texts(first.rows[0])) == ("0.875 [0.800, 0.950]", ["strict"])
    assert texts(find(shown["Splits"], "random · pope")) == ["0.500", "3"]
    assert shown["Pairs"].rows[0].head.text == "1" and texts(shown["Pairs"].rows[0]) == ["A", "yes", "–"]
    assert any("7.500" in (row.head.text, *texts(row)) for table in shown.values() for row in table.rows)
    assert [block.text for block in plain_blocks(results, "Results") if isinstance(block, Text)] == [
        "Many: 2 values, not shown"
    ]


def test_benchmarks_and_audits(tmp_path: Path) -> None:
    asked = {"model": "org/base", "scores": "s.npy", "lam": 4.5, "data": "mine.jsonl"}
    reports.write_run(tmp_path / "judge", "evaluate judge", {"f1": 0.625}, config=asked, hashes={"weights": BASE})
    reports.write_run(tmp_path / "pope", "evaluate pope", {"f1": 0.5}, config={"model": "org/x"})
    reports.write_run(tmp_path / "audit", "audit", {"data": {"mine": {"rows": 11}}, "pairs": []})
    text, _ = reported(tmp_path / "r.html", *(tmp_path / name for name in ("judge", "pope", "audit")))
    assert "run judge; org/base, gated by s.npy, λ = 4.5; on mine.jsonl" in text
    assert "run pope; answers from a file" in text
    assert ">0.625" in text and ">11" in text


def test_the_command_that_repeats_a_run(tmp_path: Path) -> None:
    """It gives the very configuration back."""
    for command, config in {
        "probe": probe.Config(model="a model", data="it's.csv", limit=3, trust_remote_code=True, out=Path("x y")),
        "inherit": inherit.Config(inputs=("a.npy", "b=c.npy"), kv_heads=("4", "b=2"), seed=3, scores=("causal",)),
        "audit": audit.Config(),
        "evaluate pope": evaluate.Pope(questions=(Path("q"),), answers=(Path("a"),), template="plain"),
    }.items():
        Run(command, config).write(tmp_path, {}, {}, [])
        recorded = json.loads((tmp_path / "result.json").read_text())["config"]
        line = command_line(command, recorded)
        assert line is not None and line.startswith(f"lens-truth {command}")
        module = sys.modules[f"lens_truth.commands.{command.split()[0]}"]
        arguments = shlex.split(line)[2:]
        assert tyro.cli(module.Config, args=arguments) == config
    assert command_line("probe", {"a flag of old": 1}) is None
    assert command_line("dance", {}) is None and command_line("evaluate dance", {}) is None


@pytest.mark.parametrize(
    ("value", "places", "written"), [(0.0625, 3, "0.062"), (-0.0004, 3, "0.000"), (-0.25, 2, "−0.25"), (None, 2, "–")]
)
def test_numbers(value: float | None, places: int, written: str) -> None:
    assert number(value, places) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (1.0, "1"), (-0.012345, "−0.0123"), (12345.6, "12346"), (1e-9, "1.00e-09"), (2.125, "2.12")],
)
def test_short_numbers(value: float, written: str) -> None:
    assert short(value) == written


def test_patches_that_show_evidence_are_those_of_the_evidence_command() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        corner = rng.integers(0, 20, (9, 2))
        boxes = np.hstack([corner, corner + rng.integers(1, 12, (9, 2))]).astype(float)
        evidence = [(x, y, x + w, y + h) for x, y, w, h in rng.integers(1, 15, (2, 4)).astype(float).tolist()]
        assert showing(boxes.tolist(), [list(box) for box in evidence]) == tokens_showing(boxes, evidence)
