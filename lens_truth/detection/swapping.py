"""`truth_swaps`: a truth direction's component swapped between two answers, by TransformerLens's interchange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.data.examples import Example, question_pairs
from lens_truth.detection.swaps import TruthSwaps
from lens_truth.errors import InputError
from lens_truth.evaluate.generate import yes_no_tokens
from lens_truth.io.runs import version_of
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.batches import check_lengths, pad_rows, tokenizer_of
from lens_truth.models.hooks import Hooked, hook_names
from lens_truth.models.prompts import JUDGE, JUDGE_QUESTION, Template, Wording, prompt_of
from lens_truth.scoring.activations import HeadActivations
from lens_truth.stats.folds import grouped_folds

_FOLDS = 2


@stage("swaps")
def truth_swaps(
    model: Hooked,
    activations: HeadActivations,
    examples: Sequence[Example],
    *,
    layers: Sequence[int] = (),
    template: Template = "plain",
    wording: Wording = JUDGE,
    n_placebos: int = 4,
    batch_size: int | None = None,
    seed: int = 0,
) -> TruthSwaps:
    """Swaps of `transformer_lens.tools.analysis` between the answers of every question that has both labels.

    >>> activations = lens_truth.capture(model, examples, at="resid_post")
    >>> lens_truth.truth_swaps(model, activations, examples, layers=[4, 8]).tables()

    Args:
        activations: of the same examples, at the residual stream; directions are fitted on them.
        layers: places among the layers with heads; by default four, evenly spread. From the last
            one nothing reaches the end of the judgement.
        n_placebos: random directions, along which as far is moved.

    Raises:
        InputError: if no question has answers of both labels, activations are of heads or of other examples, a layer is
            not there, or a tokenizer begins yes and no alike.
    """
    if activations.point != "resid_post" or activations.ids != tuple(example.id for example in examples):
        raise InputError("swaps take the activations of the residual stream (at='resid_post') of the same examples")
    L = activations.z.shape[1]
    layers = [*layers] or sorted({round((L - 1) * part / 5) for part in range(1, 5)})
    if bad := [layer for layer in layers if not 0 <= layer < L]:
        raise InputError(f"there is no layer {bad[0]}: the model has {L} layers with heads, from 0 on")
    pairs = [(right[0], wrong[0]) for right, wrong in question_pairs(examples)]
    base = [at for pair in pairs for at in pair]
    labels = activations.labels.numpy()
    fold = grouped_folds(labels, activations.groups, _FOLDS, seed)
    asked = _Judged(model, [examples[at] for at in base], template, wording, batch_size or 16)
    margins = asked.margins()
    towards = 2.0 * labels[base] - 1  # a supported answer's log-odds of being hallucinated are to rise
    partner = torch.tensor([place ^ 1 for place in range(len(base))])
    truth, whole = np.empty((2, len(layers), len(base)))
    placebo = np.empty((n_placebos, len(layers), len(base)))
    seeds: list[int] = stream(seed, Stream.PLACEBOS).integers(2**31, size=n_placebos).tolist()
    tools, names, M = interchange(), hook_names(model, "hook_resid_post"), activations.z.shape[-1]
    for place, layer in enumerate(layers):
        states = asked.states(names[layer])[partner]
        everything = tools.SubspaceInterchange(torch.eye(M))
        whole[place] = towards * (asked.margins(names[layer], everything, states) - margins)
        for k in range(_FOLDS):
            rows = np.flatnonzero(fold[base] == k)
            known = np.flatnonzero(fold != k)
            direction = tools.mean_difference_basis(activations.z[known, layer, 0], labels[known].tolist())
            swap = tools.SubspaceInterchange(direction)
            truth[place, rows] = towards[rows] * (asked.margins(names[layer], swap, states, rows) - margins[rows])
            for draw, its in enumerate(seeds):
                other = tools.NormMatchedPlacebo(swap, tools.random_basis(M, 1, seed=its))
                moved = asked.margins(names[layer], other, states, rows)
                placebo[draw, place, rows] = towards[rows] * (moved - margins[rows])
    return TruthSwaps(
        layers=tuple(layers),
        groups=tuple(examples[at].group for at in base),
        hallucinated=1.0 - labels[base],
        margins=margins,
        truth=truth,
        placebo=placebo,
        whole=whole,
        seed=seed,
    )


def interchange() -> Any:
    """TransformerLens's module of interchange interventions, which its earlier releases lack."""
    try:
        from transformer_lens.tools.analysis import interchange as tools
    except ImportError:
        raise InputError(
            f"swaps are interchange interventions of TransformerLens 4.3, and {version_of('transformer-lens')} is "
            "installed: pip install 'transformer-lens>=4.3'"
        ) from None
    return tools


class _Judged:
    """Answers in prompts that ask whether they are hallucinated, as TransformerLens's tools take them: ids and mask in
    one tensor [N, 2, T], and for each the position of the answer's last token."""

    def __init__(
        self, model: Hooked, examples: Sequence[Example], template: Template, wording: Wording, batch_size: int
    ) -> None:
        tokenizer = tokenizer_of(model)
        self._model, self._batch_size = model, batch_size
        self._yes, self._no = yes_no_tokens(tokenizer)
        if not (self._yes and self._no):
            raise InputError("the tokenizer begins yes and no with the same token, so they have no margin")
        prompts = [prompt_of(tokenizer, example, template, wording) for example in examples]
        texts = [prompt.text for prompt in prompts]
        made = tokenizer(texts, add_special_tokens=template == "plain", return_offsets_mapping=True, verbose=False)
        check_lengths([len(ids) for ids in made["input_ids"]], [example.id for example in examples], model)
        ends = [text.rfind(f"\n{JUDGE_QUESTION}") for text in texts]
        last = [
            max(place for place, (start, stop) in enumerate(spans) if start < end and start < stop)
            for spans, end in zip(made["offset_mapping"], ends, strict=True)
        ]
        self._inputs = torch.stack(pad_rows(made["input_ids"], model), dim=1)
        self._positions = torch.tensor(last, device=self._inputs.device)

    def _logits(self, inputs: Int[Tensor, "B 2 T"]) -> Float[Tensor, "B 2"]:
        """Of yes and no, at each row's last token."""
        ids, mask = inputs.unbind(1)
        at = mask.sum(1) - 1
        logits: Tensor = self._model(ids, attention_mask=mask)
        of_last = logits[torch.arange(len(ids), device=logits.device), at.to(logits.device)].float()
        return torch.stack([of_last[:, some].logsumexp(1) for some in (self._yes, self._no)], dim=1)

    def states(self, name: str) -> Float[Tensor, "N M"]:
        """Of every answer, at its last token."""
        return interchange().collect_activations(
            self._model, name, self._inputs, self._logits, positions=self._positions, batch_size=self._batch_size
        )

    def margins(self, name: str = "", how: Any = None, states: Any = None, rows: Any = None) -> Float[np.ndarray, " N"]:
        """log p(yes) - log p(no) as the model is, or (of some rows) under an intervention with the partners' states."""
        if how is None:
            with torch.no_grad():
                batches: tuple[Tensor, ...] = torch.split(self._inputs, self._batch_size)
                parts = [self._logits(some).cpu() for some in batches]
            found = torch.cat(parts)
        else:
            rows = torch.arange(len(self._inputs)) if rows is None else torch.from_numpy(rows)
            given = self._inputs[rows], states[rows], self._logits
            found = interchange().intervened_logits(
                self._model, name, how, *given, positions=self._positions[rows], batch_size=self._batch_size
            )
        return (found[:, 0] - found[:, 1]).double().numpy()
