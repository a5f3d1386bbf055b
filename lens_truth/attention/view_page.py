"""What some heads look at in one example, as HTML that needs nothing else: for notebooks, and as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import circuitsvis
import numpy as np
from jaxtyping import Float
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lens_truth.attention.one_example import AttentionView, Group, Picture, gathered, groups_of, said_of, title_of
from lens_truth.attention.strips import DIMMED
from lens_truth.data.images import data_url
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of

_LARGEST = 512
"""Pixels of the longer side of a picture on the page."""
_NO_PATCH = (204, 204, 204, 255)
_AT_ONCE = 40_000
"""Weights that CircuitsVis draws in a second or two; more are drawn when asked for."""
_LABEL = 28
_LEAST = 0.0005
"""Patches with less attention say nothing when pointed at."""


def attention_page(shown: AttentionView, *, standalone: bool = True) -> str:
    """A whole page, which opens from a file; or what a page that is there already, as a notebook is, takes in. Nothing
    in it is loaded from anywhere."""
    groups = groups_of(shown)
    patterns = gathered(shown.patterns, [group.tokens for group in groups])
    element = f"attention-{hash_of(repr((shown.model, shown.example, shown.heads)), shown.patterns.tobytes())}"
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined)
    environment.filters["percent"] = percent
    return environment.get_template("attention.html.j2").render(
        standalone=standalone,
        id=element,
        title=title_of(shown),
        has_evidence=bool(shown.evidence),
        gathering=said_of(groups),
        at_once=patterns.size <= _AT_ONCE,
        script=Markup(circuits_script(element, patterns, groups, shown.names)),
        **_strips(shown),
        **_pictures(shown),
    )


def percent(share: float) -> str:
    """A share of attention, to a tenth of a percent where it is small."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _strips(shown: AttentionView) -> dict[str, Any]:
    """The text under each head's attention: every token of it, however long it is."""
    groups = groups_of(shown, most=len(shown.tokens))
    weights = np.stack([shown.weights[:, list(group.tokens)].sum(axis=1) for group in groups], axis=1)
    most = float(weights[:, 1:].max())  # without the first token
    labels = [group.marked(80) for group in groups]
    texts = [" " if group.of_image else group.label for group in groups]
    apart = [before[-1:].isspace() or text[:1].isspace() for before, text in zip(["", *texts], texts, strict=False)]
    return {
        "most": most,
        "sink_is_more": bool(weights.max() > most),
        "strips": [
            {
                "name": name,
                "said": said,
                "tokens": [
                    (space, label, share, min(share / most, 1) if most else 0, group.is_evidence)
                    for space, label, group, share in zip(apart, labels, groups, row.tolist(), strict=True)
                ],
            }
            for name, said, row in zip(shown.names, shown.said, weights, strict=True)
        ],
    }


def _pictures(shown: AttentionView) -> dict[str, Any]:
    """What the page shows of the example's image."""
    picture = shown.picture
    if picture is None:
        return {"pictures": []}
    small = picture.image.copy()
    small.thumbnail((_LARGEST, _LARGEST))
    fine = max(1, round(400 / max(small.size)))  # pixels of shade to a pixel of a small picture
    return {
        "size": picture.image.size,
        "base": data_url(small),
        "picture_evidence": picture.evidence,
        "unseen": bool(np.isnan(picture.heat(shown.weights[0], *small.size)).any()),
        "pictures": [
            {
                "name": name,
                "share": float(weights[slice(*picture.span)].sum()),
                "brightest": _brightest(picture, weights),
                "shade": data_url(_shade(picture.heat(weights, small.width * fine, small.height * fine))),
                "patches": _patches(picture, weights),
            }
            for name, weights in zip(shown.names, shown.weights, strict=True)
        ],
    }


def _shade(heat: Float[np.ndarray, "height width"]) -> Image.Image:
    """What lies over a picture and lets it through where a head looks."""
    shade = np.zeros((*heat.shape, 4), dtype=np.uint8)
    shade[..., 3] = np.rint(255 * DIMMED * (1 - np.nan_to_num(heat)))
    shade[np.isnan(heat)] = _NO_PATCH
    return Image.fromarray(shade)


def _patches(picture: Picture, weights: Float[np.ndarray, " T"]) -> list[list[float]]:
    """Box and weight of each patch that is looked at."""
    rows = np.column_stack([picture.boxes, weights[slice(*picture.span)]])
    rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 4] >= _LEAST)]
    return np.column_stack([rows[:, :4].round(1), rows[:, 4:].round(4)]).tolist()


def _brightest(picture: Picture, weights: Float[np.ndarray, " T"]) -> str:
    if not (patches := _patches(picture, weights)):
        return "hardly anything anywhere"
    left, top, right, bottom, weight = max(patches, key=lambda patch: patch[4])
    return f"{percent(weight)} at pixels {left:.0f} to {right:.0f} across, {top:.0f} to {bottom:.0f} down"


def circuits_script(
    element: str, patterns: Float[np.ndarray, "n groups groups"], groups: Sequence[Group], names: Sequence[str]
) -> str:
    """CircuitsVis's view of attention patterns, as a script that draws it into the details `ELEMENT-all` of the page
    once they are open.

    What its Python functions make has a random name in it, and ends where a token such as `</script>` stands; so its
    JavaScript is called, as they call it.
    """
    drawn = {
        "attention": patterns.astype(float).round(4).tolist(),
        "attentionHeadNames": list(names),
        "tokens": [group.marked(_LABEL).replace(" ", "_") for group in groups],  # it takes spaces out
        "maskUpperTri": not np.triu(patterns, 1).any(),  # tokens that are put together may look at each other
    }
    props = json.dumps(drawn).replace("<", r"\u003c")
    # A notebook may show several views, which run the bundle once, and one view in several cells: each script takes the
    # first cell that no other has taken.
    return f"""<script type="module">const CircuitsVis = globalThis.lensTruthCircuitsVis ??= (() => {{
{circuits_bundle()}return CircuitsVis; }})();
const all = document.querySelector("#{element}-all:not([data-taken])"), place = all.querySelector(".scroll > div");
all.dataset.taken = place.id = "{element}-tokens-" + document.querySelectorAll("[data-taken]").length;
const draw = () => CircuitsVis.render(place.id, CircuitsVis.AttentionHeads, {props});
all.open ? draw() : all.addEventListener("toggle", draw, {{ once: true }});
</script>"""


@cache
def circuits_bundle() -> str:
    """The JavaScript that CircuitsVis brings for pages without a network: it makes `CircuitsVis`, with `render` and
    `AttentionHeads`.

    Raises:
        InputError: if the version that is installed brings it elsewhere, or in another form.
    """
    file = Path(circuitsvis.__file__).with_name("dist") / "cdn" / "iife.js"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if "var CircuitsVis=" not in text:
        raise InputError(
            f"CircuitsVis {circuitsvis.__version__} does not bring {'/'.join(file.parts[-4:])} as 1.43 does; "
            'pip install "circuitsvis<1.44"'
        )
    mended = text.replace("</script", r"<\/script")  # in a string of its own, where both say the same
    return mended.partition("//# sourceMappingURL=")[0]  # which is not there
