"""The five probing settings of the TruthProbe paper: which data text models and multimodal models are probed on.

| setting | text models | multimodal models |
|---|---|---|
| A | HaluEval | HaluEval, no image |
| B | HaluEval | HaluEval with a black image |
| C | PhD as text | PhD with its images |
| D | HaluEval | RLHF-V with its images |
| E | HaluEval and PhD as text | RLHF-V and PhD with their images |

Without files a setting runs on the zoo: its stories stand for HaluEval, its questions whether a thing is there for PhD,
its pictures for RLHF-V.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from lens_truth.data.audit import label_warnings, repeats
from lens_truth.data.examples import Example
from lens_truth.data.images import BLACK
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError, notice

Setting = Literal["A", "B", "C", "D", "E"]
Part = Literal["halueval", "phd", "phd_text", "rlhfv"]

_PARTS: dict[Setting, tuple[tuple[Part, ...], tuple[Part, ...]]] = {  # of text models, of multimodal models
    "A": (("halueval",), ("halueval",)),
    "B": (("halueval",), ("halueval",)),
    "C": (("phd_text",), ("phd",)),
    "D": (("halueval",), ("rlhfv",)),
    "E": (("halueval", "phd_text"), ("rlhfv", "phd")),
}
_ZOO = {"halueval": "zoo:text", "phd": "zoo:image-presence", "phd_text": "zoo:presence", "rlhfv": "zoo:image"}
_TITLES: dict[Part, str] = {"halueval": "HaluEval", "phd": "PhD", "phd_text": "PhD as text", "rlhfv": "RLHF-V"}
_FLAGS: dict[Part, str] = {
    "halueval": "--halueval FILE",
    "phd": "--phd FILE",
    "phd_text": "--phd-text FILE, or --phd FILE for its questions alone",
    "rlhfv": "--rlhfv FILE",
}


def setting_sources(setting: Setting, multimodal: bool, files: Mapping[Part, Path]) -> list[str]:
    """The names of a setting's data sets, as `load_examples` knows them: of the zoo's if no file is given at all.

    Raises:
        InputError: for an unknown setting, or naming the file that it lacks while others are given.
    """
    if setting not in get_args(Setting):
        raise InputError(f"there is no setting '{setting}'; the settings are {', '.join(get_args(Setting))}")
    parts = _PARTS[setting][multimodal]
    if not files:
        return [_ZOO[part] for part in parts]
    sources: list[str] = []
    for part in parts:
        file = files.get(part) or (files.get("phd") if part == "phd_text" else None)
        if file is None:
            kind = "multimodal" if multimodal else "text"
            data = " and ".join(_TITLES[each] for each in parts)
            raise InputError(
                f"setting {setting} probes {kind} models on {data}, and the file of {_TITLES[part]} is missing: give "
                f"{_FLAGS[part]}, or no files at all for the zoo's data"
            )
        sources.append(f"{part.replace('_', '-')}:{file}")
    return sources


def setting_examples(
    setting: Setting,
    multimodal: bool,
    files: Mapping[Part, Path],
    *,
    images: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> list[Example]:
    """The examples that a text or a multimodal model is probed on. Repeated answers, and answers that have both labels
    inside one data set or in two, are warned of (`DataWarning`).

    Args:
        files: where the data sets are; none for the zoo's.
        images: the folder of the image files.
        limit: only the first so many examples of each data set.
        seed: of generated data.
    """
    sources = setting_sources(setting, multimodal, files)
    sets = {name: load_examples(name, limit=limit, seed=seed, images=images) for name in sources}
    for sentence in label_warnings(sets):
        notice(sentence)
    examples = [example for part in sets.values() for example in part]
    if twice := repeats(examples)[0]:
        notice(f"{twice} of the {len(examples)} rows of {' and '.join(sets)} repeat other rows, which so count twice")
    return [replace(example, image=BLACK) for example in examples] if setting == "B" and multimodal else examples
