"""What the benchmarks of `evaluate` share: a model that answers, and how yes-or-no answers are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.commands.compute import LOG, Compute, load_model, on_terminal, result_files
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import UNREADABLE
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, print_warnings, text_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.evaluate.asker import Asker
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.evaluate.binary import BinaryMetrics
    from lens_truth.gates.gate import HeadGate
    from lens_truth.io.runs import Run
    from lens_truth.models.prompts import Template


@dataclass(frozen=True)
class Answering(Compute):
    """How a model answers."""

    model: str = "zoo:llama-chat"
    """A Hugging Face id, a folder, or zoo:NAME."""
    scores: Path | None = None
    """A score file (.safetensors, .npy, .csv): the model is gated by it."""
    lam: float | None = None
    """Lambda in g = 1 + lambda * norm(score)."""
    norm: Literal["center", "minmax", "none"] = "center"
    """How scores are normalised inside each layer."""
    site: Literal["z", "block"] = "z"
    """Heads, or the paper's blocks of the projected output."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """The protocol's own wording, or the model's chat template; auto takes the chat template where there is one."""
    limit: int | None = None
    """Only the first so many examples."""
    batch_size: int = 128
    """Rows in one forward pass."""
    out: Path = Path("runs/evaluate")
    """Folder for the results."""


@dataclass(frozen=True)
class Answerer:
    """A model, its gate, and how it is talked to."""

    model: Any
    gate: HeadGate | None
    template: Template
    weights: str

    @property
    def gate_name(self) -> str:
        """How the answers are named in the log: `gate`, or `vanilla` for the model as it is."""
        return "gate" if self.gate else "vanilla"

    @property
    def gates(self) -> dict[str, HeadGate | None]:
        """The one gate by its name, as `Asker.run` wants it."""
        return {self.gate_name: self.gate}

    def log(self, config: Answering) -> AnswerLog:
        """Answers of earlier runs, to which new ones are added."""
        from lens_truth.evaluate.answer_log import AnswerLog

        return AnswerLog(config.out / LOG, self.model, config.model, self.weights)

    def asker(self, config: Answering, log: AnswerLog) -> Asker:
        """Asks the model as the flags say."""
        from lens_truth.evaluate.asker import Asker

        return Asker(self.model, self.template, config.model, config.batch_size, log, on_terminal())

    def hashes(self, data: str) -> dict[str, str]:
        """What result.json says the answers depend on; `data` is the hash of the questions."""
        return {"weights": self.weights, "examples": data}


def check_files_only(config: Answering) -> None:
    """Raises an InputError if a flag asks for a model to be gated although only files are scored."""
    if config.scores is not None or config.lam is not None:
        raise InputError("--scores and --lam gate a model; what was written already cannot be gated")


def load_answerer(config: Answering) -> Answerer:
    """The model that the flags describe, with its gate.

    Raises:
        InputError: if there are scores without a lambda or the other way round, or they do not fit the model.
    """
    from lens_truth.gates.gate import HeadGate
    from lens_truth.models.hooks import check_gate_shape
    from lens_truth.models.prompts import default_template
    from lens_truth.models.tower import weights_hash
    from lens_truth.scoring.scores import HeadScores

    if (config.scores is None) != (config.lam is None):
        raise InputError("--scores and --lam belong together: which heads are amplified, and how much")
    gate = None
    if config.scores is not None and config.lam is not None:
        gate = HeadGate.from_scores(HeadScores.load(config.scores), config.lam, config.norm, site=config.site)
    model = load_model(config.model, config)
    if gate is not None:
        check_gate_shape(model, gate.values)
    template = default_template(model.tokenizer) if config.template == "auto" else config.template
    return Answerer(model, gate, template, weights_hash(model))


