"""`evaluate chair`: captions that exist already, or a model's summaries of the scenes of the zoo."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_truth.commands.answering import Answering, check_files_only, finish, load_answerer
from lens_truth.commands.common import LOG, number, on_terminal, print_table
from lens_truth.errors import InputError
from lens_truth.runs import Run

if TYPE_CHECKING:
    from lens_truth.evaluate.chair import Caption, ChairScore, ObjectNames, TrueObjects

_SCENES = 200
_SUMMARY_TOKENS = 48
_MEASURES = ("chair_s", "chair_i", "recall", "precision", "length")


@dataclass(frozen=True)
class Chair(Answering):
    """CHAIR: captions that exist already (--captions with --objects), or a model's summaries of the zoo's scenes."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, or zoo:NAME."""
    captions: Path | None = None
    """JSON lines with image_id, caption."""
    objects: Path | None = None
    """What is in each image: .json or .json.gz, image id -> names."""
    synonyms: Path | None = None
    """The official list of synonyms (a class a line, names separated by commas) instead of our own."""
    out: Path = Path("runs/evaluate-chair")
    """Folder for the results."""


def run_chair(config: Chair) -> None:
    """Scores captions and writes what each of them mentions."""
    from lens_truth.evaluate.chair import chair_intervals, read_synonyms, score_captions
    from lens_truth.evaluate.chair_files import read_captions, read_objects
    from lens_truth.files import hash_of, write_text

    clock = Run("evaluate chair", config)
    if (config.captions is None) != (config.objects is None):
        raise InputError("--captions and --objects belong together: what was said of each image, and what is in it")
    files: list[str] = ["captions.csv"]
    if config.captions is None or config.objects is None:
        if config.synonyms is not None:
            raise InputError("--synonyms goes with --captions and --objects")
        captions, objects, names, hashes = _zoo_summaries(config)
        files.append(LOG)
    else:
        check_files_only(config)
        names = read_synonyms(config.synonyms)
        objects = read_objects(config.objects, names)
        captions = read_captions(config.captions)[: config.limit]
        used = [path for path in (config.captions, config.objects, config.synonyms) if path is not None]
        hashes = {path.name: hash_of(path.read_bytes()) for path in used}
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
        ["CHAIR", f"n = {score.n}", "95% interval over images"],
        [[name, number(results[name], 4), "{:.4f} to {:.4f}".format(*intervals[name])] for name in intervals],
    )
    finish(config, clock, results, hashes, warnings, *files)


def _zoo_summaries(config: Chair) -> tuple[list[Caption], TrueObjects, ObjectNames, dict[str, str]]:
    """A model restates scenes that it was told; what is in them is known."""
    from lens_truth.datasets.world import THINGS
    from lens_truth.datasets.zoo import text_examples
    from lens_truth.evaluate.answers import first_line
    from lens_truth.evaluate.benchmark import ask_examples
    from lens_truth.evaluate.chair import Caption, TrueObjects, object_names
    from lens_truth.examples import examples_hash
    from lens_truth.models.prompts import Wording

    summary = Wording(lambda example: f"Context:\n{example.context}\n\nSummary:")
    n = config.limit or _SCENES
    by_scene = {example.context: example for example in text_examples("test", 6 * n, config.seed)}
    scenes = list(by_scene.values())[:n]
    answerer = load_answerer(config)
    print(f"{config.model} restates {len(scenes)} scenes of the zoo")
    with answerer.log(config) as log:
        answers = ask_examples(
            answerer.model,
            "summary",
            scenes,
            summary,
            _SUMMARY_TOKENS,
            answerer.template,
            answerer.gates,
            batch_size=config.batch_size,
            log=log,
            progress=on_terminal(),
        )[answerer.gate_name]
    names = object_names({thing: thing for thing in THINGS})
    objects = {e.id: frozenset(thing for thing in THINGS if f" {thing} " in e.context) for e in scenes}
    # A model of the zoo goes on with questions about the scene after the line of its summary.
    captions = [Caption(e.id, first_line(answer.text)) for e, answer in zip(scenes, answers, strict=True)]
    return captions, TrueObjects("the zoo", objects), names, answerer.hashes(examples_hash(scenes))


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
