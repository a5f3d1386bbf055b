"""`capture`: what every head writes at the last token of the answer, in one forward pass per batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from lens_truth.data.examples import Example, labels_of
from lens_truth.errors import InputError
from lens_truth.models.batches import check_lengths, length_batches, pad_rows, run_body, tokenizer_of
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, grid_of, hook_names
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.provenance import provenance_of
from lens_truth.scoring.activations import ActivationWriter, HeadActivations, rows_record

_CHUNK = 1024  # examples encoded at once while lengths are counted


def capture(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int = 32,
    out: str | Path | None = None,
    progress: bool = False,
) -> HeadActivations:
    """`hook_z` of every head at the last answer token of every example, [N, L, H, D], with labels and groups.

    Only that position leaves a hook; rows of similar length share a padded batch. The position and the prompt are
    TruthProbe's (Section 3.1 of the paper; `Context: ... Question: ... Answer: ...`).

    >>> activations = lens_truth.capture(model, lens_truth.load_examples("zoo:text", limit=400))

    Args:
        template: `plain` for the paper's prompt, `chat` for the model's chat template.
        out: a folder to stream to. Memory then does not grow with the number of examples, and a run that was killed
            goes on where it stopped.

    Raises:
        InputError: if there are no examples, answers are empty or longer than the context (how many; no image is cut),
            an image is missing, broken or cannot be shown to the model, or `out` holds another run.
    """
    tokenizer = tokenizer_of(model)
    if not examples:
        raise InputError("there are no examples to capture")
    images = images_for(model, examples)

    chunks = (examples[start : start + _CHUNK] for start in range(0, len(examples), _CHUNK))
    lengths = [len(row.ids) for chunk in chunks for row in encode(tokenizer, chunk, template, images)]
    check_lengths(lengths, [example.id for example in examples], model)
    batches = length_batches(lengths, batch_size)

    provenance = {**provenance_of(model, examples, template), "batch_size": batch_size}
    labels, groups, ids = labels_of(examples), [e.group for e in examples], [e.id for e in examples]
    shape = (len(examples), *grid_of(model), model.cfg.d_head)

    def run(first: int) -> Iterator[tuple[int, list[int], Float[Tensor, "B L H D"]]]:
        for number in tqdm(range(first, len(batches)), desc="capture", disable=not progress, leave=False):
            rows = batches[number]
            yield number, rows, _read(model, encode(tokenizer, [examples[row] for row in rows], template, images))

    if out is not None:
        writer = ActivationWriter(Path(out), shape, rows_record(labels, groups, ids, provenance))
        if not writer.complete:
            for number, rows, z in run(writer.batches_done):
                writer.write(number, rows, z)
            writer.finish()
        return HeadActivations.load(out)
    result = torch.empty(shape)
    for _, rows, z in run(0):
        result[rows] = z
    return HeadActivations(result, torch.tensor(labels), tuple(groups), tuple(ids), provenance)


def _read(model: Hooked, encoded: Sequence[Encoded]) -> Float[Tensor, "B L H D"]:
    """One forward pass; each hook keeps one position a row. Where layers have heads of different width, zeros fill up
    the narrower ones, which no linear probe sees."""
    ids, mask = pad_rows([row.ids for row in encoded], model)
    row = torch.arange(len(encoded), device=ids.device)
    position = torch.tensor([row.answer[1] - 1 for row in encoded], device=ids.device)
    kept: list[Tensor] = []

    def keep(z: Float[Tensor, "batch pos H D"], hook: Any) -> None:
        kept.append(z[row.to(z.device), position.to(z.device)])  # fetched at the end: of a GPU each would be waited for

    with torch.no_grad(), model.hooks(fwd_hooks=[(name, keep) for name in hook_names(model)]):
        run_body(model, ids, mask, [row.image for row in encoded])
    layers = [pad(its.to(ids.device), (0, model.cfg.d_head - its.shape[-1])) for its in kept]
    z = torch.stack(layers, dim=1).cpu().float()
    check_finite(z, model, ids, mask, encoded)
    return z
