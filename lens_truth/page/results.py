"""What the runs of each command found, as blocks of a page."""

from __future__ import annotations

from typing import Any

from lens_truth.ablation import tables as ablation_tables
from lens_truth.ablation.result import Ablation
from lens_truth.attention.evidence import MAIN, EvidenceSummary
from lens_truth.confounds.audit_result import Audit, audit_table, baselines_table, findings_table
from lens_truth.confounds.between_result import Between, transfer_table
from lens_truth.confounds.found import Found
from lens_truth.data.agreement import Agreement, agreement_table
from lens_truth.data.overlap import Overlap, overlap_table
from lens_truth.evaluate.choice_log import ChoiceLog
from lens_truth.evaluate.choices import Choices
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.io.numbers import count, number, short, signed
from lens_truth.io.readers import is_list, is_object
from lens_truth.io.tables import row, table
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.inheritance import TruthCausal
from lens_truth.lineage.kept import CIRCUITS, Preservation, WeightSimilarity, circuits_table, means_table
from lens_truth.page.blocks import Block, Details, Heading, Sentences, Side, Text, missing
from lens_truth.page.plain import plain, plain_tables
from lens_truth.page.reading import RunRecord
from lens_truth.page.view import Scatter, View
from lens_truth.scoring.layer_result import LayerComparison
from lens_truth.stats.relations import Relations, relation_text


def evidence_blocks(run: RunRecord, view: View) -> list[Block]:
    """Relations of all scores with what heads attend to, and scatters."""
    looked = EvidenceSummary.of_record(run.record)
    data = run.record.results.get("data")
    said = f"{count(len(looked.ids), 'example')}{f' of {data}' if isinstance(data, str) else ''}"
    about = f"run {run.name}; {said} in {count(len(set(looked.groups)), 'group')}"
    blocks: list[Block] = [Heading(f"What the heads of {looked.provenance.get('model')} attend to", about)]
    if verdicts := run.sentences("verdicts"):
        blocks.append(Sentences(verdicts))
    blocks += looked.tables()
    names = run.named("relations")
    if not names:
        blocks.append(missing("the run had no scores to relate attention to (`--scores`)"))
    scatters: list[Scatter] = []
    lift = view.find_map(run, _title(run, "measure_maps", MAIN))
    for name in names:
        related = Relations.of_record(run.record, name)
        score = view.find_map(run, title := _title(run, "score_maps", name))
        called = f"{name[:1].upper()}{name[1:]} score"
        note = "" if score is None else f"Scores: {title}."
        blocks.append(related.table(f"{called} of a head against what it attends to", note=note))
        if score is None or lift is None or score.key[1:] != lift.key[1:]:
            lost = " and ".join(f"'{what}'" for what, one in ((name, score), (MAIN, lift)) if one is None)
            why = f"nothing says which maps here are {lost}" if lost else "their maps have different shapes"
            blocks.append(missing(f"no scatter of {name} scores against {MAIN}: {why}"))
            continue
        x, y = score.scores.values, lift.scores.values
        scatters.append(
            Scatter(
                model=lift.key,
                x_label=f"{name} score",
                y_label="attention to the evidence, times chance",
                x=x,
                y=y,
                log=bool(0 < 10 * y.min() < y.max()),
                caption=f"{called} against attention to the evidence",
                said=relation_text(related.score.get(MAIN)),
            )
        )
    return [*blocks, *view.drawn(scatters)]


def _title(run: RunRecord, part: str, name: str) -> str | None:
    """What `head_scores` calls the map of this name; None where the run does not say."""
    titles = run.record.results.get(part)
    title = titles.get(name) if is_object(titles) else None
    return title if isinstance(title, str) else None


def lineage_blocks(run: RunRecord, _: View) -> list[Block]:
    """The matrices of each kind of scores, what they say, and every pair in numbers."""
    blocks: list[Block] = []
    for kind in run.named("heritability"):
        found = Heritability.of_record(run.record, kind)
        pairs, everywhere, inside = found.tables()
        L, H = found.shape
        title = f"{found.kind.capitalize()} scores of {count(len(found.names), 'model')}"
        blocks += [
            Heading(title, f"run {run.name}; {L} layers × {H} heads"),
            Sentences(run.sentences("verdicts", kind) or tuple(found.verdicts())),
            Side((everywhere, inside)),
            Text(
                "Inside layers: each layer's mean removed from both maps, so that heads are compared and not depth. "
                "Bold: above what shuffling heads inside layers gives (p < .05, Holm over all pairs). Point at a cell "
                "for its interval and null."
            ),
            Details(f"All {count(len(found.pairs), 'pair')} in numbers", (pairs,)),
        ]
    if TruthCausal.part in run.record.results:
        blocks += [Heading("Do heads that know also act?"), *TruthCausal.of_record(run.record).tables()]
    return blocks


