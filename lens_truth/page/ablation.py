"""Ablations: gates by scores against the vanilla model and against their controls (`ablate`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import count, interval, number, p_value, share, signed, significant
from lens_truth.io.tables import Bar, Cell, Row, Table, row, table
from lens_truth.page.blocks import Block, Heading, Sentences, Text
from lens_truth.page.fields import Fields, Interval
from lens_truth.page.reading import RunRecord

TUNED = "tuned"

CAPTIONS = {"chair_s": "CHAIR_s", "chair_i": "CHAIR_i", "recall": "recall", "length": "words"}

_NAMES = {
    "vanilla": "vanilla",
    "permuted": "its values shuffled inside layers",
    "uniform": "every head its layer's mean",
    "inverse": "its values mirrored about 1",
    "norm-matched": "random, as far from 1 in each layer",
    "random": "random gate 1 + U(−1, 1)",
}


@dataclass(frozen=True)
class Against:
    """One gate's paired comparison with another."""

    difference: float
    ends: Interval
    p: float
    as_good: int
    trials: int

    @property
    def beaten(self) -> bool:
        """The rule of the verdicts: a significant gain, and no trial of the other as good."""
        return self.difference > 0 and significant(self.p) and not self.as_good


@dataclass(frozen=True)
class GateRow:
    """One gate on one benchmark."""

    model: str
    gate: str
    of: str
    benchmark: str
    n: int
    trials: int
    accuracy: float
    spread: float
    ends: Interval
    unparsed: float
    words: float
    negative: int
    lam: float | None
    norm: str | None
    captions: dict[str, float]
    against: dict[str, Against]

    @property
    def arm(self) -> tuple[str, str]:
        """What tells gates of one model apart: the gate, and for a control the gate that it controls."""
        return self.gate, self.of

    @property
    def label(self) -> str:
        """How `against` of a gate by scores names this control."""
        return f"{self.gate} ({TUNED})" if self.of == TUNED else self.gate


def read_row(fields: Fields) -> GateRow:
    """A member of `results.rows`."""
    return GateRow(
        model=fields["model"].text(),
        gate=fields["gate"].text(),
        of=fields["of"].text(),
        benchmark=fields["benchmark"].text(),
        n=fields["n"].whole(),
        trials=fields["trials"].whole(),
        accuracy=fields["accuracy"].number(),
        spread=fields["accuracy_std"].number(),
        ends=(fields["ci_low"].number(), fields["ci_high"].number()),
        unparsed=fields["unparsed"].number(),
        words=fields["answer_words"].number(),
        negative=fields["negative_gates"].whole(),
        lam=fields.maybe("lam", Fields.number),
        norm=fields.maybe("norm", Fields.text),
        captions={name: value.number() for name, value in fields["captions"].members().items()},
        against={name: _against(its) for name, its in fields["against"].members().items()},
    )


def _against(fields: Fields) -> Against:
    ends = (fields["ci_low"].number(), fields["ci_high"].number())
    whole = (fields["as_good"].whole(), fields["trials"].whole())
    return Against(fields["difference"].number(), ends, fields["p_value"].number(), *whole)


def ablation_blocks(run: RunRecord) -> list[Block]:
    """Verdicts, then a table a model."""
    rows = [read_row(fields) for fields in run.results["rows"]]
    source = run.results["scores_from"].text()
    blocks: list[Block] = [
        Heading(f"Gates by scores of {source}", 3, f"run {run.name}"),
        Sentences(tuple(run.results["verdicts"].texts())),
    ]
    for model in dict.fromkeys(one.model for one in rows):
        mine = [one for one in rows if one.model == model]
        blocks.append(_gates(model, mine))
        blocks += _captions(model, mine)
    return blocks


def arms(rows: Sequence[GateRow]) -> list[tuple[str, str]]:
    """Gates in order, each followed by its controls."""
    found = list(dict.fromkeys(one.arm for one in rows))
    own = [arm for arm in found if not arm[1] or arm[1] not in {gate for gate, of in found if not of}]
    return [arm for gate in own for arm in (gate, *(below for below in found if below[1] and below[1] == gate[0]))]


def gate_name(gate: str, of: str, trials: int = 1) -> str:
    """For people."""
    name = _NAMES.get(gate, f"{gate} gate")
    if of == TUNED:
        name = "one gain for all heads, tuned"
    return f"{name}, {trials} draws" if trials > 1 else name


def _gates(model: str, rows: Sequence[GateRow]) -> Table:
    benchmarks = list(dict.fromkeys(one.benchmark for one in rows))
    cells = {(one.arm, one.benchmark): one for one in rows}
    lines: list[Row] = []
    for arm in arms(rows):
        first = next(one for one in rows if one.arm == arm)
        below = bool(arm[1]) and arm[1] != TUNED
        parent = (arm[1], "") if below else None
        lines.append(
            Row(
                _gate_cell(first),
                tuple(_accuracy_cell(cells, arm, parent, benchmark) for benchmark in benchmarks),
                below=below,
            )
        )
    header = ("gate", *(f"{name} (n = {next(one.n for one in rows if one.benchmark == name)})" for name in benchmarks))
    note = (
        "Accuracy [95% interval over groups of questions]; the bar runs from 0 to 1, the line across is vanilla. "
        "Below: the difference from vanilla with its interval and p, paired over groups; bold, p < .05. Controls stand "
        "under their gate. ✓: the gate beats the control, by a significant gain and with no draw of the control as "
        "good; ✗: it does not."
    )
    return Table(f"Accuracy of {model} under each gate", header, tuple(lines), note, form="bars")


