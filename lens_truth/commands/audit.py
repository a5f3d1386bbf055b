"""Are the labels fit to be probed? For every data set: what the answer's length and last character tell alone, the
larger class's share, repeated rows, and answers with both labels; for every two, whether they label the same answers
alike, and which ids and questions both have: a test set that shares any with its training set is none. Files may hold
ids alone.

Looks at rows only: images of phd: and rlhfv: files need not be there. Writes result.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import tyro

import lens_truth
from lens_truth.commands.run import Run, hash_of_examples, read_data
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError
from lens_truth.io.tables import Table, print_table


@dataclass(frozen=True)
class Config:
    """Flags of `audit`."""

    data: Annotated[tuple[str, ...], tyro.conf.Positional] = ("zoo:text", "zoo:conflict")
    """Data sets: zoo:text, zoo:conflict, ..., facts:conflict and other world facts, or files, of examples or as their
    authors publish them (halueval:FILE, truthfulqa:, phd:, phd-text:, rlhfv:, pope:, squad:, hotpot:, triviaqa:,
    h-neurons:, nqswap:, faitheval:, memotrap:, ragtruth:, statements:; without these a file is recognised by its
    fields); conflict:FILE exchanges the right answers of such a file in their contexts. Files of ids alone ([ids],
    {"t": [ids], "f": [ids]}, {"train": [ids], "test": [ids]}, a table) are held against the others."""
    images: Path | None = None
    """The folder of the images that files of examples name."""
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
    from lens_truth.data.audit import agreement_table, audit_table, label_agreement
    from lens_truth.data.overlap import overlap_table, shared_questions

    if len(set(config.data)) < len(config.data):
        raise InputError("a data set is named twice")
    with Run("audit", config) as run:
        sets = _named_sets(config)
        rows = {name: its for name, its in sets.items() if isinstance(its, list)}
        audits = {
            name: lens_truth.audit_examples(its, n_folds=config.folds, seed=config.seed) for name, its in rows.items()
        }
        for name, its in audits.items():
            run.hold(its, name)
            run.warnings += its.warnings(name)
            # images may be absent: a row's hash is that of its text and, through its group, the image's name
            run.hashes[name] = hash_of_examples([replace(example, image="") for example in rows[name]])
        if audits:
            table = audit_table(audits)
            print_table(table)
            print(f"\n{table.note}")
        told = "answers that two data sets have both, and their labels there"
        _tell_pairs(run, rows, label_agreement, agreement_table, told)
        _tell_pairs(run, sets, shared_questions, overlap_table, "ids and questions that two data sets have both")


def _tell_pairs(
    run: Run,
    sets: Mapping[str, Any],
    compared: Callable[[Any, Any], Any],
    as_table: Callable[[Mapping[str, Any]], Table],
    words: str,
) -> None:
    """Of every two sets what they have both."""
    pairs: dict[str, Any] = {}
    for one, other in combinations(sets, 2):
        found = pairs[f"{one} and {other}"] = compared(sets[one], sets[other])
        run.hold(found, f"{one} and {other}")
        run.warnings += found.warnings(one, other)
    if pairs:
        print(f"\n{words}:\n")
        print_table(as_table(pairs))


def _named_sets(config: Config) -> dict[str, list[lens_truth.Example] | tuple[str, ...]]:
    """Rows, or ids alone, by their names, without folders where that tells them apart."""
    from lens_truth.data.id_lists import read_ids
    from lens_truth.data.loading import check_limit

    short = [short_name(name) for name in config.data]
    shown = short if len(set(short)) == len(short) else config.data
    sets: dict[str, list[lens_truth.Example] | tuple[str, ...]] = {}
    for name, called in zip(config.data, shown, strict=True):
        try:
            sets[called] = read_data(name, config.limit, config.seed, config.images, images_needed=False)
        except InputError:
            found = read_ids(Path(name)) if Path(name).is_file() else {}
            if not found:
                raise
            check_limit(config.limit)
            for part, ids in ((part, ids[: config.limit]) for part, ids in found.items()):
                sets[f"{called}:{part}".rstrip(":")] = ids
                twice = f", {len(ids) - len(set(ids))} of them twice" if len(set(ids)) < len(ids) else ""
                print(f"{name}: {len(ids)} ids{f' in {part}' if part else ''}{twice}")
    return sets
