"""Head scores by name: a file of scores, or a model whose heads are scored now, on one data set or a setting of the
paper's (which gives text models and multimodal models data of their own), and kept in the output folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.given import GENERATED
from lens_truth.commands.run import (
    PROBED,
    Compute,
    hash_of_examples,
    load_model,
    plain_name,
    read_data,
    scores_by_kind,
    warn_of,
)
from lens_truth.errors import InputError, notice
from lens_truth.io.files import hash_of

if TYPE_CHECKING:
    from lens_truth.data.loading import Part

ROWS = 600
"""Examples of each probing run on generated data: enough for a noise of about .01 in a score."""

_FILES: tuple[Part, ...] = ("halueval", "phd", "phd_text", "rlhfv")


@dataclass(frozen=True)
class SettingFlags:
    """The paper's probing settings, and where their data lies."""

    setting: Literal["A", "B", "C", "D", "E"] | None = None
    """A probing setting of the paper in place of --data; text models are probed on HaluEval (C: PhD as text; E: both),
    multimodal models on A HaluEval, B the same with a black image, C PhD, D RLHF-V, E RLHF-V and PhD. Without files on
    the zoo's data."""
    halueval: Path | None = None
    """HaluEval's questions (qa_data.json), for settings."""
    phd: Path | None = None
    """TruthProbe's PhD rows (.jsonl, .jsonl.gz), for settings."""
    phd_text: Path | None = None
    """PhD rows with a text context for the image, for text models in settings; by default the questions of --phd."""
    rlhfv: Path | None = None
    """TruthProbe's RLHF-V rows (.jsonl, .jsonl.gz), for settings."""
    images: Path | None = None
    """The folder of the image files that data names."""


@dataclass(frozen=True)
class ProbingData:
    """A data set by name, or a setting."""

    data: str = ""
    """As `load_examples` knows it; not looked at where there is a setting."""
    setting: Literal["A", "B", "C", "D", "E"] | None = None
    files: dict[Part, Path] = field(default_factory=dict["Part", Path])
    images: Path | None = None

    def sources(self, multimodal: bool) -> list[str]:
        """The names of the data sets that a text model or a multimodal model is scored on."""
        from lens_truth.data.loading import setting_sources

        return [self.data] if self.setting is None else setting_sources(self.setting, multimodal, self.files)

    def asks_for_images(self, model: Any) -> bool:
        """Whether a model gets the setting's data for multimodal models."""
        from lens_truth.models.image_input import is_multimodal

        return self.setting is not None and is_multimodal(model)

    def load(self, multimodal: bool, limit: int | None, seed: int) -> list[lens_truth.Example]:
        """The examples; what makes scores on them artefacts is warned of (`DataWarning`)."""
        from lens_truth.data.loading import setting_examples

        if self.setting is not None:
            how: dict[str, Any] = {"images": self.images, "limit": limit, "seed": seed}
            examples = setting_examples(self.setting, multimodal, self.files, **how)
        else:
            examples = read_data(self.data, limit, seed, self.images)
        warn_of(examples, self.title(multimodal))
        return examples

    def title(self, multimodal: bool) -> str:
        """For people: names without the folders that files lie in."""
        names = " and ".join(short_name(name) for name in self.sources(multimodal))
        return names if self.setting is None else f"{names} (setting {self.setting})"


def chosen_data(data: str | None, flags: SettingFlags, default: ProbingData) -> ProbingData:
    """What the flags ask for, if they go together."""
    files: dict[Part, Path] = {name: path for name in _FILES if (path := getattr(flags, name)) is not None}
    if data is not None and flags.setting is not None:
        raise InputError(f"--data {data} and --setting {flags.setting} were both given; a setting chooses its own data")
    if files and flags.setting is None:
        flag = next(iter(files)).replace("_", "-")
        raise InputError(f"--{flag} belongs to a setting; say which one with --setting A, B, C, D or E")
    if flags.images is not None and data is None and not files:
        raise InputError(f"--images {flags.images} was given, but no file of rows whose images lie there")
    if data is None and flags.setting is None:
        return default
    return ProbingData(data or "", flags.setting, files, flags.images)


def short_name(data: str) -> str:
    """A data set's name without the folders that its file lies in."""
    if data.startswith(GENERATED):
        return data
    source, colon, rest = data.partition(":")
    return f"{source}:{short_name(rest)}" if colon else Path(data).name