def weights_blocks(run: RunRecord, view: View) -> list[Block]:
    """What descendants keep of each head's weights: means, relations with the scores, and scatters of both."""
    notes: list[Block] = [Text(note) for note in run.sentences("notes")]
    kept = {name: WeightSimilarity.of_record(run.record, name) for name in run.named("weight_similarity")}
    related = {name: Preservation.of_record(run.record, name) for name in run.named("preservation")}
    if not kept:  # a script may have saved the relations alone
        return [*notes, *(table for its in related.values() for table in its.tables())]
    base = next(iter(kept.values())).base
    title = Heading(f"Weights of {base}, and what is kept of them", f"run {run.name}")
    blocks: list[Block] = [title, means_table(list(kept.values())), *notes]
    tables = {name: its.kept_table(f"Score in {base} against what {name} kept") for name, its in related.items()}
    if run.kind == "inherit":
        both = {name: (its, related[name]) for name, its in kept.items() if name in related}
        return [*blocks, circuits_table(base, both), Details("Every measure of each model", tuple(tables.values()))]
    scatters: list[Scatter] = []
    for name, its in kept.items():
        if name not in related:
            blocks.append(missing(f"{name} was not related to scores, since the run had none"))
            continue
        blocks.append(tables[name])
        if (change := related[name].score_change) is not None:
            blocks.append(Text(f"Change of score against change of weights: {relation_text(change)}."))
        scored = [one for one in view.maps if run.name in one.runs and one.scores.values.shape == its.ov.shape]
        score = next((one for one in scored if one.model == base), scored[0] if len(scored) == 1 else None)
        if score is None:
            blocks.append(missing(f"no scatter: nothing says which map here is that of {base}"))
            continue
        scatters += [
            Scatter(
                model=score.key,
                x_label=f"{score.kind} score in {base}",
                y_label=f"1 - {circuit.upper()} cosine with {its.child}",
                x=score.scores.values,
                y=its.distances()[circuit],
                log=True,
                caption=f"{score.kind.capitalize()} score against the {circuit.upper()} circuit kept by {its.child}",
                said=relation_text(related[name].score.get(circuit)),
            )
            for circuit in CIRCUITS
        ]
    return [*blocks, *view.drawn(scatters)]


def ablation_blocks(run: RunRecord, _: View) -> list[Block]:
    """Gates by scores against the vanilla model and against their controls: verdicts, then a table a model."""
    found = Ablation.of_record(run.record)
    source = run.record.results.get("scores_from")
    return [
        Heading(f"Gates by scores of {source}" if isinstance(source, str) else "Gates by scores", f"run {run.name}"),
        Sentences(tuple(found.verdicts())),
        *found.gate_tables().values(),
        *ablation_tables.reading_tables(found.rows).values(),
        *ablation_tables.caption_tables(found.rows).values(),
    ]


def side_effect_blocks(run: RunRecord, _: View) -> list[Block]:
    """What gates do to text that nothing is asked about."""
    found = Ablation.of_record(run.record)
    if tables := ablation_tables.side_effect_tables(found.side_effects, found.rows):
        return [Heading("What else gates do", f"run {run.name}"), *tables.values()]
    return [missing(f"run {run.name} measured no side effects")]


def search_blocks(run: RunRecord, _: View) -> list[Block]:
    """A table for each gate by scores, and for the tuned gain."""
    found = Ablation.of_record(run.record)
    blocks: list[Block] = []
    for model in found.search:
        best = {gate: found.chosen(gate, model) for gate, its in found.search[model].items() if its}
        chosen = [f"{gate}: {its.said() if its else ablation_tables.UNWANTED}" for gate, its in best.items()]
        level = f"{found.vanilla_objective(model):.3f} without a gate"
        blocks += [
            Heading(f"Choosing λ for {model}", f"run {run.name}"),
            Text(f"Accuracy on validation, mean over benchmarks: {'; '.join([*chosen, level])}."),
            Details("All that was tried", (Side(tuple(found.search_tables(model))),)),
        ]
    return blocks or [missing(f"run {run.name} searched for nothing")]


