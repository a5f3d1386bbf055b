"""How much of what heads do to a model's answers passes through given neurons?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.data.examples import Example, question_pairs
from lens_truth.detection.metrics import drawn_weights
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.shift import HeadShift
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream
from lens_truth.models.budget import Budget, within_budget
from lens_truth.models.hooks import Hooked, inner_model, name_of
from lens_truth.models.neurons import mlps
from lens_truth.models.prefixes import Family
from lens_truth.models.prompts import Template
from lens_truth.models.sharing import Begun, Sharing
from lens_truth.neurons.mediation_result import Mediation, Passing
from lens_truth.neurons.neuron_set import NeuronSet, random_set
from lens_truth.scoring.causal import batch_log_probs, encode_answers

_BOOTSTRAP = 2000
_ALL = "all neurons"


@stage("mediation")
def neuron_mediation(
    model: Hooked,
    examples: Sequence[Example],
    heads: HeadGate | HeadShift,
    neurons: NeuronSet,
    *,
    n_random: int = 4,
    n_layer_matched: int = 4,
    template: Template = "plain",
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Mediation:
    """The share of heads' effect on the answer margin that passes through neurons (causal mediation; Vig et al. 2020,
    arXiv 2004.12265).

    The total effect is what a gate (or a shift) of heads adds to the margin: the log-probability of the right answer
    less that of the hallucinated one. *Frozen*: the heads are gated, but the neurons have their activations
    without the gate; what is lost of the total effect passes through them. *Alone*: no head is gated, but the neurons
    have the activations that they have under the gate; what this adds to the margin passes through them without any
    help. Activations are exchanged at every position of prompt and answer. Where both shares differ, paths act
    together.

    >>> gate = lens_truth.HeadGate(torch.where(scores > .9, 0.0, 1.0))  # without the heads with high scores
    >>> lens_truth.neuron_mediation(model, examples, gate, neurons.positive).verdicts()

    Args:
        examples: with a right and a hallucinated answer to each question, in several groups.
        heads: what is done to heads; of other rows than these if it was chosen by data.
        n_random: random sets of as many neurons; at least 1.
        n_layer_matched: the same with as many neurons of each layer; at least 1.

    Raises:
        InputError: if no question has answers of both labels, heads or neurons are not the model's, heads are left as
            they are, or a control is left out.
    """
    if n_random < 1 or n_layer_matched < 1:
        raise InputError(
            f"{n_random} random and {n_layer_matched} layer-matched sets were asked for; at least 1 of each is needed"
        )
    heads.check(model)
    if heads.acts is None:
        raise InputError("the gate leaves all heads as they are, so it has no effect that could pass through neurons")
    found = mlps(inner_model(model))
    shape = len(found), max(mlp.width for mlp in found)
    neurons.check(shape)
    sets: dict[str, NeuronSet | None] = {"neurons": neurons}
    sets |= {f"random {draw}": random_set(neurons, shape, seed + draw) for draw in range(n_random)}
    for draw in range(n_layer_matched):
        sets[f"layer-matched {draw}"] = random_set(neurons, shape, seed + draw, layer_matched=True)
    sets[_ALL] = None
    pairs = question_pairs(examples)
    rows = sorted({row for pair in pairs for side in pair for row in side})
    shown = encode_answers(model, [examples[row] for row in rows], template)
    passes = _Passes(model, heads, {name: _by_layer(its) for name, its in sets.items()}, [m.layer for m in found])
    order = sorted(range(len(rows)), key=lambda at: -len(shown[at].ids))
    log_probs = np.empty((2 + 2 * len(sets), len(rows)))

    def run(some: Sequence[int]) -> Float[np.ndarray, "R B"]:
        its = [shown[at] for at in some]
        found = np.empty((len(log_probs), len(its)))
        families = [Family((row,), 0) for row in range(len(its))]
        with torch.no_grad():
            for batch in Sharing(model, [row.shown for row in its]).batches(families, [""], len(its)):
                at = [row for _, row in batch.at]
                found[:, at] = passes.of(batch, [its[row] for row in at])
        return found

    with bar(None, "mediation", sum(len(row.ids) for row in shown), shown=progress) as done:
        budget = Budget.of(model, batch_size, backward=True)
        for some, its in within_budget(order, lambda at, _: len(shown[at].ids), budget, run):
            log_probs[:, list(some)] = its
            done.update(sum(len(shown[at].ids) for at in some))
    margins = _margins(log_probs, pairs, {row: at for at, row in enumerate(rows)})
    groups = [examples[right[0]].group for right, _ in pairs]
    return _told(model, heads, neurons, list(sets), margins, groups, seed)


def _by_layer(neurons: NeuronSet | None) -> dict[int, Int[Tensor, " k"]] | None:
    """The neurons of each layer; None for all."""
    if neurons is None:
        return None
    return {
        layer: torch.from_numpy(neurons.neuron[neurons.layer == layer]) for layer in sorted(set(neurons.layer.tolist()))
    }


@dataclass
class _Passes:
    """A batch under every combination of gated heads and exchanged neurons."""

    model: Any
    heads: HeadGate | HeadShift
    sets: Mapping[str, Mapping[int, Int[Tensor, " k"]] | None]
    layers: Sequence[int]
    used: dict[int, Int[Tensor, " k"]] = field(default_factory=dict[int, "Tensor"])

    def __post_init__(self) -> None:
        """Which neurons of each layer are in any set: only these are kept."""
        for its in self.sets.values():
            for layer, members in (its or {}).items():
                known = self.used.get(layer, members[:0])
                self.used[layer] = torch.unique(torch.cat([known, members]))

    def of(self, batch: Begun, encoded: Sequence[Any]) -> Float[np.ndarray, "R B"]:
        """Log-probabilities of answers: as they are, gated, and for each set frozen and alone."""
        plain, before = self._seen(batch, encoded, gated=False)
        gated, under = self._seen(batch, encoded, gated=True)
        found = [plain, gated]
        for its in self.sets.values():
            found.append(self._exchanged(batch, encoded, its, before, gated=True))
            found.append(self._exchanged(batch, encoded, its, under, gated=False))
        return torch.stack(found).double().cpu().numpy()

    def _seen(self, batch: Begun, encoded: Sequence[Any], *, gated: bool) -> tuple[Tensor, dict[str, Tensor]]:
        seen: dict[str, Tensor] = {}

        def keep(name: str, columns: Int[Tensor, " k"] | None) -> Any:
            def hook(value: Tensor, hook: Any) -> None:
                seen[name] = value.clone() if columns is None else value[..., columns.to(value.device)]

            return hook

        hooks: list[Any] = [(_post(layer), keep(_post(layer), columns)) for layer, columns in self.used.items()]
        # What all neurons of a layer write together is as much as all of them, and narrower.
        hooks += [(_out(layer), keep(_out(layer), None)) for layer in self.layers]
        return self._run(batch, encoded, hooks, gated=gated), seen

    def _exchanged(
        self,
        batch: Begun,
        encoded: Sequence[Any],
        neurons: Mapping[int, Int[Tensor, " k"]] | None,
        other: Mapping[str, Tensor],
        *,
        gated: bool,
    ) -> Tensor:
        """With the neurons of another pass."""
        if neurons is None:
            hooks: list[Any] = [(_out(layer), _whole(other[_out(layer)])) for layer in self.layers]
        else:
            hooks = []
            for layer, members in neurons.items():
                columns = torch.searchsorted(self.used[layer], members)
                given = other[_post(layer)]
                hooks.append((_post(layer), _columns(members.to(given.device), given[..., columns.to(given.device)])))
        return self._run(batch, encoded, hooks, gated=gated)

    def _run(self, batch: Begun, encoded: Sequence[Any], hooks: list[Any], *, gated: bool) -> Tensor:
        with ExitStack() as open_:
            if gated:
                open_.enter_context(self.heads.attach(self.model))
            open_.enter_context(self.model.hooks(fwd_hooks=hooks))
            return batch_log_probs(self.model, batch, list(encoded))


def _post(layer: int) -> str:
    return f"blocks.{layer}.mlp.hook_post"


def _out(layer: int) -> str:
    return f"blocks.{layer}.hook_mlp_out"


def _whole(other: Tensor) -> Any:
    def hook(value: Tensor, hook: Any) -> Tensor:
        return other

    return hook


def _columns(members: Int[Tensor, " k"], other: Float[Tensor, "B T k"]) -> Any:
    def hook(value: Tensor, hook: Any) -> Tensor:
        return value.index_copy(-1, members.to(value.device), other.to(value))

    return hook


def _margins(
    log_probs: Float[np.ndarray, "R N"], pairs: Sequence[tuple[list[int], list[int]]], at: Mapping[int, int]
) -> Float[np.ndarray, "R Q"]:
    """The mean over right answers less the mean over hallucinated ones, of every question."""
    return np.stack(
        [
            log_probs[:, [at[row] for row in right]].mean(1) - log_probs[:, [at[row] for row in wrong]].mean(1)
            for right, wrong in pairs
        ],
        axis=1,
    )


def _told(
    model: Hooked,
    heads: HeadGate | HeadShift,
    neurons: NeuronSet,
    names: Sequence[str],
    margins: Float[np.ndarray, "R Q"],
    groups: Sequence[str],
    seed: int,
) -> Mediation:
    plain, gated, rest = margins[0], margins[1], margins[2:]
    drawn = drawn_weights(groups, _BOOTSTRAP, seed, Stream.MEDIATION_INTERVALS)
    weights = np.concatenate([np.ones((1, len(groups))), drawn])
    weights /= weights.sum(1, keepdims=True)
    total = weights @ (gated - plain)
    passing: dict[str, Passing] = {}
    for at, name in enumerate(names):
        frozen, alone = rest[2 * at], rest[2 * at + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            lost, added = weights @ (gated - frozen) / total, weights @ (alone - plain) / total
        passing[name] = Passing(float(lost[0]), _ends(lost), float(added[0]), _ends(added))
    return Mediation(
        model=name_of(model),
        heads=_described(heads),
        n_neurons=len(neurons),
        n_questions=len(groups),
        n_groups=len(set(groups)),
        seed=seed,
        margin=float(plain.mean()),
        total=float(total[0]),
        total_ci=_ends(total),
        passing=passing,
    )


def _described(heads: HeadGate | HeadShift) -> str:
    if isinstance(heads, HeadShift):
        return "a shift of heads"
    values = heads.values
    changed, removed = int((values != 1).sum()), int((values == 0).sum())
    return f"{removed} heads removed" if changed == removed else f"{changed} heads gated"


def _ends(draws: Float[np.ndarray, " B"]) -> tuple[float, float]:
    low, high = np.nanquantile(draws[1:], [0.025, 0.975])
    return float(low), float(high)
