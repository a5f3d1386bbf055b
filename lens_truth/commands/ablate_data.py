"""What `ablate` asks and scores on: the zoo's rows, world facts, or a file that is split by groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import lens_truth
from lens_truth.commands.run import warn_of
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.commands.ablate import Config as Ablate
    from lens_truth.commands.compare import Config as Compare
    from lens_truth.evaluate.answers import Mode

_DRAWN = {"zoo:text": "zoo:image", "zoo:conflict": "zoo:image-conflict", "zoo:presence": "zoo:image-presence"}
"""The zoo's data sets of scenes that are told, and those of the same scenes drawn."""


@dataclass(frozen=True)
class Parts:
    """What a model is scored on and asked; no group is in two of them."""

    to_score: list[lens_truth.Example]
    """Empty if all scores come from files."""
    validation: list[lens_truth.Benchmark]
    test: list[lens_truth.Benchmark]
    """The verdicts speak of the first one that can tell."""


def parts_of(config: Ablate | Compare, sees: bool) -> Parts:
    """Of the data that the flags name; of the zoo's what a model `sees`, if it does."""
    from lens_truth.data.loading import FACTS

    if config.data.startswith(("zoo:", FACTS)) and config.validation_share != type(config).validation_share:
        raise InputError(f"--validation-share is for files: {config.data} has a validation split of its own")
    if config.data.startswith(FACTS):
        parts = _fact_parts(config)
    else:
        parts = _zoo_parts(config, sees) if config.data.startswith("zoo:") else _file_parts(config)
    if parts.to_score:
        warn_of(parts.to_score, short_name(config.data))
    return parts


def _file_parts(config: Ablate | Compare) -> Parts:
    """A file of examples, split by groups."""
    from lens_truth.data.examples import split_groups

    examples = config.examples(config.data)
    n = 2 if config.computed else 1
    shares = (config.validation_share, *[(1 - config.validation_share) / n] * n)
    choose, *to_score, judge = split_groups(examples, shares, config.seed)
    validation, test = (_file_benchmarks(config, rows) for rows in (choose, judge))
    return Parts(to_score[0] if to_score else [], validation, test)


def _file_benchmarks(config: Ablate | Compare, rows: list[lens_truth.Example]) -> list[lens_truth.Benchmark]:
    """The same questions in three ways; where none has answers of both labels, nothing is to be chosen."""
    from lens_truth.data.examples import has_pairs

    ways: tuple[tuple[str, Mode], ...] = (("choose", "choose"), ("open", "answer"), ("judgement", "judge"))
    kept = ways if has_pairs(rows) else ways[1:]
    return [lens_truth.benchmark_of(name, mode, rows, n_new=config.new_tokens) for name, mode in kept]


def _fact_parts(config: Ablate | Compare) -> Parts:
    """World facts: scores rest on the data set that is named, benchmarks on the subjects of the other splits."""
    from lens_truth.data.loading import fact_set

    _, split, level = fact_set(config.data)
    if split != "train":
        raise InputError(f"--data {config.data}: gates are chosen and tested on the other splits; scores take train")
    validation = lens_truth.fact_benchmarks("validation", config.questions // 2, config.seed, level)
    test = lens_truth.fact_benchmarks("test", config.questions, config.seed, level)
    # Judged are the first half of the same questions; what a gate may cost is seen in the test.
    return Parts(config.examples(config.data), *as_long(config, validation[:2], test))


def _zoo_parts(config: Ablate | Compare, sees: bool) -> Parts:
    """On the zoo a multimodal model sees the scenes that others are told."""
    if config.images is not None:
        raise InputError("--images is a folder for data from files; the zoo draws its own")
    kind, slash, split = config.data.partition("/")
    if split not in ("", "train") and config.computed:
        raise InputError(f"--data {config.data}: gates are chosen and tested on the other splits; scores take train")
    data = f"{_DRAWN.get(kind, kind) if sees else kind}{slash}{split}"
    make = lens_truth.image_benchmarks if sees else lens_truth.zoo_benchmarks
    validation = make("validation", config.questions // 2, config.seed)
    # Closed-book questions are few and all in the test; captions are long.
    chosen_on = [b for b in validation if b.name != "closed-book" and b.mode != "caption"]
    test = make("test", config.questions, config.seed)
    return Parts(config.examples(data), *as_long(config, chosen_on, test))


def as_long(config: Ablate | Compare, *parts: list[lens_truth.Benchmark]) -> Iterator[list[lens_truth.Benchmark]]:
    """With answers of as many tokens as the flags want."""
    for benchmarks in parts:
        yield [replace(its, n_new=config.new_tokens) if config.new_tokens else its for its in benchmarks]
