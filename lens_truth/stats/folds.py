"""Folds that never split a group, and label permutations that respect groups."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream

_AT_ONCE = 64  # draws of labels


class _Splitter(StratifiedGroupKFold):
    """scikit-learn's, with all folds that a group could join weighed at once: the same arithmetic in a tenth of the
    time. (A release of scikit-learn that does not ask this method splits as well, at its own pace.)"""

    def _find_best_fold(self, y_counts_per_fold: Any, y_cnt: Any, group_y_counts: Any) -> int:
        K = len(y_counts_per_fold)
        sizes = y_counts_per_fold.sum(1).tolist()
        proposed = np.repeat(y_counts_per_fold[None], K, axis=0)
        proposed[range(K), range(K)] += group_y_counts
        shares = proposed / y_cnt
        apart = shares - shares.sum(1, keepdims=True) / K
        spreads = (np.sqrt((apart * apart).sum(1) / K).sum(1) / shares.shape[2]).tolist()
        best = 0
        for k in range(1, K):
            close = abs(spreads[k] - spreads[best]) <= 1e-8 + 1e-5 * abs(spreads[best])  # NumPy's isclose
            if spreads[k] < spreads[best] or (close and sizes[k] < sizes[best]):
                best = k
        return best


Labels = Int[np.ndarray, " N"]
OfGroups = Int[np.ndarray, " G"]


def check_labels(labels: Labels) -> None:
    """Raises an InputError unless both classes occur (and nothing else does)."""
    found = set(labels.tolist())
    if not found <= {0, 1}:
        raise InputError(f"labels are {sorted(found)}; only 1 (supported) and 0 (hallucinated) are known")
    if len(found) < 2:
        name = {1: "supported (1)", 0: "hallucinated (0)"}[found.pop()]
        raise InputError(f"all {len(labels)} examples are {name}: a probe needs both classes")


def grouped_folds(
    labels: Labels, groups: Sequence[str], n_folds: int, seed: int, domain: Int[np.ndarray, " N"] | None = None
) -> Int[np.ndarray, " N"]:
    """The fold of every row; label shares (of every `domain`, if there are several) are as equal as whole groups allow
    (scikit-learn's StratifiedGroupKFold), and an InputError says where they cannot be: one class only, too few groups,
    training rows that lack a class."""
    check_labels(labels)
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    if n_folds < 2:
        raise InputError(f"{n_folds} folds were asked for; at least 2 are needed")
    if len(names) < n_folds:
        raise InputError(f"there are {len(names)} groups, fewer than the {n_folds} folds; use fewer folds or more data")
    fold = np.full(len(labels), -1)
    splitter = _Splitter(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the least populated class: checked below, with a clear message
        try:
            kinds = labels if domain is None else 2 * domain + labels
            for k, (_, test) in enumerate(splitter.split(labels, kinds, numbers)):
                fold[test] = k
        except ValueError as error:
            raise InputError(f"the {len(labels)} examples cannot be split into {n_folds} folds: {error}") from error
    for k in range(n_folds):
        if not (fold == k).any() or len(np.unique(labels[fold != k])) < 2:
            raise InputError(f"fold {k} of {n_folds} is empty or leaves one class only to train on; use fewer folds")
    return fold


def cut_folds(labels: Labels, n_folds: int, seed: int) -> Int[np.ndarray, " N"]:
    """Shuffled and stratified folds that cut through groups, as they are often published."""
    check_labels(labels)
    fold = np.empty(len(labels), dtype=np.int64)
    splitter: Any = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds
        try:
            for k, (_, test) in enumerate(splitter.split(labels, labels)):
                fold[test] = k
        except ValueError as error:
            raise InputError(f"the {len(labels)} examples cannot be split into {n_folds} folds: {error}") from error
    return fold


def paper_folds(labels: Labels, n_folds: int) -> Int[np.ndarray, " N"]:
    """TruthProbe's folds: shuffled, seed 42, neither grouped nor stratified."""
    check_labels(labels)
    if not 2 <= n_folds <= len(labels):
        raise InputError(f"{len(labels)} examples cannot be split into {n_folds} folds")
    fold = np.empty(len(labels), dtype=np.int64)
    splitter: Any = KFold(n_folds, shuffle=True, random_state=42)
    for k, (_, test) in enumerate(splitter.split(labels)):
        fold[test] = k
    return fold


def permuted_labels(
    labels: Labels, groups: Sequence[str], n: int, seed: int, fold: Int[np.ndarray, " N"] | None = None
) -> Int[np.ndarray, "P N"]:
    """`n` draws of the labels under the null hypothesis that, within what groups allow, they could be exchanged.

    Groups that hold both labels (a right and a wrong answer to one question) exchange labels inside the group.
    Groups of one label (one answer each) keep their rows together and exchange whole labels with groups of the same
    fold and (about) size: folds were made to balance the true labels, and a draw that unbalanced them would be judged
    by probes whose training rows lean the other way, so below chance. Without `fold`, whatever the fold.
    """
    rng = stream(seed, Stream.FOLDS)
    _, first, numbers = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    sizes = np.bincount(numbers)
    positives = np.bincount(numbers, weights=labels)
    mixed = (positives > 0) & (positives < sizes)
    mixed_rows, pure = np.flatnonzero(mixed[numbers]), np.flatnonzero(~mixed)
    label_of = (positives[pure] > 0).astype(labels.dtype)
    stratum = _strata(np.zeros(len(pure), dtype=int) if fold is None else fold[first[pure]], sizes[pure], label_of)
    pure_rows = np.flatnonzero(~mixed[numbers])
    draws = np.tile(labels, (n, 1))
    for some in np.array_split(draws, max(1, n // _AT_ONCE)):
        keys = rng.random((len(some), len(mixed_rows) + len(pure)))
        some[:, mixed_rows] = _shuffled(labels[mixed_rows], numbers[mixed_rows], keys[:, : len(mixed_rows)])
        of_group = np.zeros((len(some), len(sizes)), dtype=labels.dtype)
        of_group[:, pure] = _shuffled(label_of, stratum, keys[:, len(mixed_rows) :])
        some[:, pure_rows] = of_group[:, numbers[pure_rows]]
    return draws


def _shuffled(
    labels: Int[np.ndarray, " M"], number: Int[np.ndarray, " M"], keys: Float[np.ndarray, "P M"]
) -> Int[np.ndarray, "P M"]:
    """Labels in the order of random keys inside each group or stratum."""
    in_order, size = np.argsort(number, kind="stable"), np.bincount(number)[np.sort(number)]
    result = np.empty(keys.shape, dtype=labels.dtype)
    for its in np.unique(size):  # all groups of one size at once
        rows = in_order[size == its].reshape(-1, its)
        order = keys[:, rows].argsort(axis=-1, kind="stable")
        result[:, rows] = np.take_along_axis(labels[rows][None], order, axis=-1)
    return result


def _strata(fold: OfGroups, size: OfGroups, label: OfGroups) -> OfGroups:
    """Groups that may exchange their labels: of one fold and of one size, or of as many neighbouring sizes as it takes
    to have both labels."""
    stratum, number = np.empty(len(fold), dtype=int), 0
    for k in np.unique(fold):
        number += 1
        seen: set[int] = set()
        for its_size in np.unique(size[fold == k]):
            if len(seen) == 2:
                number += 1
                seen = set()
            here = (fold == k) & (size == its_size)
            stratum[here] = number
            seen |= set(label[here].tolist())
        if len(seen) < 2 and (stratum[fold == k] < number).any():  # the largest groups join those before them
            stratum[(fold == k) & (stratum == number)] = number - 1
    return stratum
