"""`neuron_activity`: how much every neuron contributes to answers (CETT), in one forward pass a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from lens_truth.data.replies import Reply, spans_hash
from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.models.batches import run_body
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.neurons import column_norms, mlps
from lens_truth.models.prefixes import Family
from lens_truth.models.prompts import Encoded, Template
from lens_truth.models.provenance import provenance_of
from lens_truth.models.sharing import Begun, Sharing, shared_families
from lens_truth.neurons.activity import POINT, NeuronActivity, record_of
from lens_truth.neurons.reply_tokens import reply_rows
from lens_truth.scoring.activations import ActivationWriter

_SMALL = 1e-8
"""What is added to the length of an MLP's output."""


@stage("neurons")
def neuron_activity(
    model: Hooked,
    replies: Sequence[Reply],
    *,
    template: Template = "plain",
    others: bool = False,
    batch_size: int | None = None,
    out: str | Path | None = None,
    progress: bool = False,
) -> NeuronActivity:
    """CETT of every neuron at the tokens of answers (H-Neurons, arXiv 2512.01797, Section 3.1): |a_j| times the length
    of the down projection's column j, over the length of the MLP's output (plus 1e-8), averaged over the tokens.

    Only these averages leave the hooks of a layer. Prompts that replies share go through the model once, unless the
    other tokens are asked for, those of the prompts among them. What stands behind the answer in a reply is read too.

    >>> replies = lens_truth.whole_replies(lens_truth.load_examples("facts:closed-book", limit=400))
    >>> activity = lens_truth.neuron_activity(model, replies)

    Args:
        template: `plain` for the paper's prompt, `chat` for the model's chat template.
        others: whether all other tokens of prompt and reply are averaged too (the paper's 3-vs-1 training).
        batch_size: rows of up to 64 tokens in one forward pass; by default what fits.
        out: a folder to stream to. Memory then does not grow with the number of replies, and a run that was killed goes
            on where it stopped.

    Raises:
        InputError: if a layer has no gated MLP, no answer has tokens, a reply does not fit the context, or `out` holds
            another run.
    """
    reader = CettReader(model, others)
    rows, kept = reply_rows(model, replies, template)
    rows = rows if others else [row.shown for row in rows]
    lengths = [len(row.ids) for row in rows]
    order = _order(rows)

    def cost(row: int, before: int | None) -> int:
        shared = not others and before is not None and _prompt(rows[row]) == _prompt(rows[before])
        return lengths[row] - (rows[row].continuation - 1 if shared else 0)

    examples = [reply.example for reply in kept]
    n_tokens = [row.answer[1] - row.answer[0] for row in rows]
    about = {**provenance_of(model, examples, template), "point": POINT, "spans": spans_hash(kept)}
    about["batch_size"] = batch_size
    labels = [example.label for example in examples]
    groups, ids = tuple(e.group for e in examples), tuple(e.id for e in examples)
    shape = (len(rows), 1 + others, *reader.shape)
    writer = None
    if out is not None:
        writer = ActivationWriter(Path(out), shape, record_of(labels, groups, ids, n_tokens, about))
    found = torch.empty(shape) if writer is None else torch.empty(0, *shape[1:])
    rest = order[0 if writer is None else writer.rows_done :]
    if writer is not None and writer.complete:
        rest = []
    with bar(None, "neurons", sum(lengths[row] for row in rest), shown=progress) as done:
        budget = Budget.of(model, batch_size)
        for some, its in within_budget(rest, cost, budget, lambda some: reader.read([rows[row] for row in some])):
            if writer is None:
                found[list(some)] = its
            else:
                writer.write(some, its)
            done.update(sum(lengths[row] for row in some))
    if writer is not None:
        if not writer.complete:
            writer.finish()
        return NeuronActivity.load(Path(out or ""))
    beside = found[:, 1] if others else None
    return NeuronActivity(found[:, 0], torch.tensor(labels), groups, ids, np.array(n_tokens), about, beside)


def _prompt(row: Encoded) -> tuple[int, ...]:
    return tuple(row.ids[: row.continuation])


def _order(rows: Sequence[Encoded]) -> list[int]:
    """The longest first, and each with those behind the same prompt."""
    longest: dict[tuple[int, ...], int] = {}
    for row in rows:
        longest[_prompt(row)] = max(longest.get(_prompt(row), 0), len(row.ids))
    return sorted(range(len(rows)), key=lambda i: (-longest[_prompt(rows[i])], _prompt(rows[i]), -len(rows[i].ids)))


