"""What the surface of examples tells of their labels, one feature at a time, on held-out folds: an accuracy or an AUROC
of a probe means nothing beside a classifier that sees as much without a model.

Every classifier is a logistic regression (scikit-learn's liblinear, L2, C = 1), sparse where it counts words. The AUROC
is the mean over folds; its interval a bootstrap over groups.

The interval is widened by the square root of two: what fold j is read by was fitted on fold k and the other way round,
so the two err together, and where there is no effect AUROCs spread about 1.4 times as wide as a bootstrap of the
decisions says.

The null permutes labels inside groups (`permuted_labels`), but not against the cross-validated decisions themselves,
which would be wrong for the same reason. The test reads each fold by what was fitted on the folds before it alone:
given those, its labels are exchangeable, and permuting them is right without fitting anew for every draw."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface_features import FEATURES
from lens_truth.data.surface_told import SurfaceBaseline
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.stats.folds import grouped_folds, permuted_labels

PERMUTATIONS, DRAWS = 999, 500
_TOLERANCE = 1e-2
"""Of the gradient: a hundred times the default, for two thirds of the time; AUROCs move by less than .001."""
_LARGE = 1_000_000
"""Numbers of a matrix of which liblinear's copy takes 28 MB or more."""
_AT_ONCE = 500_000
"""Numbers at a time, so that many draws of many rows take no gigabytes."""
Fold = Int[np.ndarray, " N"]
Rows = Bool[np.ndarray, " N"]
Decided = Float[np.ndarray, " N"]


@stage("surface")
def surface_decisions(
    examples: Sequence[Example], fold: Fold, names: Sequence[str] = tuple(FEATURES)
) -> dict[str, Decided]:
    """The decision of every surface classifier on every row (above 0: supported), fitted on the rows of other folds;
    without the features that these examples do not have."""
    labels = np.array(labels_of(examples))
    seen = {name: seen_by(name, examples) for name in names}
    return {name: held_out(x, labels, fold) for name, x in seen.items() if x.shape[1]}


@stage("surface")
def surface_baselines(
    examples: Sequence[Example],
    fold: Fold | None = None,
    names: Sequence[str] = tuple(FEATURES),
    *,
    n_folds: int = 5,
    seed: int = 0,
    n_permutations: int = PERMUTATIONS,
    n_bootstrap: int = DRAWS,
) -> tuple[SurfaceBaseline, ...]:
    """What each feature tells of the labels, as the module's docstring says.

    >>> lens_truth.data.surface_baselines(examples, names=["characters", "answer words"])

    Args:
        fold: of every row; by default grouped folds.
        n_permutations: 0 for no test.

    Raises:
        InputError: for one label only, fewer groups than folds, and a name that is no feature.
    """
    labels, groups = np.array(labels_of(examples)), [example.group for example in examples]
    fold = grouped_folds(labels, groups, n_folds, seed) if fold is None else fold
    judge = Judge(labels, groups, fold, seed, n_permutations, n_bootstrap)
    found: list[SurfaceBaseline] = []
    for name in names:
        x = seen_by(name, examples)
        if x.shape[1]:
            before = fitted_before(x, labels, fold) if n_permutations else None
            found.append(judge.baseline(name, FEATURES[name].what, held_out(x, labels, fold), before))
    return tuple(found)


def seen_by(name: str, examples: Sequence[Example]) -> Any:
    """The matrix of a feature, its numbers on one scale; an InputError names one that there is not."""
    if name not in FEATURES:
        raise InputError(f"there is no surface feature '{name}'; there are {', '.join(FEATURES)}")
    x = FEATURES[name].see(examples)
    if FEATURES[name].numbers and x.shape[1]:
        x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    return x


def held_out(x: Any, labels: Int[np.ndarray, " N"], fold: Fold, penalty: float = 1.0) -> Decided:
    """The decision on every row of a classifier that was fitted on the other folds (with scikit-learn's C)."""
    return _each_fold(x, labels, fold, [fold != k for k in range(int(fold.max()) + 1)], penalty)


