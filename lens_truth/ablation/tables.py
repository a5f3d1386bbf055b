"""What an ablation found, as tables: gates on benchmarks, readings, captions, side effects, the search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lens_truth.ablation.limits import limit_of
from lens_truth.ablation.rows import (
    CAPTIONS,
    CAUSAL_HEADS,
    ON,
    RANDOM_DIRECTIONS,
    RANDOM_HEADS,
    TUNED,
    TUNED_DIRECTIONS,
    Candidate,
    GateRow,
    SideEffectRow,
    best_of,
)
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import count, interval, number, p_value, share, short, signed
from lens_truth.io.tables import Bar, Cell, Row, Table, row, table
from lens_truth.stats.paired import Comparison

LEGEND = (
    "Accuracy (mean over trials, ± their standard deviation), 95% interval over groups of questions, and the "
    "difference from vanilla; `*`: p < .05, paired over groups (sign-flip test; McNemar where each question is a "
    "group). λ, normalisation and the tuned gain were chosen on validation questions (where they are put as a choice "
    "too, of the two that choose best on some of them); what did no better there than no gate was not tested. A "
    "control that draws is drawn once; then, benchmark by benchmark, while its gate gains significantly over vanilla "
    "there and no draw is as good. One that is settles that the control is not beaten, only all draws (--trials) "
    "settle that it is. Floor, ceiling: what a guess reaches, or 1, lies in the interval of the model without a gate:"
    " these questions can show no loss, or no gain. Could show: the true gain that the test finds four times in five."
)
_BARS = (
    " The bar runs from 0 to 1, the line across is vanilla. Controls stand under their gate. ✓: the gate beats the "
    "control, by a significant gain and with no draw of the control as good; ✗: it does not; –: not settled, "
    "for the gate gained nothing there."
)
CAPTION_LEGEND = (
    "Captions: share of those that mention what is not there (CHAIR_s), share of all mentions (CHAIR_i); how much of "
    "what is there is mentioned; words. A model that mentions less hallucinates less."
)
SIDE_EFFECT_LEGEND = (
    "KL divergence from the vanilla model and cross-entropy on text that nothing is asked about, in nats a token; "
    "words of an answer, mean over all test questions. Means over trials."
)
READING_LEGEND = (
    "The same answers read in every way; the first way counts in all other tables. Written answers: strict, the first "
    "line is the answer; contains, the answer is in it as whole words. Yes or no: strict, the first word; logit "
    "margin, which of both is likelier. Choices: by the log-probability of the whole answer (total, which favours "
    "short ones), or of its mean token; equally long, questions whose answers have as many tokens."
)
_SEARCH_LEGEND = (
    "Accuracy on validation questions, mean over benchmarks, by how far the gate is from 1 (root mean square over "
    "heads); the line across is the model without a gate. Bold: what was best; it is chosen if it beats that. Where it "
    "says share, candidates were ranked on some questions by the share of the probability that they give the supported "
    "answers, and the best two were asked everything."
)

_ABOUT = {
    "permuted": "its values shuffled inside layers",
    "uniform": "every head its layer's mean",
    "inverse": "its values mirrored about 1",
    "norm-matched": "random, as far from 1 in each layer",
    "random": "1 + U(-1, 1)",
    RANDOM_HEADS: "as many, each along its own direction of truth",
    RANDOM_DIRECTIONS: "as long, on the same heads",
    TUNED_DIRECTIONS: "random, on heads with the best probes; tuned on validation too",
    CAUSAL_HEADS: "the highest causal scores, along their directions; tuned too",
}
_SHIFTS = (
    " What is `on` so many heads is a shift along directions of truth (ITI); its λ is α, the number of standard "
    "deviations."
)
UNWANTED = "none: validation wanted no gate"
_SHARED = {
    "random": "the random gate",
    f"uniform ({TUNED})": "the tuned gain",
    f"contrast ({TUNED})": "the tuned contrast",
}
"""Controls of all gates by scores, as `against` names them."""


def gate_tables(rows: Sequence[GateRow], unwanted: Mapping[str, Sequence[str]] | None = None) -> dict[str, Table]:
    """By model: gates down, benchmarks across; gates that validation did not want have lines without numbers."""
    tables: dict[str, Table] = {}
    for model in dict.fromkeys(one.model for one in rows):
        mine = [one for one in rows if one.model == model]
        found = {(one.arm, one.benchmark): one for one in mine}
        shown = {one.benchmark: f"{one.benchmark} (n={one.n}{_read(one)})" for one in mine}
        lines: list[Row] = []
        for arm in dict.fromkeys(one.arm for one in mine):
            its = [one for one in mine if one.arm == arm]
            lam = "" if its[0].lam is None else f"{its[0].lam:.3g} {its[0].norm}"
            cells = (_accuracy_cell(found, arm, name) for name in shown)
            lines.append(row(_gate_cell(its), lam, *cells, below=_below(arm)))
        lines += [row(gate, UNWANTED, *[""] * len(shown)) for gate in (unwanted or {}).get(model, ())]
        header = ("gate", "λ", *shown.values())
        caption = f"Accuracy of {model} under each gate"
        tables[model] = Table(caption, header, tuple(lines), legend_of(rows) + _BARS, form="bars")
    return tables


def legend_of(rows: Sequence[GateRow]) -> str:
    """Of tables of gates."""
    return LEGEND + (_SHIFTS if any(_is_shift(one.norm) for one in rows) else "")


def _is_shift(norm: str | None) -> bool:
    return norm is not None and norm.startswith(ON)


def reading_tables(rows: Sequence[GateRow]) -> dict[str, Table]:
    """By model: gates down, across every way to read the answers of every benchmark that has several."""
    tables: dict[str, Table] = {}
    for model in dict.fromkeys(one.model for one in rows):
        mine = [one for one in rows if one.model == model]
        ways = dict.fromkeys((one.benchmark, way) for one in mine if len(one.readings) > 1 for way in one.readings)
        found = {(one.arm, one.benchmark): one for one in mine}
        lines: list[Row] = []
        for arm in dict.fromkeys(one.arm for one in mine):
            asked = [(found.get((arm, benchmark)), way) for benchmark, way in ways]
            numbers = (number(one.readings.get(way)) if one else "" for one, way in asked)
            its = [one for one in mine if one.arm == arm]
            lines.append(row(_name(its), *numbers, below=_below(arm)))
        if ways:
            header = ("gate", *(f"{benchmark}, {way}" for benchmark, way in ways))
            tables[model] = table(f"Answers of {model} read in every way", header, lines, READING_LEGEND)
    return tables


def caption_tables(rows: Sequence[GateRow], what: str = "gate") -> dict[str, Table]:
    """By model and benchmark of captions: CHAIR's measures under each gate (or `what` else rows are of); none where
    there are no captions."""
    tables: dict[str, Table] = {}
    for model, benchmark in dict.fromkeys((one.model, one.benchmark) for one in rows if one.captions):
        mine = [one for one in rows if (one.model, one.benchmark) == (model, benchmark)]
        lines: list[Row] = []
        for one in mine:
            measured = (number(one.captions.get(name)) for name in CAPTIONS)
            lines.append(row(_name([one]), *measured, below=_below(one.arm)))
        name = f"{model}, {benchmark} (n={mine[0].n})"
        tables[name] = table(f"Captions of {name}", (what, *CAPTIONS.values()), lines, CAPTION_LEGEND)
    return tables


def side_effect_tables(effects: Sequence[SideEffectRow], rows: Sequence[GateRow]) -> dict[str, Table]:
    """By model: what each gate does to neutral text, and how long its answers are."""
    texts = list(dict.fromkeys(text for effect in effects for text in effect.texts))
    header = ("gate", *(f"{what}, {text}" for text in texts for what in ("KL", "cross-entropy")), "words")
    tables: dict[str, Table] = {}
    for model in dict.fromkeys(effect.model for effect in effects):
        lines: list[Row] = []
        for effect in (effect for effect in effects if effect.model == model):
            asked = [one for one in rows if (one.model, one.arm) == (model, effect.arm)]
            total = sum(one.n for one in asked)
            words = sum(one.answer_words * one.n for one in asked) / total if total else None
            numbers: list[str] = []
            for its in map(effect.texts.get, texts):
                numbers += [number(its.kl, 4), number(its.cross_entropy)] if its else ["", ""]
            name = gate_name(*effect.arm, [effect.trials], max((one.negative_gates for one in asked), default=0))
            lines.append(row(name, *numbers, number(words, 2), below=_below(effect.arm)))
        tables[model] = table(f"Side effects in {model}", header, lines, SIDE_EFFECT_LEGEND)
    return tables


def search_tables(
    search: Mapping[str, Sequence[Candidate]], vanilla: float, unwanted: Sequence[str] = ()
) -> list[Table]:
    """One for each gate of a model: how far it is from 1 down, normalisations across; `vanilla` is without a gate."""
    tables: list[Table] = []
    for gate, candidates in search.items():
        if not candidates:
            continue
        best = best_of(candidates)
        shifts = _is_shift(best.norm)
        norms = list(dict.fromkeys(its.norm for its in candidates))
        by = [short(its.lam if shifts else its.strength) for its in candidates]
        at = {(line, its.norm): its for line, its in zip(by, candidates, strict=True)}
        lines = [row("no gate", *[Cell(number(vanilla), bar=Bar(0, vanilla, vanilla))] * len(norms))]
        for line in dict.fromkeys(by):
            lines.append(row(line, *(_candidate_cell(at.get((line, norm)), best, vanilla) for norm in norms)))
        caption = f"{gate}: {UNWANTED if gate in unwanted else best.setting}"
        header = ("α, in standard deviations" if shifts else "distance from 1", *norms)
        tables.append(Table(caption, header, tuple(lines), _SEARCH_LEGEND, form="bars"))
    return tables


def gate_name(gate: str, of: str, trials: Sequence[int] = (), negative: int = 0) -> str:
    """As tables name it, with its trials on each benchmark."""
    low, high = min(trials, default=1), max(trials, default=1)
    drawn = "" if high == 1 else f" ×{high}" if low == high else f" ×{low} to {high}"
    name = (f"{gate} ({of})" if of else gate) + drawn
    return name + (f", {negative} negative" if negative else "")


def as_good(comparison: Comparison) -> str:
    """How many draws of a control did as well, where several could be made; of fewer than those, how many were."""
    its, most = comparison, comparison.trials + comparison.undrawn
    said = f"; {its.as_good} of {count(its.trials, 'trial')} as good" if most > 1 else ""
    return said + (f", {its.undrawn} not needed" if its.undrawn else "")


def could_show(its: Comparison) -> str:
    """The power behind a difference that is not significant; empty where it is, and in results of earlier builds."""
    if its.significant or its.detectable == 0:
        return ""
    return "could show no gain" if math.isnan(its.detectable) else f"could show {signed(its.detectable)}"


def _read(one: GateRow) -> str:
    """The reading that counts, where it is not the usual one."""
    return "" if one.read_by in ("strict", "total") else f", read by {one.read_by}"


def _below(arm: tuple[str, str]) -> bool:
    return arm[1] not in ("", TUNED)


def _name(rows: Sequence[GateRow]) -> str:
    """Of a gate, from its rows."""
    return gate_name(*rows[0].arm, [one.trials for one in rows], max(one.negative_gates for one in rows))


def _gate_cell(rows: Sequence[GateRow]) -> Cell:
    one = rows[0]
    tuned = one.lam if one.of == TUNED else None
    about = _ABOUT.get(one.gate)
    if tuned is not None:
        about = f"every head {1 + tuned:.3g}" if one.gate == "uniform" else f"a random direction, {tuned:.3g} from 1"
    return Cell(_name(rows), more=(about,) if about else (), alarm=any(its.negative_gates for its in rows))


def _accuracy_cell(found: Mapping[tuple[tuple[str, str], str], GateRow], arm: tuple[str, str], benchmark: str) -> Cell:
    one, vanilla = found.get((arm, benchmark)), found.get((("vanilla", ""), benchmark))
    if one is None:
        return Cell("missing")
    spread = f" ± {number(one.accuracy_std)}" if one.trials > 1 else ""
    text = f"{number(one.accuracy)}{spread} {interval((one.ci_low, one.ci_high))}"
    if arm == ("vanilla", "") and (limit := limit_of(one)):
        text += f" {limit}"
    more: list[str] = []
    gained = one.against.get("vanilla")
    if gained is not None:
        text += f" {signed(gained.difference)}{'*' if gained.significant else ''}"
        more.append(_difference(gained))
    gate = found.get(((one.of, ""), benchmark))
    if gate is not None and (against := gate.against.get(one.gate)) is not None:
        more.append(_judged(against, f" by its gate, {_difference(against)}"))
    for name, said in _SHARED.items():
        if (against := one.against.get(name)) is not None:
            more.append(_judged(against, f": {said}, {signed(against.difference)}"))
    if one.unparsed:
        more.append(f"{'⚠ ' if one.unparsed > UNREADABLE else ''}{share(one.unparsed)} unparsed")
    return Cell(
        text,
        more=tuple(more),
        bar=Bar(one.ci_low, one.ci_high, one.accuracy, vanilla.accuracy if vanilla else None),
        strong=gained is not None and gained.significant,
        alarm=one.unparsed > UNREADABLE,
    )


def _judged(against: Comparison, how: str) -> str:
    ties = as_good(against) if against.as_good or against.undrawn else ""
    return f"{'✓ beaten' if against.beaten else '– not settled' if against.unsettled else '✗ NOT beaten'}{how}{ties}"


def _difference(against: Comparison) -> str:
    ends = interval((against.ci_low, against.ci_high), plus=True)
    said = f"{signed(against.difference)} {ends} p\u00a0{p_value(against.p_value)}"
    return f"{said}, {could}" if (could := could_show(against)) else said


def _candidate_cell(its: Candidate | None, best: Candidate, vanilla: float) -> Cell:
    if its is None:
        return Cell("")
    lam = f"{'α' if _is_shift(its.norm) else 'λ'} = {short(its.lam)}"
    if not its.accuracy and its.share is not None:
        return Cell(f"share {number(its.share)}", more=(lam,))
    if len(its.accuracy) < len(best.accuracy):  # of an earlier build
        return Cell(f"{number(its.objective)} {', '.join(its.accuracy)}", more=(lam,))
    bar = Bar(0, its.objective, its.objective, vanilla)
    return Cell(number(its.objective), more=(lam,), bar=bar, strong=its is best)
