"""Do neurons that foretell a tuned model's hallucinations do so in the model that it was tuned from?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lens_truth.detection.metrics import auroc, drawn_weights
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.neurons.neuron_set import NeuronSet, random_set
from lens_truth.neurons.origins_result import Applied, NeuronOrigins, Ranked, Refitted
from lens_truth.neurons.rivals import refitted
from lens_truth.neurons.single import neuron_scores
from lens_truth.stats.correlation import Map
from lens_truth.stats.folds import grouped_folds, permuted_labels
from lens_truth.stats.relations import compare_top

_BOOTSTRAP = 2000
_WAYS = (("child", "child"), ("child", "base"), ("base", "base"))


@stage("origins")
def neuron_origins(
    neurons: NeuronSet,
    base: NeuronActivity,
    child: NeuronActivity,
    *,
    change: Map | None = None,
    n_folds: int = 5,
    n_random: int = 20,
    n_null: int = 999,
    seed: int = 0,
) -> NeuronOrigins:
    """Applies a child's classifier to its base's neurons on the same answers (H-Neurons, arXiv 2512.01797, Section 5),
    and asks where the child's H-neurons rank among all neurons of the base.

    The child's own answers are read by both models, so an AUROC in the base says that the base's neurons tell the
    child's wrong answers from its right ones. Give answers that the classifier was not fitted to.

    >>> replies = lens_truth.whole_replies(lens_truth.load_examples("facts:closed-book/test"))
    >>> base, child = (lens_truth.neuron_activity(model, replies) for model in models)
    >>> lens_truth.neuron_origins(neurons, base, child, change=lens_truth.neuron_change(*models)).verdicts()

    Args:
        neurons: the child's, with the weights of its classifier.
        change: how far each neuron's weights moved, from `neuron_change`.
        n_folds: folds in which classifiers are refitted, by groups.
        n_random: random sets of as many neurons, refitted like the given one.
        n_null: classifiers moved to other neurons of the same layers; shuffled labels; and neurons shuffled inside
            layers.

    Raises:
        InputError: if the activities are not of the same answers or the set is not of these models.
    """
    _check(neurons, base, child, n_random, n_null)
    shape = (base.values.shape[1], base.values.shape[2])
    labels = base.labels.numpy()
    fold = grouped_folds(labels, base.groups, n_folds, seed)
    both = {"base": base, "child": child}
    weights = np.concatenate(
        [np.ones((1, len(labels))), drawn_weights(base.groups, _BOOTSTRAP, seed, Stream.NEURON_ORIGINS)]
    )
    moved = moved_weights(neurons, shape, n_null, seed)
    shuffled = permuted_labels(labels, base.groups, n_null, seed)
    draws: dict[str, Float[np.ndarray, " B"]] = {}
    applied: dict[str, Applied] = {}
    for name, activity in both.items():
        decided = neurons.decision(activity)
        draws[name] = auroc(-decided, labels, weights)
        its = float(draws[name][0])
        placed = _all_aurocs(_decisions(activity, neurons, moved), labels[None])
        null = _all_aurocs(decided[None], shuffled)
        applied[name] = Applied(its, _ends(draws[name]), _null(placed), _p(its, placed), _null(null), _p(its, null))
    lost = draws["child"] - draws["base"]
    kept = (draws["base"] - 0.5) / np.where(draws["child"] > 0.5, draws["child"] - 0.5, np.nan)
    sets = [neurons, *(random_set(neurons, shape, seed + draw) for draw in range(n_random))]
    aurocs = {way: [_refitted(its, both[way[0]], both[way[1]], fold, weights) for its in sets] for way in _WAYS}
    refitted: dict[str, Refitted] = {}
    for (where, to), found in aurocs.items():
        random = tuple(float(its[0]) for its in found[1:])
        own = float(found[0][0])
        refitted[f"{where} to {to}"] = Refitted(own, _ends(found[0]), random, _p(own, np.array(random)))
    maps = {f"AUROC in the {name}": neuron_scores(its, seed=seed).values for name, its in both.items()}
    if change is not None:
        if change.shape != shape:
            raise InputError(f"the change of weights is of {change.shape} layers x neurons, the activity of {shape}")
        maps["weights kept"] = -change
    told = _one_name(base, child)
    return NeuronOrigins(
        names=told,
        shape=shape,
        n_neurons=len(neurons),
        n_positive=len(neurons.positive),
        n_rows=len(labels),
        n_groups=len(set(base.groups)),
        n_folds=n_folds,
        n_random=n_random,
        n_null=n_null,
        seed=seed,
        applied=applied,
        lost=float(lost[0]),
        lost_ci=_ends(lost),
        kept=float(kept[0]),
        kept_ci=_ends(kept),
        refitted=refitted,
        ranks={name: _ranked(values, neurons, n_null, seed) for name, values in maps.items()},
    )


def _check(neurons: NeuronSet, base: NeuronActivity, child: NeuronActivity, n_random: int, n_null: int) -> None:
    if base.values.shape[1:] != child.values.shape[1:]:
        sizes = [" x ".join(map(str, its.values.shape[1:])) for its in (base, child)]
        raise InputError(
            f"the base has {sizes[0]} layers x neurons and the child {sizes[1]}, so their neurons do not correspond"
        )
    if base.ids != child.ids or base.labels.tolist() != child.labels.tolist() or base.groups != child.groups:
        raise InputError("base and child were not read on the same answers; read both on the same replies")
    if not len(neurons.positive):
        raise InputError("no neuron of the set has a weight above 0, so none foretells hallucination: use a larger C")
    if n_random < 1 or n_null < 1:
        raise InputError(f"{n_random} random sets and {n_null} null draws were asked for; at least 1 of each is needed")
    neurons.check(tuple(base.values.shape[1:]))


def _one_name(base: NeuronActivity, child: NeuronActivity) -> tuple[str, str]:
    return str(base.provenance.get("model", "base")), str(child.provenance.get("model", "child"))


def moved_weights(neurons: NeuronSet, shape: tuple[int, ...], n: int, seed: int) -> Int[np.ndarray, "n K"]:
    """Other neurons of the same layers, for every weight of the classifier."""
    rng = stream(seed, Stream.MOVED_NEURONS)
    found = np.empty((n, len(neurons)), dtype=np.int64)
    for layer in sorted(set(neurons.layer.tolist())):
        members = np.flatnonzero(neurons.layer == layer)
        free = np.setdiff1d(np.arange(shape[1]), neurons.neuron[members])
        if len(free) < len(members):
            raise InputError(
                f"{len(members)} of {shape[1]} neurons of layer {layer} are in the set, so no others can take their "
                "place"
            )
        for draw in range(n):
            found[draw, members] = rng.choice(free, len(members), replace=False)
    return found


def _decisions(activity: NeuronActivity, neurons: NeuronSet, moved: Int[np.ndarray, "n K"]) -> Float[np.ndarray, "n N"]:
    """Of the classifier with its weights at these neurons."""
    total = np.zeros((len(moved), len(activity.values)))
    for at, layer in enumerate(neurons.layer.tolist()):  # a neuron at a time: all at once would fill the memory
        total += neurons.weight[at] * activity.values[:, layer, torch.from_numpy(moved[:, at])].numpy().T
    return total


def _all_aurocs(decided: Float[np.ndarray, "D N"], labels: Int[np.ndarray, "P N"]) -> Float[np.ndarray, " n"]:
    """Of one decision under many labels, or many decisions under one: how often hallucinated answers have more."""
    from scipy import stats

    ranks: Float[np.ndarray, "D N"] = stats.rankdata(decided, axis=1)
    wrong = labels == 0
    n0 = wrong.sum(1)
    return ((ranks * wrong).sum(1) - n0 * (n0 + 1) / 2) / (n0 * (labels.shape[1] - n0))


def _refitted(
    neurons: NeuronSet,
    where: NeuronActivity,
    to: NeuronActivity,
    fold: Int[np.ndarray, " N"],
    weights: Float[np.ndarray, "B N"],
) -> Float[np.ndarray, " B"]:
    """AUROC, in held-out folds of one model, of a logistic regression on the set's neurons fitted in another's."""
    at = torch.from_numpy(neurons.layer), torch.from_numpy(neurons.neuron)
    fitted, applied = (its.values[:, at[0], at[1]].double().numpy() for its in (where, to))
    labels = where.labels.numpy()
    decided = np.empty(len(labels))
    for number in np.unique(fold):
        train, test = fold != number, fold == number
        decided[test] = refitted(fitted[train], labels[train], applied[test])
    return auroc(decided, labels, weights)


def _ranked(values: Map, neurons: NeuronSet, n_null: int, seed: int) -> Ranked:
    """Where the positive neurons stand among all, from 0 (the lowest) to 1."""
    from scipy import stats

    marked: Bool[np.ndarray, "L M"] = np.zeros(values.shape, dtype=bool)
    its = neurons.positive
    marked[its.layer, its.neuron] = True
    values = np.where(np.isnan(values), np.nanmedian(values), values)  # of neurons that a narrower layer lacks
    M = values.shape[1]
    overall = (stats.rankdata(values).reshape(values.shape) - 0.5) / values.size
    inside = (stats.rankdata(values, axis=1) - 0.5) / M
    if M * len(set(its.layer.tolist())) == len(its):
        raise InputError("all neurons of their layers are in the set, so there are none to rank them among")
    found = compare_top(inside, marked, n_permutations=n_null, seed=seed)
    # Against the rest; a set's own mean differs from the mean over all by so much less.
    rest = 1 - marked.sum() / marked.size
    low, high = (0.5 + rest * end for end in found.null)
    mean = float(inside[marked].mean())
    return Ranked(float(overall[marked].mean()), mean, (low, high), found.p_value)


def _null(draws: Float[np.ndarray, " n"]) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _p(own: float, draws: Float[np.ndarray, " n"] | Sequence[float]) -> float:
    """Share of draws, and of the given one itself, that do as well."""
    return float((1 + (np.asarray(draws) >= own).sum()) / (1 + len(draws)))


def _ends(draws: Float[np.ndarray, " B"]) -> tuple[float, float]:
    drawn = draws[1:][np.isfinite(draws[1:])]
    return _null(drawn) if len(drawn) else (float("nan"), float("nan"))
