"""What the subcommands of `neurons` that read neurons share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lens_truth
from lens_truth.commands.run import activations_folder
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.models.prompts import Template

FOUND = Path("runs/neurons/neurons.safetensors")
"""Where `neurons find` leaves the neurons."""


def kept_activity(
    out: Path,
    model: Any,
    replies: Sequence[lens_truth.Reply],
    template: Template,
    batch_size: int | None,
    *,
    others: bool = False,
) -> lens_truth.NeuronActivity:
    """What neurons do on replies, kept in the output folder under a name that hangs on all that decides it, so that an
    interrupted run goes on."""
    from lens_truth.data.replies import spans_hash
    from lens_truth.models.hooks import name_of

    examples = [reply.example for reply in replies]
    more = name_of(model), spans_hash(replies), str(others)  # a copy under another name is told apart
    keep = activations_folder(out / "activations", model, examples, template, batch_size, *more)
    passes: dict[str, Any] = {"template": template, "batch_size": batch_size}
    return lens_truth.neuron_activity(model, replies, others=others, out=keep, **passes)


def read_neurons(path: Path | None) -> lens_truth.NeuronSet:
    """The neurons of a file, by default those that were found last."""
    if path is None and not FOUND.exists():
        raise InputError(f"no neurons were found yet ({FOUND}): run `lens-truth neurons find`, or give --neurons FILE")
    return lens_truth.NeuronSet.load(path or FOUND)
