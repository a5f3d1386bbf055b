"""The label in the prompt: a word of question or context that stands there with one label and not with the other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.surface_features import LONGEST
from lens_truth.io.numbers import number

_APART, _TOLD_APART = 0.4, 0.1
"""By how much the shares of the two labels' rows with a word must differ; of a word that names labels."""
_TELLS = re.compile(
    r"true|false|correct|incorrect|right|wrong|supported|unsupported|hallucinat\w*|factual|gold|label|truthful|"
    r"untruthful|faithful|unfaithful|valid|invalid|verified",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_LEVEL = 0.001
"""Of all words together."""


def prompt_findings(examples: Sequence[Example]) -> list[Finding]:
    """Words of question and context whose presence goes with the label: by 40 points between the labels' rows, or by 10
    if it is a word that names labels (`correct`, `hallucinated`, ...); beyond chance over groups (Fisher's exact test,
    p < .001 over all words)."""
    first = {label: [e for e in examples if e.label == label] for label in (1, 0)}
    if not all(first.values()) or not any(e.question.strip() or e.context.strip() for e in examples):
        return []
    kept: dict[tuple[str, str], frozenset[str]] = {}
    counts = {label: Counter(word for e in its for word in _words(e, kept)) for label, its in first.items()}
    n = {label: len(its) for label, its in first.items()}
    shares = {word: (counts[1][word] / n[1], counts[0][word] / n[0]) for word in {*counts[1], *counts[0]}}
    apart = {word: abs(one - other) for word, (one, other) in shares.items()}
    suspects = sorted(
        (word for word in apart if apart[word] >= (_TOLD_APART if _TELLS.fullmatch(word) else _APART)),
        key=lambda word: (-apart[word], word),
    )
    found = [word for word in suspects[:20] if _beyond_chance(word, examples, kept, len(shares))]
    if not found:
        return []
    word = found[0]
    with_it = [e for e in examples if word in _words(e, kept)]
    supported = sum(e.label == SUPPORTED for e in with_it)
    more = f" (also {', '.join(repr(other) for other in found[1:4])})" if len(found) > 1 else ""
    return [
        Finding(
            "label in the prompt",
            "leak",
            f"LABEL IN THE PROMPT: '{word}' stands in question or context of {supported} of {n[1]} supported and "
            f"{len(with_it) - supported} of {n[0]} hallucinated rows{more}: by itself right for "
            f"{number((1 + apart[word]) / 2)} of balanced rows",
            len(with_it),
            len(examples),
            shown(with_it[0]),
            "Take it out of the prompt, or ask every question with both answers",
        )
    ]


def _words(example: Example, kept: dict[tuple[str, str], frozenset[str]]) -> frozenset[str]:
    key = (example.question, example.context)
    if key not in kept:
        text = f"{example.question[:LONGEST]} {example.context[:LONGEST]} {example.context[LONGEST:][-LONGEST:]}"
        kept[key] = frozenset(_WORD.findall(text.lower()))
    return kept[key]


def _beyond_chance(
    word: str, examples: Sequence[Example], kept: dict[tuple[str, str], frozenset[str]], n_words: int
) -> bool:
    """A group counts once, by the label that most of its rows with (or without) the word have."""
    from scipy import stats

    leaning: Counter[tuple[str, bool]] = Counter()
    for example in examples:
        leaning[example.group, word in _words(example, kept)] += 1 if example.label == SUPPORTED else -1
    table = [
        [sum(n * sign > 0 for (_, has), n in leaning.items() if has == there) for sign in (1, -1)]
        for there in (True, False)
    ]
    exact: Any = stats.fisher_exact(table)
    return float(exact.pvalue) * n_words < _LEVEL
