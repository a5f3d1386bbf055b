"""Runs for the tests of reports: made-up numbers, in the form in which the commands write theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lens_truth.ablation.result import Ablation
from lens_truth.ablation.rows import Candidate, GateRow, SideEffect, SideEffectRow
from lens_truth.attention.evidence import EvidenceSummary, Measured
from lens_truth.io.results import Result
from lens_truth.io.runs import write_record
from lens_truth.lineage.inheritance import heritability, truth_against_causal
from lens_truth.lineage.kept import MEASURES, Preservation, WeightSimilarity, preservation
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import Comparison
from lens_truth.stats.relations import relate_measures

BASE, CHILD, OTHER = "a" * 16, "b" * 16, "c" * 16
"""Hashes of weights."""
MEASURED = ("evidence", "retrieval", "lookback")
HOSTILE = '</script><img src=x onerror="document.title=1">&amp;\u2028`code`'


def write_run(
    folder: Path,
    command: str,
    results: Mapping[str, Any],
    *,
    warnings: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    hashes: Mapping[str, Any] | None = None,
    version: str = "0.1.0",
) -> Path:
    """A folder with a `result.json`."""
    record = {
        "command": command,
        "command_line": f"lens-truth {command}",
        "results": results,
        "warnings": list(warnings),
        "config": dict(config or {"seed": 0}),
        "hashes": dict(hashes or {}),
        "versions": {"python": "3.11.7", "lens-truth": version},
        "seconds": 12.5,
    }
    write_record(folder, record)
    return folder


def scores(kind: str = "truth", *, seed: int = 0, shape: tuple[int, int] = (3, 4), **provenance: Any) -> HeadScores:
    """Random scores in a kind's range, with an interval, and a null where a probe has one."""
    rng = np.random.default_rng(seed)
    low, high = {"truth": (0.45, 0.98), "causal": (-1.0, 1.5), "evidence": (0.1, 9.0)}.get(kind, (0.0, 1.0))
    values = rng.uniform(low, high, shape)
    metrics = {"ci_low": values - 0.05, "ci_high": values + 0.04}
    if kind == "truth":
        p = np.where(values > 0.6, 0.001, 0.4)
        metrics |= {"accuracy": values, "auroc": values + 0.01, "p_value": p, "p_familywise": np.sqrt(p)}
    known = {"model": "org/base", "weights": BASE, "n_kv_heads": shape[1], "n_examples": 120}
    return HeadScores(values, kind, metrics, provenance=known | provenance)


def probe_run(folder: Path, made: HeadScores, *, data: str = "zoo:text", **more: Any) -> Path:
    model, weights = made.provenance["model"], made.provenance["weights"]
    made = replace(made, provenance={**made.provenance, "data": data})
    maps = {f"{made.kind} scores of {model} on {data}": made.as_dict()}
    hashes = {"weights": weights, "examples": "e" * 16}
    return write_run(folder, "probe", {"kind": made.kind, "head_scores": maps}, hashes=hashes, **more)


def example_row(L: int, H: int, *, image: bool = False, id: str = "scene-1") -> dict[str, Any]:
    """A row of `attention.json`. Head 1.2 gives .5 to the evidence, .25 to the sink; the others .9 to the sink."""
    pictured = ["<image>"] * 4 if image else []
    tokens = ["<s>", *pictured, " The", " crown", " is", " coral", ".", " Colour", "?", " coral"]
    n = len(pictured)
    heads = {f"{i}.{j}": [[0, 900], [len(tokens) - 1, 50]] for i in range(L) for j in range(H)}
    heads["1.2"] = [[0, 250], [3 if image else 4, 500], [5 + n, 125]]
    return {
        "id": id,
        "question": "Colour?",
        "answer": "coral",
        "label": 1,
        "tokens": tokens,
        "query": len(tokens) - 1,
        "evidence": [[1 + n, 5 + n]],
        "context": [1 + n, 6 + n],
        "answer_span": [len(tokens) - 1, len(tokens)],
        "image": picture() if image else None,
        "heads": heads,
    }


def picture() -> dict[str, Any]:
    """Four patches, of which the third (token 3) shows the evidence and the last is padding."""
    written = BytesIO()
    Image.new("RGB", (20, 20), (200, 120, 90)).save(written, "PNG")
    return {
        "src": f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}",
        "width": 20,
        "height": 20,
        "span": [1, 5],
        "boxes": [[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], None],
        "evidence": [[0, 11, 9, 20]],
    }


