"""`polarity_transfer`: do directions of truth survive negation, conjunction, disjunction and question and answer?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.ccs_fit import fit_ccs
from lens_truth.geometry.cells import CellDraws, Nulls, intervals, null_aurocs
from lens_truth.geometry.compounds import joined_groups, straddling
from lens_truth.geometry.polarity_result import Polarity
from lens_truth.geometry.rows import DomainRows, domain_rows
from lens_truth.geometry.ttpd import Plane, lda, mass_mean, ridge, ttpd
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.metrics import aurocs

METHODS = ("TTPD", "mass-mean", "LDA", "ridge")
"""With labels; CCS goes without."""
AFFIRMATIVE, BOTH = "affirmative", "affirmative and negated"
_TRIES, _EPOCHS = 10, 1500
_DRAWS = CellDraws()


@dataclass(frozen=True)
class Topic:
    """What probes are trained on: a set of affirmative statements, perhaps with that of their negations.

    >>> lens_truth.Topic("cities", "neg_cities", range(1496))
    """

    affirmative: str
    negated: str = ""
    """None where empty."""
    partners: Sequence[int] = ()
    """For every affirmative statement the row of its negation; CCS takes it from here, and is left out without."""


@stage("polarity")
def polarity_transfer(
    sets: Mapping[str, HeadActivations],
    topics: Sequence[Topic],
    *,
    n_folds: int = 5,
    seed: int = 0,
    draws: CellDraws = _DRAWS,
    surface: Float[np.ndarray, "T M"] | None = None,
    progress: bool = False,
) -> Polarity:
    """Truth directions of every head, trained on affirmative statements or on those and their negations, tested on
    every set.

    Methods: TTPD (`lens_truth.geometry.ttpd`, where all are defined), mass-mean, LDA (mass-mean with the covariance),
    ridge; and, where there are negations, CCS, whose sign is taken from the training rows' labels. Folds are drawn over
    the union of all sets' groups: a statement is asked about by probes that were trained without its group, also where
    another set holds it. A row about two subjects (group `paris & berlin`) is left out where they are held out in
    different folds. Of all heads, the one shown is picked for each fold inside its training
    rows: by the AUROC on a further fold of probes that saw neither; of CCS by the lowest training loss.

    AUROC and accuracy are means over folds. Conjunctions, disjunctions and questions have no polarity of their own and
    are only tested on.

    >>> lens_truth.polarity_transfer(sets, [lens_truth.Topic("cities", "neg_cities", range(1496))]).matrix()

    Args:
        sets: activations of one model by name; those that no topic names are tested on.
        topics: whose sets are trained on together; all with negations, or none.
        draws: behind the interval (groups of the tested set) and the null (labels permuted inside groups; of sets that
            are trained on wider by sqrt(2), see `null_aurocs`).
        surface: AUROC of a bag of words trained and tested on the same rows, for each kind of training rows
            (affirmative first) and each set.

    Raises:
        InputError: for topics that name no set, negations of some topics only, and as `transfer_matrix`.
    """
    _check(sets, topics)
    groups = [group for its in sets.values() for group in its.groups]
    one = iter(joined_groups(groups, n_folds))
    regrouped = {name: replace(its, groups=tuple(islice(one, len(its.groups)))) for name, its in sets.items()}
    rows = domain_rows(regrouped, n_folds, seed)
    first = next(iter(sets.values()))
    problem = _Problem(
        rows,
        tuple(topics),
        str(first.provenance.get("model", "")),
        first.point,
        ~np.array(straddling(groups, rows.fold.tolist())),
    )
    L, H, _ = rows.shape
    R, N = len(problem.methods), len(rows.fold)
    told, inner = np.empty((R, L, H, N), dtype=np.float32), np.full((R, n_folds, L, H), -np.inf)
    for number in bar(range(L), "polarity", shown=progress):
        x = torch.cat([z[:, number].double() for z in rows.z])
        if not torch.stack(x.aminmax()).isfinite().all():
            row = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise InputError(f"set '{rows.names[rows.domain[row]]}': the activations of a row are not finite")
        for k in range(n_folds):
            test = np.flatnonzero(rows.fold == k)
            for r, (plane, chosen) in enumerate(problem.fitted(x, k)):
                told[r, number][:, test] = plane.decide(x[torch.from_numpy(test)]).numpy()
                inner[r, k, number] = chosen.numpy()
    return _result(problem, told.reshape(R, L * H, N), inner.reshape(R, n_folds, -1), draws, surface)


def _check(sets: Mapping[str, HeadActivations], topics: Sequence[Topic]) -> None:
    if not topics:
        raise InputError("there is no topic to train on")
    named = [name for topic in topics for name in (topic.affirmative, topic.negated) if name]
    for name in named:
        if name not in sets:
            raise InputError(f"a topic names the set '{name}', and there are only {', '.join(sets)}")
        if named.count(name) > 1:
            raise InputError(f"the set '{name}' is named twice among the topics")
    with_negation = [topic.affirmative for topic in topics if topic.negated]
    if len(with_negation) not in (0, len(topics)):
        raise InputError(f"{len(with_negation)} of {len(topics)} topics have negations; give all of them, or none")
    for topic in topics:
        n = len(sets[topic.affirmative].labels)
        if topic.partners and (len(topic.partners) != n or max(topic.partners) >= len(sets[topic.negated].labels)):
            raise InputError(
                f"pairs without partner: {len(topic.partners)} negations are named for the {n} statements of "
                f"'{topic.affirmative}'"
            )


@dataclass(frozen=True)
class _Problem:
    rows: DomainRows
    topics: tuple[Topic, ...]
    model: str
    point: str
    kept: Bool[np.ndarray, " N"]
    """Rows that are asked about: not those about a second subject, which is held out in another fold."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of training rows."""
        return (AFFIRMATIVE, BOTH) if self.topics[0].negated else (AFFIRMATIVE,)

    @property
    def methods(self) -> tuple[tuple[str, str], ...]:
        """Each with the kind of its training rows."""
        pairs = tuple((method, kind) for kind in self.kinds for method in METHODS)
        return (*pairs, ("CCS", BOTH)) if all(topic.partners for topic in self.topics) else pairs

    def of(self, m: int) -> Int[np.ndarray, " n"]:
        """The rows of a set that are asked about."""
        return np.flatnonzero((self.rows.domain == m) & self.kept)

    def groups(self, m: int) -> list[str]:
        """Of those rows."""
        here = (self.rows.domain == m) & self.kept
        return [group for group, its in zip(self.rows.groups, here, strict=True) if its]

    def members(self, kind: str) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " n"]]:
        """The numbers of the sets that are trained on, and of those that are negated."""
        affirmative, negated = (
            np.array([self.rows.names.index(name) for name in names if name], dtype=int)
            for names in zip(*((topic.affirmative, topic.negated) for topic in self.topics), strict=True)
        )
        return (affirmative, negated[:0]) if kind == AFFIRMATIVE else (np.concatenate([affirmative, negated]), negated)

    def fitted(self, x: Float[Tensor, "N F D"], k: int) -> list[tuple[Plane, Float[Tensor, " F"]]]:
        """Every method's planes without a fold, and what its heads are picked by."""
        further = (k + 1) % self.rows.n_folds
        found: list[tuple[Plane, Float[Tensor, " F"]]] = []
        for kind in self.kinds:
            planes, without_both = (self._planes(x, kind, out) for out in ((k,), (k, further)))
            for plane, other in zip(planes, without_both, strict=True):
                found.append((plane, self._auroc(x, other, kind, further)))
        if len(self.methods) > len(found):
            found.append(self._ccs(x, k))
        return found

    def own(self, m: int) -> list[int]:
        """The methods that are trained on a set."""
        return [r for r, (_, kind) in enumerate(self.methods) if m in self.members(kind)[0]]

    def _rows(self, kind: str, out: tuple[int, ...]) -> Int[np.ndarray, " n"]:
        return np.flatnonzero(np.isin(self.rows.domain, self.members(kind)[0]) & ~np.isin(self.rows.fold, out))

    def _planes(self, x: Float[Tensor, "N F D"], kind: str, out: tuple[int, ...]) -> list[Plane]:
        here = self._rows(kind, out)
        its, true = x[torch.from_numpy(here)], torch.from_numpy(self.rows.labels[here] == 1)
        domain = self.rows.domain[here]
        negated = torch.from_numpy(np.isin(domain, self.members(kind)[1]))
        with_polarity = ttpd(its, true, negated, torch.from_numpy(domain)).plane
        return [with_polarity, mass_mean(its, true), lda(its, true), ridge(its, true)]

    def _auroc(self, x: Float[Tensor, "N F D"], plane: Plane, kind: str, fold: int) -> Float[Tensor, " F"]:
        """Mean over the sets that are trained on, in a fold."""
        found: list[Tensor] = []
        for m in self.members(kind)[0]:
            here = np.flatnonzero((self.rows.domain == m) & (self.rows.fold == fold))
            positive = torch.from_numpy(self.rows.labels[here] == 1)
            found.append(aurocs(plane.decide(x[torch.from_numpy(here)]), positive))
        return torch.stack(found).nanmean(0).nan_to_num(0.5)

    def _ccs(self, x: Float[Tensor, "N F D"], k: int) -> tuple[Plane, Float[Tensor, " F"]]:
        sides: list[Int[np.ndarray, "p 2"]] = []
        for topic in self.topics:
            one, other = (self.rows.of(self.rows.names.index(name)) for name in (topic.affirmative, topic.negated))
            pairs = np.stack([one, other[np.asarray(topic.partners)]], axis=1)
            sides.append(pairs[(self.rows.fold[pairs] != k).all(1)])
        pairs = torch.from_numpy(np.concatenate(sides))
        width = x.shape[-1]
        drawn = stream(self.rows.seed, Stream.CCS_STARTS, 0, k).uniform(-1, 1, (_TRIES, width + 1)) / np.sqrt(width)
        first, second = (x[pairs[:, side]].float() for side in (0, 1))
        probes = fit_ccs(first, second, torch.from_numpy(drawn).float(), _EPOCHS)
        direction = probes.direction.double()
        # A statement of any kind has no side: the middle of both takes the place of its side's mean.
        intercept = probes.intercept.double() - (probes.means.double().mean(0) * direction).sum(-1)
        true = torch.from_numpy(self.rows.labels[pairs.numpy()] == 1)
        plane = Plane(direction, intercept)
        right = torch.stack([(plane.decide(x[pairs[:, side]]) > 0) == true[:, side] for side in (0, 1)])
        sign = torch.where(right.double().mean((0, 2)) < 0.5, -1.0, 1.0).double()
        return Plane(direction * sign[:, None], intercept * sign), -probes.loss.double()


