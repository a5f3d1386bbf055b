"""What does a descendant keep of each head's weights? Cosines of W_Q, W_K, W_V, W_O and of the QK and OV circuits of a
base and its child (an LLM, or the language tower of a multimodal model), and whether heads with high truth scores keep
more than the rest.

Reads safetensors layer by layer. Writes weights.csv, maps.png, scatter.png (with scores) and result.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lens_truth.commands.compute import on_terminal, result_files
from lens_truth.commands.score_sources import Scoring, probing_runs, read_scores, score_model
from lens_truth.errors import InputError
from lens_truth.io.files import check_out
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, print_warnings, text_table

if TYPE_CHECKING:
    from lens_truth.lineage.preservation import Preservation
    from lens_truth.lineage.weights import WeightSimilarity
    from lens_truth.models.checkpoint import Checkpoint
    from lens_truth.scoring.scores import HeadScores

LARGE = 1 << 30
"""Bytes from which a checkpoint is not loaded and probed unasked."""

ASK = "give --base-scores and --child-scores, or --data to probe both"
DATA, STRANGER = "zoo:text", "zoo:llama-seed1"


@dataclass(frozen=True)
class Config(Scoring):
    """Flags of `weights`."""

    base: str = "zoo:llama-base"
    """A Hugging Face id, a folder, or zoo:NAME."""
    child: str = "zoo:llama-chat"
    """Its descendant: of the same attention shape, alone or inside a multimodal model."""
    unrelated: str | None = None
    """A model of the same shape that does not descend from the base, for comparison; by default, for the zoo's pair,
    zoo:llama-seed1."""
    base_scores: str | None = None
    """File of the base's head scores."""
    child_scores: str | None = None
    """File of the child's head scores."""
    data: str | None = None
    """Examples to probe base and child on where no score files are given. By default zoo:text for checkpoints under
    1 GB; larger ones are compared by their weights alone."""
    top: float = 0.25
    """Share of heads that count as those with high scores."""
    out: Path = Path("runs/weights")
    """Folder for the results."""


def run(config: Config) -> None:
    """Compares, relates to scores, writes."""
    import numpy as np

    from lens_truth.io.files import write_text
    from lens_truth.io.results import none_for_nan
    from lens_truth.io.runs import Run
    from lens_truth.lineage.figures import preservation_scatter
    from lens_truth.lineage.preservation import preservation
    from lens_truth.lineage.weights import MEASURES, check_same_heads, compare_checkpoints
    from lens_truth.models.checkpoint import open_checkpoint
    from lens_truth.plots.heads import heatmaps
    from lens_truth.plots.style import save
    from lens_truth.stats.top_heads import top_heads

    clock = Run("weights", config)
    stranger = config.unrelated or (STRANGER if (config.base, config.child) == (Config.base, Config.child) else None)
    opened = {
        role: open_checkpoint(name, trust_remote_code=config.trust_remote_code)
        for role, name in (("base", config.base), ("child", config.child), ("unrelated", stranger))
        if name is not None
    }
    for other in list(opened.values())[1:]:
        check_same_heads(opened["base"], other)
    heads = opened["base"].heads
    top_heads(np.zeros((heads.n_layers, heads.n_heads)), config.top)  # said now rather than after minutes
    check_out(config.out)
    scores, notes = _scores(config, opened)
    kept = {
        role: compare_checkpoints(opened["base"], other, progress=on_terminal())
        for role, other in opened.items()
        if role != "base"
    }
    related: dict[str, Preservation] = {}
    if "base" in scores:
        related = {
            role: preservation(scores["base"], scores.get(role), its, share=config.top, seed=config.seed)
            for role, its in kept.items()
        }
    warnings = [
        f"{opened[role].name}: {its.undefined} heads have a matrix of zeros in it or in the base, so no cosine"
        for role, its in kept.items()
        if its.undefined
    ]

    write_text(config.out / "weights.csv", _csv(kept, scores))
    title = f"{opened['child'].name} against {opened['base'].name}, each map in its own range of colours"
    save(heatmaps({m: getattr(kept["child"], m) for m in MEASURES}, title), config.out / "maps.png")
    files = ["weights.csv", "maps.png"]
    if related:
        children = {opened[role].name: (its, related[role]) for role, its in kept.items()}
        save(preservation_scatter(opened["base"].name, scores["base"], children), config.out / "scatter.png")
        files.append("scatter.png")
    results = {
        "base": opened["base"].name,
        **{
            role: {
                "name": opened[role].name,
                "mean": its.means(),
                "heads": {measure: none_for_nan(getattr(its, measure)) for measure in MEASURES},
                "undefined_heads": its.undefined,
                "preservation": related[role].as_dict() if role in related else None,
            }
            for role, its in kept.items()
        },
        "notes": notes,
        "head_scores": {f"{its.kind} scores of {opened[role].name}": its.as_dict() for role, its in scores.items()},
    }
    hashes = {"base": kept["child"].hashes[0], **{role: its.hashes[1] for role, its in kept.items()}}
    hashes |= {f"{role}_scores": its.provenance.get("file_hash") for role, its in scores.items()}
    clock.write(config.out, results, hashes, warnings)

    _print(opened, kept, related)
    print("".join(f"\n{note}" for note in notes))
    print_warnings(warnings)
    result_files(config.out, "result.json", *files)


