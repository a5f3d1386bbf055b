"""The report: what it shows is what the runs hold; what is wrong with a run is named and the rest is shown."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
import torch
import tyro
from conftest import refused, run
from hypothesis import given
from hypothesis import strategies as st
from reports import BASE, HOSTILE, OTHER

import lens_truth
from lens_truth.commands import audit, evaluate, inherit, probe
from lens_truth.datasets.notices import DataWarning
from lens_truth.evaluate.search import Candidate, best_of
from lens_truth.gate import HeadGate
from lens_truth.models.patches import tokens_showing
from lens_truth.report import page
from lens_truth.report.ablation import arms, read_row
from lens_truth.report.attention import showing
from lens_truth.report.blocks import Cell, Chart, Details, Row, Section, Side, Table, Text
from lens_truth.report.curves import curve_blocks, ticks
from lens_truth.report.fields import Fields
from lens_truth.report.generic import plain_blocks
from lens_truth.report.heads import HeadMap
from lens_truth.report.numbers import number, short
from lens_truth.report.reading import read_runs
from lens_truth.report.repeat import command_line
from lens_truth.report.sections import View, view_of
from lens_truth.runs import Run
from lens_truth.scores import HeadScores
from lens_truth.verdict import verdicts

Make = Callable[..., Path]


def viewed(*folders: Path) -> View:
    return view_of(*read_runs(folders))


def reported(out: Path, *folders: Path) -> tuple[str, list[str]]:
    """The page, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        written = lens_truth.report(folders, out=out)
    assert written == out
    return out.read_text(encoding="utf-8"), [str(warning.message) for warning in caught]


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


