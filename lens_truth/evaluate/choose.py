"""Does a model find the supported answer more likely than the hallucinated one? Multiple choice without generation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from lens_truth.data.examples import Example, question_pairs
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.asker import Asker
from lens_truth.evaluate.choices import Choice, Choices
from lens_truth.gates.gate import HeadGate
from lens_truth.models.batches import length_batches
from lens_truth.scoring.causal import answer_log_probs, encode_answers


def choose(asker: Asker, examples: Sequence[Example], gate: HeadGate | None = None, seed: int = 0) -> Choices:
    """Ranks the answers of every question that has answers of both labels.

    >>> choose(Asker(lens_truth.load("zoo:llama-chat"), "chat"), lens_truth.load_examples("zoo:text/test")).summary()

    Log-probabilities that the asker's log holds (as margins) are not computed again; new ones are added to it. An
    InputError is raised if no question has such answers, or an answer is empty or would be cut off.
    """
    model, log = asker.model, asker.log
    pairs = question_pairs(examples)
    encoded = encode_answers(model, examples, asker.template)
    rows = sorted({i for pair in pairs for side in pair for i in side})
    log_prob = np.zeros(len(examples))
    keys = log.keys(gate, [f"{e.content} {e.continuation}" for e in encoded], 0, False) if log is not None else []
    if log is not None:
        for i in rows:
            if (known := log.get(keys[i])) is not None and known.margin is not None:
                log_prob[i] = known.margin
        rows = [i for i in rows if log.get(keys[i]) is None]
    batches = length_batches([len(encoded[i].ids) for i in rows], asker.batch_size)
    for batch in tqdm(batches, desc="choose", disable=not asker.progress, leave=False):
        some = [rows[i] for i in batch]
        with torch.no_grad(), gate.attach(model) if gate else nullcontext():
            log_prob[some] = answer_log_probs(model, [encoded[i] for i in some]).double().cpu().numpy()
        if log is not None:
            for i in some:
                answer = Answer(examples[i].answer, float(log_prob[i]))
                log.add(keys[i], "choose", examples[i].id, "gate" if gate else "vanilla", answer)
    n_tokens = np.array([e.answer[1] - e.continuation for e in encoded])

    def margin(values: Float[np.ndarray, " N"], pair: tuple[list[int], list[int]]) -> float:
        return float(values[pair[0]].max() - values[pair[1]].max())

    return Choices(
        tuple(
            Choice(
                group=examples[pair[0][0]].group,
                question=examples[pair[0][0]].question,
                margin=margin(log_prob, pair),
                margin_per_token=margin(log_prob / n_tokens, pair),
                mass=float(np.exp(log_prob[pair[0]] - np.logaddexp.reduce(log_prob[pair[0] + pair[1]])).sum()),
            )
            for pair in pairs
        ),
        seed,
    )
