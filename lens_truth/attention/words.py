"""What heads look at, in tables and in words."""

from __future__ import annotations

from collections.abc import Mapping

from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.relations import Relations, relation_text

_MAIN = "evidence"


def relation_rows(related: Relations) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text, one a measure."""
    n = next((top.n_top for top in related.top.values() if top), 0)
    header = ["", "r", "inside layers [95%]", "null inside", "p (Holm)", f"top {n} - rest", "inside layers", "p (Holm)"]
    rows: list[list[str]] = []
    for name, relation in related.score.items():
        top, (score_p, top_p) = related.top[name], related.p_holm[name]
        cells = [name, *[""] * 7]
        if relation is not None:
            low, high = relation.interval_within_layer
            null_low, null_high = relation.null_within_layer
            cells[1:5] = [
                f"{relation.pearson:.2f}",
                f"{relation.pearson_within_layer:.2f} [{low:.2f}, {high:.2f}]",
                f"[{null_low:.2f}, {null_high:.2f}]",
                f"{score_p:.2g}",
            ]
        if top is not None:
            cells[5:] = [f"{top.difference:+.3f}", f"{top.difference_within_layer:+.3f}", f"{top_p:.2g}"]
        rows.append(cells)
    return header, rows


def verdicts(
    measures: Mapping[str, HeadScores], relations: Mapping[str, Relations], wrong_mean: float | None
) -> list[str]:
    """Sentences: how much heads look at the evidence, and whether those with high scores look at it more than other
    heads of their layer.

    Args:
        wrong_mean: mean attention to the evidence where the answer is hallucinated; None where there is no such answer.
    """
    looked = measures[_MAIN]
    layer, head = looked.best()
    ends = [f"{looked.metrics[end][layer, head]:.2f}" for end in ("ci_low", "ci_high") if end in looked.metrics]
    interval = ", ".join(ends) or "one group of examples, so no interval"
    sentence = (
        f"At the answer's last token heads give the evidence {looked.values.mean():.2f} times what its length alone "
        f"would (mean over heads); most, head {layer}.{head}: {looked.values.max():.2f} [{interval}]"
    )
    if wrong_mean is not None:
        sentence += f". Where the answer is hallucinated the mean is {wrong_mean:.2f}"
    return [f"{sentence}.", *(_verdict(kind, related) for kind, related in relations.items())]


def _verdict(kind: str, related: Relations) -> str:
    relation, top = related.score[_MAIN], related.top[_MAIN]
    p = related.p_holm[_MAIN][0]
    if relation is None or top is None or p is None:
        return f"{kind} scores and attention to the evidence: no correlation over heads is defined."
    holds = "a relation beyond depth" if p < SIGNIFICANT else "no relation beyond depth holds up"
    others = [
        f"{name} ({other.pearson_within_layer:+.2f} inside layers, Holm p = {its:.2g})"
        for name, other in related.score.items()
        if name != _MAIN and other is not None and (its := related.p_holm[name][0]) is not None and its < SIGNIFICANT
    ]
    return (
        f"{kind} scores and attention to the evidence: {relation_text(relation)}; {holds} (Holm p = {p:.2g}). "
        f"The {top.n_top} heads with the highest {kind} scores give it {top.difference:+.2f} more than the rest, "
        f"{top.difference_within_layer:+.2f} inside layers (p = {top.p_value:.2g})."
        + (f" Related: {', '.join(others)}." if others else "")
    )