class Elements(HTMLParser):
    """The elements of a page, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


# --- What the page shows ---------------------------------------------------------------------------------------------


def test_maps_of_one_model_stand_together(tmp_path: Path) -> None:
    base, more, child = reports.scores(), reports.scores("causal", seed=1), reports.scores(weights=OTHER, model="org/x")
    for name, made in {"one": base, "again": base, "causal": more, "child": child}.items():
        reports.probe_run(tmp_path / name, made)
    view = viewed(*(tmp_path / name for name in ("one", "child", "causal", "again")))
    assert [(model.name, model.weights) for model in view.models] == [("org/base", BASE), ("org/x", OTHER)]
    truth, causal = view.models[0].maps
    assert (truth.kind, truth.runs) == ("truth", ("one", "again"))  # equal maps once
    assert (causal.kind, causal.scale, truth.scale) == ("causal", "zero", "range")
    np.testing.assert_allclose(np.array(truth.values, dtype=float), base.values, rtol=1e-4)
    (i, j, best), *_ = truth.best(1)
    assert (i, j) == base.best() and best == pytest.approx(base.values.max(), rel=1e-4)


def test_maps_of_other_shapes_or_without_weights_stand_apart(tmp_path: Path) -> None:
    cropped = reports.scores(shape=(2, 4))  # of the same weights, on a shared grid
    files = [HeadScores(reports.scores(seed=i).values, provenance={"file_hash": str(i)}) for i in (1, 2)]
    maps = {"truth scores of a": cropped, "truth scores of b": files[0], "truth scores of c": files[1]}
    named = {title: made.as_dict() for title, made in maps.items()}
    reports.write_run(tmp_path / "x", "inherit", {"head_scores": named})
    view = viewed(reports.probe_run(tmp_path / "probe", reports.scores()), tmp_path / "x")
    assert [model.shape for model in view.models] == [(3, 4), (2, 4), (3, 4), (3, 4)]
    assert [model.name for model in view.models] == [f"org/base ({BASE})"] * 2 + ["b", "c"]


@pytest.mark.parametrize(
    ("kind", "values", "scale"),
    [
        ("causal", [[-1.0, 2.0]], "zero"),
        ("causal", [[1.0, 2.0]], "range"),
        ("evidence", [[0.0, 2.0]], "one"),
        ("evidence over control", [[-0.5, 2.0]], "zero"),
        ("retrieval", [[0.0, 0.5]], "range"),
    ],
)
def test_scale_of_colours(kind: str, values: list[list[float | None]], scale: str) -> None:
    assert HeadMap(kind, "", "", None, values, {}, {}, ()).scale == scale


def test_surface_baseline_and_significance_are_told_with_the_map(tmp_path: Path) -> None:
    made = reports.scores(surface_accuracy=0.975)
    folder = reports.probe_run(tmp_path / "probe", made, warnings=["SURFACE CONFOUND: x"])
    text, _ = reported(tmp_path / "r.html", folder)
    assert "surface baseline (the answer&#39;s length and last character alone): 0.975" in text
    above = int((made.metrics["p_familywise"] < 0.05).sum())
    assert f"{above} head{'s' if above != 1 else ''} of 12 above chance" in text
    assert text.index("<h2") < text.index("SURFACE CONFOUND") < text.index('id="heads"')


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
        evidence = [tuple(map(float, (x, y, x + w, y + h))) for x, y, w, h in rng.integers(1, 15, (2, 4))]
        assert showing(boxes.tolist(), [list(box) for box in evidence]) == tokens_showing(boxes, evidence)


# --- What is wrong ---------------------------------------------------------------------------------------------------


def damaged(folder: Path, change: Callable[[dict[str, Any]], object], file: str = "result.json") -> Path:
    """The run with something changed in one of its files."""
    record = json.loads((folder / file).read_text())
    change(record)
    (folder / file).write_text(json.dumps(record), encoding="utf-8")
    return folder


def truncated(folder: Path) -> Path:
    (folder / "result.json").write_text('{"command": "pro')
    return folder


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda path: path / "nowhere", "nowhere: there is no such file or folder"),
        (lambda path: path, "has no result.json, so no run of lens_truth has finished there"),
        (
            lambda path: truncated(reports.probe_run(path / "bad", reports.scores())),
            "bad: result.json is damaged: line 1",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), lambda r: r.pop("results")),
            "bad: result.json has no results, so it is not the record of a run",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), lambda r: r.update(results=[1])),
            "bad: result.json.results is not an object",
        ),
        (
            lambda path: damaged(reports.probe_run(path / "bad", reports.scores()), lambda r: r.update(command=3)),
            "bad: result.json.command is not a text",
        ),
    ],
)
def test_a_run_that_cannot_be_read_is_named_and_left_out(
    tmp_path: Path, spoil: Callable[[Path], Path], complaint: str
) -> None:
    good = reports.probe_run(tmp_path / "good", reports.scores())
    (tmp_path / "made").mkdir()
    text, warned = reported(tmp_path / "r.html", good, spoil(tmp_path / "made"))
    assert len(warned) == 1 and complaint in warned[0]
    assert "truth scores" in text and "Report on 1 run<" in text
    assert complaint.split(": ", 1)[-1] in text


def drop(*keys: str) -> Callable[[dict[str, Any]], object]:
    """Takes a value out of nested objects."""

    def change(record: dict[str, Any]) -> None:
        *path, last = keys
        for key in path:
            record = record[key]
        del record[last]

    return change


def put(value: Any, *keys: str | int) -> Callable[[dict[str, Any]], object]:
    def change(record: Any) -> None:
        *path, last = keys
        for key in path:
            record = record[key]
        record[last] = value

    return change


_TITLE = "truth scores of org/base on zoo:text"


@pytest.mark.parametrize(
    ("make", "change", "complaint", "kept"),
    [
        (reports.probe_run, drop("results", "head_scores"), "an older lens_truth wrote it", "Provenance"),
        (reports.probe_run, drop("versions"), "result.json has no readable versions", "truth scores"),
        (reports.probe_run, put("long", "seconds"), "result.json.seconds is not a number", "truth scores"),
        (reports.probe_run, put("much", "warnings"), "result.json has no readable warnings", "truth scores"),
        (reports.probe_run, put("dance", "command"), "'dance', which is not known here", "truth scores"),
        (reports.probe_run, put([1], "results", "head_scores"), "head_scores is not an object", "Provenance"),
        (
            reports.probe_run,
            put([[1.0], [2.0, 3.0]], "results", "head_scores", _TITLE, "values"),
            "values is not a matrix; this map is left out",
            "Provenance",
        ),
        (
            reports.probe_run,
            put([[None, None]], "results", "head_scores", _TITLE, "values"),
            "values holds no number; this map is left out",
            "Provenance",
        ),
        (
            reports.probe_run,
            put([[0.5] * 4], "results", "head_scores", _TITLE, "metrics", "ci_low"),
            "ci_low has another shape than the scores",
            "Provenance",
        ),
        (
            reports.ablate_run,
            put("good", "results", "rows", 3, "accuracy"),
            "a part of its results cannot be shown: result.json.results.rows[3].accuracy is not a number",
            "Choosing λ",
        ),
        (
            reports.ablate_run,
            put(float("nan"), "results", "rows", 0, "ci_low"),
            "rows[0].ci_low is not a number",
            "causal",
        ),
        (reports.ablate_run, drop("results", "search"), "result.json.results has no 'search'", "its values shuffled"),
        (reports.ablate_run, put([], "results", "side_effects"), "", "measured no side effects"),
        (
            reports.inherit_run,
            put([[1.0]], "results", "causal", "pearson"),
            "is not a matrix of 3 models",
            "truth scores",
        ),
        (reports.inherit_run, drop("results", "verdicts"), "has no 'verdicts'", "truth scores"),
        (reports.weights_run, drop("results", "child", "mean", "ov"), "", "What org/child keeps of org/base"),
        (reports.weights_run, put(None, "results", "child", "preservation"), "", "org/child was not related to scores"),
        (reports.evidence_run, put(0.5, "results", "n"), "results.n is not a whole number", "truth scores"),
        (reports.evidence_run, put({}, "results", "relations"), "", "had no scores to relate attention to"),
    ],
)
def test_a_damaged_part_is_named_and_the_rest_is_shown(
    tmp_path: Path, make: Make, change: Callable[[dict[str, Any]], object], complaint: str, kept: str
) -> None:
    arguments = (reports.scores(),) if make is reports.probe_run else ()
    folder = damaged(make(tmp_path / "run", *arguments), change)
    text, warned = reported(tmp_path / "r.html", folder)
    plain = text.replace("&#39;", "'")
    if complaint:
        assert len([sentence for sentence in warned if complaint in sentence]) >= 1, warned
        assert complaint in plain
    else:
        assert not warned
    assert kept in plain


def places(value: Any, *before: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where there is anything in nested JSON."""
    yield before
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in inside:
        yield from places(member, *before, name)


