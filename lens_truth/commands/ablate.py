"""Does gating by head scores help, and is it the scores that help? Gates a model and its descendants by truth and
causal scores taken once from the base, against vanilla and control gates, on held-out questions.

Writes table.md, ablation.png, the scores and result.json, and says in words which controls a gate does not beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lens_truth.commands.common import (
    KINDS,
    Compute,
    load_model,
    on_terminal,
    print_warnings,
    result_files,
    scores_by_kind,
)
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.examples import Example


@dataclass(frozen=True)
class Config(Compute):
    """Flags of `ablate`."""

    model: tuple[str, ...] = ("zoo:llama-memory", "zoo:llama-memory-chat")
    """Models to gate: Hugging Face ids, folders, or zoo:NAME."""
    scores_from: str | None = None
    """The model whose scores gate all of them; by default the first of --model."""
    scores: tuple[str, ...] = ("truth", "causal")
    """Kinds of scores (truth, causal, learned), or score files."""
    data: str = "zoo:conflict"
    """Examples that the scores are computed on. The zoo's benchmarks judge zoo data; a file of examples is split by
    groups into rows for scores (40%), for choosing lambda (20%) and for the test (40%)."""
    random_gate: bool = False
    """Add the paper's control: three trials of 1 + U(-1, 1)."""
    controls: Literal["default", "all"] = "default"
    """default: permuted inside layers, and uniform; all: inverse and norm-matched too."""
    trials: int = 5
    """Draws of each control that draws (permuted, norm-matched)."""
    limit: int | None = None
    """Only the first so many examples of --data."""
    questions: int = 200
    """Test questions of each zoo benchmark; half as many choose lambda."""
    batch_size: int = 128
    """Rows a forward pass."""
    out: Path = Path("runs/ablate")
    """Folder for the results."""


def run(config: Config) -> None:
    """Scores, gates, controls, table."""
    from lens_truth.ablate import ablate
    from lens_truth.datasets import describe
    from lens_truth.examples import examples_hash
    from lens_truth.files import write_text
    from lens_truth.models.prompts import default_template
    from lens_truth.models.tower import weights_hash
    from lens_truth.plots.ablation import save_ablation_bars
    from lens_truth.runs import Run
    from lens_truth.scores import HeadScores
    from lens_truth.verdict import markdown_table, verdicts

    clock = Run("ablate", config)
    if config.questions < 2 or config.trials < 1:
        raise InputError("--questions must be at least 2 and --trials at least 1")
    examples, validation, test = _data(config)
    source = config.scores_from or config.model[0]
    base = load_model(source, config)
    print(f"scores from {source} on {config.data}: {describe(examples)}")
    scores: dict[str, HeadScores] = {}
    for wanted in config.scores:
        made = scores_by_kind(wanted, base, examples, config) if wanted in KINDS else HeadScores.load(wanted)
        if made.kind in scores:
            raise InputError(f"--scores names two sets of {made.kind} scores")
        scores[made.kind] = made

    rows, search, hashes = [], {}, {"examples": examples_hash(examples)}
    controls = (
        ("permuted", "uniform", "inverse", "norm-matched") if config.controls == "all" else ("permuted", "uniform")
    )
    for name in config.model:
        model = base if name == source else load_model(name, config)
        hashes[name] = weights_hash(model)
        result = ablate(
            model,
            scores,
            test=test,
            validation=validation,
            template=default_template(model.tokenizer),
            name=name,
            controls=controls,
            random_trials=3 if config.random_gate else 0,
            trials=config.trials,
            seed=config.seed,
            batch_size=config.batch_size,
            progress=on_terminal(),
        )
        rows += result.rows
        search[name] = {gate: [c.summary() for c in candidates] for gate, candidates in result.search.items()}

    sentences = verdicts(rows, test[0].name)
    table = markdown_table(rows)
    warnings = [
        f"{row.model}, {row.gate}: {row.negative_gates} gates are negative, so those heads are inverted"
        for row in rows
        if row.benchmark == test[0].name and row.negative_gates and row.gate != "random" and not row.of
    ]
    warnings += [
        f"{row.model}, {row.gate} on {row.benchmark}: {row.unparsed:.0%} of the answers could not be read"
        for row in rows
        if row.unparsed > 0.05 and row.gate != "random"
    ]
    for kind, made in scores.items():
        made.save(config.out / f"{kind}.safetensors")
    text = f"# Ablation: scores from {source}\n\n{table}\n## In words\n\n" + "".join(f"- {s}\n" for s in sentences)
    write_text(config.out / "table.md", text)
    save_ablation_bars(config.out / "ablation.png", rows)
    results = {
        "scores_from": source,
        "rows": [{**row.as_dict(), "scores_from": source} for row in rows],
        "search": search,
        "verdicts": sentences,
    }
    clock.write(config.out, results, hashes, warnings)

    print("\n" + table)
    print("In words:\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    print_warnings(warnings)
    result_files(config.out, "table.md", "ablation.png", "result.json", *(f"{kind}.safetensors" for kind in scores))


def _data(config: Config) -> tuple[list[Example], list[Benchmark], list[Benchmark]]:
    """Examples for scores, validation benchmarks and test benchmarks, no group in two of them."""
    from lens_truth.datasets import load_examples
    from lens_truth.evaluate.benchmark import benchmark_of, zoo_benchmarks
    from lens_truth.examples import split_groups

    examples = load_examples(config.data, limit=config.limit, seed=config.seed)
    if config.data.startswith("zoo:"):
        validation = zoo_benchmarks("validation", config.questions // 2, config.seed)
        return examples, validation, zoo_benchmarks("test", config.questions, config.seed)
    fit, choose, judge = split_groups(examples, (0.4, 0.2, 0.4), config.seed)
    return (
        fit,
        [benchmark_of("open", "answer", choose), benchmark_of("judgement", "judge", choose)],
        [benchmark_of("open", "answer", judge), benchmark_of("judgement", "judge", judge)],
    )
