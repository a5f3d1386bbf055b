"""What an ablation found, as rows of plain data and as tables: gates on benchmarks, side effects, the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import interval, number, p_value, share, short, signed
from lens_truth.io.tables import Bar, Cell, Row, Table, row, table
from lens_truth.stats.paired import Comparison

TUNED = "tuned"
"""In `of`: a uniform gain chosen on validation, like lambda, instead of taken from a gate."""

CAPTIONS = {"chair_s": "CHAIR_s", "chair_i": "CHAIR_i", "recall": "recall", "length": "length"}
LEGEND = (
    "Accuracy (mean over trials, ± their standard deviation), 95% interval over groups of questions, and the "
    "difference from vanilla; `*`: p < .05, paired over groups (sign-flip test; McNemar where each question is a "
    "group). λ, normalisation and the tuned uniform gain were chosen on validation questions."
)
_BARS = (
    " The bar runs from 0 to 1, the line across is vanilla. Controls stand under their gate. ✓: the gate beats the "
    "control, by a significant gain and with no draw of the control as good; ✗: it does not."
)
CAPTION_LEGEND = (
    "Captions: share of those that mention what is not there (CHAIR_s), share of all mentions (CHAIR_i); how much of "
    "what is there is mentioned; words. A model that mentions less hallucinates less."
)
SIDE_EFFECT_LEGEND = (
    "KL divergence from the vanilla model and cross-entropy on text that nothing is asked about, in nats a token; "
    "words of an answer, mean over all test questions. Means over trials."
)
_SEARCH_LEGEND = (
    "Accuracy on validation questions, mean over benchmarks, by how far the gate is from 1 (root mean square over "
    "heads); the line across is the model without a gate. Bold: what was chosen."
)

_ABOUT = {
    "permuted": "its values shuffled inside layers",
    "uniform": "every head its layer's mean",
    "inverse": "its values mirrored about 1",
    "norm-matched": "random, as far from 1 in each layer",
    "random": "1 + U(-1, 1)",
}
_SHARED = {"random": "the random gate", f"uniform ({TUNED})": "the tuned gain"}
"""Controls of all gates by scores, as `against` names them."""


@dataclass(frozen=True)
class GateRow:
    """One gate on one benchmark of n questions."""

    model: str
    gate: str
    """vanilla; a kind of scores (`own` before it: the model's own, where others come from its base); or a control."""
    of: str
    """For a control, the gate that it controls; `tuned` for the uniform gain chosen on validation."""
    benchmark: str
    trials: int
    n: int
    accuracy: float
    accuracy_std: float
    """Standard deviation over trials (0 for one), of which accuracy, f1 and the like are means."""
    ci_low: float
    ci_high: float
    """95% bootstrap interval of the accuracy over groups of questions."""
    f1: float
    unparsed: float
    """Share of answers without a yes or no (open answers: empty ones)."""
    answer_words: float
    """Mean length of an answer as the model wrote it."""
    lam: float | None = None
    norm: str | None = None
    strength: float | None = None
    """Root mean square of gate - 1 over heads."""
    captions: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of captions, CHAIR's chair_s, chair_i, recall and length where they are defined."""
    negative_gates: int = 0
    """Heads whose output is inverted (most over trials)."""
    against: Mapping[str, Comparison] = field(default_factory=dict[str, Comparison])
    """Paired comparison with vanilla, and of a gate by scores with each of its controls."""

    @property
    def arm(self) -> tuple[str, str]:
        """What tells gates of one model apart: the gate, and for a control the gate that it controls."""
        return self.gate, self.of

    @property
    def by_scores(self) -> bool:
        """Whether scores made the gate: neither vanilla nor a control."""
        return not self.of and self.gate not in ("vanilla", "random")


@dataclass(frozen=True)
class SideEffect:
    """On one neutral text, in nats a token: KL(vanilla || gated), and the cross-entropy of the gated model."""

    kl: float
    cross_entropy: float


@dataclass(frozen=True)
class SideEffectRow:
    """What one gate does to text without questions (means over trials)."""

    model: str
    gate: str
    of: str
    trials: int
    texts: Mapping[str, SideEffect]
    """By the name of the neutral text."""

    @property
    def arm(self) -> tuple[str, str]:
        """As that of a `GateRow`."""
        return self.gate, self.of


@dataclass(frozen=True)
class Candidate:
    """One point of the search."""

    lam: float
    norm: str
    """`uniform` for a gain of all heads, 1 + lam."""
    strength: float
    """Root mean square of gate - 1 over heads."""
    accuracy: Mapping[str, float]
    """On each validation benchmark."""

    @property
    def objective(self) -> float:
        """Mean over benchmarks, so that a gain on one is weighed against losses on the others."""
        return mean_accuracy(self.accuracy)

    def said(self) -> str:
        """Its setting, and what it reached."""
        return f"λ = {short(self.lam)}, {self.norm}, {number(self.objective)}"


def mean_accuracy(by_benchmark: Mapping[str, float]) -> float:
    """What the search compares; NaN without a benchmark."""
    return float(np.mean(list(by_benchmark.values()))) if by_benchmark else float("nan")


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The one that is chosen: of equals the weakest gate, then the first."""
    return max(candidates, key=lambda c: (c.objective, -c.strength))


def gate_tables(rows: Sequence[GateRow]) -> dict[str, Table]:
    """By model: gates down, benchmarks across."""
    tables: dict[str, Table] = {}
    for model in dict.fromkeys(one.model for one in rows):
        mine = [one for one in rows if one.model == model]
        found = {(one.arm, one.benchmark): one for one in mine}
        counts = {one.benchmark: one.n for one in mine}
        lines: list[Row] = []
        for arm in dict.fromkeys(one.arm for one in mine):
            first = next(one for one in mine if one.arm == arm)
            lam = "" if first.lam is None else f"{first.lam:.3g} {first.norm}"
            cells = (_accuracy_cell(found, arm, name) for name in counts)
            lines.append(row(_gate_cell(first), lam, *cells, below=_below(arm)))
        header = ("gate", "λ", *(f"{name} (n={n})" for name, n in counts.items()))
        caption = f"Accuracy of {model} under each gate"
        tables[model] = Table(caption, header, tuple(lines), LEGEND + _BARS, form="bars")
    return tables


def caption_tables(rows: Sequence[GateRow]) -> dict[str, Table]:
    """By model and benchmark of captions: CHAIR's measures under each gate; none where there are no captions."""
    tables: dict[str, Table] = {}
    for model, benchmark in dict.fromkeys((one.model, one.benchmark) for one in rows if one.captions):
        mine = [one for one in rows if (one.model, one.benchmark) == (model, benchmark)]
        lines: list[Row] = []
        for one in mine:
            measured = (number(one.captions.get(name)) for name in CAPTIONS)
            lines.append(row(gate_name(*one.arm, one.trials, one.negative_gates), *measured, below=_below(one.arm)))
        name = f"{model}, {benchmark} (n={mine[0].n})"
        tables[name] = table(f"Captions of {name}", ("gate", *CAPTIONS.values()), lines, CAPTION_LEGEND)
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
            name = gate_name(*effect.arm, effect.trials, max((one.negative_gates for one in asked), default=0))
            lines.append(row(name, *numbers, number(words, 2), below=_below(effect.arm)))
        tables[model] = table(f"Side effects in {model}", header, lines, SIDE_EFFECT_LEGEND)
    return tables


def search_tables(search: Mapping[str, Sequence[Candidate]], vanilla: float) -> list[Table]:
    """One for each gate of a model: how far it is from 1 down, normalisations across; `vanilla` is without a gate."""
    tables: list[Table] = []
    for gate, candidates in search.items():
        if not candidates:
            continue
        best = best_of(candidates)
        norms = list(dict.fromkeys(its.norm for its in candidates))
        at = {(short(its.strength), its.norm): its for its in candidates}
        lines = [row("no gate", *[Cell(number(vanilla), bar=Bar(0, vanilla, vanilla))] * len(norms))]
        for strength in dict.fromkeys(strength for strength, _ in at):
            lines.append(row(strength, *(_candidate_cell(at.get((strength, norm)), best, vanilla) for norm in norms)))
        caption = f"{gate}: λ = {short(best.lam)}, {best.norm}"
        tables.append(Table(caption, ("distance from 1", *norms), tuple(lines), _SEARCH_LEGEND, form="bars"))
    return tables


def gate_name(gate: str, of: str, trials: int = 1, negative: int = 0) -> str:
    """As tables name it."""
    name = (f"{gate} ({of})" if of else gate) + (f" ×{trials}" if trials > 1 else "")
    return name + (f", {negative} negative" if negative else "")


def as_good(comparison: Comparison) -> str:
    """How many draws of a control did as well, where it was drawn more than once."""
    return f"; {comparison.as_good} of {comparison.trials} trials as good" if comparison.trials > 1 else ""


def _below(arm: tuple[str, str]) -> bool:
    return arm[1] not in ("", TUNED)


def _gate_cell(one: GateRow) -> Cell:
    tuned = one.lam if one.of == TUNED else None
    about = _ABOUT.get(one.gate) if tuned is None else f"every head {1 + tuned:.3g}"
    name = gate_name(*one.arm, one.trials, one.negative_gates)
    return Cell(name, more=(about,) if about else (), alarm=bool(one.negative_gates))


def _accuracy_cell(found: Mapping[tuple[tuple[str, str], str], GateRow], arm: tuple[str, str], benchmark: str) -> Cell:
    one, vanilla = found.get((arm, benchmark)), found.get((("vanilla", ""), benchmark))
    if one is None:
        return Cell("missing")
    spread = f" ± {number(one.accuracy_std)}" if one.trials > 1 else ""
    text = f"{number(one.accuracy)}{spread} {interval((one.ci_low, one.ci_high))}"
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
    ties = as_good(against) if against.as_good else ""
    return f"{'✓ beaten' if against.beaten else '✗ NOT beaten'}{how}{ties}"


def _difference(against: Comparison) -> str:
    ends = interval((against.ci_low, against.ci_high), plus=True)
    return f"{signed(against.difference)} {ends} p\u00a0{p_value(against.p_value)}"


def _candidate_cell(its: Candidate | None, best: Candidate, vanilla: float) -> Cell:
    if its is None:
        return Cell("")
    bar = Bar(0, its.objective, its.objective, vanilla)
    return Cell(number(its.objective), more=(f"λ = {short(its.lam)}",), bar=bar, strong=its is best)
