"""What probes decide at every token of answers, and how likely the tokens are, in one forward pass a batch.

Activations are projected on the directions where they pass, so no activation of a whole row is ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.data.examples import Example
from lens_truth.engines.passes import batches
from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.budget import Budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.likelihood import token_log_probs
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.sharing import Begun, Sharing, shared_families
from lens_truth.models.spans import token_texts
from lens_truth.scoring.activations import Point
from lens_truth.scoring.capturing import point_hooks, shape_of
from lens_truth.scoring.detector import Head, units_of
from lens_truth.scoring.head_probes import HeadProbes


@dataclass(frozen=True, eq=False)
class AnswerTokens:
    """The tokens of one answer."""

    texts: tuple[str, ...]
    log_probs: Float[np.ndarray, " n"]
    """Of each token after those before it; NaN where nothing stands before it."""
    log_prob: float
    """Of the answer after its prompt: their sum, with that of what may stand between the two (a space, a tag)."""
    n_likely: int
    """How many tokens that sum is over."""
    decisions: Float[np.ndarray, "n K"]
    """Of the heads that were named, in units of their standard deviation."""


@dataclass(frozen=True, eq=False)
class AnswerReads:
    """What was read of N answers."""

    last: Mapping[Point, Float[np.ndarray, "N L H"]]
    """Every probe's decision at the answer's last token, in units of its standard deviation."""
    mean: Mapping[Point, Float[np.ndarray, "N L H"]]
    """The mean over the answer's tokens."""
    tokens: tuple[AnswerTokens, ...]


@stage("detection")
def read_answers(
    model: Hooked,
    examples: Sequence[Example],
    probes: Mapping[Point, HeadProbes],
    *,
    template: Template = "plain",
    heads: Sequence[Head] = (),
    batch_size: int | None = None,
    progress: bool = False,
) -> AnswerReads:
    """Decisions and log-probabilities over the tokens of every answer.

    Args:
        heads: of the probes at `z`, those whose decisions are kept for every token.

    Raises:
        InputError: whatever `capture` refuses.
    """
    if not examples:
        raise InputError("there are no answers to be read")
    tokenizer = tokenizer_of(model)
    encoded = encode(tokenizer, examples, template, images_for(model, examples))
    check_lengths([row.answer[1] for row in encoded], [example.id for example in examples], model)
    projections: dict[Point, Projection] = {its: Projection(model, its, probes[its]) for its in probes}
    last: dict[Point, np.ndarray] = {its: np.empty((len(encoded), *projections[its].grid)) for its in probes}
    mean: dict[Point, np.ndarray] = {point: np.empty_like(its) for point, its in last.items()}
    tokens: dict[int, AnswerTokens] = {}

    def cost(row: int, before: int | None) -> int:
        own = encoded[row]
        shares = before is not None and encoded[before].prompt.content == own.prompt.content
        return own.answer[1] - own.continuation + 1 if shares else own.answer[1]

    def read(rows: Sequence[int]) -> list[tuple[int, dict[Point, Tensor], Tensor]]:
        return list(_read(model, [encoded[row] for row in rows], rows, projections))

    order, budget = _order(encoded), Budget.of(model, batch_size)
    with bar(None, "detection", sum(row.answer[1] for row in encoded), shown=progress) as done:
        for rows, made in batches(model, order, cost, budget, read):
            for row, found, log_probs in made:
                for point, its in found.items():
                    last[point][row], mean[point][row] = its[-1], its.mean(0)
                kept = [found["z"][:, layer, head].numpy() for layer, head in heads]
                start, stop = encoded[row].answer
                texts = tuple(token_texts(tokenizer, encoded[row].ids[:stop])[start:stop])
                decisions = np.stack(kept, axis=1) if kept else np.empty((stop - start, 0))
                likely = log_probs.double().numpy()
                total, n = float(np.nansum(likely)), int(np.isfinite(likely).sum())
                tokens[row] = AnswerTokens(texts, likely[-(stop - start) :], total, n, decisions)
            done.update(sum(encoded[row].answer[1] for row in rows))
    return AnswerReads(last, mean, tuple(tokens[row] for row in range(len(encoded))))


