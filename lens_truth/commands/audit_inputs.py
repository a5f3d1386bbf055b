"""What `audit` is given: labelled answers, ids alone, logs of dose curves, head scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lens_truth
from lens_truth.commands.run import read_data
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError


@dataclass
class Inputs:
    """By the names that they are shown under, without folders where that tells them apart."""

    rows: dict[str, list[lens_truth.Example]] = field(default_factory=dict[str, "list[lens_truth.Example]"])
    """Labelled answers."""
    raw: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    """Of those that are one file as it stands its rows."""
    ids: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Ids alone."""
    curves: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Dose curves, by log and name."""
    scores: dict[str, lens_truth.HeadScores] = field(default_factory=dict[str, "lens_truth.HeadScores"])
    """Scores of heads."""


def read_inputs(
    data: Sequence[str], scores: Sequence[str], limit: int | None, seed: int, images: Path | None
) -> Inputs:
    """Everything that the command line names; whatever is no kind of these is refused as data is."""
    for names, what in ((data, "data set"), (scores, "file of scores")):
        if twice := [name for name in names if list(names).count(name) > 1]:
            raise InputError(f"{twice[0]}: a {what} is named twice")
    found = Inputs()
    for name, called in zip(data, _shown(data), strict=True):
        if name.endswith((".npy", ".safetensors")):
            found.scores[called] = lens_truth.HeadScores.load(name)
            continue
        try:
            found.rows[called] = read_data(name, limit, seed, images, images_needed=False)
        except InputError as error:
            if not Path(name).exists() or not _read_otherwise(found, name, called, limit):
                raise error
        else:
            found.raw[called] = _raw_rows(name, limit)
    for name, called in zip(scores, _shown(scores), strict=True):
        found.scores[called] = lens_truth.HeadScores.load(name)
    return found


def _shown(names: Sequence[str]) -> Iterable[str]:
    short = [short_name(name) for name in names]
    return short if len(set(short)) == len(short) else names


def _raw_rows(name: str, limit: int | None) -> list[dict[str, Any]]:
    """A file's own rows, if they say more than the examples do: of splits, of answers without labels; none of generated
    or rewritten data."""
    from lens_truth.confounds.row_claims import answers_in
    from lens_truth.confounds.splits import names_split
    from lens_truth.data.formats import SOURCES
    from lens_truth.io.rows import read_rows

    source, colon, rest = name.partition(":")
    path = Path(rest if colon and source in SOURCES else name)
    path = path.parent if path.parent.is_file() else path
    raw = [row for _, row in read_rows(path)][:limit] if path.is_file() else []
    tells_more = any(names_split(row) for row in raw) or any(True for row in raw[:1] for _ in answers_in(row))
    return raw if tells_more else []


def _without_labels(path: Path) -> list[lens_truth.Example]:
    """Questions with answers that no column labels."""
    from lens_truth.confounds.row_claims import answers_in
    from lens_truth.io.rows import read_rows

    try:
        raw = [row for _, row in read_rows(path)] if path.is_file() else []
    except InputError:
        return []
    return [
        lens_truth.Example(f"{number}-{place}", str(number), question, answer, label)
        for number, row in enumerate(raw)
        for place, (question, answer, label) in enumerate(answers_in(row))
    ]


def _read_otherwise(found: Inputs, name: str, called: str, limit: int | None) -> bool:
    """Whether it holds ids, dose curves or scores of heads."""
    from lens_truth.data.id_lists import read_ids
    from lens_truth.data.loading import check_limit
    from lens_truth.neurons.dose_log import read_dose_log

    path = Path(name)
    try:
        found.curves[called] = read_dose_log(path)
        return True
    except InputError:
        pass
    try:
        found.scores[called] = lens_truth.HeadScores.load(path)
        return True
    except InputError:
        pass
    if lists := read_ids(path) if path.is_file() else {}:
        check_limit(limit)
        for part, ids in ((part, ids[:limit]) for part, ids in lists.items()):
            found.ids[f"{called}:{part}".rstrip(":")] = ids
            twice = f", {len(ids) - len(set(ids))} of them twice" if len(set(ids)) < len(ids) else ""
            print(f"{name}: {len(ids)} ids{f' in {part}' if part else ''}{twice}")
        return True
    if unlabelled := _without_labels(path):
        found.rows[called] = unlabelled
        print(f"{name}: read as questions and answers without labels, which are called right as far as nothing is said")
        return True
    return False
