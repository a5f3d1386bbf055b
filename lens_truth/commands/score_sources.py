"""Head scores by name: a file of scores, or a model whose heads are scored now and kept in the output folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.commands.compute import Compute, load_model, plain_name, scores_by_kind
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lens_truth.commands.probing_data import ProbingData
    from lens_truth.data.examples import Example
    from lens_truth.scoring.scores import HeadScores

ROWS = 600
"""Examples of each probing run on generated data: enough for a noise of about .01 in a score."""


@dataclass(frozen=True)
class Scoring(Compute):
    """How models are scored."""

    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt for all models, or each model's chat template."""
    limit: int | None = None
    """Only the first so many examples; generated data has 600 a probing run."""
    probe_seeds: int = 3
    """Probing runs of a model on generated data, each on examples of its own."""


@dataclass(frozen=True)
class Source:
    """An argument of a command: `NAME=WHERE`, or WHERE alone."""

    name: str
    where: str

    @property
    def is_file(self) -> bool:
        """Whether it names a file of scores rather than a model."""
        from lens_truth.scoring.score_files import is_score_file

        return is_score_file(self.where)


def parse_sources(arguments: Sequence[str]) -> list[Source]:
    """Names the arguments; by default a model has its own name and a file that of the file.

    Raises:
        InputError: if two have the same name.
    """
    sources: list[Source] = []
    for argument in arguments:
        name, equals, where = argument.partition("=")
        if not equals or not name or "/" in name or Path(argument).exists():
            where, name = argument, Path(argument).name.split(".safetensors")[0]
            for suffix in (".gz", ".json", ".npy", ".csv"):
                name = name.removesuffix(suffix)
        sources.append(Source(name.removeprefix("zoo:"), where))
    seen: dict[str, str] = {}
    for source in sources:
        if source.name in seen:
            raise InputError(
                f"two inputs are called '{source.name}' ({seen[source.name]} and {source.where}); "
                f"give them names: one={seen[source.name]} other={source.where}"
            )
        seen[source.name] = source.where
    return sources


def check_model_name(where: str) -> None:
    """Raises an InputError for a model name that names nothing, or a file that holds no scores."""
    from lens_truth.models.loading import model_source

    if Path(where).is_file():
        raise InputError(f"{where}: is neither a file of head scores (by its name) nor a folder with a model")
    model_source(where)


def read_scores(where: str, n_kv_heads: int | None = None) -> HeadScores:
    """Scores from a file, which may not know how many KV heads there are."""
    from lens_truth.io.files import hash_of
    from lens_truth.scoring.scores import HeadScores

    scores = HeadScores.load(where)
    known = {"n_kv_heads": n_kv_heads} if n_kv_heads else {}
    try:
        return replace(
            scores, provenance={**known, **scores.provenance, "file_hash": hash_of(Path(where).read_bytes())}
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def has_pairs(examples: Sequence[Example]) -> bool:
    """Whether some question has a supported and a hallucinated answer, which causal scores need."""
    from lens_truth.data.examples import question_pairs

    try:
        question_pairs(examples)
    except InputError:
        return False
    return True


class ProbingRuns:
    """The examples of each probing run, by its seed: a run on `zoo:` data draws its own; a file is read once."""

    def __init__(self, data: ProbingData, config: Scoring) -> None:
        if config.probe_seeds < 1:
            raise InputError(f"{config.probe_seeds} probing runs were asked for; at least 1 is needed")
        self.data, self._config = data, config
        self._loaded: dict[bool, dict[int, list[Example]]] = {}

    def of(self, multimodal: bool) -> dict[int, list[Example]]:
        """The runs of text models or of multimodal models."""
        if multimodal not in self._loaded:
            config, generated = self._config, self.data.is_generated(multimodal)
            seeds = range(config.seed, config.seed + config.probe_seeds) if generated else [config.seed]
            limit = ROWS if config.limit is None and generated else config.limit
            self._loaded[multimodal] = {seed: self.data.load(multimodal, limit, seed) for seed in seeds}
        return self._loaded[multimodal]


def probing_runs(data: str | ProbingData, config: Scoring) -> ProbingRuns:
    """The probing runs of a data set, read at once, or of a setting, read when a model of its kind is scored."""
    from lens_truth.commands.probing_data import ProbingData

    runs = ProbingRuns(ProbingData(data) if isinstance(data, str) else data, config)
    if runs.data.setting is None:
        runs.of(multimodal=False)
    return runs


def score_model(
    where: str, kinds: Sequence[str], runs: ProbingRuns, config: Scoring, keep: Path
) -> dict[str, HeadScores]:
    """Scores of each kind, the mean of several probing runs, which are then the scores' repeated estimates; of a single
    run the folds are. Where no question has answers of both labels, truth scores are the only ones (`DataWarning`).

    What `keep` holds already, from the same weights, examples and settings, is not computed again.
    """
    from lens_truth.data.examples import examples_hash
    from lens_truth.errors import notice
    from lens_truth.models.tower import weights_hash

    model = load_model(where, config)
    multimodal = runs.data.asks_for_images(model)
    examples_of, title = runs.of(multimodal), runs.data.title(multimodal)
    if "truth" in kinds and len(kinds) > 1 and not has_pairs(examples_of[config.seed]):
        notice(f"{title}: no question has answers of both labels, so only truth scores are computed")
        kinds = ["truth"]
    settings = {
        "weights": weights_hash(model),
        "runs": [examples_hash(examples) for examples in examples_of.values()],
        "seeds": list(examples_of),
        "template": config.template,
    }
    scores: dict[str, HeadScores] = {}
    for kind in kinds:
        path = keep / f"{plain_name(where)}-{kind}.safetensors"
        made = _kept(path, kind, settings)
        if made is None:
            estimates = [
                scores_by_kind(kind, model, examples, replace(config, seed=seed), config.template)
                for seed, examples in examples_of.items()
            ]
            made = _mean(estimates, settings)
            made.save(path)
        scores[kind] = replace(made, provenance={**made.provenance, "data": title})
    return scores


def _kept(path: Path, kind: str, settings: dict[str, Any]) -> HeadScores | None:
    """Scores that an earlier run left there, if they were made in the same way."""
    from lens_truth.scoring.scores import HeadScores

    if not path.is_file():
        return None
    try:
        scores = HeadScores.load(path)
    except InputError:
        return None
    same = scores.kind == kind and all(scores.provenance.get(name) == value for name, value in settings.items())
    return scores if same else None


def _mean(runs: Sequence[HeadScores], settings: dict[str, Any]) -> HeadScores:
    import numpy as np

    first = replace(runs[0], provenance={**runs[0].provenance, **settings})
    if len(runs) == 1:
        return first
    values = np.stack([run.values for run in runs])
    return replace(first, values=values.mean(0), metrics={}, folds=values)
