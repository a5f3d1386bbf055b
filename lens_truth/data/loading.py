"""Examples by name: the zoo's own (`zoo:text`, `zoo:image`, ...), `halueval:FILE`, `phd:FILE`, `phd-text:FILE`,
`rlhfv:FILE`, `squad:FILE`, `hotpot:FILE`, or a user's `.jsonl` or `.csv`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from lens_truth.data import world_examples as zoo
from lens_truth.data.examples import Example, read_examples
from lens_truth.data.paper_files import read_halueval, read_image_rows, read_text_rows
from lens_truth.data.squad_hotpot import read_hotpot, read_squad
from lens_truth.data.world import Split
from lens_truth.errors import InputError

DEFAULT_ROWS = 1200
"""How many examples a generated data set has unless a limit says otherwise."""

_ZOO: dict[str, Callable[[Split, int, int], list[Example]]] = {
    "zoo:text": zoo.text_examples,
    "zoo:conflict": zoo.conflict_examples,
    "zoo:presence": zoo.presence_examples,
    "zoo:image": zoo.image_examples,
    "zoo:image-conflict": zoo.image_conflict_examples,
    "zoo:image-presence": partial(zoo.image_presence_examples, kind="random"),
}
_FILES: dict[str, Callable[[str, int | None], list[Example]]] = {
    "halueval": lambda file, limit: read_halueval(file)[:limit],
    "phd-text": lambda file, limit: read_text_rows(file)[:limit],
    "squad": read_squad,
    "hotpot": read_hotpot,
}
_SPLITS: tuple[Split, ...] = get_args(Split)


def load_examples(
    name: str, *, limit: int | None = None, seed: int = 0, images: Path | None = None, images_needed: bool = True
) -> list[Example]:
    """The examples of a data set.

    >>> examples = lens_truth.load_examples("zoo:text/test", limit=200)
    >>> examples = lens_truth.load_examples("my-rows.jsonl")

    Args:
        name: `zoo:text`, `zoo:conflict`, `zoo:presence` and the same with pictures, `zoo:image`, `zoo:image-conflict`,
            `zoo:image-presence` (their train split; `zoo:text/test` for another); `halueval:FILE`; `phd:FILE` or
            `rlhfv:FILE` (with images); `phd-text:FILE` (as text); `squad:FILE` (SQuAD's format, so also XQuAD) or
            `hotpot:FILE` (HotpotQA's), in which all answers are supported and the evidence is known; or a path to a
            `.jsonl` or `.csv` file of examples.
        limit: only the first so many examples.
        seed: of generated data; files are read as they are.
        images: the folder of the image files that `phd:`, `rlhfv:` and files of examples name.
        images_needed: False reads rows of `phd:` and `rlhfv:` without their images, for looking at rows alone.

    Raises:
        InputError: for an unknown name, or whatever the reader finds wrong.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}; it must be at least 1")
    source, _, rest = name.partition(":")
    if source == "zoo":
        kind, _, split = name.partition("/")
        if kind not in _ZOO or split not in ("", *_SPLITS):
            names = ", ".join(f"{kind}[/{'|'.join(_SPLITS)}]" for kind in _ZOO)
            raise InputError(f"there is no data set '{name}'; the zoo offers {names}")
        chosen: Split = split or "train"  # pyright: ignore[reportAssignmentType] (checked above)
        return _ZOO[kind](chosen, limit or DEFAULT_ROWS, seed)
    if source in ("phd", "rlhfv"):
        return read_image_rows(rest, images, source, images_needed=images_needed, limit=limit)
    if source in _FILES and rest:
        return _FILES[source](rest, limit)
    if not name.endswith((".jsonl", ".csv")):
        formats = ", ".join(f"{source}:FILE" for source in ("phd", "rlhfv", *_FILES))
        raise InputError(
            f"there is no data set '{name}'; a file of examples ends in .jsonl or .csv, and others are named by their "
            f"format ({formats})"
        )
    return read_examples(name, images, limit)


def describe(examples: Sequence[Example]) -> str:
    """One line for the terminal: rows, groups, share of supported answers."""
    groups, supported = {example.group for example in examples}, sum(example.label for example in examples)
    return f"{len(examples)} examples in {len(groups)} groups, {supported / len(examples):.0%} supported"
