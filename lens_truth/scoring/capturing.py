"""`capture`: what every head writes at the last token of the answer, in one forward pass per batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from lens_truth.data.examples import Example, labels_of
from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.models.batches import check_lengths, run_body, tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, grid_of, hook_names
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.provenance import provenance_of
from lens_truth.models.sharing import Begun, Sharing, shared_families
from lens_truth.scoring.activations import ActivationWriter, HeadActivations, rows_record

_CHUNK = 1024  # examples encoded at once while lengths are counted


@stage("capture")
def capture(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int | None = None,
    out: str | Path | None = None,
    progress: bool = False,
) -> HeadActivations:
    """`hook_z` of every head at the last answer token of every example, [N, L, H, D], with labels and groups.

    Only that position leaves a hook; rows of similar length share a padded batch, and what rows of a batch have in
    common at their beginning (context and question of several answers, an image) goes through the model once. The
    position and the prompt are TruthProbe's (Section 3.1 of the paper; `Context: ... Question: ... Answer: ...`).

    >>> activations = lens_truth.capture(model, lens_truth.load_examples("zoo:text", limit=400))

    Args:
        template: `plain` for the paper's prompt, `chat` for the model's chat template.
        batch_size: rows of up to 64 tokens in one forward pass, fewer of longer ones; by default what fits
            (`lens_truth.models.budget`).
        out: a folder to stream to. Memory then does not grow with the number of examples, and a run that was killed
            goes on where it stopped.

    Raises:
        InputError: if there are no examples, answers are empty or longer than the context (how many; no image is cut),
            an image is missing, broken or cannot be shown to the model, `out` holds another run, or the memory is too
            small for one row.
    """
    tokenizer = tokenizer_of(model)
    if not examples:
        raise InputError("there are no examples to capture")
    images = images_for(model, examples)

    chunks = (examples[start : start + _CHUNK] for start in range(0, len(examples), _CHUNK))
    spans = [
        (row.continuation, row.answer[1]) for chunk in chunks for row in encode(tokenizer, chunk, template, images)
    ]
    check_lengths([length for _, length in spans], [example.id for example in examples], model)
    order = _order(examples, spans)
    budget = Budget.of(model, batch_size)

    provenance = {**provenance_of(model, examples, template), "batch_size": batch_size}
    labels, groups, ids = labels_of(examples), [e.group for e in examples], [e.id for e in examples]
    shape = (len(examples), *grid_of(model), model.cfg.d_head)

    def cost(row: int, before: int | None) -> int:
        begun, length = spans[row]
        return length - begun if before is not None and _asked(examples[row]) == _asked(examples[before]) else length

    def read(rows: Sequence[int]) -> Float[Tensor, "B L H D"]:
        return _read(model, encode(tokenizer, [examples[row] for row in rows], template, images))

    def run(first: int) -> Iterator[tuple[Sequence[int], Float[Tensor, "B L H D"]]]:
        rest = order[first:]
        with bar(None, "capture", sum(spans[row][1] for row in rest), shown=progress) as done:
            for rows, z in within_budget(rest, cost, budget, read):
                yield rows, z
                done.update(sum(spans[row][1] for row in rows))

    if out is not None:
        writer = ActivationWriter(Path(out), shape, rows_record(labels, groups, ids, provenance))
        if not writer.complete:
            for rows, z in run(writer.rows_done):
                writer.write(rows, z)
            writer.finish()
        return HeadActivations.load(out)
    result = torch.empty(shape)
    for rows, z in run(0):
        result[rows] = z
    return HeadActivations(result, torch.tensor(labels), tuple(groups), tuple(ids), provenance)


def _asked(example: Example) -> tuple[str, str, str]:
    return example.image, example.context, example.question


def _order(examples: Sequence[Example], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Rows as they are read: the longest first, and each with those that may begin as it does."""
    longest: dict[tuple[str, str], int] = {}
    mates = [(example.image, example.context or example.question) for example in examples]
    for key, (_, length) in zip(mates, spans, strict=True):
        longest[key] = max(length, longest.get(key, 0))
    first = {key: place for place, key in enumerate(longest)}
    asked = {key: place for place, key in enumerate(dict.fromkeys(map(_asked, examples)))}

    def rank(row: int) -> tuple[int, int, int]:
        return -longest[mates[row]], first[mates[row]], asked[_asked(examples[row])]

    return sorted(range(len(examples)), key=rank)


def _read(model: Hooked, encoded: Sequence[Encoded]) -> Float[Tensor, "B L H D"]:
    """What hooks keep of each row: one position. Where layers have heads of different width, zeros fill up the narrower
    ones, which no linear probe sees."""
    rows = [row.shown for row in encoded]
    families = shared_families(model, rows, [len(row.ids) for row in rows])
    result = torch.empty(len(rows), *grid_of(model), model.cfg.d_head)
    with torch.no_grad():
        for batch in Sharing(model, rows).batches(families, [""], len(rows)):
            result[[row for _, row in batch.at]] = _read_batch(model, batch)
    return result


def _read_batch(model: Hooked, batch: Begun) -> Float[Tensor, "B L H D"]:
    row = torch.arange(len(batch.at), device=batch.ids.device)
    last = [len(its.ids) - 1 + shift for its, shift in zip(batch.rows, batch.shift, strict=True)]
    position = torch.tensor(last, device=batch.ids.device)
    kept: list[Tensor] = []

    def keep(z: Float[Tensor, "batch pos H D"], hook: Any) -> None:
        kept.append(z[row.to(z.device), position.to(z.device)])  # fetched at the end: of a GPU each would be waited for

    with model.hooks(fwd_hooks=[(name, keep) for name in hook_names(model)]):
        run_body(model, batch.rest, batch.mask, given=batch.given)
    layers = [pad(its.to(row.device), (0, model.cfg.d_head - its.shape[-1])) for its in kept]
    z = torch.stack(layers, dim=1).cpu().float()
    check_finite(z, model, batch.ids, batch.mask, batch.rows)
    return z
