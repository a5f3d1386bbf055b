"""Maps of heads: those of one model together, wherever they were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lens_truth.io.numbers import SIGNIFICANT, count, number, short
from lens_truth.io.tables import written
from lens_truth.page.blocks import Block, Drawing, Heading, Side, Text, missing
from lens_truth.page.reading import RunRecord
from lens_truth.scoring.score_words import matched_said, residual_said
from lens_truth.scoring.scores import HeadScores

MEANING = {
    "truth": "out-of-fold accuracy of a linear probe on the head's output",
    "residual": "what the head adds to the accuracy of the best classifier that sees the surface of answers",
    "causal": "growth of the answer margin with the head's gate, d(margin)/d(gate)",
    "learned": "a gate fitted to the answers, less 1",
    "evidence": "attention of the answer's last token to the evidence, times chance",
    "evidence over control": "the same, less that to equally long other parts of the context",
    "evidence when answering": "as evidence, where the answer is predicted",
    "retrieval": "share of the answer's tokens that the head would copy from the evidence",
    "lookback": "attention to the prompt over that to prompt and answer",
}
"""Of the kinds of scores, in the order in which a model's maps are shown."""
_SCORES = ("truth", "residual", "causal", "learned")
"""Of these, what has no name of its own."""
_OF_MODEL, _FROM_FILE = " scores of ", " scores from "
"""In titles."""


@dataclass(frozen=True, eq=False)
class HeadMap:
    """Scores of heads, once for all runs that hold the same."""

    scores: HeadScores
    held: tuple[tuple[str, str], ...]
    """Names of the runs that hold it, each with its title there."""

    @property
    def kind(self) -> str:
        """Of the scores."""
        return self.scores.kind

    def said(self, name: str) -> str | None:
        """A text of the provenance."""
        text = self.scores.provenance.get(name)
        return text if isinstance(text, str) and text else None

    @property
    def model(self) -> str | None:
        """None where nothing says whose heads were scored."""
        title = self.held[0][1]
        return self.said("model") or (None if _FROM_FILE in title else title.partition(_OF_MODEL)[2] or None)

    @property
    def weights(self) -> str | None:
        """Their hash."""
        return self.said("weights")

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs that hold it, each once."""
        return tuple(dict.fromkeys(run for run, _ in self.held))

    @property
    def key(self) -> tuple[str, int, int]:
        """Of the model: its weights, or what else tells it apart, and the shape (maps may be cropped)."""
        apart = self.weights or f"file {self.said('file_hash') or self.said('file') or self.held[0][1]}"
        return apart, self.scores.n_layers, self.scores.n_heads

    def written(self, value: float) -> str:
        """A value of it, or of an end of its interval, as text."""
        return written(number(value) if self.kind == "truth" else short(value))

    def merged(self, other: HeadMap) -> HeadMap:
        """With what another has beside equal scores."""
        metrics = {**other.scores.metrics, **self.scores.metrics}
        provenance = {**other.scores.provenance, **self.scores.provenance}
        return HeadMap(replace(self.scores, metrics=metrics, provenance=provenance), (*self.held, *other.held))


@dataclass(frozen=True)
class ModelHeads:
    """All maps of one model."""

    id: str
    name: str
    maps: tuple[HeadMap, ...]

    @property
    def weights(self) -> str | None:
        """Their hash."""
        return self.maps[0].weights


def head_maps(runs: Sequence[RunRecord]) -> list[HeadMap]:
    """Every map in the runs; those of the same weights that are equal to five digits once."""
    maps: dict[str, HeadMap] = {}
    for run in runs:
        for title, scores in run.maps.items():
            one = HeadMap(scores, ((run.name, title),))
            same = repr((one.key, one.kind, [f"{value:.5g}" for value in scores.values.flat]))
            maps[same] = maps[same].merged(one) if same in maps else one
    return list(maps.values())


def by_model(maps: Sequence[HeadMap]) -> list[ModelHeads]:
    """The maps of each model together, in the order in which models come up."""
    order = list(MEANING)
    models: list[ModelHeads] = []
    for index, key in enumerate(dict.fromkeys(one.key for one in maps)):
        its = [one for one in maps if one.key == key]
        its.sort(key=lambda one: order.index(one.kind) if one.kind in order else len(order))
        name = " = ".join(dict.fromkeys(one.model for one in its if one.model))
        if not name:
            title = its[0].held[0][1]
            name = f"{its[0].said('file') or title.partition(_FROM_FILE)[2] or title}: model not known"
        models.append(ModelHeads(f"m{index}", name, tuple(its)))
    names = [model.name for model in models]
    return [
        replace(model, name=f"{model.name} ({model.maps[0].key[0]})") if names.count(model.name) > 1 else model
        for model in models
    ]


def heads_blocks(models: Sequence[ModelHeads], attention: Mapping[str, str]) -> list[Block]:
    """A heatmap for each map.

    Args:
        attention: for each model's id, a sentence on the attention there is to see.
    """
    if not models:
        return [missing("no run holds scores of heads; `python -m lens_truth.probe --model NAME --out DIR` makes one")]
    how = (
        "Layers down, heads across. Point at a head, or move with the arrow keys, for its numbers; click it, or press "
    )
    blocks: list[Block] = [Text(f"{how}Enter, for all its numbers and what it attends to.")]
    for model in models:
        _, L, H = model.maps[0].key
        kv = {n for one in model.maps if (n := one.scores.n_kv_heads) not in (None, H)}
        weights = f"weights {model.weights}" if model.weights else "weights not known"
        shared = f" sharing {kv.pop()} KV heads" if len(kv) == 1 else ""
        blocks.append(Heading(model.name, f"{weights}; {L} layers × {H} heads{shared}. {attention[model.id]}"))
        drawings = (
            Drawing("heatmap", f"{model.id}-{i}", what(one), notes(one), source(one))
            for i, one in enumerate(model.maps)
        )
        blocks.append(Side(tuple(drawings), columns=H))
    return blocks


def what(one: HeadMap) -> str:
    """A map's kind."""
    return one.kind if one.kind in MEANING and one.kind not in _SCORES else f"{one.kind} scores"


