"""Scores every attention head of a model: truth scores (a linear probe on the head's output tells supported from
hallucinated answers) or causal scores (how much the answer margin grows with the head).

Writes scores.safetensors, scores.npy, scores.csv, heatmap.png and result.json. Activations are kept in the output
folder, so an interrupted run goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.commands.compute import Compute, load_model, on_terminal, result_files, scores_by_kind
from lens_truth.commands.probing_data import ProbingData, SettingFlags, chosen_data
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table, print_warnings, text_table

if TYPE_CHECKING:
    from lens_truth.scoring.scores import HeadScores


@dataclass(frozen=True)
class Config(SettingFlags, Compute):
    """Flags of `probe`."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, or zoo:NAME."""
    data: str | None = None
    """zoo:text (the default), zoo:conflict, zoo:presence, zoo:image, ... (or zoo:text/test, ...), halueval:FILE,
    phd:FILE, phd-text:FILE, rlhfv:FILE, or a .jsonl or .csv file of examples. squad:FILE and hotpot:FILE have supported
    answers only, which is enough for `evidence`, not for these scores."""
    scores: Literal["truth", "causal", "learned"] = "truth"
    """What to score: what heads know (truth), how they act (causal), or a gate fitted to the answers (learned)."""
    estimator: Literal["ridge", "logistic", "adamw", "mass-mean", "centroid"] = "ridge"
    """The probe of truth scores; adamw is the paper's recipe, with the paper's folds."""
    folds: int = 5
    """Held-out folds; groups are never split."""
    permutations: int | None = None
    """Label permutations of the null; by default 1000, and 20 for logistic and adamw."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt, or the model's chat template."""
    limit: int | None = None
    """Only the first so many examples."""
    out: Path = Path("runs/probe")
    """Folder for the results."""


def run(config: Config) -> None:
    """Loads, captures, probes and writes."""
    from lens_truth.data.audit import majority_share, surface_accuracy, surface_warning
    from lens_truth.data.examples import examples_hash
    from lens_truth.data.loading import describe
    from lens_truth.errors import gathered_notices
    from lens_truth.io.files import hash_of
    from lens_truth.io.runs import Run
    from lens_truth.models.tower import weights_hash
    from lens_truth.plots.style import save
    from lens_truth.scoring.capturing import capture
    from lens_truth.scoring.probing import truth_scores

    clock = Run("probe", config)
    if (config.permutations or 0) < 0:
        raise InputError(f"{config.permutations} permutations were asked for; the number must not be negative")
    data = chosen_data(config.data, config, ProbingData("zoo:text"))
    # what is wrong with data is said before a model is loaded, unless it takes the model to know which data
    model = None if data.setting is None else load_model(config.model, config)
    multimodal = model is not None and data.asks_for_images(model)
    with gathered_notices() as warnings:
        examples = data.load(multimodal, config.limit, config.seed)
    title = data.title(multimodal)
    truth = config.scores == "truth"
    surface = surface_accuracy(examples, n_folds=config.folds, seed=config.seed) if truth else None
    majority = majority_share(examples)
    model = model or load_model(config.model, config)
    print(f"{config.model}: {model.cfg.n_layers} layers x {model.cfg.n_heads} heads; {title}: {describe(examples)}")

    if truth:
        key = hash_of(weights_hash(model), examples_hash(examples), config.template, str(config.batch_size))
        activations = capture(
            model,
            examples,
            template=config.template,
            batch_size=config.batch_size,
            out=config.out / "activations" / key,
            progress=on_terminal(),
        )
        scores = truth_scores(
            activations,
            estimator=config.estimator,
            n_folds=config.folds,
            seed=config.seed,
            n_permutations=config.permutations,
            progress=on_terminal(),
        )
    else:
        scores = scores_by_kind(config.scores, model, examples, config, config.template)

    layer, head = scores.best()
    unit = "accuracy" if truth else "score"
    results: dict[str, Any] = {
        "kind": scores.kind,
        "n_examples": len(examples),
        "n_layers": scores.n_layers,
        "n_heads": scores.n_heads,
        f"max_{unit}": float(scores.values.max()),
        f"mean_{unit}": float(scores.values.mean()),
        "best_head": [layer, head],
        "surface_accuracy": surface,
        "majority_share": majority,
    }
    if "p_familywise" in scores.metrics:
        results["n_significant_heads"] = int((scores.metrics["p_familywise"] < 0.05).sum())
    warning = surface_warning(surface, majority, float(scores.values.max())) if surface else None
    warnings += [warning] if warning else []

    scores = replace(scores, provenance={**scores.provenance, "data": title, "surface_accuracy": surface})
    for suffix in ("safetensors", "npy", "csv"):
        scores.save(config.out / f"scores.{suffix}")
    caption = f"{scores.kind} scores of {config.model} on {title} (n = {len(examples)})"
    save(scores.plot(caption, warning), config.out / "heatmap.png")
    results["head_scores"] = {f"{scores.kind} scores of {config.model} on {title}": scores.as_dict()}
    hashes = {"weights": scores.provenance["weights"], "examples": scores.provenance["examples"]}
    clock.write(config.out, results, hashes, warnings)

    _print_best(scores, unit)
    if surface is not None:
        print(f"\nbaseline that sees only the answer's length and last character: {surface:.3f}")
    print_warnings(warnings)
    result_files(config.out, "scores.safetensors", "scores.npy", "scores.csv", "heatmap.png", "result.json")


def _print_best(scores: HeadScores, unit: str) -> None:
    columns = [name for name in ("ci_low", "ci_high", "auroc", "null_q95", "p_familywise") if name in scores.metrics]
    heads = [(layer, head) for layer in range(scores.n_layers) for head in range(scores.n_heads)]
    best = sorted(heads, key=lambda at: -scores.values[at])[:5]
    print_table(
        text_table(
            ["layer", "head", unit, *columns],
            [
                [str(at[0]), str(at[1]), f"{scores.values[at]:.3f}", *(f"{scores.metrics[c][at]:.3f}" for c in columns)]
                for at in best
            ],
        )
    )
    print(f"mean over all heads: {scores.values.mean():.3f}")
