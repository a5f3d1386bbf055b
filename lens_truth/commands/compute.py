"""What commands share: common flags, models by name, scores by kind or file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lens_truth.data.examples import Example
    from lens_truth.scoring.scores import HeadScores

KINDS = ("truth", "causal", "learned")
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
    from lens_truth.models.loading import load

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
    from lens_truth.scoring.capturing import capture
    from lens_truth.scoring.causal import causal_scores, learned_gate
    from lens_truth.scoring.probing import truth_scores

    settings: dict[str, Any] = {"template": template, "batch_size": flags.batch_size, "progress": on_terminal()}
    if kind == "truth":
        return truth_scores(capture(model, examples, **settings), seed=flags.seed, n_permutations=n_permutations)
    compute = causal_scores if kind == "causal" else learned_gate
    return compute(model, examples, seed=flags.seed, **settings)


def plain_name(model: str) -> str:
    """A model's name as part of a file's name."""
    return model.replace(":", "-").strip("/").replace("/", "-")


def on_terminal() -> bool:
    """Whether anybody watches a progress bar."""
    return sys.stderr.isatty()


def result_files(out: Path, *names: str) -> None:
    """Names what a run wrote."""
    figures = " (each .png also as .pdf)" if any(name.endswith(".png") for name in names) else ""
    print(f"\nwritten to {out}/: {', '.join(names)}{figures}")
