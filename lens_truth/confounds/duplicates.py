"""Rows that say the same: repeated ones, answers with both labels, and copies that stand in another group, where folds
that keep groups whole cannot keep them apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.agreement import answer_key
from lens_truth.data.examples import Example
from lens_truth.data.surface_features import LONGEST, signs_in_a_row

ALIKE = 0.9
"""Cosine of two rows' words and pairs of words, weighed by how rare they are, from which one is called a copy."""
_RARE = 60
"""Words that more rows have do not make two rows candidates."""
_AT_ONCE = 1000
_WORD = re.compile(r"(?:(?<!\S)-)?\d+(?:[.,]\d+)*%?|\w+")
_FORMULA = re.compile(r"[=<>+*/^≤≥≠∩∪⊆∈¬∧∨→|~]")


def repeat_findings(examples: Sequence[Example]) -> list[Finding]:
    """Rows that are there twice, and answers with both labels."""
    rows: defaultdict[tuple[str, ...], list[Example]] = defaultdict(list)
    for example in examples:
        rows[answer_key(example)].append(example)
    twice = [its for its in rows.values() if len(its) > 1]
    alike: defaultdict[tuple[str, ...], list[Example]] = defaultdict(list)
    for example in examples:
        alike[loose_key(example)].append(example)
    both = [its for its in alike.values() if len({example.label for example in its}) == 2]
    found: list[Finding] = []
    if both:
        one, other = both[0][0], next(each for each in both[0] if each.label != both[0][0].label)
        found.append(
            Finding(
                "both labels",
                "wrong",
                f"LABEL CONFLICT: {len(both)} of {len(alike)} answers are labelled both supported and hallucinated",
                len(both),
                len(alike),
                f"{shown(one)}, and '{other.id}'",
                "Decide which label holds, or leave these answers out",
            )
        )
    if repeated := len(examples) - len(rows):
        found.append(
            Finding(
                "repeated rows",
                "note",
                f"{repeated} of {len(examples)} rows repeat other rows, which so count twice",
                repeated,
                len(examples),
                f"{shown(twice[0][0])}, and '{twice[0][1].id}'",
                "Keep one of each, or intervals are too narrow",
            )
        )
    return found


def loose_key(example: Example) -> tuple[str, ...]:
    """`answer_key` without case, spaces, and signs of sentences."""
    image, *texts = answer_key(example)
    return image, *map(said, texts)


def copy_findings(examples: Sequence[Example]) -> list[Finding]:
    """Rows that have a copy, or nearly one, in another group: the same question and answer but for case, signs and a
    few words."""
    texts = [said(f"{example.question[:LONGEST]} {example.answer[:LONGEST]}") for example in examples]
    _, group = np.unique(np.array([example.group for example in examples], dtype=object), return_inverse=True)
    about = [example.image or example.context for example in examples]
    same, near = _copies(texts, group, about)
    found: list[Finding] = []
    for pairs, check, what in (
        (same, "copies across groups", "stand word by word in another group too"),
        (near, "near copies across groups", "stand nearly word by word in another group too"),
    ):
        if len(pairs):
            rows = np.unique(pairs)
            one, other = examples[int(pairs[0][0])], examples[int(pairs[0][1])]
            found.append(
                Finding(
                    check,
                    "leak",
                    f"{len(rows)} of {len(examples)} rows {what}: folds and splits that keep groups whole test on what "
                    "was trained on",
                    len(rows),
                    len(examples),
                    f"{shown(one)}, and {shown(other)}",
                    "Give such rows one group",
                )
            )
    return found


def said(text: str) -> str:
    """Words and numbers in lower case, where -5 is not 5 and 3.5 not 3,5; of a text with signs of formulas all but the
    marks at its end."""
    text = " ".join(text.lower().split())
    return text.rstrip(".?! ") if _FORMULA.search(text) else " ".join(_WORD.findall(text))


def _copies(
    texts: Sequence[str], group: Int[np.ndarray, " N"], about: Sequence[str]
) -> tuple[Int[np.ndarray, "p 2"], Int[np.ndarray, "q 2"]]:
    """Pairs of rows of different groups with the same text about the same context or image; and with nearly the same
    one."""
    seen: dict[tuple[str, str], int] = {}
    same: list[tuple[int, int]] = []
    for row, text in enumerate(texts):
        first = seen.setdefault((text, about[row]), row)
        if group[first] != group[row]:
            same.append((first, row))
    return _pairs(same), _pairs([pair for pair in _near(texts, group) if about[pair[0]] == about[pair[1]]])


def _pairs(pairs: Sequence[tuple[int, int]]) -> Int[np.ndarray, "p 2"]:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _near(texts: Sequence[str], group: Int[np.ndarray, " N"]) -> list[tuple[int, int]]:
    """Rows that share a rare word, and of all their words so many that the cosine reaches the bound."""
    from scipy import sparse

    different = list(dict.fromkeys(texts))
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows[text].append(row)
    if len(different) < 2:
        return []
    counts: Any = signs_in_a_row().transform(different)
    occurs = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log((1 + len(different)) / (1 + occurs)) + 1
    x: Any = _unit(counts @ sparse.diags(idf).tocsr())
    rare: Any = x[:, np.flatnonzero((occurs > 1) & (occurs <= _RARE))]
    left = np.sqrt(np.maximum(0, 1 - _squares(rare)))  # what the other words could add at most
    found: list[tuple[int, int]] = []
    for begin in range(0, len(different), _AT_ONCE):
        alike: Any = (rare[begin : begin + _AT_ONCE] @ rare.T).tocoo()
        one, other = alike.row + begin, alike.col
        may = (one < other) & (alike.data + left[one] * left[other] >= ALIKE)
        one, other = one[may], other[may]
        cosine = np.asarray(x[one].multiply(x[other]).sum(1)).ravel()
        found += [
            (rows[different[i]][0], rows[different[j]][0])
            for i, j in zip(one[cosine >= ALIKE].tolist(), other[cosine >= ALIKE].tolist(), strict=True)
        ]
    return [pair for pair in found if group[pair[0]] != group[pair[1]]]


def _squares(x: Any) -> Float[np.ndarray, " n"]:
    return np.asarray(x.multiply(x).sum(1)).ravel()


def _unit(x: Any) -> Any:
    from sklearn import preprocessing

    normalize: Any = preprocessing.normalize  # pyright: ignore[reportUnknownVariableType]
    return normalize(x)
