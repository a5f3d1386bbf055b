"""How `ablate` tells what it found: table.md, figures, scores, what goes into result.json, and the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import lens_truth
from lens_truth.commands.run import LOG, Run
from lens_truth.io.tables import Table, markdown

if TYPE_CHECKING:
    from lens_truth.ablation.arms import Source


def tell(run: Run, ablation: lens_truth.Ablation, source: str, scores: Mapping[str, Source]) -> None:
    """Writes and prints it.

    Args:
        source: the model whose scores gate all of them.
        scores: scores and probes by the names of their files.
    """
    from lens_truth.ablation import tables
    from lens_truth.scoring.surface import warning_of

    gates = _named(tables.legend_of(ablation.rows), "##", ablation.gate_tables())
    readings = tables.reading_tables(ablation.rows)
    captions = tables.caption_tables(ablation.rows)
    words = "".join(f"- {sentence}\n" for sentence in ablation.verdicts())
    effects = _named(tables.SIDE_EFFECT_LEGEND, "###", tables.side_effect_tables(ablation.side_effects, ablation.rows))
    parts = [f"# Ablation: scores from {source}\n\n{gates}", f"## In words\n\n{words}"]
    if readings:
        parts.append(f"## Readings\n\n{_named(tables.READING_LEGEND, '###', readings)}")
    if captions:
        parts.append(f"## Captions\n\n{_named(tables.CAPTION_LEGEND, '###', captions)}")
    run.text("table.md", "\n".join([*parts, f"## Side effects\n\n{effects}"]))
    scored = {name: its for name, its in scores.items() if isinstance(its, lens_truth.HeadScores)}
    doubts = [f"{name}: {said}" for name, its in scored.items() if (said := warning_of(its))]
    run.figure("ablation.png", ablation.plot(warning="\n".join(doubts)))
    run.figure("search.png", ablation.plot("search"))
    if any(row.gate == "random" for row in ablation.rows):
        run.figure("random_gate.png", ablation.plot("random gate"))
    run.wrote(LOG)
    for name, made in scores.items():
        if not isinstance(made, lens_truth.TruthDirections):  # whose probes are those of iti
            made.save(run.wrote(f"{name}.safetensors"))
    run.hold(ablation)
    run.results |= {"scores_from": source, "verdicts": ablation.verdicts()}
    run.warnings += [*doubts, *ablation.warnings()]
    print("\n" + gates)
    if readings:
        print(_named(tables.READING_LEGEND, "###", readings))
    if captions:
        print(_named(tables.CAPTION_LEGEND, "###", captions))
    print("In words:\n" + words.rstrip("\n"))


def _named(legend: str, level: str, by_name: Mapping[str, Table]) -> str:
    """Tables in Markdown, each under its name."""
    return "\n\n".join([legend, *(f"{level} {name}\n\n{markdown(table)}" for name, table in by_name.items())]) + "\n"