def benchmark_blocks(run: RunRecord, _: View) -> list[Block]:
    """What `evaluate` found."""
    config = run.config
    gated = f"gated by {config['scores']}, λ = {config.get('lam')}" if config.get("scores") else "as it is"
    asked = f"{config.get('model')}, {gated}" if "weights" in run.hashes else "answers from a file"
    on = f"on {config['data']}" if config.get("data") and not config.get("log") else ""
    title = run.record.command.removeprefix("evaluate").strip() or "evaluate"
    blocks: list[Block] = [Heading(title, "; ".join(filter(None, (f"run {run.name}", asked, on))))]
    rest: dict[str, Any] = dict(run.record.results)
    for kind in (BenchmarkResult, Choices, ChoiceLog):
        if rest.pop(kind.part, None) is not None:
            result = kind.of_record(run.record)
            blocks += result.tables()
            rest = {name: its for name, its in rest.items() if name not in result.summary()}
    return [*blocks, *plain_tables(rest, "Settings" if len(blocks) > 1 else "Results")]


def layer_blocks(run: RunRecord, _: View) -> list[Block]:
    """Heads beside their layers, if `probe` was asked for them."""
    if LayerComparison.part not in run.record.results:
        return []
    return [Heading(run.name, "command probe"), *LayerComparison.of_record(run.record).tables()]


def audit_blocks(run: RunRecord, _: View) -> list[Block]:
    """What `audit` found: the tables of its own."""
    audits = {name: Audit.of_record(run.record, name) for name in run.named(Audit.part)}
    pairs = {name: Agreement.of_record(run.record, name) for name in run.named(Agreement.part)}
    shared = {name: Overlap.of_record(run.record, name) for name in run.named(Overlap.part)}
    betweens = {name: Between.of_record(run.record, name) for name in run.named(Between.part)}
    others = {name: Found.of_record(run.record, name) for name in run.named(Found.part)}
    findings = {name: its.findings for name, its in {**audits, **betweens, **others}.items() if its.findings}
    transfers = [its for between in betweens.values() for its in between.transfers]
    tables = [
        *([audit_table(audits)] if audits else []),
        *([findings_table(findings)] if findings else []),
        *(baselines_table(its.baselines, name) for name, its in audits.items() if its.baselines),
        *([agreement_table(pairs)] if pairs else []),
        *([overlap_table(shared)] if shared else []),
        *([transfer_table(transfers)] if transfers else []),
    ]
    return [Heading(run.name, f"command {run.record.command}"), *tables]


def shift_blocks(run: RunRecord, view: View) -> list[Block]:
    """What `steer` shifts, head by head, and how attached and folded shift agree."""
    found = dict(run.record.results)
    heads, sigma, alpha = (found.pop(name, None) for name in ("heads", "sigma", "alpha"))
    whole = is_list(heads) and is_list(sigma) and len(heads) == len(sigma) and isinstance(alpha, int | float)
    if not whole or not all(isinstance(its, int | float) for its in sigma) or not all(map(is_list, heads)):
        return other_blocks(run, view)
    at = run.config.get("at") or "z"
    rows = [
        row(str(rank), ".".join(map(str, head)), number(spread), signed(alpha * spread))
        for rank, (head, spread) in enumerate(zip(heads, sigma, strict=True), start=1)
    ]
    header = ("", "head" if at == "z" else "layer.0", "standard deviation", "shift")
    note = f"In the order of their probes; a shift is alpha ({short(alpha)}) standard deviations along the direction."
    found.pop("files", None)
    return [
        Heading(f"{run.config.get('model')} steered at {at}", f"run {run.name}; {plain(run.config.get('data'))}"),
        table("What is added to heads" if at == "z" else "What is added behind layers", header, rows, note),
        *plain_tables(found, "Shift"),
    ]


def other_blocks(run: RunRecord, _: View) -> list[Block]:
    """What a command found that has no section of its own."""
    return [Heading(run.name, f"command {run.record.command}"), *plain_tables(run.record.results, "Results")]
