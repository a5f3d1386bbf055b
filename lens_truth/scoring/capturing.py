"""`capture`: what every head writes at the last token of the answer, or the residual stream there, in one forward pass
a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from lens_truth.data.examples import Example, labels_of
from lens_truth.engines.passes import batches
from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.models.batches import check_lengths, run_body, tokenizer_of
from lens_truth.models.budget import Budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, grid_of, hook_names
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.provenance import provenance_of
from lens_truth.models.sharing import Begun, Sharing, shared_families
from lens_truth.scoring.activations import ActivationWriter, HeadActivations, Point, rows_record

_CHUNK = 1024  # examples encoded at once while lengths are counted
_KINDS: dict[Point, str] = {"z": "attn.hook_z", "resid_post": "hook_resid_post"}


def capture(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    at: Point = "z",
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
        at: `z`, or `resid_post` for the residual stream behind every layer with heads, as one wide head: [N, L, 1, M].
        batch_size: rows of up to 64 tokens in one forward pass, fewer of longer ones; by default what fits
            (`lens_truth.models.budget`).
        out: a folder to stream to. Memory then does not grow with the number of examples, and a run that was killed
            goes on where it stopped.

    Raises:
        InputError: if there are no examples, answers are empty or longer than the context (how many; no image is cut),
            an image is missing, broken or cannot be shown to the model, `out` holds another run, or the memory is too
            small for one row.
    """
    folders: dict[Point, Path | None] = {at: None if out is None else Path(out)}
    return captures(model, examples, folders, template=template, batch_size=batch_size, progress=progress)[at]


@stage("capture")
def captures(
    model: Hooked,
    examples: Sequence[Example],
    at: Mapping[Point, Path | None],
    *,
    template: Template = "plain",
    batch_size: int | None = None,
    progress: bool = False,
) -> dict[Point, HeadActivations]:
    """`capture` at several points in one forward pass, each with the folder that it is streamed to (or None)."""
    tokenizer = tokenizer_of(model)
    if not examples:
        raise InputError("there are no examples to capture")
    if unknown := at.keys() - _KINDS.keys():
        raise InputError(f"activations are read at {' or '.join(_KINDS)}, not at '{min(unknown)}'")
    images = images_for(model, examples)

    chunks = (examples[start : start + _CHUNK] for start in range(0, len(examples), _CHUNK))
    spans = [
        (row.continuation, row.answer[1]) for chunk in chunks for row in encode(tokenizer, chunk, template, images)
    ]
    check_lengths([length for _, length in spans], [example.id for example in examples], model)
    order = _order(examples, spans)
    budget = Budget.of(model, batch_size)

    labels, groups, ids = labels_of(examples), [e.group for e in examples], [e.id for e in examples]
    provenance = {**provenance_of(model, examples, template), "batch_size": batch_size}
    about = {point: provenance if point == "z" else {**provenance, "point": point} for point in at}
    shapes = {point: (len(examples), *shape_of(model, point)) for point in at}

    def cost(row: int, before: int | None) -> int:
        begun, length = spans[row]
        return length - begun if before is not None and _asked(examples[row]) == _asked(examples[before]) else length

    def read(rows: Sequence[int]) -> dict[Point, Float[Tensor, "B L H D"]]:
        return _read(model, encode(tokenizer, [examples[row] for row in rows], template, images), list(at))

    def run(first: int) -> Iterator[tuple[Sequence[int], dict[Point, Float[Tensor, "B L H D"]]]]:
        rest = order[first:]
        with bar(None, "capture", sum(spans[row][1] for row in rest), shown=progress) as done:
            for rows, found in batches(model, rest, cost, budget, read):
                yield rows, found
                done.update(sum(spans[row][1] for row in rows))

    writers: dict[Point, ActivationWriter] = {
        point: ActivationWriter(folder, shapes[point], rows_record(labels, groups, ids, about[point]))
        for point, folder in at.items()
        if folder is not None
    }
    kept: dict[Point, Tensor] = {point: torch.empty(shapes[point]) for point, folder in at.items() if folder is None}
    unfinished: dict[Point, ActivationWriter] = {
        point: writer for point, writer in writers.items() if not writer.complete
    }
    begun = 0 if kept else min((writer.rows_done for writer in unfinished.values()), default=len(order))
    for writer in unfinished.values():  # a killed run may have written of one point more than of another
        writer.rows_done = begun
    for rows, found in run(begun):
        for point, z in kept.items():
            z[rows] = found[point]
        for point, writer in unfinished.items():
            writer.write(rows, found[point])
    for writer in unfinished.values():
        writer.finish()
    made: dict[Point, HeadActivations] = {
        point: HeadActivations(z, torch.tensor(labels), tuple(groups), tuple(ids), about[point])
        for point, z in kept.items()
    }
    return {point: made[point] if folder is None else HeadActivations.load(folder) for point, folder in at.items()}


