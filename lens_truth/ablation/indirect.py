"""Does steering along a base's directions of truth move the model tuned from it as the model's own directions do? The
normalised indirect effect, either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.ablation.indirect_result import Effect, Indirect, Push
from lens_truth.ablation.steering import SHARES, random_directions
from lens_truth.data.examples import Example, labels_of, split_groups
from lens_truth.detection.metrics import auroc, drawn_weights
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.benchmark import benchmark_of
from lens_truth.gates.rows import UNGATED, Gates
from lens_truth.gates.shift import HeadShift
from lens_truth.geometry.tuned_result import WAYS
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream
from lens_truth.models.hooks import Hooked
from lens_truth.models.prompts import Template, default_template
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.directions import TruthDirections, truth_directions
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.label_draws import ClosedFormKind

_BOOTSTRAP = 2000
_FOLDS = 5
"""Of the probes by which heads are chosen."""
_SIDES = {"towards truth": 1, "away from truth": -1}
Heads = tuple[tuple[int, int], ...]


@stage("steering")
def indirect_effects(
    models: tuple[Hooked, Hooked],
    activations: tuple[HeadActivations, HeadActivations],
    examples: Sequence[Example],
    *,
    estimator: ClosedFormKind = "ridge",
    n_random: int = 20,
    template: Template | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Indirect:
    """Each of two models of one shape is steered along the other's directions of truth while it judges whether answers
    are hallucinated (normalised indirect effect, Marks and Tegmark 2023, arXiv 2310.06824; from base to tuned model Du
    et al. 2025, arXiv 2504.02904).

    Directions are differences of class means over half of the groups, on the heads (ITI's share of them) or the layer
    whose probes are best there in the model that the directions are of; they are as long as the steered model's own in
    each head, so that directions alone are compared, and act at every position. The other half is judged: hallucinated
    answers while the model is pushed towards truth, supported ones while it is pushed away. An effect is the change of
    the log-odds of no against yes, as a share of how far supported and hallucinated answers lie apart without a push.

    >>> models = lens_truth.load("zoo:llama-base"), lens_truth.load("zoo:llama-chat")
    >>> seen = tuple(lens_truth.capture(model, examples) for model in models)
    >>> lens_truth.indirect_effects(models, seen, examples).ways["base to tuned"].pushes["towards truth"].given

    Args:
        models: base and tuned model.
        activations: of both on `examples`, in their order.
        examples: of both labels, in at least ten groups.
        n_random: random directions as long, on the same heads; at least one.
        template: in which answers are judged; by default a model's chat template, if it has one.

    Raises:
        InputError: if the activations are not of these examples or of one shape and point, a half of the groups has one
            label or is too small, no random direction is asked for, or the tokenizer begins yes and no with one token.
    """
    _check(models, activations, examples)
    if n_random < 1:
        raise InputError(f"{n_random} random directions were asked for; at least 1 is needed")
    fitted, judged = steered_halves(examples, seed)
    halves = [_only(its, {row.id for row in fitted}) for its in activations]
    probes = [HeadProbes.fit(its, estimator=estimator, n_folds=_FOLDS, seed=seed) for its in halves]
    means = [truth_directions(own, its) for own, its in zip(probes, halves, strict=True)]
    lengths = [_lengths(its) for its in halves]
    n, rows = max(1, round(SHARES[0] * means[0].accuracy.numel())), _Judged.of(judged, seed)
    ways: dict[str, Effect] = {}
    for source, name in enumerate(WAYS):
        target = 1 - source
        asked = template or default_template(models[target].tokenizer)
        asker = Asker(models[target], asked, batch_size=batch_size, progress=progress)
        heads, own_heads = means[source].best(n), means[target].best(n)
        before = rows.said_by(asker, name)[""]
        gap, pushes = rows.mean(before, 1) - rows.mean(before, 0), dict[str, Push]()
        if _ends(gap)[0] > 0:
            shifts = _shifts(means[source], means[target], lengths[target], (heads, own_heads), n_random, seed)
            moved = {its: after - before for its, after in rows.said_by(asker, name, shifts).items()}
            pushes = {side: _push(side, moved, rows, gap, n_random) for side in _SIDES}
        told = auroc(before, rows.labels, np.ones((1, len(before))))
        ways[name] = Effect(heads, own_heads, float(told[0]), float(gap[0]), _ends(gap), pushes)
    return Indirect(
        names=(str(halves[0].provenance.get("model", "base")), str(halves[1].provenance.get("model", "tuned"))),
        point=halves[0].point,
        estimator=estimator,
        n_fitted=len(fitted),
        n_judged=len(judged),
        n_groups=len({row.group for row in judged}),
        n_random=n_random,
        seed=seed,
        ways=ways,
    )


def steered_halves(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Rows that directions are from and rows that are judged; no group is in both.

    >>> fitted, judged = steered_halves(examples, seed=0)

    Raises:
        InputError: if the first are of fewer groups than their probes have folds, or either are of one label.
    """
    fitted, judged = split_groups(list(examples), (0.5, 0.5), seed)
    if (n := len({row.group for row in fitted})) < _FOLDS:
        raise InputError(
            f"half of the groups gives directions, and that is {n}; their probes need {_FOLDS}, so give at least "
            f"{2 * _FOLDS} groups"
        )
    if alone := [rows for rows in (fitted, judged) if len({*labels_of(rows)}) < 2]:
        raise InputError(
            f"half of the groups holds rows of one label only ({len(alone[0])}); directions and judgements need both"
        )
    return fitted, judged


def _check(
    models: tuple[Hooked, Hooked], activations: tuple[HeadActivations, HeadActivations], examples: Sequence[Example]
) -> None:
    base, tuned = activations
    for its in activations:
        if its.ids != tuple(row.id for row in examples) or its.labels.tolist() != labels_of(examples):
            raise InputError("the activations are not of the examples that are to be judged; capture them anew")
    if base.z.shape != tuned.z.shape or base.point != tuned.point:
        raise InputError("base and tuned model were not read at one point of heads of one shape")
    if n := sum(not Asker(model, "plain").has_margins for model in models):
        which = "both models" if n == 2 else "one of the two models"
        raise InputError(f"the tokenizer of {which} begins yes and no with the same token, so no judgement is measured")


def _only(activations: HeadActivations, ids: set[str]) -> HeadActivations:
    """The rows of these examples."""
    rows = [i for i, its in enumerate(activations.ids) if its in ids]
    groups, kept = (tuple(its[i] for i in rows) for its in (activations.groups, activations.ids))
    return replace(activations, z=activations.z[rows], labels=activations.labels[rows], groups=groups, ids=kept)


def _lengths(activations: HeadActivations) -> Float[Tensor, "L H"]:
    """Of every head's difference of class means."""
    supported = activations.labels.bool()
    apart = [
        z[supported].double().mean(0) - z[~supported].double().mean(0)
        for z in (activations.z[:, layer] for layer in range(activations.z.shape[1]))
    ]
    return cast("Tensor", torch.stack(apart).norm(dim=-1)).float()


def _shifts(
    given: TruthDirections,
    own: TruthDirections,
    lengths: Float[Tensor, "L H"],
    heads: tuple[Heads, Heads],
    n_random: int,
    seed: int,
) -> dict[str, HeadShift]:
    """Either way along the given directions, the model's own and random ones on the heads of the given ones; and along
    its own on its own."""
    along = {"given": (given, heads[0]), "turned": (own, heads[0]), "own": (own, heads[1])}
    along |= {str(draw): (random_directions(own, 1000 * seed + draw), heads[0]) for draw in range(n_random)}
    shifts: dict[str, HeadShift] = {}
    for side, sign in _SIDES.items():
        for name, (directions, chosen) in along.items():
            vectors = torch.zeros_like(directions.directions)
            for layer, head in chosen:
                vectors[layer, head] = sign * lengths[layer, head] * directions.directions[layer, head]
            shifts[f"{side}: {name}"] = HeadShift(vectors, directions.point)
    return shifts


@dataclass(frozen=True, eq=False)
class _Judged:
    """Answers that are judged, and how often each counts: once, and with their groups drawn with replacement."""

    examples: Sequence[Example]
    labels: Int[np.ndarray, " N"]
    weights: Float[np.ndarray, "P1 N"]

    @classmethod
    def of(cls, examples: Sequence[Example], seed: int) -> _Judged:
        groups = [row.group for row in examples]
        drawn = drawn_weights(groups, _BOOTSTRAP, seed, Stream.STEERED_JUDGEMENTS)
        weights = np.concatenate([np.ones((1, len(groups))), drawn])
        return cls(examples, np.array(labels_of(examples)), weights)

    def said_by(self, asker: Asker, name: str, shifts: Gates = UNGATED) -> dict[str, Float[np.ndarray, " N"]]:
        """Log-odds of no against yes (is it hallucinated?) of every answer, under every shift."""
        answers = asker.ask(benchmark_of(name, "judge", self.examples, n_new=1), shifts, margins=True)
        return {its: -np.array([one.margin for one in given], dtype=float) for its, given in answers.items()}

    def mean(self, values: Float[np.ndarray, " N"], label: int) -> Float[np.ndarray, " P1"]:
        """Over the answers of one label."""
        its = self.weights * (self.labels == label)
        with np.errstate(invalid="ignore"):
            return (its @ values) / its.sum(1)


def _push(
    side: str, moved: Mapping[str, Float[np.ndarray, " N"]], rows: _Judged, gap: Float[np.ndarray, " P1"], n_random: int
) -> Push:
    """Hallucinated answers are pushed towards truth, supported ones away from it."""
    sign = _SIDES[side]

    def effect(name: str) -> Float[np.ndarray, " P1"]:
        return sign * rows.mean(moved[f"{side}: {name}"], int(sign < 0)) / gap

    given, turned, own = (effect(name) for name in ("given", "turned", "own"))
    random = tuple(float(effect(str(draw))[0]) for draw in range(n_random))
    kept = given / turned if turned[0] > max(random) else np.full_like(gap, np.nan)
    return Push(
        given=float(given[0]),
        given_ci=_ends(given),
        turned=float(turned[0]),
        turned_ci=_ends(turned),
        own=float(own[0]),
        own_ci=_ends(own),
        kept=float(kept[0]),
        kept_ci=_ends(kept) if np.isfinite(kept[0]) else (np.nan, np.nan),
        random=random,
        p=(1 + sum(its >= given[0] for its in random)) / (1 + n_random),
    )


def _ends(columns: Float[np.ndarray, " P1"]) -> tuple[float, float]:
    low, high = np.nanquantile(columns[1:], [0.025, 0.975])
    return float(low), float(high)
