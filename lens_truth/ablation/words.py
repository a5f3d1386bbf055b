"""An ablation in words and in a table: what a gate gained, and whether its controls gained as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lens_truth.ablation.ablate import CAPTION_MEASURES, Row, SideEffectRow
from lens_truth.io.tables import markdown, text_table
from lens_truth.stats.paired import Comparison

SIGNIFICANT = 0.05


def markdown_table(rows: Sequence[Row]) -> str:
    """One table a model: gates down, benchmarks across; with a legend."""
    parts = [
        "Accuracy (mean over trials, ± their standard deviation), 95% interval over groups of questions, and the "
        "difference from vanilla; `*`: p < .05, paired over groups (sign-flip test; McNemar where each question is a "
        "group). λ, normalisation and the tuned uniform gain were chosen on validation questions."
    ]
    for model in dict.fromkeys(row.model for row in rows):
        mine = [row for row in rows if row.model == model]
        benchmarks = list(dict.fromkeys(row.benchmark for row in mine))
        counts = {row.benchmark: row.n for row in mine}
        header = ["gate", "λ", *(f"{b} (n={counts[b]})" for b in benchmarks)]
        lines: list[list[str]] = []
        for key in dict.fromkeys((row.gate, row.of) for row in mine):
            of_gate = {row.benchmark: row for row in mine if (row.gate, row.of) == key}
            cells = [_gate_cell(*key, next(iter(of_gate.values()))), _lambda_cell(next(iter(of_gate.values())))]
            lines.append([*cells, *(_cell(of_gate[b]) for b in benchmarks)])
        parts.append(f"## {model}\n\n{markdown(text_table(header, lines))}")
    return "\n\n".join(parts) + "\n"


def side_effect_table(effects: Sequence[SideEffectRow], rows: Sequence[Row]) -> str:
    """One table a model: what each gate does to neutral text, and how long its answers are."""
    texts = list(dict.fromkeys(text for effect in effects for text in effect.texts))
    parts = [
        "KL divergence from the vanilla model and cross-entropy on text that nothing is asked about, in nats a token; "
        "words of an answer, mean over all test questions. Means over trials."
    ]
    header = ["gate", *(f"{what}, {text}" for text in texts for what in ("KL", "cross-entropy")), "words"]
    for model in dict.fromkeys(effect.model for effect in effects):
        lines: list[list[str]] = []
        for effect in (e for e in effects if e.model == model):
            arm = [row for row in rows if _same_arm(row, effect)]
            words = sum(row.answer_words * row.n for row in arm) / sum(row.n for row in arm)
            found = [effect.texts[text] for text in texts]
            cells = [_gate_cell(effect.gate, effect.of, arm[0])]
            cells += [cell for e in found for cell in (f"{e.kl:.4f}", f"{e.cross_entropy:.3f}")]
            lines.append([*cells, f"{words:.2f}"])
        parts.append(f"### {model}\n\n{markdown(text_table(header, lines))}")
    return "\n\n".join(parts) + "\n"


def chair_table(rows: Sequence[Row]) -> str:
    """One table a model and benchmark of captions; empty if there are none."""
    parts: list[str] = []
    for model, benchmark in dict.fromkeys((row.model, row.benchmark) for row in rows if row.captions):
        mine = [row for row in rows if (row.model, row.benchmark) == (model, benchmark)]
        lines = [
            [_gate_cell(row.gate, row.of, row), *(_measure(row.captions.get(name)) for name in CAPTION_MEASURES)]
            for row in mine
        ]
        header = ["gate", "CHAIR_s", "CHAIR_i", "recall", "length"]
        parts.append(f"### {model}, {benchmark} (n={mine[0].n})\n\n{markdown(text_table(header, lines))}")
    legend = "Captions: share of those that mention what is not there (CHAIR_s), share of all mentions (CHAIR_i); how "
    legend += "much of what is there is mentioned; words. A model that mentions less hallucinates less."
    return "\n\n".join([legend, *parts]) + "\n" if parts else ""


def _measure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def verdicts(rows: Sequence[Row], benchmarks: Mapping[str, str]) -> list[str]:
    """One sentence for every gate by scores: its effect on the model's own of the `benchmarks`, and every control that
    did as well."""
    sentences: list[str] = []
    for row in rows:
        benchmark = benchmarks[row.model]
        if row.benchmark != benchmark or row.gate == "vanilla" or row.of or "vanilla" not in row.against:
            continue
        if row.gate == "random":
            continue
        vanilla = row.against["vanilla"]
        effect = (
            f"{row.model}, {row.gate} gate on {benchmark}: {vanilla.difference:+.3f} "
            f"[{vanilla.ci_low:+.3f}, {vanilla.ci_high:+.3f}] against vanilla (p = {vanilla.p_value:.3g})"
        )
        unbeaten = [
            f"{name} ({c.difference:+.3f} [{c.ci_low:+.3f}, {c.ci_high:+.3f}]{_as_good(c)})"
            for name, c in row.against.items()
            if name != "vanilla" and not (c.difference > 0 and c.p_value < SIGNIFICANT and not c.as_good)
        ]
        gained = vanilla.difference > 0 and vanilla.p_value < SIGNIFICANT
        if not gained:
            effect += "; no significant gain"
        if unbeaten:
            sentences.append(f"{effect}. It does NOT beat: {', '.join(unbeaten)}.")
        elif len(row.against) > 1:
            sentences.append(f"{effect}. It beats all its controls.")
        else:
            sentences.append(f"{effect}. It was compared with no control.")
        others = {r.benchmark: r.against["vanilla"] for r in rows if _same_arm(r, row) and r.benchmark != benchmark}
        harmed = [
            f"{name} {c.difference:+.3f}" for name, c in others.items() if c.difference < 0 and c.p_value < SIGNIFICANT
        ]
        if harmed:
            sentences[-1] += f" Side effects: {', '.join(harmed)}."
    return sentences


def _as_good(comparison: Comparison) -> str:
    return f"; {comparison.as_good} of {comparison.trials} trials as good" if comparison.trials > 1 else ""


def _same_arm(one: Row, other: Row | SideEffectRow) -> bool:
    return (one.model, one.gate, one.of) == (other.model, other.gate, other.of)


def _gate_cell(gate: str, of: str, row: Row) -> str:
    name = f"{gate} ({of})" if of else gate
    if row.trials > 1:
        name += f" ×{row.trials}"
    return name + (f", {row.negative_gates} negative" if row.negative_gates else "")


def _lambda_cell(row: Row) -> str:
    return f"{row.lam:.3g} {row.norm}" if row.lam is not None else ""


def _cell(row: Row) -> str:
    spread = f" ± {row.accuracy_std:.3f}" if row.trials > 1 else ""
    text = f"{row.accuracy:.3f}{spread} [{row.ci_low:.2f}, {row.ci_high:.2f}]"
    if "vanilla" in row.against:
        c = row.against["vanilla"]
        text += f" {c.difference:+.3f}{'*' if c.p_value < SIGNIFICANT else ''}"
    return text
