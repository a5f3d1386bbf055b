"""What some heads look at in one example: a line of tokens a head, and the image in the light of each head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lens_truth.attention.one_example import AttentionView, Group, Picture, gathered, groups_of, said_of, title_of
from lens_truth.plots import style
from lens_truth.plots.style import INK, MEDIUM, ORANGE, SMALL

DIMMED = 0.7
"""The share of its light that a patch without attention loses."""
_TOKENS_A_LINE, _PICTURES_A_LINE, _LONGEST = 60, 4, 24
_SHARP = 600
"""Pixels of the longer side of a picture."""
# Inches: the least width, the margin; a token, a head, a line of text, the bar over evidence; a picture, between two.
_WIDTH, _EDGE = 8.0, 0.15
_CELL, _ROW, _LINE, _BAR = 0.165, 0.22, 0.17, 0.2
_PICTURE, _GAP = 1.8, 0.15


@style.in_house_style
def attention_strips(shown: AttentionView) -> Figure:
    """Attention of the answer's last token: over the patches of the image, and over all tokens (`groups_of`)."""
    groups = groups_of(shown)
    query = next(at for at, group in enumerate(groups) if shown.query in group.tokens)
    weights = gathered(shown.patterns, [group.tokens for group in groups])[:, query]
    scale = Normalize(0, float(weights[:, 1:].max()) or 1)  # without the first token
    n_lines = -(-len(groups) // _TOKENS_A_LINE)
    lines: list[list[int]] = [part.tolist() for part in np.array_split(np.arange(len(groups)), n_lines)]
    labels = [max(style.text_width(groups[at].marked(_LONGEST), SMALL) for at in line) + 0.2 for line in lines]
    left, right = (max(style.text_width(text, MEDIUM) for text in some) + 0.1 for some in (shown.names, shown.said))
    width = max(_WIDTH, 2 * _EDGE + left + right + _CELL * len(lines[0]))
    said = [*title_of(shown), *filter(None, [said_of(groups)])]
    title = style.fitted("\n".join(said), width - 2 * _EDGE, MEDIUM)
    n, above = len(shown.heads), _LINE * (title.count("\n") + 1) + 0.15
    pictures = -(-n // _PICTURES_A_LINE) * (_PICTURE + 2 * _LINE) if shown.picture else 0
    height = _EDGE + above + pictures + len(lines) * (_BAR + n * _ROW) + sum(labels) + 0.65
    figure = style.new_figure(width, height)
    figure.set_layout_engine("none")  # everything below has its place in inches

    def panel(x: float, y: float, across: float, down: float) -> Axes:
        return figure.add_axes((x / width, 1 - (y + down) / height, across / width, down / height))

    figure.text(_EDGE / width, 1 - _EDGE / height, title, va="top", linespacing=1.35)
    y = _EDGE + above
    if shown.picture:
        for number, name in enumerate(shown.names):
            line, column = divmod(number, _PICTURES_A_LINE)
            at = _EDGE + column * (_PICTURE + _GAP), y + line * (_PICTURE + 2 * _LINE) + _LINE
            axes = panel(*at, _PICTURE, _PICTURE)
            _draw_picture(axes, shown.picture, shown.weights[number])
            on_image = shown.weights[number, slice(*shown.picture.span)].sum()
            axes.set_title(f"{name}: {on_image:.0%} on the image", fontsize=MEDIUM)
        y += pictures
    for line, below in zip(lines, labels, strict=True):
        axes = panel(_EDGE + left, y + _BAR, _CELL * len(line), n * _ROW)
        _draw_line(axes, shown, [groups[at] for at in line], weights[:, line], scale)
        if line[0] == 0:
            for row, said in enumerate(shown.said):
                axes.text(len(line) - 0.2, row, said, va="center", fontsize=SMALL)
        y += _BAR + n * _ROW + below
    _draw_legend(panel(_EDGE + left, height - 0.4, 1.5, 0.09), shown, scale, bool(weights.max() > scale.vmax))
    return figure


def _draw_line(
    axes: Axes, shown: AttentionView, groups: Sequence[Group], weights: Float[np.ndarray, "n groups"], scale: Normalize
) -> None:
    style.cells(axes, weights, cmap="Blues", norm=scale)
    axes.set_yticks(range(len(shown.heads)), shown.names, fontsize=MEDIUM)
    labels = [style.plain(group.marked(_LONGEST)) for group in groups]
    axes.set_xticks(range(len(groups)), labels, rotation=90, fontsize=SMALL)
    axes.tick_params(length=0)
    for at, (group, tick) in enumerate(zip(groups, axes.get_xticklabels(), strict=True)):
        if group.is_evidence:
            tick.set_fontweight("bold")
            axes.plot([at - 0.5, at + 0.5], [-0.75, -0.75], color=ORANGE, lw=3, solid_capstyle="butt", clip_on=False)
        if shown.query in group.tokens:
            axes.plot(at, -0.8, marker="v", ms=5, color=INK, clip_on=False)
    axes.set(xlim=(-0.5, len(groups) - 0.5), ylim=(len(weights) - 0.5, -0.5))
    axes.spines[:].set(visible=True, color="#BBBBBB")


def _draw_picture(axes: Axes, picture: Picture, weights: Float[np.ndarray, " T"]) -> None:
    """Bright where the head looks; grey where the model is shown nothing."""
    small = picture.image.copy()
    small.thumbnail((_SHARP, _SHARP))
    fine = max(1, round(_SHARP / max(small.size)))  # pixels of heat to a pixel of a small picture
    heat = picture.heat(weights, small.width * fine, small.height * fine)[:, :, None]
    light = np.asarray(small).repeat(fine, axis=0).repeat(fine, axis=1) / 255
    seen = np.where(np.isnan(heat), 0.8, light * (1 - DIMMED * (1 - heat)))
    across, down = picture.image.size
    axes.imshow(seen, extent=(0, across, down, 0), interpolation="nearest")
    for left, top, right, bottom in picture.evidence:
        place = (left, top), right - left, bottom - top
        for colour, dashes, thickness in (("white", "-", 3.2), (ORANGE, (0, (4, 2)), 1.8)):
            axes.add_patch(Rectangle(*place, fill=False, ec=colour, ls=dashes, lw=thickness, clip_on=False))
    axes.set_axis_off()


def _draw_legend(bar: Axes, shown: AttentionView, scale: Normalize, sink_is_more: bool) -> None:
    """The scale of the colours, and what the marks say."""
    colours = ScalarMappable(scale, "Blues")
    bar.figure.colorbar(colours, cax=bar, orientation="horizontal", extend="max" if sink_is_more else "neither")
    bar.tick_params(length=2)
    bar.set_title("attention" + (" (of the first token: more)" if sink_is_more else ""), fontsize=SMALL, loc="left")
    marks = [Line2D([], [], color=INK, marker="v", ls="", ms=5, label="the answer's last token, whose attention it is")]
    if shown.evidence:
        marks.append(Line2D([], [], color=ORANGE, lw=3, label="« » evidence"))
    if shown.picture and shown.picture.evidence:
        marks.append(Line2D([], [], color=ORANGE, lw=1.8, ls=(0, (3, 1.5)), label="evidence in the image"))
    bar.legend(
        handles=marks, loc="center left", bbox_to_anchor=(1.35, 0.8), ncols=3, columnspacing=1.2, handletextpad=0.5
    )
