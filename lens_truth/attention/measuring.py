"""Attention patterns, read while the model runs (each is dropped as soon as what is wanted of it is taken), and what is
measured on them: attention to the evidence, and two published notions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.attention.evidence import MAIN, MEASURES, Evidence
from lens_truth.attention.evidence_tokens import SINK, EvidenceTokens, locate_evidence
from lens_truth.data.examples import Example
from lens_truth.errors import InputError, notice
from lens_truth.io.stages import bar, stage
from lens_truth.models.batches import check_lengths, pad_rows, run_body, tokenizer_of
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.finite import check_finite
from lens_truth.models.hooks import Hooked, grid_of, hook_names, sliding_windows
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import PromptTokens, Template, encode
from lens_truth.models.provenance import provenance_of
from lens_truth.models.spans import token_texts

Head = tuple[int, int]
"""Layer and head."""

_ENTRIES = 1 << 27
"""Numbers in one layer's pattern, at most, unless one row alone has more: half a gigabyte in float32."""


@stage("evidence")
def evidence_attention(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Evidence:
    """What every head looks at while it reads or writes the answer (TruthProbe's claim about evidence, with chance,
    sink and a control taken care of), and, over the same rows, its retrieval-head score and lookback ratio.

    The main measure, `evidence`, is a ratio: attention of the answer's last token to the evidence over what its length
    alone would get, so 1 is chance; the first token, where attention comes to rest, counts for neither. Retrieval-head
    score: Wu et al. 2024; lookback ratio: Chuang et al. 2024, both from 0 to 1. Patterns exist one layer at a time, and
    only the rows of the answer's queries are looked at.

    >>> lens_truth.evidence_attention(model, lens_truth.load_examples("zoo:text")).means()["evidence"].mean()

    Args:
        examples: those without evidence (`Example.evidence`, `Example.boxes`) are left out with a `DataWarning`.
        template: `plain` for the paper's prompt, `chat` for the model's chat template.
        batch_size: rows of up to 64 tokens in one forward pass; fewer of longer ones, or where patterns are large; by
            default what fits.
        seed: of the draws behind intervals and nulls.

    Raises:
        InputError: if no example has evidence, evidence yields no token or lies outside what the model sees of an
            image, or whatever `capture` refuses.
    """
    tokenizer = tokenizer_of(model)
    given = [example for example in examples if example.has_evidence]
    if not given:
        raise InputError(
            f"none of the {len(examples)} examples has evidence (spans of its context, or boxes in its image)"
        )
    if len(given) < len(examples):
        notice(f"{len(examples) - len(given)} of {len(examples)} examples have no evidence and are left out")
    images = images_for(model, given)
    encoded = encode(tokenizer, given, template, images)
    check_lengths([len(row.ids) for row in encoded], [example.id for example in given], model)
    if n_cut := sum(row.n_cut for row in encoded):
        first = next(example.id for example, row in zip(given, encoded, strict=True) if row.n_cut)
        notice(
            f"{n_cut} of {sum(len(example.evidence) for example in given)} spans of evidence begin or end inside a "
            f"token, which counts as evidence whole (first: example '{first}')"
        )
    rows = [
        locate_evidence(example, row, images, token_texts(tokenizer, row.ids))
        for example, row in zip(given, encoded, strict=True)
    ]

    shape = (len(given), *grid_of(model))
    found = {name: np.empty(shape, dtype=np.float32) for name in MEASURES}
    budget, n_heads = Budget.of(model, batch_size), model.cfg.n_heads
    lengths = [len(tokens.row.ids) for tokens in rows]

    def cost(row: int, before: int | None) -> int:
        """Tokens, or what of all tokens its patterns are of all entries."""
        return max(lengths[row], budget.tokens * n_heads * lengths[row] ** 2 // _ENTRIES)

    order = sorted(range(len(rows)), key=lambda row: -lengths[row])
    with bar(None, "evidence", sum(lengths), shown=progress) as done:
        for batch, made in within_budget(order, cost, budget, lambda some: _measured(model, [rows[i] for i in some])):
            for name, values in made.items():
                found[name][list(batch)] = values.cpu().numpy()
            done.update(sum(lengths[row] for row in batch))
    measures = {name: its for name, its in found.items() if np.isfinite(its).all(axis=(1, 2)).any()}
    if MAIN not in measures:
        raise InputError(
            f"in none of {len(given)} examples does every layer see the evidence from the answer: the model's sliding "
            f"window is {min(window for window in sliding_windows(model) if window)} tokens"
        )
    ids, groups = tuple(example.id for example in given), tuple(example.group for example in given)
    return Evidence(measures, ids, groups, provenance_of(model, given, template), seed)


def _measured(model: Hooked, batch: Sequence[EvidenceTokens]) -> dict[str, Float[Tensor, "B L H"]]:
    """One forward pass; one number a measure, row and head leaves each hook."""
    ids, mask = pad_rows([tokens.row.ids for tokens in batch], model)
    layers: list[dict[str, Float[Tensor, "B H"]]] = []
    windows = sliding_windows(model)
    sums: list[Float[Tensor, ""]] = []

    def read(layer: int, pattern: Float[Tensor, "B H T T"]) -> None:
        of_rows: list[dict[str, Float[Tensor, " H"]]] = []
        for its, tokens in zip(pattern, batch, strict=True):
            queries = queries_of(tokens)
            asked = its[:, queries.start : queries.stop, : len(tokens.row.ids)].transpose(0, 1)
            of_rows.append(measure(asked, tokens, windows[layer]))
            sums.append(asked.sum(dtype=torch.float32).to(ids.device))
        layers.append({name: torch.stack([row[name] for row in of_rows]).to(ids.device) for name in MEASURES})

    rows = [tokens.row for tokens in batch]
    with torch.no_grad(), reading_patterns(model, read):
        run_body(model, ids, mask, [row.image for row in rows])
        check_finite(torch.stack(sums).reshape(-1, len(batch)).T, model, ids, mask, rows)
    return {name: torch.stack([layer[name] for layer in layers], dim=1) for name in MEASURES}


def queries_of(tokens: EvidenceTokens) -> range:
    """The tokens whose attention is measured: those that predict the answer's, and the answer's last."""
    first, stop = tokens.row.answer
    return range(first - 1, stop)


def measure(
    pattern: Float[Tensor, "Q H T"], tokens: EvidenceTokens, window: int | None = None
) -> dict[str, Float[Tensor, " H"]]:
    """Each of `MEASURES` for every head of a layer, from the attention of one example's `queries_of`; NaN where the
    example does not define one.

    - `evidence`: see `lift`.
    - `retrieval`: after Wu et al. (2024), Section 2: the token that gets the most attention lies in the evidence and
      reads like the one that comes next. It is the example's answer that is looked at, not what a model writes, and
      the share is one of the answer's tokens, not of the evidence's.
    - `lookback`: Chuang et al. (2024), Eq. 1 to 3, mean over the answer's tokens.

    Args:
        window: of a layer whose queries see so many tokens only, themselves included.
    """
    pattern, device = pattern.float(), pattern.device
    row, queries = tokens.row, queries_of(tokens)
    evidence = torch.from_numpy(tokens.evidence).to(device)
    undefined = torch.full(pattern.shape[1:2], torch.nan, device=device)
    result = dict.fromkeys(MEASURES, undefined)

    result["evidence"] = lift(pattern[-1], evidence, queries[-1], window)
    if tokens.control is not None:
        control = torch.from_numpy(tokens.control).to(device)
        result["evidence over control"] = result["evidence"] - lift(pattern[-1], control, queries[-1], window)
    answering = [lift(pattern[i], evidence, query, window) for i, query in enumerate(queries[:-1])]
    result["evidence when answering"] = torch.stack(answering).mean(0)
    if tokens.in_words:
        words = torch.from_numpy(tokens.words).to(device)
        top = pattern[:-1].argmax(-1)
        copied = (evidence[top] > 0) & (words[top] == words[row.answer[0] : row.answer[1]][:, None])
        result["retrieval"] = copied.float().mean(0)
    writing = [_lookback(pattern[i], row.continuation, query, window) for i, query in enumerate(queries) if i]
    result["lookback"] = torch.stack(writing).mean(0)
    return result


def lift(
    weights: Float[Tensor, "H T"], part: Float[Tensor, " T"], query: int, window: int | None = None
) -> Float[Tensor, " H"]:
    """A part's share of a query's attention, over its share of the tokens that the query sees; the first token is left
    out of both. 1 is chance, and what is said of a head that looks at nothing but the first token; NaN if the query
    sees nothing of the part.

    Args:
        part: how much each token belongs to the part, 0 to 1.
        query: the query's own position, the last that it sees.
        window: how many tokens up to its own it sees, if not all.
    """
    first = max(SINK + 1, _first_seen(query, window))
    weights, part = weights[:, first : query + 1], part[first : query + 1]
    others = weights.sum(1)
    expected = part.mean() * others
    return torch.where((others > 0) | (part.sum() == 0), (weights @ part) / expected, 1.0)


def _lookback(weights: Float[Tensor, "H T"], n_prompt: int, query: int, window: int | None) -> Float[Tensor, " H"]:
    first = _first_seen(query, window)
    prompt, new = weights[:, first:n_prompt].mean(1), weights[:, max(first, n_prompt) : query + 1].mean(1)
    return prompt / (prompt + new)


def _first_seen(query: int, window: int | None) -> int:
    return 0 if window is None else max(0, query + 1 - window)


@contextmanager
def reading_patterns(
    model: Hooked, read: Callable[[int, Float[Tensor, "batch H query key"]], None], layers: Sequence[int] | None = None
) -> Generator[None, None, None]:
    """While open, every forward pass hands the patterns of some layers (default: all), each as soon as it is there, to
    `read(layer, pattern)`, and keeps none.

    Only eager attention computes patterns, so the language model is switched to it for the time being; its logits then
    differ by rounding.
    """

    def hand_over(layer: int, pattern: Float[Tensor, "batch H query key"], hook: Any) -> None:
        read(layer, pattern)

    names = hook_names(model, "attn.hook_pattern")
    wanted = range(len(names)) if layers is None else layers
    with _eager_attention(model), model.hooks(fwd_hooks=[(names[at], partial(hand_over, at)) for at in wanted]):
        yield


@contextmanager
def _eager_attention(model: Hooked) -> Generator[None, None, None]:
    hf: Any = getattr(model, "original_model", None)
    if hf is None:  # a HookedTransformer has no other
        yield
        return
    text = hf.config.get_text_config()
    part = next((name for name in hf.config.sub_configs if getattr(hf.config, name, None) is text), None)
    before: str = text._attn_implementation
    hf.set_attn_implementation({part: "eager"} if part else "eager")
    try:
        yield
    finally:
        hf.set_attn_implementation({part: before} if part else before)


def patterns(model: Hooked, row: PromptTokens, heads: Sequence[Head]) -> Float[Tensor, "n T T"]:
    """The whole patterns of some heads on one row of tokens: [head, query, key], each query's weights sum to 1.

    Raises:
        InputError: if no heads are named, or one is not there.
    """
    L, H = grid_of(model)
    if not heads:
        raise InputError("no heads were named")
    for layer, head in heads:
        if not (0 <= layer < L and 0 <= head < H):
            raise InputError(f"there is no head {head} in a layer {layer}: the model has {L} layers of {H} heads")
    found: dict[Head, Float[Tensor, "T T"]] = {}

    def read(layer: int, pattern: Float[Tensor, "batch H query key"]) -> None:
        found.update({at: _copied(pattern[0, at[1]]) for at in heads if at[0] == layer})

    ids, mask = pad_rows([row.ids], model)
    with torch.no_grad(), reading_patterns(model, read, sorted({layer for layer, _ in heads})):
        run_body(model, ids, mask, [row.image])
    return torch.stack([found[at] for at in heads])


def query_row(model: Hooked, row: PromptTokens, query: int) -> Float[Tensor, "L H T"]:
    """The attention of every head at one token, to all tokens of the row."""
    layers: list[Float[Tensor, "H T"]] = []
    ids, mask = pad_rows([row.ids], model)
    with torch.no_grad(), reading_patterns(model, lambda layer, pattern: layers.append(_copied(pattern[0, :, query]))):
        run_body(model, ids, mask, [row.image])
    return torch.stack(layers)


def _copied(part: Tensor) -> Tensor:
    """In memory of its own: a view would keep the whole pattern alive."""
    return part.to("cpu", torch.float32, copy=True)
