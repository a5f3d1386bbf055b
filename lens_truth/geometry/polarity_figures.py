"""Truth directions over kinds of statements, as a map of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lens_truth.plots import style

if TYPE_CHECKING:
    from lens_truth.geometry.polarity_result import Polarity


@style.in_house_style
def polarity_map(found: Polarity) -> Figure:
    """AUROC of every method (down) on every set (across), the bag of words among them; .5 is white."""
    values: list[list[float]] = []
    names: list[str] = []
    for t, kind in enumerate(found.kinds):
        for i, its in enumerate(found.trained_on):
            if its == kind:
                values.append(found.auroc[i].tolist())
                names.append(f"{found.methods[i]} ({kind})")
        if not np.isnan(found.surface[t]).all():
            values.append(found.surface[t].tolist())
            names.append(f"bag of words ({kind})")
    R, M = len(values), len(found.names)
    labels = [style.fitted(name, 1.7, style.SMALL) for name in found.names]
    lines = max(label.count("\n") + 1 for label in labels)
    cell = 0.4 + 0.16 * lines  # slanted names of several lines need room side by side
    figure = style.new_figure(3.4 + cell * M, 1.9 + 0.26 * R)
    axes = figure.subplots()
    shown = style.cells(axes, np.array(values), cmap="RdBu", vmin=0, vmax=1)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            ink = "white" if abs(value - 0.5) > 0.33 else style.INK
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=style.SMALL, color=ink)
    axes.set_yticks(range(R), [style.fitted(name, 2.2, style.SMALL) for name in names])
    axes.set_xticks(range(M), labels, rotation=45, ha="right", rotation_mode="anchor")
    style.colour_bar(figure, shown, axes, "AUROC")
    title = f"Truth directions of {found.model or 'a model'} over kinds of statements"
    axes.set_title(style.fitted(title, 1.8 + cell * M, style.LARGE))
    return figure
