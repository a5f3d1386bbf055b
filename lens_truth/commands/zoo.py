"""The zoo: tiny trained models that ship with lens_truth, a lineage in a box.

Without a subcommand, lists them with the accuracies that were measured when they were built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lens_truth.commands.common import print_table


@dataclass(frozen=True)
class List:
    """List the models with their accuracies on held-out questions."""


@dataclass(frozen=True)
class Train:
    """Train a model of the zoo anew (minutes on one core); children start from their parent in the zoo."""

    name: Annotated[str, tyro.conf.Positional]
    """llama-base, llama-chat, ... (see the list)."""
    seed: int | None = None
    """By default the seed that the shipped model was trained with."""
    out: Path | None = None
    """Folder for the model; by default runs/zoo/NAME."""


Config = Annotated[List, tyro.conf.subcommand("list")] | Annotated[Train, tyro.conf.subcommand("train")]

DEFAULT_ARGUMENTS = ("list",)


def run(config: List | Train) -> None:
    """Lists or trains."""
    from lens_truth.models.load import ZOO
    from lens_truth.zoo.build import build, read_accuracies
    from lens_truth.zoo.recipes import RECIPES, recipe_of

    if isinstance(config, Train):
        recipe = recipe_of(config.name)
        out = config.out or Path("runs/zoo") / recipe.name
        seed = recipe.seed if config.seed is None else config.seed
        accuracies = build(recipe, seed, out, lambda line: print(line, flush=True))
        print_table(["held-out questions", "accuracy"], [[name, f"{a:.3f}"] for name, a in accuracies.items()])
        print(f"\nsaved to {out}: use it as a model name")
        return
    columns = ("open", "judgement", "presence", "conflict", "agreeing", "closed-book", "memory-answers")
    rows = []
    for name, recipe in RECIPES.items():
        accuracies = read_accuracies(ZOO / name)
        cells = [f"{accuracies[c]:.3f}" if c in accuracies else "" for c in columns]
        rows.append([f"zoo:{name}", f"zoo:{recipe.parent}" if recipe.parent else "", *cells])
    print_table(["model", "parent", *columns], rows)
