"""The house style: what all figures share, and how they are saved."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import wraps
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any, ParamSpec

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.style import context
from matplotlib.textpath import text_to_path

from lens_truth.errors import InputError
from lens_truth.files import write_with

# Colours that colour-blind readers can tell apart (Okabe and Ito 2008), a dark red and two greys.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
RED, GREY, INK = "#B2182B", "#9A9A9A", "#222222"

SMALL, MEDIUM, LARGE = 7.5, 8.5, 9.5
"""Points: numbers and notes; names and labels; titles."""

DEPTH = ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, 256)), "depth")
"""Of layers: viridis without its last yellows, which vanish on white."""

_FONT = "DejaVu Sans"  # matplotlib brings it, so that figures are alike everywhere
_STYLE: dict[str, Any] = {
    "font.family": _FONT,
    "font.size": MEDIUM,
    "axes.titlesize": LARGE,
    "axes.labelsize": MEDIUM,
    "figure.labelsize": MEDIUM,
    "figure.titlesize": MEDIUM,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    **{f"{axis}tick.color": INK for axis in "xy"},
    **{f"{axis}tick.labelsize": SMALL for axis in "xy"},
    **{f"{axis}tick.major.width": 0.7 for axis in "xy"},
    **{f"{axis}tick.major.size": 3 for axis in "xy"},
    "savefig.dpi": 150,
    "pdf.fonttype": 42,  # text that can be searched and edited
}

P = ParamSpec("P")


class NotebookFigure(Figure):
    """A figure that notebooks show by themselves, without pyplot."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        with _house_style():
            self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def in_house_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """For a function that draws a figure: the figure is drawn and laid out in the house style, whatever the caller's
    own is."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _house_style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # makes the ticks, which else take the style of whoever shows the figure
            figure.set_layout_engine("none")  # as found now, in every format
        return figure

    return styled


def _house_style() -> Any:
    return context(["default", _STYLE])


def save(figure: Figure, path: str | Path) -> None:
    """Writes a PNG and, beside it, the same as a PDF of vectors, each whole or not at all. The same figure gives the
    same bytes.

    Raises:
        InputError: if the name does not end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise InputError(f"{path}: figures are saved as .png, with a .pdf beside it")
    # No dates and versions inside, which would change the bytes.
    undated = {".png": {"Software": None}, ".pdf": dict.fromkeys(("CreationDate", "Creator", "Producer"))}
    with _house_style():
        for suffix, metadata in undated.items():
            write_with(path.with_suffix(suffix), lambda temporary, m=metadata: figure.savefig(temporary, metadata=m))


def panel_grid(figure: Figure, n: int) -> list[Axes]:
    """n panels, at most four in a line."""
    grid = list(figure.subplots(*grid_of(n), squeeze=False).flat)
    for axes in grid[n:]:
        axes.set_visible(False)
    return grid[:n]


def grid_of(n: int) -> tuple[int, int]:
    """Lines and columns of n panels."""
    columns = min(4, math.ceil(math.sqrt(n)))
    return math.ceil(n / columns), columns


def cells(axes: Axes, values: Float[np.ndarray, "rows columns"], **colours: Any) -> QuadMesh:
    """A map of numbers in colours, its first row on top; grey where there is no number."""
    rows, columns = values.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    # An edge in the colour of its cell, or PDF viewers let the ground shine through between cells.
    mesh = axes.pcolormesh(*edges, values, edgecolors="face", linewidth=0.3, **colours)
    axes.set_facecolor("#CCCCCC")
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    return mesh


def colour_bar(figure: Figure, shown: ScalarMappable, of: Axes | Iterable[Axes], label: str = "", **more: Any) -> None:
    """The scale of the colours of one panel or several."""
    one = isinstance(of, Axes)
    room: dict[str, Any] = {"pad": 0.02} if one else {"fraction": 0.03, "aspect": 30}
    bar = figure.colorbar(shown, ax=of if one else list(of), label=label, **room, **more)
    bar.ax.spines[:].set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")


def head_ticks(axes: Axes, n_layers: int, n_heads: int, at_most: int = 16) -> None:
    """Ticks of a map with layers down and heads across, few enough to be read."""
    axes.set_xticks(range(0, n_heads, -(-n_heads // at_most)))
    axes.set_yticks(range(0, n_layers, -(-n_layers // at_most)))


def warn(figure: Figure, warning: str) -> None:
    """In red over the figure, so that the picture cannot travel without it."""
    figure.suptitle(fitted(warning, figure.get_figwidth() - 0.4, MEDIUM), color=RED)


def plain(text: str) -> str:
    """Text in which a dollar is a dollar, not the beginning of a formula."""
    return text.replace("$", r"\$")


def fitted(text: str, inches: float, size: float) -> str:
    """Plain text in lines of at most so many inches; what is too long for a line is broken anywhere."""
    return "\n".join(plain(line) for given in text.splitlines() for line in _lines(given, inches, size))


def text_width(text: str, size: float) -> float:
    """Inches that the longest line of a text takes."""
    font = FontProperties(family=_FONT, size=size)
    points = [text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.splitlines()]
    return max(points, default=0.0) / 72


def _lines(text: str, inches: float, size: float) -> list[str]:
    def too_wide(characters: int) -> bool:
        return text_width("\n".join(wrap(text, characters)), size) > inches

    if not text or not too_wide(len(text)):
        return [text]
    return wrap(text, max(bisect_left(range(1, len(text)), True, key=too_wide), 1))
