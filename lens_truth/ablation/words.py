"""An ablation in sentences: what a gate gained, whether its controls gained as much, and what is to be warned of."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.ablation.rows import GateRow
from lens_truth.ablation.tables import as_good
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import interval, signed


def verdict_sentences(rows: Sequence[GateRow]) -> list[str]:
    """One for every gate by scores: its effect on its model's first benchmark, and every control that did as well."""
    headlines = {row.model: row.benchmark for row in reversed(rows)}
    return [
        _verdict(row, [other for other in rows if (other.model, other.arm) == (row.model, row.arm)])
        for row in rows
        if row.benchmark == headlines[row.model] and row.by_scores and "vanilla" in row.against
    ]


def _verdict(row: GateRow, everywhere: Sequence[GateRow]) -> str:
    vanilla = row.against["vanilla"]
    effect = (
        f"{row.model}, {row.gate} gate on {row.benchmark}: {signed(vanilla.difference)} "
        f"{interval((vanilla.ci_low, vanilla.ci_high), 3, plus=True)} against vanilla (p = {vanilla.p_value:.3g})"
    )
    if not (vanilla.difference > 0 and vanilla.significant):
        effect += "; no significant gain"
    unbeaten = [
        f"{name} ({signed(its.difference)} {interval((its.ci_low, its.ci_high), 3, plus=True)}{as_good(its)})"
        for name, its in row.against.items()
        if name != "vanilla" and not its.beaten
    ]
    if unbeaten:
        effect += f". It does NOT beat: {', '.join(unbeaten)}."
    else:
        effect += f". It {'beats all its controls' if len(row.against) > 1 else 'was compared with no control'}."
    others = {other.benchmark: other.against.get("vanilla") for other in everywhere if other is not row}
    harmed = [
        f"{name} {signed(its.difference)}"
        for name, its in others.items()
        if its and its.difference < 0 and its.significant
    ]
    return effect + (f" Side effects: {', '.join(harmed)}." if harmed else "")


def row_warnings(rows: Sequence[GateRow]) -> list[str]:
    """Gates that invert heads, and answers that could not be read; nobody expects better of a random gate."""
    gated = [row for row in rows if row.negative_gates and row.by_scores]
    inverted = {(row.model, row.gate): row.negative_gates for row in gated}
    return [
        *(
            f"{model}, {gate}: {n} gates are negative, so those heads are inverted"
            for (model, gate), n in inverted.items()
        ),
        *(
            f"{row.model}, {row.gate} on {row.benchmark}: {row.unparsed:.0%} of the answers could not be read"
            for row in rows
            if row.unparsed > UNREADABLE and row.gate != "random"
        ),
    ]
