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

from lens_truth.commands.common import print_table, result_files
from lens_truth.commands.sources import Scoring, Source, parse_sources, read_scores, score_model
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.scores import HeadScores

UNRELATED = ("llama-base", "llama-seed1", "llama-seed2")
"""The zoo's models that share an architecture and no ancestor."""


@dataclass(frozen=True)
class Config(Scoring):
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
    data: str = "zoo:text"
    """Examples that models are scored on (see `probe`)."""
    kv_heads: int | None = None
    """KV heads a layer, for score files that do not say: heads that share one are shuffled together."""
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
    from lens_truth.files import write_text
    from lens_truth.inherit import inherit, shared_grid
    from lens_truth.lineage_verdict import markdown_table, pair_rows, verdicts
    from lens_truth.plots.heads import save_heatmaps
    from lens_truth.plots.lineage import save_matrix, save_reference_bars
    from lens_truth.runs import Run

    clock = Run("inherit", config)
    if config.permutations < 1 or not 0 < config.top < 1:
        raise InputError("--permutations must be at least 1, and --top between 0 and 1")
    sources, reference, unrelated = _inputs(config)
    repeats = _repeats(config, [source.name for source in sources])
    by_kind = _scores(config, sources)
    if config.shared_grid:
        grid = shared_grid([its for some in (*by_kind.values(), *repeats.values()) for its in some.values()])
        by_kind, repeats = (
            {key: {name: its.crop(*grid) for name, its in some.items()} for key, some in table.items()}
            for table in (by_kind, repeats)
        )
        print(f"shared grid: {grid[0]} layers x {grid[1]} heads; a head's number means nothing across architectures")

    files, results, parts, root = [], {}, [], _roots(sources)
    for kind, scores in by_kind.items():
        first = not files
        against = reference if reference in scores else next(iter(scores))
        result = inherit(
            scores,
            repeats={name: list(some.values()) for name, some in repeats.items()} if first else None,
            unrelated=[name for name in unrelated if name in scores],
            n_permutations=config.permutations,
            seed=config.seed,
        )
        suffix = "" if first else f"_{kind}"
        save_matrix(config.out / f"matrix{suffix}.png", result)
        save_reference_bars(config.out / f"bars{suffix}.png", result, against)
        title = f"{_title(scores)}, each model in its own range of colours"
        save_heatmaps(config.out / f"heatmaps{suffix}.png", {name: its.values for name, its in scores.items()}, title)
        files += [f"{figure}{suffix}.png" for figure in ("matrix", "bars", "heatmaps")]
        sentences = verdicts(result, root)
        record = {"kind": kind, "reference": against, **result.as_dict(), "verdicts": sentences}
        results = record if first else {**results, kind: record}
        said = "".join(f"- {sentence}\n" for sentence in sentences)
        parts.append(f"## {_title(scores)}\n\n{markdown_table(result)}\n{said}")
        print(f"\n{_title(scores)}, against {against}:\n")
        print_table(*pair_rows(result, against))
        print("\n" + said, end="")

    if {"truth", "causal"} <= by_kind.keys():
        results["truth_causal"] = _truth_and_causal(config, by_kind["truth"], by_kind["causal"])
        files.append("truth_causal.png")
    scores = next(iter(by_kind.values()))
    weights, skipped = _weights(config, sources, reference, scores)
    if weights:
        results["weights"] = weights
        files.append("weights.png")
    results["weights_skipped"] = skipped
    write_text(config.out / "table.md", "# Inheritance of head scores\n\n" + "\n".join(parts))
    hashes = {name: its.provenance.get("weights") or its.provenance.get("file_hash") for name, its in scores.items()}
    clock.write(config.out, results, hashes, [])
    result_files(config.out, "result.json", "table.md", *files)


def _zoo() -> list[str]:
    from lens_truth.zoo.recipes import RECIPES  # imports torch, which score files do without

    return [f"zoo:{name}" for name in RECIPES]


def _inputs(config: Config) -> tuple[list[Source], str, tuple[str, ...]]:
    """Sources, the reference and the unrelated ones."""
    sources = parse_sources(config.inputs or _zoo())
    if len(sources) < 2:
        raise InputError(f"a comparison needs two inputs or more; only '{sources[0].where}' was given")
    names = [source.name for source in sources]
    reference = config.reference or names[0]
    unrelated = config.unrelated or (() if config.inputs else UNRELATED)
    for wanted in (reference, *unrelated):
        if wanted not in names:
            raise InputError(f"'{wanted}' is not one of the inputs, which are {', '.join(names)}")
    return sources, reference, unrelated


