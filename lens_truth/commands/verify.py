"""Tells right answers from wrong ones by hidden states: CLUE's centroids of experiences and layer-wise dynamics, beside
what length, the question and the model's own confidence do alone.

Answers are those of labelled data, or (--samples) the model's own, sampled and judged by the questions' answers and
aliases; of these also which one of each question each method would take. Writes result.json, verification.png, and of
sampled answers answers.jsonl, from which an interrupted run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.run import ASKED, LOG, OneModel, Rows, Run, hash_of_examples, load_model, shown_name, warn_of
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from lens_truth.detection.verifying import Answers
    from lens_truth.evaluate.sampling import SampledAnswers

_SAMPLES = 10
"""Where all answers of the data are right ones."""


@dataclass(frozen=True)
class Config(Rows, OneModel):
    """Flags of `verify`."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: str = "zoo:conflict/test"
    """zoo:text, zoo:conflict, facts:closed-book, facts:conflict, ... or a file of examples, or as HaluEval, TruthfulQA,
    TriviaQA, SQuAD, ... publish theirs; what `probe` takes, and with --samples also data without wrong answers."""
    samples: int | None = None
    """Answers that the model samples to each question; by default 10 where the data has no wrong answers, else none:
    those of the data are verified."""
    temperature: float = 1.0
    """Of sampling."""
    top_p: float = 0.9
    """The likeliest tokens that together are so probable."""
    top_k: int = 50
    """So many likeliest tokens; 0 for all."""
    new_tokens: int | None = None
    """The most tokens of a sampled answer; by default 16 more than the longest right one."""
    match: Literal["contains", "strict"] = "contains"
    """When a sampled answer is right: it has a right one in it, or its first line is one."""
    tags: tuple[str, ...] = ()
    """What stands before and behind the reasoning in an answer (such as <think> </think>): its ends are read instead of
    the answer's."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The paper's prompt, or the model's chat template; auto takes the chat template where there is one."""
    folds: int = 5
    """Held-out folds; groups are never split."""
    permutations: int = 200
    """Label permutations of CLUE's null."""
    out: Path = Path("runs/verify")
    """Folder for the results."""

    @property
    def ends(self) -> tuple[str, str] | None:
        """The two tags."""
        return (self.tags[0], self.tags[1]) if self.tags else None


def run(config: Config) -> None:
    """Loads, samples, verifies, ranks and writes."""
    from lens_truth.data.loading import describe
    from lens_truth.detection.verifying import verified
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.prompts import default_template

    if len(config.tags) not in (0, 2) or "" in config.tags:
        raise InputError("--tags takes two texts: what stands before the reasoning, and what behind it")
    if config.permutations < 0:
        raise InputError(f"{config.permutations} permutations were asked for; the number must not be negative")
    with Run("verify", config) as run:
        examples = config.examples(config.data)
        if len({example.label for example in examples}) == 2:
            warn_of(examples, short_name(config.data))
        n = config.samples
        if n is None and len({example.label for example in examples}) < 2:
            n = _SAMPLES
        how = None if n is None else lens_truth.Sampling(n, config.temperature, config.top_p, config.top_k, config.seed)
        model = load_model(config.model, config)
        template = default_template(model.tokenizer) if config.template == "auto" else config.template
        run.hashes |= {"weights": weights_hash(model), "examples": hash_of_examples(examples)}
        run.results |= {"template": template, "data": config.data}
        called = f"{shown_name(config.model)} on {short_name(config.data)}"
        print(f"{called}: {describe(examples)}; asked {ASKED[template]}")
        if how is None:
            from lens_truth.detection.verifying import given_answers

            passes: dict[str, Any] = {"template": template, "tags": config.ends, "batch_size": config.batch_size}
            answers, sampled = given_answers(model, examples, **passes), None
        else:
            answers, sampled = _sampled(config, run, model, examples, how, template)
        found = verified(model, answers, n_folds=config.folds, n_permutations=config.permutations, seed=config.seed)
        _tell(config, run, answers, found, sampled)


def _sampled(
    config: Config,
    run: Run,
    model: Any,
    examples: list[lens_truth.Example],
    how: lens_truth.Sampling,
    template: Literal["plain", "chat"],
) -> tuple[Answers, SampledAnswers]:
    """The model's own answers, judged, each different one read at its ends."""
    from lens_truth.detection.verifying import answers_of_samples
    from lens_truth.evaluate.answer_log import AnswerLog

    passes: dict[str, Any] = {"template": template, "n_new": config.new_tokens, "batch_size": config.batch_size}
    with AnswerLog(run.wrote(LOG), model, config.model, run.hashes["weights"]) as log:
        sampled = lens_truth.sampled_answers(model, examples, how, log=log, **passes)
    right = sampled.right(config.match)
    empty = int((sampled.n_tokens == 0).sum())
    said = f"; {empty} are empty" if empty else ""
    print(f"{right.size} answers to {len(right)} questions, {right.mean():.3f} right ({config.match}){said}")
    answers = answers_of_samples(model, sampled, config.match, tags=config.ends, batch_size=config.batch_size)
    return answers, sampled


def _tell(
    config: Config, run: Run, answers: Answers, found: lens_truth.Verification, sampled: SampledAnswers | None
) -> None:
    from lens_truth.detection.rules import reranked

    results: list[lens_truth.Verification | lens_truth.Reranking] = [found]
    run.hold(found, answers.kind)
    run.figure("verification.png", found.plot())
    if sampled is not None:
        chosen = reranked(sampled, answers, found, config.match)
        run.hold(chosen)
        results.append(chosen)
    run.rests_on(found.groups)
    for table in (table for its in results for table in its.tables()):
        print(f"\n{table.caption}")
        print_table(table)
        print(table.note)
    run.results["verdicts"] = [sentence for its in results for sentence in its.verdicts()]
    print("\n" + "\n".join(run.results["verdicts"]))
