"""What rivals cost: the time in which they write behind the same prompts, beside the model as it is, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.decoding.decoder import Decoder
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.rows import Intervention
from lens_truth.models.budget import Budget
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.rivals.prompts import shown_prompts
from lens_truth.rivals.rows import VANILLA, Cost
from lens_truth.rivals.texts import decoder_of

if TYPE_CHECKING:
    from lens_truth.evaluate.benchmark import Benchmark

NEW_TOKENS = 16
"""Written behind each prompt, by all rivals as many."""
LEAST, MOST, SECONDS = 3, 15, 20.0
"""Rounds, and how long there are more of them: a small model writes so fast that few tell nothing."""


def writing_costs(
    asker: Asker, benchmark: Benchmark, rivals: Mapping[str, Intervention | Decoder | None], rows: int = 4
) -> dict[str, Cost]:
    """By the rivals' names, `vanilla` among them: a few rounds in which each writes once, right behind the model as
    it is, after one that does not count.

    Args:
        benchmark: whose first so many `rows` (fewer, if they are too long for one batch) are the prompts.
    """
    few = replace(benchmark, examples=benchmark.examples[:rows])
    longest = max(len(row.ids) for row in shown_prompts(asker, few, Decoder())[0]) + NEW_TOKENS
    at_once = Budget.of(asker.model, asker.batch_size).rows(longest, asker.model.cfg.d_vocab)
    few = replace(few, examples=few.examples[:at_once])
    decoders = {name: decoder_of(rival) for name, rival in ({VANILLA: None} | dict(rivals)).items()}
    asked = {name: shown_prompts(asker, few, decoder) for name, decoder in decoders.items()}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in decoders}

    def seconds(name: str) -> float:
        begin = time.perf_counter()
        decoders[name].write(asker.model, *asked[name], NEW_TOKENS)
        return time.perf_counter() - begin

    with _endless(asker.model):
        begin = time.perf_counter()
        for number in range(MOST + 1):
            if number > LEAST and time.perf_counter() - begin > SECONDS:
                break
            for name in decoders:
                bare = seconds(VANILLA)  # anew each time: what else the machine does changes while others write
                own = bare if name == VANILLA else seconds(name)
                spent[name] += [(bare, own)] if number else []
    found: dict[str, Cost] = {}
    for name, its in spent.items():
        bare, own = np.array(its).T
        ratios = own / bare
        found[name] = Cost(float(np.median(own)), float(np.median(ratios)), float(ratios.min()), float(ratios.max()))
    return found


@contextmanager
def _endless(model: Hooked) -> Generator[None, None, None]:
    """While open, no answer ends before it has as many tokens as it may have."""
    config = inner_model(model).generation_config
    ends, config.eos_token_id = config.eos_token_id, None
    try:
        yield
    finally:
        config.eos_token_id = ends
