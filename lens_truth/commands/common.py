"""What commands share: common flags, models by name, scores by kind or file."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lens_truth.examples import Example
    from lens_truth.scores import HeadScores

KINDS = ("truth", "causal", "learned")
UNREADABLE = 0.05
"""A larger share of answers that cannot be read is warned of."""
LOG = "answers.jsonl"
"""Every answer of a run, written as it is given."""


@dataclass(frozen=True)
class Compute:
    """Where and how a model runs."""

    seed: int = 0
    """Seed of every random choice."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1, mps."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; auto keeps the checkpoint's."""
    batch_size: int = 32
    """Rows in one forward pass."""
    trust_remote_code: bool = False
    """Let a checkpoint run code of its own."""


def load_model(name: str, flags: Compute) -> Any:
    """The hooked model that the flags describe."""
    from lens_truth.models.load import load

    return load(name, device=flags.device, dtype=flags.dtype, trust_remote_code=flags.trust_remote_code)


def scores_by_kind(
    kind: str,
    model: Any,
    examples: Sequence[Example],
    flags: Compute,
    template: Any = "plain",
    n_permutations: int | None = 0,
) -> HeadScores:
    """Scores of a kind (truth, causal, learned), computed on `examples`; truth scores with a null of so many label
    permutations (None: the rule)."""
    from lens_truth.capture import capture
    from lens_truth.causal import causal_scores, learned_gate
    from lens_truth.probe import probe

    settings: dict[str, Any] = {"template": template, "batch_size": flags.batch_size, "progress": on_terminal()}
    if kind == "truth":
        return probe(capture(model, examples, **settings), seed=flags.seed, n_permutations=n_permutations)
    compute = causal_scores if kind == "causal" else learned_gate
    return compute(model, examples, seed=flags.seed, **settings)


def plain_name(model: str) -> str:
    """A model's name as part of a file's name."""
    return model.replace(":", "-").strip("/").replace("/", "-")


def on_terminal() -> bool:
    """Whether anybody watches a progress bar."""
    return sys.stderr.isatty()


def check_out(out: Path) -> None:
    """Raises an InputError unless the folder exists or can be made; it is made when there is something to write."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"--out {out}: {there} is not a folder that can be written to")


def number(value: float | None, places: int = 3) -> str:
    """A cell of a table; empty for what is not defined."""
    return "" if value is None else f"{value:.{places}f}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    for line in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_warnings(warnings: Sequence[str]) -> None:
    """In red on a terminal: nobody is to miss them."""
    red, plain = ("\033[1;31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    for warning in warnings:
        print(f"\n{red}WARNING  {warning}{plain}")


def result_files(out: Path, *names: str) -> None:
    """Names what a run wrote."""
    figures = " (each .png also as .pdf)" if any(name.endswith(".png") for name in names) else ""
    print(f"\nwritten to {out}/: {', '.join(names)}{figures}")
