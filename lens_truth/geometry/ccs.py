"""`ccs_scores`: contrast-consistent search on every head, out of fold, against shuffled pairs, random directions and a
supervised probe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.ccs_fit import fit_ccs
from lens_truth.geometry.ccs_result import Consistency, Picked
from lens_truth.geometry.pairs import StatementPairs
from lens_truth.geometry.polar import Polar, polar
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.metrics import accuracy_intervals, fold_metrics
from lens_truth.scoring.probing import truth_scores
from lens_truth.stats.folds import grouped_folds, permuted_labels


@dataclass(frozen=True)
class CcsDraws:
    """How often CCS is trained, and how many draws stand behind its nulls.

    >>> lens_truth.ccs_scores(pairs, draws=lens_truth.CcsDraws(n_shuffles=19))
    """

    n_tries: int = 10
    """Starts; the probe of the lowest training loss counts."""
    n_epochs: int = 1500
    n_shuffles: int = 3
    """Times that partners are shuffled and CCS is trained again; each takes as long as CCS itself."""
    n_permutations: int = 1000
    n_random: int = 100
    """Random directions a head."""
    n_bootstrap: int = 1000

    def __post_init__(self) -> None:
        if min(getattr(self, its.name) for its in fields(self)) < 1:
            raise InputError(
                "CCS needs at least one try, epoch, shuffle, permutation, random direction and bootstrap draw"
            )


_DRAWS = CcsDraws()


@stage("ccs")
def ccs_scores(
    pairs: StatementPairs,
    *,
    n_folds: int = 5,
    seed: int = 0,
    draws: CcsDraws = _DRAWS,
    surface: float = float("nan"),
    progress: bool = False,
) -> Consistency:
    """Contrast-consistent search (Burns et al. 2023, arXiv 2212.03827): for every head a direction along which a
    statement and its negation get opposite probabilities, found without labels.

    Trained (`fit_ccs`) on all folds but one, and asked about the pairs of that one: the first side is true where
    (p+ + 1 - p-) / 2 is above one half. Its sign is undetermined, so there are two accuracies, both means over folds:
    `accuracy`, turned by the labels of the training rows, which is the one place where labels come in; and `either`,
    the larger of a fold's accuracy and 1 - accuracy, as published, whose null is the larger of the two as well.

    >>> found = lens_truth.ccs_scores(lens_truth.pairs_in_set(activations))
    >>> found.verdicts()

    Args:
        pairs: of `pairs_in_set`, `pairs_of_sets` or `answer_pairs`; with the last there are polar consistency and
            contradiction index too.
        surface: AUROC of a baseline that sees the text alone, to be told beside it.

    Raises:
        InputError: for pairs of which the first side is always true, fewer groups than folds, or activations that are
            not finite.
    """
    fold = grouped_folds(pairs.labels, pairs.groups, n_folds, seed)
    sides = [side.flatten(1, 2) for side in (pairs.first, pairs.second)]
    for side in sides:
        if not torch.stack(side.aminmax()).isfinite().all():
            row = int((~torch.isfinite(side)).flatten(1).any(1).nonzero()[0])
            raise InputError(f"the activations of example '{pairs.ids[row]}' are not finite")
    problem = _Problem(sides[0], sides[1], pairs.labels, fold, seed, draws)
    found = problem.trained(None)
    every = bar(range(draws.n_shuffles), "ccs on shuffled pairs", shown=progress)
    shuffled = [problem.trained(number) for number in every]
    of_pairs = None
    if pairs.partner is not None:
        partner, held_out, labels = (torch.from_numpy(its) for its in (pairs.partner, fold, pairs.labels))
        of_pairs = polar(found.probabilities, partner, held_out, labels, draws.n_permutations, seed)
    return _result(pairs, problem, found, shuffled, of_pairs, surface)


class _Found(NamedTuple):
    """Out-of-fold answers of CCS, turned by the labels of the training rows."""

    decisions: Float[Tensor, "P F"]
    """(p+ + 1 - p-) / 2 - 1/2: above 0 where the first side is held to be true."""
    probabilities: Float[Tensor, "2 P F"]
    loss: Float[Tensor, "K F"]
    """On the training rows."""
    trained: Float[Tensor, "K F"]
    """Accuracy on the training rows."""


@dataclass(frozen=True)
class _Problem:
    """Pairs with their folds."""

    first: Float[Tensor, "P F D"]
    second: Float[Tensor, "P F D"]
    labels: Int[np.ndarray, " P"]
    fold: Int[np.ndarray, " P"]
    seed: int
    draws: CcsDraws

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def starts(self, k: int) -> Float[Tensor, "T D1"]:
        """Where the probes start that are trained without a fold: as torch's linear layers do."""
        width = self.first.shape[-1]
        drawn = stream(self.seed, Stream.CCS_STARTS, 0, k).uniform(-1, 1, (self.draws.n_tries, width + 1))
        return torch.from_numpy(drawn / np.sqrt(width)).to(self.first)

    def trained(self, shuffle: int | None) -> _Found:
        """CCS on true pairs, or on training pairs whose partners were shuffled; always asked about true pairs."""
        labels = torch.from_numpy(self.labels == 1)
        answers = self.first.new_empty(2, *self.first.shape[:2])
        loss, trained = (self.first.new_empty(self.n_folds, self.first.shape[1]) for _ in range(2))
        for k in range(self.n_folds):
            train, test = (torch.from_numpy(np.flatnonzero(its)) for its in (self.fold != k, self.fold == k))
            partners = train
            if shuffle is not None:
                order = stream(self.seed, Stream.SHUFFLED_PARTNERS, 1 + shuffle, k).permutation(len(train))
                partners = train[torch.from_numpy(order)]
            probes = fit_ccs(self.first[train], self.second[partners], self.starts(k), self.draws.n_epochs)
            loss[k] = probes.loss
            yes, no = probes.logits(self.first[train], self.second[train]).sigmoid()
            right = ((yes > no) == labels[train, None]).float().mean(0)
            turned = right < 0.5
            trained[k] = torch.where(turned, 1 - right, right)
            logits = probes.logits(self.first[test], self.second[test])
            answers[:, test] = torch.where(turned, -logits, logits).sigmoid()
        return _Found((answers[0] - answers[1]) / 2, answers, loss, trained)

    def either(self, decisions: Float[Tensor, "P F"]) -> Float[np.ndarray, " F"]:
        """Mean over folds of the larger of accuracy and 1 - accuracy."""
        right = ((decisions > 0).numpy() == (self.labels == 1)[:, None]).astype(float)
        shares = np.stack([right[self.fold == k].mean(0) for k in range(self.n_folds)])
        return np.maximum(shares, 1 - shares).mean(0)

    def either_of_labels(
        self, decisions: Float[Tensor, "P F"], draws: Int[np.ndarray, "B P"]
    ) -> Float[np.ndarray, "B F"]:
        """The same of other labels."""
        said = (decisions > 0).double().numpy()
        total = np.zeros((len(draws), said.shape[1]))
        for k in range(self.n_folds):
            its, y = said[self.fold == k], draws[:, self.fold == k].astype(float)
            hits = (y @ its + (1 - y) @ (1 - its)) / len(its)
            total += np.maximum(hits, 1 - hits)
        return total / self.n_folds

    def random(self) -> Float[np.ndarray, "R F"]:
        """`either` of random directions, drawn where features have a standard deviation of 1."""
        rng = stream(self.seed, Stream.CCS_STARTS, 1)
        drawn = torch.from_numpy(rng.normal(size=(self.draws.n_random, self.first.shape[-1]))).to(self.first)
        total = np.zeros((self.draws.n_random, self.first.shape[1]))
        for k in range(self.n_folds):
            train, test = (torch.from_numpy(np.flatnonzero(its)) for its in (self.fold != k, self.fold == k))
            scale = self.first[train].std(0).clamp(min=1e-12)
            apart = self.first - self.second
            apart = (apart[test] - apart[train].mean(0)) / scale
            said = torch.einsum("nfd,rd->nrf", apart, drawn) > 0
            hits = (said == torch.from_numpy(self.labels == 1)[test, None, None]).double().mean(0).numpy()
            total += np.maximum(hits, 1 - hits)
        return total / self.n_folds

    def weight(self) -> Float[np.ndarray, " P"]:
        """Of each pair, so that the weighted mean is the mean over folds."""
        return 1 / (self.n_folds * np.bincount(self.fold))[self.fold]


