"""Maps of heads: those of one model together, wherever they were computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lens_truth.errors import InputError
from lens_truth.io.numbers import count, number, short
from lens_truth.page.blocks import Block, Drawing, Heading, Side, Text
from lens_truth.page.fields import Fields
from lens_truth.page.reading import Problem, RunRecord

Matrix = list[list[float | None]]

MEANING = {
    "truth": "out-of-fold accuracy of a linear probe on the head's output",
    "causal": "growth of the answer margin with the head's gate, d(margin)/d(gate)",
    "learned": "a gate fitted to the answers, less 1",
    "evidence": "attention of the answer's last token to the evidence, times chance",
    "evidence over control": "the same, less that to equally long other parts of the context",
    "evidence when answering": "as evidence, where the answer is predicted",
    "retrieval": "share of the answer's tokens that the head would copy from the evidence",
    "lookback": "attention to the prompt over that to prompt and answer",
}
_ORDER = tuple(MEANING)
_CHANCE_IS_ONE = ("evidence", "evidence when answering")
_OF_MODEL, _FROM_FILE = " scores of ", " scores from "
"""In titles."""

Scale = Literal["range", "zero", "one"]
"""Colours from the least to the greatest value, both ways from 0, or both ways from 1 on a logarithmic scale."""


@dataclass(frozen=True)
class HeadMap:
    """One number a head, with others beside it."""

    kind: str
    title: str
    model: str | None
    """None where nothing says whose heads were scored."""
    weights: str | None
    values: Matrix
    metrics: dict[str, Matrix]
    provenance: dict[str, Any]
    held: tuple[tuple[str, str], ...]
    """Names of the runs that hold it, each with its title there."""

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs that hold it, each once."""
        return tuple(dict.fromkeys(run for run, _ in self.held))

    @property
    def file(self) -> str:
        """The score file that it comes from, if it comes from one."""
        name = self.provenance.get("file")
        return name if isinstance(name, str) else self.title.partition(_FROM_FILE)[2] or self.title

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads."""
        return len(self.values), len(self.values[0])

    @property
    def key(self) -> tuple[str, int, int]:
        """Of the model: its weights, or what else tells it apart, and the shape (maps may be cropped)."""
        file = self.provenance.get("file_hash") or self.provenance.get("file")
        return (self.weights or f"file {file or self.title}", *self.shape)

    @property
    def scale(self) -> Scale:
        """How its values become colours."""
        finite = [value for line in self.values for value in line if value is not None]
        if self.kind in _CHANCE_IS_ONE:
            return "one"
        return "zero" if finite and min(finite) < 0 < max(finite) else "range"

    def best(self, n: int) -> list[tuple[int, int, float]]:
        """Layer, head and value of the highest, the first of equals first."""
        heads = [(i, j, v) for i, line in enumerate(self.values) for j, v in enumerate(line) if v is not None]
        return sorted(heads, key=lambda head: -head[2])[:n]


@dataclass(frozen=True)
class ModelHeads:
    """All maps of one model."""

    id: str
    name: str
    weights: str | None
    shape: tuple[int, int]
    maps: tuple[HeadMap, ...]

    def map_id(self, number: int) -> str:
        """By which the page finds one of the maps."""
        return f"{self.id}-{number}"


def head_maps(runs: Sequence[RunRecord]) -> tuple[list[HeadMap], list[Problem]]:
    """Every map in the runs; equal ones (of the same weights) once. Damaged ones are named and left out."""
    maps: list[HeadMap] = []
    problems: list[Problem] = []
    for run in runs:
        try:
            found = run.results["head_scores"].members() if run.has_heads else {}
        except InputError as error:
            problems.append(Problem(run.name, str(error)))
            continue
        for title, fields in found.items():
            try:
                made = read_map(title, fields, run.name)
            except InputError as error:
                problems.append(Problem(run.name, f"{error}; this map is left out"))
                continue
            same = next((i for i, other in enumerate(maps) if _same(made, other)), None)
            if same is None:
                maps.append(made)
            else:
                maps[same] = _merged(maps[same], made)
    return maps, problems


def read_map(title: str, fields: Fields, run: str) -> HeadMap:
    """One member of `results.head_scores`."""
    values = rounded(fields["values"].matrix())
    if all(value is None for line in values for value in line):
        raise fields["values"].wrong("holds no number")
    metrics = {name: rounded(metric.matrix()) for name, metric in fields["metrics"].members().items()}
    for name, metric in metrics.items():
        if (len(metric), len(metric[0])) != (len(values), len(values[0])):
            raise fields["metrics"][name].wrong("has another shape than the scores")
    provenance = fields["provenance"]
    weights = provenance.maybe("weights", Fields.text)
    model = provenance.maybe("model", Fields.text) or None
    if model is None and _FROM_FILE not in title:
        model = title.partition(_OF_MODEL)[2] or None
    return HeadMap(fields["kind"].text(), title, model, weights, values, metrics, provenance.value, ((run, title),))


def _same(one: HeadMap, other: HeadMap) -> bool:
    return (one.key, one.kind, one.values) == (other.key, other.kind, other.values)


def _merged(one: HeadMap, other: HeadMap) -> HeadMap:
    held = tuple(dict.fromkeys((*one.held, *other.held)))
    provenance = {**other.provenance, **one.provenance}
    return replace(one, held=held, metrics={**other.metrics, **one.metrics}, provenance=provenance)


def by_model(maps: Sequence[HeadMap]) -> list[ModelHeads]:
    """The maps of each model together, in the order in which models come up."""
    keys = list(dict.fromkeys(one.key for one in maps))
    models: list[ModelHeads] = []
    for index, key in enumerate(keys):
        its = sorted((one for one in maps if one.key == key), key=_rank)
        names = list(dict.fromkeys(one.model for one in its if one.model)) or [f"{its[0].file}: model not known"]
        models.append(ModelHeads(f"m{index}", " = ".join(names), its[0].weights, its[0].shape, tuple(its)))
    twice = [model.name for model in models]
    return [
        replace(model, name=f"{model.name} ({model.maps[0].key[0]})") if twice.count(model.name) > 1 else model
        for model in models
    ]


def _rank(one: HeadMap) -> int:
    return _ORDER.index(one.kind) if one.kind in _ORDER else len(_ORDER)


def heads_blocks(models: Sequence[ModelHeads], attention: dict[str, str]) -> list[Block]:
    """A heatmap for each map.

    Args:
        attention: for each model's id, a sentence on the attention there is to see.
    """
    if not models:
        return [
            Text(
                "missing: no run holds scores of heads; `python -m lens_truth.probe --model NAME --out DIR` makes one",
                missing=True,
            )
        ]
    blocks: list[Block] = [
        Text(
            "Layers down, heads across. Point at a head, or move with the arrow keys, for its numbers; click it, or "
            "press Enter, for all its numbers and what it attends to."
        )
    ]
    for model in models:
        L, H = model.shape
        kv = {n for one in model.maps if isinstance(n := one.provenance.get("n_kv_heads"), int) and n != H}
        weights = f"weights {model.weights}" if model.weights else "weights not known"
        shared = f" sharing {kv.pop()} KV heads" if len(kv) == 1 else ""
        blocks.append(Heading(model.name, 3, f"{weights}; {L} layers × {H} heads{shared}. {attention[model.id]}"))
        drawings = [
            Drawing("heatmap", model.map_id(i), what(one), source(one), notes(one)) for i, one in enumerate(model.maps)
        ]
        blocks.append(Side(tuple(drawings), columns=H))
    return blocks


def what(one: HeadMap) -> str:
    """A map's kind."""
    return one.kind if one.kind in MEANING and one.kind not in ("truth", "causal", "learned") else f"{one.kind} scores"


