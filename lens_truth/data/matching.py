"""`match`: the rows in which chosen features of the surface no longer tell the labels, so that a truth score on them is
about something else.

Coarsened exact matching (Iacus, King and Porro 2012, doi 10.1093/pan/mpr013): rows fall into cells of alike surface,
and of each cell as many supported as hallucinated rows stay. Cells are made finer until a classifier that sees the
features, fitted anew on what is left, tells nothing more; features that have too many columns for cells (words) are
matched on the decisions of that classifier, as on a propensity score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface_features import FEATURES
from lens_truth.data.surface_fits import Judge, fitted_before, held_out, seen_by
from lens_truth.data.surface_told import SurfaceBaseline
from lens_truth.errors import InputError
from lens_truth.io.numbers import SIGNIFICANT, count, number
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.folds import grouped_folds
from lens_truth.stats.power import detectable_accuracy

SURFACE = ("characters", "last")
"""What `surface_accuracy` sees."""
LEAST = 40
"""Rows without which nothing can be scored."""
_BINS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Cells that a length, or a classifier's decision, is cut into, coarse to fine."""
_ROUNDS = 4
_NEAR = 0.05
"""How far above .5 the AUROC of matched rows may lie, whatever its interval holds."""
_LENGTHS, _CHARACTERS = ("characters", "tokens"), ("first", "last")
Rows = Int[np.ndarray, " n"]
Cells = Int[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Matched:
    """What `match` left.

    >>> matched: lens_truth.data.Matched = lens_truth.data.match(examples, on=["characters", "answer words"])
    >>> print(matched.sentence)
    >>> scores = lens_truth.truth_scores(activations, matched=matched)
    """

    examples: list[Example]
    """The rows that are left, in their order; rewritten ones where matching leaves nothing and that was asked for."""
    rows: Rows
    """Their numbers; none of rewritten ones."""
    on: tuple[str, ...]
    of: int
    """Rows there were."""
    before: SurfaceBaseline
    """What the features, taken together, tell of all rows."""
    after: SurfaceBaseline | None
    """What they tell of those that are left; None where these are too few to be asked."""
    asked: bool = True
    """Whether there are questions, which can be rewritten."""
    rewritten: str = ""
    """How rows were rewritten; empty where some of them were left out instead."""

    @property
    def n(self) -> int:
        """Rows that are left."""
        return len(self.examples)

    @property
    def groups(self) -> int:
        """Groups that have a row left."""
        return len({example.group for example in self.examples})

    @property
    def left(self) -> bool:
        """Whether enough is left to be scored, and tells nothing by these features."""
        return self.after is not None and not _tells(self.after)

    @property
    def detectable(self) -> float:
        """The smallest accuracy that the groups that are left tell from .5 four times in five (one-sided, p < .05)."""
        return detectable_accuracy(self.groups)

    @property
    def sentence(self) -> str:
        """What was matched, what is left, and what that could show."""
        what = ", ".join(FEATURES[name].what for name in self.on)
        if not self.left or self.after is None:
            if self.rewritten:
                return f"{self.rewritten}: {self.n} rows of {self.of}, which can still be told apart by {what}"
            cure = ""
            if self.asked and "overlap" not in self.on:
                cure = ": rewrite them (swap:FILE; cloze:FILE where contexts are long); answers then have both labels"
            return f"no {LEAST} of the {self.of} rows could be matched on {what}{cure}"
        how = f"{self.rewritten}: {self.n} rows of {self.of}" if self.rewritten else f"{self.n} of {self.of} rows"
        return (
            f"matched on {what}: {how} in {count(self.groups, 'group')}, where these tell the labels with AUROC "
            f"{number(self.after.auroc)} [{number(self.after.low)}, {number(self.after.high)}] (all rows: "
            f"{number(self.before.auroc)}); one head's accuracy of {number(self.detectable)} can be told from chance"
        )

    def as_record(self) -> dict[str, Any]:
        """For the provenance of scores on them: `matched.as_record()`."""
        after = None if self.after is None else self.after.auroc
        return {
            "on": list(self.on),
            "n": self.n,
            "of": self.of,
            "groups": self.groups,
            "surface_before": self.before.auroc,
            "surface_after": after,
            "said": self.sentence,
        }


@stage("surface")
def match(
    examples: Sequence[Example],
    on: Sequence[str] = SURFACE,
    *,
    rewrite: str | None = None,
    n_folds: int = 5,
    seed: int = 0,
) -> Matched:
    """The largest part of the rows, over cells from coarse to fine, in which the features no longer predict the label
    on held-out folds: the AUROC is at most .55, its interval holds .5, and above .5 p >= .05. Of a cell's rows those
    stay first whose group keeps both labels; which of the others is drawn. Where labels are balanced in every cell,
    what is held out leans the other way a little (AUROCs below .5, the more so the fewer rows), and so does whatever is
    fitted on these rows: scores on them are low rather than high.

    >>> matched = lens_truth.data.match(examples, on=["characters", "last"])
    >>> matched = lens_truth.data.match(examples, on=["answer words"], rewrite="swap")

    Args:
        on: names of features: characters, tokens, first, last, punctuation, overlap, answer words, n-grams, question
            words, context words, both words.
        rewrite: `swap` or `cloze`: rows are rewritten where matching leaves too few (`swapped_answers`,
            `cloze_examples`).
        n_folds: of the classifier; groups are never split.
        seed: of folds and draws.

    Raises:
        InputError: for no feature or one that there is not, for another rewrite, one label only, or fewer groups than
            folds.
    """
    on = (on,) if isinstance(on, str) else on
    if not on:
        raise InputError(f"nothing to match on; there are {', '.join(FEATURES)}")
    if rewrite not in (None, "swap", "cloze"):
        raise InputError(f"rows are rewritten by swap or cloze, not by '{rewrite}'")
    on = tuple(dict.fromkeys(on))
    seen = [x for name in on if (x := seen_by(name, examples)).shape[1]]
    if not seen:
        raise InputError(
            f"these rows have nothing of {', '.join(on)} in which they differ, so nothing to be matched on"
        )
    labels = np.array(labels_of(examples))
    before, _ = _told(seen, examples, labels, np.arange(len(labels)), n_folds, seed)
    assert before is not None  # else it was said why the rows cannot be folded
    found = _finest(seen, on, examples, labels, before, n_folds, seed)
    asked = any(not example.is_statement for example in examples)
    matched = Matched([examples[int(row)] for row in found[0]], found[0], on, len(labels), before, found[1], asked)
    if matched.left or rewrite is None:
        return matched
    return _rewritten(examples, matched, rewrite, n_folds, seed)


def _finest(
    seen: Sequence[Any],
    on: Sequence[str],
    examples: Sequence[Example],
    labels: Int[np.ndarray, " N"],
    before: SurfaceBaseline,
    n_folds: int,
    seed: int,
) -> tuple[Rows, SurfaceBaseline | None]:
    """The most rows whose surface tells nothing, and what it tells."""
    every = np.arange(len(labels))
    if not _tells(before):
        return every, before
    found: tuple[Rows, SurfaceBaseline | None] = every[:0], None
    for bins in _BINS:
        rng = stream(seed, Stream.MATCHED, bins)
        cells = _cells([_coarse(name, examples, bins) for name in on if name in (*_LENGTHS, *_CHARACTERS)], len(every))
        rows = _balanced(every, cells, examples, labels, rng)
        for _ in range(_ROUNDS):
            if len(rows) <= len(found[0]):  # and they become fewer
                break
            told, decided = _told(seen, examples, labels, rows, n_folds, seed)
            if told is None:
                break
            if not _tells(told) and told.auroc <= 0.5 + _NEAR:
                found = rows, told
                break
            inside = np.argsort(np.argsort(decided, kind="stable")) * bins // len(rows)
            rows = _balanced(rows, _cells([cells[rows], inside], len(rows)), examples, labels, rng)
    return found


def _told(
    seen: Sequence[Any], examples: Sequence[Example], labels: Int[np.ndarray, " N"], rows: Rows, n_folds: int, seed: int
) -> tuple[SurfaceBaseline | None, Float[np.ndarray, " n"]]:
    """What all features together tell of some rows, and their decisions; None where there are too few rows."""
    its, groups = labels[rows], _groups(examples, rows)
    if len(rows) < len(labels) and (len(rows) < LEAST or len(set(groups)) < 2 * n_folds):
        return None, np.zeros(len(rows))
    try:
        fold = grouped_folds(its, groups, n_folds, seed)
    except InputError:
        if len(rows) == len(labels):
            raise
        return None, np.zeros(len(rows))
    x = _together(seen, rows)
    if not x.shape[1]:
        x = np.zeros((len(rows), 1))
    decided = held_out(x, its, fold)
    judge = Judge(its, groups, fold, seed)
    return judge.baseline("matched", "what was matched on", decided, fitted_before(x, its, fold)), decided


def _groups(examples: Sequence[Example], rows: Rows) -> list[str]:
    return [examples[int(row)].group for row in rows]


def _together(seen: Sequence[Any], rows: Rows) -> Any:
    from scipy import sparse

    if not seen:
        return np.empty((len(rows), 0))
    library: Any = sparse
    return library.hstack([library.csr_matrix(x[rows]) for x in seen], format="csr")


def _tells(told: SurfaceBaseline) -> bool:
    """A p-value below .05 counts above .5 only: where labels are balanced exactly, what is held out leans the other way
    a little."""
    return told.apart > 0 or (told.auroc > 0.5 and told.p_value < SIGNIFICANT)  # NaN: no test


def _coarse(name: str, examples: Sequence[Example], bins: int) -> Cells:
    """In which of so many parts a length lies; which first or last character there is."""
    x: Any = FEATURES[name].see(examples)
    if name in _LENGTHS:
        edges: Float[np.ndarray, " e"] = np.unique(np.quantile(x[:, 0], np.linspace(0, 1, bins + 1)[1:-1]))
        return np.searchsorted(edges, np.asarray(x[:, 0], dtype=np.float64), side="right")
    return np.asarray(x @ np.arange(1.0, 1 + x.shape[1]), dtype=np.int64)


def _cells(parts: Sequence[Cells], n: int) -> Cells:
    """One number for each combination."""
    if not parts:
        return np.zeros(n, dtype=np.int64)
    _, cell = np.unique(np.stack(parts), axis=1, return_inverse=True)
    return cell.ravel()


def _balanced(
    rows: Rows, cells: Cells, examples: Sequence[Example], labels: Int[np.ndarray, " N"], rng: np.random.Generator
) -> Int[np.ndarray, " kept"]:
    """As many supported as hallucinated rows of every cell."""
    its = labels[rows]
    n = int(cells.max(initial=-1)) + 1
    least = np.minimum(np.bincount(cells[its == 1], minlength=n), np.bincount(cells[its == 0], minlength=n))
    _, group = np.unique(np.array(_groups(examples, rows), dtype=object), return_inverse=True)
    pairs = group.astype(np.int64) * n + cells
    whole: Bool[np.ndarray, " n"] = np.isin(pairs, np.intersect1d(pairs[its == 1], pairs[its == 0]))
    kept = np.zeros(len(rows), dtype=bool)
    for label in (0, 1):
        mine = np.flatnonzero(its == label)
        mine = mine[np.lexsort((rng.random(len(mine)), ~whole[mine], cells[mine]))]
        first = np.searchsorted(cells[mine], cells[mine], side="left")
        kept[mine[np.arange(len(mine)) - first < least[cells[mine]]]] = True
    return rows[kept]


def _rewritten(examples: Sequence[Example], matched: Matched, rewrite: str, n_folds: int, seed: int) -> Matched:
    from lens_truth.data.rewrites import cloze_examples, swapped_answers

    new = swapped_answers(examples, seed=seed) if rewrite == "swap" else cloze_examples(examples, seed=seed)
    seen = [x for name in matched.on if (x := seen_by(name, new)).shape[1]]
    labels = np.array(labels_of(new))
    after, _ = _told(seen, new, labels, np.arange(len(new)), n_folds, seed)
    words = {"swap": "answers swapped between questions", "cloze": "contexts made into clozes"}[rewrite]
    return Matched(new, matched.rows[:0], matched.on, matched.of, matched.before, after, True, words)
