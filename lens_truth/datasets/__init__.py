"""Examples by name: the zoo's own (`zoo:text`, `zoo:conflict`), `halueval:FILE`, or a user's `.jsonl` or `.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from lens_truth.datasets.halueval import read_halueval
from lens_truth.datasets.world import Split
from lens_truth.datasets.zoo import conflict_examples, text_examples
from lens_truth.errors import InputError
from lens_truth.examples import Example, read_examples

__all__ = ["DEFAULT_ROWS", "load_examples"]

DEFAULT_ROWS = 1200
"""How many examples a generated data set has unless a limit says otherwise."""

_ZOO = {"zoo:text": text_examples, "zoo:conflict": conflict_examples}
_SPLITS: tuple[Split, ...] = get_args(Split)


def load_examples(name: str, *, limit: int | None = None, seed: int = 0) -> list[Example]:
    """The examples of a data set.

    Args:
        name: `zoo:text` or `zoo:conflict` (their train split; `zoo:text/test` for another), `halueval:FILE`, or a
            path to a `.jsonl` or `.csv` file of examples.
        limit: only the first so many examples.
        seed: of generated data; files are read as they are.

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
    examples = read_halueval(rest) if source == "halueval" else read_examples(name)
    return examples[:limit]


def describe(examples: Sequence[Example]) -> str:
    """One line for the terminal: rows, groups, share of supported answers."""
    groups = len({example.group for example in examples})
    share = sum(example.label for example in examples) / len(examples)
    return f"{len(examples)} examples in {groups} groups, {share:.0%} supported"
