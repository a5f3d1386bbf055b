"""What a model tells of answers without anything that its heads have learned: how many tokens it makes of them, its
embeddings of their words, heads before training, how likely they are to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.examples import Example, labels_of
from lens_truth.data.surface_fits import fitted_before, held_out
from lens_truth.detection.reading import read_answers
from lens_truth.errors import InputError
from lens_truth.io.numbers import count
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.placing import device_of
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.untrained import untrained_twin
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.capturing import capture
from lens_truth.scoring.nested import decisions_before, decisions_on_folds
from lens_truth.scoring.scores import HeadScores

_BEYOND = 1 << 20
"""Tokens that stand for no limit, in configs that state none and in tokenizers."""
_AT_ONCE = 1 << 16
"""Tokens that are embedded at once."""
Fold = Int[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class ModelBaselines:
    """Of N rows, what baselines that need a model decide while a row's fold is held out, beside its truth scores.

    Everything of a row that is too long for the model is NaN.
    """

    decisions: dict[str, Float[np.ndarray, " N"]]
    """By name, the higher the more supported; above 0 is supported, except for log-probabilities, to which nothing is
    fitted."""
    before: dict[str, Float[np.ndarray, " N"]]
    """The same of what was fitted on the folds before a row's own, against which labels may be permuted; NaN where
    there is none yet."""
    truth: HeadScores
    """The model's own truth scores, on the same rows and folds."""
    best_head: Float[np.ndarray, " N"]
    """What of its heads the one decides that is best on the other folds: to be held beside the untrained twin."""
    untrained: HeadScores | None
    """The same scores of the untrained twin; None where it was not wanted or cannot be made."""
    findings: tuple[Finding, ...]
    """What is wrong with the rows, or left out."""


