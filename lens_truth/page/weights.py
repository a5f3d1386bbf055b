"""What a descendant keeps of each head's weights (`weights`, and `inherit` where it compared models)."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.io.results import none_for_nan
from lens_truth.lineage.kept import CIRCUITS, Preservation, WeightSimilarity, circuits_table, means_table
from lens_truth.page.blocks import Block, Details, Heading, Text
from lens_truth.page.heads import HeadMap
from lens_truth.page.reading import RunRecord
from lens_truth.page.relations import Scatter
from lens_truth.stats.relations import relation_text


def weights_blocks(run: RunRecord, maps: Sequence[HeadMap]) -> tuple[list[Block], list[Scatter]]:
    """Means, relations with the scores, and scatters of score against circuits (which are placed by the caller)."""
    notes: list[Block] = [Text(note) for note in run.sentences("notes")]
    kept = {name: WeightSimilarity.of_record(run.record, name) for name in run.named("weight_similarity")}
    related = {name: Preservation.of_record(run.record, name) for name in run.named("preservation")}
    if not kept:  # a script may have saved the relations alone
        return [*notes, *(table for its in related.values() for table in its.tables())], []
    base = next(iter(kept.values())).base
    title = Heading(f"Weights of {base}, and what is kept of them", 3, f"run {run.name}")
    blocks: list[Block] = [title, means_table(list(kept.values())), *notes]
    tables = {name: its.kept_table(f"Score in {base} against what {name} kept") for name, its in related.items()}
    if run.kind == "inherit":
        both = {name: (its, related[name]) for name, its in kept.items() if name in related}
        details = Details("Every measure of each model", tuple(tables.values()))
        return [*blocks, circuits_table(base, both), details], []
    scatters: list[Scatter] = []
    for name, its in kept.items():
        if name not in related:
            blocks.append(Text(f"missing: {name} was not related to scores, since the run had none", missing=True))
            continue
        blocks.append(tables[name])
        if (change := related[name].score_change) is not None:
            blocks.append(Text(f"Change of score against change of weights: {relation_text(change)}."))
        drawn = _scatters(run, maps, its, related[name])
        if not drawn:
            blocks.append(Text(f"missing: no scatter: nothing says which map here is that of {base}", missing=True))
        scatters += drawn
    return blocks, scatters


def _scatters(run: RunRecord, maps: Sequence[HeadMap], kept: WeightSimilarity, related: Preservation) -> list[Scatter]:
    scored = [one for one in maps if run.name in one.runs]
    score = next((one for one in scored if one.model == kept.base), scored[0] if len(scored) == 1 else None)
    if score is None:
        return []
    return [
        Scatter(
            model=score.key,
            x_label=f"{score.kind} score in {kept.base}",
            y_label=f"{circuit.upper()} cosine with {kept.child}",
            x=score.values,
            y=none_for_nan(kept.maps()[circuit]),
            log=False,
            caption=f"{score.kind.capitalize()} score against the {circuit.upper()} circuit kept by {kept.child}",
            said=relation_text(related.score.get(circuit)),
        )
        for circuit in CIRCUITS
    ]
