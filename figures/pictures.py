"""Pictures of the zoo's scenes: `python figures/pictures.py FILE.png`."""

from __future__ import annotations

import sys

from matplotlib.figure import Figure

from lens_truth.data.images import open_image
from lens_truth.data.world_examples import caption_examples
from lens_truth.plots.style import SMALL, in_house_style, new_figure, panel_grid, save


@in_house_style
def zoo_pictures(n: int = 12) -> Figure:
    """The first test pictures that are to be described, each with its description."""
    figure = new_figure(8.0, 6.6)
    examples = caption_examples("test", n, seed=0)
    for axes, example in zip(panel_grid(figure, n), examples, strict=True):
        axes.imshow(open_image(example.image), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(example.answer.replace(". ", ".\n"), fontsize=SMALL)
    return figure


if __name__ == "__main__":
    save(zoo_pictures(), sys.argv[1])
