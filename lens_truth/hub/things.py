"""What can be shared: which file each thing is in a repository, and what a file holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from lens_truth.errors import InputError, shortened
from lens_truth.io.readers import is_list
from lens_truth.scoring.score_files import tensors_in
from lens_truth.scoring.scores import HeadScores

if TYPE_CHECKING:  # all others take as long to import as a model takes to load
    from lens_truth.gates.gate import HeadGate
    from lens_truth.gates.neuron_gate import NeuronGate
    from lens_truth.gates.shift import HeadShift
    from lens_truth.neurons.neuron_set import NeuronSet
    from lens_truth.scoring.head_probes import HeadProbes

    Thing: TypeAlias = HeadScores | HeadGate | HeadShift | NeuronGate | HeadProbes | NeuronSet

FOLDER = "lens_truth"
"""Of a repository, where things lie: engines take every safetensors file at the top for weights, and `lens-truth gate`
keeps the gate of a checkpoint there too."""
SUFFIX = ".safetensors"

_NAMES = {
    "HeadGate": "gate",
    "HeadShift": "shift",
    "NeuronGate": "neuron-gate",
    "HeadProbes": "probes",
    "NeuronSet": "neurons",
}
"""What things are called, by their class."""
_NAME = re.compile(r"\w[\w.-]{0,99}")
_INSIDE = re.compile(r"""(?<![\w/.~-])(?:~|/(?!/)|\\\\)[^\s,;()\[\]"']*[/\\][^\s,;()\[\]"']*""")
_PLACE = re.compile(r"(?:~|[/\\](?![/\\])).*[/\\]")
"""How an absolute path begins, of whatever system; `//` is that of an address."""


def file_of(thing: Thing, name: str | None = None) -> str:
    """The file that it is in a repository: by default called `truth-scores` (scores by their kind), `gate`, `shift`,
    `neuron-gate`, `probes` or `neurons`."""
    if name is None:
        name = (
            f"{thing.kind.replace(' ', '-')}-scores" if isinstance(thing, HeadScores) else _NAMES[type(thing).__name__]
        )
    elif not _NAME.fullmatch(name):
        raise InputError(
            f"{shortened(repr(name))} is no name for a file of a repository: it is made of letters, digits, dots, "
            "dashes and underscores"
        )
    return file_called(name)


def file_called(name: str) -> str:
    """Of a name in a repository its path there: `gate` is `lens_truth/gate.safetensors`; what has a folder is a path
    already."""
    if "/" in name:
        return name
    return f"{FOLDER}/{name}" if name.endswith(SUFFIX) else f"{FOLDER}/{name}{SUFFIX}"


def read_thing(path: Path) -> Thing:
    """What a file holds; files that are no `.safetensors` hold scores. An InputError says if it is none of these."""
    if not path.name.endswith(SUFFIX):
        return HeadScores.load(path)
    names = tensors_in(path)
    if "values" in names:
        return HeadScores.load(path)
    if "neuron" in names:
        from lens_truth.neurons.neuron_set import NeuronSet

        return NeuronSet.load(path)
    if "directions" in names:
        from lens_truth.scoring.head_probes import HeadProbes

        return HeadProbes.load(path)
    if {"gate", "shift", "neuron_gate"} & {*names}:
        from lens_truth.gates.rows import read_intervention

        return read_intervention(path)
    raise InputError(
        f"{path}: holds neither scores, probes, a gate, a shift nor neurons, but {', '.join(names) or 'nothing'}"
    )


def bytes_of(thing: Thing) -> bytes:
    """The file that `save` writes, from whose provenance folders of this machine are left out."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"thing{SUFFIX}"
        replace(thing, provenance=without_places(thing.provenance)).save(path)
        return path.read_bytes()


def without_places(value: Any) -> Any:
    """The same with absolute paths by their last part: where things lie is nobody else's business, and of no use."""
    if isinstance(value, Mapping):
        return {without_places(name): without_places(its) for name, its in cast("Mapping[str, Any]", value).items()}
    if is_list(value) or isinstance(value, tuple):
        return [without_places(item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        value = re.sub(r"file://+", "/", value)
        return "".join(_last_part(part) for part in re.split(r"([+:=])", value))  # BASE+ADAPTER, FORMAT:FILE
    return value


def _last_part(text: str) -> str:
    """Of a text that is an absolute path, or of those that stand in it."""
    if _PLACE.match(text):
        return PurePath(text.replace("\\", "/")).name
    return _INSIDE.sub(lambda found: PurePath(found[0].replace("\\", "/")).name, text)
