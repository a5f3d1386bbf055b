"""Evidence: what heads with high scores look at (`evidence`)."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.attention.evidence import MAIN, EvidenceSummary
from lens_truth.io.numbers import count
from lens_truth.io.readers import is_object
from lens_truth.page.blocks import Block, Heading, Sentences, Text
from lens_truth.page.heads import HeadMap
from lens_truth.page.reading import RunRecord
from lens_truth.page.relations import Scatter, find_map
from lens_truth.stats.relations import Relations, relation_text


def evidence_blocks(run: RunRecord, maps: Sequence[HeadMap]) -> tuple[list[Block], list[Scatter]]:
    """Relations of all scores with what heads attend to, and scatters (which are placed by the caller)."""
    looked = EvidenceSummary.of_record(run.record)
    data = run.record.results.get("data")
    said = f"{count(len(looked.ids), 'example')}{f' of {data}' if isinstance(data, str) else ''}"
    about = f"run {run.name}; {said} in {count(len(set(looked.groups)), 'group')}"
    blocks: list[Block] = [Heading(f"What the heads of {looked.provenance.get('model')} attend to", 3, about)]
    if verdicts := run.sentences("verdicts"):
        blocks.append(Sentences(verdicts))
    blocks += looked.tables()
    names = run.named("relations")
    if not names:
        blocks.append(Text("missing: the run had no scores to relate attention to (`--scores`)", missing=True))
    scatters: list[Scatter] = []
    lift = find_map(maps, run.name, _title(run, "measure_maps", MAIN))
    for name in names:
        related = Relations.of_record(run.record, name)
        score = find_map(maps, run.name, title := _title(run, "score_maps", name))
        note = "" if score is None else f"Scores: {title}."
        blocks.append(related.table(f"{_capital(name)} score of a head against what it attends to", note=note))
        if score is None or lift is None or score.shape != lift.shape:
            lost = " and ".join(f"'{what}'" for what, one in ((name, score), (MAIN, lift)) if one is None)
            why = f"nothing says which maps here are {lost}" if lost else "their maps have different shapes"
            blocks.append(Text(f"missing: no scatter of {name} scores against {MAIN}: {why}", missing=True))
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
                said=relation_text(related.score.get(MAIN)),
            )
        )
    return blocks, scatters


def _title(run: RunRecord, members: str, name: str) -> str | None:
    """What `head_scores` calls the map of this name; None where the run does not say."""
    titles = run.record.results.get(members)
    title = titles.get(name) if is_object(titles) else None
    return title if isinstance(title, str) else None


def _capital(name: str) -> str:
    """File names in it stay as they are."""
    return name[:1].upper() + name[1:]
