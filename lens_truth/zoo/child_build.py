"""From the recipe of a child of SmolLM2 to its folder: an adapter as PEFT writes it, accuracies, model card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import PreTrainedTokenizerBase

from lens_truth.data.examples import Example
from lens_truth.data.fact_sets import FactKind, fact_examples
from lens_truth.data.images import BLACK
from lens_truth.data.world import Split
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import contains
from lens_truth.evaluate.asker import run_benchmark
from lens_truth.evaluate.benchmark import Benchmark, benchmark_of
from lens_truth.io.files import alone_at, foreign_files, write_bytes, write_folder_with, write_json, write_text
from lens_truth.io.stages import stage
from lens_truth.models.adapter_files import ROOT, WEIGHTS
from lens_truth.models.loading import load, load_plain, load_tokenizer
from lens_truth.models.sighted import SIGHT, sight_of
from lens_truth.zoo.benchmarks import image_benchmarks, reference_benchmarks
from lens_truth.zoo.build import ACCURACIES, card_of
from lens_truth.zoo.child_llava import add_image_token, with_eyes
from lens_truth.zoo.child_rows import fact_batches, picture_batches
from lens_truth.zoo.children import BASE, Child, fit_child, with_adapter
from lens_truth.zoo.llava import image_processor
from lens_truth.zoo.train import Log

BEFORE = "before.json"
"""The same accuracies before the training, in the child's folder."""
_QUESTIONS = 80
_THREADS = 2


def build_child(
    child: Child, seed: int, out: Path, log: Log, *, base: str = BASE, questions: int = _QUESTIONS
) -> dict[str, float]:
    """Trains an adapter as its recipe says and writes its folder; returns the child's accuracies on held-out questions.

    Two threads, so that the same seed gives the same weights on the same kind of machine. What is learnt so far lies
    beside `out`, and goes away when the folder is written.

    Raises:
        InputError: if `out` holds something else, the base cannot be loaded, or PEFT is not installed.
    """
    with alone_at(out):
        ours = ("adapter_config.json", WEIGHTS[0], SIGHT, ACCURACIES, BEFORE, "README.md", "config.json")
        ours += ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
        if out.exists() and (not (out / ACCURACIES).is_file() or foreign_files(out, ours)):
            raise InputError(f"{out}: exists and is not a child of the zoo alone; choose another folder")
        threads = torch.get_num_threads()
        torch.set_num_threads(_THREADS)
        try:
            return _built(child, seed, out, log, base, questions)
        finally:
            torch.set_num_threads(threads)


def _built(child: Child, seed: int, out: Path, log: Log, base: str, questions: int) -> dict[str, float]:
    tokenizer = load_tokenizer(base)
    if tokenizer is None:
        raise InputError(f"model '{base}' has no tokenizer")
    model: Any = load_plain(base, dtype="float32")
    if child.kind == "llava":
        add_image_token(tokenizer)
        model = with_eyes(model, tokenizer, seed, log)
        batch_of = picture_batches(tokenizer, seed)
    else:
        batch_of = fact_batches(tokenizer, seed, from_memory=child.kind == "memory")
    before = measure_child(child, model, tokenizer, "test", questions)
    log(f"before: {_told(before)}")
    config = with_adapter(model, seed)
    if child.kind == "llava":
        model.model.multi_modal_projector.requires_grad_(True)
    kept = out.with_name(f"{out.name}.training.safetensors")
    fit_child(model, batch_of, child.steps, child.lr, kept, log, f"{child} with seed {seed} on {base}")
    model.requires_grad_(False)
    tensors = {name: its.half() for name, its in model.state_dict().items() if ".lora_" in name}
    sight = {name: its.half() for name, its in sight_of(model).items()} if child.kind == "llava" else {}
    model.load_state_dict({**tensors, **sight}, strict=False)  # measured as they will be stored
    accuracies = measure_child(child, model.eval(), tokenizer, "test", questions)
    log(f"after: {_told(accuracies)}")

    def fill(folder: Path) -> None:
        named = {ROOT + name.replace(".default.", "."): its.contiguous() for name, its in tensors.items()}
        write_bytes(folder / WEIGHTS[0], safetensors.torch.save(named, {"format": "pt"}))
        config.base_model_name_or_path, config.inference_mode = base, True
        config.save_pretrained(folder)
        if sight:
            whole = {name: its.contiguous() for name, its in sight.items()}
            write_bytes(folder / SIGHT, safetensors.torch.save(whole, {"format": "pt"}))
            model.config.text_config._name_or_path = ""  # a folder of this machine
            model.config.save_pretrained(folder)
            image_processor().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        write_json(folder / ACCURACIES, accuracies)
        write_json(folder / BEFORE, before)
        write_text(folder / "README.md", child_card(child, seed, questions, accuracies, before))

    write_folder_with(out, fill)
    kept.unlink()
    return accuracies


