"""Are head scores inherited? Correlates the scores of every two models over heads, with depth removed, against heads
shuffled inside layers, under the ceiling that noise sets, over the floor of unrelated models.

Inputs are score files (.safetensors, .npy, .csv, retrieval .json) or models, which are scored first; without any, the
whole zoo. Writes result.json, table.md, matrix.png, bars.png; for models also heatmaps.png, truth_causal.png and
weights.png (score against weights kept), and a matrix and bars for every further kind of score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import lens_truth
from lens_truth.commands.lineage_inputs import Config, Scores, doubts, inputs_of, scored
from lens_truth.commands.run import Run
from lens_truth.errors import InputError, notice
from lens_truth.io.tables import markdown, print_table
from lens_truth.models.names import base_and_adapter

if TYPE_CHECKING:
    from lens_truth.lineage.kept import Preservation

__all__ = ["Config", "run"]


def run(config: Config) -> None:
    """Reads or computes scores, compares, writes."""
    with Run("inherit", config) as run:
        sources, reference, unrelated = inputs_of(config)
        by_kind, repeats = scored(config, sources)
        scores = next(iter(by_kind.values()))
        run.warnings += doubts(scores)
        found = _compared(config, by_kind, repeats, unrelated)
        against = {kind: reference if reference in its.names else its.names[0] for kind, its in found.items()}
        root = None  # every input's ancestor, if all are models of the zoo
        bases = {source.name: base_and_adapter(source.where)[0] for source in sources}
        if all(base.startswith("zoo:") for base in bases.values()):
            from lens_truth.zoo.recipes import root_of  # imports torch, which score files do without

            root = {name: root_of(base) for name, base in bases.items()}
        run.results["reference"] = reference
        run.results["verdicts"] = _tell(run, found, against, root)
        _draw(run, found, against, by_kind)
        models = {source.name: source.where for source in sources if not source.is_file}
        run.results["notes"] = _weights(run, config, models, reference, scores)
        for note in run.results["notes"]:
            print(f"  {note}")
        _truth_causal(run, config, by_kind)
        provenances = {name: its.provenance for name, its in scores.items()}
        run.results["data"] = {name: its["data"] for name, its in provenances.items() if "data" in its}
        run.hashes |= {name: its.get("weights") or its.get("file_hash") for name, its in provenances.items()}
        run.heads({f"{one.kind} scores of {name}": one for its in by_kind.values() for name, one in its.items()})


def _compared(
    config: Config, by_kind: Scores, repeats: Scores, unrelated: Sequence[str]
) -> dict[str, lens_truth.Heritability]:
    """Every two models, by kind of scores; a kind that only one model has (among files) has no pair. Repeats are of the
    first kind."""
    import numpy as np

    found: dict[str, lens_truth.Heritability] = {}
    for kind, its in by_kind.items():
        floor = [name for name in unrelated if name in its]
        flat = [name for name, one in its.items() if one.kind == "residual" and np.ptp(one.values) == 0]
        if flat and len(by_kind) > 1:
            notice(f"{', '.join(flat)}: no head adds to the surface of answers, so {kind} scores are not compared")
            continue
        if len(its) > 1:
            found[kind] = lens_truth.heritability(
                its,
                repeats=None if found else {name: list(some.values()) for name, some in repeats.items()},
                unrelated=floor if len(floor) > 1 else (),
                n_permutations=config.permutations,
                seed=config.seed,
            )
    return found


def _tell(
    run: Run, found: Mapping[str, lens_truth.Heritability], against: Mapping[str, str], root: Mapping[str, str] | None
) -> dict[str, list[str]]:
    """Tables and verdicts, which are given back."""
    verdicts = {kind: its.verdicts(root) for kind, its in found.items()}
    parts: list[str] = []
    for kind, its in found.items():
        run.hold(its, kind)
        said = "".join(f"- {sentence}\n" for sentence in verdicts[kind])
        title, (pairs, *_) = f"{its.kind.capitalize()} scores", its.tables()
        parts.append(f"## {title}\n\n{pairs.note}\n\n{markdown(pairs)}\n\n{said}")
        print(f"\n{title}, against {against[kind]}:\n")
        print_table(its.tables(against[kind])[0])
        print("\n" + said, end="")
    run.text("table.md", "# Inheritance of head scores\n\n" + "\n".join(parts))
    return verdicts


def _draw(run: Run, found: Mapping[str, lens_truth.Heritability], against: Mapping[str, str], by_kind: Scores) -> None:
    from lens_truth.plots.heads import heatmaps

    for kind, its in found.items():
        suffix = f"_{kind}" if kind != next(iter(found)) else ""
        run.figure(f"matrix{suffix}.png", its.plot())
        run.figure(f"bars{suffix}.png", its.plot("bars", reference=against[kind]))
        title = f"{its.kind} scores, each model in its own range of colours"
        run.figure(f"heatmaps{suffix}.png", heatmaps({n: one.values for n, one in by_kind[kind].items()}, title))


def _weights(
    run: Run, config: Config, models: dict[str, str], reference: str, scores: Mapping[str, lens_truth.HeadScores]
) -> list[str]:
    """The reference's scores against what every other model kept of its weights; gives back who is not compared."""
    from lens_truth.lineage.figures import preservation_scatter
    from lens_truth.lineage.kept import circuits_table, preservation

    if reference not in models or config.shared_grid:
        return []
    base = models.pop(reference)
    kept: dict[str, tuple[lens_truth.WeightSimilarity, Preservation]] = {}
    notes: list[str] = []
    for name, where in models.items():
        try:
            found = lens_truth.weight_similarity(base, where, trust_remote_code=config.trust_remote_code)
        except InputError as error:
            notes.append(f"{name}: not compared: {error}")
            continue
        related = preservation(scores[reference], scores[name], found, share=config.top, seed=config.seed)
        kept[name] = replace(found, base=reference, child=name), related
        for result in kept[name]:
            run.hold(result, name)
    if kept:
        print(f"\nscore in {reference} against the cosine of each head's circuits with those in:\n")
        print_table(circuits_table(reference, kept))
        run.figure("weights.png", preservation_scatter(reference, scores[reference], kept))
    return notes


def _truth_causal(run: Run, config: Config, by_kind: Scores) -> None:
    from lens_truth.lineage.figures import truth_causal_scatter
    from lens_truth.lineage.inheritance import truth_against_causal

    truth, causal = by_kind.get("truth", {}), by_kind.get("causal", {})
    if not truth.keys() & causal.keys():
        return
    found = truth_against_causal(truth, causal, n_permutations=config.permutations, seed=config.seed)
    run.hold(found)
    print("\ntruth score against causal score, over the heads of each model:\n")
    print_table(found.tables()[0])
    run.figure("truth_causal.png", truth_causal_scatter(found, truth, causal))
