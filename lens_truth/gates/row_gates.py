"""Several gates in one batch: every row has a gate of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate

Gates = Mapping[str, HeadGate | None]
"""Gates by name; None leaves the model as it is."""
UNGATED: Gates = {"": None}


def attach_rows(model: Any, gates: Sequence[HeadGate | None]) -> AbstractContextManager[Any]:
    """While open, row b of a batch runs under gates[b]; where all are None, nothing is attached.

    Raises:
        InputError: if gates act at different sites, or one does not fit the model.
    """
    acting = [gate for gate in gates if gate is not None]
    if not acting:
        return nullcontext()
    if len({gate.site for gate in acting}) > 1:
        raise InputError("gates at different sites cannot run in one batch")
    ones = torch.ones(model.cfg.n_layers, model.cfg.n_heads)
    values = [ones if gate is None else gate.values for gate in gates]
    if len({tuple(v.shape) for v in values}) > 1:
        wrong = next(v.shape for v in values if v.shape != ones.shape)
        raise InputError(f"a gate has shape {tuple(wrong)}, the model {ones.shape[0]} layers x {ones.shape[1]} heads")
    return HeadGate(torch.stack(values), acting[0].site).attach(model)