def _scores(config: Config, opened: dict[str, Checkpoint]) -> tuple[dict[str, HeadScores], list[str]]:
    """Of base and child: from files, or by probing both; and what the user should know about it."""
    files = {"base": config.base_scores, "child": config.child_scores}
    given = {role: read_scores(file) for role, file in files.items() if file is not None}
    heads = opened["base"].heads
    for role, scores in given.items():
        if scores.values.shape != (heads.n_layers, heads.n_heads):
            L, H = scores.values.shape
            raise InputError(
                f"{files[role]}: holds scores of {L} x {H} heads, the models have {heads.n_layers} x {heads.n_heads}"
            )
    if given:
        if "base" not in given:
            raise InputError("--child-scores was given without --base-scores, whose heads they are compared with")
        return given, []
    pair = [opened[role] for role in ("base", "child")]
    if config.data is None and any(checkpoint.n_bytes >= LARGE for checkpoint in pair):
        return {}, [f"no scores: the checkpoints are large, so they are not loaded and probed unasked; {ASK}"]
    made: dict[str, HeadScores] = {}
    runs = probing_runs(config.data or DATA, config)
    for role in ("base", "child"):
        print(f"scoring {opened[role].name} on {config.data or DATA}", flush=True)
        keep = config.out / "scores"
        try:
            made[role] = score_model(opened[role].name, ["truth"], runs, config, keep)["truth"]
        except InputError as error:
            if config.data is not None:
                raise
            return {}, [f"no scores: {error}; {ASK}"]
    return made, []


def _csv(kept: dict[str, WeightSimilarity], scores: dict[str, HeadScores]) -> str:
    """A row a head; empty where nothing is defined."""
    from lens_truth.lineage.weights import MEASURES
    from lens_truth.scoring.scores import heads_csv

    columns = {f"{role}_score": its.values for role, its in scores.items()}
    for role, its in kept.items():
        prefix = "" if role == "child" else f"{role}_"
        columns |= {f"{prefix}{measure}": getattr(its, measure) for measure in MEASURES}
    return heads_csv(columns, undefined="")


def _print(opened: dict[str, Checkpoint], kept: dict[str, WeightSimilarity], related: dict[str, Preservation]) -> None:
    from lens_truth.lineage.weights import MEASURES
    from lens_truth.stats.relations import relation_text

    heads = opened["base"].heads
    print(f"{heads.n_layers} layers x {heads.n_heads} heads ({heads.n_kv_heads} KV heads) of width {heads.d_head}\n")
    means = {role: its.means() for role, its in kept.items()}
    print_table(
        text_table(
            ["mean over heads", *(opened[role].name for role in kept)],
            [
                [
                    f"cosine of {m}" if m != "change" else "relative change",
                    *(number(means[role][m], 4) for role in kept),
                ]
                for m in MEASURES
            ],
        )
    )
    if not related:
        return
    child = related["child"]
    print(f"\nhead score in {opened['base'].name} against what {opened['child'].name} kept; p by shuffles in layers:\n")
    rows: list[list[str]] = []
    for m in MEASURES:
        score, top = child.score[m], child.top[m]
        score_p, top_p = child.p_holm[m]
        rows.append(
            [
                m,
                *(
                    [f"{score.pearson:.2f}", f"{score.pearson_within_layer:.2f}", f"{score_p:.2g}"]
                    if score
                    else [""] * 3
                ),
                *(
                    [f"{top.difference:+.4f}", f"{top.difference_within_layer:+.4f}", f"{top_p:.2g}"]
                    if top
                    else [""] * 3
                ),
            ]
        )
    n = next((top.n_top for top in child.top.values() if top), 0)
    print_table(
        text_table(["", "r", "inside layers", "p (Holm)", f"top {n} - rest", "inside layers", "p (Holm)"], rows)
    )
    if child.score_change is not None:
        print(f"\nchange of score against change of weights: {relation_text(child.score_change)}")
