"""Which tokens of a reply are its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lens_truth.data.replies import Reply
from lens_truth.errors import InputError, notice
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Encoded, Template, encode, encode_prompts, prompt_of
from lens_truth.models.spans import Span, tokens_in


def reply_rows(model: Hooked, replies: Sequence[Reply], template: Template) -> tuple[list[Encoded], list[Reply]]:
    """Tokens of each reply behind its prompt, whose `answer` are those of the answer itself, with the reply. Where the
    model's own tokens are known they are taken as they are, since a text may be cut into others when it is read again.

    Replies in whose tokens the answer cannot be found are left out, and counted (a `DataWarning`).

    Raises:
        InputError: if there is no reply, none whose answer has tokens, or one does not fit the context.
    """
    if not replies:
        raise InputError("there are no replies whose neurons could be read")
    tokenizer, images = tokenizer_of(model), images_for(model, [reply.example for reply in replies])
    written = {number: reply for number, reply in enumerate(replies) if reply.tokens}
    prompts = [prompt_of(tokenizer, reply.example, template, images=images) for reply in written.values()]
    shown = dict(zip(written, encode_prompts(tokenizer, prompts, images) if prompts else [], strict=True))
    told = [reply.example for reply in replies if not reply.tokens]
    read = iter(encode(tokenizer, told, template, images) if told else [])
    rows, kept = list[Encoded](), list[Reply]()
    for number, reply in enumerate(replies):
        if number in shown:
            prompt, n = shown[number], len(shown[number].ids)
            ids, whole = [*prompt.ids, *reply.tokens], (n, n + len(reply.tokens))
            row = Encoded(ids, prompt.image, prompt.image_span, reply.example.id, answer=whole, continuation=n)
        else:
            row = next(read).shown
        if (answer := _inside(tokenizer, row, reply)) is not None:
            rows.append(_with_answer(row, answer))
            kept.append(reply)
    lost = len(replies) - len(kept)
    if not kept:
        raise InputError(
            f"none of the {lost} replies has a token that belongs to its answer (first: '{replies[0].example.id}'): "
            "say where the answers lie, or read whole replies (--tokens reply)"
        )
    if lost:
        notice(f"{lost} of {len(replies)} replies are left out: no token of theirs belongs to the answer")
    check_lengths([len(row.ids) for row in rows], [row.id for row in rows], model)
    return rows, kept


def _with_answer(row: Encoded, answer: Span) -> Encoded:
    """All of the reply stays in the row: what stands behind the answer is one of its other tokens."""
    return Encoded(row.ids, row.image, row.image_span, row.id, answer=answer, continuation=row.continuation)


def _inside(tokenizer: Any, row: Encoded, reply: Reply) -> Span | None:
    """The tokens of a row's reply that hold characters of the answer."""
    first, stop = row.answer
    if not reply.tokens and not (reply.example.answer[: reply.span[0]] + reply.example.answer[reply.span[1] :]).strip():
        return first, stop
    found = tokens_of_text(tokenizer, row.ids[first:stop], reply.example.answer, reply.span)
    return found and (first + found[0], first + found[1])


def tokens_of_text(tokenizer: Any, ids: Sequence[int], text: str, span: Span) -> Span | None:
    """Which of the tokens of a text hold characters of a span of it; None if the text is not what they say, or no
    token does. A character that several tokens spell belongs to each of them."""
    begun = [list(ids[: n + 1]) for n in range(len(ids))]
    if not begun:
        return None
    texts: list[str] = tokenizer.batch_decode(begun, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    whole, said = texts[-1], text.strip()
    start = whole.find(said)
    if start < 0 or not said:
        return None
    ends = [_alike(its, whole) for its in texts]
    # Of a character that is not spelled to its end yet, a stand-in is shown.
    later = [next((end for end in ends[n:] if end > before), before) for n, before in enumerate([0, *ends[:-1]])]
    offsets = list(zip([0, *ends[:-1]], later, strict=True))
    skipped = len(text) - len(text.lstrip())
    return tokens_in(offsets, (start + span[0] - skipped, start + span[1] - skipped))


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