def _result(
    pairs: StatementPairs,
    problem: _Problem,
    found: _Found,
    shuffled: list[_Found],
    of_pairs: Polar | None,
    surface: float,
) -> Consistency:
    L, H = pairs.first.shape[1:3]
    draws, seed = problem.draws, problem.seed
    apart = (pairs.first - pairs.second).contiguous()
    differences = HeadActivations(apart, torch.from_numpy(pairs.labels), pairs.groups, pairs.ids, {})
    ridge = truth_scores(differences, n_folds=problem.n_folds, seed=seed, n_permutations=0, n_bootstrap=1)
    labels = permuted_labels(pairs.labels, pairs.groups, draws.n_permutations, seed, problem.fold)
    metrics = fold_metrics(found.decisions, pairs.labels, problem.fold)
    by_loss, by_labels = (_picked(its, problem.fold) for its in (-found.loss, found.trained))
    columns = torch.stack([found.decisions.gather(1, its[:, None])[:, 0] for its in (by_loss, by_labels)], dim=1)
    either, null = problem.either(found.decisions), problem.either_of_labels(found.decisions, labels)
    low, high = accuracy_intervals(
        (torch.cat([columns, found.decisions], dim=1) > 0) == torch.from_numpy(pairs.labels == 1)[:, None],
        problem.weight(),
        pairs.groups,
        draws.n_bootstrap,
        stream(seed, Stream.CCS_INTERVALS),
    )
    picked_null = problem.either_of_labels(columns, labels)
    picks: list[Picked] = []
    for i, (how, rows) in enumerate((("lowest training loss", by_loss), ("best on training rows", by_labels))):
        of_shuffled = [_either_of_picked(problem, its, by_loss=not i) for its in shuffled]
        value = float(problem.either(columns[:, i : i + 1])[0])
        picks.append(
            Picked(
                how=how,
                heads=tuple((head // H, head % H) for head in _one_a_fold(rows, problem)),
                accuracy=_mean_over_folds(columns[:, i], problem),
                interval=(float(low[i]), float(high[i])),
                either=value,
                null=(float(picked_null[:, i].mean()), float(np.quantile(picked_null[:, i], 0.95))),
                p_value=float((1 + (picked_null[:, i] >= value - 1e-9).sum()) / (1 + len(picked_null))),
                shuffled=tuple(of_shuffled),
            )
        )

    def grid(its: Float[np.ndarray, "... F"]) -> Float[np.ndarray, "... L H"]:
        return np.asarray(its, dtype=float).reshape(*its.shape[:-1], L, H)

    nothing = np.full(L * H, np.nan)
    random = problem.random()
    near = None if of_pairs is None else [its.double().numpy() for its in of_pairs]
    return Consistency(
        sides=str(pairs.provenance.get("sides", "")),
        n_pairs=len(pairs.labels),
        n_groups=len(set(pairs.groups)),
        model=str(pairs.provenance.get("model", "")),
        point=pairs.point,
        n_folds=problem.n_folds,
        n_tries=draws.n_tries,
        n_epochs=draws.n_epochs,
        seed=seed,
        picks=tuple(picks),
        surface=surface,
        accuracy=grid(metrics["accuracy"].mean(0)),
        auroc=grid(np.nanmean(metrics["auroc"], axis=0)),
        ci_low=grid(low[2:]),
        ci_high=grid(high[2:]),
        either=grid(either),
        null_mean=grid(null.mean(0)),
        null_q95=grid(np.quantile(null, 0.95, axis=0)),
        p_value=grid((1 + (null >= either - 1e-9).sum(0)) / (1 + len(null))),
        p_familywise=grid((1 + (null.max(1)[:, None] >= either - 1e-9).sum(0)) / (1 + len(null))),
        shuffled=grid(np.stack([problem.either(its.decisions) for its in shuffled])),
        random_mean=grid(random.mean(0)),
        random_q95=grid(np.quantile(random, 0.95, axis=0)),
        loss=grid(found.loss.mean(0).double().numpy()),
        ridge=ridge.values,
        polar_consistency=grid(nothing if near is None else near[0]),
        polar_null=grid(np.stack([nothing] * 2) if near is None else np.quantile(near[2], [0.025, 0.975], axis=0)),
        contradiction=grid(nothing if near is None else near[1]),
        contradiction_null=grid(
            np.stack([nothing] * 2) if near is None else np.quantile(near[3], [0.025, 0.975], axis=0)
        ),
    )


def _picked(by: Float[Tensor, "K F"], fold: Int[np.ndarray, " P"]) -> Int[Tensor, " P"]:
    """For every pair the head that is highest without its fold."""
    return by.argmax(1)[torch.from_numpy(fold)]


def _one_a_fold(rows: Int[Tensor, " P"], problem: _Problem) -> list[int]:
    return [int(rows[int(np.flatnonzero(problem.fold == k)[0])]) for k in range(problem.n_folds)]


def _either_of_picked(problem: _Problem, found: _Found, *, by_loss: bool) -> float:
    rows = _picked(-found.loss if by_loss else found.trained, problem.fold)
    return float(problem.either(found.decisions.gather(1, rows[:, None]))[0])


def _mean_over_folds(decisions: Float[Tensor, " P"], problem: _Problem) -> float:
    right: Bool[np.ndarray, " P"] = (decisions > 0).numpy() == (problem.labels == 1)
    return float(np.mean([right[problem.fold == k].mean() for k in range(problem.n_folds)]))
