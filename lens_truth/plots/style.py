"""What all figures share: colours, ticks, and how they are saved."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lens_truth.files import write_with

BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#9A9A9A", "#B2182B"


def head_ticks(axes: Axes, n_layers: int, n_heads: int, at_most: int = 16) -> None:
    """Ticks of a map with layers down and heads across, few enough to be read."""
    axes.set_xticks(range(0, n_heads, -(-n_heads // at_most)))
    axes.set_yticks(range(0, n_layers, -(-n_layers // at_most)))


def grid_of(n: int) -> tuple[int, int]:
    """Lines and columns for n panels."""
    columns = min(4, math.ceil(math.sqrt(n)))
    return math.ceil(n / columns), columns


def plain(text: str) -> str:
    """Text in which a dollar is a dollar, not the beginning of a formula."""
    return text.replace("$", r"\$")


def wrapped(text: str, width: int) -> str:
    """Plain text in lines that fit; long names are broken anywhere."""
    return "\n".join(fill(plain(line), width) for line in text.splitlines())


def warn(figure: Figure, warning: str) -> None:
    """In red over the figure, so that the picture cannot travel without it."""
    figure.suptitle(warning, color=RED, fontsize=8, wrap=True)


def save(figure: Figure, path: Path) -> None:
    """As PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    # No creation date or software version inside: the same numbers give the same bytes.
    write_with(path, lambda temporary: figure.savefig(temporary, dpi=150, metadata={"Software": None}))