def model_baselines(
    model: Hooked,
    examples: Sequence[Example],
    fold: Fold,
    *,
    template: Template = "plain",
    batch_size: int | None = None,
    untrained: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> ModelBaselines:
    """What a model gives away of labels by itself, row by row:

    - `model tokens`: how many tokens of its tokenizer the answer has, and the logarithm (logistic regression);
    - `layer-0 embedding, mean` and `..., last token`: ridge on the embeddings of the answer's tokens, which no
      attention has seen: a bag of tokens, and the last of them, where truth scores read;
    - `untrained twin`: the best head of the same architecture with random weights, probed as truth scores are; it is
      chosen on the other folds. Heads that are narrow, or have a long context before them, may miss a word that
      embeddings show: a twin at chance clears nothing;
    - `log-probability` and `log-probability per token` of the answer behind its prompt.

    Rows beyond the model's context are counted as a finding, and no pass sees them. The twin is made when the model's
    own passes are done; both are in memory then.

    >>> fold = grouped_folds(np.array(labels_of(examples)), [example.group for example in examples], 5, seed=0)
    >>> found = model_baselines(model, examples, fold)
    >>> found.untrained.values.max(), found.truth.values.max()

    Args:
        fold: of every row, as `grouped_folds` has them.
        untrained: whether a twin is made, which takes as much memory as the model does in floats.
        seed: of the twin's weights.

    Raises:
        InputError: whatever `capture` refuses but rows that are too long; fewer than 3 folds, or too few rows left.
    """
    encoded = encode(tokenizer_of(model), examples, template, images_for(model, examples))
    lengths = np.array([row.answer[1] for row in encoded])
    limit, findings = context_limit(model), list[Finding]()
    fits = lengths <= limit
    if not fits.all():
        findings.append(_too_long(examples, lengths, fits, limit))
    rows: list[int] = np.flatnonzero(fits).tolist()
    kept, folds, some = [examples[row] for row in rows], fold[fits], [encoded[row] for row in rows]
    _check_left(kept, folds, int(fold.max()) + 1, len(fold), limit)
    how: dict[str, Any] = {"template": template, "batch_size": batch_size, "progress": progress}
    labels, on = np.array(labels_of(kept)), device_of(model)

    heads = capture(model, kept, **how)
    own = decisions_on_folds(heads, folds, choose=True, device=on)
    assert own.best is not None
    embeddings = _embedded(model, some, heads)
    embedded = decisions_on_folds(embeddings, folds, device=on).decisions[:, :, 0]
    earlier = decisions_before(embeddings, folds, device=on)
    before = {"best head": decisions_before(heads, folds, choose=True, device=on)[:, 0]}
    del heads  # the twin's take its place
    lengths_seen = _lengths(some)
    found = {"model tokens": held_out(lengths_seen, labels, folds)}
    before["model tokens"] = fitted_before(lengths_seen, labels, folds)
    for column, name in enumerate(("layer-0 embedding, mean", "layer-0 embedding, last token")):
        found[name], before[name] = embedded[:, column], earlier[:, column]
    likely = read_answers(model, kept, {}, **how).tokens
    total = np.array([its.log_prob for its in likely])
    twin = None
    try:
        if untrained:
            its = capture(untrained_twin(model, seed), kept, **how)
            twin = decisions_on_folds(its, folds, kind="untrained", choose=True, device=on)
            assert twin.best is not None
            found["untrained twin"] = twin.best
            before["untrained twin"] = decisions_before(its, folds, choose=True, device=on)[:, 0]
    except InputError as error:
        findings.append(_no_twin(error))
    found["log-probability"] = total
    found["log-probability per token"] = total / np.array([max(1, its.n_likely) for its in likely])
    before |= {name: values for name, values in found.items() if name.startswith("log")}  # nothing is fitted to them
    return ModelBaselines(
        {name: _over_all(values, fits) for name, values in found.items()},
        {name: _over_all(values, fits) for name, values in before.items()},
        own.scores,
        _over_all(own.best, fits),
        twin and replace(twin.scores, provenance={**twin.scores.provenance, "seed": seed}),
        tuple(findings),
    )


def context_limit(model: Hooked) -> int:
    """How many tokens a model reads: what its config says, or its tokenizer where that states no limit."""
    limit: int = model.cfg.n_ctx
    said = getattr(model.tokenizer, "model_max_length", None)
    return int(said) if limit >= _BEYOND and said is not None and said < _BEYOND else limit


def _too_long(examples: Sequence[Example], lengths: Fold, fits: Bool[np.ndarray, " N"], limit: int) -> Finding:
    long: list[int] = np.flatnonzero(~fits).tolist()
    return Finding(
        "context limit",
        "wrong",
        f"{count(len(long), 'row')} of {len(examples)} with the answer longer than the {limit:,} tokens that the model "
        "reads: their ends are lost or make no sense to it, and what the model tells is of the other rows",
        len(long),
        len(examples),
        f"{shown(examples[long[0]])}, {lengths[long[0]]:,} tokens",
        f"Shorten the context, or use a model that reads {lengths.max():,} tokens",
    )


def _no_twin(error: InputError) -> Finding:
    says = f"There is no untrained twin of the model: {error}"
    cure = "Truth scores are not held beside those of untrained heads; a smaller model of the family has a twin"
    return Finding("untrained twin", "note", says, 0, 0, "", cure)


def _check_left(kept: Sequence[Example], fold: Fold, n_folds: int, n: int, limit: int) -> None:
    """Raises an InputError if rows that fit leave a fold empty, or only one class to train on."""
    labels = np.array(labels_of(kept))
    for k in range(n_folds):
        if not (fold == k).any() or len(np.unique(labels[fold != k])) < 2:
            raise InputError(
                f"{len(kept)} of {n} examples fit into the model's context of {limit} tokens, and fold {k} of "
                f"{n_folds} is empty then, or leaves one class only to train on; shorten contexts, or use fewer folds"
            )


def _lengths(encoded: Sequence[Encoded]) -> Float[np.ndarray, "n 2"]:
    """How many tokens the answer has, and the logarithm, on one scale."""
    n = np.array([row.answer[1] - row.answer[0] for row in encoded], dtype=float)
    x = np.stack([n, np.log(n)], axis=1)
    return (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)


def _embedded(model: Any, encoded: Sequence[Encoded], rows: HeadActivations) -> HeadActivations:
    """The mean embedding of the answer's tokens, and that of the last one, as two layers with one wide head."""
    embedding = model.original_model.get_input_embeddings()
    answers = [row.ids[slice(*row.answer)] for row in encoded]
    words, places = np.unique(np.concatenate(answers), return_inverse=True)
    ids = torch.from_numpy(words).to(device_of(model))
    with torch.no_grad():
        vectors = torch.cat([embedding(some[None])[0].float().cpu() for some in torch.split(ids, _AT_ONCE)])
    parts = torch.split(torch.from_numpy(places), [len(answer) for answer in answers])
    z = torch.stack([torch.stack([vectors[part].mean(0), vectors[part[-1]]]) for part in parts])
    return replace(rows, z=z[:, :, None], provenance={"point": "embedding"})


def _over_all(values: Float[np.ndarray, " n"], fits: Bool[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """With NaN for rows that no pass has seen."""
    found = np.full(len(fits), np.nan)
    found[fits] = values
    return found