class CettReader:
    """A model whose neurons are read, over the answer's tokens alone or over the others too."""

    def __init__(self, model: Hooked, others: bool) -> None:
        self.model, self.others = model, others
        hf = inner_model(model)
        self._mlps = mlps(hf)
        self.shape = len(self._mlps), max(mlp.width for mlp in self._mlps)
        self._norms = [column_norms(hf, mlp) for mlp in self._mlps]

    def read(self, rows: Sequence[Encoded]) -> Float[Tensor, "B K L M"]:
        """CETT averaged over each row's answer, and, if asked for, over its other tokens."""
        if self.others:
            families = [Family((row,), 0) for row in range(len(rows))]
        else:
            prompts = [row.prompt for row in rows]
            families = shared_families(self.model, prompts, [len(row.ids) for row in rows])
        found = torch.empty(len(rows), 1 + self.others, *self.shape)
        with torch.no_grad():
            for batch in Sharing(self.model, rows).batches(families, [""], len(rows)):
                at = [row for _, row in batch.at]
                found[at] = self.averaged(batch, [rows[row] for row in at])
        return found

    def averaged(self, batch: Begun, rows: Sequence[Encoded]) -> Float[Tensor, "B K L M"]:
        """The same of one batch, whose prompts may have gone through the model already."""
        begun = [row.answer[0] + shift for row, shift in zip(rows, batch.shift, strict=True)]
        length = torch.tensor([row.answer[1] - row.answer[0] for row in rows], device=batch.ids.device)
        step = torch.arange(int(length.max()), device=length.device)
        inside = step < length[:, None]
        place = torch.where(inside, torch.tensor(begun, device=length.device)[:, None] + step, 0)
        other = None
        if self.others:
            other = batch.mask.bool().scatter(1, torch.where(inside, place, place[:, :1]), False)
        found: dict[int, Tensor] = {}
        passing: dict[int, Tensor] = {}

        def enter(layer: int, neurons: Tensor) -> None:
            passing[layer] = neurons

        def leave(layer: int, output: Tensor) -> None:
            neurons, norms = passing.pop(layer), self._norms[layer].to(output.device)
            row = torch.arange(len(rows), device=output.device)[:, None]
            at = place.to(output.device)
            parts = [_averaged(neurons[row, at], output[row, at], inside.to(output.device))]
            if other is not None:
                parts.append(_averaged(neurons, output, other.to(output.device)))
            found[layer] = torch.stack(parts, dim=1) * norms

        hooks: list[tuple[str, Any]] = []
        for mlp in self._mlps:
            # bound now: of a loop variable every hook would see the last
            hooks.append((f"blocks.{mlp.layer}.mlp.hook_post", _Passing(enter, mlp.layer)))
            hooks.append((f"blocks.{mlp.layer}.hook_mlp_out", _Passing(leave, mlp.layer)))
        with self.model.hooks(fwd_hooks=hooks):
            run_body(self.model, batch.rest, batch.mask, given=batch.given)
        if len(found) < len(self._mlps):
            raise InputError(
                f"{len(self._mlps) - len(found)} of {len(self._mlps)} down projections were not called when the model "
                "ran, so its neurons cannot be read (a fused kernel may stand in their place): load it without"
            )
        width, device = self.shape[1], batch.ids.device
        wide = [pad(found[mlp.layer].to(device), (0, width - mlp.width)) for mlp in self._mlps]
        result = torch.stack(wide, dim=2).cpu()  # of a GPU each copy would be waited for
        check_finite(result, self.model, batch.ids, batch.mask, batch.rows)
        return result


class _Passing:
    """A hook that hands on what passes in a layer, for reading only."""

    def __init__(self, seen: Any, layer: int) -> None:
        self._seen, self._layer = seen, layer

    def __call__(self, passing: Tensor, hook: Any) -> None:
        self._seen(self._layer, passing)


def _averaged(
    neurons: Float[Tensor, "B T m"], output: Float[Tensor, "B T D"], counts: Bool[Tensor, "B T"]
) -> Float[Tensor, "B m"]:
    """The mean of |a| over the length of the MLP's output, over the tokens that count, in single precision."""
    length = cast("Tensor", output.float().norm(dim=-1))
    weight = counts / (length + _SMALL) / counts.sum(1, keepdim=True).clamp(min=1)
    return torch.bmm(weight[:, None], neurons.float().abs())[:, 0]
