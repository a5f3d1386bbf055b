"""The report shows what the runs hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import reports
from hypothesis import given
from hypothesis import strategies as st
from report_pages import reported, viewed
from reports import BASE

from lens_truth.attention.record import ShownImage
from lens_truth.confounds.audit_result import Audit
from lens_truth.data.agreement import Agreement
from lens_truth.data.images import tokens_showing
from lens_truth.io.numbers import number, short
from lens_truth.io.results import structured
from lens_truth.io.tables import Row, Table
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.inheritance import TruthCausal
from lens_truth.lineage.kept import Preservation, WeightSimilarity
from lens_truth.page.blocks import Details, Section, Side
from lens_truth.page.drawn import ticks
from lens_truth.page.plain import plain_tables
from lens_truth.page.sections import showing
from lens_truth.page.view import View


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


def test_lineage_matrix_is_the_runs(tmp_path: Path) -> None:
    folder = reports.inherit_run(tmp_path / "inherit", n=4)
    shown = list(tables(section(viewed(folder), "lineage").blocks))
    captions = ["Pearson r over heads", "inside layers", "Every pair"]
    assert [table.caption for table in shown[:6]] == captions * 2
    for kind, (raw, inside, pairs) in {"truth": shown[:3], "causal": shown[3:6]}.items():
        its = Heritability.load(folder, kind)
        c = its.correlations
        for i, j in combinations(range(4), 2):
            for table, matrix in ((raw, c.pearson), (inside, c.pearson_within_layer)):
                cell = table.rows[i].cells[j]
                assert cell.text == number(matrix[i, j], 2) and cell.tint == matrix[i, j]
                assert cell.strong == (its.p_permutation[i, j] < 0.05)
            low, high = c.null_within_layer[i, j]
            assert f"null [{number(low, 2)}, {number(high, 2)}]" in inside.rows[i].cells[j].tip
            assert number(c.spearman[i, j]) in texts(find(pairs, f"model-{i} - model-{j}"))
    (acting,) = shown[6:]
    related = TruthCausal.load(folder)
    assert acting == related.tables()[0] and [row.head.text for row in acting.rows] == [f"model-{i}" for i in range(4)]
    ranks = related.ranks["model-1"]
    assert ranks is not None and texts(acting.rows[1])[1] == number(ranks.pearson, 2)


def test_what_models_of_a_lineage_keep(tmp_path: Path) -> None:
    folder = reports.inherit_run(tmp_path / "inherit")
    means, circuits, *measures = tables(section(viewed(folder), "weights").blocks)
    kept = WeightSimilarity.load(folder, "model-1")
    assert kept.base == "model-0" and means.header == ("mean over heads", "model-1", "model-2")
    assert texts(find(means, "1 - cosine of the OV circuit"))[0] == short(1 - (kept.means()["ov"] or 0))
    related = Preservation.load(folder, "model-1").score["ov"]
    assert related is not None
    assert texts(find(circuits, "model-1"))[:3] == [
        "OV",
        short(1 - (kept.means()["ov"] or 0)),
        number(related.pearson, 2),
    ]
    assert [table.caption for table in measures] == [f"Score in model-0 against what model-{i} kept" for i in (1, 2)]


def test_weights_and_their_relation_to_scores(tmp_path: Path) -> None:
    folder = reports.weights_run(tmp_path / "weights")
    view = viewed(folder)
    means, child, stranger = tables(section(view, "weights").blocks)
    kept = [WeightSimilarity.load(folder, name) for name in ("org/child", "org/other")]
    far = [short(1 - (its.means()["ov"] or 0)) for its in kept]
    assert texts(find(means, "1 - cosine of the OV circuit")) == far
    for table, name in ((child, "org/child"), (stranger, "org/other")):
        its = Preservation.load(folder, name)
        for title, measure in (("cosine of W_Q", "q"), ("relative change", "change")):
            cells, relation, top = texts(find(table, title)), its.score[measure], its.top[measure]
            assert relation is not None and top is not None
            assert cells[0] == number(relation.pearson, 2)
            assert cells[3] == f"{its.p_holm[measure][0]:.2g}"
            assert cells[4] == short(top.difference, plus=True)
    circuits = [(scatter.x_label, scatter.y_label) for scatter in view.scatters.values()]
    assert circuits[0] == ("truth score in org/base", "1 - OV cosine with org/child") and len(circuits) == 4
    first = next(iter(view.scatters.values()))
    np.testing.assert_array_equal(first.y, np.maximum(1 - kept[0].ov, 1e-12))
    assert first.log


def test_evidence_tables_and_scatter(tmp_path: Path) -> None:
    folder = reports.evidence_run(tmp_path / "evidence")
    results = json.loads((folder / "result.json").read_text())["results"]
    view = viewed(folder)
    means, related = tables(section(view, "evidence").blocks)
    its = results["evidence"]["measures"]["lookback"]
    layer, head = its["best"]
    most = f"{layer}.{head}: {its['most']:.2f} [0.10, 0.20]"
    assert texts(find(means, "lookback")) == [short(its["mean"]), "50", most]
    relation = results["relations"]["truth"]["score"]["evidence"]
    assert texts(find(related, "evidence"))[0] == number(relation["pearson"], 2)
    (scatter,) = view.scatters.values()
    lift = next(its for title, its in results["head_scores"].items() if title.startswith("evidence"))
    np.testing.assert_allclose(scatter.y, np.array(lift["values"]), rtol=1e-4)
    assert scatter.log == (np.max(lift["values"]) > 10 * np.min(lift["values"]))


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
    shown = {table.caption: table for table in plain_tables(results, "Results")}
    assert [texts(find(shown["Results"], name)) for name in ("accuracy", "parse")] == [
        ["0.875 [0.800, 0.950]"],
        ["strict"],
    ]
    splits = shown["Splits"]
    assert splits.header == ("", "duplicates", "f1")
    assert [texts(find(splits, name)) for name in ("random", "random · strict")] == [["3", ""], ["", "0.250"]]
    assert shown["Pairs"].rows[0].head.text == "1" and texts(shown["Pairs"].rows[0]) == ["A", "yes", ""]
    assert texts(find(shown["Deep"], "er · and · deeper")) == ["7.500"]
    assert texts(shown["Many"].rows[0]) == ["1, 2", "3, 4"] and "Empty" not in shown


def test_benchmarks_and_audits(tmp_path: Path) -> None:
    asked = {"model": "org/base", "scores": "s.npy", "lam": 4.5, "data": "mine.jsonl"}
    reports.write_run(tmp_path / "judge", "evaluate judge", {"f1": 0.625}, config=asked, hashes={"weights": BASE})
    reports.write_run(tmp_path / "pope", "evaluate pope", {"f1": 0.5}, config={"model": "org/x"})
    audit, pair = Audit(11, 4, 6, 0.9125, "", 2, 1), Agreement(9, 5, 3, 1)
    found = {"audit": {"mine": audit.as_dict()}, "agreement": {"mine and yours": pair.as_dict()}}
    reports.write_run(tmp_path / "audit", "audit", found)
    text, _ = reported(tmp_path / "r.html", *(tmp_path / name for name in ("judge", "pope", "audit")))
    assert "run judge; org/base, gated by s.npy, λ = 4.5; on mine.jsonl" in text
    assert "run pope; answers from a file" in text
    assert ">0.625" in text and ">11" in text
    assert ">0.912" in text and ">0.545" in text and "mine and yours" in text


def test_the_command_that_repeats_a_run(tmp_path: Path) -> None:
    text, _ = reported(tmp_path / "r.html", reports.probe_run(tmp_path / "probe", reports.scores()))
    assert "Repeat it: <code>lens-truth probe</code>" in text


def test_patches_that_show_evidence_are_those_of_the_evidence_command() -> None:
    rng, made = np.random.default_rng(0), reports.picture()
    for _ in range(200):
        corner = rng.integers(0, 20, (9, 2))
        boxes = np.hstack([corner, corner + rng.integers(1, 12, (9, 2))]).astype(float)
        evidence = [(x, y, x + w, y + h) for x, y, w, h in rng.integers(1, 15, (2, 4)).astype(float).tolist()]
        its = {**made, "span": [1, 10], "boxes": boxes.tolist(), "evidence": [list(box) for box in evidence]}
        expected = [1 + at for at in tokens_showing(boxes, evidence)]
        assert showing(structured(ShownImage, its, "image")) == expected
