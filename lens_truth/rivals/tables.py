"""What a comparison of rivals found, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lens_truth.ablation.limits import limit_of
from lens_truth.ablation.rows import ON, Candidate, GateRow
from lens_truth.ablation.tables import could_show
from lens_truth.io.numbers import interval, number, p_value, share, short, signed
from lens_truth.io.tables import Bar, Cell, Row, Table, row, table
from lens_truth.rivals.rows import KINDS, VANILLA, TextEffect
from lens_truth.stats.paired import Comparison

if TYPE_CHECKING:
    from lens_truth.rivals.result import RivalComparison

LEGEND = (
    "Size: the one of those tried that did best on validation; a rival no size of which does better there than the "
    "model as it is does not act, and is not tested. Gain: accuracy less that of the model as it is, on the benchmark "
    "that counts, paired over groups of questions, with its 95% interval (`*`: p < .05, Holm over all rivals tested). "
    "Elsewhere: the same on all other benchmarks, mean over them. Changed: share of the places in a text about which "
    "nothing is asked at which another token would be written; KL of the next token there, in nats (none where a "
    "rival leaves tokens no chance). Time: of writing equally many tokens behind the same prompts, over the model as "
    "it is right before, in one process; median of three rounds or more."
)
NONE = "none: validation wanted it off"
_NUMBERED = ("strength", "threshold", "above")
_SEARCH = (
    "Accuracy on validation questions, mean over benchmarks; where it says share, sizes were ranked on some questions "
    "by the share of the probability that they give the supported answers, and the best two were asked everything. "
    "Bold: the best, which is chosen if it beats the model as it is."
)


def main_table(found: RivalComparison) -> Table:
    """What helps at what cost."""
    texts = list(dict.fromkeys(text for its in found.texts.values() for text in its))
    vanilla = found.row(VANILLA)
    about = [f"{what}, {text}" for text in texts for what in ("changed", "KL")]
    header = ("rival", "size", f"{found.headline} (n={vanilla.n})", "gain", "p (Holm)", "elsewhere", *about)
    lines = [row(VANILLA, "", _accuracy(vanilla, vanilla), "", "", "", *[""] * len(about), *_cost(found, VANILLA))]
    for name in found.search:
        head = Cell(name, more=(KINDS[found.kinds[name]],))
        if name not in found.tested:
            lines.append(row(head, NONE, *[""] * (4 + len(about)), *_cost(found, name)))
            continue
        its = found.row(name)
        cells = (said(found.chosen(name)), _accuracy(its, vanilla), _gain(found, its), p_value(found.p_holm[name]))
        effects = [cell for text in texts for cell in _effect(found.texts.get(name, {}).get(text))]
        lines.append(row(head, *cells, _elsewhere(found, name), *effects, *_cost(found, name)))
    timed = ("time",) if found.costs else ()
    return Table(f"What helps {found.model}", (*header, *timed), tuple(lines), LEGEND, form="bars")


def benchmark_table(found: RivalComparison) -> Table:
    """Accuracy on every test benchmark."""
    bare = [its for its in found.rows if its.gate == VANILLA]
    header = ("rival", *(f"{its.benchmark} (n={its.n}, by {its.read_by})" for its in bare), "words")
    lines: list[Row] = []
    for name in (VANILLA, *found.tested):
        mine = {its.benchmark: its for its in found.rows if its.gate == name}
        cells = [_accuracy(mine[its.benchmark], its, difference=True) for its in bare]
        words = sum(its.answer_words * its.n for its in mine.values()) / sum(its.n for its in mine.values())
        lines.append(row(name, *cells, number(words, 1)))
    note = (
        "Accuracy with its 95% interval and the difference from the model as it is (`*`: p < .05, each by itself); "
        "words of an answer, mean over all questions."
    )
    return Table(f"{found.model} on every benchmark", header, tuple(lines), note, form="bars")


def trigger_table(found: RivalComparison) -> Table:
    """How often dynamic gates act, and what that is worth."""
    benchmarks = list(dict.fromkeys(its.benchmark for its in found.rows))
    header = ("rival", *(f"acts on, {name}" for name in benchmarks), "less always", "mean strength", "less its twin")
    lines: list[Row] = []
    for name, its in found.triggered.items():
        acts = (share(its.of_rows[benchmark]) for benchmark in benchmarks)
        less = [_less(against) for against in (its.against_static, its.against_twin)]
        lines.append(row(name, *acts, less[0], number(its.mean, 2), less[1]))
    note = (
        "Share of the prompts on which it acts, asked at their last token; and what it reaches less the same gate "
        "acting always, and less its twin: the gate at its mean strength on validation prompts, acting always. "
        "Both act on all tokens, also of a rule that acts in the answer only. "
        f"Differences are on {found.headline}; p-values are not adjusted."
    )
    return table("Gates that look at the input", header, lines, note)


def _less(against: Comparison | None) -> str:
    if against is None:
        return ""
    ends = interval((against.ci_low, against.ci_high), plus=True)
    return f"{signed(against.difference)} {ends} p\u00a0{p_value(against.p_value)}"


def search_table(found: RivalComparison) -> Table:
    """What was tried on validation."""
    lines = [row(VANILLA, "", number(found.on_validation), "")]
    for name, candidates in found.search.items():
        best = found.chosen(name)
        for its in candidates:
            reached = Cell(number(its.objective), strong=its is best)
            lines.append(row(name, said(its), reached, number(its.share)))
    return table("What was tried on validation", ("rival", "size", "accuracy", "share"), lines, _SEARCH)


def left_out_table(found: RivalComparison) -> Table:
    """Rivals that do not fit."""
    lines = [row(name, why) for name, why in found.left_out.items()]
    return Table("Rivals that do not fit", ("rival", "why"), tuple(lines), form="words")


def said(candidate: Candidate) -> str:
    """A size in words."""
    norm, lam = candidate.norm, candidate.lam
    if norm == "uniform":
        return f"every head {short(1 + lam)}"
    if norm.startswith("contrast "):
        return f"heads at random, {short(lam)} from 1"
    if norm.startswith((ON, "center", "minmax")):
        return candidate.setting
    if norm.endswith(_NUMBERED):
        return f"{norm} {short(lam)}"
    said = "its own values" if norm == "none" else norm.replace("{source}", "context (image)")
    return said if lam == 1 else f"{said}, {short(lam)}"


def _accuracy(its: GateRow, vanilla: GateRow, difference: bool = False) -> Cell:
    text = f"{number(its.accuracy)} {interval((its.ci_low, its.ci_high))}"
    if its is vanilla and (limit := limit_of(its)):
        text += f" {limit}"
    gained = its.against.get(VANILLA)
    if difference and gained is not None:
        text += f" {signed(gained.difference)}{'*' if gained.significant else ''}"
    return Cell(text, bar=Bar(its.ci_low, its.ci_high, its.accuracy, vanilla.accuracy))


def _gain(found: RivalComparison, its: GateRow) -> Cell:
    against = its.against[VANILLA]
    strong = found.p_holm[its.gate] < 0.05
    text = f"{signed(against.difference)}{'*' if strong else ''} "
    text += interval((against.ci_low, against.ci_high), plus=True)
    more = (said,) if (said := could_show(against)) else ()
    return Cell(text, more=more, strong=strong)


def _elsewhere(found: RivalComparison, name: str) -> str:
    its = found.elsewhere.get(name)
    return f"{signed(its.difference)} {interval((its.ci_low, its.ci_high), plus=True)}" if its else ""


def _effect(its: TextEffect | None) -> Sequence[str]:
    return ("", "") if its is None else (share(its.changed), number(its.kl, 4))


def _cost(found: RivalComparison, name: str) -> list[Cell]:
    if not found.costs:
        return []
    its = found.costs.get(name)
    return [Cell(f"×{its.ratio:.2f}", tip=f"{its.low:.2f} to {its.high:.2f} over all rounds") if its else Cell("")]
