"""Ablations on the page: every number with its interval, controls under their gate, side effects, the search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reports
from report_pages import reported, viewed

from lens_truth.ablation.result import Ablation
from lens_truth.io.tables import Cell, Row, Table
from lens_truth.page.blocks import Details, Side, Text


def blocks(folder: Path, id: str) -> tuple[Any, ...]:
    return next(section for section in viewed(folder).sections if section.id == id).blocks


def tables(of: Any) -> Iterator[Table]:
    """All of them, also in folded parts."""
    for block in of:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details | Side):
            yield from tables(block.blocks)


def said(cell: Cell) -> str:
    return " | ".join((cell.text, *cell.more))


def texts(table: Table, head: str) -> list[str]:
    (row,) = (row for row in table.rows if row.head.text == head)
    return [cell.text for cell in row.cells]


def test_ablation_table(tmp_path: Path) -> None:
    table, captions = tables(blocks(reports.ablate_run(tmp_path), "ablation"))
    assert [(said(row.head), row.below) for row in table.rows] == [
        ("vanilla", False),
        ("causal, 2 negative", False),
        ("permuted (causal) ×5 | its values shuffled inside layers", True),
        ("uniform (causal) | every head its layer's mean", True),
        ("uniform (tuned) | every head 1.2", False),
        ("random ×3 | 1 + U(-1, 1)", False),
    ]
    assert [row.cells[0].text for row in table.rows][:3] == ["", "0.65 minmax", "0.65 minmax"]
    vanilla, causal, shuffled, means, _, random = (row.cells[1] for row in table.rows)
    assert vanilla.text == "0.600 [0.54, 0.65]"
    assert said(causal) == (
        "0.900 [0.84, 0.95] +0.300* | +0.300 [+0.25, +0.35] p\u00a00.001 | ✗ NOT beaten: the random gate, +0.300; "
        "1 of 3 trials as good | ✓ beaten: the tuned gain, +0.300 | ⚠ 12% unparsed"
    )
    assert causal.strong and causal.alarm and causal.bar is not None and table.rows[1].head.alarm
    assert (causal.bar.low, causal.bar.point, causal.bar.mark) == pytest.approx((0.84, 0.9, 0.6))
    assert shuffled.text == "0.600 ± 0.020 [0.54, 0.65] +0.000"
    assert shuffled.more[1] == "✓ beaten by its gate, +0.300 [+0.25, +0.35] p\u00a00.001"
    assert means.more[1] == "✗ NOT beaten by its gate, +0.020 [-0.03, +0.07] p\u00a00.4"
    assert len(random.more) == 1
    assert texts(captions, "permuted (causal) ×5") == ["0.440", "", "", ""]


def test_controls_of_a_gate_that_is_not_there_are_kept() -> None:
    rows = tuple(row for row in reports.ablation_rows() if row.gate != "causal")
    table = replace(reports.ablation(), rows=rows).tables()[0]
    assert len(table.rows) == len({row.arm for row in rows}) + 1
    assert table.texts()[-1] == ["causal", "none: validation wanted no gate", "", ""]
    assert all(isinstance(row, Row) and len(row.cells) == 3 for row in table.rows)


def test_a_benchmark_that_a_gate_was_not_asked_is_missing() -> None:
    found = reports.ablation()
    table = replace(found, rows=found.rows[:-1]).tables()[0]
    assert texts(table, "random ×3")[1:] == ["0.300 ± 0.020 [0.24, 0.35] -0.300", "missing"]


def test_side_effects(tmp_path: Path) -> None:
    (table,) = tables(blocks(reports.ablate_run(tmp_path), "side-effects"))
    assert table.header == ("gate", "KL, wikitext", "cross-entropy, wikitext", "words")
    assert texts(table, "causal, 2 negative") == ["0.0100", "3.000", "1.50"]


def test_the_search_shows_what_it_chose(tmp_path: Path) -> None:
    heading, words, folded = blocks(reports.ablate_run(tmp_path), "search")
    assert heading.text == "Choosing λ for org/base" and isinstance(words, Text) and isinstance(folded, Details)
    assert words.text.endswith("causal: λ = 0.2, minmax, 0.800; 0.625 without a gate.")
    assert list(tables([folded])) == reports.ablation().search_tables("org/base")


def test_what_a_script_saved_is_shown(tmp_path: Path) -> None:
    both = reports.ablation() | reports.ablation("org/child")
    both.save(tmp_path)
    assert Ablation.load(tmp_path) == both
    text, _ = reported(tmp_path / "r.html", tmp_path)
    assert "Accuracy of org/child under each gate" in text and all(sentence in text for sentence in both.verdicts())
