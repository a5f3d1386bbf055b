"""Truth directions of a base in the model tuned from it, and back: what tuning turned, head by head."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.cells import drawn_aurocs
from lens_truth.geometry.cosine import mahalanobis_cosine
from lens_truth.geometry.tuned_result import WAYS, Tuned, Way
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import closed_form_probes
from lens_truth.scoring.label_draws import ClosedFormKind, LabelDraws
from lens_truth.scoring.metrics import aurocs
from lens_truth.stats.folds import grouped_folds

_BOOTSTRAP = 1000


@stage("tuned")
def tuned_directions(
    base: HeadActivations,
    tuned: HeadActivations,
    *,
    estimator: ClosedFormKind = "ridge",
    n_folds: int = 5,
    n_random: int = 200,
    seed: int = 0,
    progress: bool = False,
) -> Tuned:
    """Probes of each of two models of one shape, applied to the other's activations on the same held-out rows, head by
    head, as they are (no mean is moved); cosines of their directions, fitted to all rows; and as many random directions
    (isotropic) in their place. The ceiling is the tested model's own probe in the same head.

    The head that is shown is the one that is best, in the model that the probe is of, on the other folds.

    >>> result = lens_truth.tuned_directions(lens_truth.capture(base, rows), lens_truth.capture(child, rows))
    >>> result.ways["base to tuned"].auroc, result.ways["base to tuned"].ceiling

    Raises:
        InputError: if the two are not of one shape and point and of the same rows, there are too few groups, or no
            random direction is to be drawn.
    """
    _check(base, tuned)
    if n_random < 1:
        raise InputError(f"{n_random} random directions were asked for; at least 1 is needed")
    labels, N = base.labels.numpy(), len(base.labels)
    fold = grouped_folds(labels, base.groups, n_folds, seed)
    given = LabelDraws(labels, np.empty((0, N), dtype=np.int64), fold, estimator, torch.device("cpu"))
    rng = stream(seed, Stream.TUNED_CONTROLS)
    layers = [
        _layer([its.z[:, i].float() for its in (base, tuned)], labels, fold, given, estimator, n_random, rng)
        for i in bar(range(base.z.shape[1]), "tuned", shown=progress)
    ]
    decisions, cosines, mahalanobis, control, like = (np.stack(part, axis=-2) for part in zip(*layers, strict=True))
    told = decisions.reshape(2, 2, N, -1)  # whose probe, whose activations, row, head
    per_fold = np.stack([_aurocs(told, labels, fold == k) for k in range(n_folds)])  # K 2 2 F
    L, H = base.z.shape[1:3]
    marks = (told > 0) == (labels == 1)[:, None]
    ways = {
        name: _way(told, per_fold, fold, i, base, labels, (control.reshape(2, -1), like.reshape(2, -1)), seed)
        for i, name in enumerate(WAYS)
    }
    return Tuned(
        names=(str(base.provenance.get("model", "base")), str(tuned.provenance.get("model", "tuned"))),
        point=base.point,
        estimator=estimator,
        n_rows=N,
        n_groups=len({*base.groups}),
        n_folds=n_folds,
        n_random=n_random,
        seed=seed,
        ways=ways,
        aurocs=np.nanmean(per_fold, axis=0).reshape(2, 2, L, H),
        accuracies=marks.mean(2).reshape(2, 2, L, H),
        cosines=cosines,
        mahalanobis=mahalanobis,
        random_aurocs=control,
        random_cosines=like,
    )


def _check(base: HeadActivations, tuned: HeadActivations) -> None:
    one, other = (" x ".join(map(str, its.z.shape[1:])) for its in (base, tuned))
    if one != other:
        raise InputError(
            f"the base has {one} activations a row, the tuned model {other}: models of different shape are compared by "
            "`directions relative`"
        )
    if base.ids != tuned.ids or base.groups != tuned.groups or not torch.equal(base.labels, tuned.labels):
        raise InputError("base and tuned model were not read on the same rows")
    if base.point != tuned.point:
        raise InputError(f"the base was read at {base.point}, the tuned model at {tuned.point}")


def _layer(
    z: list[Float[Tensor, "N H D"]],
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    given: LabelDraws,
    kind: ClosedFormKind,
    n_random: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """Decisions [2, 2, N, H] of each model's probes on each model's rows; cosines of the directions, plain [H] and
    under either's covariance [2, H]; of random directions in either, the 97.5% quantile of the distance of AUROC from
    .5, and of the absolute cosine with its own direction, each [2, H]."""
    K, (N, H, D) = int(fold.max()) + 1, z[0].shape
    held_out = [*((k,) for k in range(K)), ()]
    decisions, whole = torch.empty(2, 2, N, H), list[Float[Tensor, "H D"]]()
    for i, x in enumerate(z):
        directions, intercepts = (its.float() for its in closed_form_probes(x[:, None], given, kind, held_out))
        whole.append(directions[-1])
        for j, y in enumerate(z):
            for k in range(K):
                rows = torch.from_numpy(np.flatnonzero(fold == k))
                decisions[i, j, rows] = torch.einsum("nhd,hd->nh", y[rows], directions[k]) + intercepts[k]
    random = torch.from_numpy(rng.normal(size=(n_random, H, D))).float()
    random = torch.nn.functional.normalize(random, dim=-1)
    positive = torch.from_numpy(labels) == 1
    mahalanobis, apart, like = (list[Float[Tensor, " H"]]() for _ in range(3))
    for x, own in zip(z, whole, strict=True):
        covariance = torch.einsum("nhd,nhe->hde", x - x.mean(0), x - x.mean(0)) / N
        mahalanobis.append(mahalanobis_cosine(whole[0], whole[1], covariance))
        found = aurocs(torch.einsum("nhd,rhd->hrn", x, random), positive)
        apart.append(0.5 + (found - 0.5).abs().quantile(0.975, dim=1))
        like.append(torch.cosine_similarity(random, own, dim=-1).abs().quantile(0.975, dim=0))
    plain = torch.cosine_similarity(whole[0], whole[1], dim=-1)
    parts = decisions, plain, torch.stack(mahalanobis), torch.stack(apart), torch.stack(like)
    return tuple(part.double().numpy() for part in parts)


def _aurocs(
    told: Float[np.ndarray, "2 2 N F"], labels: Int[np.ndarray, " N"], tested: np.ndarray
) -> Float[np.ndarray, "2 2 F"]:
    positive = torch.from_numpy(labels[tested] == 1)
    return aurocs(torch.from_numpy(told[:, :, tested].swapaxes(2, 3).copy()), positive).numpy()


def _way(
    told: Float[np.ndarray, "2 2 N F"],
    per_fold: Float[np.ndarray, "K 2 2 F"],
    fold: Int[np.ndarray, " N"],
    source: int,
    base: HeadActivations,
    labels: Int[np.ndarray, " N"],
    control: tuple[Float[np.ndarray, "2 F"], Float[np.ndarray, "2 F"]],
    seed: int,
) -> Way:
    """Of the source's probes in the other model."""
    target, K, H = 1 - source, len(per_fold), base.z.shape[2]
    picks = [int(np.nanmean(np.delete(per_fold[:, source, source], k, axis=0), axis=0).argmax()) for k in range(K)]
    picked, rows = np.array(picks)[fold], np.arange(len(fold))
    columns = np.stack(
        [told[source, target, rows, picked], told[target, target, rows, picked], told[source, source, rows, picked]]
    )
    drawn = drawn_aurocs(columns, labels, base.groups, fold, _BOOTSTRAP, (seed, 10 + source))
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = (drawn[:, 0] - 0.5) / (drawn[:, 1] - 0.5)
    best = int(np.nanmean(per_fold[:, source, source], axis=0).argmax())
    return Way(
        head=(best // H, best % H),
        auroc=float(drawn[0, 0]),
        auroc_ci=_ends(drawn[1:, 0]),
        accuracy=float(((columns[0] > 0) == (labels == 1)).mean()),
        ceiling=float(drawn[0, 1]),
        ceiling_ci=_ends(drawn[1:, 1]),
        home=float(drawn[0, 2]),
        lost=float(drawn[0, 1] - drawn[0, 0]),
        lost_ci=_ends(drawn[1:, 1] - drawn[1:, 0]),
        kept=float(kept[0]),
        kept_ci=_ends(kept[1:]),
        random=float(control[0][target, best]),
        random_cosine=float(control[1][target, best]),
    )


def _ends(drawn: Float[np.ndarray, " P"]) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
