"""`evaluate pope`: answers that exist already, or a model asked about images or about the scenes of the zoo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lens_truth.commands.answering import (
    Answering,
    ask_yes_no,
    check_files_only,
    finish,
    headline,
    load_answerer,
    print_splits,
    unreadable,
)
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lens_truth.data.examples import Example
    from lens_truth.evaluate.binary import BinaryMetrics
    from lens_truth.evaluate.pope import PopeQuestion
    from lens_truth.io.runs import Run

_ZOO_QUESTIONS = 600


@dataclass(frozen=True)
class Pope(Answering):
    """POPE: answers that exist already (--questions with --answers), or a model asked about images (--questions with
    --images) or about the zoo's scenes, which a multimodal model is shown."""

    questions: tuple[Path, ...] = ()
    """Questions of one or more splits: JSON lines with question_id, image, text, label."""
    answers: tuple[Path, ...] = ()
    """Answers to each of them, in the same order: JSON lines with question_id, answer."""
    images: Path | None = None
    """Instead of --answers: the folder of the images that --model is to be asked about."""
    out: Path = Path("runs/evaluate-pope")
    """Folder for the results."""


def run_pope(config: Pope) -> None:
    """Scores files of answers if there are any, otherwise asks."""
    from lens_truth.io.runs import Run

    clock = Run("evaluate pope", config)
    if config.images is not None:
        _ask_about_images(config, config.images, clock)
    elif config.questions or config.answers:
        check_files_only(config)
        if config.limit is not None:
            raise InputError("--limit is for questions that a model is asked; all answers in a file are scored")
        _score_files(config, clock)
    else:
        _ask_zoo(config, clock)


def _ask_zoo(config: Pope, clock: Run) -> None:
    """A text model is told the scenes, a multimodal one is shown them, in POPE's three splits."""
    from lens_truth.data.world_pictures import PRESENCE_KINDS, image_presence_examples
    from lens_truth.data.world_text import presence_examples
    from lens_truth.evaluate.benchmark import benchmark_of
    from lens_truth.evaluate.pope import POPE_PARSES
    from lens_truth.models.image_input import is_multimodal

    answerer, n = load_answerer(config), 2 * (config.limit or _ZOO_QUESTIONS)
    splits: list[str] = []
    examples: list[Example] = []
    if is_multimodal(answerer.model):
        for kind in PRESENCE_KINDS:
            some = [e for e in image_presence_examples("test", n, config.seed, kind) if e.label]
            examples += some
            splits += [kind] * len(some)
    else:
        examples = presence_examples("test", n, config.seed)
    benchmark = benchmark_of("presence", "yes-no", examples)
    how = "shown in pictures" if splits else "told in words"
    print(f"{config.model} answers {len(benchmark.examples)} questions about scenes of the zoo, {how}")
    ask_yes_no(config, clock, answerer, benchmark, POPE_PARSES, splits)


def _ask_about_images(config: Pope, folder: Path, clock: Run) -> None:
    """TruthProbe's protocol: POPE's question, one word or phrase, at most five tokens."""
    from lens_truth.evaluate.benchmark import benchmark_of
    from lens_truth.evaluate.pope import N_NEW, POPE_PARSES, WORDING, count_duplicates, pope_examples, read_questions
    from lens_truth.models.image_input import images_of

    if not config.questions or config.answers:
        raise InputError("--images needs --questions about them, and no --answers")
    _check_names(config.questions)
    splits: list[str] = []
    examples: list[Example] = []
    warnings: list[str] = []
    for file in config.questions:
        questions = read_questions(file)[: config.limit]
        warnings += _repeats(file.stem, count_duplicates(questions))
        examples += pope_examples(file.stem, questions, folder)
        splits += [file.stem] * len(questions)
    answerer = load_answerer(config)
    images_of(answerer.model)  # says so if it can be shown none
    benchmark = benchmark_of("pope", "yes-no", examples, WORDING, N_NEW)
    n_images = len({example.image for example in examples})
    print(f"{config.model} answers {len(examples)} questions about {n_images} images")
    ask_yes_no(config, clock, answerer, benchmark, POPE_PARSES, splits, warnings)


def _check_names(files: Sequence[Path]) -> None:
    """Raises an InputError if two splits go by one name."""
    names = [file.stem for file in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two splits are called '{twice}'; give their files different names")


def _repeats(split: str, n: int) -> list[str]:
    """A warning where a split asks the same twice."""
    return [f"{split}: {n} questions repeat another one about the same image"] if n else []


def _score_files(config: Pope, clock: Run) -> None:
    from lens_truth.evaluate.pope import count_duplicates, pope_metrics, read_answers, read_questions
    from lens_truth.io.files import hash_of

    if len(config.questions) != len(config.answers):
        raise InputError(
            f"--questions names {len(config.questions)} files and --answers {len(config.answers)}; each split has one "
            "of both"
        )
    _check_names(config.questions)
    splits: dict[str, dict[str, BinaryMetrics]] = {}
    duplicates: dict[str, int] = {}
    said: list[str] = []
    everything: list[PopeQuestion] = []
    for question_file, answer_file in zip(config.questions, config.answers, strict=True):
        questions = read_questions(question_file)
        answers = read_answers(answer_file, questions)
        splits[question_file.stem] = pope_metrics(answers, [question.label for question in questions])
        duplicates[question_file.stem] = count_duplicates(questions)
        said += answers
        everything += questions
    labels = [question.label for question in everything]
    pooled = pope_metrics(said, labels)
    results = {
        **headline(pooled, "pope", said, labels, [question.image for question in everything], config.seed),
        "duplicates": count_duplicates(everything),
        "splits": {
            name: {**{parse: asdict(m) for parse, m in by_parse.items()}, "duplicates": duplicates[name]}
            for name, by_parse in splits.items()
        },
    }
    shown = splits if len(splits) == 1 else {**splits, "pooled": pooled}
    print_splits(shown)
    warnings = unreadable(pooled["strict"].unparsed)
    warnings += [sentence for name, n in duplicates.items() for sentence in _repeats(name, n)]
    if len(splits) > 1 and results["duplicates"]:
        n = results["duplicates"]
        print(f"\n{n} of {len(everything)} questions repeat another one about the same image, mostly in another split")
    hashes = {str(path): hash_of(path.read_bytes()) for path in (*config.questions, *config.answers)}
    finish(config, clock, results, hashes, warnings)
