"""Evidence: what heads with high scores look at (`evidence`)."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.report.blocks import Block, Cell, Heading, Sentences, Table, Text, row, table
from lens_truth.report.fields import Fields
from lens_truth.report.heads import MEANING, HeadMap
from lens_truth.report.numbers import NONE, count, short
from lens_truth.report.reading import RunRecord
from lens_truth.report.relations import Scatter, find_map, relation_table, relation_words

_LIFT = "evidence"
"""The measure that is drawn against every kind of scores."""


def evidence_blocks(run: RunRecord, maps: Sequence[HeadMap]) -> tuple[list[Block], list[Scatter]]:
    """Relations of each kind of scores with what heads attend to, and scatters (which are placed by the caller)."""
    results = run.results
    model, data = results["model"].text(), results["data"].text()
    n, groups = results["n"].whole(), results.maybe("n_groups", Fields.whole)
    said = f"{count(n, 'example')} of {data}" + (f" in {count(groups, 'group')}" if groups is not None else "")
    blocks: list[Block] = [Heading(f"What the heads of {model} attend to", 3, f"run {run.name}; {said}")]
    if (verdicts := results.maybe("verdicts", Fields.texts)) is not None:
        blocks.append(Sentences(tuple(verdicts)))
    blocks.append(_means(results))
    related = results["relations"].members()
    if not related:
        blocks.append(Text("missing: the run had no scores to relate attention to (`--scores`)", missing=True))
    scatters: list[Scatter] = []
    for kind, against in related.items():
        blocks.append(relation_table(f"{kind.capitalize()} score of a head against what it attends to", against, {}))
        score, lift = find_map(maps, run.name, kind), find_map(maps, run.name, _LIFT)
        if score is None or lift is None or score.shape != lift.shape:
            blocks.append(Text(f"missing: the run holds no maps of {kind} scores and evidence to draw", missing=True))
            continue
        everywhere = [value for line in lift.values for value in line if value is not None]
        scatters.append(
            Scatter(
                model=lift.key,
                x_label=f"{kind} score",
                y_label="attention to the evidence, times chance",
                x=score.values,
                y=lift.values,
                log=bool(everywhere) and min(everywhere) > 0 and max(everywhere) > 10 * min(everywhere),
                caption=f"{kind.capitalize()} score against attention to the evidence",
                said=relation_words(against["score"].maybe(_LIFT, lambda its: its)),
            )
        )
    return blocks, scatters


def _means(results: Fields) -> Table:
    """Every measure, its mean, and how many examples define it."""
    counts = results.maybe("n_examples", Fields.members) or {}
    rows = []
    for measure, mean in (results.maybe("mean", Fields.members) or {}).items():
        n = str(counts[measure].whole()) if measure in counts else NONE
        head = Cell(measure, more=(MEANING[measure],) if measure in MEANING else ())
        rows.append(row(head, short(mean.number()), n))
    return table("What was measured", ("", "mean over heads", "examples"), rows)
