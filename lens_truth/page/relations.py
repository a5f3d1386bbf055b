"""Head scores against other measures of the same heads: correlations, top heads, scatters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lens_truth.io.numbers import interval, number, p_value, short, significant
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.page.blocks import Drawing
from lens_truth.page.fields import Fields
from lens_truth.page.heads import HeadMap, Matrix


@dataclass(frozen=True)
class Scatter:
    """Heads as points."""

    model: tuple[str, int, int]
    """Key of the model whose heads they are."""
    x_label: str
    y_label: str
    x: Matrix
    y: Matrix
    log: bool
    caption: str
    said: str
    """The correlation in words."""

    def drawing(self, id: str) -> Drawing:
        """Its place on the page."""
        return Drawing("scatter", id, self.caption, "", (self.said,))


def relation_table(caption: str, against: Fields, names: dict[str, str], note: str = "") -> Table:
    """Rows of `score`, `top` and `p_holm` (see `lens_truth.lineage.preservation`), one a measure.

    Args:
        names: what each measure is called; others keep their name.
    """
    rows: list[Row] = []
    n_top: int | None = None
    for measure, fields in against["score"].members().items():
        score = None if fields.value is None else fields
        difference = against["top"].maybe(measure, lambda its: its)
        p_score, p_top = _p_values(against, measure)
        cells = [""] * 3
        if score is not None:
            within, ends = score["pearson_within_layer"].number(), score["interval_within_layer"].interval()
            cells = [
                number(score["pearson"].number(), 2),
                f"{number(within, 2)} {interval(ends)}",
                interval(score["null_within_layer"].interval()),
            ]
        top = [""] * 2
        if difference is not None:
            n_top = difference["n_top"].whole()
            top = [short(difference[name].number(), plus=True) for name in ("difference", "difference_within_layer")]
        rows.append(row(names.get(measure, measure), *cells, _p_cell(p_score), *top, _p_cell(p_top)))
    best = f"top {n_top} − rest" if n_top is not None else "top − rest"
    header = ("", "r", "inside layers [95%]", "null inside", "p (Holm)", best, "inside layers", "p (Holm)")
    return table(caption, header, rows, note)


def _p_values(against: Fields, measure: str) -> tuple[float | None, float | None]:
    pair = against["p_holm"].maybe(measure, lambda its: its)
    if pair is None:
        return None, None
    score, top = (None if p.value is None else p.number() for p in pair.items(2))
    return score, top


def _p_cell(p: float | None) -> Cell:
    return Cell(p_value(p), strong=significant(p))


def relation_words(fields: Fields | None) -> str:
    """One correlation over heads, with its null."""
    if fields is None:
        return "no correlation is defined"
    r, within, p = (fields[name].number() for name in ("pearson", "pearson_within_layer", "p_value"))
    null = interval(fields["null_within_layer"].interval())
    return f"r {number(r, 2)}, inside layers {number(within, 2)} (null {null}, p = {p_value(p)})"


def find_map(maps: Sequence[HeadMap], run: str, title: str | None) -> HeadMap | None:
    """The map that stands under a title in a run's `head_scores`."""
    return next((one for one in maps if (run, title) in one.held), None)
