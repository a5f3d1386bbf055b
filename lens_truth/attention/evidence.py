"""`evidence`: how much every head attends to the part of the context, or of the image, that holds the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from lens_truth.attention.evidence_tokens import EvidenceTokens, locate_evidence
from lens_truth.attention.measures import MEASURES, measure, queries_of
from lens_truth.attention.patterns import reading_patterns, rows_at_once
from lens_truth.data.examples import Example
from lens_truth.errors import InputError, notice
from lens_truth.io.streams import Stream, stream
from lens_truth.models.batches import check_lengths, length_batches, pad_rows, run_body, tokenizer_of
from lens_truth.models.hooks import Hooked, sliding_windows
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Template, encode, token_texts
from lens_truth.models.provenance import provenance_of
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.bootstrap import bootstrap_interval, group_sums
from lens_truth.stats.correlation import Map


@dataclass(frozen=True)
class Evidence:
    """What every head looks at, in every example that has evidence."""

    measures: Mapping[str, Float[np.ndarray, "N L H"]]
    """By the names of `lens_truth.attention.measures.MEASURES`; those that no example defines are left out, and NaN
    stands where one does not: `evidence over control` if no other part of the context is as long, `retrieval` if the
    evidence is in an image, whose tokens are no words, and all of `evidence` where a layer's sliding window does not
    reach the evidence."""
    ids: tuple[str, ...]
    """Of the N examples that have evidence, in their order."""
    groups: tuple[str, ...]
    """The group of each; intervals are drawn over groups."""
    provenance: Mapping[str, Any]
    """Model, weights, data and settings they were measured with."""

    def n_examples(self, measure: str) -> int:
        """How many examples define a measure."""
        return int(_defined(self.measures[measure]).sum())

    def scores(self, *, n_bootstrap: int = 2000, seed: int = 0) -> dict[str, HeadScores]:
        """Each measure's mean over the examples that define it; where they come from more than one group, with a 95%
        interval (bootstrap over groups) in `ci_low` and `ci_high`."""
        made: dict[str, HeadScores] = {}
        for number, (name, values) in enumerate(self.measures.items()):
            rows = _defined(values)
            groups = [group for group, defined in zip(self.groups, rows, strict=True) if defined]
            wide = values[rows].astype(np.float64)
            metrics: dict[str, Map] = {}
            if len(set(groups)) > 1:
                totals, mass = group_sums(wide, groups), group_sums(np.ones(len(groups)), groups)
                rng = stream(seed, Stream.EVIDENCE_INTERVALS, number)
                low, high = bootstrap_interval(totals, mass, n_bootstrap, rng)
                metrics = {"ci_low": low, "ci_high": high}
            made[name] = HeadScores(
                wide.mean(0),
                kind=name,
                metrics=metrics,
                provenance={**self.provenance, "n_examples": len(groups)},
            )
        return made


def evidence_attention(
    model: Hooked,
    examples: Sequence[Example],
    *,
    template: Template = "plain",
    batch_size: int = 32,
    progress: bool = False,
) -> Evidence:
    """What every head looks at while it reads or writes the answer (TruthProbe's claim about evidence, with chance,
    sink and a control taken care of), and, over the same rows, its retrieval-head score and lookback ratio.

    The main measure, `evidence`, is a ratio: attention of the answer's last token to the evidence over what its length
    alone would get, so 1 is chance; the first token, where attention comes to rest, counts for neither. Retrieval-head
    score: Wu et al. 2024; lookback ratio: Chuang et al. 2024, both from 0 to 1. Patterns exist one layer at a time, and
    only the rows of the answer's queries are looked at.

    Args:
        examples: those without evidence (`Example.evidence`, `Example.boxes`) are left out with a `DataWarning`.
        batch_size: rows a forward pass at most; fewer where patterns are large.

    Raises:
        InputError: if no example has evidence, evidence yields no token or lies outside what the model sees of an
            image, or whatever `capture` refuses.
    """
    tokenizer = tokenizer_of(model)
    given = [example for example in examples if example.has_evidence]
    if not given:
        raise InputError(
            f"none of the {len(examples)} examples has evidence (spans of its context, or boxes in its image)"
        )
    if len(given) < len(examples):
        notice(f"{len(examples) - len(given)} of {len(examples)} examples have no evidence and are left out")
    images = images_for(model, given)
    encoded = encode(tokenizer, given, template, images)
    check_lengths([len(row.ids) for row in encoded], [example.id for example in given], model)
    if n_cut := sum(row.n_cut for row in encoded):
        first = next(example.id for example, row in zip(given, encoded, strict=True) if row.n_cut)
        notice(
            f"{n_cut} of {sum(len(example.evidence) for example in given)} spans of evidence begin or end inside a "
            f"token, which counts as evidence whole (first: example '{first}')"
        )
    rows = [
        locate_evidence(example, row, images, token_texts(tokenizer, row.ids))
        for example, row in zip(given, encoded, strict=True)
    ]

    shape = (len(given), model.cfg.n_layers, model.cfg.n_heads)
    found = {name: np.empty(shape, dtype=np.float32) for name in MEASURES}
    for batch in tqdm(_batches(model, rows, batch_size), desc="evidence", disable=not progress, leave=False):
        for name, values in _measured(model, [rows[row] for row in batch]).items():
            found[name][batch] = values.cpu().numpy()
    if not _defined(found["evidence"]).any():
        raise InputError(
            f"in none of {len(given)} examples does every layer see the evidence from the answer: the model's sliding "
            f"window is {min(window for window in sliding_windows(model) if window)} tokens"
        )
    return Evidence(
        measures={name: values for name, values in found.items() if _defined(values).any()},
        ids=tuple(example.id for example in given),
        groups=tuple(example.group for example in given),
        provenance=provenance_of(model, given, template),
    )


def _defined(values: Float[np.ndarray, "N L H"]) -> Bool[np.ndarray, " N"]:
    return np.isfinite(values.reshape(len(values), -1).sum(axis=1))


def _batches(model: Hooked, rows: Sequence[EvidenceTokens], batch_size: int) -> list[list[int]]:
    """Rows of similar length together, as many as their patterns allow."""
    batches: list[list[int]] = []
    for batch in length_batches([len(tokens.row.ids) for tokens in rows], batch_size):
        size = rows_at_once(model, len(rows[batch[0]].row.ids))
        batches += [batch[start : start + size] for start in range(0, len(batch), size)]
    return batches


def _measured(model: Hooked, batch: Sequence[EvidenceTokens]) -> dict[str, Float[Tensor, "B L H"]]:
    """One forward pass; one number a measure, row and head leaves each hook."""
    ids, mask = pad_rows([tokens.row.ids for tokens in batch], model)
    layers: list[dict[str, Float[Tensor, "B H"]]] = []
    windows = sliding_windows(model)

    def read(layer: int, pattern: Float[Tensor, "B H T T"]) -> None:
        of_rows = [
            measure(
                pattern[i, :, list(queries_of(tokens)), : len(tokens.row.ids)].transpose(0, 1), tokens, windows[layer]
            )
            for i, tokens in enumerate(batch)
        ]
        layers.append({name: torch.stack([row[name] for row in of_rows]) for name in MEASURES})

    with torch.no_grad(), reading_patterns(model, read):
        run_body(model, ids, mask, [tokens.row.image for tokens in batch])
    return {name: torch.stack([layer[name] for layer in layers], dim=1) for name in MEASURES}
