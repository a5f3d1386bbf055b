"""Relative representations (Moschella et al. 2023, arXiv 2209.15430): an example by how like it is to anchor examples, which
can be compared, and probed, across models of different shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.cells import drawn_aurocs
from lens_truth.geometry.relative_result import Relative
from lens_truth.io.numbers import count
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.closed_form import closed_form_probes
from lens_truth.scoring.label_draws import ClosedFormKind, LabelDraws
from lens_truth.scoring.metrics import aurocs
from lens_truth.stats.folds import check_labels, grouped_folds

_BOOTSTRAP = 1000
_LEAST = 1e-12


def relative_representation(
    z: Float[Tensor, "N *heads D"], anchors: Int[np.ndarray, " A"]
) -> Float[Tensor, "N *heads A"]:
    """Cosine of every row with each anchor row, by head, after the anchors' mean is taken off (Section 3.1 of the paper has
    the cosines; without their mean, heads whose activations lie far from the origin have nothing but ones). It stays the
    same when the space is turned, scaled or moved.

    >>> lens_truth.relative_representation(activations.z, np.array([0, 5, 9]))
    """
    if not len(anchors):
        raise InputError("there are no anchors")
    z = z.double()
    rows = torch.from_numpy(anchors)
    z = z - z[rows].mean(0, keepdim=True)
    unit = z / z.norm(dim=-1, keepdim=True).clamp(min=_LEAST)
    return torch.einsum("n...d,a...d->n...a", unit, unit[rows])


def anchors_of(
    groups: Sequence[str], n_anchors: int, seed: int = 0
) -> tuple[Int[np.ndarray, " A"], Bool[np.ndarray, " N"]]:
    """Rows drawn as anchors, one a group, and which rows are of other groups and so are left to be tested.

    >>> anchors, tested = lens_truth.anchors_of(activations.groups, 64)
    """
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= n_anchors <= len(names) // 2:
        raise InputError(
            f"{n_anchors} anchors were asked for; {count(len(names), 'group')} of rows give between 2 and {len(names) // 2}"
        )
    rng = stream(seed, Stream.ANCHORS)
    chosen = rng.permutation(len(names))[:n_anchors]
    rows = np.array([rng.choice(np.flatnonzero(numbers == group)) for group in chosen])
    return rows, ~np.isin(numbers, chosen)


@stage("relative")
def relative_directions(
    one: HeadActivations,
    other: HeadActivations,
    *,
    n_anchors: int = 64,
    n_neighbours: int = 10,
    estimator: ClosedFormKind = "ridge",
    n_folds: int = 5,
    n_null: int = 40,
    seed: int = 0,
) -> Relative:
    """Heads (or layers) of two models of any shape, by their relative representations of the same rows.

    How alike: the correlation of both representations over rows and anchors, each anchor's mean taken off; and the Jaccard
    share of common nearest neighbours. Stitching: a probe of the first model's representation decides on the second's,
    zero-shot; for each fold the pair of heads is picked on the other folds. The null of both, with the picking in it: the
    second model's anchors are taken for one another's.

    >>> result = lens_truth.relative_directions(lens_truth.capture(small, rows), lens_truth.capture(large, rows))
    >>> result.auroc, result.null

    Raises:
        InputError: if the two were not read on the same rows, or there are too few groups for so many anchors.
    """
    if one.ids != other.ids or one.groups != other.groups or not torch.equal(one.labels, other.labels):
        raise InputError("the two models were not read on the same rows")
    anchors, tested = anchors_of(one.groups, n_anchors, seed)
    kept = np.flatnonzero(tested)
    labels, groups = one.labels.numpy()[kept], [one.groups[i] for i in kept]
    check_labels(labels)
    fold = grouped_folds(labels, groups, n_folds, seed)
    found = [relative_representation(its.z, anchors)[kept].flatten(1, 2).float() for its in (one, other)]
    (F, G), L, M = (its.shape[1] for its in found), one.z.shape[1], other.z.shape[1]
    alike = _correlations(*found)
    jaccard = _jaccard(*(_neighbours(its, n_neighbours) for its in found))

    given = LabelDraws(labels, np.empty((0, len(labels)), dtype=np.int64), fold, estimator, torch.device("cpu"))
    held_out = [(k,) for k in range(n_folds)]
    own = [closed_form_probes(its[:, None], given, estimator, held_out) for its in found]
    told, shown = _stitched(own[0], found[1], labels, fold)
    columns = [
        shown,
        *(_stitched(probes, its, labels, fold, own=True)[1] for probes, its in zip(own, found, strict=True)),
    ]
    drawn = drawn_aurocs(np.stack(columns), labels, groups, fold, _BOOTSTRAP, (seed, 20))
    rng = stream(seed, Stream.ANCHORS, 1)
    null, null_alike = [], []
    for _ in range(n_null):
        moved = found[1][..., torch.from_numpy(rng.permutation(n_anchors))]
        _, its = _stitched(own[0], moved, labels, fold)
        null.append(drawn_aurocs(its[None], labels, groups, fold, 1, (seed, 21))[0, 0])
        null_alike.append(_correlations(found[0], moved).max())
    by_layer = alike.reshape(L, F // L, M, G // M)
    return Relative(
        names=(str(one.provenance.get("model", "one")), str(other.provenance.get("model", "other"))),
        point=one.point,
        estimator=estimator,
        n_rows=len(labels),
        n_groups=len({*groups}),
        n_anchors=n_anchors,
        n_neighbours=n_neighbours,
        n_null=n_null,
        seed=seed,
        alike=by_layer.max((1, 3)),
        jaccard=jaccard.reshape(by_layer.shape).max((1, 3)),
        chance_jaccard=n_neighbours / (2 * (len(labels) - 1) - n_neighbours),
        best=(*divmod(int(alike.max(1).argmax()), F // L), *divmod(int(alike.max(0).argmax()), G // M)),
        null_alike=_ends(np.array(null_alike)),
        p_alike=float((1 + (np.array(null_alike) >= alike.max()).sum()) / (1 + n_null)),
        auroc=float(drawn[0, 0]),
        auroc_ci=_ends(drawn[1:, 0]),
        own=(float(drawn[0, 1]), float(drawn[0, 2])),
        own_ci=(_ends(drawn[1:, 1]), _ends(drawn[1:, 2])),
        null=_ends(np.array(null)),
        p_value=float((1 + (np.abs(np.array(null) - 0.5) >= abs(drawn[0, 0] - 0.5)).sum()) / (1 + n_null)),
        stitched=told.reshape(L, F // L, M, G // M).max((1, 3)),
    )


def _correlations(a: Float[Tensor, "N F A"], b: Float[Tensor, "N G A"]) -> Float[np.ndarray, "F G"]:
    """Pearson's r over rows and anchors, without each anchor's mean."""
    flat = []
    for its in (a, b):
        rows = (its - its.mean(0)).transpose(0, 1).flatten(1)
        flat.append(rows / rows.norm(dim=1, keepdim=True).clamp(min=_LEAST))
    return (flat[0] @ flat[1].T).numpy()


def _neighbours(x: Float[Tensor, "N F A"], k: int) -> Float[Tensor, "F NN"]:
    """For every row 1 at its k nearest others by cosine."""
    its = x.transpose(0, 1)
    its = its / its.norm(dim=-1, keepdim=True).clamp(min=_LEAST)
    alike = its @ its.mT
    alike.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    return torch.zeros_like(alike).scatter_(2, alike.topk(k, dim=2).indices, 1).flatten(1)


def _jaccard(a: Float[Tensor, "F NN"], b: Float[Tensor, "G NN"]) -> Float[np.ndarray, "F G"]:
    """Shared neighbours over all neighbours, of all rows together."""
    both = a @ b.T
    return (both / (a.sum(1)[:, None] + b.sum(1) - both)).numpy()


def _stitched(
    probes: tuple[Float[Tensor, "K F A"], Float[Tensor, "K F"]],
    x: Float[Tensor, "N G A"],
    labels: Int[np.ndarray, " N"],
    fold: Int[np.ndarray, " N"],
    *,
    own: bool = False,
) -> tuple[Float[np.ndarray, "F ..."], Float[np.ndarray, " N"]]:
    """AUROC of every head's probe in every head (`own`: in itself), mean over folds; and the decisions of the pair that is
    best on the other folds."""
    directions, intercepts = (its.float() for its in probes)
    K, parts, found = len(directions), [], []
    for k in range(K):
        rows = torch.from_numpy(np.flatnonzero(fold == k))
        pattern = "nga,ga->gn" if own else "nga,fa->fgn"
        its = torch.einsum(pattern, x[rows], directions[k]).reshape(-1, len(rows))
        parts.append((rows, its))
        found.append(aurocs(its, torch.from_numpy(labels)[rows] == 1).numpy())
    of_fold = np.stack(found)
    decisions = np.empty(len(labels))
    for k, (rows, its) in enumerate(parts):
        best = int(np.nanmean(np.delete(of_fold, k, axis=0), axis=0).argmax())
        head = best if own else best // x.shape[1]
        decisions[rows] = (its[best] + intercepts[k, head]).numpy()
    mean = np.nanmean(of_fold, axis=0)
    return mean.reshape(-1, 1 if own else x.shape[1]), decisions


def _ends(drawn: Float[np.ndarray, " P"]) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