def fitted_before(x: Any, labels: Int[np.ndarray, " N"], fold: Fold) -> Decided:
    """The decision on every row of a classifier that was fitted on the folds before its own; NaN in the first fold, and
    as long as there is one label only."""
    return _each_fold(x, labels, fold, [fold < k for k in range(int(fold.max()) + 1)])


def _each_fold(
    x: Any, labels: Int[np.ndarray, " N"], fold: Fold, train: Sequence[Rows], penalty: float = 1.0
) -> Decided:
    """The decisions on each fold of a classifier that was fitted on the rows that go with it; NaN where these lack a
    label. Two folds at a time, since liblinear lets other threads run, unless their copies would take much room."""
    decided = np.full(len(labels), np.nan)
    folds = [k for k, rows in enumerate(train) if len(set(labels[rows].tolist())) == 2]

    def decide(k: int) -> Float[np.ndarray, " n"]:
        return held_out_of(x, labels, train[k], fold == k, penalty)

    # liblinear's sums over thousands of columns are too short for BLAS's threads: fits take twice as long, and where
    # other jobs have the cores thirty times
    with _one_thread(), ThreadPoolExecutor(1 if getattr(x, "nnz", x.size) > _LARGE else 2) as pool:
        for k, its in zip(folds, pool.map(decide, folds), strict=True):
            decided[fold == k] = its
    return decided


def _one_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def held_out_of(
    x: Any, labels: Int[np.ndarray, " N"], train: Rows, test: Rows, penalty: float = 1.0
) -> Float[np.ndarray, " n"]:
    """The decisions on some rows of a classifier that was fitted on others."""
    from sklearn.linear_model import LogisticRegression

    fitted: Any = LogisticRegression(C=penalty, solver="liblinear", tol=_TOLERANCE)
    fitted.fit(x[train], labels[train])
    decided: np.ndarray = x[test] @ fitted.coef_[0] + fitted.intercept_[0]
    return decided


def _exchangeable(labels: Int[np.ndarray, " N"], number: Int[np.ndarray, " N"]) -> bool:
    """Whether labels exchanged inside groups are all that could be otherwise: groups with both labels have equal shares
    of them. Where they have not, what lies between groups would stay as it is in every draw."""
    shares = np.bincount(number, weights=labels) / np.bincount(number)
    mixed = shares[(shares > 0) & (shares < 1)]
    return len(mixed) == 0 or bool(np.ptp(mixed) < 1e-9 and len(mixed) == len(shares))