def _repeats(config: Config, names: Sequence[str]) -> dict[str, dict[str, HeadScores]]:
    """Further estimates, by the input that they are of and by file."""
    repeats: dict[str, dict[str, HeadScores]] = {}
    for argument in config.repeat:
        name, equals, where = argument.partition("=")
        if not equals or name not in names:
            raise InputError(f"--repeat {argument}: must be NAME=FILE with the name of an input ({', '.join(names)})")
        repeats.setdefault(name, {})[where] = read_scores(where, config.kv_heads)
    return repeats


def _scores(config: Config, sources: Sequence[Source]) -> dict[str, dict[str, HeadScores]]:
    """By kind and name; files, whatever their kind, stand with the first kind."""
    first = config.scores[0]
    read = {source.name: read_scores(source.where, config.kv_heads) for source in sources if source.is_file}
    by_kind: dict[str, dict[str, HeadScores]] = {kind: {} for kind in config.scores}
    for number, source in enumerate(sources, start=1):
        if source.name in read:
            by_kind[first][source.name] = read[source.name]
            continue
        print(f"scoring {source.where} on {config.data} ({number} of {len(sources)})", flush=True)
        made = score_model(source.where, config.scores, config.data, config, config.out / "scores")
        for kind, scores in made.items():
            by_kind[kind][source.name] = scores
    return {kind: scores for kind, scores in by_kind.items() if kind == first or len(scores) > 1}


def _roots(sources: Sequence[Source]) -> dict[str, str] | None:
    """Every input's ancestor, if all are models of the zoo."""
    if not all(source.where.startswith("zoo:") for source in sources):
        return None
    from lens_truth.zoo.recipes import root_of  # imports torch, which score files do without

    return {source.name: root_of(source.where) for source in sources}


def _title(scores: dict[str, HeadScores]) -> str:
    kinds = dict.fromkeys(its.kind for its in scores.values())
    return f"{' and '.join(kinds)} scores".capitalize()


def _truth_and_causal(
    config: Config, truth: dict[str, HeadScores], causal: dict[str, HeadScores]
) -> dict[str, dict[str, Any] | None]:
    """Do heads that know also act? One panel a model."""
    from lens_truth.correlation import relate
    from lens_truth.lineage_verdict import relation_text
    from lens_truth.plots.scatter import Panel, save_scatter

    panels, results = [], {}
    print("\ntruth score against causal score, over the heads of each model:\n")
    for name, acts in causal.items():
        knows = truth[name]
        relation = relate(
            knows.values, acts.values, n_kv_heads=knows.n_kv_heads, n_permutations=config.permutations, seed=config.seed
        )
        results[name] = relation and asdict(relation)
        panels.append(Panel(name, knows.values, {"causal": acts.values}, relation_text(relation)))
        print(f"  {name}: {relation_text(relation)}")
    save_scatter(
        config.out / "truth_causal.png", panels, "truth score (out-of-fold accuracy)", "causal score d(margin)/d(gate)"
    )
    return results


def _weights(
    config: Config, sources: Sequence[Source], reference: str, scores: dict[str, HeadScores]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The reference's scores against what every other model kept of its weights; and who could not be compared."""
    from lens_truth.lineage_verdict import relation_text
    from lens_truth.plots.preserved import save_preservation
    from lens_truth.preservation import preservation
    from lens_truth.weights import compare_weights

    models = {source.name: source.where for source in sources if not source.is_file}
    if reference not in models or config.shared_grid or len(models) < 2:
        return {}, {}
    children, results, skipped = {}, {}, {}
    print(f"\nscore in {reference} against the cosine of each head's circuits with those in:\n")
    for name, where in models.items():
        if name == reference:
            continue
        try:
            kept = compare_weights(models[reference], where, trust_remote_code=config.trust_remote_code)
        except InputError as error:
            skipped[name] = str(error)
            continue
        related = preservation(scores[reference], scores[name], kept, share=config.top, seed=config.seed)
        children[name] = kept, related
        mean = results[name] = {"mean": kept.means(), **related.as_dict()}
        for circuit in ("ov", "qk"):
            said = relation_text(related.score[circuit])
            print(f"  {name}: {circuit.upper()} kept {mean['mean'][circuit]:.3f} on average; {said}")
    for name, why in skipped.items():
        print(f"  {name}: not compared: {why}")
    if children:
        save_preservation(config.out / "weights.png", reference, scores[reference], children)
    return results, skipped