def _gate_cell(one: GateRow) -> Cell:
    more: list[str] = []
    if one.lam is not None and not (one.of and one.of != TUNED):
        more.append(f"λ = {one.lam:.3g}, {one.norm}" if one.of != TUNED else f"gain {1 + one.lam:.3g}")
    if one.negative:
        more.append(f"⚠ {count(one.negative, 'negative gate')}")
    return Cell(gate_name(one.gate, one.of, one.trials), more=tuple(more), alarm=bool(one.negative))


def _accuracy_cell(
    cells: dict[tuple[tuple[str, str], str], GateRow],
    arm: tuple[str, str],
    parent: tuple[str, str] | None,
    benchmark: str,
) -> Cell:
    one = cells.get((arm, benchmark))
    if one is None:
        return Cell("missing")
    vanilla = cells.get((("vanilla", ""), benchmark))
    spread = f" ± {number(one.spread)}" if one.trials > 1 else ""
    low, high = one.ends
    more: list[str] = []
    strong = False
    if (against := one.against.get("vanilla")) is not None:
        more.append(_difference(against))
        strong = significant(against.p)
    if parent is not None or not one.of:
        more += _controls(cells, one, parent, benchmark)
    if one.unparsed:
        more.append(f"{'⚠ ' if one.unparsed > UNREADABLE else ''}{share(one.unparsed)} unparsed")
    return Cell(
        f"{number(one.accuracy)}{spread} [{number(low, 2)}, {number(high, 2)}]",
        more=tuple(more),
        bar=Bar(low, high, one.accuracy, vanilla.accuracy if vanilla else None),
        strong=strong,
        alarm=one.unparsed > UNREADABLE,
    )


def _controls(
    cells: dict[tuple[tuple[str, str], str], GateRow],
    one: GateRow,
    parent: tuple[str, str] | None,
    benchmark: str,
) -> list[str]:
    """On a control, whether its gate beats it; on a gate, whether it beats those that all gates share."""
    if parent is not None:
        gate = cells.get((parent, benchmark))
        against = gate.against.get(one.label) if gate else None
        return [] if against is None else [f"{_beaten(against)} by its gate, {_difference(against)}{_as_good(against)}"]
    shared = {"random": "the random gate", f"uniform ({TUNED})": "the tuned gain"}
    return [
        f"{_beaten(its)}: {shared[name]}, {signed(its.difference)}{_as_good(its)}"
        for name, its in one.against.items()
        if name in shared
    ]


def _beaten(against: Against) -> str:
    return "✓ beaten" if against.beaten else "✗ NOT beaten"


def _difference(against: Against) -> str:
    ends = interval(against.ends, plus=True)
    return f"{signed(against.difference)} {ends} p\u00a0{p_value(against.p)}"


def _as_good(against: Against) -> str:
    return f"; {against.as_good} of {against.trials} as good" if against.trials > 1 and against.as_good else ""


def _captions(model: str, rows: Sequence[GateRow]) -> list[Block]:
    """One table a benchmark of captions."""
    blocks: list[Block] = []
    for benchmark in dict.fromkeys(one.benchmark for one in rows if one.captions):
        mine = {one.arm: one for one in rows if one.benchmark == benchmark}
        lines = [
            row(
                gate_name(*arm, mine[arm].trials),
                *(number(mine[arm].captions.get(name)) for name in CAPTIONS),
                below=bool(arm[1]) and arm[1] != TUNED,
            )
            for arm in arms(rows)
            if arm in mine
        ]
        note = "A model that mentions less hallucinates less: read CHAIR beside recall and length."
        title = f"Captions of {model}, {benchmark} (n = {next(iter(mine.values())).n})"
        blocks.append(table(title, ("gate", *CAPTIONS.values()), lines, note))
    return blocks


def side_effect_blocks(run: RunRecord) -> list[Block]:
    """What gates do to text that nothing is asked about."""
    effects = run.results["side_effects"].items()
    rows = [read_row(fields) for fields in run.results["rows"]]
    if not effects:
        return [Text(f"missing: run {run.name} measured no side effects", missing=True)]
    texts = list(dict.fromkeys(text for effect in effects for text in effect["texts"].members()))
    blocks: list[Block] = []
    for model in dict.fromkeys(effect["model"].text() for effect in effects):
        order = arms([one for one in rows if one.model == model])
        mine = {(e["gate"].text(), e["of"].text()): e for e in effects if e["model"].text() == model}
        lines: list[Row] = []
        for arm in [arm for arm in (*order, *(arm for arm in mine if arm not in order)) if arm in mine]:
            numbers: list[str] = []
            for text in texts:
                effect = mine[arm]["texts"].maybe(text, lambda its: its)
                numbers += [
                    number(effect and effect["kl"].number(), 4),
                    number(effect and effect["cross_entropy"].number()),
                ]
            asked = [one for one in rows if (one.model, *one.arm) == (model, *arm)]
            total = sum(one.n for one in asked)
            words = sum(one.words * one.n for one in asked) / total if total else None
            name = gate_name(*arm, mine[arm]["trials"].whole())
            lines.append(row(name, *numbers, number(words, 2), below=bool(arm[1]) and arm[1] != TUNED))
        header = ("gate", *(f"{what}, {text}" for text in texts for what in ("KL", "cross-entropy")), "words")
        note = (
            "On text that nothing is asked about, in nats a token: KL divergence from the vanilla model, and "
            "cross-entropy. Words of an answer: mean over all test questions."
        )
        blocks.append(table(f"Side effects in {model}", header, lines, note))
    return [Heading("What else gates do", 3, f"run {run.name}"), *blocks]