@cache
def looked_at(shape: tuple[int, int]) -> tuple[dict[str, HeadScores], dict[str, Any]]:
    """Measures of attention, and truth scores against them."""
    measures = {name: scores(name, seed=7 + i, shape=shape) for i, name in enumerate(MEASURED)}
    maps = {name: its.values for name, its in measures.items()}
    return measures, relate_measures(scores(shape=shape).values, maps).as_dict()


def evidence_run(
    folder: Path, *, shape: tuple[int, int] = (3, 4), image: bool = False, n_rows: int = 2, **more: Any
) -> Path:
    measures, related = looked_at(shape)
    maps = {**measures, "truth scores": scores(shape=shape)}
    titles = {name: f"{name} of org/base on zoo:text" for name in maps}
    said = {titles[name]: replace(its, provenance={**its.provenance, "data": "zoo:text"}) for name, its in maps.items()}
    measured = {
        name: Measured(float(its.values.mean()), 50, its.best(), float(its.values.max()), (0.1, 0.2))
        for name, its in measures.items()
    }
    ids, groups = tuple(f"row-{i}" for i in range(50)), tuple(f"group-{i % 25}" for i in range(50))
    looked = EvidenceSummary(measured, ids, groups, {"model": "org/base", "weights": BASE}, seed=0)
    results = {
        "data": "zoo:text",
        "evidence": looked.as_dict(),
        "relations": {"truth": related},
        "verdicts": ["Heads look at the evidence."],
        "score_maps": {"truth": titles["truth scores"]},
        "measure_maps": {name: titles[name] for name in measures},
        "head_scores": {title: its.as_dict() for title, its in said.items()},
    }
    write_run(folder, "evidence", results, hashes={"weights": BASE}, config={"model": "org/base"}, **more)
    rows = [example_row(*shape, image=image, id=f"scene-{i}") for i in range(n_rows)]
    record = {"model": "org/base", "weights": BASE, "threshold": 0.01, "rows": rows}
    (folder / "attention.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def results_of(*results: tuple[Result, str | None]) -> dict[str, Any]:
    """As `Run.hold` puts them into a record."""
    held: dict[str, Any] = {}
    for result, name in results:
        own = result.as_dict()
        held[result.part] = own if name is None else {**held.get(result.part, {}), name: own}
    return held


def inherit_run(folder: Path, *, n: int = 3, shape: tuple[int, int] = (3, 4), **more: Any) -> Path:
    """Lineages of truth and of causal scores; the last model is unrelated to the others."""
    names = [f"model-{i}" for i in range(n)]
    hashes = {name: f"{i:016x}" for i, name in enumerate(names)}
    by_kind: dict[str, dict[str, HeadScores]] = {}
    for kind in ("truth", "causal"):
        first = scores(kind, seed=3, shape=shape)
        for i, name in enumerate(names):
            strange = scores(kind, seed=10 + i, shape=shape)
            values = strange.values if i == n - 1 else first.values + 0.1 * strange.values
            made = HeadScores(values, kind, provenance={"model": name, "weights": hashes[name]})
            by_kind.setdefault(kind, {})[name] = made
    found = {kind: heritability(its, n_permutations=99, n_bootstrap=50) for kind, its in by_kind.items()}
    similar, related = kept(shape)
    similar = [replace(its, base=names[0], child=name) for its, name in zip(similar, names[1:], strict=False)]
    results = results_of(
        *((its, kind) for kind, its in found.items()),
        *zip(similar, names[1:], strict=False),
        *zip(related, names[1:], strict=False),
        (truth_against_causal(by_kind["truth"], by_kind["causal"], n_permutations=99), None),
    )
    maps = {f"{kind} scores of {name}": one for kind, its in by_kind.items() for name, one in its.items()}
    results |= {
        "reference": names[0],
        "verdicts": {kind: its.verdicts() for kind, its in found.items()},
        "head_scores": {title: one.as_dict() for title, one in maps.items()},
        "data": dict.fromkeys(names, "zoo:text"),
        "notes": [],
    }
    return write_run(folder, "inherit", results, hashes=hashes, **more)


@cache
def kept(shape: tuple[int, int]) -> tuple[list[WeightSimilarity], list[Preservation]]:
    """What a child and a stranger keep of each head, and the base's scores against that."""
    base, child = scores(shape=shape), scores(seed=1, shape=shape)
    found: list[WeightSimilarity] = []
    for number, name in enumerate(("org/child", "org/other")):
        rng = np.random.default_rng(number)
        maps = {measure: rng.uniform(0.9, 1, shape) for measure in MEASURES}
        hashes = "1" * 16, "2" * 16
        found.append(WeightSimilarity(**maps, n_kv_heads=shape[1], hashes=hashes, base="org/base", child=name))
    return found, [preservation(base, scored, its) for scored, its in zip((child, None), found, strict=True)]


def weights_run(folder: Path, *, shape: tuple[int, int] = (3, 4), **more: Any) -> Path:
    base, child = scores(shape=shape), scores(seed=1, shape=shape, model="org/child", weights=CHILD)
    similar, related = kept(shape)
    names = [its.child for its in similar]
    results = results_of(*zip(similar, names, strict=True), *zip(related, names, strict=True))
    maps = {"truth scores of org/base": base, "truth scores of org/child": child}
    results |= {"notes": ["a note"], "head_scores": {title: made.as_dict() for title, made in maps.items()}}
    return write_run(folder, "weights", results, **more)


def comparison(difference: float, p: float = 0.01, as_good: int = 0, trials: int = 1) -> Comparison:
    return Comparison(difference, difference - 0.05, difference + 0.05, p, as_good, trials)


def ablation_rows(model: str = "org/base") -> tuple[GateRow, ...]:
    """A gate by causal scores that beats its shuffled values and the random gate, not its layers' means."""

    def line(benchmark: str, gate: str, of: str, accuracy: float, trials: int = 1, **more: Any) -> GateRow:
        vanilla = {} if gate == "vanilla" else {"vanilla": comparison(accuracy - 0.6, 0.001 if accuracy > 0.8 else 0.3)}
        return GateRow(
            model=model,
            gate=gate,
            of=of,
            benchmark=benchmark,
            trials=trials,
            n=200,
            accuracy=accuracy,
            accuracy_std=0.02 if trials > 1 else 0.0,
            ci_low=accuracy - 0.06,
            ci_high=min(1.0, accuracy + 0.05),
            f1=accuracy,
            unparsed=more.pop("unparsed", 0.0),
            answer_words=1.5,
            against={**vanilla, **more.pop("against", {})},
            **more,
        )

    rows = []
    for benchmark, gain in (("conflict", 0.3), ("open", 0.0)):
        controls = {
            "permuted": comparison(gain, 0.001, 0, 5),
            "uniform": comparison(0.02, 0.4),
            "uniform (tuned)": comparison(gain, 0.001),
            "random": comparison(0.3, 0.001, 1, 3),
        }
        chosen: dict[str, Any] = {"lam": 0.65, "norm": "minmax", "strength": 0.35}
        rows += [
            line(benchmark, "vanilla", "", 0.6),
            line(benchmark, "causal", "", 0.6 + gain, against=controls, negative_gates=2, unparsed=0.125, **chosen),
            line(benchmark, "permuted", "causal", 0.6, 5, captions={"chair_s": 0.44} if gain else {}, **chosen),
            line(benchmark, "uniform", "causal", 0.58 + gain, **chosen),
            line(benchmark, "uniform", "tuned", 0.65, lam=0.2, norm="uniform"),
            line(benchmark, "random", "", 0.3, 3),
        ]
    return tuple(rows)


def ablation(model: str = "org/base") -> Ablation:
    """Of the two candidates with the best accuracy on validation the weaker is chosen."""
    rows = ablation_rows(model)
    arms = dict.fromkeys((row.gate, row.of, row.trials) for row in rows)
    accuracies = {("center", 0.1): 0.7, ("center", 0.2): 0.8, ("minmax", 0.1): 0.8}
    candidates = [Candidate(2 * size, norm, size, {"conflict": at}) for (norm, size), at in accuracies.items()]
    return Ablation(
        rows,
        search={model: {"causal": tuple(candidates)}},
        validation={model: {"conflict": 0.5, "open": 0.75}},
        side_effects=tuple(
            SideEffectRow(model, *arm, {"wikitext": SideEffect(0.01 * i, 3.0)}) for i, arm in enumerate(arms)
        ),
    )


def ablate_run(folder: Path, *, model: str = "org/base", weights: str = BASE, **more: Any) -> Path:
    made, found = scores("causal", model=model, weights=weights), ablation(model)
    results = {
        "ablation": found.as_dict(),
        "scores_from": model,
        "neutral_texts": {"wikitext": "d" * 16},
        "verdicts": found.verdicts(),
        "head_scores": {f"causal scores of {model}": made.as_dict()},
    }
    given: dict[str, Any] = {"warnings": [f"{model}, causal: 2 gates are negative, so those heads are inverted"]} | more
    return write_run(folder, "ablate", results, hashes={model: weights}, config={"model": [model]}, **given)