def list_part(argument: str) -> tuple[str, str | None]:
    """FILE#NAME: the file, and which of several lists of heads in it."""
    where, mark, part = argument.rpartition("#")
    return (argument, None) if not mark or Path(argument).exists() else (where, part)


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
    """Names the arguments, each by `NAME=` in front of it, or else by its file or folder; where two would be called the
    same, by the part of their paths in which they differ: `a/scores.npy b/scores.npy` are a and b."""
    given: list[tuple[str, str]] = []
    for argument in arguments:
        name, equals, where = argument.partition("=")
        named = equals and name and "/" not in name and not Path(argument).exists()
        given.append((name, where) if named else ("", argument))
    unnamed = short_names([where for name, where in given if not name])
    sources = [Source(name or unnamed[where], where) for name, where in given]
    for number, source in enumerate(sources):
        if other := next((its for its in sources[:number] if its.name == source.name), None):
            raise InputError(
                f"two inputs are called '{source.name}' ({other.where} and {source.where}); "
                f"give them names: one={other.where} other={source.where}"
            )
    return sources


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """What files, folders and models may be called: by the last part of the path; where several have that, by the parts
    in which their paths differ; where these are the same too, by the file's ending."""
    names = {path: _stem(Path(path).name) for path in paths}
    for same in {name: [path for path, its in names.items() if its == name] for name in names.values()}.values():
        if len(same) > 1:
            parts = [path.rstrip("/").split("/")[:-1] for path in same]
            start = _shared(parts)
            end = _shared([part[start:][::-1] for part in parts])
            for path, part in zip(same, parts, strict=True):
                folder = "-".join(part[start : len(part) - end])
                names[path] = folder or (Path(path).name if len(set(map(tuple, parts))) == 1 else names[path])
    return names


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all begin with."""
    columns = enumerate(zip(*parts, strict=False))
    return next((n for n, column in columns if len(set(column)) > 1), min(map(len, parts)))


def _stem(name: str) -> str:
    """A file's name without the endings of score files."""
    name = name.split(".safetensors")[0]
    for suffix in (".gz", ".json", ".npy", ".csv", ".parquet", ".txt"):
        name = name.removesuffix(suffix)
    return name.removeprefix("zoo:").removeprefix("pypi:")


def read_scores(where: str, n_kv_heads: int | None = None) -> lens_truth.HeadScores:
    """Scores from a file, which may not know how many KV heads there are."""
    scores = lens_truth.HeadScores.load(where)
    known = {"n_kv_heads": n_kv_heads} if n_kv_heads else {}
    provenance = {**known, **scores.provenance, "file_hash": hash_of(Path(where).read_bytes())}
    try:
        return replace(scores, provenance=provenance)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


class ProbingRuns:
    """The examples of each probing run, by its seed: a run on `zoo:` data draws its own; a file is read once.
    A data set is read at once, a setting when a model of its kind is scored."""

    def __init__(self, data: ProbingData, config: Scoring) -> None:
        if config.probe_seeds < 1:
            raise InputError(f"{config.probe_seeds} probing runs were asked for; at least 1 is needed")
        self.data, self._config = data, config
        self._loaded: dict[bool, dict[int, list[lens_truth.Example]]] = {}
        if data.setting is None:
            self.of(multimodal=False)

    def of(self, multimodal: bool) -> dict[int, list[lens_truth.Example]]:
        """The runs of text models or of multimodal models."""
        if multimodal not in self._loaded:
            config = self._config
            generated = all(name.startswith("zoo:") for name in self.data.sources(multimodal))
            seeds = range(config.seed, config.seed + config.probe_seeds) if generated else [config.seed]
            limit = ROWS if config.limit is None and generated else config.limit
            self._loaded[multimodal] = {seed: self.data.load(multimodal, limit, seed) for seed in seeds}
        return self._loaded[multimodal]


def score_model(
    where: str, kinds: Sequence[str], runs: ProbingRuns, config: Scoring, keep: Path
) -> dict[str, lens_truth.HeadScores]:
    """Scores of each kind, the mean of several probing runs, which are then the scores' repeated estimates; of a single
    run the folds are. Where no question has answers of both labels, those of probes are the only ones (`DataWarning`).

    What `keep` holds already, from the same weights, examples and settings, is not computed again.
    """
    from lens_truth.data.examples import question_pairs
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.provenance import setup_hash
    from lens_truth.scoring.score_runs import mean_of_runs
    from lens_truth.scoring.surface import warning_of

    model = load_model(where, config)
    multimodal = runs.data.asks_for_images(model)
    examples_of, title = runs.of(multimodal), runs.data.title(multimodal)
    if 0 < len(probed := [kind for kind in kinds if kind in PROBED]) < len(kinds):
        try:
            question_pairs(examples_of[config.seed])
        except InputError:
            only = " and ".join(probed)
            notice(f"{title}: no question has answers of both labels, so only {only} scores are computed")
            kinds = probed
    settings = {
        "weights": weights_hash(model),
        "setup": setup_hash(model),
        "runs": [hash_of_examples(examples) for examples in examples_of.values()],
        "seeds": list(examples_of),
        "template": config.template,
    }
    scores: dict[str, lens_truth.HeadScores] = {}
    for kind in kinds:
        path = keep / f"{plain_name(where)}-{kind}.safetensors"
        made = _kept(path, kind, settings, model)
        if made is None:
            estimates = [
                scores_by_kind(kind, model, examples, replace(config, seed=seed), config.template)
                for seed, examples in examples_of.items()
            ]
            mean_of_runs(estimates, settings).save(path)
            made = lens_truth.HeadScores.load(path)  # what a run that goes on finds there
        if said := warning_of(made):
            notice(f"{plain_name(where)}: {said}")
        scores[kind] = replace(made, provenance={**made.provenance, **settings, "data": title})
    return scores


def _kept(path: Path, kind: str, settings: dict[str, Any], model: Any) -> lens_truth.HeadScores | None:
    """Scores that an earlier run (of an earlier build, too) left there, if they were made in the same way."""
    from lens_truth.models.hashing import is_hash_of

    try:
        scores = lens_truth.HeadScores.load(path) if path.is_file() else None
    except InputError:
        return None
    if scores is None or scores.kind != kind:
        return None
    said = {name: scores.provenance.get(name) for name in settings}
    same = said == {**settings, "weights": said["weights"]} and is_hash_of(said["weights"], model)
    return scores if same else None
