"""Does gating by head scores help, and is it the scores that help? Gates a model and its descendants by truth and
causal scores taken once from the base, against vanilla and control gates, on held-out questions.

Writes table.md, ablation.png, search.png, with --random-gate random_gate.png, the scores and result.json, and says in
words which controls a gate does not beat. Every answer is appended to answers.jsonl as it is given, so an interrupted
run goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from lens_truth.commands.ablate_data import Config, Parts, parts_of
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


@dataclass
class _Inputs:
    """What the models are gated by and asked."""

    parts: Callable[[Any], Parts]
    """Of a model."""
    neutral: list[NeutralText]
    base: Any
    """The model that the scores are from."""
    to_score: list[Example]
    scores: dict[str, HeadScores] = field(default_factory=dict["str", "HeadScores"])
    """By kind; they gate every model."""


def run(config: Config) -> None:
    """Scores, gates, controls, table."""
    config.check()
    with Run("ablate", config) as run:
        inputs = _inputs(config)
        run.hashes["examples"] = _hash_of_examples(inputs.to_score)
        for kind, made in inputs.scores.items():
            title = f"{kind} scores of {config.source}" if kind in config.kinds else f"{kind} scores from a file"
            run.heads({title: made})
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
    base = load_model(config.source, config)
    inputs = _Inputs(parts_for, neutral, base, parts_for(base).to_score)
    if config.kinds:
        kinds = ", ".join(config.kinds)
        print(f"{kinds} scores from {config.source} on {config.data}: {describe(inputs.to_score)}")
    for wanted in config.wanted:
        if wanted in KINDS:
            made = scores_by_kind(wanted, base, inputs.to_score, config)
            made = replace(made, provenance={**made.provenance, "data": config.data})
        else:
            made = HeadScores.load(wanted)
        if made.kind in inputs.scores:
            raise InputError(f"--scores names two sets of {made.kind} scores")
        inputs.scores[made.kind] = made
    return inputs
