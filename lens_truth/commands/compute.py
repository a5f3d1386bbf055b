"""What commands share: common flags, models by name, scores by kind or file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lens_truth.data.examples import Example
    from lens_truth.models.prompts import Template
    from lens_truth.scoring.scores import HeadScores

KINDS = ("truth", "causal", "learned")
LOG = "answers.jsonl"
"""Every answer of a run, written as it is given."""


@dataclass(frozen=True)
class Device:
    """Where a model runs."""

    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1, mps."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; auto keeps the checkpoint's."""
    trust_remote_code: bool = False
    """Let a checkpoint run code of its own."""


@dataclass(frozen=True)
class Compute(Device):
    """Where and how a model runs."""

    seed: int = 0
    """Seed of every random choice."""
    batch_size: int = 32
    """Rows in one forward pass."""


def load_model(name: str, flags: Device) -> Any:
    """The hooked model that the flags describe."""
    from lens_truth.models.loading import load

    return load(name, device=flags.device, dtype=flags.dtype, trust_remote_code=flags.trust_remote_code)


def scores_by_kind(
    kind: str,
    model: Any,
    examples: Sequence[Example],
    flags: Compute,
    template: Template = "plain",
    *,
    keep: Path | None = None,
    **probe: Any,
) -> HeadScores:
    """Scores of a kind (truth, causal, learned), computed on `examples`.

    Args:
        keep: a folder for the activations behind truth scores, so that an interrupted run goes on where it stopped.
        probe: what `truth_scores` is to be given; no null is drawn unless `n_permutations` says so (None: the rule).
    """
    from lens_truth.data.examples import examples_hash
    from lens_truth.io.files import hash_of
    from lens_truth.models.tower import weights_hash
    from lens_truth.scoring.capturing import capture
    from lens_truth.scoring.causal import causal_scores, learned_gate
    from lens_truth.scoring.probing import truth_scores

    how: dict[str, Any] = {"seed": flags.seed, "progress": on_terminal()}
    passes: dict[str, Any] = {"template": template, "batch_size": flags.batch_size}
    if kind != "truth":
        return (causal_scores if kind == "causal" else learned_gate)(model, examples, **passes, **how)
    if keep is not None:
        keep /= hash_of(weights_hash(model), examples_hash(examples), template, str(flags.batch_size))
    activations = capture(model, examples, out=keep, progress=on_terminal(), **passes)
    settings: dict[str, Any] = {"n_permutations": 0, **how, **probe}
    return truth_scores(activations, **settings)


def plain_name(model: str) -> str:
    """A model's name as part of a file's name."""
    return model.replace(":", "-").strip("/").replace("/", "-")


def on_terminal() -> bool:
    """Whether anybody watches a progress bar."""
    return sys.stderr.isatty()
