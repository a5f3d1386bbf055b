"""What a descendant keeps of each head's weights (`weights`, and `inherit` where it compared models)."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.io.numbers import number
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.page.blocks import Block, Details, Heading, Text
from lens_truth.page.fields import Fields
from lens_truth.page.heads import HeadMap
from lens_truth.page.reading import RunRecord
from lens_truth.page.relations import Scatter, relation_table, relation_words

MEASURES = {
    "q": "cosine of W_Q",
    "k": "cosine of W_K",
    "v": "cosine of W_V",
    "o": "cosine of W_O",
    "qk": "cosine of the QK circuit",
    "ov": "cosine of the OV circuit",
    "change": "relative change",
}
_CIRCUITS = ("ov", "qk")
_ROLES = ("child", "unrelated")


def weights_blocks(run: RunRecord, maps: Sequence[HeadMap]) -> tuple[list[Block], list[Scatter]]:
    """Means, relations with the scores, and scatters of score against circuits (which are placed by the caller)."""
    results = run.results
    base = results["base"].text()
    sides = [results[role] for role in _ROLES if role in results]
    names = [side["name"].text() for side in sides]
    blocks: list[Block] = [Heading(f"What {names[0]} keeps of {base}", 3, f"run {run.name}"), _means(sides, names)]
    blocks += [Text(note) for note in results["notes"].texts()]
    scatters: list[Scatter] = []
    for side, name in zip(sides, names, strict=True):
        related = side.maybe("preservation", lambda its: its)
        if related is None:
            blocks.append(Text(f"missing: {name} was not related to scores, since the run had none", missing=True))
            continue
        of = "" if name == names[0] else " (unrelated, for comparison)"
        blocks.append(relation_table(f"Score in {base} against what {name} kept{of}", related, MEASURES))
        if (change := related.maybe("score_change", lambda its: its)) is not None:
            blocks.append(Text(f"Change of score against change of weights: {relation_words(change)}."))
        drawn = _scatters(run, maps, base, name, side, related)
        if not drawn:
            blocks.append(Text(f"missing: no scatter: nothing says which map here is that of {base}", missing=True))
        scatters += drawn
    return blocks, scatters


def _means(sides: Sequence[Fields], names: Sequence[str]) -> Table:
    rows = [
        row(title, *(number(side["mean"].maybe(measure, Fields.number), 4) for side in sides))
        for measure, title in MEASURES.items()
    ]
    header = ("mean over heads", names[0], *(f"{name} (unrelated)" for name in names[1:]))
    return table("Mean over heads", header, rows)


def _scatters(
    run: RunRecord, maps: Sequence[HeadMap], base: str, name: str, side: Fields, related: Fields
) -> list[Scatter]:
    scored = [one for one in maps if run.name in one.runs]
    score = next((one for one in scored if one.model == base), scored[0] if len(scored) == 1 else None)
    if score is None:
        return []
    return [
        Scatter(
            model=score.key,
            x_label=f"{score.kind} score in {base}",
            y_label=f"{circuit.upper()} cosine with {name}",
            x=score.values,
            y=side["heads"][circuit].matrix(),
            log=False,
            caption=f"{score.kind.capitalize()} score against the {circuit.upper()} circuit kept by {name}",
            said=relation_words(related["score"].maybe(circuit, lambda its: its)),
        )
        for circuit in _CIRCUITS
    ]


def inherited_weights(run: RunRecord) -> list[Block]:
    """What `inherit` found on the weights of its models."""
    compared = run.results.maybe("weights", Fields.members) or {}
    skipped = run.results.maybe("weights_skipped", Fields.members) or {}
    reference = run.results["reference"].text()
    if not compared and not skipped:
        return []
    blocks: list[Block] = [Heading(f"What the models keep of {reference}", 3, f"run {run.name}")]
    if compared:
        blocks.append(_summary(compared, reference))
        tables = [
            relation_table(f"Score in {reference} against what {name} kept", its, MEASURES)
            for name, its in compared.items()
        ]
        blocks.append(Details("Every measure of each model", tuple(tables)))
    blocks += [Text(f"{name}: not compared: {why.text()}") for name, why in skipped.items()]
    return blocks


def _summary(compared: dict[str, Fields], reference: str) -> Table:
    rows: list[Row] = []
    for name, its in compared.items():
        means = (number(its["mean"].maybe(circuit, Fields.number)) for circuit in _CIRCUITS)
        said = (relation_words(its["score"].maybe(circuit, lambda relation: relation)) for circuit in _CIRCUITS)
        rows.append(row(name, *(Cell(mean, more=(words,)) for mean, words in zip(means, said, strict=True))))
    header = ("model", "mean OV cosine", "mean QK cosine")
    note = f"Below each mean: the correlation over heads of the score in {reference} with the cosine."
    return table(f"Circuits kept, and whether heads with high scores in {reference} keep more", header, rows, note)