def ask_yes_no(
    config: Answering,
    clock: Run,
    answerer: Answerer,
    benchmark: Benchmark,
    parses: Sequence[str],
    splits: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> None:
    """Lets the model answer yes-or-no questions and tells the results; the first parse is the one that counts.

    What answers.jsonl holds from an earlier run is not asked again.

    Args:
        splits: the part of the benchmark that each question belongs to, if results are wanted for each part too.
        warnings: what was found wrong before.
    """
    from lens_truth.data.examples import examples_hash
    from lens_truth.evaluate.binary import margin_metrics, metrics_by_parse

    with answerer.log(config) as log:
        outcome = answerer.asker(config, log).run(benchmark, answerer.gates, margins=True)[answerer.gate_name]
    assert outcome.margins is not None  # they were asked for
    wanted = benchmark.wanted
    metrics = metrics_by_parse(outcome.texts, wanted, parses)
    margin = asdict(margin_metrics(outcome.margins.tolist(), wanted))
    results = headline(metrics, parses[0], outcome.texts, wanted, outcome.groups, config.seed)
    results |= {"margin": margin, "answer_words": outcome.answer_words, "template": answerer.template}
    if benchmark.mode == "judge":
        results["hallucinated_shown"] = wanted.count("yes")
    by_split: dict[str, dict[str, BinaryMetrics]] = {}
    for split in dict.fromkeys(splits):
        rows = [row for row, of in enumerate(splits) if of == split]
        by_split[split] = metrics_by_parse([outcome.texts[r] for r in rows], [wanted[r] for r in rows], parses)
    if by_split:
        results["splits"] = {s: {parse: asdict(m) for parse, m in of.items()} for s, of in by_split.items()}
        print_splits({**by_split, "pooled": metrics})
        print()
    auroc = f"AUROC {number(margin['auroc'])}" if margin["auroc"] is not None else ""
    of_margin = [number(margin[name], 4) for name in ("accuracy", "precision", "recall", "f1", "yes_ratio")]
    print_table(
        text_table(COLUMNS, [*(cells(parse, m) for parse, m in metrics.items()), ["logit margin", *of_margin, auroc]])
    )
    hashes = answerer.hashes(examples_hash(benchmark.examples))
    finish(config, clock, results, hashes, [*warnings, *unreadable(metrics["strict"].unparsed)], LOG)


def print_splits(splits: Mapping[str, Mapping[str, BinaryMetrics]]) -> None:
    """One line for every split and parse."""
    rows = [[name, *cells(parse, m)] for name, by_parse in splits.items() for parse, m in by_parse.items()]
    print_table(text_table(["split", *COLUMNS], rows))


def headline(
    metrics: Mapping[str, BinaryMetrics],
    parse: str,
    texts: Sequence[str],
    wanted: Sequence[str],
    groups: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Results of yes-or-no questions: those of one parse first, then those of all."""
    import numpy as np

    from lens_truth.evaluate.answers import PARSES
    from lens_truth.stats.paired import group_interval

    correct = np.array([PARSES[parse](t) == w for t, w in zip(texts, wanted, strict=True)], dtype=float)
    return {
        **asdict(metrics[parse]),
        "unparsed": metrics["strict"].unparsed,
        "accuracy_ci": group_interval(correct, groups, seed),
        "parse": parse,
        "parses": {name: asdict(m) for name, m in metrics.items()},
    }


COLUMNS = ("read by", "accuracy", "precision", "recall", "F1", "yes", "unparsed")


def cells(parse: str, metrics: BinaryMetrics) -> list[str]:
    """One line of a table of yes-or-no results."""
    m = metrics
    return [parse, *(number(v, 4) for v in (m.accuracy, m.precision, m.recall, m.f1, m.yes_ratio, m.unparsed))]


def unreadable(share: float) -> list[str]:
    """A warning where many answers are neither yes nor no."""
    if share <= UNREADABLE:
        return []
    return [f"{share:.0%} of the answers begin with neither yes nor no; what a parse makes of them is its own choice"]


def finish(
    config: Answering,
    clock: Run,
    results: Mapping[str, Any],
    hashes: Mapping[str, Any],
    warnings: list[str],
    *files: str,
) -> None:
    """result.json, the warnings, and what was written."""
    clock.write(config.out, results, hashes, warnings)
    print_warnings(warnings)
    result_files(config.out, "result.json", *files)
