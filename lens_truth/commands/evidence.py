"""What do truthful heads look at? Attention of every head to the evidence, in the context or in the picture, with its
retrieval-head score and lookback ratio over the same rows; against head scores, with depth removed and heads shuffled,
and the heads with the highest scores against the rest.

Writes a score file for each measure, evidence.csv, heatmaps.png, scatter.png, attention.json (example rows for the
report) and result.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.commands.compute import KINDS, Compute, load_model, on_terminal, result_files, scores_by_kind
from lens_truth.errors import InputError
from lens_truth.io.files import check_out
from lens_truth.io.tables import print_table, print_warnings, text_table

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.scoring.scores import HeadScores

_SHOWN = 4
"""Examples whose attention is kept for the report."""


@dataclass(frozen=True)
class Config(Compute):
    """Flags of `evidence`."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, or zoo:NAME."""
    data: str | None = None
    """Examples with evidence: zoo:text (the default; zoo:image for a model that sees), zoo:conflict, squad:FILE (SQuAD,
    XQuAD), hotpot:FILE, or a .jsonl file with `evidence` (spans of the context) or `boxes` (in the image)."""
    images: Path | None = None
    """Folder with the images that a file of examples names."""
    scores: tuple[str, ...] = ("truth", "causal")
    """Kinds of scores (truth, causal, learned), computed on the same examples, which then need answers of both labels;
    or score files."""
    top: float = 0.25
    """Share of heads that count as those with high scores."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt, or the model's chat template."""
    limit: int | None = None
    """Only the first so many examples."""
    out: Path = Path("runs/evidence")
    """Folder for the results."""


