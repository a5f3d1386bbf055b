"""`erase_directions`: what erasing one domain's direction of truth does to the probes of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.cells import CellDraws, drawn_aurocs
from lens_truth.geometry.erasure_result import Erasure
from lens_truth.geometry.leace import leace_projections, projected, random_projections, within
from lens_truth.geometry.probes import probes
from lens_truth.geometry.rows import DomainRows, LayerRows, Sums, domain_rows
from lens_truth.geometry.transfer import DIGITS, chosen_heads, head_text
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.label_draws import ClosedFormKind
from lens_truth.scoring.metrics import aurocs
from lens_truth.stats.folds import permuted_labels


@stage("erasure")
def erase_directions(
    domains: Mapping[str, HeadActivations],
    *,
    estimator: ClosedFormKind = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    n_controls: int = 10,
    n_bootstrap: int = 1000,
    progress: bool = False,
) -> Erasure:
    """For every pair of domains: LEACE is fitted to one domain's rows outside a fold, in every head; then a probe of
    the other domain is fitted anew to its rows outside that fold, all erased, and tested on its erased rows in the fold
    (folds over the union of groups, as in `transfer_matrix`). The last row, of three and more domains, erases the
    directions of all domains but the tested one, one each.

    On the diagonal nothing linear is left by construction: AUROC .5. Controls, each the mean of several: a random
    subspace of equal rank, orthogonally projected away (isotropic in raw space), and LEACE fitted to labels that were
    shuffled inside groups (which is a random direction in whitened space).

    >>> erasure = lens_truth.erase_directions({"cities": cities, "facts": facts})
    >>> erasure.after[0, 1] - erasure.before[1], erasure.change[0, 1]

    Args:
        domains: as for `transfer_matrix`.
        estimator: as for `transfer_matrix`; ridge's penalty is the middle one.
        n_folds: as for `transfer_matrix`.
        seed: as for `transfer_matrix`.
        n_controls: draws of each control.
        n_bootstrap: draws of the tested domain's groups behind the intervals of changes.

    Raises:
        InputError: as `transfer_matrix`; and without a draw of each control.
    """
    draws = CellDraws(n_bootstrap=n_bootstrap)
    if n_controls < 1:
        raise InputError(f"{n_controls} draws of each control were asked for; at least 1 is needed")
    rows = domain_rows(domains, n_folds, seed)
    M, (L, H, _) = len(rows.names), rows.shape
    E = M + (M > 2)
    chosen = chosen_heads(rows, estimator)
    before, after = np.empty((M, L, H)), np.empty((E, M, L, H))
    told = np.empty((1 + E, len(rows.fold)), dtype=np.float32)
    controls = np.empty((2, n_controls, E, len(rows.fold)), dtype=np.float32)
    shuffled = shuffled_labels(rows, n_controls)
    for number in bar(range(L), "erasure", shown=progress):
        layer = rows.layer(number)
        decisions = torch.stack([_decisions(layer, its, estimator) for its in (None, *_erasers(layer.sums, n_folds))])
        measured = _aurocs(layer, decisions)
        before[:, number], after[:, :, number] = measured[0], measured[1:]
        _pick(told, decisions, layer, chosen // H == number, chosen % H, rows)
        heads = np.unique(chosen[chosen // H == number] % H)
        if len(heads):
            some = rows.layer(number, heads.tolist())
            place = np.searchsorted(heads, chosen % H)
            for draw, kind, erasers in _controls(some, rows, shuffled, (number, n_controls)):
                decisions = torch.stack([_decisions(some, its, estimator) for its in erasers])
                _pick(controls[kind, draw], decisions, some, chosen // H == number, place, rows)
    return _result(rows, domains, estimator, chosen, (before, after), told, controls, draws)


def _sets(n_domains: int) -> list[list[list[int]]]:
    """For each row and tested domain, whose directions are erased."""
    each = [[[m]] * n_domains for m in range(n_domains)]
    others = [[[m for m in range(n_domains) if m != b] for b in range(n_domains)]]
    return each + others if n_domains > 2 else each


def _erasers(sums: Sums, n_folds: int) -> Iterator[Float[Tensor, "K M H D D"]]:
    """LEACE's projections without each fold, of every row, for every domain that is tested."""
    total = sums.total([(k,) for k in range(n_folds)])
    known: dict[tuple[int, ...], Float[Tensor, "K H D D"]] = {}
    for row in _sets(sums.n.shape[1]):
        for which in map(tuple, row):
            if which not in known:
                S, cross, n = within(total, list(which))
                K, H, D, _ = S.shape
                flat = S.flatten(0, 1), cross.flatten(0, 1), n.repeat_interleave(H)
                known[which] = leace_projections(*flat).view(K, H, D, D)
        yield torch.stack([known[tuple(which)] for which in row], dim=1)


def _controls(
    layer: LayerRows, rows: DomainRows, shuffled: Int[np.ndarray, "n N"], place: tuple[int, int]
) -> Iterator[tuple[int, int, list[Float[Tensor, "K M H D D"]]]]:
    """Number of the draw, 0 for random subspaces and 1 for shuffled labels, and the projections of every row."""
    number, n = place
    H, _, D = layer.x.shape
    K, M = rows.n_folds, len(rows.names)
    rng = stream(rows.seed, Stream.RANDOM_DIRECTIONS, 1, number)
    for draw in range(n):
        random = [random_projections((K * M * H, D), len(row[0]), rng).view(K, M, H, D, D) for row in _sets(M)]
        yield draw, 0, random
        yield draw, 1, list(_erasers(layer.relabelled(shuffled[draw]).sums, K))


