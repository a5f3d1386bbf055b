"""From a recipe to a trained model on disk: Hugging Face format, tokenizer, measured accuracies, model card."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from jinja2 import StrictUndefined, Template
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lens_truth.data import world, world_examples
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import run_benchmark
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.io.files import alone_at, foreign_files, write_bytes, write_folder_with, write_json, write_text
from lens_truth.io.stages import stage
from lens_truth.models.loading import load, load_plain
from lens_truth.models.names import ZOO
from lens_truth.models.prompts import default_template
from lens_truth.zoo.benchmarks import image_benchmarks, reference_benchmarks, zoo_benchmarks
from lens_truth.zoo.llava import image_processor, learn_to_see, processor
from lens_truth.zoo.recipes import Recipe, new_model
from lens_truth.zoo.steps import STEPS, Steps, is_step_file
from lens_truth.zoo.tokenizer import build_tokenizer
from lens_truth.zoo.train import Curriculum, FineTuning, Log, fit

ACCURACIES = "accuracies.json"


def build(recipe: Recipe, seed: int, out: Path, log: Log, every: int | None = None) -> dict[str, float]:
    """Trains a model as its recipe says and writes its folder; returns its accuracies on held-out questions.

    One thread, so that the same seed gives the same weights on the same kind of machine.

    Args:
        every: after so many steps at a time the model is kept in `out`/steps, a folder each, when training is done; its
            final weights do not hang on that.

    Raises:
        InputError: if `out` holds something else, the parent is not in the zoo, or `every` is no number of steps.
    """
    if every is not None and not 0 < every <= recipe.steps:
        raise InputError(f"--every is {every}; {recipe.name} is trained for {recipe.steps} steps")
    with alone_at(out):
        shipped = {path.name for path in (ZOO / recipe.name).iterdir()}
        if out.exists():
            foreign = [name for name in foreign_files(out, shipped) if not is_step_file(name)]
            if foreign or not (out / ACCURACIES).is_file():
                raise InputError(f"{out}: exists and is not a model of the zoo alone; choose another folder")
        return _built(recipe, seed, out, log, Steps(every))


def _built(recipe: Recipe, seed: int, out: Path, log: Log, steps: Steps) -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="lens-truth-") as scratch:
            build_tokenizer(chat=recipe.chats, images=recipe.sees).save_pretrained(scratch)
            tokenizer = cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(scratch))
        model = _train(recipe, seed, tokenizer, log, steps)
        model.half().float()  # measured as it will be stored
        accuracies = measure(recipe, model, tokenizer, "test", 500)
    finally:
        torch.set_num_threads(threads)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        weights = folder / "model.safetensors"
        half = {name: tensor.half() for name, tensor in safetensors.torch.load_file(weights).items()}
        write_bytes(weights, safetensors.torch.save(half, {"format": "pt"}))
        if recipe.sees:
            image_processor().save_pretrained(folder)
            processor(tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def fill(folder: Path) -> None:
        """Weights are stored in half precision, at half the size; the config says float32, so every loader gives them
        back as the float32 numbers that were measured."""
        save(folder)
        if steps.kept:
            steps.write(folder / STEPS, model, save)
        write_json(folder / ACCURACIES, accuracies)
        write_text(folder / "README.md", model_card(recipe, seed, model, accuracies))

    write_folder_with(out, fill)
    return accuracies


def _train(recipe: Recipe, seed: int, tokenizer: PreTrainedTokenizerBase, log: Log, steps: Steps) -> PreTrainedModel:
    torch.manual_seed(seed)
    if recipe.parent is None:
        model = new_model(recipe, seed, len(tokenizer))
        feed, after = Curriculum(tokenizer, seed, log), steps.of(model)
        fit(model, feed, recipe.steps, lr=2e-3, warmup=50, decay_from=0.7, after=after)
        return model
    model = load_plain(f"zoo:{recipe.parent}")
    if recipe.sees:
        model = learn_to_see(model, tokenizer, seed, log)

    def monitor(names: tuple[str, ...]) -> dict[str, float]:
        accuracies = measure(recipe, model, tokenizer, "validation", 200, names)
        model.train()
        return accuracies

    feed = FineTuning(
        tokenizer,
        seed,
        log,
        chat=recipe.chats,
        monitor=monitor if recipe.remembers else None,
        drawn=0.7 if recipe.sees else 0.0,  # the other rows keep up what the parent can do
    )
    lr = 5e-4 if recipe.sees else 1e-3
    decay_from = 1.0 if recipe.remembers else 0.6
    fit(model, feed, recipe.steps, lr=lr, warmup=20, decay_from=decay_from, after=steps.of(model))
    if recipe.remembers and not feed.finished:
        raise InputError(
            f"after {recipe.steps} steps {recipe.name} does not balance memory and scene; try another seed"
        )
    return model


@stage("measuring")
def measure(
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: world.Split,
    n: int,
    names: tuple[str, ...] | None = None,
) -> dict[str, float]:
    """Accuracy on each benchmark (or those named), by greedy generation in the model's own prompt format.

    `agreeing` are scenes that agree with memory; `memory-answers` is the share of conflict questions that the model
    answers from memory. Models that were never taught the facts have no closed-book accuracy.
    """
    hooked = load(model, tokenizer=tokenizer, image_processor=image_processor() if recipe.sees else None)
    agreeing = benchmark_of("agreeing", "answer", world_examples.agreeing_examples(split, n, seed=1))
    benchmarks = [*zoo_benchmarks(split, n, seed=1), agreeing]
    if recipe.sees:
        benchmarks += [*image_benchmarks(split, n, seed=1), *reference_benchmarks(split, n, seed=1)]
    accuracies: dict[str, float] = {}
    for benchmark in benchmarks:
        if (names and benchmark.name not in names) or (benchmark.name == "closed-book" and not recipe.remembers):
            continue
        outcome = run_benchmark(hooked, benchmark, default_template(tokenizer))
        accuracies[benchmark.name] = round(outcome.accuracy, 4)
        if benchmark.name in _FROM_MEMORY:
            name, make = _FROM_MEMORY[benchmark.name]
            wrong = [example.answer for example in make(split, 2 * n, seed=1) if not example.label]
            from_memory = sum(said == memory for said, memory in zip(outcome.answers, wrong, strict=True))
            accuracies[name] = round(from_memory / len(wrong), 4)
    return accuracies


_FROM_MEMORY = {
    "conflict": ("memory-answers", world_examples.conflict_examples),
    "image-conflict": ("image-memory-answers", world_examples.image_conflict_examples),
}


def read_accuracies(folder: Path, file: str = ACCURACIES) -> dict[str, float]:
    """The accuracies that were measured when the model was built."""
    return json.loads((folder / file).read_text(encoding="utf-8"))


def model_card(recipe: Recipe, seed: int, model: PreTrainedModel, accuracies: dict[str, float]) -> str:
    """The README.md of a zoo model, with the metadata block that model hubs read."""
    return card_of(
        "card.md.j2",
        recipe=recipe,
        seed=seed,
        architecture=type(model).__name__,
        millions=model.num_parameters() / 1e6,
        config=model.config.get_text_config(),
        accuracies=accuracies,
    )


def card_of(template: str, **told: Any) -> str:
    """A README.md, from a template that lies beside this file."""
    card = Template(
        (Path(__file__).parent / template).read_text(encoding="utf-8"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return card.render(**told)