def _told(accuracies: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in accuracies.items())


@stage("measuring")
def measure_child(
    child: Child, model: Any, tokenizer: PreTrainedTokenizerBase, split: Split, n: int
) -> dict[str, float]:
    """Accuracy on each benchmark, in the chat template. An open answer is right if it contains what is wanted;
    `memory-answers` is the share of open conflict questions answered with the truth."""
    sees = child.kind == "llava"
    hooked = load(model, tokenizer=tokenizer, image_processor=image_processor() if sees else None)
    accuracies: dict[str, float] = {}
    for benchmark in picture_benchmarks(split, n) if sees else fact_benchmarks(split, n):
        outcome = run_benchmark(hooked, benchmark, "chat")
        accuracies[benchmark.name] = round(outcome.accuracy, 4)
        if benchmark.name == "conflict-open":
            true = [example.answer for example in _facts("conflict", split, n) if not example.label]
            from_memory = sum(contains(said, truth) for said, truth in zip(outcome.texts, true, strict=True))
            accuracies["memory-answers"] = round(from_memory / len(true), 4)
    return accuracies


def _facts(kind: FactKind, split: Split, n: int) -> list[Example]:
    return fact_examples(kind, split, 2 * n, seed=1)


def fact_benchmarks(split: Split, n: int) -> list[Benchmark]:
    """`n` questions each about facts of `split`: the answers to choose from, or (`-open`) to be written."""

    def choose(kind: FactKind) -> Benchmark:
        return benchmark_of(kind, "choose", _facts(kind, split, n))

    def written(kind: FactKind) -> Benchmark:
        return benchmark_of(f"{kind}-open", "answer", _facts(kind, split, n), parses=("contains",))

    return [
        choose("conflict"),
        written("conflict"),
        choose("text"),
        written("agreeing"),
        choose("closed-book"),
        written("closed-book"),
        choose("unstated"),
        benchmark_of("judgement", "judge", _facts("text", split, n)[:n]),
    ]


def picture_benchmarks(split: Split, n: int) -> list[Benchmark]:
    """Some of the zoo's image benchmarks; and what a black image gets, which owes nothing to sight."""
    wanted = ("image-open", "image-judgement", "image-presence-random", "image-presence-adversarial", "image-describe")
    by_name = {its.name: its for its in image_benchmarks(split, n, seed=1)}
    shown = by_name["image-open"]
    unseen = tuple(replace(example, image=BLACK, boxes=()) for example in shown.examples)
    black = replace(shown, name="black-open", examples=unseen)
    return [*(by_name[name] for name in wanted), black, reference_benchmarks(split, n, seed=1)[0]]


def child_card(child: Child, seed: int, questions: int, accuracies: dict[str, float], before: dict[str, float]) -> str:
    """The README.md of an adapter, with the metadata block that model hubs read."""
    return card_of(
        "child_card.md.j2", child=child, seed=seed, questions=questions, accuracies=accuracies, before=before
    )
