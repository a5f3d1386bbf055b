"""Are head scores inherited? Correlates the scores of every two models over heads, with depth removed, against heads
shuffled inside layers, under the ceiling that noise sets, over the floor of unrelated models.

Inputs are score files (.safetensors, .npy, .csv, retrieval .json) or models, which are scored first; without any, the
whole zoo. Writes result.json, table.md, matrix.png, bars.png; for models also heatmaps.png, truth_causal.png and
weights.png (score against weights kept), and a matrix and bars for every further kind of score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from lens_truth.commands.compute import result_files
from lens_truth.commands.lineage_inputs import cropped, doubts, inputs_of, read_files, read_repeats, scores_of
from lens_truth.commands.probing_data import SettingFlags
from lens_truth.commands.score_sources import Scoring, Source
from lens_truth.errors import InputError
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, print_warnings, text_table

if TYPE_CHECKING:
    from lens_truth.lineage.inheritance import Heritability
    from lens_truth.lineage.preservation import Preservation
    from lens_truth.lineage.weights import WeightSimilarity
    from lens_truth.plots.points import Panel
    from lens_truth.scoring.scores import HeadScores


@dataclass(frozen=True)
class Config(SettingFlags, Scoring):
    """Flags of `inherit`."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """[NAME=]FILE of scores, or [NAME=]MODEL (a Hugging Face id, a folder, zoo:NAME); two or more."""
    reference: str | None = None
    """The input that bars.png compares the others with; by default the first."""
    unrelated: tuple[str, ...] = ()
    """Names of inputs with one architecture and no common ancestor: their correlations are the floor of bars.png."""
    repeat: tuple[str, ...] = ()
    """NAME=FILE: a further estimate of an input's scores, from which its noise ceiling follows."""
    scores: tuple[Literal["truth", "causal", "learned"], ...] = ("truth", "causal")
    """Kinds of scores to compute for models; files are compared with the first."""
    data: str | None = None
    """Examples that all models are scored on (see `probe`); by default setting D on the zoo's data."""
    kv_heads: tuple[str, ...] = ()
    """N or NAME=N: KV heads a layer, for score files that do not say; heads that share one are shuffled together."""
    shared_grid: bool = False
    """Compare models of different shape on the layers and heads that all of them have."""
    permutations: int = 9999
    """Shuffles of heads inside layers."""
    top: float = 0.25
    """Share of heads that count as those with high scores when weights are compared."""
    out: Path = Path("runs/inherit")
    """Folder for the results."""


def run(config: Config) -> None:
    """Reads or computes scores, compares, writes."""
    from lens_truth.io.files import write_text
    from lens_truth.io.runs import Run
    from lens_truth.lineage.figures import correlation_matrix, reference_bars
    from lens_truth.lineage.inheritance import heritability
    from lens_truth.lineage.words import markdown_table, pair_rows, verdicts
    from lens_truth.plots.heads import heatmaps
    from lens_truth.plots.style import save

    clock = Run("inherit", config)
    sources, reference, unrelated = inputs_of(config)
    read = read_files(config, sources)
    repeats = read_repeats(config, sources, read)
    by_kind, warnings = scores_of(config, sources, read)
    if config.shared_grid:
        by_kind, repeats = cropped(by_kind, repeats)
    scores = next(iter(by_kind.values()))
    warnings += doubts(scores)

    compared: dict[str, Heritability] = {}
    results: dict[str, Any] = {}
    parts: list[str] = []
    root = _roots(sources)
    for kind, its in by_kind.items():
        if len(its) < 2:  # one model among files: no pair of its kind
            continue
        first = not compared
        floor = [name for name in unrelated if name in its]
        result = compared[kind] = heritability(
            its,
            repeats={name: list(some.values()) for name, some in repeats.items()} if first else None,
            unrelated=floor if len(floor) > 1 else (),
            n_permutations=config.permutations,
            seed=config.seed,
        )
        against = reference if reference in its else result.names[0]
        sentences = verdicts(result, root)
        record = {"kind": _kinds(its), "reference": against, **result.as_dict(), "verdicts": sentences}
        results = record if first else {**results, kind: record}
        said = "".join(f"- {sentence}\n" for sentence in sentences)
        title = f"{_kinds(its).capitalize()} scores"
        parts.append(f"## {title}\n\n{markdown_table(result)}\n{said}")
        print(f"\n{title}, against {against}:\n")
        print_table(text_table(*pair_rows(result, against)))
        print("\n" + said, end="")
    results["data"] = {name: its.provenance["data"] for name, its in scores.items() if "data" in its.provenance}
    results["head_scores"] = {
        f"{one.kind} scores of {name}": one.as_dict() for its in by_kind.values() for name, one in its.items()
    }
    results["weights"], results["weights_skipped"] = _weights(config, sources, reference, scores)
    files = ["weights.png"] if results["weights"] else []
    if both := [name for name in by_kind.get("causal", {}) if name in by_kind.get("truth", {})]:
        results["truth_causal"] = _truth_and_causal(
            config, {n: (by_kind["truth"][n], by_kind["causal"][n]) for n in both}
        )
        files.append("truth_causal.png")

    for index, (kind, result) in enumerate(compared.items()):
        suffix, its = f"_{kind}" if index else "", by_kind[kind]
        against = reference if reference in its else result.names[0]
        save(correlation_matrix(result), config.out / f"matrix{suffix}.png")
        save(reference_bars(result, against), config.out / f"bars{suffix}.png")
        maps = {name: one.values for name, one in its.items()}
        title = f"{_kinds(its)} scores, each model in its own range of colours"
        save(heatmaps(maps, title), config.out / f"heatmaps{suffix}.png")
        files += [f"{figure}{suffix}.png" for figure in ("matrix", "bars", "heatmaps")]
    write_text(config.out / "table.md", "# Inheritance of head scores\n\n" + "\n".join(parts))
    hashes = {name: its.provenance.get("weights") or its.provenance.get("file_hash") for name, its in scores.items()}
    clock.write(config.out, results, hashes, warnings)
    print_warnings(warnings)
    result_files(config.out, "result.json", "table.md", *files)


