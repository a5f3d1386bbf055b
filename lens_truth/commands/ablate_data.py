"""What `ablate` asks: examples for the scores, questions that choose lambda, questions that judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.commands.ablate import Config
    from lens_truth.data.examples import Example
    from lens_truth.evaluate.benchmark import Benchmark

_DRAWN = {"zoo:text": "zoo:image", "zoo:conflict": "zoo:image-conflict", "zoo:presence": "zoo:image-presence"}
"""The zoo's data sets of scenes that are told, and those of the same scenes drawn."""


@dataclass(frozen=True)
class Parts:
    """No group is in two of them."""

    to_score: list[Example]
    """Empty if all scores come from files."""
    validation: list[Benchmark]
    test: list[Benchmark]
    """The first one is that of which the verdicts speak."""


def parts_of(config: Config, *, sees: bool, scored: bool) -> Parts:
    """What one model is scored on and asked. On the zoo a multimodal model sees the scenes that others are told.

    Raises:
        InputError: if the data cannot be read, or has too few groups to be split.
    """
    if config.data.startswith("zoo:"):
        return _zoo_parts(config, sees)
    from lens_truth.data.examples import split_groups
    from lens_truth.data.loading import load_examples
    from lens_truth.evaluate.benchmark import benchmark_of

    examples = load_examples(config.data, limit=config.limit, seed=config.seed, images=config.images)
    rest = 1 - config.validation_share
    shares = (config.validation_share, rest / 2, rest / 2) if scored else (config.validation_share, rest)
    choose, *to_score, judge = split_groups(examples, shares, config.seed)

    def benchmarks(rows: list[Example]) -> list[Benchmark]:
        return [benchmark_of("open", "answer", rows), benchmark_of("judgement", "judge", rows)]

    return Parts(to_score[0] if to_score else [], benchmarks(choose), benchmarks(judge))


def _zoo_parts(config: Config, sees: bool) -> Parts:
    from lens_truth.data.loading import load_examples
    from lens_truth.zoo.benchmarks import image_benchmarks, zoo_benchmarks

    if config.images is not None:
        raise InputError("--images is a folder for data from files; the zoo draws its own")
    kind, slash, split = config.data.partition("/")
    examples = load_examples(
        f"{_DRAWN.get(kind, kind) if sees else kind}{slash}{split}", limit=config.limit, seed=config.seed
    )
    make = image_benchmarks if sees else zoo_benchmarks
    validation = make("validation", config.questions // 2, config.seed)
    # Closed-book questions are few and all in the test; captions are long.
    chosen_on = [b for b in validation if b.name != "closed-book" and b.mode != "caption"]
    return Parts(examples, chosen_on, make("test", config.questions, config.seed))
