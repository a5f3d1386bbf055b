"""Truth scores over the checkpoints of a training, and whether they come before or after what the model does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from lens_truth.errors import InputError
from lens_truth.geometry.change_point import Shape, change_points, check_steps
from lens_truth.geometry.series_result import Change, Series
from lens_truth.io.numbers import count
from lens_truth.io.stages import bar, stage
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.head_probes import HeadProbes
from lens_truth.scoring.metrics import fold_metrics
from lens_truth.scoring.probing import Estimator, held_out_decisions
from lens_truth.stats.bootstrap import group_sums


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is read of one checkpoint.

    >>> lens_truth.Checkpoint(200, lens_truth.capture(model, examples), marks, groups)
    """

    step: int
    activations: HeadActivations
    marks: Float[np.ndarray, " Q"]
    """What the model does: 1 for each question that it gets right."""
    groups: tuple[str, ...]
    """Of every question; those of the activations' rows, where rows and questions hang together."""


@stage("series")
def series(
    checkpoints: Sequence[Callable[[], Checkpoint]],
    *,
    estimator: Estimator = "ridge",
    shape: Shape = "break",
    n_folds: int = 5,
    n_draws: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> Series:
    """Scores and behaviour at every checkpoint, each with a change point.

    The curves: `best head` (out-of-fold accuracy; the head is picked for each fold on the others), `mean head`, `AUROC`
    (of the best head), `cosine` (of the direction of the head that is best at the end with the final one; no interval,
    and it ends at 1 by definition), `behaviour`. Intervals: groups drawn with replacement, the same in all curves, so
    that a difference of change points has one too; probes are not fitted anew. Whether there is a change point is asked
    against the same curve with its checkpoints in random order; a slow rise differs from that as a break does.

    >>> result = lens_truth.series([lambda: read("step-0"), lambda: read("step-100"), ...])

    Args:
        checkpoints: in the order of their steps; each is read when its turn comes, one model at a time.

    Raises:
        InputError: if there are fewer than 4, their steps do not rise, or their shapes, rows or questions differ; and
            for fewer than 2 draws.
    """
    if n_draws < 2:
        raise InputError(f"{n_draws} draws were asked for; an interval needs at least 2")
    steps: list[int] = []
    curves: list[dict[str, float]] = []
    right: list[dict[str, Float[np.ndarray, " N"]]] = []
    directions: list[torch.Tensor] = []
    first: Checkpoint | None = None
    best = 0
    for read in bar(checkpoints, "checkpoints", shown=progress):
        its = read()
        first = first or its
        _check_same(first, its)
        steps.append(its.step)
        check_steps(np.array(steps[-2:]))
        decisions, fold = held_out_decisions(its.activations, estimator=estimator, n_folds=n_folds, seed=seed)
        labels = its.activations.labels.numpy()
        marks = (decisions > 0) == (labels == 1)[:, None, None]
        flat = marks.reshape(len(marks), -1)
        auroc = fold_metrics(torch.from_numpy(decisions).flatten(1), labels, fold)["auroc"]
        picked = np.array([flat[fold != k].mean(0).argmax() for k in range(n_folds)])
        right.append(
            {
                "best head": flat[np.arange(len(flat)), picked[fold]].astype(float),
                "mean head": flat.mean(1),
                "behaviour": np.asarray(its.marks, dtype=float),
            }
        )
        curves.append({"AUROC": float(np.nanmean([auroc[k, head] for k, head in enumerate(picked)]))})
        best = int(flat.mean(0).argmax())
        probes = HeadProbes.fit(its.activations, estimator=estimator, n_folds=n_folds, seed=seed)
        directions.append(probes.directions.flatten(0, 1))
    if first is None:
        raise InputError("there are no checkpoints")
    at = np.array(steps)
    values = {
        **{name: np.array([marks[name].mean() for marks in right]) for name in right[0]},
        "AUROC": np.array([its["AUROC"] for its in curves]),
        "cosine": torch.cosine_similarity(torch.stack(directions)[:, best], directions[-1][best], dim=-1).numpy(),
    }
    stacked = {name: np.stack([marks[name] for marks in right]) for name in right[0]}
    drawn = _drawn(stacked, first, n_draws, seed)
    H = first.activations.z.shape[2]
    found = change_points(at, np.stack([*values.values()]), shape)
    changes = {
        name: _change(at, values[name], drawn.get(name), shape, n_draws, (seed, i), float(found.at[i]))
        for i, name in enumerate(values)
    }
    return Series(
        model=str(first.activations.provenance.get("model", "")),
        point=first.activations.point,
        estimator=estimator,
        shape=shape,
        n_rows=len(first.activations.labels),
        n_questions=len(first.marks),
        n_groups=len({*first.activations.groups}),
        seed=seed,
        head=(best // H, best % H),
        steps=tuple(steps),
        curves={name: values[name].astype(float) for name in values},
        intervals={name: np.quantile(its, [0.025, 0.975], axis=0).T for name, its in drawn.items()},
        changes=changes,
        lead=_lead(at, drawn, shape, changes),
    )


def _check_same(first: Checkpoint, its: Checkpoint) -> None:
    one, other = (which.activations.z.shape[1:] for which in (first, its))
    if one != other:
        here, there = (" x ".join(map(str, shape)) for shape in (other, one))
        raise InputError(
            f"the checkpoint of step {its.step} has {here} activations a row, that of step {first.step} {there}"
        )
    if (first.activations.ids, first.groups) != (its.activations.ids, its.groups):
        raise InputError(f"the checkpoint of step {its.step} was read on other rows than that of step {first.step}")
    if len(its.marks) != len(its.groups):
        raise InputError(f"step {its.step} has {len(its.marks)} marks for {count(len(its.groups), 'question')}")


def _drawn(
    stacked: dict[str, Float[np.ndarray, "T N"]], first: Checkpoint, n_draws: int, seed: int
) -> dict[str, Float[np.ndarray, "P T"]]:
    """Every curve with groups drawn with replacement: those of rows and of questions together, where they are one."""
    names = sorted({*first.activations.groups, *first.groups})
    drawn = stream(seed, Stream.SERIES).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)
    found: dict[str, Float[np.ndarray, "P T"]] = {}
    for name, marks in stacked.items():
        groups = first.groups if name == "behaviour" else first.activations.groups
        its = drawn[:, np.searchsorted(names, np.unique(np.asarray(groups)))].astype(float)
        mass = its @ group_sums(np.ones(len(groups)), groups)
        found[name] = its @ group_sums(marks.T, groups) / np.where(mass > 0, mass, np.nan)[:, None]
    kept = np.all([np.isfinite(its).all(1) for its in found.values()], axis=0)
    return {name: its[kept] for name, its in found.items()}


def _change(
    steps: Int[np.ndarray, " T"],
    curve: Float[np.ndarray, " T"],
    drawn: Float[np.ndarray, "P T"] | None,
    shape: Shape,
    n_draws: int,
    seed: tuple[int, int],
    at: float,
) -> Change:
    rng = stream(seed[0], Stream.SERIES, 1, seed[1])
    shuffled = rng.permuted(np.tile(curve, (n_draws, 1)), axis=1)
    explained = float(change_points(steps, curve[None], shape).explained[0])
    null = change_points(steps, shuffled, shape).explained
    ends = float("nan"), float("nan")
    if drawn is not None:
        low, high = np.quantile(change_points(steps, drawn, shape).at, [0.025, 0.975])
        ends = float(low), float(high)
    p = float((1 + (null >= explained - 1e-9).sum()) / (1 + n_draws))
    return Change(at=at, at_ci=ends, explained=explained, p_value=p)


def _lead(
    steps: Int[np.ndarray, " T"],
    drawn: dict[str, Float[np.ndarray, "P T"]],
    shape: Shape,
    changes: dict[str, Change],
) -> dict[str, tuple[float, float, float]]:
    """Change point of each score less that of the behaviour, and its interval: below 0 the score comes first."""
    of = change_points(steps, drawn["behaviour"], shape).at
    found: dict[str, tuple[float, float, float]] = {}
    for name in ("best head", "mean head"):
        apart = change_points(steps, drawn[name], shape).at - of
        low, high = np.quantile(apart, [0.025, 0.975])
        found[name] = changes[name].at - changes["behaviour"].at, float(low), float(high)
    return found
