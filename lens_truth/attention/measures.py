"""What a head looks at, measured on its attention pattern: attention to the evidence, and two published notions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.attention.evidence_tokens import SINK, EvidenceTokens
from lens_truth.attention.summary import MEASURES


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
    result["lookback"] = torch.stack(
        [
            _lookback(pattern[i], row.continuation, query, window)
            for i, query in enumerate(queries)
            if query >= row.answer[0]
        ]
    ).mean(0)
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