@pytest.mark.parametrize("make", [reports.evidence_run, reports.inherit_run, reports.weights_run, reports.ablate_run])
def test_whatever_is_damaged_a_page_is_made(tmp_path: Path, make: Make) -> None:
    folder = make(tmp_path / "run")
    odd = [None, "x", -1, 0.5, [], {}, True, [[]], [None], {"a": 1}, float("nan"), 10**400, "`", [0.1, 0.2]]
    rng = np.random.default_rng(0)
    for file in folder.iterdir():
        whole = file.read_text()
        deep = {n: [at for at in places(json.loads(whole)) if len(at) == n] for n in range(1, 7)}
        for _ in range(30):
            some = deep[int(rng.choice([n for n, there in deep.items() if there]))]
            place, value = some[rng.integers(len(some))], odd[rng.integers(len(odd))]
            damaged(folder, put(value, *place), file.name)
            runs, problems = read_runs([folder])
            assert runs or problems
            if runs:
                shown = page.rendered(view_of(runs, problems), page.example_rows(runs), None)
                json.loads(Elements(shown).scripts[0])
            file.write_text(whole)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop("weights"), "attention.json has no 'weights'"),
        (put(99, "rows", 0, "query"), "rows[0].query is not a whole number from 0 to 8"),
        (put([[5, 2]], "rows", 0, "evidence"), "rows[0].evidence[0] ends before it begins"),
        (put([[0, 10]], "rows", 0, "evidence"), "evidence[0][1] is not a whole number from 0 to 9"),
        (put([[3, 1001]], "rows", 0, "heads", "1.2"), "heads.1.2 holds [3, 1001]"),
        (put([[99, 1]], "rows", 0, "heads", "1.2"), "heads.1.2 holds [99, 1]"),
        (put([["a", 1]], "rows", 0, "heads", "1.2"), "does not hold [token, thousandths]"),
        (put([], "rows", 0, "heads", "first"), "names 'first', which is not layer.head"),
        (put("yes", "rows", 0, "label"), "label is not a whole number"),
    ],
)
def test_damaged_attention_is_named_and_not_shown(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    folder = damaged(reports.evidence_run(tmp_path / "evidence"), change, "attention.json")
    text, (warned,) = reported(tmp_path / "r.html", folder)
    assert complaint in warned and "so what its heads look at cannot be shown" in warned
    assert "scene-0" not in text and "truth scores" in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put("https://example.org/x.png", "src"), "src is not a picture inside the file"),
        (put("data:image/svg+xml;base64,AAAA", "src"), "src is not a picture inside the file"),
        (put('data:image/png;base64,AAAA" onload="x', "src"), "src is not a picture inside the file"),
        (put([[0, 0, 1, 1]], "boxes"), "has 1 boxes for 4 image tokens"),
        (put([[0, 0, 1]], "evidence"), "evidence[0] has 3 items, not 4"),
    ],
)
def test_pictures_come_from_inside_the_file(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    folder = reports.evidence_run(tmp_path / "evidence", image=True)
    damaged(folder, lambda record: change(record["rows"][1]["image"]), "attention.json")
    _, (warned,) = reported(tmp_path / "r.html", folder)
    assert complaint in warned


def test_missing_attention_is_named(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence")
    (folder / "attention.json").unlink()
    text, (warned,) = reported(tmp_path / "r.html", folder)
    assert warned == "evidence: has no attention.json, so what its heads look at cannot be shown"
    assert "No attention: no run holds any" in text


def test_attention_is_shown_for_the_weights_it_was_read_from_only(tmp_path: Path) -> None:
    looked = reports.evidence_run(tmp_path / "evidence")
    other = reports.probe_run(tmp_path / "probe", reports.scores(weights=OTHER, model="org/x"))
    view = viewed(looked, other)
    text, _ = reported(tmp_path / "r.html", looked, other)
    assert "Attention on 2 examples from run evidence." in text
    assert f"what there is was read from other weights, those of org/base ({BASE[:8]})" in text
    assert [row["weights"] for row in page.example_rows(view.runs)] == [BASE, BASE]


def test_runs_of_different_models_and_versions_are_named(tmp_path: Path) -> None:
    one = reports.probe_run(tmp_path / "one", reports.scores())
    two = reports.ablate_run(tmp_path / "two", model="org/x", weights=OTHER, version="0.2.0")
    three = reports.probe_run(tmp_path / "three", reports.scores(seed=1))
    text, warned = reported(tmp_path / "r.html", one, two, three)
    assert warned == [
        f"the runs are not of one model: one, three are of org/base ({BASE[:8]}), but two is of org/x ({OTHER[:8]})",
        "the runs were made by different versions of lens_truth (0.1.0: one, three; 0.2.0: two)",
    ]
    assert all(sentence in text for sentence in warned)
    assert not reported(tmp_path / "r.html", one, three)[1]


def test_one_name_for_two_weights_is_named(tmp_path: Path) -> None:
    one = reports.probe_run(tmp_path / "one", reports.scores())
    two = reports.probe_run(tmp_path / "two", reports.scores(weights=OTHER))
    _, warned = reported(tmp_path / "r.html", one, two)
    assert f"'org/base' stands for different weights: {BASE} in one, {OTHER} in two" in warned
    assert [model.name for model in viewed(one, two).models] == [f"org/base ({BASE})", f"org/base ({OTHER})"]


def test_a_run_of_a_lineage_shares_a_model_with_a_run_of_one(tmp_path: Path) -> None:
    lineage = reports.inherit_run(tmp_path / "inherit")
    probe = reports.probe_run(tmp_path / "probe", reports.scores(model="zoo:model-1", weights=f"{1:016x}"))
    assert not reported(tmp_path / "r.html", lineage, probe)[1]


def test_every_section_says_what_is_missing(tmp_path: Path) -> None:
    view = viewed(reports.write_run(tmp_path / "audit", "audit", {"data": {}, "pairs": []}))
    missing = {one.id: one.blocks[0].text for one in view.sections if isinstance(one.blocks[0], Text)}
    for id, command in {
        "heads": "probe",
        "evidence": "evidence",
        "lineage": "inherit",
        "weights": "weights",
        "ablation": "ablate",
        "side-effects": "ablate",
        "search": "ablate",
        "benchmarks": "evaluate",
    }.items():
        assert missing[id].startswith("missing: no ") and f"`python -m lens_truth.{command}" in missing[id]


# --- The file --------------------------------------------------------------------------------------------------------


def test_texts_of_runs_are_data(tmp_path: Path) -> None:
    """Names and texts that look like markup stay texts, in the page and in the data of its script."""
    made = reports.scores(model=HOSTILE, data=HOSTILE)
    probe = reports.probe_run(tmp_path / "<b>run", made, data=HOSTILE, warnings=[HOSTILE])
    other = reports.write_run(
        tmp_path / "other", f"evaluate {HOSTILE}", {HOSTILE: {HOSTILE: HOSTILE}}, config={HOSTILE: HOSTILE}
    )
    ablate = reports.ablate_run(tmp_path / "ablate", model=HOSTILE)
    looked = reports.evidence_run(tmp_path / "evidence")
    damaged(looked, put([HOSTILE] * 9, "rows", 0, "tokens"), "attention.json")
    text, _ = reported(tmp_path / "r.html", probe, other, ablate, looked)
    found = Elements(text)
    names = [tag for tag, _ in found.found]
    assert names.count("script") == 2 and "img" not in names
    assert not [attributes for _, attributes in found.found if any(name.startswith("on") for name in attributes)]
    data = json.loads(found.scripts[0])
    assert data["models"][0]["name"].startswith(HOSTILE) and data["rows"][0]["tokens"] == [HOSTILE] * 9
    assert not re.search("[<>&\u2028\u2029]", found.scripts[0])


def test_nothing_is_loaded_and_only_its_own_script_may_run(tmp_path: Path) -> None:
    text, _ = reported(tmp_path / "r.html", reports.evidence_run(tmp_path / "evidence", image=True))
    found = Elements(text)
    for tag, attributes in found.found:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:,")), (tag, value)
    (policy,) = (its["content"] or "" for tag, its in found.found if its.get("http-equiv") == "Content-Security-Policy")
    script = found.scripts[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assets = files("lens_truth.report") / "assets"
    for name in ("page.css", "page.js", "page.html.j2"):
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+", (assets / name).read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}  # the name of SVG
    assert "innerHTML" not in script and "eval" not in script


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [reports.ablate_run(tmp_path / "ablate"), reports.evidence_run(tmp_path / "evidence", image=True)]
    one, _ = reported(tmp_path / "one.html", *folders)
    other, _ = reported(tmp_path / "other.html", *folders, folders[0] / "result.json")  # a run counts once
    assert one == other


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [reports.probe_run(tmp_path / name / "probe", reports.scores(seed=i)) for i, name in enumerate("ab")]
    runs, _ = read_runs(folders)
    assert [run.name for run in runs] == [str(folder) for folder in folders]


def test_a_page_that_would_be_too_large_lacks_the_last_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (6, 8)
    folders = [
        reports.probe_run(tmp_path / "probe", reports.scores(seed=1, shape=shape)),
        reports.evidence_run(tmp_path / "evidence", shape=shape, n_rows=40),
    ]
    whole, _ = reported(tmp_path / "r.html", *folders)
    assert json.loads(Elements(whole).scripts[0])["rows"][-1]["id"] == "scene-39"

    monkeypatch.setattr(page, "LIMIT", len(whole.encode()) - 2000)
    less, (warned,) = reported(tmp_path / "r.html", *folders)
    assert len(less.encode()) <= page.LIMIT
    kept = [row["id"] for row in json.loads(Elements(less).scripts[0])["rows"]]
    assert kept == [f"scene-{i}" for i in range(len(kept))] and 30 < len(kept) < 40
    assert f"lacks the last {40 - len(kept)} of 40 example rows" in warned and warned in less

    monkeypatch.setattr(page, "LIMIT", len(page.rendered(viewed(*folders), [], None).encode()))
    least, (warned,) = reported(tmp_path / "r.html", *folders)
    data = json.loads(Elements(least).scripts[0])
    assert "and further metrics of the heads" in warned
    assert set(data["models"][0]["maps"][0]["metrics"]) == {"ci_low", "ci_high", "p_value", "p_familywise"}
    assert len(data["rows"]) < 5

    monkeypatch.setattr(page, "LIMIT", 10_000)
    with pytest.raises(lens_truth.InputError, match="even without examples; name fewer runs"):
        lens_truth.report(folders, out=tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_seventy_billion_parameters_fit(tmp_path: Path) -> None:
    folders = [
        reports.probe_run(tmp_path / f"{kind}{i}", reports.scores(kind, seed=i, shape=(80, 64)))
        for i in range(3)
        for kind in ("truth", "causal")
    ]
    text, warned = reported(tmp_path / "r.html", *folders)
    assert not warned and len(text.encode()) < 2_500_000


# --- The command -----------------------------------------------------------------------------------------------------


def test_the_command_names_the_page_and_repeats_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, "no runs were named, and no folder in runs/ holds a result.json", "report")
    for name in ("probe", "again"):
        reports.probe_run(tmp_path / "runs" / name, reports.scores())
    (tmp_path / "runs" / "unfinished").mkdir()
    code, out, err = run(capsys, "report")
    assert code == 0, err
    assert "runs in runs/: again, probe" in out and "WARNING" not in out
    assert re.search(r"written: runs/report\.html \(0\.\d\d MB\)", out)
    code, out, _ = run(capsys, "report", "runs/probe", "runs/unfinished", "--out", "x/y.html")
    assert code == 0 and (tmp_path / "x" / "y.html").is_file()
    assert "WARNING  unfinished: has no result.json" in out


def test_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = reports.probe_run(tmp_path / "good", reports.scores())
    out = tmp_path / "r.html"
    refused(
        capsys,
        "there is no run to report on: x: there is no such file or folder",
        "report",
        tmp_path / "x",
        "--out",
        out,
    )
    refused(capsys, "a report is a file whose name ends in .html", "report", good, "--out", tmp_path / "report")
    (tmp_path / "d.html").mkdir()
    refused(capsys, "d.html: is a folder", "report", good, "--out", tmp_path / "d.html")
    refused(capsys, "is not a folder that can be written to", "report", good, "--out", good / "result.json" / "r.html")
    assert not out.exists()


def test_it_needs_no_model_libraries(tmp_path: Path) -> None:
    """So it answers at once: no PyTorch, no Transformers, no Matplotlib."""
    folder = reports.ablate_run(tmp_path / "ablate")
    code = (
        "import sys, lens_truth\n"
        f"lens_truth.report([{str(folder)!r}], out={str(tmp_path / 'r.html')!r})\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_real_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What commands write is what the report reads."""
    assert run(capsys, "probe", "--limit", "60", "--permutations", "20", "--out", tmp_path / "probe")[0] == 0
    assert run(capsys, "audit", "zoo:text", "--limit", "60", "--out", tmp_path / "audit")[0] == 0
    text, warned = reported(tmp_path / "r.html", *(tmp_path / name for name in ("probe", "audit")))
    assert not warned
    best = HeadScores.load(tmp_path / "probe" / "scores.safetensors").best()
    assert f"highest: layer {best[0]} head {best[1]} (" in text
    assert "surface baseline (the answer&#39;s length and last character alone): 0.5" in text
    assert 'scope="row">zoo:text' in text
