"""How far a model with a gate folded in writes what it writes with the gate attached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig

from lens_truth.gates.rows import Intervention
from lens_truth.io.numbers import short
from lens_truth.models.batches import pad_id, pad_rows, tokenizer_of
from lens_truth.models.chat import chat_text
from lens_truth.models.finite import check_finite, not_finite
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.prompts import Prompt, encode_prompts

_ASKED = (
    "Why is the sky blue?",
    "Write a short story about a fisherman who finds an old letter in a bottle.",
    "Name three large rivers of Europe and say where each of them ends.",
    "How is bread made?",
)
_N_NEW = 64


@dataclass(frozen=True)
class FoldAgreement:
    """Attached against folded, over a few prompts and what the attached gate writes behind them."""

    dtype: str
    """Number format of the weights."""
    kl: float
    """KL(attached || folded), in nats a token."""
    same_next: float
    """Share of positions at which both find the same token the likeliest."""
    n_positions: int
    parted: tuple[int | None, ...]
    """For each prompt, the first token at which the greedy texts differ, counted from 1; None if they do not."""
    n_new: int
    """Length of these texts."""

    def sentence(self) -> str:
        """In words, and what helps where they are not the same."""
        ends = [at for at in self.parted if at is not None]
        said = f"attached and folded, in {self.dtype}: KL {short(self.kl)} nats a token, the same next token at "
        said += f"{self.same_next:.1%} of {self.n_positions} positions; of {len(self.parted)} greedy texts of "
        if not ends:
            return f"{said}{self.n_new} tokens all are the same"
        said += f"{self.n_new} tokens {len(ends)} part, the first at token {min(ends)}"
        if self.dtype == "float32":
            return said
        return f"{said}: folding rounds weights, an attached gate activations; --dtype float32 saves it without that"


def fold_agreement(model: Hooked, gate: Intervention, folded: Any) -> FoldAgreement:
    """Compares a gate attached to a model with the same gate folded into it (`gate.fold_into(model)`) on four short
    prompts: next-token distributions at every position of the prompts and of 64 greedy tokens, and these tokens.

    In float32 both are the same but for the last digits. In half precision a folded gate rounds weights, and an
    attached one activations; neither is the truer one.

    >>> fold_agreement(model, gate, gate.fold_into(model)).same_next
    0.992

    Raises:
        InputError: if the model has no tokenizer, or numbers are not finite.
    """
    tokenizer = tokenizer_of(model)
    texts = [_shown(tokenizer, text) for text in _ASKED]
    chat = all(text is not None for text in texts)
    shown = [str(text) for text in texts] if chat else _ASKED
    rows = encode_prompts(tokenizer, [Prompt(text, not chat, id=text) for text in shown])
    ids, mask = pad_rows([row.ids for row in rows], model, "left")
    room = getattr(folded.config.get_text_config(), "max_position_embeddings", None) or _N_NEW + ids.shape[1]
    n_new = max(1, min(_N_NEW, room - ids.shape[1]))
    kl, same, n = 0.0, 0, 0
    with torch.no_grad():
        with gate.attach(model):
            written = _greedy(inner_model(model), ids, mask, n_new, pad_id(model))
        again = _greedy(folded, ids, mask, n_new, pad_id(model))
        for row, text, own in zip(rows, written, pad(mask, (0, n_new), value=1).bool(), strict=True):
            inputs = text[own][None]  # one at a time: logits are large
            seen = torch.ones_like(inputs)
            with gate.attach(model):
                attached = model(inputs, attention_mask=seen).float().log_softmax(-1)
                check_finite(attached[:, :, 0], model, inputs, seen, [row])
            other = folded(input_ids=inputs, attention_mask=seen).logits.float().log_softmax(-1)
            kl += float((attached.exp() * (attached - other)).sum())
            agree = (attached.argmax(-1) == other.argmax(-1))[0]
            same, n = same + int(agree.sum()), n + len(agree)
    if not math.isfinite(kl):
        raise not_finite(folded, rows[0].id, "once the gate is folded")
    differ = (written != again)[:, ids.shape[1] :]
    parted = tuple(int(its.nonzero()[0]) + 1 if its.any() else None for its in differ)
    dtype = str(folded.dtype).removeprefix("torch.")
    return FoldAgreement(dtype, max(0.0, kl / n), same / n, n, parted, n_new)


def _shown(tokenizer: Any, text: str) -> str | None:
    """By the model's chat template; None if it has none, or one that shows something else."""
    return chat_text(tokenizer, text, None, as_list=False) or chat_text(tokenizer, text, None, as_list=True)


def _greedy(hf: Any, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], n_new: int, pads: int) -> Int[Tensor, "B U"]:
    """So many tokens, each the likeliest; where a text would end it goes on."""
    how = GenerationConfig(do_sample=False, max_new_tokens=n_new, min_new_tokens=n_new, pad_token_id=pads)
    return hf.generate(ids, attention_mask=mask, generation_config=how)
