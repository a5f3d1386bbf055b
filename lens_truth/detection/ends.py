"""The residual stream where an answer begins and where it ends, and the answer's log-probability, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.data.examples import Example
from lens_truth.errors import InputError, notice
from lens_truth.evaluate.sampling import SampledAnswers
from lens_truth.io.stages import bar, stage
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.hooks import Hooked, attention_layers, hook_names
from lens_truth.models.prompts import Encoded, Span, Template
from lens_truth.models.sharing import Begun, Sharing, shared_families
from lens_truth.models.spans import token_texts
from lens_truth.scoring.causal import batch_log_probs, encode_answers


@dataclass(frozen=True)
class AnswerEnds:
    """What L layers' residual streams (of width M) hold at the two ends of N answers.

    >>> ends = lens_truth.answer_ends(model, examples)
    >>> ends.deltas[:, 5]  # of layer 5: [N, M]
    >>> lens_truth.AnswerEnds(start, end, n_tokens, log_probs, n_tokens)  # of states that were read elsewhere
    """

    start: Float[Tensor, "N L M"]
    """At the last token before the answer, or the last one of the opening tag."""
    end: Float[Tensor, "N L M"]
    """At the answer's last token, or the last one of the closing tag. Float32; both take 8 x L x M bytes a row."""
    n_tokens: Int[np.ndarray, " N"]
    """From the one to the other."""
    log_probs: Float[np.ndarray, " N"]
    """Of all the answer's tokens, in nats."""
    n_answer_tokens: Int[np.ndarray, " N"]
    """How many these are."""

    @property
    def deltas(self) -> Float[Tensor, "N L M"]:
        """End minus start: what writing the answer has changed (CLUE, arXiv 2510.01591, Section 3)."""
        return self.end - self.start


def answer_ends(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int | None = None,
    progress: bool = False,
) -> AnswerEnds:
    """Both ends of the examples' answers, in one forward pass; what prompts share goes through the model once.

    >>> ends = lens_truth.answer_ends(model, lens_truth.load_examples("facts:closed-book/test", limit=400))

    Raises:
        InputError: for what `capture` refuses, or if nothing stands before an answer.
    """
    if not examples:
        raise InputError("there are no answers whose ends could be read")
    rows = encode_answers(model, examples, template)
    return read_ends(model, rows, [whole(row) for row in rows], batch_size=batch_size, progress=progress)


def whole(row: Encoded) -> Span:
    """The last token before a row's answer, and the answer's last token."""
    return row.continuation - 1, row.answer[1] - 1


def between(model: Hooked, rows: Sequence[Encoded], tags: tuple[str, str]) -> list[Span | None]:
    """The last tokens of the tags that stand around the reasoning in each answer; where the opening one stands in the
    prompt (as some chat templates put it there), the last token before the answer. None where the closing tag is
    missing: such answers are counted (a `DataWarning`), and an InputError says if none has it."""
    tokenizer, found = tokenizer_of(model), list[Span | None]()
    for row in rows:
        texts = token_texts(tokenizer, row.ids[row.continuation : row.answer[1]])
        ends, text = np.cumsum([len(text) for text in texts]), "".join(texts)
        opened, closed = text.find(tags[0]), text.find(tags[1])
        if closed < 0 or opened > closed:
            found.append(None)
            continue
        last = [int(np.searchsorted(ends, at + len(tag))) for at, tag in zip((opened, closed), tags, strict=True)]
        start = row.continuation + last[0] if opened >= 0 else row.continuation - 1
        found.append((start, row.continuation + last[1]))
    missing = found.count(None)
    if missing == len(rows):
        raise InputError(f"none of the {missing} answers holds the closing tag '{tags[1]}'")
    if missing:
        notice(f"{missing} of {len(rows)} answers do not hold the closing tag '{tags[1]}' and are left out")
    return found


