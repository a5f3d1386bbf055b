"""`evaluate chair`: captions that exist already, or a model's descriptions of images or of the scenes of the zoo."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_truth.commands.answering import Answering, check_files_only, finish, load_answerer
from lens_truth.commands.compute import LOG
from lens_truth.errors import InputError
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, text_table

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.evaluate.chair import Caption, ChairScore, ObjectNames, TrueObjects
    from lens_truth.models.prompts import Wording

_SCENES = 200
_SUMMARY_TOKENS = 48
_DESCRIBE, _N_NEW = "Please describe this image in detail.", 64  # TruthProbe's
_CAPTIONS = "captions.jsonl"
_MEASURES = ("chair_s", "chair_i", "recall", "precision", "length")


@dataclass(frozen=True)
class Chair(Answering):
    """CHAIR: captions that exist already (--captions with --objects), or a model's descriptions of images (--images
    with --objects) or of the zoo's scenes, which a multimodal model is shown."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, or zoo:NAME."""
    captions: Path | None = None
    """JSON lines with image_id, caption."""
    objects: Path | None = None
    """What is in each image: .json or .json.gz, image id -> names."""
    images: Path | None = None
    """Instead of --captions: the folder of the images that --model is to describe."""
    image_list: Path | None = None
    """Which of them: JSON lines with file_name (or image); by default all whose objects are known."""
    synonyms: Path | None = None
    """The official list of synonyms (a class a line, names separated by commas) instead of our own."""
    out: Path = Path("runs/evaluate-chair")
    """Folder for the results."""


@dataclass(frozen=True)
class _Task:
    """What a model is to describe."""

    what: str
    examples: list[Example]
    wording: Wording
    n_new: int
    names: ObjectNames
    objects: TrueObjects
    one_line: bool
    """Models of the zoo go on with questions about the scene after the line of their description."""


def run_chair(config: Chair) -> None:
    """Scores captions and writes what each of them mentions."""
    from lens_truth.evaluate.chair import chair_intervals, read_synonyms, score_captions
    from lens_truth.evaluate.chair_files import read_captions, read_objects, write_captions
    from lens_truth.io.files import hash_of, write_text
    from lens_truth.io.runs import Run

    clock = Run("evaluate chair", config)
    _check_flags(config)
    files: list[str] = ["captions.csv"]
    used = [path for path in (config.captions, config.objects, config.synonyms, config.image_list) if path]
    hashes = {path.name: hash_of(path.read_bytes()) for path in used if path.is_file()}
    if config.captions is not None and config.objects is not None:
        names = read_synonyms(config.synonyms)
        objects = read_objects(config.objects, names)
        captions = read_captions(config.captions)[: config.limit]
    else:
        captions, task, more = _described(config)
        objects, names, hashes = task.objects, task.names, {**hashes, **more}
        write_captions(config.out / _CAPTIONS, captions)
        files += [_CAPTIONS, LOG]
    score = score_captions(captions, objects, names)
    intervals = chair_intervals(score, config.seed)
    n_images = len({caption.image for caption in captions})
    results: dict[str, Any] = {name: getattr(score, name) for name in _MEASURES}
    results |= {f"{name}_ci": interval for name, interval in intervals.items()}
    results |= {"n": score.n, "n_images": n_images, "without_mention": score.n_without_mention}
    empty = sum(not caption.text.strip() for caption in captions)
    warnings = [
        sentence
        for count, sentence in (
            (empty, f"{empty} of {score.n} captions are empty"),
            (score.n_without_mention, f"{score.n_without_mention} of {score.n} captions mention no object"),
            (score.n - n_images, f"{score.n - n_images} captions are of an image that has one already"),
        )
        if count
    ]
    write_text(config.out / "captions.csv", _mentions_csv(score))
    print_table(
        text_table(
            ["CHAIR", f"n = {score.n}", "95% interval over images"],
            [[name, number(results[name], 4), "{:.4f} to {:.4f}".format(*intervals[name])] for name in intervals],
        )
    )
    finish(config, clock, results, hashes, warnings, *files)


def _check_flags(config: Chair) -> None:
    if config.objects is None:
        if config.captions is not None or config.images is not None:
            raise InputError("--captions and --images need --objects: what is in each image")
        if config.synonyms is not None or config.image_list is not None:
            raise InputError("--synonyms and --image-list go with --objects")
    elif (config.captions is None) == (config.images is None):
        raise InputError("--objects goes with --captions, or with the --images that the model is to describe")
    if config.captions is not None:
        check_files_only(config)
        if config.image_list is not None:
            raise InputError("--image-list goes with --images; all captions in a file are scored")


