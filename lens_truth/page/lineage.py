"""Lineages: how well the scores of every two models agree (`inherit`)."""

from __future__ import annotations

from lens_truth.io.numbers import count
from lens_truth.lineage.agreement import Heritability
from lens_truth.lineage.inheritance import TruthCausal
from lens_truth.page.blocks import Block, Details, Heading, Sentences, Side, Text
from lens_truth.page.reading import RunRecord


def lineage_blocks(run: RunRecord) -> list[Block]:
    """The matrices of each kind of scores, what they say, and every pair in numbers."""
    blocks: list[Block] = []
    for kind in run.named("heritability"):
        found = Heritability.of_record(run.record, kind)
        pairs, everywhere, inside = found.tables()
        L, H = found.shape
        title = f"{found.kind.capitalize()} scores of {count(len(found.names), 'model')}"
        blocks += [
            Heading(title, 3, f"run {run.name}; {L} layers × {H} heads"),
            Sentences(run.sentences("verdicts", kind) or tuple(found.verdicts())),
            Side((everywhere, inside)),
            Text(
                "Inside layers: each layer's mean removed from both maps, so that heads are compared and not depth. "
                "Bold: above what shuffling heads inside layers gives (p < .05, Holm over all pairs). Point at a cell "
                "for its interval and null."
            ),
            Details(f"All {count(len(found.pairs), 'pair')} in numbers", (pairs,)),
        ]
    if "truth_causal" in run.record.results:
        blocks += [Heading("Do heads that know also act?", 3), *TruthCausal.of_record(run.record).tables()]
    return blocks
