"""The card of a repository: one part for every thing in it, between markers of its own; what others wrote stays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lens_truth.errors import InputError, one_line
from lens_truth.hub.things import SUFFIX, without_places
from lens_truth.io.numbers import count, number
from lens_truth.io.runs import version_of
from lens_truth.io.tables import markdown
from lens_truth.scoring.surface import warning_of

if TYPE_CHECKING:
    from jinja2 import Template

    from lens_truth.hub.things import Thing

_HUB_ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(?:@[\w./-]+)?(?:\+.*)?")
"""A model on a hub, perhaps at a revision or with an adapter."""
_TOLD = {
    "model": "model",
    "weights": "hash of its weights",
    "data": "data",
    "examples": "hash of the examples",
    "n_examples": "examples",
    "template": "prompt",
    "estimator": "estimator",
    "n_folds": "folds",
    "seed": "seed",
    "point": "read at",
    "scores": "made from scores of the kind",
    "lam": "lambda",
    "norm": "normalised by",
    "alpha": "alpha",
    "control": "control",
    "hub": "read from",
}
"""What a card tells of a provenance, as far as it says so, and in which words."""
_VERSIONS = ("lens-truth", "torch", "transformers", "transformer-lens")
_ATTACHED = "model = lens_truth.load({model})\nwith {variable}.attach(model):\n    ..."
_USE = {
    "HeadScores": ("{kind} scores of heads", "scores", "scores.tables()[0]"),
    "HeadGate": ("A gate of heads", "gate", _ATTACHED.format(variable="gate", model="{model}")),
    "HeadShift": ("A shift of heads", "shift", _ATTACHED.format(variable="shift", model="{model}")),
    "NeuronGate": ("A gate of neurons", "gate", _ATTACHED.format(variable="gate", model="{model}")),
    "HeadProbes": ("Probes of heads", "probes", "probes.scores.tables()[0]"),
    "NeuronSet": ("Neurons that foretell hallucination", "neurons", "neurons.by_layer()"),
}
"""Of each kind its title, the name of the variable that holds it, and what can be done with it."""


def card_part(thing: Thing, repo: str, file: str) -> str:
    """The part of the card that tells of one thing, from its provenance, its best heads and what is to be warned of."""
    its = dict(without_places(thing.provenance))
    title, variable, use = _USE[type(thing).__name__]
    scores: Any = thing if title == _USE["HeadScores"][0] else getattr(thing, "scores", None)
    table = None if scores is None else scores.tables()[0]
    said = () if scores is None or table is None else (table.note, warning_of(scores) or "")
    facts = [*_sizes(thing), *((word, _said(its[name])) for name, word in _TOLD.items() if its.get(name) is not None)]
    versions = ", ".join(f"{package} {version_of(package)}" for package in _VERSIONS)
    made = title.format(kind=getattr(thing, "kind", ""))
    return _template().render(
        file=file,
        name=PurePosixPath(file).name.removesuffix(SUFFIX) if file.endswith(SUFFIX) else file,
        repo=repo,
        title=made[0].upper() + made[1:],
        facts=[*facts, ("pushed with", versions)],
        table=table and f"{table.caption}:\n\n{markdown(table)}",
        warnings=[sentence for sentence in said if sentence],
        variable=variable,
        use=use.format(model=f'"{_loaded(its)}"'),
        version=version_of("lens-truth"),
    )


def with_part(readme: str | None, part: str, thing: Thing, repo: str, file: str, *, add: bool = False) -> str | None:
    """A README.md with the part: in place of the one of this file, if it has one; behind those of other things; or in a
    new card. None if somebody else's README.md has none, and none is to be added at its end."""
    if readme is None:
        return f"{_front_matter(thing)}\n# {PurePosixPath(repo).name}\n\n{part}"
    begins, ends = re.escape(f"<!-- begin {file} "), re.escape(f"<!-- end {file} -->")
    old = re.findall(f"^{begins}.*?^{ends}\r?\n?", readme, re.M | re.S)
    if len(old) > 1 or (not old and re.search(f"^({begins}|{ends})", readme, re.M)):
        raise InputError(
            f"README.md of {repo}: the lines that begin and end the part of {file} are not there once each; "
            "mend them, or remove them both"
        )
    if old:
        return readme.replace(old[0], part)
    if not add and not re.search(r"^<!-- end \S+ -->\r?$", readme, re.M):
        return None
    return f"{readme.rstrip()}\n\n{part}"


def model_id(provenance: Mapping[str, Any]) -> str | None:
    """The model on a hub that something was made from; None where it does not name one."""
    named = provenance.get("model")
    found = _HUB_ID.fullmatch(named) if isinstance(named, str) else None
    return None if found is None or Path(found["id"]).exists() else found["id"]


def _loaded(provenance: Mapping[str, Any]) -> str:
    """What `load` is given in an example."""
    named = provenance.get("model")
    everywhere = isinstance(named, str) and re.fullmatch(r"(zoo|pypi):[\w.-]+", named)
    return str(named) if everywhere else model_id(provenance) or "MODEL"


def _front_matter(thing: Thing) -> str:
    """Of a new card; the license is its owner's to say."""
    kind = type(thing).__name__
    tag = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    base = model_id(thing.provenance)
    lines = ["library_name: lens-truth", *([f"base_model: {base}"] if base else []), "tags:"]
    return "\n".join(["---", *lines, *(f"- {its}" for its in ("lens-truth", "interpretability", tag)), "---", ""])


def _sizes(thing: Any) -> Sequence[tuple[str, str]]:
    """How large it is, and how strong."""
    match type(thing).__name__:
        case "HeadScores":
            return [("kind", thing.kind), ("heads", f"{thing.n_layers} layers x {thing.n_heads} heads")]
        case "NeuronSet":
            share = "" if thing.per_mille is None else f", {number(thing.per_mille, 2)} per mille of all"
            return [("neurons", f"{len(thing)}, {len(thing.positive)} with a weight above 0{share}")]
        case "HeadProbes":
            L, H, D = thing.directions.shape
            return [("heads", f"{L} layers x {H} heads of width {D}"), ("fitted on", count(len(thing.saw), "group"))]
        case "HeadShift":
            return [_shape(thing.vectors), ("acts at", thing.site), ("strength", number(thing.strength))]
        case _:
            where = [("acts at", thing.site)] if hasattr(thing, "site") else []
            least, most, n = (float(its) for its in (thing.values.min(), thing.values.max(), (thing.values < 0).sum()))
            said = f"from {number(least)} to {number(most)}, {n:.0f} of them negative"
            return [_shape(thing.values), *where, ("gates", said)]


def _shape(values: Any) -> tuple[str, str]:
    return "shape", " x ".join(map(str, values.shape))


def _said(value: Any) -> str:
    return one_line(f"{value:g}" if isinstance(value, float) else str(value))


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """As it is, whatever a model or a data set is called: neither HTML nor the end of a part."""
    return escape(one_line(text), quote=False)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("lens_truth.hub", ".")
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"cell": _cell, "text": _text}
    return environment.get_template("card.md.j2")
