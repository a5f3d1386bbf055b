"""What becomes of truth directions when statements that are neither true nor false are labelled one way or the other
(representational stability, arXiv 2511.19166; the three classes of arXiv 2506.23921)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.cells import drawn_aurocs
from lens_truth.geometry.cosine import mahalanobis_cosine
from lens_truth.geometry.probes import Probes, covariance
from lens_truth.geometry.rows import Sums
from lens_truth.geometry.stability_result import LABELS, Shift, Stability
from lens_truth.geometry.three_way import ThreeWayRows, three_way
from lens_truth.geometry.weighted import fitted, weighted_sums
from lens_truth.io.numbers import count
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.label_draws import ClosedFormKind
from lens_truth.scoring.metrics import aurocs
from lens_truth.stats.folds import grouped_folds
from lens_truth.stats.paired import group_interval

_BOOTSTRAP = 1000
_FOLDS = 3
"""The fewest: one is tested on, one calibrates, one is trained on."""


@stage("stability")
def stability(
    statements: HeadActivations,
    neither: HeadActivations,
    *,
    estimator: ClosedFormKind = "ridge",
    n_folds: int = 5,
    n_draws: int = 100,
    surface: Float[np.ndarray, " N"] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Stability:
    """How far the boundary between true and false moves when rows that are neither join the training rows, labelled
    false or labelled true; for every head, in closed form. And how well three classes are told apart.

    Folds hold groups of both together, so a subject of true, false and other statements is tested or trained on, not
    both. The null: as many rows drawn from the true and false ones (with replacement) join once more, all labelled
    false, or all true. The noise floor: the angle between two probes refitted to groups drawn with replacement. Ridge's
    penalty is fixed (.1 of the features' variance), so that it has no part in what moves.

    >>> result = lens_truth.stability(lens_truth.capture(model, rows), lens_truth.capture(model, fictional))
    >>> result.shifts["false"].angle, result.shifts["false"].null

    Args:
        neither: activations of the rows that are neither; their labels are not read.
        n_draws: of groups, and of rows of the null.
        surface: of every row, those that are neither last, whether a bag of words puts it into its class of three, on
            `stability_folds`.

    Raises:
        InputError: if the two are not of one model and point, or there are too few groups.
    """
    fold = stability_folds(statements, neither, n_folds, seed)
    if n_draws < 2:
        raise InputError(f"{n_draws} draws were asked for; an interval needs at least 2")
    n = len(statements.labels)
    rows = _Rows(statements, neither, fold, n_folds, seed, n_draws)
    layers = [
        _layer(statements.z[:, i], neither.z[:, i], rows, estimator)
        for i in bar(range(statements.z.shape[1]), "stability", shown=progress)
    ]
    maps = {name: np.stack([its[name] for its in layers], axis=-2) for name in layers[0]}  # ... L H
    decisions = maps.pop("decisions").reshape(len(LABELS) + 1, n, -1)  # 3 N F
    by_fold = maps.pop("auroc").reshape(len(LABELS) + 1, n_folds, -1)
    picked = _picked(by_fold[0], fold[:n])
    shown = decisions[:, np.arange(n), picked]
    best = int(np.nanmean(by_fold[0], axis=0).argmax())
    found = drawn_aurocs(shown, rows.labels, statements.groups, fold[:n], _BOOTSTRAP, (seed, 0))
    flipped = (decisions[1:] > 0) != (decisions[:1] > 0)
    shifts = {
        label: _shift(maps, i, best, rows, flipped[i][np.arange(n), picked], found[:, [0, i + 1]])
        for i, label in enumerate(LABELS)
    }
    L, H = statements.z.shape[1:3]
    three = three_way(ThreeWayRows(statements, neither, fold, n_folds, seed), surface)
    return Stability(
        model=str(statements.provenance.get("model", "")),
        point=statements.point,
        estimator=estimator,
        n_rows=n,
        n_neither=len(neither.labels),
        n_groups=len({*statements.groups, *neither.groups}),
        n_folds=n_folds,
        n_draws=n_draws,
        seed=seed,
        head=(best // H, best % H),
        auroc=float(found[0, 0]),
        auroc_ci=_ends(found[1:, 0]),
        shifts=shifts,
        three_way=three,
        angles=maps["angle"],
        mahalanobis_angles=maps["mahalanobis"],
        floors=maps["floor"].mean(0),
        p_values=maps["p"],
        flips=flipped.mean(1).reshape(-1, L, H),
        aurocs=np.nanmean(by_fold, axis=1).reshape(-1, L, H),
    )


def stability_folds(
    statements: HeadActivations, neither: HeadActivations, n_folds: int = 5, seed: int = 0
) -> Int[np.ndarray, " N"]:
    """The fold of every row, those that are neither last; no group is split between folds, whichever rows it has.

    >>> fold = lens_truth.stability_folds(statements, neither)

    Raises:
        InputError: if the two are not of one model and point, there are too few groups of true and false rows, or one
            of the three classes would stand in two folds alone.
    """
    if statements.z.shape[1:] != neither.z.shape[1:] or any(
        statements.provenance.get(what) != neither.provenance.get(what) for what in ("weights", "template", "point")
    ):
        raise InputError("the rows that are neither were read from another model, template or point than the others")
    if n_folds < _FOLDS:
        raise InputError(f"{n_folds} folds were asked for; three classes need at least {_FOLDS}")
    labels = np.concatenate([statements.labels.numpy(), np.zeros(len(neither.labels), dtype=np.int64)])
    classes = np.repeat([0, 1], [len(statements.labels), len(neither.labels)])
    if (n := len({*statements.groups})) < n_folds:
        raise InputError(
            f"the true and false rows are of {count(n, 'group')}, fewer than the {n_folds} folds; use fewer folds or "
            "more data"
        )
    fold = grouped_folds(labels, (*statements.groups, *neither.groups), n_folds, seed, classes)
    for k, following in ((k, (k + 1) % n_folds) for k in range(n_folds)):  # tested on one, settled on the other
        if len(np.unique((labels + 2 * classes)[(fold != k) & (fold != following)])) < 3:
            raise InputError(
                f"without folds {k} and {following} not all of true, false and neither are left to train on; use more "
                "data"
            )
    return fold


class _Rows:
    """What every layer is told: labels, folds and draws, the same for all."""

    def __init__(
        self,
        statements: HeadActivations,
        neither: HeadActivations,
        fold: Int[np.ndarray, " N"],
        n_folds: int,
        seed: int,
        n_draws: int,
    ) -> None:
        n, m = len(statements.labels), len(neither.labels)
        self.labels, self.groups, self.seed = statements.labels.numpy(), statements.groups, seed
        self.fold = fold[:n]
        self.by_fold = _indicators(fold[:n], n_folds), _indicators(fold[n:], n_folds)  # each K n
        names, numbers = np.unique([*statements.groups, *neither.groups], return_inverse=True)
        rng = stream(seed, Stream.STABILITY_REFITS)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)[:, numbers]
        self.refits = _weights(drawn[:, :n]), _weights(drawn[:, n:])
        again = stream(seed, Stream.STABILITY_NULL).multinomial(m, np.full(n, 1 / n), size=n_draws)
        self.again = _weights(again)
        self.sign = torch.from_numpy(self.labels).float() - 0.5


def _layer(
    z: Float[Tensor, "N H D"], other: Float[Tensor, "M H D"], rows: _Rows, kind: ClosedFormKind
) -> dict[str, Float[np.ndarray, "... H"]]:
    x, y = (its.float().transpose(0, 1) for its in (z, other))
    shift = x.mean(1, keepdim=True)
    x, y = x - shift, y - shift
    none = torch.zeros(y.shape[1])
    true_false, extra = weighted_sums(x, rows.by_fold[0], rows.sign), weighted_sums(y, rows.by_fold[1], none)
    both = [true_false.plus(extra.labelled(label)) for label in (0, 1)]
    held_out = fitted(true_false.without_each(), *(its.without_each() for its in both), kind=kind)
    whole = fitted(true_false.total(), *(its.total() for its in both), kind=kind).direction
    own = covariance(Sums(*(its[:, None] for its in true_false.total())))[0, 0]  # of the true and false rows
    decisions, auroc = _decided(x, held_out, rows)

    refitted, more = weighted_sums(x, rows.refits[0], rows.sign), weighted_sums(y, rows.refits[1], none)
    drawn = fitted(refitted, *(refitted.plus(more.labelled(label)) for label in (0, 1)), kind=kind).direction
    floor = _angle(drawn[:, 0], drawn[:, 0].roll(1, 0))

    null, flips = list[Float[Tensor, "2 H"]](), list[Float[Tensor, "2 H"]]()
    for weight in rows.again:  # one at a time: a set of folds each
        again = weighted_sums(x, rows.by_fold[0] * weight, rows.sign)
        with_them = [true_false.plus(again.labelled(label)) for label in (0, 1)]
        null.append(fitted(*(its.total() for its in with_them), kind=kind).direction[0])
        told, _ = _decided(x, fitted(*(its.without_each() for its in with_them), kind=kind), rows, measured=False)
        flips.append(((told > 0) != (decisions[:1] > 0)).float().mean(1))
    null_angle = _angle(torch.stack(null), whole[:, :1])  # R 2 H
    angle = _angle(whole[0, 1:], whole[0, :1])  # 2 H
    p = (1 + (null_angle >= angle).sum(0)) / (1 + len(null_angle))
    found = {
        "decisions": decisions,
        "auroc": auroc,
        "angle": angle,
        "mahalanobis": _under(own, whole[0, 1:], whole[0, :1]),
        "floor": floor,
        "p": p,
        "drawn": _angle(drawn[:, 1:], drawn[:, :1]),  # B 2 H
        "drawn_mahalanobis": _under(own, drawn[:, 1:], drawn[:, :1]),
        "null": null_angle,
        "null_flips": torch.stack(flips),  # R 2 H
    }
    return {name: its.double().numpy() for name, its in found.items()}


def _decided(
    x: Float[Tensor, "H N D"], held_out: Probes, rows: _Rows, *, measured: bool = True
) -> tuple[Float[Tensor, "T N H"], Float[Tensor, "T K H"]]:
    """Of every row while its fold was held out; and AUROC in each fold."""
    S, T, H = held_out.boundary.shape
    decisions, found = x.new_empty(T, x.shape[1], H), torch.full((T, S, H), torch.nan, dtype=torch.float64)
    for k in range(S):
        its = torch.from_numpy(np.flatnonzero(rows.fold == k))
        told = held_out.decide(k, x[:, its])  # H T n
        decisions[:, its] = told.permute(1, 2, 0)
        if measured:
            found[:, k] = aurocs(told, torch.from_numpy(rows.labels)[its] == 1).T
    return decisions, found


def _shift(
    maps: dict[str, Float[np.ndarray, "..."]],
    i: int,
    best: int,
    rows: _Rows,
    flipped: Bool[np.ndarray, " N"],
    drawn: Float[np.ndarray, "P1 2"],
) -> Shift:
    """What one label does to the head that is shown."""
    at = {name: its.reshape(*its.shape[:-2], -1)[..., best] for name, its in maps.items()}
    flips, null = float(flipped.mean()), at["null_flips"][:, i]
    gain = drawn[:, 1] - drawn[:, 0]
    return Shift(
        angle=float(at["angle"][i]),
        angle_ci=_ends(at["drawn"][:, i]),
        mahalanobis=float(at["mahalanobis"][i]),
        mahalanobis_ci=_ends(at["drawn_mahalanobis"][:, i]),
        floor=float(at["floor"].mean()),
        null=_ends(at["null"][:, i]),
        p_value=float(at["p"][i]),
        flips=flips,
        flips_ci=group_interval(flipped.astype(float), rows.groups, rows.seed),
        flips_null=_ends(null),
        p_flips=float((1 + (null >= flips).sum()) / (1 + len(null))),
        auroc=float(drawn[0, 1]),
        auroc_ci=_ends(drawn[1:, 1]),
        difference=float(gain[0]),
        difference_ci=_ends(gain[1:]),
    )


def _picked(by_fold: Float[np.ndarray, "K F"], fold: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """For every row the head that is best on the other folds."""
    K = len(by_fold)
    return np.array([np.nanmean(by_fold[np.arange(K) != k], axis=0).argmax() for k in range(K)])[fold]


def _indicators(fold: Int[np.ndarray, " n"], n_folds: int) -> Float[Tensor, "K n"]:
    return _weights(fold == np.arange(n_folds)[:, None])


def _weights(given: np.ndarray) -> Tensor:
    return torch.from_numpy(given.astype(np.float32))


def _angle(a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"]) -> Float[Tensor, "..."]:
    return _degrees(torch.cosine_similarity(a, b, dim=-1))


def _under(
    covariance: Float[Tensor, "H D D"], a: Float[Tensor, "*S H D"], b: Float[Tensor, "*#S H D"]
) -> Float[Tensor, "*S H"]:
    return _degrees(mahalanobis_cosine(a, b.expand_as(a), covariance.expand(*a.shape, -1)))


def _degrees(cosine: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))


def _ends(drawn: Float[np.ndarray, " P"]) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
