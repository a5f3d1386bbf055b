"""Lineages: how well the scores of every two models agree (`inherit`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from lens_truth.io.numbers import count, interval, number, p_value, significant
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.page.blocks import Block, Details, Heading, Sentences, Side, Text
from lens_truth.page.fields import Fields, Interval
from lens_truth.page.reading import RunRecord


@dataclass(frozen=True)
class _Pair:
    """Two models compared."""

    names: tuple[str, str]
    pearson: float | None
    interval: Interval | None
    spearman: float | None
    within: float | None
    interval_within: Interval | None
    spearman_within: float | None
    null_within: Interval | None
    p: float | None
    over_ceiling: float | None


def lineage_blocks(run: RunRecord) -> list[Block]:
    """The matrices of each kind of scores, what they say, and every pair in numbers."""
    results = run.results
    others = [kind for kind, value in results.members().items() if "pearson" in value and "verdicts" in value]
    blocks: list[Block] = []
    for comparison in (results, *(results[kind] for kind in others)):
        blocks += _comparison(run, comparison)
    if others_related := results.maybe("truth_causal", Fields.members):
        blocks += _truth_and_causal(others_related)
    return blocks


def _comparison(run: RunRecord, fields: Fields) -> list[Block]:
    names = fields["names"].texts()
    pairs = _pairs(fields, names)
    kind = fields["kind"].text()
    layers, heads = (side.whole() for side in fields["shape"].items(2))
    title = Heading(
        f"{kind.capitalize()} scores of {count(len(names), 'model')}",
        3,
        f"run {run.name}; {layers} layers × {heads} heads",
    )
    blocks: list[Block] = [title, Sentences(tuple(fields["verdicts"].texts()))]
    blocks.append(
        Side((_matrix("Pearson r over heads", names, pairs, False), _matrix("inside layers", names, pairs, True)))
    )
    blocks.append(
        Text(
            "Inside layers: each layer's mean removed from both maps, so that heads are compared and not depth. Bold: "
            "above what shuffling heads inside layers gives (p < .05, Holm over all pairs). Point at a cell for its "
            "interval and null."
        )
    )
    blocks.append(
        Details(f"All {count(len(names) * (len(names) - 1) // 2, 'pair')} in numbers", (_numbers(pairs, names),))
    )
    return blocks


def _pairs(fields: Fields, names: Sequence[str]) -> dict[tuple[int, int], _Pair]:
    def numbers(name: str) -> list[list[float | None]]:
        lines = fields[name].matrix()
        if (len(lines), len(lines[0])) != (len(names), len(names)):
            raise fields[name].wrong(f"is not a matrix of {len(names)} models")
        return lines

    pearson, spearman, p = numbers("pearson"), numbers("spearman"), numbers("p_permutation")
    within, spearman_within = numbers("pearson_within_layer"), numbers("spearman_within_layer")
    clean, over = numbers("disattenuated_within_layer"), numbers("pearson_within_layer_over_ceiling")
    return {
        (i, j): _Pair(
            (names[i], names[j]),
            pearson[i][j],
            fields["interval"][i][j].maybe_interval(),
            spearman[i][j],
            within[i][j],
            fields["interval_within_layer"][i][j].maybe_interval(),
            spearman_within[i][j],
            fields["null_within_layer"][i][j].maybe_interval(),
            p[i][j],
            over[i][j] if clean[i][j] is None else clean[i][j],
        )
        for i in range(len(names))
        for j in range(len(names))
    }


def _matrix(caption: str, names: Sequence[str], pairs: dict[tuple[int, int], _Pair], inside: bool) -> Table:
    def cell(i: int, j: int) -> Cell:
        pair = pairs[i, j]
        if i == j:
            return Cell("·", tip=f"{names[i]} with itself")
        r, ends = (pair.within, pair.interval_within) if inside else (pair.pearson, pair.interval)
        tip = f"{pair.names[0]} – {pair.names[1]}: {'r inside layers' if inside else 'r'} {number(r)} {interval(ends)}"
        if inside:
            tip += f"; null {interval(pair.null_within)}"
        tip += f"; p (Holm) {p_value(pair.p)}"
        return Cell(number(r, 2), tint=r, tip=tip, strong=significant(pair.p))

    n = len(names)
    rows = tuple(Row(Cell(names[i]), tuple(cell(i, j) for j in range(n))) for i in range(n))
    return Table(caption, ("", *names), rows, form="matrix")


def _numbers(pairs: dict[tuple[int, int], _Pair], names: Sequence[str]) -> Table:
    rows: list[Row] = []
    for i, j in combinations(range(len(names)), 2):
        pair = pairs[i, j]
        rows.append(
            row(
                f"{pair.names[0]} – {pair.names[1]}",
                f"{number(pair.pearson)} {interval(pair.interval)}",
                number(pair.spearman),
                f"{number(pair.within)} {interval(pair.interval_within)}",
                number(pair.spearman_within),
                interval(pair.null_within),
                Cell(p_value(pair.p), strong=significant(pair.p)),
                number(pair.over_ceiling, 2),
            )
        )
    header = (
        "pair",
        "r [95%]",
        "Spearman",
        "inside layers [95%]",
        "Spearman inside",
        "null inside",
        "p (Holm)",
        "r / ceiling",
    )
    note = "Ceiling: what noise would leave of r = 1, inside layers."
    return table("Every pair", header, rows, note)


def _truth_and_causal(related: dict[str, Fields]) -> list[Block]:
    """Do heads that know also act?"""
    rows: list[Row] = []
    for name, fields in related.items():
        plain, ranked = (fields.maybe(part, lambda relation: relation) for part in ("values", "ranks_within_layers"))
        rows.append(
            row(
                name,
                number(plain["pearson"].number(), 2) if plain else "",
                number(ranked["pearson_within_layer"].number(), 2) if ranked else "",
                interval(ranked["null_within_layer"].interval()) if ranked else "",
                p_value(fields.maybe("p_holm", Fields.number)),
            )
        )
    note = "Ranks inside layers: each layer counts alike, however far its causal scores spread."
    header = ("model", "r", "ranks inside layers", "null", "p (Holm)")
    caption = "Truth against causal scores, over the heads of each model"
    return [Heading("Do heads that know also act?", 3), table(caption, header, rows, note)]