def source(one: HeadMap) -> str:
    """Where a map comes from."""
    n = one.scores.provenance.get("n_examples")
    parts = (one.said("data"), f"n = {n}" if isinstance(n, int) else None, f"run {', '.join(one.runs)}")
    return ", ".join(filter(None, parts))


def notes(one: HeadMap) -> tuple[str, ...]:
    """What there is to know of a map: what it measures, its range, its best heads, its baseline."""
    values = one.scores.values
    computed = one.said("model") is not None
    sentences = [MEANING[one.kind]] if computed and one.kind in MEANING else []
    if not computed:
        sentences.append("the file does not say how these scores were computed")
    highest = (divmod(int(at), values.shape[1]) for at in np.argsort(-values, axis=None, kind="stable")[:3])
    best = ", ".join(f"layer {i} head {j} ({one.written(float(values[i, j]))})" for i, j in highest)
    low, high, mean = (one.written(float(its)) for its in (values.min(), values.max(), values.mean()))
    sentences.append(f"{low} to {high}, mean {mean}; highest: {best}")
    if (family := one.scores.metrics.get("p_familywise")) is not None:
        above = int((family < SIGNIFICANT).sum())
        sentences.append(f"{count(above, 'head')} of {values.size} above chance (p < .05, all heads together)")
    told = (one.scores.relative_said.rstrip("."), matched_said(one.scores), residual_said(one.scores))
    sentences += filter(None, told)
    surface = one.scores.provenance.get("surface_accuracy")
    if isinstance(surface, float):
        sentences.append(f"surface baseline (the answer's length and last character alone): {number(surface)}")
    elif one.kind == "truth" and computed:
        sentences.append("surface baseline: not computed in this run")
    return tuple(sentences)
