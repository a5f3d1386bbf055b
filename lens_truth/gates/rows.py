"""What can be done to a model's heads and neurons while it runs, by name; and several of it in one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import torch

from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate, Site
from lens_truth.gates.neuron_gate import NeuronGate
from lens_truth.gates.shift import HeadShift
from lens_truth.models.hooks import grid_of
from lens_truth.scoring.activations import Point
from lens_truth.scoring.score_files import tensors_in

Intervention = HeadGate | HeadShift | NeuronGate
"""Heads are scaled, or something is added to what they write; or neurons are scaled."""
Gates = Mapping[str, Intervention | None]
"""Interventions by name; None leaves the model as it is."""
UNGATED: Gates = {"": None}


def distinct(gates: Gates, model: Any) -> tuple[dict[str, str], Gates]:
    """For each name the first one whose intervention does the same to the model, and the interventions of these names;
    a gate of ones does what none does, as a shift of zeros does, and is None there. An InputError refuses those of
    another model's shape."""
    first: dict[tuple[str, bytes] | None, str] = {}
    names: dict[str, str] = {}
    for name, gate in gates.items():
        if gate is not None:  # also one that will not be attached
            gate.check(model)
        names[name] = first.setdefault(_does(gate), name)
    return names, {name: None if does is None else gates[name] for does, name in first.items()}


def _does(gate: Intervention | None) -> tuple[str, bytes] | None:
    """What tells interventions apart; None of one that does nothing."""
    if gate is None or (acts := gate.acts) is None:
        return None
    where, values = acts
    return where, values.detach().cpu().double().numpy().tobytes()


def attach_rows(model: Any, gates: Sequence[Intervention | None]) -> AbstractContextManager[Any]:
    """While open, row b of a batch runs under gates[b]; where all are None, nothing is attached.

    An InputError refuses those that do not fit the model.
    """
    attached = ExitStack()
    with attached:  # which takes off what was attached, if one of several is refused
        for whole in (*_scaling(model, gates), *_shifting(model, gates), *_scaling_neurons(model, gates)):
            attached.enter_context(whole.attach(model))
        return attached.pop_all()


def _scaling(model: Any, gates: Sequence[Intervention | None]) -> Iterable[HeadGate]:
    """For each site at which rows are gated, the gates of all rows: ones where a row has none."""
    its = [gate for gate in gates if isinstance(gate, HeadGate)]
    for gate in its:
        gate.check(model)
        if gate.values.ndim > 2:
            raise InputError(f"a gate has shape {tuple(gate.values.shape)}; it must be (layers, heads)")
    ones = torch.ones(*grid_of(model))
    sites: dict[Site, None] = dict.fromkeys(gate.site for gate in its)
    for site in sites:
        rows = [gate.values if isinstance(gate, HeadGate) and gate.site == site else ones for gate in gates]
        yield HeadGate(torch.stack(rows), site)


def _shifting(model: Any, gates: Sequence[Intervention | None]) -> Iterable[HeadShift]:
    """The same of shifts: zeros where a row has none."""
    its = [gate for gate in gates if isinstance(gate, HeadShift)]
    for gate in its:
        gate.check(model)
        if gate.vectors.ndim > 3:
            raise InputError(f"a shift has shape {tuple(gate.vectors.shape)}; it must be (layers, heads, width)")
    sites: dict[Point, None] = dict.fromkeys(gate.site for gate in its)
    for site in sites:
        here = {i: gate.vectors for i, gate in enumerate(gates) if isinstance(gate, HeadShift) and gate.site == site}
        zeros = torch.zeros_like(next(iter(here.values())))
        yield HeadShift(torch.stack([here.get(i, zeros) for i in range(len(gates))]), site)


def _scaling_neurons(model: Any, gates: Sequence[Intervention | None]) -> Iterable[NeuronGate]:
    """The same of gates of neurons."""
    its = {row: gate for row, gate in enumerate(gates) if isinstance(gate, NeuronGate)}
    for gate in its.values():
        gate.check(model)
        if gate.values.ndim > 2:
            raise InputError(f"a gate of neurons has shape {tuple(gate.values.shape)}; it must be (layers, neurons)")
    if its:
        ones = torch.ones_like(next(iter(its.values())).values)
        yield NeuronGate(torch.stack([its[row].values if row in its else ones for row in range(len(gates))]))


def read_intervention(path: Path) -> Intervention:
    """A gate of heads or of neurons, or a shift, as the file holds one; an InputError says if it holds none."""
    names = tensors_in(path)
    for name, kind in {"gate": HeadGate, "shift": HeadShift, "neuron_gate": NeuronGate}.items():
        if name in names:
            return kind.load(path)
    raise InputError(f"{path}: holds neither a gate nor a shift, but {', '.join(names) or 'nothing'}")
