"""What `ablate` makes gates and shifts from: scores and probes, computed or from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.run import KINDS, scores_by_kind
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.ablation.arms import Source
    from lens_truth.commands.ablate import Config

SHIFTS: dict[str, tuple[Literal["z", "resid_post"], bool]] = {
    "iti": ("z", False),
    "mass-mean": ("z", True),
    "residual": ("resid_post", False),
}
"""Shifts by name: where they act, and whether along the difference of class means instead of the probe's direction."""

_RESIDUAL = "residual-scores"
"""What gates by residual scores are called, since `residual` is a shift of the residual stream."""

GATED = {kind if kind not in SHIFTS else _RESIDUAL: kind for kind in KINDS}
"""Kinds of scores by the names of their gates."""


def check_lam(lam: float | None) -> None:
    """Raises an InputError for a lambda beside a shift."""
    if lam is not None:
        raise InputError("--lam is for gates; how far a shift goes, and on how many heads, is chosen on validation")


def sources_of(
    kinds: Sequence[str], model: Any, examples: Sequence[lens_truth.Example], config: Config
) -> dict[str, Source]:
    """Scores and directions by kind, computed on some rows."""
    from lens_truth.models.placing import device_of
    from lens_truth.scoring.capturing import captures

    found: dict[str, Source] = {}
    for kind in [kind for kind in kinds if kind in GATED]:
        made = scores_by_kind(GATED[kind], model, examples, config, config.scoring)
        found[kind] = replace(made, provenance={**made.provenance, "data": short_name(config.data)})
    shifts = {kind: SHIFTS[kind] for kind in kinds if kind in SHIFTS}
    points: dict[Literal["z", "resid_post"], Path | None] = {point: None for point, _ in shifts.values()}
    if points:
        seen = captures(model, examples, points, template=config.scoring, batch_size=config.batch_size)
        fits = {
            point: lens_truth.HeadProbes.fit(its, seed=config.seed, device=device_of(model))
            for point, its in seen.items()
        }
        for kind, (point, means) in shifts.items():
            found[kind] = lens_truth.truth_directions(fits[point], seen[point]) if means else fits[point]
    return {kind: found[kind] for kind in kinds}


def from_file(path: str, model: Any, groups: Sequence[str], config: Config) -> tuple[str, Source]:
    """Scores with their kind, or probes, which must be fitted on other groups than those that are asked."""
    if not _holds_probes(path):
        scores = lens_truth.HeadScores.load(path)
        return (_RESIDUAL if scores.kind in SHIFTS else scores.kind), scores
    probes = lens_truth.HeadProbes.load(path)
    check_lam(config.lam)
    probes.check(model, config.scoring)
    if n := sum(probes.seen(sorted(set(groups)))):
        raise InputError(
            f"{path}: the probes were fitted on {n} of the {len(set(groups))} groups of questions that choose or "
            "judge; fit them on others, or have ablate do it (--scores iti)"
        )
    return ("iti" if probes.point == "z" else "residual"), probes


def _holds_probes(path: str) -> bool:
    from lens_truth.scoring.score_files import tensors_in

    try:
        return path.endswith(".safetensors") and "directions" in tensors_in(Path(path))
    except InputError:  # which the reader of scores says in its own way
        return False