def run(config: Config) -> None:
    """Measures, relates to scores, writes."""
    from lens_truth.attention.evidence import evidence_attention
    from lens_truth.attention.figures import evidence_scatter
    from lens_truth.attention.record import attention_record
    from lens_truth.attention.words import relation_rows, verdicts
    from lens_truth.data.examples import HALLUCINATED, SUPPORTED
    from lens_truth.data.loading import describe, load_examples
    from lens_truth.errors import gathered_notices, notice
    from lens_truth.io.files import write_json, write_text
    from lens_truth.io.runs import Run
    from lens_truth.models.image_input import is_multimodal
    from lens_truth.plots.heads import heatmaps
    from lens_truth.plots.style import save
    from lens_truth.scoring.scores import heads_csv
    from lens_truth.stats.relations import relate_measures

    clock = Run("evidence", config)
    check_out(config.out)
    model = load_model(config.model, config)
    data = config.data or ("zoo:image" if is_multimodal(model) else "zoo:text")
    settings: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size}
    with gathered_notices() as warnings:
        examples = load_examples(data, limit=config.limit, seed=config.seed, images=config.images)
        print(f"{config.model}: {model.cfg.n_layers} layers x {model.cfg.n_heads} heads; {data}: {describe(examples)}")
        right, wrong = ([e for e in examples if e.label == label] for label in (SUPPORTED, HALLUCINATED))
        if not any(example.has_evidence for example in right):
            raise InputError(
                f"{data}: none of its {len(right)} supported answers has evidence to be looked at (spans of its "
                "context, or boxes in its image)"
            )
        scores, titles = _scores(config, model, examples, data, both_labels=bool(wrong))
        looked = evidence_attention(model, right, **settings, progress=on_terminal())
        for name, its in scores.items():
            if its.provenance.get("weights") not in (None, looked.provenance["weights"]):
                of = its.provenance.get("model", "another model")
                notice(
                    f"{name}: the scores are those of {of}, what is looked at that of {config.model}, which has other "
                    "weights"
                )
    contrast = [example for example in wrong if example.has_evidence]
    with gathered_notices():  # the same evidence, of which the same would be said again
        when_wrong = evidence_attention(model, contrast, **settings, progress=on_terminal()) if contrast else None
    measures = {
        name: replace(its, provenance={**its.provenance, "data": data})
        for name, its in looked.scores(seed=config.seed).items()
    }
    maps = {name: measured.values for name, measured in measures.items()}
    kv = looked.provenance["n_kv_heads"]
    relations = {
        kind: relate_measures(its.values, maps, share=config.top, n_kv_heads=kv, seed=config.seed)
        for kind, its in scores.items()
    }
    measure_titles = {name: f"{name} of {config.model} on {data}" for name in measures}
    wrong_mean = None if when_wrong is None else float(when_wrong.measures["evidence"].mean())
    sentences = verdicts(measures, relations, wrong_mean)

    for name, measured in measures.items():
        measured.save(config.out / f"{name.replace(' ', '-')}.safetensors")
    drawn = {**maps, **{f"{name} scores": its.values for name, its in scores.items()}}
    write_text(config.out / "evidence.csv", heads_csv(drawn))
    title = f"{config.model} on {data} (n = {len(looked.ids)}), each map in its own range of colours"
    save(heatmaps(drawn, title), config.out / "heatmaps.png")
    save(evidence_scatter(scores, measures, relations), config.out / "scatter.png")
    shown: dict[str, Example] = {}  # the first of each group
    for example in right:
        if example.has_evidence:
            shown.setdefault(example.group, example)
    record = attention_record(model, list(shown.values())[:_SHOWN], config.template, looked.provenance["weights"])
    write_json(config.out / "attention.json", record, compact=True)
    results = {
        "model": config.model,
        "data": data,
        "n": len(looked.ids),
        "n_groups": len(set(looked.groups)),
        "n_examples": {name: looked.n_examples(name) for name in measures},
        "mean": {name: float(values.mean()) for name, values in maps.items()},
        "mean_evidence_hallucinated": wrong_mean,
        "relations": {kind: related.as_dict() for kind, related in relations.items()},
        "verdicts": sentences,
        "measure_maps": measure_titles,
        "score_maps": titles,
        "head_scores": {
            **{measure_titles[name]: its.as_dict() for name, its in measures.items()},
            **{titles[name]: its.as_dict() for name, its in scores.items()},
        },
    }
    hashes = {
        "weights": looked.provenance["weights"],
        "examples": looked.provenance["examples"],
        **{f"{kind} scores": hash for kind, its in scores.items() if (hash := its.provenance.get("file_hash"))},
    }
    clock.write(config.out, results, hashes, warnings)

    for kind, related in relations.items():
        print(f"\n{kind} scores against what each head looks at:\n")
        print_table(text_table(*relation_rows(related)))
    print("\nIn words:\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    print_warnings(warnings)
    files = [f"{name.replace(' ', '-')}.safetensors" for name in measures]
    result_files(config.out, "result.json", *files, "evidence.csv", "heatmaps.png", "scatter.png", "attention.json")


def _scores(
    config: Config, model: Any, examples: list[Example], data: str, *, both_labels: bool
) -> tuple[dict[str, HeadScores], dict[str, str]]:
    """Scores and their titles by name: the kind, if computed on the examples; else kind and file."""
    scores: dict[str, HeadScores] = {}
    titles: dict[str, str] = {}
    for wanted in config.scores:
        if wanted not in KINDS:
            made, file = _from_file(wanted, config, model), Path(wanted).name
            name, title = f"{made.kind} ({file})", f"{made.kind} scores from {file}"
        elif both_labels:
            made = _computed(wanted, config, model, examples)
            made = replace(made, provenance={**made.provenance, "data": data})
            name, title = wanted, f"{wanted} scores of {config.model} on {data}"
        else:
            raise InputError(
                f"all {len(examples)} answers are supported, so no {wanted} scores can be computed on them; give "
                "--scores a file of head scores"
            )
        if name in scores:
            raise InputError(f"--scores names two sets of scores called {name}")
        scores[name], titles[name] = made, title
    if not scores:
        raise InputError("--scores names no scores to compare attention with")
    return scores, titles


def _computed(kind: str, config: Config, model: Any, examples: list[Example]) -> HeadScores:
    """Truth that the surface of answers explains is warned of."""
    from lens_truth.data.audit import majority_share, surface_accuracy, surface_warning
    from lens_truth.errors import notice

    made = scores_by_kind(kind, model, examples, config, config.template, n_permutations=None)
    if kind != "truth":
        return made
    surface = surface_accuracy(examples, seed=config.seed)
    if warning := surface_warning(surface, majority_share(examples), float(made.values.max())):
        notice(warning)
    return replace(made, provenance={**made.provenance, "surface_accuracy": surface})


def _from_file(path: str, config: Config, model: Any) -> HeadScores:
    from lens_truth.commands.score_sources import read_scores

    made = read_scores(path)
    shape = (model.cfg.n_layers, model.cfg.n_heads)
    if made.values.shape != shape:
        L, H = made.values.shape
        raise InputError(f"{path}: holds scores of {L} x {H} heads, {config.model} has {shape[0]} x {shape[1]}")
    return made