def _kinds(scores: dict[str, HeadScores]) -> str:
    return " and ".join(dict.fromkeys(its.kind for its in scores.values()))


def _roots(sources: Sequence[Source]) -> dict[str, str] | None:
    """Every input's ancestor, if all are models of the zoo."""
    if not all(source.where.startswith("zoo:") for source in sources):
        return None
    from lens_truth.zoo.recipes import root_of  # imports torch, which score files do without

    return {source.name: root_of(source.where) for source in sources}


def _truth_and_causal(config: Config, scores: dict[str, tuple[HeadScores, HeadScores]]) -> dict[str, Any]:
    """Do heads that know also act? One panel a model.

    A few heads of the first layers carry most of the spread of causal scores and none of that of truth scores, so the
    test is made on ranks inside layers, where each layer counts alike."""
    import numpy as np

    from lens_truth.plots.points import Panel, scatter
    from lens_truth.plots.style import save
    from lens_truth.stats.correlation import holm_by_name, ranks_within_layers, relate

    plain, ranked = (
        {
            name: relate(
                prepare(knows.values),
                prepare(acts.values),
                n_kv_heads=knows.n_kv_heads,
                n_permutations=config.permutations,
                seed=config.seed,
            )
            for name, (knows, acts) in scores.items()
        }
        for prepare in (np.asarray, ranks_within_layers)
    )
    p_holm = holm_by_name(ranked)
    panels: list[Panel] = []
    results: dict[str, Any] = {}
    print("\ntruth score against causal score, over the heads of each model:\n")
    for name, (knows, acts) in scores.items():
        one, by_rank = plain[name], ranked[name]
        results[name] = {
            "values": one and asdict(one),
            "ranks_within_layers": by_rank and asdict(by_rank),
            "p_holm": p_holm[name],
        }
        said = "no correlation is defined"
        if one is not None and by_rank is not None:
            low, high = by_rank.null_within_layer
            said = (
                f"r {one.pearson:.2f}; ranks inside layers {by_rank.pearson:.2f} "
                f"(null {low:.2f} to {high:.2f}, p = {by_rank.p_value:.2g}, Holm {p_holm[name]:.2g})"
            )
        panels.append(Panel(name, knows.values, {"causal": acts.values}, said))
        print(f"  {name}: {said}")
    figure = scatter(panels, "truth score (out-of-fold accuracy)", "causal score d(margin)/d(gate)")
    save(figure, config.out / "truth_causal.png")
    return results


def _weights(
    config: Config, sources: Sequence[Source], reference: str, scores: dict[str, HeadScores]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The reference's scores against what every other model kept of its weights; and who could not be compared."""
    from lens_truth.lineage.figures import preservation_scatter
    from lens_truth.lineage.preservation import preservation
    from lens_truth.lineage.weights import weight_similarity
    from lens_truth.plots.style import save
    from lens_truth.stats.relations import relation_text

    models = {source.name: source.where for source in sources if not source.is_file}
    if reference not in models or config.shared_grid or len(models) < 2:
        return {}, {}
    children: dict[str, tuple[WeightSimilarity, Preservation]] = {}
    results: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    print(f"\nscore in {reference} against the cosine of each head's circuits with those in:\n")
    for name, where in models.items():
        if name == reference:
            continue
        try:
            kept = weight_similarity(models[reference], where, trust_remote_code=config.trust_remote_code)
        except InputError as error:
            skipped[name] = str(error)
            continue
        related = preservation(scores[reference], scores[name], kept, share=config.top, seed=config.seed)
        children[name], mean = (kept, related), kept.means()
        results[name] = {"mean": mean, **related.as_dict()}
        for circuit in ("ov", "qk"):
            said = relation_text(related.score[circuit])
            print(f"  {name}: mean cosine {circuit.upper()} {number(mean[circuit])}; {said}")
    for name, why in skipped.items():
        print(f"  {name}: not compared: {why}")
    if children:
        save(preservation_scatter(reference, scores[reference], children), config.out / "weights.png")
    return results, skipped
