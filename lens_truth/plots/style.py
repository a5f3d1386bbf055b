"""The house style: what all figures share, and how they are saved."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache, wraps
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps, font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.style import context

from lens_truth.errors import InputError
from lens_truth.io.files import write_bytes
from lens_truth.io.stages import stage

# Colours that colour-blind readers can tell apart (Okabe and Ito 2008), a dark red and two greys.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"
RED, GREY, INK = "#B2182B", "#9A9A9A", "#222222"

SMALL, MEDIUM, LARGE = 7.5, 8.5, 9.5
"""Points: numbers and notes; names and labels; titles."""

DEPTH = ListedColormap(colormaps["viridis"](np.linspace(0, 0.92, 256)), "depth")
"""Of layers: viridis without its last yellows, which vanish on white."""

_BREAKS = re.compile(r"(?<=\s)(?=\S)|(?<=[\w-][-_/])(?=[^\W\d_])")
"""Where a line may end: after a space, and inside names of models and files, but not before a number."""

_FONT = "DejaVu Sans"  # matplotlib brings it, so that figures are alike everywhere
_STYLE: dict[str, Any] = {
    "font.family": _FONT,
    "axes.titlesize": LARGE,
    **dict.fromkeys(("font.size", "axes.labelsize", "figure.labelsize", "figure.titlesize"), MEDIUM),
    **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), SMALL),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("legend.frameon", "axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.7),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 3),
    "text.hinting": "none",  # else text is wider in some resolutions than in others, and the layout fits one of them
    "savefig.dpi": 150,
    "pdf.fonttype": 42,  # text that can be searched and edited
}

P = ParamSpec("P")


class NotebookFigure(Figure):
    """A figure that notebooks show by themselves, without pyplot."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        with house_style():
            self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which notebooks show: `axes = new_figure(4, 3).subplots()`."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def in_house_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """For a function that draws a figure: it is drawn and laid out in the house style, whatever the caller's own is.

    >>> curve = in_house_style(draw_curve)
    """

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with stage("figures"), house_style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # makes the ticks, which else take the style of whoever shows the figure
            figure.set_layout_engine(None)  # as found now, in every format
        return figure

    return styled


def house_style() -> AbstractContextManager[None]:
    """While it lasts, matplotlib draws in the house style."""
    return context(["default", _STYLE])


@stage("figures")
def save(figure: Figure, path: str | Path) -> None:
    """Writes a PNG and, beside it, the same as a PDF of vectors, each whole or not at all. The same figure gives the
    same bytes.

    >>> save(scores.plot(), "heads.png")

    Raises:
        InputError: if the name does not end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise InputError(f"{path}: figures are saved as .png, with a .pdf beside it")
    # No dates and versions inside, which would change the bytes.
    undated = {".png": {"Software": None}, ".pdf": dict.fromkeys(("CreationDate", "Creator", "Producer"))}
    with house_style():
        for suffix, metadata in undated.items():
            picture = BytesIO()
            figure.savefig(picture, format=suffix[1:], metadata=metadata)
            write_bytes(path.with_suffix(suffix), picture.getvalue())


def panel_grid(figure: Figure, n: int, columns: int | None = None) -> list[Axes]:
    """n panels, so many in a line (at most four, if none is said)."""
    grid = list(figure.subplots(*grid_of(n, columns), squeeze=False).flat)
    for axes in grid[n:]:
        axes.set_visible(False)
    return grid[:n]


def grid_of(n: int, columns: int | None = None) -> tuple[int, int]:
    """Lines and columns of n panels."""
    columns = columns or min(4, math.ceil(math.sqrt(n)))
    return math.ceil(n / columns), columns


def cells(axes: Axes, values: Float[np.ndarray, "rows columns"], **colours: Any) -> QuadMesh:
    """A map of numbers in colours, its first row on top; grey where there is no number."""
    across, down = np.arange(len(values.T) + 1) - 0.5, np.arange(len(values) + 1) - 0.5
    # An edge in the colour of its cell, or PDF viewers let the ground shine through between cells.
    mesh = axes.pcolormesh(across, down, values, edgecolors="face", linewidth=0.3, **colours)
    axes.set_facecolor("#CCCCCC")
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    return mesh


def colour_bar(figure: Figure, shown: ScalarMappable, of: Axes | Iterable[Axes], label: str = "", **more: Any) -> None:
    """The scale of the colours of one panel or several."""
    one = isinstance(of, Axes)
    room: dict[str, Any] = {"pad": 0.02, "aspect": 30} if one else {"fraction": 0.03, "aspect": 40}
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


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Over the panels, in as many columns as fit."""
    widest = max(text_width(str(handle.get_label()), SMALL) for handle in handles) + 0.6
    fitting = int((figure.get_figwidth() - 0.2) / widest)
    figure.legend(handles=handles, loc="outside upper center", ncols=min(max(fitting, 1), len(handles)))


def text_width(text: str, size: float) -> float:
    """Inches that the longest line of a text takes."""
    return max(sum(map(_advance, line)) for line in text.split("\n")) * size / 72


@cache
def _advance(character: str) -> float:
    """Width of a character, not hinted, in units of the font's size."""
    font = font_manager.get_font(font_manager.findfont(_FONT))
    if not font.get_char_index(ord(character)):
        return 1.0  # a box stands for what the font lacks
    font.set_size(100, 72)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


def _lines(text: str, inches: float, size: float) -> list[str]:
    """As few lines as there can be, and no wider than they must."""
    lines = narrower = _filled(text, inches, size)
    while 1 < len(narrower) <= len(lines):
        lines, inches = narrower, 0.95 * inches
        narrower = _filled(text, inches, size)
    return lines


def _filled(text: str, inches: float, size: float) -> list[str]:
    lines = [""]
    for part in _BREAKS.split(text):
        if lines[-1] and text_width(lines[-1] + part.rstrip(), size) > inches:
            lines.append("")
        lines[-1] += part
        while len(line := lines[-1].rstrip()) > 1 and text_width(line, size) > inches:
            fits = max(n for n in range(1, len(line)) if n == 1 or text_width(line[:n], size) <= inches)
            lines[-1:] = [line[:fits], line[fits:]]
    return [line.rstrip() for line in lines]
