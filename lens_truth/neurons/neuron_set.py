"""`NeuronSet`: neurons with weights, a sparse linear classifier of hallucination, in the formats in which such sets are
published."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import safetensors.numpy
from jaxtyping import Bool, Float, Int

from lens_truth.errors import InputError
from lens_truth.io.files import write_bytes, write_text
from lens_truth.io.readers import is_list, is_object, read_json
from lens_truth.io.rows import read_csv
from lens_truth.io.streams import Stream, stream
from lens_truth.scoring.score_files import METADATA, kept_tensors

if TYPE_CHECKING:
    from lens_truth.gates.neuron_gate import NeuronGate
    from lens_truth.neurons.activity import NeuronActivity


@dataclass(frozen=True, eq=False)
class NeuronSet:
    """K neurons and their weights: above 0 a neuron that is more active in hallucinated answers, an H-neuron.

    >>> neurons = lens_truth.NeuronSet.load("neurons.safetensors")  # or a published .json or .csv
    >>> len(neurons.positive), neurons.per_mille
    >>> neurons.decision(activity) > 0  # who is hallucinated
    >>> with neurons.positive.gate(0.0, lens_truth.neuron_grid(model)).attach(model):
    ...     print(model.generate("The capital of France is", max_new_tokens=5))
    >>> neurons.save("neurons.json")
    """

    layer: Int[np.ndarray, " K"]
    """Of each neuron, counted over all decoder layers."""
    neuron: Int[np.ndarray, " K"]
    """Its number in the layer."""
    weight: Float[np.ndarray, " K"]
    """Per unit of CETT; 1 where a file has none."""
    intercept: float = 0.0
    shape: tuple[int, int] | None = None
    """Layers and neurons of the model; None where a file does not say."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What it was fitted to."""

    def __post_init__(self) -> None:
        if not len(self.layer) == len(self.neuron) == len(self.weight):
            raise InputError("a set of neurons names unequal numbers of layers, neurons and weights")
        if not np.isfinite(self.weight).all() or not math.isfinite(self.intercept):
            raise InputError("a set of neurons holds weights that are not finite")
        places = list(zip(self.layer.tolist(), self.neuron.tolist(), strict=True))
        if len(set(places)) < len(places):
            twice = next(place for place in places if places.count(place) > 1)
            raise InputError(f"neuron {twice[1]} of layer {twice[0]} stands twice in a set of neurons")
        if any(min(place) < 0 for place in places):
            raise InputError("a set of neurons holds a layer or neuron below 0")
        if self.shape is not None:
            self._check(self.shape)

    @classmethod
    def from_map(
        cls, weights: Float[np.ndarray, "L M"], intercept: float = 0.0, provenance: Mapping[str, Any] | None = None
    ) -> NeuronSet:
        """The neurons whose weight is not 0, of a weight for every neuron.

        >>> lens_truth.NeuronSet.from_map(weights)
        """
        layer, neuron = np.nonzero(weights)
        L, M = weights.shape
        return cls(layer, neuron, weights[layer, neuron].astype(float), float(intercept), (L, M), provenance or {})

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def positive(self) -> NeuronSet:
        """Those with a weight above 0 alone, the H-neurons."""
        return self._only(self.weight > 0)

    @property
    def per_mille(self) -> float | None:
        """The share of all neurons that are in the set, in per mille; None where it is not known how many there are."""
        return None if self.shape is None else 1000 * len(self) / (self.shape[0] * self.shape[1])

    def _only(self, kept: Bool[np.ndarray, " K"]) -> NeuronSet:
        at = self.layer[kept], self.neuron[kept], self.weight[kept]
        return NeuronSet(*at, self.intercept, self.shape, self.provenance)

    def decision(self, activity: NeuronActivity) -> Float[np.ndarray, " N"]:
        """The weighted sum of the neurons' CETT plus the intercept, for every answer: above 0 it is called
        hallucinated.

        Raises:
            InputError: if the set is empty or not of the model whose activity it is.
        """
        import torch  # sets are read and compared without it

        self.check(tuple(activity.values.shape[1:]))
        seen = activity.values[:, torch.from_numpy(self.layer), torch.from_numpy(self.neuron)]
        return seen.double().numpy() @ self.weight + self.intercept

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises an InputError if the set is empty, or of another model than one with so many layers and neurons.

        >>> neurons.check(lens_truth.neuron_grid(model))
        """
        if not len(self):
            raise InputError(
                "no neuron is selected: the penalty was too strong (a larger C keeps more), or nothing that neurons do "
                "tells right from hallucinated answers in these data"
            )
        if self.shape is not None and self.shape != shape:
            raise InputError(
                f"the neurons are of a model with {self.shape[0]} layers x {self.shape[1]} neurons, and this one has "
                f"{shape[0]} x {shape[1]}"
            )
        self._check(shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(self) and (self.layer.max() >= shape[0] or self.neuron.max() >= shape[1]):
            worst = int(np.argmax((self.layer >= shape[0]) | (self.neuron >= shape[1])))
            raise InputError(
                f"there is no neuron {self.neuron[worst]} of layer {self.layer[worst]} among {shape[0]} layers x "
                f"{shape[1]} neurons"
            )

    def gate(self, alpha: float, shape: tuple[int, int]) -> NeuronGate:
        """The gate that multiplies these neurons, whatever their weights, by alpha and leaves all others.

        Raises:
            InputError: if the set is empty or of another model, or alpha is not finite.
        """
        import torch

        from lens_truth.gates.neuron_gate import NeuronGate  # takes longer than all the rest

        self.check(shape)
        if not abs(alpha) <= torch.finfo(torch.float32).max:
            raise InputError(f"alpha is {alpha}; it must be a finite number in single precision")
        values = torch.ones(shape)
        values[torch.from_numpy(self.layer), torch.from_numpy(self.neuron)] = alpha
        return NeuronGate(values, {"alpha": alpha, "n_neurons": len(self), "neurons": dict(self.provenance)})

    def save(self, path: str | Path) -> None:
        """Writes `.safetensors` (everything), or of the neurons with weights above 0 `.json`, `{"layer": [neuron]}`, or
        `.csv`, a row a neuron with layer, neuron, weight; an InputError refuses another suffix."""
        path = Path(path)
        if path.suffix == ".safetensors":
            about = {"intercept": self.intercept, "shape": self.shape, "provenance": dict(self.provenance)}
            held = {"layer": self.layer, "neuron": self.neuron, "weight": self.weight}
            arrays = {name: np.ascontiguousarray(its) for name, its in held.items()}
            write_bytes(path, safetensors.numpy.save(arrays, {METADATA: json.dumps(about, sort_keys=True)}))
        elif path.suffix == ".json":
            write_text(path, json.dumps(self.positive.by_layer(), indent=2) + "\n")
        elif path.suffix == ".csv":
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(_COLUMNS)
            its = self.positive
            writer.writerows(zip(its.layer.tolist(), its.neuron.tolist(), map(repr, its.weight.tolist()), strict=True))
            write_text(path, table.getvalue())
        else:
            raise InputError(f"{path}: neurons are saved as .safetensors, .json or .csv")

    def by_layer(self) -> dict[str, list[int]]:
        """The neurons of each layer that has any.

        >>> neurons.positive.by_layer()
        """
        layers = sorted(set(self.layer.tolist()))
        return {str(layer): sorted(self.neuron[self.layer == layer].tolist()) for layer in layers}

    @classmethod
    def load(cls, path: str | Path) -> NeuronSet:
        """Reads what `save` writes, and such files as they are published: `.json` with a list of neurons for each
        layer, `.csv` with a row a neuron (weights of 0 and below, if there are any, are kept apart by `positive`).

        Raises:
            InputError: if the file is missing or damaged, or names no neuron.
        """
        path = Path(path)
        reader = {".safetensors": _load_safetensors, ".json": _load_json, ".csv": _load_csv}.get(path.suffix)
        if reader is None:
            raise InputError(f"{path}: neurons are read from .safetensors, .json or .csv")
        try:
            found = reader(path)
        except InputError as error:
            raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
        if not len(found):
            raise InputError(f"{path}: names no neuron")
        return found


_MOST = 2**31
_COLUMNS = ("layer", "neuron", "weight")


def _load_safetensors(path: Path) -> NeuronSet:
    with kept_tensors(path, f"{path}: is not a readable set of neurons") as (file, about):
        held = {name: file.get_tensor(name).numpy() for name in _COLUMNS}
        if any(its.ndim != 1 for its in held.values()) or any(held[name].dtype.kind != "i" for name in _COLUMNS[:2]):
            raise ValueError("layers, neurons and weights are not lists of numbers")
        shape = about["shape"]
        known = None if shape is None else (int(shape[0]), int(shape[1]))
        weight = held["weight"].astype(float)
        return NeuronSet(held["layer"], held["neuron"], weight, float(about["intercept"]), known, about["provenance"])


def _load_json(path: Path) -> NeuronSet:
    held = read_json(path)
    if not is_object(held) or not all(name.isdecimal() and is_list(its) for name, its in held.items()):
        raise InputError(
            f'{path}: is no set of neurons, which has a list of neurons for each layer ({{"3": [17, 402]}})'
        )
    places = [(int(layer), neuron) for layer, its in held.items() for neuron in cast("list[Any]", its)]
    if wrong := [neuron for _, neuron in places if type(neuron) is not int]:
        raise InputError(f"{path}: '{wrong[0]}' is no number of a neuron")
    return _of_places(places, [1.0] * len(places))


def _load_csv(path: Path) -> NeuronSet:
    places, weights = list[tuple[int, int]](), list[float]()
    for place, row in read_csv(path):
        try:
            places.append((int(row["layer"]), int(row["neuron"])))
            weights.append(float(row.get("weight") or 1.0))
        except (KeyError, ValueError, TypeError):
            raise InputError(
                f"{path}, line {place}: a row has a layer, a neuron and perhaps a weight, all numbers"
            ) from None
    return _of_places(places, weights)


def _of_places(places: list[tuple[int, int]], weights: list[float]) -> NeuronSet:
    if places and max(map(max, places)) >= _MOST:
        raise InputError(f"a set of neurons holds a layer or neuron {max(map(max, places)):g}, which no model has")
    at = np.array(places, dtype=np.int64).reshape(-1, 2)
    return NeuronSet(at[:, 0], at[:, 1], np.array(weights, dtype=float))


def random_set(like: NeuronSet, shape: tuple[int, int], seed: int, *, layer_matched: bool = False) -> NeuronSet:
    """As many neurons, drawn from all others; or as many of each layer. Their weights are those of the set, in order.

    >>> control = lens_truth.random_set(neurons.positive, lens_truth.neuron_grid(model), seed=0, layer_matched=True)

    Raises:
        InputError: if the set is empty or of another model, or too few other neurons are left.
    """
    like.check(shape)
    free = np.ones(shape, dtype=bool)
    free[like.layer, like.neuron] = False
    rng = stream(seed, Stream.RANDOM_NEURONS, int(layer_matched))
    where = [(layer, like.layer == layer) for layer in sorted(set(like.layer.tolist()))] if layer_matched else []
    layer, neuron = np.empty_like(like.layer), np.empty_like(like.neuron)
    for own, members in where or [(None, np.ones(len(like), dtype=bool))]:
        left = np.argwhere(free) if own is None else np.argwhere(free & (np.arange(shape[0]) == own)[:, None])
        if len(left) < members.sum():
            raise InputError(f"{members.sum()} other neurons were to be drawn, and only {len(left)} are left")
        drawn = left[rng.choice(len(left), int(members.sum()), replace=False)]
        layer[members], neuron[members] = drawn[:, 0], drawn[:, 1]
    about = {"control": "layer-matched" if layer_matched else "random", "control_seed": seed}
    return NeuronSet(layer, neuron, like.weight, like.intercept, shape, {**like.provenance, **about})
