"""`evaluate pope`: answers that exist already, or a model asked about images or about the scenes of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import lens_truth
from lens_truth.commands.answering import Answering, answerer, check_files_only, tell
from lens_truth.commands.run import Run
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of

if TYPE_CHECKING:
    from lens_truth.evaluate.pope import PopeQuestion

_ZOO_QUESTIONS = 600


@dataclass(frozen=True)
class Pope(Answering):
    """POPE: answers that exist already (--questions with --answers), or a model asked about images (--questions with
    --images) or about the zoo's scenes, which a multimodal model is shown."""

    questions: tuple[Path, ...] = ()
    """Questions of one or more splits: JSON lines with question_id, image, text, label."""
    answers: tuple[Path, ...] = ()
    """Answers to each of them, in the same order: JSON lines with question_id and answer (or text, as LLaVA and VCD
    have it), or without ids in the order of the questions, as POPE's authors have them."""
    images: Path | None = None
    """Instead of --answers: the folder of the images that --model is to be asked about."""
    out: Path = Path("runs/evaluate-pope")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """Scores files of answers if there are any, otherwise asks."""
        if self.images is not None:
            _ask_about_images(self, self.images, run)
        elif self.questions or self.answers:
            check_files_only(self)
            if self.limit is not None:
                raise InputError("--limit is for questions that a model is asked; all answers in a file are scored")
            _score_files(self, run)
        else:
            _ask_zoo(self, run)


def _ask_zoo(config: Pope, run: Run) -> None:
    """A text model is told the scenes, a multimodal one is shown them, in POPE's three splits."""
    from lens_truth.data.world_examples import PRESENCE_KINDS, image_presence_examples, presence_examples
    from lens_truth.evaluate.pope import POPE_PARSES
    from lens_truth.models.image_input import is_multimodal

    n = 2 * (config.limit or _ZOO_QUESTIONS)
    with answerer(config, run) as asked:
        splits: list[str] = []
        examples: list[lens_truth.Example] = []
        if is_multimodal(asked.asker.model):
            for kind in PRESENCE_KINDS:
                some = [e for e in image_presence_examples("test", n, config.seed, kind) if e.label]
                examples += some
                splits += [kind] * len(some)
        else:
            examples = presence_examples("test", n, config.seed)
        benchmark = lens_truth.benchmark_of("presence", "yes-no", examples, parses=POPE_PARSES)
        how = "shown in pictures" if splits else "told in words"
        print(f"{config.called} answers {len(benchmark.examples)} questions about scenes of the zoo, {how}")
        asked.ask_yes_no(run, replace(benchmark, splits=tuple(splits)), config.seed)


def _ask_about_images(config: Pope, folder: Path, run: Run) -> None:
    """TruthProbe's protocol: POPE's question, one word or phrase, at most five tokens."""
    from lens_truth.evaluate.pope import N_NEW, POPE_PARSES, WORDING, pope_examples, read_questions
    from lens_truth.models.image_input import images_of

    if not config.questions or config.answers:
        raise InputError("--images needs --questions about them, and no --answers")
    _check_names(config.questions)
    splits: list[str] = []
    examples: list[lens_truth.Example] = []
    for file in config.questions:
        questions = read_questions(file)[: config.limit]
        _repeats(run, file.stem, questions)
        examples += pope_examples(file.stem, questions, folder)
        splits += [file.stem] * len(questions)
    with answerer(config, run) as asked:
        images_of(asked.asker.model)  # says so if it can be shown none
        benchmark = lens_truth.benchmark_of("pope", "yes-no", examples, WORDING, N_NEW, parses=POPE_PARSES)
        n_images = len({example.image for example in examples})
        print(f"{config.called} answers {len(examples)} questions about {n_images} images")
        asked.ask_yes_no(run, replace(benchmark, splits=tuple(splits)), config.seed)


def _score_files(config: Pope, run: Run) -> None:
    from lens_truth.evaluate.pope import count_duplicates, pope_result, read_answers, read_questions

    if len(config.questions) != len(config.answers):
        raise InputError(
            f"--questions names {len(config.questions)} files and --answers {len(config.answers)}; each split has one "
            "of both"
        )
    _check_names(config.questions)
    splits: dict[str, tuple[list[PopeQuestion], list[str]]] = {}
    for question_file, answer_file in zip(config.questions, config.answers, strict=True):
        questions = read_questions(question_file)
        splits[question_file.stem] = questions, read_answers(answer_file, questions)
    tell(run, pope_result(splits, config.seed))
    for name, (questions, _) in splits.items():
        run.results["splits"][name]["duplicates"] = _repeats(run, name, questions)
    everything = [question for questions, _ in splits.values() for question in questions]
    n = run.results["duplicates"] = count_duplicates(everything)
    if len(splits) > 1 and n:
        print(f"\n{n} of {len(everything)} questions repeat another one about the same image, mostly in another split")
    run.hashes |= {str(path): hash_of(path.read_bytes()) for path in (*config.questions, *config.answers)}


def _check_names(files: Sequence[Path]) -> None:
    """Raises an InputError if two splits go by one name."""
    names = [file.stem for file in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two splits are called '{twice}'; give their files different names")


def _repeats(run: Run, split: str, questions: Sequence[PopeQuestion]) -> int:
    """How often a split asks the same twice, with a warning where it does."""
    from lens_truth.evaluate.pope import count_duplicates

    n = count_duplicates(questions)
    run.warnings += [f"{split}: {n} questions repeat another one about the same image"] if n else []
    return n
