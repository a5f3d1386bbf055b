"""A comparison of lineages in a table and in words: which pairs agree better than chance, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.io.tables import markdown, text_table
from lens_truth.lineage.inheritance import Heritability


def pair_rows(result: Heritability, reference: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text, one a pair; with a reference only its pairs."""
    header = [
        "pair",
        "Pearson [95%]",
        "Spearman",
        "inside layers [95%]",
        "Spearman inside",
        "null inside",
        "p (Holm)",
        "r / ceiling",
    ]
    c = result.correlations
    rows: list[list[str]] = []
    for i, j in combinations(range(len(result.names)), 2):
        if reference is not None and reference not in (result.names[i], result.names[j]):
            continue
        over = result.disattenuated_within_layer[i, j]
        if math.isnan(over):
            over = c.pearson_within_layer[i, j] / result.ceiling_within_layer[i, j]
        rows.append(
            [
                f"{result.names[i]} - {result.names[j]}",
                f"{c.pearson[i, j]:.3f} {_range(c.interval[i, j])}",
                f"{c.spearman[i, j]:.3f}",
                f"{c.pearson_within_layer[i, j]:.3f} {_range(c.interval_within_layer[i, j])}",
                f"{c.spearman_within_layer[i, j]:.3f}",
                _range(c.null_within_layer[i, j]),
                f"{result.p_permutation[i, j]:.2g}",
                "" if math.isnan(over) else f"{over:.2f}",
            ]
        )
    return header, rows


def markdown_table(result: Heritability) -> str:
    """All pairs, with a legend."""
    header, rows = pair_rows(result)
    legend = (
        "Correlation over heads; *inside layers*: each layer's mean removed from both maps; *null inside*: the middle "
        "95% when heads are shuffled inside layers; *p*: share of those shuffles that agree as well (one-sided), "
        "Holm-adjusted over all pairs; *ceiling*: what noise would leave of r = 1, inside layers (r from different "
        "runs only, where both models have as many)."
    )
    return f"{legend}\n\n{markdown(text_table(header, rows))}\n"


def verdicts(result: Heritability, root: Mapping[str, str] | None = None) -> list[str]:
    """Sentences: pairs above the null, inside and across lineages where `root` names each model's ancestor; the floor.

    Args:
        root: the ancestor of every model.
    """
    pairs = list(combinations(range(len(result.names)), 2))
    if root is None:
        sentences = [_group("Pairs", result, pairs)]
    else:
        kin = [(i, j) for i, j in pairs if root[result.names[i]] == root[result.names[j]]]
        strangers = [pair for pair in pairs if pair not in kin]
        groups = (("Within lineages", kin), ("Across lineages", strangers))
        sentences = [_group(title, result, some) for title, some in groups if some]
    if result.floor is not None:
        low, mean, high = result.floor.pearson
        low_in, mean_in, high_in = result.floor.pearson_within_layer
        sentences.append(
            f"Floor, unrelated models of one architecture ({', '.join(result.floor.names)}): r {mean:.2f} "
            f"({low:.2f} to {high:.2f}), inside layers {mean_in:.2f} ({low_in:.2f} to {high_in:.2f})."
        )
    return sentences


def _group(title: str, result: Heritability, pairs: Sequence[tuple[int, int]]) -> str:
    c = result.correlations
    beyond = [pair for pair in pairs if result.p_permutation[pair] < SIGNIFICANT]
    raw, inside = ([float(m[pair]) for pair in pairs] for m in (c.pearson, c.pearson_within_layer))
    sentence = (
        f"{title}: {len(beyond)} of {len(pairs)} above what shuffled heads give (p < .05, Holm over all pairs); "
        f"r {min(raw):.2f} to {max(raw):.2f}, inside layers {min(inside):.2f} to {max(inside):.2f}"
    )
    within = [f"{result.names[i]} - {result.names[j]}" for i, j in pairs if (i, j) not in beyond]
    if within and beyond:
        few = beyond if len(beyond) < len(within) else None
        named = [f"{result.names[i]} - {result.names[j]}" for i, j in beyond] if few else within
        sentence += f"; {'above it' if few else 'not above it'}: {', '.join(named)}"
    return sentence + "."


def _range(interval: Float[np.ndarray, " 2"]) -> str:
    return f"[{interval[0]:.2f}, {interval[1]:.2f}]"