class Judge:
    """Turns decisions on rows into AUROCs with intervals and tests; draws are made once for all features.

    >>> Judge(labels, groups, fold, seed=0).baseline("tokens", "tokens of the model", decisions, before)
    """

    def __init__(
        self,
        labels: Int[np.ndarray, " N"],
        groups: Sequence[str],
        fold: Fold,
        seed: int,
        n_permutations: int = PERMUTATIONS,
        n_bootstrap: int = DRAWS,
    ) -> None:
        self._labels, self._fold = labels, fold
        _, self._number = np.unique(np.asarray(groups), return_inverse=True)
        if not _exchangeable(labels, self._number):
            n_permutations = 0
        small = labels.astype(np.int8)  # a thousand draws of ten thousand rows are 10 MB, not 80
        drawn = permuted_labels(small, groups, n_permutations, seed, fold) if n_permutations else small[None][:0]
        self._drawn = drawn.astype(bool)
        self._n_bootstrap, self._seed = n_bootstrap, seed

    def baseline(self, name: str, what: str, decided: Decided, before: Decided | None) -> SurfaceBaseline:
        """Of decisions on held-out rows, and of those of what was fitted before (or of what was never fitted), which
        the test reads; rows that are NaN do not count."""
        low, high = self._interval(decided, fitted=before is not decided)
        right = (decided > 0) == (self._labels > 0)
        defined = np.isfinite(decided)
        folds = [right[defined & (self._fold == k)] for k in np.unique(self._fold[defined])]
        accuracy = float(np.mean([its.mean() for its in folds])) if folds else float("nan")
        p = float("nan") if before is None or not len(self._drawn) else self._p_value(before)
        sure = np.where(defined, decided * (2 * self._labels - 1), -np.inf)
        surest, n_right = int(sure.argmax()), int(right[defined].sum())
        return SurfaceBaseline(name, what, self.auroc(decided), low, high, p, accuracy, surest, n_right)

    def auroc(self, decided: Decided) -> float:
        """Mean over the folds that have both labels."""
        return float(self._weighted(decided, np.ones((1, len(decided))))[0])

    def _interval(self, decided: Decided, *, fitted: bool) -> tuple[float, float]:
        """The bootstrap's deviations from its median, about the AUROC itself; of decisions of classifiers that were
        fitted on one another's rows, which err together, 1.4 times as far."""
        rng = stream(self._seed, Stream.SURFACE_INTERVALS)
        G, found = int(self._number.max()) + 1, list[Float[np.ndarray, " n"]]()
        at_once = max(1, _AT_ONCE // len(decided))
        for begin in range(0, self._n_bootstrap, at_once):
            n = min(at_once, self._n_bootstrap - begin)
            drawn = rng.multinomial(G, np.full(G, 1 / G), size=n).astype(np.float32)
            found.append(self._weighted(decided, drawn[:, self._number]))
        low, middle, high = np.nanquantile(np.concatenate(found), [0.025, 0.5, 0.975])
        auroc, wider = self.auroc(decided), np.sqrt(2) if fitted else 1.0
        return max(0.0, float(auroc - wider * (middle - low))), min(1.0, float(auroc + wider * (high - middle)))

    def _weighted(self, decided: Decided, weight: Float[np.ndarray, "n N"]) -> Float[np.ndarray, " n"]:
        """The AUROC where rows count so often, of each draw."""
        folds = list[Float[np.ndarray, " n"]]()
        for k in range(int(self._fold.max()) + 1):
            rows = np.flatnonzero((self._fold == k) & np.isfinite(decided))
            rows = rows[np.argsort(decided[rows], kind="stable")]
            if len(rows) == 0:
                continue
            starts = np.flatnonzero(np.r_[True, np.diff(decided[rows]) > 0])
            w = weight[:, rows]
            one = np.add.reduceat(w * self._labels[rows], starts, axis=1, dtype=np.float64)
            zero = np.add.reduceat(w * (1 - self._labels[rows]), starts, axis=1, dtype=np.float64)
            below = np.cumsum(zero, axis=1) - zero / 2
            mass = one.sum(1) * zero.sum(1)
            folds.append(np.divide((one * below).sum(1), mass, out=np.full(len(mass), np.nan), where=mass > 0))
        stacked = np.array(folds)
        defined = np.isfinite(stacked)
        counted = defined.sum(0)
        total = np.where(defined, stacked, 0).sum(0)
        return np.divide(total, counted, out=np.full(len(total), np.nan), where=counted > 0)

    def _p_value(self, before: Decided) -> float:
        """By the sum over folds of how far the AUROC of each lies from its null's mean, in its standard deviations."""
        from scipy import stats

        told, drawn, moves = 0.0, np.zeros(len(self._drawn)), False
        for k in range(int(self._fold.max()) + 1):
            rows = np.flatnonzero((self._fold == k) & np.isfinite(before))
            if len(rows) == 0 or np.ptp(before[rows]) == 0:
                continue
            ranks: Any = stats.rankdata(before[rows])
            ranks = (ranks - ranks.mean()) / ranks.std()
            null = self._drawn[:, rows] @ ranks.astype(np.float32)  # as an AUROC moves, of so many rows of each label
            spread = null.std()
            if spread > 1e-6 * len(rows):
                told += float((self._labels[rows] @ ranks - null.mean()) / spread)
                drawn += (null - null.mean()) / spread
                moves = True
        if not moves:
            return float("nan")
        return float((1 + (np.abs(drawn) >= abs(told) - 1e-9).sum()) / (1 + len(drawn)))