def _described(config: Chair) -> tuple[list[Caption], _Task, dict[str, str]]:
    """A model describes images, or the zoo's scenes."""
    from lens_truth.data.examples import examples_hash
    from lens_truth.evaluate.answers import first_line
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.chair import Caption
    from lens_truth.evaluate.chair_files import image_key
    from lens_truth.models.image_input import images_of, is_multimodal

    task = None
    if config.images is not None and config.objects is not None:  # what is wrong is said before a model is loaded
        task = _photographs(config, config.images, config.objects)
    answerer = load_answerer(config)
    if task is None:
        scenes = _pictures if is_multimodal(answerer.model) else _stories
        task = scenes(config.limit or _SCENES, config.seed)
    else:
        images_of(answerer.model)  # says so if it can be shown none
    print(f"{config.model} describes {len(task.examples)} {task.what}")
    with answerer.log(config) as log:
        benchmark = Benchmark("description", "caption", tuple(task.examples), task.wording, task.n_new)
        answers = answerer.asker(config, log).ask(benchmark, answerer.gates)[answerer.gate_name]
    texts = [first_line(answer.text) if task.one_line else answer.text for answer in answers]
    captions = [Caption(image_key(e.id), text) for e, text in zip(task.examples, texts, strict=True)]
    return captions, task, answerer.hashes(examples_hash(task.examples))


def _stories(n: int, seed: int) -> _Task:
    """Scenes told in words, to be restated."""
    from lens_truth.data.world import THINGS
    from lens_truth.data.world_text import text_examples
    from lens_truth.evaluate.chair import TrueObjects, object_names
    from lens_truth.models.prompts import Wording

    by_scene = {example.context: example for example in text_examples("test", 6 * n, seed)}
    scenes = list(by_scene.values())[:n]
    objects = {e.id: frozenset(thing for thing in THINGS if f" {thing} " in e.context) for e in scenes}
    summary = Wording(lambda example: f"Context:\n{example.context}\n\nSummary:")
    names = object_names({thing: thing for thing in THINGS})
    return _Task("scenes", scenes, summary, _SUMMARY_TOKENS, names, TrueObjects("the zoo", objects), one_line=True)


def _pictures(n: int, seed: int) -> _Task:
    """Scenes drawn; a thing in another colour than its own is an object that is not there."""
    from lens_truth.data.world_pictures import caption_examples
    from lens_truth.evaluate.chair import objects_described
    from lens_truth.models.prompts import QUESTION
    from lens_truth.zoo.benchmarks import coloured_things

    names, pictures = coloured_things(), caption_examples("test", n, seed)
    objects = objects_described("the zoo", {e.id: e.answer for e in pictures}, names)
    return _Task("pictures", pictures, QUESTION, _SUMMARY_TOKENS, names, objects, one_line=True)


def _photographs(config: Chair, folder: Path, known: Path) -> _Task:
    """Images from a folder, in TruthProbe's protocol."""
    from lens_truth.data.examples import SUPPORTED, Example
    from lens_truth.evaluate.chair import read_synonyms
    from lens_truth.evaluate.chair_files import find_images, read_objects
    from lens_truth.models.prompts import USER_ASSISTANT, Wording

    names = read_synonyms(config.synonyms)
    objects = read_objects(known, names)
    paths = find_images(folder, config.image_list, objects)[: config.limit]
    examples = [Example(path.name, path.name, _DESCRIBE, "", SUPPORTED, image=str(path)) for path in paths]
    wording = Wording(lambda example: example.question, USER_ASSISTANT)
    return _Task("images", examples, wording, _N_NEW, names, objects, one_line=False)


def _mentions_csv(score: ChairScore) -> str:
    """What each caption mentions, and what of it is not in the image."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", "length", "mentioned", "hallucinated", "missed"])
    for caption in score.captions:
        mentioned = [mention.name for mention in caption.mentions]
        hallucinated = [f"{mention.word} ({mention.name})" for mention in caption.hallucinated]
        missed = sorted(caption.true - caption.named)
        writer.writerow([caption.image, caption.length, *("; ".join(c) for c in (mentioned, hallucinated, missed))])
    return table.getvalue()
