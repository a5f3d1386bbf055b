"""`ChoiceLog`: log-likelihoods of choices that exist already, scored as TruthfulQA scores them, under every strength of
an intervention, and what one strength changes against another."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from lens_truth.data.row_fields import Fields, is_number
from lens_truth.errors import InputError
from lens_truth.evaluate.multiple_choice import mc1, mc2, mc3
from lens_truth.io.numbers import interval, number, signed
from lens_truth.io.readers import is_list
from lens_truth.io.results import Result
from lens_truth.io.rows import read_rows
from lens_truth.io.tables import Table, row, table
from lens_truth.stats.paired import Comparison, compare, group_interval

MEASURES = ("MC1", "MC2", "MC3")
_LIKELIHOODS = ("ll", "log_likelihoods", "choice_log_likelihoods")
_METRICS = ("metric", "metric_value")
_SAME = 1e-3
"""A larger difference is one between two measures, not one of rounding."""


@dataclass(frozen=True, eq=False)
class LoggedRun:
    """The questions of one run under one strength."""

    run: str
    alpha: float | None
    """None where the file names none."""
    ids: tuple[str, ...]
    scores: dict[str, Float[np.ndarray, " N"]]
    """By measure, a number a question: MC1 (only where every question has one true choice), MC2, MC3."""
    metric: str = ""
    """Which measure the file's own metric is, or is closest to; empty where it has none."""
    off: int = 0
    """Questions for which the file's metric is something else."""

    @property
    def named(self) -> str:
        """Run and strength."""
        strength = "" if self.alpha is None else f"alpha {self.alpha:g}"
        return " ".join(filter(None, (self.run, strength))) or "all questions"

    @property
    def ties(self) -> int:
        """Questions whose true choice is the likeliest by MC1 and not likelier than the others by MC3."""
        return int((self.scores["MC1"] != self.scores["MC3"]).sum()) if "MC1" in self.scores else 0

    @property
    def measure(self) -> str:
        """What the run is about: the file's metric, or else the first measure that is defined."""
        return self.metric or next(iter(self.scores))


@dataclass(frozen=True, eq=False)
class ChoiceLog(Result):
    """All runs of a file.

    >>> log = lens_truth.ChoiceLog.load("runs/evaluate-choose")
    >>> print(*log.warnings(), log.summary()["differences"], log.tables()[0])
    """

    command: ClassVar[str] = "evaluate choose"
    part: ClassVar[str] = "log"

    runs: tuple[LoggedRun, ...]
    seed: int = 0
    """Of the bootstrap behind intervals."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The questions of the run that has the fewest."""
        return min((its.ids for its in self.runs), key=len)

    @cached_property
    def compared(self) -> tuple[tuple[LoggedRun, LoggedRun, str, int, Comparison], ...]:
        """Of every two strengths of a run and every measure: both, its name, how many questions both have, and the
        second minus the first."""
        found: list[tuple[LoggedRun, LoggedRun, str, int, Comparison]] = []
        for first, second in combinations(self.runs, 2):
            both = {*first.ids} & {*second.ids} if first.run == second.run else set[str]()
            shared = [id for id in first.ids if id in both]
            for name in [name for name in first.scores if name in second.scores and shared]:
                before, after = (dict(zip(its.ids, its.scores[name].tolist(), strict=True)) for its in (first, second))
                marks = [np.array([[of[id] for id in shared]]) for of in (after, before)]
                found.append((first, second, name, len(shared), compare(marks[0], marks[1], shared, self.seed)))
        return tuple(found)

    def summary(self) -> dict[str, Any]:
        """Means by run and measure, and all differences."""
        means = {
            its.named: {"n": len(its.ids)} | {name: float(values.mean()) for name, values in its.scores.items()}
            for its in self.runs
        }
        differences = [
            {"run": a.run, "from": a.alpha, "to": b.alpha, "measure": name, "n": n, "difference": its.difference}
            | {"difference_ci": (its.ci_low, its.ci_high), "p": its.p_value}
            for a, b, name, n, its in self.compared
        ]
        return {"means": means, "differences": differences}

    def tables(self) -> list[Table]:
        """Every run; and every two strengths of a run against each other."""
        names = [name for name in MEASURES if any(name in its.scores for its in self.runs)]
        rows = [row(its.named, str(len(its.ids)), *self._cells(its, names)) for its in self.runs]
        header = ("run", "n", *(cell for name in names for cell in (name, "95%")))
        pairs = [
            row(f"{a.run} {a.alpha:g} to {b.alpha:g}".strip(), name, str(n), signed(its.difference, 4), *_sure(its))
            for a, b, name, n, its in self.compared
            if name == a.measure and a.alpha is not None and b.alpha is not None
        ]
        about = ("from one alpha to another", "measure", "n", "difference", "95%", "p")
        tables = [table("Multiple choice", header, rows), table("Paired by question (sign test)", about, pairs)]
        return tables if pairs else tables[:1]

    def _cells(self, its: LoggedRun, names: list[str]) -> Iterator[str]:
        for name in names:
            values = its.scores.get(name)
            yield "" if values is None else number(float(values.mean()), 6)
            yield "" if values is None else interval(group_interval(values, its.ids, self.seed), 3)

    def warnings(self) -> list[str]:
        """Sentences about ties, and about metrics of the file that are not what its log-likelihoods say."""
        n, ties = sum(len(its.ids) for its in self.runs), sum(its.ties for its in self.runs)
        tied = (
            f"in {ties} of {n} rows a false choice is as likely as the true one, which comes first, so that MC1 counts "
            "it (TruthfulQA's own script does not)"
        )
        off = [
            f"{its.named}: the file's metric is closest to {its.metric}, but is another in {its.off} of "
            f"{len(its.ids)} rows"
            for its in self.runs
            if its.off
        ]
        return [*([tied] if ties else []), *off]