def _result(
    problem: _Problem,
    told: Float[np.ndarray, "R F N"],
    inner: Float[np.ndarray, "R K F"],
    draws: CellDraws,
    surface: Float[np.ndarray, "T M"] | None,
) -> Polarity:
    rows, (R, F, _) = problem.rows, told.shape
    M, K, (L, H, _) = len(rows.names), rows.n_folds, rows.shape
    chosen = inner.argmax(-1)
    shown = np.stack([told[r][chosen[r][rows.fold], np.arange(told.shape[2])] for r in range(R)])
    auroc, accuracy, of_heads = np.empty((R, M)), np.empty((R, M)), np.empty((R, M, F))
    interval, null, p_value = np.empty((R, M, 2)), np.empty((R, M, 2)), np.empty((R, M))
    nulls = Nulls()
    for m in range(M):
        its = problem.of(m)
        cells, labels, fold = shown[:, its], rows.labels[its], rows.fold[its]
        groups = problem.groups(m)
        auroc[:, m], interval[:, m] = intervals(cells, labels, groups, fold, draws, (rows.seed, m))
        null[:, m], p_value[:, m] = nulls.add(
            null_aurocs(cells, labels, groups, fold, draws.n_permutations, (rows.seed, m), problem.own(m))
        )
        folds = [fold == k for k in range(K) if (fold == k).any()]
        accuracy[:, m] = np.mean([((cells > 0) == labels)[:, of].mean(1) for of in folds], axis=0)
        parts = [aurocs(torch.from_numpy(told[:, :, its[of]]), torch.from_numpy(labels[of] == 1)) for of in folds]
        of_heads[:, m] = torch.stack(parts).nanmean(0).numpy()
    both: Bool[np.ndarray, " M"] = np.isin(np.arange(M), problem.members(problem.kinds[-1])[0])
    negated = np.isin(np.arange(M), problem.members(problem.kinds[-1])[1])
    return Polarity(
        names=rows.names,
        roles=tuple(
            "negated" if neg else AFFIRMATIVE if its else "tested" for its, neg in zip(both, negated, strict=True)
        ),
        n_rows=tuple(len(problem.of(m)) for m in range(M)),
        n_groups=tuple(len(set(problem.groups(m))) for m in range(M)),
        methods=tuple(method for method, _ in problem.methods),
        trained_on=tuple(kind for _, kind in problem.methods),
        n_folds=K,
        seed=rows.seed,
        model=problem.model,
        point=problem.point,
        heads=tuple(_most(its, H) for its in chosen),
        auroc=auroc,
        accuracy=accuracy,
        interval=interval,
        null=null,
        p_value=p_value,
        p_familywise=nulls.familywise(),
        surface=np.full((len(problem.kinds), M), np.nan) if surface is None else surface,
        auroc_of_heads=of_heads.reshape(R, M, L, H),
    )


def _most(chosen: Int[np.ndarray, " K"], n_heads: int) -> str:
    """The head that most folds picked, and how many did."""
    counted: Counter[int] = Counter(chosen.tolist())
    head, times = counted.most_common(1)[0]
    return f"{head // n_heads}.{head % n_heads} ({times} of {len(chosen)})"
