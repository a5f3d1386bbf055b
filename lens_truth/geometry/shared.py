"""`shared_directions`: how many directions of truth all domains share, and how many more each has of its own, by
iterative nullspace projection (INLP, arXiv 2004.07667) stratified over domains (arXiv 2602.20273)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.erasure import shuffled_labels
from lens_truth.geometry.leace import length, projected, random_projections
from lens_truth.geometry.probes import centred, probes
from lens_truth.geometry.rows import DomainRows, LayerRows, Sums, domain_rows
from lens_truth.geometry.shared_result import SharedDirections
from lens_truth.geometry.transfer import best_head
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.label_draws import ClosedFormKind
from lens_truth.scoring.metrics import aurocs

_SMALLEST = 1e-12


@stage("shared directions")
def shared_directions(
    domains: Mapping[str, HeadActivations],
    *,
    estimator: ClosedFormKind = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    head: tuple[int, int] | None = None,
    n_steps: int = 8,
    n_shuffled: int = 50,
) -> SharedDirections:
    """Step by step a probe is fitted to all domains together (each about its own mean, all counting the same), and its
    direction projected away, orthogonally. Before every step that general probe and each domain's own probe, fitted
    anew to what is left, are tested on the held-out fold. The same is done with shuffled labels,
    and with random directions.

    As many directions are general as it takes until the general probe's AUROC, mean over domains, is not above the 95%
    quantile of what shuffled labels give after as many steps. From there on each domain goes on with directions of its
    own, until its own probe is not above that quantile: these are specific. (Domains that share nothing also have one
    direction in common, a mixture of their own ones: what tells is the share of each domain's AUROC that goes with it.)

    >>> shared = lens_truth.shared_directions({"cities": cities, "facts": facts})
    >>> shared.n_general, shared.n_specific, shared.general_share

    Args:
        domains: as for `transfer_matrix`.
        estimator: as for `transfer_matrix`; ridge's penalty is the middle one.
        n_folds: as for `transfer_matrix`.
        seed: as for `transfer_matrix`.
        head: layer and head; by default the one whose probes do best in their own domains, on average.
        n_steps: directions that are projected away at most.
        n_shuffled: draws of shuffled labels, and of random directions.

    Raises:
        InputError: as `transfer_matrix`; for a head or a number of steps that there is not room for.
    """
    rows = domain_rows(domains, n_folds, seed)
    L, H, D = rows.shape
    at = best_head(rows, estimator) if head is None else head
    if not (0 <= at[0] < L and 0 <= at[1] < H):
        raise InputError(f"there is no head {at[0]}.{at[1]}; layers are 0 to {L - 1}, heads 0 to {H - 1}")
    if not 1 <= n_steps < D or n_shuffled < 1:
        raise InputError(
            f"{n_steps} steps and {n_shuffled} draws were asked for; steps may be 1 to {D - 1}, draws 1 and more"
        )
    layer = rows.layer(at[0], [at[1]])
    general, own, after = _general(layer, estimator, n_steps)
    drawn = shuffled_labels(rows, n_shuffled)
    null = [_general(layer.relabelled(its), estimator, n_steps)[:2] for its in drawn]
    null_general = np.quantile([its.mean(1) for its, _ in null], 0.95, axis=0)
    # Labels that nothing knows, probed in what is left after as many general steps of the true ones.
    n_general = _until(general.mean(1), null_general)
    specific = _specific(layer, after[min(n_general, n_steps)], estimator, n_steps)
    shuffled = [_specific(layer.relabelled(its), after[min(n_general, n_steps)], estimator, n_steps) for its in drawn]
    null_specific = np.quantile(shuffled, 0.95, axis=0)
    first = next(iter(domains.values()))
    return SharedDirections(
        names=rows.names,
        estimator=estimator,
        n_folds=n_folds,
        seed=seed,
        model=str(first.provenance.get("model", "")),
        point=first.point,
        head=at,
        n_shuffled=n_shuffled,
        general=general,
        general_null=null_general,
        own=own,
        own_random=_random(layer, rows, estimator, (n_steps, n_shuffled)),
        specific=specific,
        specific_null=null_specific,
        n_general=n_general,
        n_specific=tuple(_until(specific[:, m], null_specific[:, m]) for m in range(len(rows.names))),
    )


def _until(values: Float[np.ndarray, " T"], null: Float[np.ndarray, " T"]) -> int:
    """The first step at which nothing is left; the number of steps if that never is."""
    done = np.flatnonzero(values <= null)
    return int(done[0]) if len(done) else len(values)


def _general(
    layer: LayerRows, kind: ClosedFormKind, n_steps: int
) -> tuple[Float[np.ndarray, "T M"], Float[np.ndarray, "T M"], list[Float[Tensor, "K D D"]]]:
    """AUROC of the general probe and of every domain's own, before each step and after the last; projections too."""
    K, M, D = len(layer.at), len(layer.at[0]), layer.x.shape[2]
    total = layer.sums.total([(k,) for k in range(K)])
    kept = torch.eye(D, dtype=layer.x.dtype).repeat(K, 1, 1)
    general, own, after = np.empty((n_steps + 1, M)), np.empty((n_steps + 1, M)), [kept]
    for step in range(n_steps + 1):
        left = projected(total, _for_all(kept, M))
        direction = probes(_together(left), kind).direction[:, 0, 0]  # K D
        general[step] = _tested(layer, torch.einsum("kde,kd->ke", kept, direction)[:, None].expand(-1, M, -1))
        own[step] = _tested(layer, torch.einsum("kde,kmd->kme", kept, probes(left, kind).direction[:, :, 0]))
        kept = _without(kept, direction)
        after.append(kept)
    return general, own, after


def _specific(
    layer: LayerRows, start: Float[Tensor, "K D D"], kind: ClosedFormKind, n_steps: int
) -> Float[np.ndarray, "T M"]:
    """AUROC of every domain's own probe, each going on with its own directions from what is left."""
    K, M = len(layer.at), len(layer.at[0])
    total = layer.sums.total([(k,) for k in range(K)])
    kept, found = start[:, None].expand(-1, M, -1, -1), np.empty((n_steps + 1, M))
    for step in range(n_steps + 1):
        direction = probes(projected(total, kept[:, :, None]), kind).direction[:, :, 0]
        found[step] = _tested(layer, torch.einsum("kmde,kmd->kme", kept, direction))
        kept = _without(kept, direction)
    return found


def _random(
    layer: LayerRows, rows: DomainRows, kind: ClosedFormKind, sizes: tuple[int, int]
) -> Float[np.ndarray, "T M"]:
    """AUROC of every domain's own probe after as many random directions, mean over draws."""
    n_steps, n = sizes
    K, M, D = len(layer.at), len(layer.at[0]), layer.x.shape[2]
    total = layer.sums.total([(k,) for k in range(K)])
    rng, found = stream(rows.seed, Stream.RANDOM_DIRECTIONS, 2), np.empty((n_steps + 1, n, M))
    for step in range(n_steps + 1):
        for i in range(n):
            P = random_projections((K, D), step, rng) if step else torch.eye(D, dtype=torch.float64).repeat(K, 1, 1)
            direction = probes(projected(total, _for_all(P, M)), kind).direction[:, :, 0]
            found[step, i] = _tested(layer, torch.einsum("kde,kmd->kme", P, direction))
            if not step:  # all draws of nothing are the same
                found[0] = found[0, 0]
                break
    return found.mean(1)


def _for_all(P: Float[Tensor, "K D D"], n_domains: int) -> Float[Tensor, "K M 1 D D"]:
    return P[:, None, None].expand(-1, n_domains, -1, -1, -1)


def _together(sums: Sums) -> Sums:
    """All domains as one: each about its own mean, and all counting the same."""
    mean, apart = centred(sums)
    n = sums.n[..., None, None]
    grams = sums.grams / n[..., None] - mean[..., :, None] * mean[..., None, :]
    one, M = torch.ones_like(sums.n[:, :1]), sums.n.shape[1]
    zero = torch.zeros_like(mean[:, :1])
    return Sums(one, 0 * one, zero, (apart / n).sum(1, keepdim=True) / M, grams.sum(1, keepdim=True) / M)


def _without(P: Float[Tensor, "*B D D"], direction: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D D"]:
    """The projection without one direction more; as it is where there is none."""
    inside = torch.einsum("...de,...d->...e", P, direction)
    size = length(inside)
    unit = torch.where(size > _SMALLEST * length(direction), inside / size.clamp(min=1e-300), 0.0)
    return P - unit[..., :, None] * unit[..., None, :]


def _tested(layer: LayerRows, directions: Float[Tensor, "K M D"]) -> Float[np.ndarray, " M"]:
    """AUROC on every domain's held-out rows, means over folds."""
    each = [
        torch.stack(
            [aurocs((layer.x[0, rows] @ w)[None], layer.positive[rows])[0] for rows, w in zip(fold, its, strict=True)]
        )
        for fold, its in zip(layer.at, directions, strict=True)
    ]
    return torch.stack(each).nanmean(0).numpy()
