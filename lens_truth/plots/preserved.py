"""Score against weights kept, head by head."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from lens_truth.lineage_verdict import relation_text
from lens_truth.plots.scatter import Panel, scatter
from lens_truth.preservation import Preservation
from lens_truth.scores import HeadScores
from lens_truth.weights import WeightSimilarity


def preservation_scatter(
    base: str, scores: HeadScores, children: Mapping[str, tuple[WeightSimilarity, Preservation]]
) -> Figure:
    """The base's scores against the cosines of the OV and QK circuits; a panel a child."""
    panels = [
        Panel(
            name,
            scores.values,
            {"OV": kept.ov, "QK": kept.qk},
            f"OV: {relation_text(related.score['ov'])}\nQK: {relation_text(related.score['qk'])}",
        )
        for name, (kept, related) in children.items()
    ]
    return scatter(panels, f"{scores.kind} score in {base}", f"cosine of the circuit with that in {base}")