def _asked(example: Example) -> tuple[str, str, str]:
    return example.image, example.context, example.question


def _order(examples: Sequence[Example], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Rows as they are read: the longest first, and each with those that may begin as it does."""
    longest: dict[tuple[str, str], int] = {}
    mates = [(example.image, example.context or example.question or example.answer) for example in examples]
    for key, (_, length) in zip(mates, spans, strict=True):
        longest[key] = max(length, longest.get(key, 0))
    first = {key: place for place, key in enumerate(longest)}
    asked = {key: place for place, key in enumerate(dict.fromkeys(map(_asked, examples)))}

    def rank(row: int) -> tuple[int, int, int]:
        return -longest[mates[row]], first[mates[row]], asked[_asked(examples[row])]

    return sorted(range(len(examples)), key=rank)


def shape_of(model: Hooked, point: Point) -> tuple[int, int, int]:
    """Layers, heads and width of what is read at a point of a model."""
    L, H = grid_of(model)
    return (L, H, model.cfg.d_head) if point == "z" else (L, 1, model.cfg.d_model)


def point_hooks(model: Hooked, point: Point) -> list[str]:
    """The hooks of a point, one a layer with heads."""
    return hook_names(model, _KINDS[point])


def _read(model: Hooked, encoded: Sequence[Encoded], points: Sequence[Point]) -> dict[Point, Float[Tensor, "B L H D"]]:
    """What hooks keep of each row: one position. Where layers have heads of different width, zeros fill up the narrower
    ones, which no linear probe sees."""
    rows = [row.shown for row in encoded]
    families = shared_families(model, rows, [len(row.ids) for row in rows])
    result: dict[Point, Tensor] = {point: torch.empty(len(rows), *shape_of(model, point)) for point in points}
    with torch.no_grad():
        for batch in Sharing(model, rows).batches(families, [""], len(rows)):
            at = [row for _, row in batch.at]
            for point, found in _read_batch(model, batch, points).items():
                result[point][at] = found
    return result


def _read_batch(model: Hooked, batch: Begun, points: Sequence[Point]) -> dict[Point, Float[Tensor, "B L H D"]]:
    row = torch.arange(len(batch.at), device=batch.ids.device)
    last = [len(its.ids) - 1 + shift for its, shift in zip(batch.rows, batch.shift, strict=True)]
    position = torch.tensor(last, device=batch.ids.device)
    kept: dict[Point, list[Tensor]] = {point: [] for point in points}

    def keeping(point: Point) -> Callable[..., None]:
        def keep(passing: Float[Tensor, "batch pos ..."], hook: Any) -> None:
            # fetched at the end: of a GPU each would be waited for
            kept[point].append(passing[row.to(passing.device), position.to(passing.device)])

        return keep

    hooks = [(name, keeping(point)) for point in points for name in point_hooks(model, point)]
    with model.hooks(fwd_hooks=hooks):
        run_body(model, batch.rest, batch.mask, given=batch.given)
    found: dict[Point, Float[Tensor, "B L H D"]] = {}
    for point, layers in kept.items():
        L, H, D = shape_of(model, point)
        wide = [pad(its.to(row.device), (0, D - its.shape[-1])) for its in layers]
        found[point] = torch.stack(wide, dim=1).cpu().float().view(len(row), L, H, D)
        check_finite(found[point], model, batch.ids, batch.mask, batch.rows)
    return found
