"""What `ablate` is told and what it asks: flags; examples for the scores, questions that choose lambda, questions that
judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lens_truth.commands.compute import KINDS, Compute
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.evaluate.benchmark import Benchmark

_DRAWN = {"zoo:text": "zoo:image", "zoo:conflict": "zoo:image-conflict", "zoo:presence": "zoo:image-presence"}
"""The zoo's data sets of scenes that are told, and those of the same scenes drawn."""


@dataclass(frozen=True)
class Config(Compute):
    """Flags of `ablate`."""

    model: tuple[str, ...] = ("zoo:llama-memory", "zoo:llama-memory-chat")
    """Models to gate: Hugging Face ids, folders, or zoo:NAME."""
    scores_from: str | None = None
    """The model whose scores gate all of them; by default the first of --model."""
    scores: tuple[str, ...] = ()
    """Kinds of scores (truth, causal, learned), or score files; by default truth and causal, with --controls all
    learned too."""
    data: str = "zoo:conflict"
    """Examples that the scores are computed on. The zoo's benchmarks judge zoo data, which a multimodal model is shown
    in pictures; a file of examples is split by groups into rows for choosing lambda (--validation-share), and equal
    parts for the scores and for the test."""
    images: Path | None = None
    """Folder with the images that a file of examples names."""
    validation_share: float = 0.2
    """Share of the groups in a file of examples that choose lambda and normalisation."""
    lam: float | None = None
    """A lambda that was chosen elsewhere, for scores of one kind, instead of the search on validation."""
    norm: Literal["center", "minmax", "none"] | None = None
    """The normalisation that goes with --lam (center by default); without --lam both center and minmax are tried."""
    site: Literal["z", "block"] = "z"
    """Where gates act: on heads, or on the paper's blocks of the projected output."""
    random_gate: bool = False
    """Add the paper's control: three trials of 1 + U(-1, 1)."""
    controls: Literal["default", "all"] | None = None
    """default: permuted inside layers, and uniform; all (the rule with --scores-from): inverse and norm-matched and
    learned gates too, and a model that is not the source of the scores is gated by its own as well."""
    trials: int = 5
    """Draws of each control that draws (permuted, norm-matched)."""
    limit: int | None = None
    """Only the first so many examples of --data."""
    questions: int = 200
    """Test questions of each zoo benchmark; half as many choose lambda."""
    neutral_text: Path | None = None
    """A text file for the side effects, beside the zoo's own scenes."""
    batch_size: int = 256
    """Rows in one forward pass: gates x questions."""
    out: Path = Path("runs/ablate")
    """Folder for the results."""


def check(config: Config) -> None:
    """Raises an InputError for flags that do not go together."""
    if config.questions < 2 or config.trials < 1:
        raise InputError("--questions must be at least 2 and --trials at least 1")
    if not 0 < config.validation_share < 1:
        raise InputError(f"--validation-share is {config.validation_share}; it must lie between 0 and 1")
    if config.lam is not None and len(wanted_scores(config)) > 1:
        raise InputError("--lam needs --scores of one kind, since kinds of scores have scales of their own")
    if config.norm is not None and config.lam is None:
        raise InputError("--norm goes with --lam; without it the search tries both center and minmax")


def source_of(config: Config) -> str:
    """The model whose scores gate all of them."""
    return config.scores_from or config.model[0]


def every_control(config: Config) -> bool:
    """Whether all controls are wanted, and all kinds of scores."""
    return (config.controls or ("all" if config.scores_from else "default")) == "all"


def wanted_scores(config: Config) -> tuple[str, ...]:
    """Kinds of scores and score files."""
    return config.scores or (KINDS if every_control(config) else KINDS[:2])


def computed_kinds(config: Config) -> list[str]:
    """Kinds of scores that do not come from files."""
    return [wanted for wanted in wanted_scores(config) if wanted in KINDS]


@dataclass(frozen=True)
class Parts:
    """No group is in two of them."""

    to_score: list[Example]
    """Empty if all scores come from files."""
    validation: list[Benchmark]
    test: list[Benchmark]
    """The first one is that of which the verdicts speak."""


def parts_of(config: Config, *, sees: bool) -> Parts:
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
    shares = (
        (config.validation_share, rest / 2, rest / 2) if computed_kinds(config) else (config.validation_share, rest)
    )
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
