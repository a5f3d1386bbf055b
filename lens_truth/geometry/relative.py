"""Relative representations (Moschella et al. 2023, arXiv 2209.15430): an example by how like it is to anchor examples,
which can be compared, and probed, across models of different shape."""

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
    """Cosine of every row with each anchor row, by head, after the anchors' mean is taken off (the paper has the
    cosines alone; where activations lie far from the origin, those are nothing but ones). It stays the same when the
    space is turned, scaled or moved.

    >>> lens_truth.relative_representation(activations.z, np.array([0, 5, 9]))
    """
    if not len(anchors):
        raise InputError("there are no anchors")
    z = z.double()
    rows = torch.from_numpy(anchors)
    z = z - z[rows].mean(0, keepdim=True)
    unit = _unit(z)
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
            f"{n_anchors} anchors were asked for; {count(len(names), 'group')} of rows give between 2 and "
            f"{len(names) // 2}"
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

    How alike: the correlation of both representations over rows and anchors, each anchor's mean taken off; and the
    Jaccard share of common nearest neighbours. Stitching: a probe of the first model's representation decides on the
    second's, zero-shot: for each fold the first model's head is the one that is best on the other folds, the second's
    the one that is most like it, for which no label is read. The null of both, with the picking in it: the second
    model's anchors are taken for one another's.

    >>> result = lens_truth.relative_directions(lens_truth.capture(small, rows), lens_truth.capture(large, rows))
    >>> result.auroc, result.null

    Raises:
        InputError: if the two were not read on the same rows, there are too few groups for so many anchors or too few
            rows for so many neighbours, or no order of the anchors is to be drawn.
    """
    if one.ids != other.ids or one.groups != other.groups or not torch.equal(one.labels, other.labels):
        raise InputError("the two models were not read on the same rows")
    anchors, tested = anchors_of(one.groups, n_anchors, seed)
    kept = np.flatnonzero(tested)
    if not 1 <= n_neighbours < len(kept):
        raise InputError(
            f"{n_neighbours} neighbours were asked for; a row has 1 to {len(kept) - 1} among the rows tested"
        )
    if n_null < 1:
        raise InputError(f"{n_null} orders of the anchors were asked for; at least 1 is needed")
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
    homes = [_at_home(probes, its, labels, fold) for probes, its in zip(own, found, strict=True)]
    picked = [_best_elsewhere(of_fold) for of_fold, _ in homes]
    rows = np.arange(len(labels))
    columns = [
        _across(own[0], found[1], fold, picked[0], alike),
        *(told[rows, picks[fold]] for (_, told), picks in zip(homes, picked, strict=True)),
    ]
    drawn = drawn_aurocs(np.stack(columns), labels, groups, fold, _BOOTSTRAP, (seed, 20))
    rng = stream(seed, Stream.ANCHORS, 1)
    null, null_alike = list[Float[np.ndarray, " N"]](), list[float]()
    for _ in range(n_null):
        moved = found[1][..., torch.from_numpy(rng.permutation(n_anchors))]
        its = _correlations(found[0], moved)
        null_alike.append(float(its.max()))
        null.append(_across(own[0], moved, fold, picked[0], its))
    chance = drawn_aurocs(np.stack(null), labels, groups, fold, 1, (seed, 21))[0]
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
        null=_ends(chance),
        p_value=float((1 + (np.abs(chance - 0.5) >= abs(drawn[0, 0] - 0.5)).sum()) / (1 + n_null)),
        stitched=_stitched(own[0], found[1], labels, fold).reshape(by_layer.shape).max((1, 3)),
    )


def _correlations(a: Float[Tensor, "N F A"], b: Float[Tensor, "N G A"]) -> Float[np.ndarray, "F G"]:
    """Pearson's r over rows and anchors, without each anchor's mean."""
    one, other = (_unit((its - its.mean(0)).transpose(0, 1).flatten(1)) for its in (a, b))
    return (one @ other.T).numpy()


def _unit(x: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
    return torch.nn.functional.normalize(x, dim=-1, eps=_LEAST)


def _neighbours(x: Float[Tensor, "N F A"], k: int) -> Float[Tensor, "F NN"]:
    """For every row 1 at its k nearest others by cosine."""
    its = _unit(x.transpose(0, 1))
    alike = its @ its.mT
    alike.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    return torch.zeros_like(alike).scatter_(2, alike.topk(k, dim=2).indices, 1).flatten(1)


def _jaccard(a: Float[Tensor, "F NN"], b: Float[Tensor, "G NN"]) -> Float[np.ndarray, "F G"]:
    """Shared neighbours over all neighbours, of all rows together."""
    both = a @ b.T
    return (both / (a.sum(1)[:, None] + b.sum(1) - both)).numpy()


Probes = tuple[Float[Tensor, "K F A"], Float[Tensor, "K F"]]


def _at_home(
    probes: Probes, x: Float[Tensor, "N F A"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "K F"], Float[np.ndarray, "N F"]]:
    """AUROC in each fold, and the decisions, of probes on the representations that they are of."""
    found, told = list[Float[np.ndarray, " F"]](), np.empty(x.shape[:2])
    for k, (directions, intercepts) in enumerate(zip(*probes, strict=True)):
        rows = torch.from_numpy(np.flatnonzero(fold == k))
        its = torch.einsum("nfa,fa->nf", x[rows], directions.float()) + intercepts.float()
        found.append(aurocs(its.T.contiguous(), torch.from_numpy(labels)[rows] == 1).numpy())
        told[rows] = its.numpy()
    return np.stack(found), told


def _best_elsewhere(of_fold: Float[np.ndarray, "K F"]) -> Int[np.ndarray, " K"]:
    """For each fold the head that is best on the others."""
    return np.array([np.nanmean(np.delete(of_fold, k, axis=0), axis=0).argmax() for k in range(len(of_fold))])


def _across(
    probes: Probes,
    x: Float[Tensor, "N G A"],
    fold: Int[np.ndarray, " N"],
    picked: Int[np.ndarray, " K"],
    alike: Float[np.ndarray, "F G"],
) -> Float[np.ndarray, " N"]:
    """Decisions of the picked heads' probes in those heads of the other model that are most like them."""
    told = np.empty(len(fold))
    for k, head in enumerate(picked.tolist()):
        rows = torch.from_numpy(np.flatnonzero(fold == k))
        there = x[rows, int(alike[head].argmax())]
        told[rows] = (there @ probes[0][k, head].float() + probes[1][k, head].float()).numpy()
    return told


def _stitched(
    probes: Probes, x: Float[Tensor, "N G A"], labels: Int[np.ndarray, " N"], fold: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "F G"]:
    """AUROC of every head's probe in every head, mean over folds."""
    found = list[Float[Tensor, "F G"]]()
    for k, directions in enumerate(probes[0].float()):
        rows = torch.from_numpy(np.flatnonzero(fold == k))
        positive = torch.from_numpy(labels)[rows] == 1
        found.append(torch.stack([aurocs((x[rows] @ one).T.contiguous(), positive) for one in directions]))
    return torch.stack(found).nanmean(0).numpy()


def _ends(drawn: Float[np.ndarray, " P"]) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
