"""Does gating by head scores help, and is it the scores that help? Gates a model and its descendants by truth and
causal scores taken once from the base, against vanilla and control gates, on held-out questions.

Writes table.md, ablation.png, search.png, with --random-gate random_gate.png, the scores and result.json, and says in
words which controls a gate does not beat. Every answer is appended to answers.jsonl as it is given, so an interrupted
run goes on where it stopped."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.commands.compute import (
    KINDS,
    LOG,
    Compute,
    load_model,
    on_terminal,
    plain_name,
    result_files,
    scores_by_kind,
)
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.files import check_out
from lens_truth.io.tables import print_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lens_truth.ablation.ablate import Ablation
    from lens_truth.ablation.side_effects import NeutralText
    from lens_truth.commands.ablate_data import Parts
    from lens_truth.gates.controls import Control

_CONTROLS: dict[str, tuple[Control, ...]] = {
    "default": ("permuted", "uniform"),
    "all": ("permuted", "uniform", "inverse", "norm-matched"),
}


@dataclass(frozen=True)
class Config(Compute):
    """Flags of `ablate`."""

    model: tuple[str, ...] = ("zoo:llama-memory", "zoo:llama-memory-chat")
    """Models to gate: Hugging Face ids, folders, or zoo:NAME."""
    scores_from: str | None = None
    """The model whose scores gate all of them; by default the first of --model."""
    scores: tuple[str, ...] = ()
    """Kinds of scores (truth, causal, learned), or score files; by default truth and causal, with --controls all
    learned too."""
    data: str = "zoo:conflict"
    """Examples that the scores are computed on. The zoo's benchmarks judge zoo data, which a multimodal model is shown
    in pictures; a file of examples is split by groups into rows for choosing lambda (--validation-share), and equal
    parts for the scores and for the test."""
    images: Path | None = None
    """Folder with the images that a file of examples names."""
    validation_share: float = 0.2
    """Share of the groups in a file of examples that choose lambda and normalisation."""
    lam: float | None = None
    """A lambda that was chosen elsewhere, for scores of one kind, instead of the search on validation."""
    norm: Literal["center", "minmax", "none"] | None = None
    """The normalisation that goes with --lam (center by default); without --lam both center and minmax are tried."""
    site: Literal["z", "block"] = "z"
    """Where gates act: on heads, or on the paper's blocks of the projected output."""
    random_gate: bool = False
    """Add the paper's control: three trials of 1 + U(-1, 1)."""
    controls: Literal["default", "all"] | None = None
    """default: permuted inside layers, and uniform; all (the rule with --scores-from): inverse and norm-matched and
    learned gates too, and a model that is not the source of the scores is gated by its own as well."""
    trials: int = 5
    """Draws of each control that draws (permuted, norm-matched)."""
    limit: int | None = None
    """Only the first so many examples of --data."""
    questions: int = 200
    """Test questions of each zoo benchmark; half as many choose lambda."""
    neutral_text: Path | None = None
    """A text file for the side effects, beside the zoo's own scenes; by default WikiText-2 if LENS_TRUTH_DATA is set
    and holds it."""
    batch_size: int = 256
    """Rows in one forward pass: gates x questions."""
    out: Path = Path("runs/ablate")
    """Folder for the results."""


