"""What a harness is asked for in its own words (`pretrained=NAME,gate=FILE`): which model, which intervention."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

import torch

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.gates.rows import Intervention, read_intervention
from lens_truth.models.loading import Dtype, load
from lens_truth.models.spreading import is_spread
from lens_truth.scoring.scores import HeadScores

OF_GATES = ("gate", "scores", "lam", "norm", "site")
"""The arguments that say what is done to the model."""


def intervention_of(asked: Mapping[str, Any]) -> Intervention | None:
    """The gate or shift that arguments name: `gate`, a file or one in memory, or `scores` with `lam`, `norm`, `site`;
    None where they name none.

    Raises:
        InputError: if a file is missing or holds something else, or arguments do not go together.
    """
    gate, scores, lam = (asked.get(name) for name in ("gate", "scores", "lam"))
    if gate is not None and scores is not None:
        raise InputError("gate is a gate or a shift already; leave scores away")
    if (scores is None) != (lam is None):
        raise InputError("scores and lam belong together: which heads are amplified, and how much")
    if alone := [name for name in ("norm", "site") if asked.get(name) is not None and scores is None]:
        raise InputError(f"{alone[0]} goes with scores and lam, of which a gate is made")
    if isinstance(gate, Intervention):
        return gate
    if gate is not None:
        return read_intervention(Path(str(gate)).expanduser())
    if scores is None:
        return None
    if isinstance(lam, bool) or not isinstance(lam, int | float):
        raise InputError(f"lam is '{lam}'; it must be a number")
    its = scores if isinstance(scores, HeadScores) else HeadScores.load(Path(str(scores)).expanduser())
    return HeadGate.from_scores(its, float(lam), asked.get("norm") or "center", site=asked.get("site") or "z")


def check_arguments(asked: Mapping[str, Any], known: Collection[str], harness: str) -> None:
    """Raises an InputError if there is an argument that the model of a harness does not have."""
    if unknown := sorted(set(asked) - set(known)):
        raise InputError(
            f"{harness}'s model lens_truth has no argument '{unknown[0]}'; it has {', '.join(sorted(known))}"
        )


def check_by_name(asked: Mapping[str, Any]) -> None:
    """Raises an InputError if something is asked that is settled when a model is loaded by its name."""
    if given := [name for name, its in asked.items() if its not in (None, False)]:
        raise InputError(f"{given[0]} is for a model that is loaded by its name; this one is hooked already")


def loaded(model: Any, device: str, dtype: Any, *, trust_remote_code: Any = False, attn: Any = None) -> Any:
    """The hooked model of a name, or one that is hooked already, which stays where it is.

    Raises:
        InputError: if it cannot be loaded, or there is no such number format.
    """
    if not isinstance(model, str | Path):
        return model
    called = str(dtype).removeprefix("torch.") if dtype is not None else "auto"
    if called not in get_args(Dtype):
        raise InputError(f"dtype '{called}' is not one of {', '.join(get_args(Dtype))}")
    return load(
        model,
        device=device,
        dtype=called,  # pyright: ignore[reportArgumentType] (it is one of them)
        attn=attn,
        trust_remote_code=bool(trust_remote_code),
    )


def device_or_default(device: Any) -> str:
    """A device, or where none is named the first GPU, or the CPU where there is none."""
    if device is not None:
        return str(device)
    return "cuda" if torch.cuda.is_available() else "cpu"


def spreads(device: Any, parallelize: Any) -> bool:
    """Whether the model is to be spread over all devices: as we say it, or as lm-eval does."""
    return bool(parallelize) or (device is not None and is_spread(device))
