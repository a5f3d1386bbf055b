"""Does gating by head scores help, and is it the scores that help? Gates a model and its descendants by truth and
causal scores taken once from the base, against vanilla and control gates, on held-out questions.

Writes table.md, ablation.png, search.png, with --random-gate random_gate.png, the scores and result.json, and says in
words which controls a gate does not beat. Every answer is appended to answers.jsonl as it is given, so an interrupted
run goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from lens_truth.commands.ablate_data import (
    Config,
    Parts,
    check,
    computed_kinds,
    every_control,
    parts_of,
    source_of,
    wanted_scores,
)
from lens_truth.commands.compute import KINDS, LOG, load_model, on_terminal, plain_name, scores_by_kind
from lens_truth.commands.run import Run
from lens_truth.errors import InputError
from lens_truth.io.tables import Table, markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lens_truth.ablation.result import Ablation
    from lens_truth.ablation.side_effects import NeutralText
    from lens_truth.data.examples import Example
    from lens_truth.scoring.scores import HeadScores

_CONTROLS = {False: ("permuted", "uniform"), True: ("permuted", "uniform", "inverse", "norm-matched")}
"""By whether all are wanted."""


@dataclass
class _Inputs:
    """What the models are gated by and asked."""

    parts: Callable[[Any], Parts]
    """Of a model."""
    neutral: list[NeutralText]
    base: Any
    """The model that the scores are from."""
    to_score: list[Example]
    scores: dict[str, HeadScores]
    """By kind; they gate every model."""
    own: dict[str, HeadScores]
    """By model and kind; each gates the model that it is of."""


def run(config: Config) -> None:
    """Scores, gates, controls, table."""
    check(config)
    with Run("ablate", config) as run:
        inputs = _inputs(config)
        run.hashes["examples"] = _hash_of_examples(inputs.to_score)
        for kind, made in inputs.scores.items():
            origin = f"of {source_of(config)}" if kind in computed_kinds(config) else "from a file"
            run.heads({f"{kind} scores {origin}": made})
        tell(run, config, inputs, compute(run, config, inputs))


def _inputs(config: Config) -> _Inputs:
    """Data, texts, the base and its scores."""
    from lens_truth.ablation.side_effects import text_file, zoo_text
    from lens_truth.data.loading import describe
    from lens_truth.models.image_input import is_multimodal
    from lens_truth.scoring.scores import HeadScores

    @cache
    def parts(sees: bool) -> Parts:
        return parts_of(config, sees=sees)

    def parts_for(model: Any) -> Parts:
        """Whether a model sees matters for the zoo's scenes only; what a file holds is the same for all."""
        return parts(is_multimodal(model) and config.data.startswith("zoo:"))

    parts(False)  # what is wrong with the data is said at once
    neutral = [zoo_text(config.seed), *([text_file(config.neutral_text)] if config.neutral_text else [])]
    base = load_model(source_of(config), config)
    inputs = _Inputs(parts_for, neutral, base, parts_for(base).to_score, {}, {})
    if computed_kinds(config):
        kinds = ", ".join(computed_kinds(config))
        print(f"{kinds} scores from {source_of(config)} on {config.data}: {describe(inputs.to_score)}")
    for wanted in wanted_scores(config):
        if wanted in KINDS:
            made = scores_by_kind(wanted, base, inputs.to_score, config)
            made = replace(made, provenance={**made.provenance, "data": config.data})
        else:
            made = HeadScores.load(wanted)
        if made.kind in inputs.scores:
            raise InputError(f"--scores names two sets of {made.kind} scores")
        inputs.scores[made.kind] = made
    return inputs


def compute(run: Run, config: Config, inputs: _Inputs) -> Ablation:
    """Every model, gated; scores of its own are saved, and where all controls are wanted it is gated by them too."""
    from lens_truth.ablation.ablate import Controls, run_ablation
    from lens_truth.ablation.result import Ablation
    from lens_truth.ablation.search import Search
    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.evaluate.asker import Asker
    from lens_truth.models.prompts import default_template
    from lens_truth.models.tower import weights_hash

    controls = Controls(_CONTROLS[every_control(config)], config.trials, 3 if config.random_gate else 0)
    search = Search(None if config.lam is None else (config.norm or "center", config.lam), config.site)
    found: list[Ablation] = []
    for name in dict.fromkeys(config.model):
        model = inputs.base if name == source_of(config) else load_model(name, config)
        parts = inputs.parts(model)
        weights = run.hashes[name] = weights_hash(model)
        kinds = computed_kinds(config) if every_control(config) and name != source_of(config) else []
        if kinds and parts.to_score != inputs.to_score:
            run.hashes[f"examples of {name}"] = _hash_of_examples(parts.to_score)
        own = {kind: scores_by_kind(kind, model, parts.to_score, config) for kind in kinds}
        run.heads({f"own {kind} scores of {name}": made for kind, made in own.items()})
        inputs.own |= {f"{plain_name(name)}-{kind}": made for kind, made in own.items()}
        with AnswerLog(run.out / LOG, model, name, weights) as log:
            asker = Asker(model, default_template(model.tokenizer), name, config.batch_size, log, on_terminal())
            ablation = run_ablation(
                asker,
                {**inputs.scores, **{f"own {kind}": made for kind, made in own.items()}},
                test=parts.test,
                validation=parts.validation,
                controls=controls,
                search=search,
                neutral=inputs.neutral,
                seed=config.seed,
            )
        found.append(ablation)
    return Ablation.joined(found)


def tell(run: Run, config: Config, inputs: _Inputs, ablation: Ablation) -> None:
    """table.md, figures, scores, what goes into result.json, and the words."""
    from lens_truth.ablation import tables
    from lens_truth.io.files import hash_of

    gates = _named(tables.LEGEND, "##", tables.gate_tables(ablation.rows))
    captions = tables.caption_tables(ablation.rows)
    words = "".join(f"- {sentence}\n" for sentence in ablation.verdicts())
    effects = _named(tables.SIDE_EFFECT_LEGEND, "###", tables.side_effect_tables(ablation.side_effects, ablation.rows))
    parts = [f"# Ablation: scores from {source_of(config)}\n\n{gates}", f"## In words\n\n{words}"]
    if captions:
        parts.append(f"## Captions\n\n{_named(tables.CAPTION_LEGEND, '###', captions)}")
    run.text("table.md", "\n".join([*parts, f"## Side effects\n\n{effects}"]))
    run.figure("ablation.png", ablation.plot())
    run.figure("search.png", ablation.plot("search"))
    if config.random_gate:
        run.figure("random_gate.png", ablation.plot("random gate"))
    run.wrote(LOG)
    for name, made in {**inputs.scores, **inputs.own}.items():
        run.scores(f"{name}.safetensors", made)
    run.hold(ablation)
    run.results |= {
        "scores_from": source_of(config),
        "neutral_texts": {text.name: hash_of(*text.passages) for text in inputs.neutral},
        "verdicts": ablation.verdicts(),
    }
    run.warnings += ablation.warnings()
    print("\n" + gates)
    if captions:
        print(_named(tables.CAPTION_LEGEND, "###", captions))
    print("In words:\n" + words.rstrip("\n"))


def _named(legend: str, level: str, by_name: Mapping[str, Table]) -> str:
    """Tables in Markdown, each under its name."""
    return "\n\n".join([legend, *(f"{level} {name}\n\n{markdown(table)}" for name, table in by_name.items())]) + "\n"


def _hash_of_examples(examples: list[Example]) -> str:
    from lens_truth.data.examples import examples_hash

    return examples_hash(examples)