def shuffled_labels(rows: DomainRows, n: int) -> Int[np.ndarray, "n N"]:
    """Labels of every domain shuffled inside groups."""
    drawn = np.empty((n, len(rows.labels)), dtype=rows.labels.dtype)
    for m in range(len(rows.names)):
        its = rows.of(m)
        chance = int(stream(rows.seed, Stream.SHUFFLED_CONCEPT, m).integers(1 << 31))
        groups = rows.groups_of(m)
        drawn[:, its] = permuted_labels(rows.labels[its], groups, n, chance, rows.fold[its])
    return drawn


def _decisions(
    layer: LayerRows, erasers: Float[Tensor, "K M H D D"] | None, kind: ClosedFormKind
) -> Float[Tensor, "H N"]:
    """Of every domain's own probes on its own rows while their fold was held out, fitted to what erasers leave."""
    K = len(layer.at)
    total = layer.sums.total([(k,) for k in range(K)])
    found = probes(total if erasers is None else projected(total, erasers), kind)
    direction = found.direction
    if erasers is not None:
        direction = torch.einsum("kmhde,kmhd->kmhe", erasers, direction)
    decisions = layer.x.new_empty(layer.x.shape[:2])
    for k in range(K):
        for m, rows in enumerate(layer.at[k]):
            decisions[:, rows] = (
                torch.einsum("hnd,hd->hn", layer.x[:, rows], direction[k, m]) - found.boundary[k, m][:, None]
            )
    return decisions


def _aurocs(layer: LayerRows, decisions: Float[Tensor, "E H N"]) -> Float[np.ndarray, "E M H"]:
    """On every domain, means over folds."""
    each = [[aurocs(decisions[:, :, rows], layer.positive[rows]) for rows in fold] for fold in layer.at]
    return torch.stack([torch.stack(fold, dim=1) for fold in each]).nanmean(0).numpy()


def _pick(
    told: Float[np.ndarray, "E N"],
    decisions: Float[Tensor, "E H N"],
    layer: LayerRows,
    here: np.ndarray,
    place: np.ndarray,
    rows: DomainRows,
) -> None:
    """Keeps the decisions of the heads that are shown, where they lie in this layer."""
    domain, fold = rows.domain[layer.order], rows.fold[layer.order]
    at = np.flatnonzero(here[domain, fold])
    told[:, layer.order[at]] = decisions.numpy()[:, place[domain[at], fold[at]], at]


def _result(
    rows: DomainRows,
    domains: Mapping[str, HeadActivations],
    estimator: ClosedFormKind,
    chosen: Int[np.ndarray, "M K"],
    maps: tuple[Float[np.ndarray, "M L H"], Float[np.ndarray, "E M L H"]],
    told: Float[np.ndarray, "E1 N"],
    controls: Float[np.ndarray, "2 n E N"],
    draws: CellDraws,
) -> Erasure:
    M, E, H = len(rows.names), len(told) - 1, rows.shape[1]
    before, after, of_controls = np.empty(M), np.empty((E, M)), np.empty((2, E, M))
    before_interval, change, beyond = np.empty((M, 2)), np.empty((E, M, 2)), np.empty((2, E, M, 2))
    n = controls.shape[1]
    for m in range(M):
        its = rows.of(m)
        columns = np.concatenate([told[:, its], controls[..., its].reshape(-1, len(its))])
        groups = rows.groups_of(m)
        drawn = drawn_aurocs(columns, rows.labels[its], groups, rows.fold[its], draws.n_bootstrap, (rows.seed, m))
        first, erased = drawn[:, 0], drawn[:, 1 : 1 + E]
        meant = drawn[:, 1 + E :].reshape(-1, 2, n, E).mean(2)
        before[m], after[:, m], of_controls[:, :, m] = first[0], erased[0], meant[0]
        before_interval[m] = _ends(first[1:])
        change[:, m] = _ends(erased[1:] - first[1:, None])
        beyond[:, :, m] = _ends(erased[1:, None] - meant[1:])
    one = next(iter(domains.values()))
    return Erasure(
        names=rows.names,
        n_rows=tuple(len(its.labels) for its in domains.values()),
        estimator=estimator,
        n_folds=rows.n_folds,
        seed=rows.seed,
        model=str(one.provenance.get("model", "")),
        point=one.point,
        heads=tuple(head_text(its, H) for its in chosen),
        n_controls=n,
        before=before,
        before_interval=before_interval,
        after=after,
        change=change,
        random=of_controls[0],
        beyond_random=beyond[0],
        shuffled=of_controls[1],
        beyond_shuffled=beyond[1],
        before_of_heads=maps[0].round(DIGITS),
        after_of_heads=maps[1].round(DIGITS),
    )


def _ends(draws: Float[np.ndarray, "P ..."]) -> Float[np.ndarray, "... 2"]:
    return np.moveaxis(np.nanquantile(draws, [0.025, 0.975], axis=0), 0, -1)
