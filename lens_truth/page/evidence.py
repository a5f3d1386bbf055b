"""Evidence: what heads with high scores look at (`evidence`)."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.io.numbers import count, short
from lens_truth.io.readers import is_object
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.page.blocks import Block, Heading, Sentences, Text
from lens_truth.page.fields import Fields
from lens_truth.page.heads import MEANING, HeadMap
from lens_truth.page.reading import RunRecord
from lens_truth.page.relations import Scatter, find_map
from lens_truth.stats.relations import Relations, relation_text

_LIFT = "evidence"
"""The measure that is drawn against all scores."""


def evidence_blocks(run: RunRecord, maps: Sequence[HeadMap]) -> tuple[list[Block], list[Scatter]]:
    """Relations of all scores with what heads attend to, and scatters (which are placed by the caller)."""
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
    lift = find_map(maps, run.name, _title(results, "measure_maps", _LIFT))
    for name in related:
        against = Relations.of_record(run.record, name)
        score = find_map(maps, run.name, title := _title(results, "score_maps", name))
        note = "" if score is None else f"Scores: {title}."
        caption = f"{_capital(name)} score of a head against what it attends to"
        blocks.append(against.table(caption, note=note))
        if score is None or lift is None or score.shape != lift.shape:
            lost = " and ".join(f"'{what}'" for what, one in ((name, score), (_LIFT, lift)) if one is None)
            why = f"nothing says which maps here are {lost}" if lost else "their maps have different shapes"
            blocks.append(Text(f"missing: no scatter of {name} scores against {_LIFT}: {why}", missing=True))
            continue
        everywhere = [value for line in lift.values for value in line if value is not None]
        scatters.append(
            Scatter(
                model=lift.key,
                x_label=f"{name} score",
                y_label="attention to the evidence, times chance",
                x=score.values,
                y=lift.values,
                log=bool(everywhere) and min(everywhere) > 0 and max(everywhere) > 10 * min(everywhere),
                caption=f"{_capital(name)} score against attention to the evidence",
                said=relation_text(against.score.get(_LIFT)),
            )
        )
    return blocks, scatters


def _title(results: Fields, members: str, name: str) -> str | None:
    """What `head_scores` calls the map of this name; None where the run does not say."""
    titles = results.value.get(members)
    title = titles.get(name) if is_object(titles) else None
    return title if isinstance(title, str) else None


def _capital(name: str) -> str:
    """File names in it stay as they are."""
    return name[:1].upper() + name[1:]


def _means(results: Fields) -> Table:
    """Every measure, its mean, and how many examples define it."""
    counts = results.maybe("n_examples", Fields.members) or {}
    rows: list[Row] = []
    for measure, mean in (results.maybe("mean", Fields.members) or {}).items():
        n = str(counts[measure].whole()) if measure in counts else ""
        head = Cell(measure, more=(MEANING[measure],) if measure in MEANING else ())
        rows.append(row(head, short(mean.number()), n))
    return table("What was measured", ("", "mean over heads", "examples"), rows)