def sampled_rows(sampled: SampledAnswers) -> tuple[list[Encoded], list[tuple[int, int]]]:
    """Each different answer to each question once, as the tokens that were sampled (a text may be cut into other ones
    when it is read again), and for each the question and the first sample that gave it. Empty answers have no row."""
    rows, at = list[Encoded](), list[tuple[int, int]]()
    for question, (prompt, answers) in enumerate(zip(sampled.prompts, sampled.answers, strict=True)):
        seen = set[tuple[int, ...]]()
        for number, answer in enumerate(answers):
            if answer.tokens and answer.tokens not in seen:
                seen.add(answer.tokens)
                n = len(prompt.ids)
                span, ids = (n, n + len(answer.tokens)), [*prompt.ids, *answer.tokens]
                rows.append(Encoded(ids, prompt.image, prompt.image_span, prompt.id, answer=span, continuation=n))
                at.append((question, number))
    return rows, at


@stage("ends")
def read_ends(
    model: Hooked,
    rows: Sequence[Encoded],
    spans: Sequence[Span],
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> AnswerEnds:
    """The two positions of every row, of which the first is not before the prompt's last token."""
    rows = [row.shown for row in rows]
    check_lengths([len(row.ids) for row in rows], [row.id for row in rows], model)
    N, L, M = len(rows), len(attention_layers(model)), model.cfg.d_model
    start, end = torch.empty(N, L, M), torch.empty(N, L, M)
    log_probs = np.empty(N)
    longest: dict[tuple[int, ...], int] = {}
    prompts = [tuple(row.ids[: row.continuation]) for row in rows]
    for prompt, row in zip(prompts, rows, strict=True):
        longest[prompt] = max(longest.get(prompt, 0), len(row.ids))
    order = sorted(range(N), key=lambda row: (-longest[prompts[row]], prompts[row], -len(rows[row].ids)))

    def cost(row: int, before: int | None) -> int:
        alike = before is not None and prompts[row] == prompts[before]
        return len(rows[row].ids) - (rows[row].continuation - 1 if alike else 0)

    def read(some: Sequence[int]) -> None:
        its = [rows[row] for row in some]
        families = shared_families(model, [row.prompt for row in its], [len(row.ids) for row in its])
        with torch.no_grad():
            for batch in Sharing(model, its).batches(families, [""], len(its)):
                at = [some[row] for _, row in batch.at]
                (start[at], end[at]), log_probs[at] = _read(
                    model, batch, [rows[row] for row in at], [spans[i] for i in at]
                )

    with bar(None, "ends", N, shown=progress) as done:
        for some, _ in within_budget(order, cost, Budget.of(model, batch_size), read):
            done.update(len(some))
    n_tokens = np.array([stop - first for first, stop in spans])
    return AnswerEnds(start, end, n_tokens, log_probs, np.array([row.n_answer_tokens for row in rows]))


def _read(
    model: Hooked, batch: Begun, rows: Sequence[Encoded], spans: Sequence[Span]
) -> tuple[Float[Tensor, "2 B L M"], Float[np.ndarray, " B"]]:
    names = hook_names(model, "hook_resid_post")
    row = torch.arange(len(rows), device=batch.ids.device)[:, None]
    position = torch.tensor(spans, device=row.device) + torch.tensor(batch.shift, device=row.device)[:, None]
    kept: list[Tensor] = []

    def keep(passing: Float[Tensor, "batch pos M"], hook: Any) -> None:
        if len(kept) < len(names):  # of many tokens' logits, all but the first piece go through the model alone
            kept.append(passing[row.to(passing.device), position.to(passing.device)])

    with model.hooks(fwd_hooks=[(name, keep) for name in names]):
        log_probs = batch_log_probs(model, batch, rows)
    found = torch.stack([its.to(row.device) for its in kept], dim=2).cpu().float()
    return found.transpose(0, 1), log_probs.double().cpu().numpy()


def statements(model: Hooked, texts: Sequence[str], *, batch_size: int | None = None) -> Float[Tensor, "N L M"]:
    """The residual stream at the last token of texts that stand alone."""
    ids = tokenizer_of(model)(list(texts), verbose=False)["input_ids"]
    rows = [
        Encoded(list(its), id=text, answer=(1, len(its)), continuation=1) for its, text in zip(ids, texts, strict=True)
    ]
    return read_ends(model, rows, [(0, len(row.ids) - 1) for row in rows], batch_size=batch_size).end
