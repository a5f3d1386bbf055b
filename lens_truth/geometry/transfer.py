"""`transfer_matrix`: probes trained on one domain and tested on another, for every pair of domains and every head at
once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.geometry.cells import CellDraws, Nulls, intervals, null_aurocs
from lens_truth.geometry.probes import MIDDLE, chosen_penalties, probes
from lens_truth.geometry.rows import DomainRows, LayerRows, domain_rows
from lens_truth.geometry.transfer_result import Transfer
from lens_truth.io.stages import bar, stage
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.label_draws import ClosedFormKind
from lens_truth.scoring.metrics import aurocs

DIGITS = 5
"""Of what is kept of every head."""
Surface = Float[np.ndarray, "R M"]


@stage("transfer")
def transfer_matrix(
    domains: Mapping[str, HeadActivations],
    *,
    estimator: ClosedFormKind = "ridge",
    n_folds: int = 5,
    seed: int = 0,
    draws: CellDraws | None = None,
    surface: Surface | None = None,
    progress: bool = False,
) -> Transfer:
    """How well a probe of one domain tells supported from hallucinated rows in another.

    Folds are drawn over the union of all domains' groups. The probe of domain A that is tested on the rows of domain B
    in fold k was trained on A's rows outside fold k, so that no group stands on both sides and the diagonal is ordinary
    cross-validation. AUROC and accuracy (at the boundary that A's rows set) are means over folds. The last row, of
    three and more domains, is a probe of all domains but the one that is tested.

    Of all heads, the one shown is chosen inside the training rows: for fold k that of the best AUROC in the other
    folds, each told by probes of A that saw neither it nor fold k (and for the last row, of the best mean over the
    domains that it is trained on). No test row has a say.

    >>> transfer = lens_truth.transfer_matrix({"cities": cities, "facts": facts}, estimator="mass-mean")
    >>> transfer.auroc[0, 1], transfer.interval[0, 1]

    Args:
        domains: activations of one model, by the name of the domain.
        estimator: one of those in closed form (`lens_truth.scoring.closed_form`); ridge's penalty is chosen for each
            layer, fold and training domain inside its training rows.
        draws: how many for the interval (groups of the tested domain, with replacement) and for the null (labels
            permuted inside groups, `permuted_labels`; on the diagonal wider by sqrt(2), see `null_aurocs`).
        surface: AUROC of a baseline that sees the text alone, of every cell, to be told beside it; see
            `surface_matrix`.

    Raises:
        InputError: for a single domain, domains of other models or shapes, of one label, with fewer groups than folds,
            or an estimator that has no closed form.
    """
    if estimator not in get_args(ClosedFormKind):
        raise InputError(f"estimator '{estimator}' is not one of {', '.join(get_args(ClosedFormKind))}")
    draws = draws or CellDraws()
    rows = domain_rows(domains, n_folds, seed)
    M, (L, H, _) = len(rows.names), rows.shape
    R = M + (M > 2)
    told, inner = np.empty((R, L, H, len(rows.fold)), dtype=np.float32), np.empty((M, n_folds, L, H))
    auroc, accuracy = np.empty((2, R, M, L, H))
    for number in bar(range(L), f"transfer ({estimator})", shown=progress):
        layer = rows.layer(number, exact=estimator == "mass-mean")
        decisions = _decisions(layer, estimator, R)
        auroc[:, :, number], accuracy[:, :, number] = _measured(layer, decisions)
        told[:, number][..., layer.order] = decisions.transpose(0, 1).float().numpy()
        inner[:, :, number] = _inner(layer, estimator)
    # The last row's by the mean over the domains that it is trained on, which depend on the domain that is tested.
    others = (inner.sum(0, keepdims=True) - inner)[: M if R > M else 0] / (M - 1)
    chosen = np.concatenate([inner, others]).reshape(-1, n_folds, L * H).argmax(-1)
    shown = _shown(rows, told.reshape(R, L * H, -1), chosen)
    return _result(rows, shown, chosen, (auroc, accuracy), estimator, draws, surface, domains)


def _decisions(layer: LayerRows, kind: ClosedFormKind, n_rows: int) -> Float[Tensor, "H R N"]:
    """Of every domain's probes on all rows while their fold was held out, and of those of all other domains."""
    H, N, _ = layer.x.shape
    K, M = len(layer.at), len(layer.at[0])
    penalty = torch.full((K, 2 * M if n_rows > M else M), MIDDLE)  # all others' rows are many: any will do
    if kind == "ridge":
        penalty[:, :M] = chosen_penalties(layer)
    found = probes(layer.sums.total([(k,) for k in range(K)], others=n_rows > M), kind, penalty)
    decisions = layer.x.new_empty(H, n_rows, N)
    for k in range(K):
        fold = layer.fold(k)
        all_of_them = found.decide(k, layer.x[:, fold])
        decisions[:, :M, fold] = all_of_them[:, :M]
        for m in range(M if n_rows > M else 0):
            rows = layer.at[k][m]
            decisions[:, M, rows] = all_of_them[:, M + m, rows.start - fold.start : rows.stop - fold.start]
    return decisions


def _measured(
    layer: LayerRows, decisions: Float[Tensor, "H R N"]
) -> tuple[Float[np.ndarray, "R M H"], Float[np.ndarray, "R M H"]]:
    """AUROC and accuracy on every domain, means over folds (AUROC: over those that hold both labels)."""
    H, R, _ = decisions.shape
    K, M = len(layer.at), len(layer.at[0])
    auroc, accuracy = torch.empty(K, M, H, R, dtype=torch.float64), torch.empty(K, M, H, R, dtype=torch.float64)
    for k in range(K):
        for m in range(M):
            its, positive = decisions[:, :, layer.at[k][m]].flatten(0, 1), layer.positive[layer.at[k][m]]
            auroc[k, m] = aurocs(its, positive).view(H, R)
            accuracy[k, m] = ((its > 0) == positive).double().mean(1).view(H, R)
    return auroc.nanmean(0).permute(2, 0, 1).numpy(), accuracy.nanmean(0).permute(2, 0, 1).numpy()


def _inner(layer: LayerRows, kind: ClosedFormKind) -> Float[np.ndarray, "M K H"]:
    """How well every head tells each domain's rows in folds other than k, from probes that saw neither such a fold nor
    k: what a head is chosen by that is then tested on fold k."""
    K, M = len(layer.at), len(layer.at[0])
    pairs = list(combinations(range(K), 2))
    found = probes(layer.sums.total(pairs), kind)
    value = torch.full((M, K, K, layer.x.shape[0]), torch.nan, dtype=torch.float64)
    for k in range(K):
        its = [s for s, pair in enumerate(pairs) if k in pair]
        out = [sum(pairs[s]) - k for s in its]
        for m in range(M):
            rows = layer.at[k][m]
            decisions = found.direction[its, m].transpose(0, 1) @ layer.x[:, rows].mT  # H K-1 n
            value[m, out, k] = aurocs(decisions, layer.positive[rows]).T
    return value.nanmean(2).numpy()


def chosen_heads(rows: DomainRows, kind: ClosedFormKind) -> Int[np.ndarray, "M K"]:
    """The head of each domain and fold, chosen inside the training rows as `transfer_matrix` does (layer times heads a
    layer + head)."""
    return _all_inner(rows, kind).argmax(-1)


def best_head(rows: DomainRows, kind: ClosedFormKind) -> tuple[int, int]:
    """Layer and head that tell held-out rows best in their own domains, on average."""
    layer, head = divmod(int(_all_inner(rows, kind).mean((0, 1)).argmax()), rows.shape[1])
    return layer, head


def _all_inner(rows: DomainRows, kind: ClosedFormKind) -> Float[np.ndarray, "M K F"]:
    inner = np.stack([_inner(layer, kind) for layer in rows.layers(exact=kind == "mass-mean")], axis=2)
    return inner.reshape(*inner.shape[:2], -1)


def _shown(
    rows: DomainRows, told: Float[np.ndarray, "R F N"], chosen: Int[np.ndarray, "T K"]
) -> Float[np.ndarray, "R N"]:
    """The decisions of the heads that are shown."""
    M, R = len(rows.names), len(told)
    all_rows = np.arange(len(rows.labels))
    shown = [told[m][chosen[m][rows.fold], all_rows] for m in range(M)]
    if R > M:
        shown.append(told[M][chosen[M + rows.domain, rows.fold], all_rows])
    return np.stack(shown)


def _result(
    rows: DomainRows,
    shown: Float[np.ndarray, "R N"],
    chosen: Int[np.ndarray, "T K"],
    maps: tuple[Float[np.ndarray, "R M L H"], Float[np.ndarray, "R M L H"]],
    estimator: ClosedFormKind,
    draws: CellDraws,
    surface: Surface | None,
    domains: Mapping[str, HeadActivations],
) -> Transfer:
    M, R, (_, H, _) = len(rows.names), len(shown), rows.shape
    auroc, accuracy, interval = np.empty((R, M)), np.empty((R, M)), np.empty((R, M, 2))
    null, p_value, nulls = np.empty((R, M, 2)), np.empty((R, M)), Nulls()
    for m in range(M):
        its = rows.of(m)
        cells, labels, fold = shown[:, its], rows.labels[its], rows.fold[its]
        groups = rows.groups_of(m)
        auroc[:, m], interval[:, m] = intervals(cells, labels, groups, fold, draws, (rows.seed, m))
        permuted = null_aurocs(cells, labels, groups, fold, draws.n_permutations, (rows.seed, m), [m])
        null[:, m], p_value[:, m] = nulls.add(permuted)
        hits = (cells > 0) == labels
        accuracy[:, m] = np.mean([hits[:, fold == k].mean(1) for k in range(rows.n_folds) if (fold == k).any()], axis=0)
    heads = tuple(head_text(its, H) for its in (*chosen[:M], chosen[M:].ravel()) if len(its))
    first = next(iter(domains.values()))
    return Transfer(
        names=rows.names,
        n_rows=tuple(len(its.labels) for its in domains.values()),
        n_groups=tuple(len(set(its.groups)) for its in domains.values()),
        estimator=estimator,
        n_folds=rows.n_folds,
        seed=rows.seed,
        model=str(first.provenance.get("model", "")),
        point=first.point,
        heads=heads,
        auroc=auroc,
        accuracy=accuracy,
        interval=interval,
        null=null,
        p_value=p_value,
        p_familywise=nulls.familywise(),
        surface=np.full((R, M), np.nan) if surface is None else surface,
        auroc_of_heads=maps[0].round(DIGITS),
        accuracy_of_heads=maps[1].round(DIGITS),
    )


def head_text(chosen: Int[np.ndarray, " K"], n_heads: int) -> str:
    """The head that most folds chose, and how many did."""
    votes: list[int] = chosen.tolist()
    head, times = Counter(votes).most_common(1)[0]
    return f"{head // n_heads}.{head % n_heads} ({times} of {len(chosen)})"