def source(one: HeadMap) -> str:
    """Where a map comes from."""
    data, n = one.provenance.get("data"), one.provenance.get("n_examples")
    parts = [
        data if isinstance(data, str) else "",
        f"n = {n}" if isinstance(n, int) else "",
        f"run {', '.join(one.runs)}",
    ]
    return ", ".join(part for part in parts if part)


def notes(one: HeadMap) -> tuple[str, ...]:
    """What there is to know of a map: what it measures, its range, its best heads, its baseline."""
    finite = [value for line in one.values for value in line if value is not None]
    computed = isinstance(one.provenance.get("model"), str)
    sentences = [MEANING[one.kind]] if computed and one.kind in MEANING else []
    if not computed:
        sentences.append("the file does not say how these scores were computed")
    if finite:
        write = number if one.kind == "truth" else short
        best = ", ".join(f"layer {i} head {j} ({write(v)})" for i, j, v in one.best(3))
        mean = sum(finite) / len(finite)
        sentences.append(f"{write(min(finite))} to {write(max(finite))}, mean {write(mean)}; highest: {best}")
    family = one.metrics.get("p_familywise")
    if family is not None:
        above = sum(p is not None and p < 0.05 for line in family for p in line)
        sentences.append(f"{count(above, 'head')} of {len(finite)} above chance (p < .05, all heads together)")
    surface = one.provenance.get("surface_accuracy")
    if isinstance(surface, float):
        sentences.append(f"surface baseline (the answer's length and last character alone): {number(surface)}")
    elif one.kind == "truth" and computed:
        sentences.append("surface baseline: not computed in this run")
    return tuple(sentences)


def maps_data(model: ModelHeads, metrics: frozenset[str] | None) -> dict[str, Any]:
    """For the page's script.

    Args:
        metrics: those that are kept; all by default.
    """
    return {
        "id": model.id,
        "name": model.name,
        "weights": model.weights,
        "maps": [map_data(one, metrics) for one in model.maps],
    }


def map_data(one: HeadMap, metrics: frozenset[str] | None) -> dict[str, Any]:
    """One of them."""
    kept = {name: its for name, its in one.metrics.items() if metrics is None or name in metrics}
    return {
        "name": what(one),
        "source": source(one),
        "kind": one.kind,
        "scale": one.scale,
        "values": one.values,
        "metrics": {name: its for name, its in kept.items() if its != one.values},
    }


def rounded(matrix: Matrix) -> Matrix:
    """Five digits that count, the same wherever the number is written."""
    return [[None if value is None else float(f"{value:.5g}") for value in line] for line in matrix]
