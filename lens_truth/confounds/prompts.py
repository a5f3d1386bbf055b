"""The label in the prompt: a word of question or context that stands there with one label and not with the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.examples import SUPPORTED, Example, labels_of
from lens_truth.data.surface_features import LONGEST
from lens_truth.io.numbers import number

_APART, _TOLD_APART = 0.4, 0.1
"""By how much the shares of the two labels' rows with a word must differ; of a word that names labels."""
_TELLS = re.compile(
    r"true|false|correct|incorrect|right|wrong|supported|unsupported|hallucinat\w*|factual|gold|label|truthful|"
    r"untruthful|faithful|unfaithful|valid|invalid|verified",
    re.IGNORECASE,
)
_WORD = r"[^\W_]+|[^\w\s]"
_LEVEL = 0.001
"""Of all words together."""


def prompt_findings(examples: Sequence[Example]) -> list[Finding]:
    """Words of question and context whose presence goes with the label: by 40 points between the labels' rows, or by 10
    if it is a word that names labels (`correct`, `hallucinated`, ...); beyond chance over groups (Fisher's exact test,
    p < .001 over all words)."""
    supported = np.array(labels_of(examples)) == SUPPORTED
    n = {True: int(supported.sum()), False: int((~supported).sum())}
    prompts = [_prompt(example) for example in examples]
    if not all(n.values()) or not any(prompts):
        return []
    there, words = _words(prompts)
    counts = {label: np.asarray(there[supported == label].sum(0)).ravel() for label in n}
    apart = np.abs(counts[True] / n[True] - counts[False] / n[False])
    order = [int(at) for at in np.argsort(-apart, kind="stable") if apart[at] >= _TOLD_APART]
    suspects = [at for at in order if apart[at] >= _APART or _TELLS.fullmatch(words[at])][:20]
    groups = np.unique(np.array([example.group for example in examples], dtype=object), return_inverse=True)[1]
    has = {at: np.asarray(there[:, [at]].todense()).ravel() > 0 for at in suspects}
    found = [at for at in suspects if _p_value(has[at], supported, groups) * len(words) < _LEVEL]
    if not found:
        return []
    at, *others = found
    more = f" (also {', '.join(repr(words[other]) for other in others[:3])})" if others else ""
    return [
        Finding(
            "label in the prompt",
            "leak",
            f"LABEL IN THE PROMPT: '{words[at]}' stands in question or context of {int(counts[True][at])} of {n[True]} "
            f"supported and {int(counts[False][at])} of {n[False]} hallucinated rows{more}: by itself right for "
            f"{number(float(1 + apart[at]) / 2)} of balanced rows",
            int(has[at].sum()),
            len(examples),
            shown(examples[int(has[at].argmax())]),
            "Take it out of the prompt, or ask every question with both answers",
        )
    ]


def _prompt(example: Example) -> str:
    """Question and context; of a long one its beginning and its end."""
    context = example.context
    context = context if len(context) <= 2 * LONGEST else f"{context[:LONGEST]} {context[-LONGEST:]}"
    return f"{example.question[:LONGEST]} {context}".strip()


def _words(prompts: Sequence[str]) -> tuple[Any, list[str]]:
    """Which words each prompt has, a column a word, and the words."""
    from sklearn.feature_extraction import text

    different = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    counter: Any = text.CountVectorizer(binary=True, token_pattern=_WORD, dtype=np.int64)
    counted = counter.fit_transform(different)
    return counted[[different[prompt] for prompt in prompts]], counter.get_feature_names_out().tolist()


def _p_value(has: Bool[np.ndarray, " N"], supported: Bool[np.ndarray, " N"], groups: Int[np.ndarray, " N"]) -> float:
    """A group counts once, by the label that most of its rows with (or without) the word have."""
    from scipy import stats

    sign = np.where(supported, 1, -1)
    leaning = [np.bincount(groups, weights=sign * which) for which in (has, ~has)]
    exact: Any = stats.fisher_exact([[int((its > 0).sum()), int((its < 0).sum())] for its in leaning])
    return float(exact.pvalue)
