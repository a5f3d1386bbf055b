"""Score against what a head looks at, head by head (TruthProbe's claim about evidence)."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from lens_truth.plots.scatter import Panel, scatter
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.relations import Relations, relation_text


def evidence_scatter(
    scores: Mapping[str, HeadScores], measures: Mapping[str, HeadScores], relations: Mapping[str, Relations]
) -> Figure:
    """Each kind of score against each measure of attention; a line a kind, a panel a pair."""
    panels = [
        Panel(f"{kind} scores: {name}", its.values, {name: measured.values}, relation_text(relations[kind].score[name]))
        for kind, its in scores.items()
        for name, measured in measures.items()
    ]
    return scatter(panels, "head score", "what a head looks at, as each panel's title says", columns=len(measures))
