"""What else a gate does: how far it moves the model's predictions on text that has nothing to do with the questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.ablation.rows import SideEffect
from lens_truth.data.world_examples import text_examples
from lens_truth.errors import InputError
from lens_truth.gates.rows import Gates, Intervention, attach_rows, distinct
from lens_truth.io.readers import read_text
from lens_truth.io.stages import bar
from lens_truth.models.batches import pad_rows, tokenizer_of
from lens_truth.models.budget import LOGITS_AT_ONCE, Budget, within_budget
from lens_truth.models.finite import check_finite
from lens_truth.models.prompts import PromptTokens

_SCENES, _WINDOWS, _WINDOW = 32, 16, 128


@dataclass(frozen=True)
class NeutralText:
    """Passages that no question is asked about: `zoo_text`, `text_file`, or your own.

    >>> lens_truth.NeutralText("proverbs", ("A rolling stone gathers no moss.", "Still waters run deep."))
    """

    name: str
    passages: tuple[str, ...]
    window: int | None = None
    """Tokens of a passage that are used; all of them by default."""


def zoo_text(seed: int = 0) -> NeutralText:
    """Up to 32 scenes of the zoo's test split, told without a question.

    >>> lens_truth.run_ablation(asker, scores, test=test, validation=validation, neutral=[lens_truth.zoo_text()])
    """
    scenes = [example.context for example in text_examples("test", 4 * _SCENES, seed)]
    return NeutralText("zoo", tuple(dict.fromkeys(scenes))[:_SCENES])


def text_file(path: str | Path) -> NeutralText:
    """16 passages of 128 tokens from all over a text file.

    >>> prose = lens_truth.text_file("wikitext2_test.txt")

    Raises:
        InputError: if it is no UTF-8 text or too short.
    """
    path = Path(path)
    text = read_text(path)
    width = 8 * _WINDOW  # characters; more than any tokenizer needs for as many tokens of English prose
    if len(text.strip()) < width:
        raise InputError(f"{path}: holds {len(text.strip())} characters; a neutral text needs at least {width}")
    starts = [round(i * (len(text) - width) / (_WINDOWS - 1)) for i in range(_WINDOWS)]
    return NeutralText(path.stem, tuple(text[start : start + width] for start in starts), _WINDOW)


def side_effects(
    model: Any, gates: Gates, text: NeutralText, *, batch_size: int | None = None
) -> dict[str, SideEffect]:
    """KL and cross-entropy of every gate, averaged over the tokens of the text; all gates of a batch run together."""
    tokens = tokenizer_of(model)(list(text.passages), verbose=False)["input_ids"]
    named = [PromptTokens(ids[: text.window], id=f"passage {i} of {text.name}") for i, ids in enumerate(tokens)]
    # All logits of a batch are kept at once, in single precision: 128 MB, of which several copies are made.
    budget = Budget(min(Budget.of(model, batch_size).tokens, LOGITS_AT_ONCE // model.cfg.d_vocab))
    totals, count = {name: np.zeros(2) for name in gates}, 0
    first, asked = distinct(gates, model)

    def measured(rows: Sequence[PromptTokens]) -> tuple[int, dict[str, tuple[float, float]]]:
        ids, mask = pad_rows([row.ids for row in rows], model)
        read, found = mask[:, 1:].bool(), dict[str, tuple[float, float]]()
        vanilla = _log_probs(model, ids, mask, [None] * len(rows), rows)
        bare = float(_surprise(vanilla, ids)[read].sum())
        found |= {name: (0.0, bare) for name, gate in asked.items() if gate is None}
        names = [name for name in asked if name not in found]
        at_once = max(1, budget.tokens // ids.numel())
        for chunk in (names[start : start + at_once] for start in range(0, len(names), at_once)):
            of_rows = [asked[name] for name in chunk for _ in rows]
            repeated = ids.repeat(len(chunk), 1), mask.repeat(len(chunk), 1)
            gated = _log_probs(model, *repeated, of_rows, [*rows] * len(chunk))
            for name, own in zip(chunk, torch.split(gated, len(rows)), strict=True):
                kl = (vanilla.exp() * (vanilla - own)).sum(-1)[read].sum()
                found[name] = float(kl), float(_surprise(own, ids)[read].sum())
        return int(read.sum()), found

    longest_first = sorted(named, key=lambda row: -len(row.ids))
    with bar(None, "side effects", sum(len(row.ids) for row in named)) as done:
        for rows, (n, found) in within_budget(longest_first, lambda row, _: len(row.ids), budget, measured):
            count += n
            for name, same in first.items():
                totals[name] += found[same]
            done.update(sum(len(row.ids) for row in rows))
    return {name: SideEffect(*(total / count).tolist()) for name, total in totals.items()}


def _surprise(log_probs: Float[Tensor, "B S V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, "B S"]:
    return -log_probs.gather(2, ids[:, 1:, None])[..., 0]


def _log_probs(
    model: Any,
    ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T"],
    gates: Sequence[Intervention | None],
    rows: Sequence[PromptTokens],
) -> Float[Tensor, "B T-1 V"]:
    with torch.no_grad(), attach_rows(model, gates):
        found = model(ids, attention_mask=mask)[:, :-1].log_softmax(-1, dtype=torch.float32)
        check_finite(found.sum(-1).masked_fill(mask[:, 1:] == 0, 0), model, ids, mask, rows)
    return found