class Projection:
    """The probes of a point, layer by layer, on the device where the layer is; in units of standard deviations."""

    def __init__(self, model: Hooked, point: Point, probes: HeadProbes) -> None:
        self.names, (L, H, _) = point_hooks(model, point), shape_of(model, point)
        self.grid = (L, H)
        unit = torch.from_numpy(units_of(probes))
        self._directions = (probes.directions.double() / unit[..., None]).float()
        self._intercepts = (probes.intercepts.double() / unit).float()

    def hooks(self, row: Tensor, position: Tensor, kept: dict[int, Tensor]) -> list[tuple[str, Callable[..., None]]]:
        """Hooks that keep decisions [n, H] of each layer at some positions, of the first pass that comes."""
        return [(name, self._keeping(layer, row, position, kept)) for layer, name in enumerate(self.names)]

    def _keeping(self, layer: int, row: Tensor, position: Tensor, kept: dict[int, Tensor]) -> Callable[..., None]:
        def keep(passing: Float[Tensor, "B T ..."], hook: Any) -> None:
            if layer in kept:  # pieces of logits are made by further passes
                return
            on = passing.device
            at = passing[row.to(on), position.to(on)].float().view(len(row), self.grid[1], -1)
            directions = self._directions[layer, :, : at.shape[-1]].to(on)
            kept[layer] = (at * directions).sum(-1) + self._intercepts[layer].to(on)  # a fourth of einsum's time

        return keep


def _read(
    model: Hooked, encoded: Sequence[Encoded], numbers: Sequence[int], projections: Mapping[Point, Projection]
) -> Iterator[tuple[int, dict[Point, Float[Tensor, "n L H"]], Float[Tensor, " n"]]]:
    """For each row its number, decisions at each token of its answer, and log-probabilities from the end of its prompt
    on."""
    rows = [row.shown for row in encoded]
    families = shared_families(model, [row.prompt for row in encoded], [len(row.ids) for row in rows])
    with torch.no_grad():
        for batch in Sharing(model, rows).batches(families, [""], len(rows)):
            at = [row for _, row in batch.at]
            decided, likely = _read_batch(model, batch, [encoded[row] for row in at], projections)
            sizes = [len(_span(encoded[row])) for row in at]
            parts = {point: torch.split(decided[point], sizes) for point in projections}
            for place, (row, log_probs) in enumerate(zip(at, torch.split(likely, sizes), strict=True)):
                between = encoded[row].answer[0] - _span(encoded[row]).start
                its: dict[Point, Tensor] = {point: parts[point][place][between:] for point in projections}
                yield numbers[row], its, log_probs


def _read_batch(
    model: Hooked, batch: Begun, encoded: Sequence[Encoded], projections: Mapping[Point, Projection]
) -> tuple[dict[Point, Float[Tensor, "n L H"]], Float[Tensor, " n"]]:
    places = [
        (i, position + shift)
        for i, (row, shift) in enumerate(zip(encoded, batch.shift, strict=True))
        for position in _span(row)
    ]
    row, position = (torch.tensor(its, device=batch.ids.device) for its in zip(*places, strict=True))
    kept: dict[Point, dict[int, Tensor]] = {point: {} for point in projections}
    hooks = [hook for point, its in projections.items() for hook in its.hooks(row, position, kept[point])]
    told = position > 0  # nothing stands before the first token of a text without a beginning
    with model.hooks(fwd_hooks=hooks):
        of_told = token_log_probs(model, batch.rest, batch.mask, row[told], position[told], batch.given)
    log_probs = torch.full((len(row),), torch.nan)
    log_probs[told.cpu()] = of_told.cpu().float()
    found: dict[Point, Float[Tensor, "n L H"]] = {}
    for point, its in kept.items():
        layers = [its[layer].cpu() for layer in range(len(its))]
        found[point] = torch.stack(layers, dim=1)
        each = row.new_zeros(len(encoded), dtype=torch.float32).cpu()
        check_finite(each.index_add(0, row.cpu(), found[point].sum((1, 2))), model, batch.ids, batch.mask, batch.rows)
    return found, log_probs


def _span(row: Encoded) -> range:
    """From the end of the prompt to the end of the answer; of a text without anything before it, all of it."""
    return range(min(row.continuation, row.answer[0]), row.answer[1])


def _order(encoded: Sequence[Encoded]) -> list[int]:
    """The longest first, and each row with those of its prompt."""
    longest: dict[str, int] = {}
    for row in encoded:
        key = row.prompt.content
        longest[key] = max(row.answer[1], longest.get(key, 0))
    first = {key: place for place, key in enumerate(longest)}
    contents = [row.prompt.content for row in encoded]
    return sorted(range(len(encoded)), key=lambda row: (-longest[contents[row]], first[contents[row]]))