def run(config: Config) -> None:
    """Scores, gates, controls, table."""
    from lens_truth.ablation.ablate import run_ablation
    from lens_truth.ablation.curves import lambda_curves
    from lens_truth.ablation.figures import ablation_bars, random_gate_bars
    from lens_truth.ablation.words import chair_table, markdown_table, side_effect_table, verdicts
    from lens_truth.commands.ablate_data import parts_of
    from lens_truth.data.examples import examples_hash
    from lens_truth.data.loading import describe
    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.io.files import hash_of, write_text
    from lens_truth.io.runs import Run
    from lens_truth.models.prompts import default_template
    from lens_truth.models.tower import weights_hash
    from lens_truth.plots.style import save
    from lens_truth.scoring.scores import HeadScores

    clock = Run("ablate", config)
    if config.questions < 2 or config.trials < 1:
        raise InputError("--questions must be at least 2 and --trials at least 1")
    if not 0 < config.validation_share < 1:
        raise InputError(f"--validation-share is {config.validation_share}; it must lie between 0 and 1")
    check_out(config.out)
    controls = config.controls or ("all" if config.scores_from else "default")
    everything = controls == "all"
    wanted_scores = config.scores or (KINDS if everything else KINDS[:2])
    if config.lam is not None and len(wanted_scores) > 1:
        raise InputError("--lam needs --scores of one kind, since kinds of scores have scales of their own")
    if config.norm is not None and config.lam is None:
        raise InputError("--norm goes with --lam; without it the search tries both center and minmax")
    kinds = [wanted for wanted in wanted_scores if wanted in KINDS]

    @cache
    def parts(sees: bool) -> Parts:
        return parts_of(config, sees=sees, scored=bool(kinds))

    parts(False)  # what is wrong with the data is said at once
    neutral = _neutral_texts(config)
    source = config.scores_from or config.model[0]
    base = load_model(source, config)
    to_score = parts(_is_shown(base, config)).to_score
    if kinds:
        print(f"{', '.join(kinds)} scores from {source} on {config.data}: {describe(to_score)}")
    scores: dict[str, HeadScores] = {}
    for wanted in wanted_scores:
        made = scores_by_kind(wanted, base, to_score, config) if wanted in KINDS else HeadScores.load(wanted)
        if wanted in KINDS:
            made = replace(made, provenance={**made.provenance, "data": config.data})
        if made.kind in scores:
            raise InputError(f"--scores names two sets of {made.kind} scores")
        scores[made.kind] = made
    files = {f"{kind}.safetensors": made for kind, made in scores.items()}
    shown = {
        f"{kind} scores of {source}" if kind in kinds else f"{kind} scores from a file": made
        for kind, made in scores.items()
    }

    ablations: dict[str, Ablation] = {}
    headlines: dict[str, str] = {}
    hashes = {"examples": examples_hash(to_score)}
    for name in config.model:
        model = base if name == source else load_model(name, config)
        asked = parts(_is_shown(model, config))
        headlines[name] = asked.test[0].name
        hashes[name] = weights_hash(model)
        own_kinds = kinds if everything and name != source else []
        if own_kinds and asked.to_score != to_score:
            hashes[f"examples of {name}"] = examples_hash(asked.to_score)
        own = {f"own {kind}": scores_by_kind(kind, model, asked.to_score, config) for kind in own_kinds}
        shown |= {f"{kind} scores of {name}": made for kind, made in own.items()}
        files |= {f"{plain_name(name)}-{kind.split()[1]}.safetensors": made for kind, made in own.items()}
        with AnswerLog(config.out / LOG, model, name, hashes[name]) as log:
            ablations[name] = run_ablation(
                model,
                {**scores, **own},
                test=asked.test,
                validation=asked.validation,
                template=default_template(model.tokenizer),
                name=name,
                controls=_CONTROLS[controls],
                random_trials=3 if config.random_gate else 0,
                trials=config.trials,
                fixed=None if config.lam is None else (config.norm or "center", config.lam),
                site=config.site,
                neutral=neutral,
                seed=config.seed,
                batch_size=config.batch_size,
                log=log,
                progress=on_terminal(),
            )

    rows = [row for ablation in ablations.values() for row in ablation.rows]
    effects = [effect for ablation in ablations.values() for effect in ablation.side_effects]
    sentences = verdicts(rows, headlines)
    table = markdown_table(rows)
    captions = chair_table(rows)
    warnings = _warnings(ablations)
    for file, made in files.items():
        made.save(config.out / file)
    text = (
        f"# Ablation: scores from {source}\n\n{table}\n## In words\n\n"
        + "".join(f"- {sentence}\n" for sentence in sentences)
        + (f"\n## Captions\n\n{captions}" if captions else "")
        + f"\n## Side effects\n\n{side_effect_table(effects, rows)}"
    )
    write_text(config.out / "table.md", text)
    figures = {"ablation.png": ablation_bars(rows), "search.png": lambda_curves(ablations)}
    if config.random_gate:
        figures["random_gate.png"] = random_gate_bars(rows)
    for file, figure in figures.items():
        save(figure, config.out / file)
    results = {
        "scores_from": source,
        "rows": [{**row.as_dict(), "scores_from": source} for row in rows],
        "side_effects": [asdict(effect) for effect in effects],
        "neutral_texts": {text.name: hash_of(*text.passages) for text in neutral},
        "search": {
            name: {
                "vanilla": dict(ablation.validation_vanilla),
                **{gate: [c.summary() for c in candidates] for gate, candidates in ablation.search.items()},
            }
            for name, ablation in ablations.items()
        },
        "verdicts": sentences,
        "head_scores": {title: made.as_dict() for title, made in shown.items()},
    }
    clock.write(config.out, results, hashes, warnings)

    print("\n" + table)
    if captions:
        print(captions)
    print("In words:\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    print_warnings(warnings)
    result_files(config.out, "table.md", *figures, "result.json", LOG, *files)


def _is_shown(model: Any, config: Config) -> bool:
    """Whether a model sees the zoo's scenes; what a file holds is the same for all."""
    from lens_truth.models.image_input import is_multimodal

    return is_multimodal(model) and config.data.startswith("zoo:")


def _warnings(ablations: Mapping[str, Ablation]) -> list[str]:
    from lens_truth.ablation.search import best_of

    rows = [row for ablation in ablations.values() for row in ablation.rows]
    gated = [row for row in rows if row.negative_gates and row.gate != "random" and not row.of]
    inverted = {(row.model, row.gate): row.negative_gates for row in gated}
    warnings = [
        f"{model}, {gate}: {n} gates are negative, so those heads are inverted" for (model, gate), n in inverted.items()
    ]
    warnings += [
        f"{row.model}, {row.gate} on {row.benchmark}: {row.unparsed:.0%} of the answers could not be read"
        for row in rows
        if row.unparsed > UNREADABLE and row.gate != "random"
    ]
    for model, ablation in ablations.items():
        vanilla = ablation.vanilla_objective
        best = {gate: best_of(candidates).objective for gate, candidates in ablation.search.items()}
        warnings += [
            f"{model}, {gate}: on validation no lambda does better than no gate ({found:.3f} against {vanilla:.3f})"
            for gate, found in best.items()
            if found <= vanilla
        ]
    return warnings


def _neutral_texts(config: Config) -> list[NeutralText]:
    """The zoo's own scenes, and a text file if there is one."""
    from lens_truth.ablation.side_effects import text_file, zoo_text

    file = config.neutral_text
    if file is None and (folder := os.environ.get("LENS_TRUTH_DATA")):
        there = Path(folder) / "text" / "wikitext2_test.txt"
        file = there if there.is_file() else None
    return [zoo_text(config.seed), *([text_file(file)] if file else [])]