def _sure(its: Comparison) -> tuple[str, str]:
    return interval((its.ci_low, its.ci_high), 4, plus=True), number(its.p_value, 4)


@dataclass(frozen=True)
class _Question:
    id: str
    labels: list[int]
    values: list[float]
    metric: float | None


def read_choice_log(path: str | Path, seed: int = 0) -> ChoiceLog:
    """A file of rows with the `labels` of a question's choices (1 true, 0 false) and their log-likelihoods (`ll`), and,
    if there are several runs, `run`, `alpha` and the question's `id`; its own `metric` is compared.

    >>> lens_truth.read_choice_log("mc1.jsonl.gz").tables()[0]

    Raises:
        InputError: names the row, for anything else, and for a question that comes twice in a run.
    """
    found: dict[str, dict[float | None, dict[str, _Question]]] = defaultdict(lambda: defaultdict(dict))
    for count, (place, row_) in enumerate(read_rows(Path(path))):
        fields = Fields(row_, f"{path}, {place}")
        alpha = _number(fields, "alpha")
        question = _question(fields, fields.word("id", str(count)))
        its = found[fields.word("run", "")][alpha]
        if its.setdefault(question.id, question) is not question:
            raise fields.wrong(f"question '{question.id}' stands there already, with the same run and alpha")
    if not found:
        raise InputError(f"{path}: holds no rows")
    runs = [
        _scored(run, alpha, [*by_alpha[alpha].values()])
        for run, by_alpha in found.items()
        for alpha in sorted(by_alpha, key=lambda alpha: -math.inf if alpha is None else alpha)
    ]
    return ChoiceLog(tuple(runs), seed)


def _question(fields: Fields, id: str) -> _Question:
    name = next((name for name in _LIKELIHOODS if fields.value(name)[1] is not None), _LIKELIHOODS[0])
    values, labels = fields.value(name)[1], fields.value("labels")[1]
    if not is_list(values) or not all(map(is_number, values)):
        raise fields.wrong(f"field '{name}' is not a list of log-likelihoods")
    if not is_list(labels) or len(labels) != len(values) or not all(label in (0, 1) for label in labels):
        raise fields.wrong(f"field 'labels' is not a 1 (true) or 0 (false) for each of {len(values)} choices")
    if {*labels} != {0, 1}:
        raise fields.wrong("field 'labels' has no true or no false choice")
    metric = next((found for name in _METRICS if (found := _number(fields, name)) is not None), None)
    return _Question(id, [int(label) for label in labels], [float(value) for value in values], metric)


def _number(fields: Fields, name: str) -> float | None:
    try:
        value = float(fields.word(name, "nan"))
    except ValueError:
        raise fields.wrong(f"field '{name}' is not a number") from None
    return None if math.isnan(value) else value


def _scored(run: str, alpha: float | None, questions: list[_Question]) -> LoggedRun:
    by_name = {"MC1": mc1, "MC2": mc2, "MC3": mc3}
    if any(sum(its.labels) > 1 for its in questions):
        del by_name["MC1"]  # which of the true choices is the best answer, labels do not say
    scores = {name: np.array([of(its.labels, its.values) for its in questions]) for name, of in by_name.items()}
    ids, metrics = tuple(its.id for its in questions), np.array([its.metric for its in questions], dtype=float)
    if np.isnan(metrics).any():
        return LoggedRun(run, alpha, ids, scores)
    off = {name: int((np.abs(values - metrics) > _SAME).sum()) for name, values in scores.items()}
    metric = min(off, key=lambda name: off[name])
    return LoggedRun(run, alpha, ids, scores, metric, off[metric])
