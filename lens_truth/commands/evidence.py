"""What do truthful heads look at? Attention of every head to the evidence, in the context or in the picture, with its
retrieval-head score and lookback ratio over the same rows; against head scores, with depth removed and heads shuffled,
and the heads with the highest scores against the rest.

Writes a score file for each measure, evidence.csv, heatmaps.png, scatter.png, attention.json (example rows for the
report), attention.safetensors (every measure in every example) and result.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_truth.commands.compute import KINDS, Compute, load_model, on_terminal, scores_by_kind
from lens_truth.commands.run import Run
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from lens_truth.attention.evidence import Evidence
    from lens_truth.data.examples import Example
    from lens_truth.scoring.scores import HeadScores
    from lens_truth.stats.relations import Relations

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


@dataclass(frozen=True)
class _Study:
    """What was measured."""

    model: Any
    data: str
    examples: list[Example]
    """With supported answers and evidence."""
    looked: Evidence
    wrong_mean: float | None
    """Mean attention to the evidence where the answer is hallucinated."""
    scores: dict[str, HeadScores]
    titles: dict[str, str]
    """Of the scores."""


def run(config: Config) -> None:
    """Measures, relates to scores, writes."""
    with Run("evidence", config) as run:
        study = _measured(config)
        relations = {kind: study.looked.relate(its, share=config.top) for kind, its in study.scores.items()}
        sentences = study.looked.verdicts(relations, study.wrong_mean)
        _write(run, config, study, relations)
        run.results.update(
            data=study.data, mean_evidence_hallucinated=study.wrong_mean, verdicts=sentences, score_maps=study.titles
        )
        for kind, related in relations.items():
            print(f"\n{kind} scores against what each head looks at:\n")
            print_table(related.table(kind))
        print("\nIn words:\n" + "\n".join(f"- {sentence}" for sentence in sentences))


def _measured(config: Config) -> _Study:
    from lens_truth.attention.evidence import MAIN
    from lens_truth.attention.measuring import evidence_attention
    from lens_truth.data.examples import HALLUCINATED, SUPPORTED
    from lens_truth.data.loading import describe, load_examples
    from lens_truth.errors import gathered_notices, notice
    from lens_truth.models.image_input import is_multimodal

    model = load_model(config.model, config)
    data = config.data or ("zoo:image" if is_multimodal(model) else "zoo:text")
    settings: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size, "seed": config.seed}
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
    wrong_mean = None
    if contrast := [example for example in wrong if example.has_evidence]:
        with gathered_notices():  # the same evidence, of which the same would be said again
            when_wrong = evidence_attention(model, contrast, **settings, progress=on_terminal())
        wrong_mean = float(when_wrong.means()[MAIN].mean())
    shown = [example for example in right if example.has_evidence]
    return _Study(model, data, shown, looked, wrong_mean, scores, titles)


def _write(run: Run, config: Config, study: _Study, relations: dict[str, Relations]) -> None:
    from lens_truth.attention.show import attention_record
    from lens_truth.scoring.score_files import heads_csv

    looked, scores = study.looked, study.scores
    measures = {name: _on(study.data, its) for name, its in looked.scores().items()}
    for name, measured in measures.items():
        run.scores(f"{name.replace(' ', '-')}.safetensors", measured)
    drawn = {f"{name} scores": its for name, its in scores.items()}
    run.text("evidence.csv", heads_csv({name: its.values for name, its in {**measures, **drawn}.items()}))
    run.figure("heatmaps.png", looked.plot(drawn, f"{config.model} on {study.data} (n = {len(looked.ids)})"))
    run.figure("scatter.png", looked.scatter(scores, relations))
    first: dict[str, Example] = {}
    for example in study.examples:
        first.setdefault(example.group, example)
    shown, weights = list(first.values())[:_SHOWN], looked.provenance["weights"]
    run.json("attention.json", asdict(attention_record(study.model, shown, config.template, weights)))
    run.hold(looked)
    for kind, related in relations.items():
        run.hold(related, kind)
    titles = {name: f"{name} of {config.model} on {study.data}" for name in measures}
    run.results["measure_maps"] = titles
    run.heads({titles[name]: its for name, its in measures.items()})
    run.heads({study.titles[name]: its for name, its in scores.items()})
    run.hashes.update(weights=weights, examples=looked.provenance["examples"])
    run.hashes.update(
        {f"{kind} scores": its.provenance["file_hash"] for kind, its in scores.items() if "file_hash" in its.provenance}
    )


def _on(data: str, scores: HeadScores) -> HeadScores:
    """With the name of the data that they were computed on."""
    return replace(scores, provenance={**scores.provenance, "data": data})


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
            made = _on(data, _computed(wanted, config, model, examples))
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
