"""The part of `audit` that needs a model: what it tells of the labels without anything that its heads have learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lens_truth
from lens_truth.commands.run import Run, load_model, shown_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.commands.audit import Config
    from lens_truth.commands.audit_inputs import Inputs

_WHAT = {
    "model tokens": "length in tokens of the model",
    "layer-0 embedding, mean": "mean embedding of the answer's tokens (layer 0)",
    "layer-0 embedding, last token": "embedding of the last token (layer 0)",
    "untrained twin": "best head of the untrained twin",
    "log-probability": "log-probability of the answer by the model",
    "log-probability per token": "log-probability per token by the model",
}
_BEST = "best head of the model itself (chosen on the other folds)"


def with_model(
    run: Run, config: Config, inputs: Inputs, audits: Mapping[str, lens_truth.Audit]
) -> dict[str, lens_truth.Audit]:
    """Audits with the model's baselines and findings; its own truth scores and its twin's go into the run."""
    assert config.model is not None
    model, called = load_model(config.model, config), shown_name(config.model)
    return {name: _looked(run, config, model, called, name, inputs.rows[name], its) for name, its in audits.items()}


def _looked(
    run: Run,
    config: Config,
    model: Any,
    called: str,
    name: str,
    examples: list[lens_truth.Example],
    audit: lens_truth.Audit,
) -> lens_truth.Audit:
    import numpy as np

    from lens_truth.confounds.findings import Finding, worst_first
    from lens_truth.confounds.surface import surface_finding
    from lens_truth.data.examples import labels_of
    from lens_truth.data.surface_fits import Judge
    from lens_truth.detection.untaught import model_baselines
    from lens_truth.io.numbers import number
    from lens_truth.stats.folds import grouped_folds

    groups, labels = [example.group for example in examples], np.array(labels_of(examples))
    try:
        fold = grouped_folds(labels, groups, config.folds, config.seed)
        how: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size, "seed": config.seed}
        found = model_baselines(model, examples, fold, **how)
    except InputError as error:
        run.warnings.append(f"{name}: no baselines of the model: {error}")
        return audit
    judge = Judge(labels, groups, fold, config.seed)
    told = [judge.baseline(key, _WHAT[key], its, found.before[key]) for key, its in found.decisions.items()]
    # nothing is fitted to log-probabilities, of which 0 is no bound
    told = [replace(its, accuracy=float("nan")) if its.name.startswith("log") else its for its in told]
    best = judge.baseline("best head", _BEST, found.best_head, found.before["best head"])
    findings = [*audit.findings, *found.findings, *(its for each in told if (its := surface_finding(each, examples)))]
    rival = max([*audit.baselines, *told], key=lambda its: its.auroc)
    if best.low <= rival.auroc:
        findings.append(
            Finding(
                "no head above the surface",
                "confound",
                f"NO HEAD ABOVE: the best head of {called} has AUROC {number(best.auroc)} [{number(best.low)}, "
                f"{number(best.high)}], not clearly more than the {rival.what} ({number(rival.auroc)})",
                len(examples),
                len(examples),
                "",
                "Match the rows or swap answers, or score what heads add (lens-truth probe --scores residual)",
            )
        )
    maps = {f"truth scores of {called} on {name}": found.truth}
    if found.untrained is not None:
        maps[f"the same of an untrained {called} on {name}"] = found.untrained
    run.heads(maps)
    return replace(audit, baselines=(*audit.baselines, *told, best), findings=worst_first(findings))
