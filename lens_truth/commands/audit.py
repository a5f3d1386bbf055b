"""Are the labels fit to be probed? For every data set: what the answer's length and last character tell alone, the
larger class's share, repeated rows, and answers with both labels; for every two, whether they label the same answers
alike.

Looks at rows only: images of phd: and rlhfv: files need not be there. Writes result.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lens_truth.commands.compute import result_files
from lens_truth.commands.probing_data import short_name
from lens_truth.errors import InputError
from lens_truth.io.files import check_out
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, print_warnings, text_table

if TYPE_CHECKING:
    from lens_truth.data.label_audit import Agreement


@dataclass(frozen=True)
class Config:
    """Flags of `audit`."""

    data: Annotated[tuple[str, ...], tyro.conf.Positional] = ("zoo:text", "zoo:conflict")
    """Data sets: zoo:text, zoo:conflict, ..., halueval:FILE, phd:FILE, phd-text:FILE, rlhfv:FILE, or .jsonl or .csv
    files of examples."""
    images: Path | None = None
    """The folder of the images that .jsonl and .csv files of examples name."""
    folds: int = 5
    """Held-out folds of the surface baseline; groups are never split."""
    limit: int | None = None
    """Only the first so many examples of each data set."""
    seed: int = 0
    """Seed of generated data and of the folds."""
    out: Path = Path("runs/audit")
    """Folder for the results."""


def run(config: Config) -> None:
    """Reads, looks, prints and writes."""
    from lens_truth.data.examples import examples_hash
    from lens_truth.data.label_audit import (
        label_agreement,
        label_warnings,
        majority_share,
        repeats,
        surface_accuracy,
        surface_warning,
    )
    from lens_truth.data.loading import load_examples
    from lens_truth.errors import gathered_notices
    from lens_truth.io.runs import Run

    clock = Run("audit", config)
    if len(set(config.data)) < len(config.data):
        raise InputError("a data set is named twice")
    if config.folds < 2:
        raise InputError(f"{config.folds} folds were asked for; at least 2 are needed")
    check_out(config.out)
    with gathered_notices() as warnings:
        named = {
            name: load_examples(name, limit=config.limit, seed=config.seed, images=config.images, images_needed=False)
            for name in config.data
        }
    short = [short_name(name) for name in named]
    sets = dict(zip(short if len(set(short)) == len(short) else named, named.values(), strict=True))
    results: dict[str, dict[str, Any]] = {}
    for name, examples in sets.items():
        majority, surface = majority_share(examples), None
        try:
            surface = surface_accuracy(examples, n_folds=config.folds, seed=config.seed)
            warnings += [f"{name}: {said}" for said in [surface_warning(surface, majority)] if said]
        except InputError as error:
            warnings.append(f"{name}: no surface baseline: {error}")
        results[name] = {
            "rows": len(examples),
            "groups": len({example.group for example in examples}),
            "supported": sum(example.label for example in examples),
            "majority_share": majority,
            "surface_accuracy": surface,
            **asdict(repeats(examples)),
        }
    pairs = {(one, other): label_agreement(sets[one], sets[other]) for one, other in combinations(sets, 2)}
    warnings += label_warnings(sets)

    _print(results, pairs)
    print_warnings(warnings)
    agreements = [
        {"one": one, "other": other, **asdict(agreement), "opposite": agreement.opposite}
        for (one, other), agreement in pairs.items()
    ]
    # images may be absent: a row's hash is that of its text and, through its group, the image's name
    hashes = {name: examples_hash([replace(row, image="") for row in rows]) for name, rows in sets.items()}
    clock.write(config.out, {"data": results, "pairs": agreements}, hashes, warnings)
    result_files(config.out, "result.json")


def _print(results: dict[str, dict[str, Any]], pairs: dict[tuple[str, str], Agreement]) -> None:
    titles = {"majority_share": "larger class", "surface_accuracy": "surface", "contradictory": "both labels"}
    columns = list(next(iter(results.values())))
    print_table(
        text_table(
            ["data", *(titles.get(column, column) for column in columns)],
            [
                [name, *(str(value) if isinstance(value, int) else number(value) for value in row.values())]
                for name, row in results.items()
            ],
        )
    )
    print("\nsurface: accuracy of a baseline that sees only the answer's length and last character")
    if pairs:
        print("\nanswers that two data sets have both, and their labels there:\n")
        print_table(
            text_table(
                ["data", "and", "shared", "same label", "opposite", "both labels in one"],
                [[*names, *map(str, (a.shared, a.same, a.opposite, a.undecided))] for names, a in pairs.items()],
            )
        )
