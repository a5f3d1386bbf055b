"""What every way to decode costs beside Hugging Face's own greedy `generate`, in one process.

    python benchmarks/decoding_speed.py zoo:llama-memory-chat --sibling zoo:llama-memory
    python benchmarks/decoding_speed.py FOLDER --sibling FOLDER+ADAPTER --rows 1 --tokens 64 --words 64 --rounds 9

Rows are words at random, so that all are of one length and no answer ends early; of a multimodal model they begin with
a picture. Second passes read the same prompt; that of context-aware decoding reads the last sixteen words of it. Rounds
are interleaved, forwards and backwards; medians of seconds and of the rounds' ratios are printed, and whether each
ratio is within its bound: two passes and a tenth for contrasts, 1.15 for lower layers, 1.05 for gates that look at the
input and for what adds no pass. Exit code 1 where one is beyond, by the medians and by the shortest rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import lens_truth
from lens_truth.data.world_examples import image_examples
from lens_truth.decoding.decoder import Decoder
from lens_truth.models.batches import pad_rows, random_words
from lens_truth.models.image_input import image_arguments, images_for, is_multimodal
from lens_truth.models.prompts import QUESTION, PromptTokens, encode_prompts, prompt_of

CONTRAST, LOWER, DYNAMIC, NOTHING = 2.1, 1.15, 1.05, 1.05
Way = tuple[Decoder, list[PromptTokens | None], float]
"""A decoder, what its second pass reads, and its bound."""


def prompts_of(model: Any, rows: int, words: int) -> list[PromptTokens]:
    """Of one length: words at random, behind a picture if the model sees."""
    if not is_multimodal(model):
        return [PromptTokens(random_words(model, words, seed=row)) for row in range(rows)]
    examples = image_examples("test", rows, 0)[:rows]
    images, tokenizer = images_for(model, examples), model.tokenizer
    template = "chat" if tokenizer.chat_template else "plain"
    shown = [prompt_of(tokenizer, example, template, QUESTION, images) for example in examples]
    begun = encode_prompts(tokenizer, shown, images)
    return [replace(row, ids=row.ids + random_words(model, words, seed=i)) for i, row in enumerate(begun)]


def ways(model: Any, rows: Sequence[PromptTokens], sibling: Any) -> dict[str, Way]:
    """Every way that fits the model."""
    L, H = model.cfg.n_layers, model.cfg.n_heads
    none: list[PromptTokens | None] = [None] * len(rows)
    gate = lens_truth.HeadGate(1 + 0.1 * torch.randn(L, H, generator=torch.Generator().manual_seed(0)))
    short: list[PromptTokens | None] = [PromptTokens(row.ids[-16:]) for row in rows]
    heads = [(layer, 0) for layer in range(L)]
    found: dict[str, Way] = {
        "greedy (Decoder)": (lens_truth.Decoder(), none, NOTHING),
        "greedy, gated": (lens_truth.Decoder(gate=gate), none, NOTHING),
        "Prompted": (lens_truth.Prompted(), none, NOTHING),
        "ContextAware": (lens_truth.ContextAware(0.5), short, CONTRAST),
        "DeCoRe": (lens_truth.DeCoRe(1.0, heads), none, CONTRAST),
        "DoLa, low": (lens_truth.DoLa(1.0, layers="low"), none, LOWER),
        "DoLa, high": (lens_truth.DoLa(1.0, layers="high"), none, LOWER),
    }
    if sibling is not None:
        found["Sibling"] = (lens_truth.Sibling(1.0, sibling), none, CONTRAST)
        found["LOL"] = (lens_truth.LOL(1.0, sibling), none, CONTRAST)
    if any(row.image for row in rows):
        found["VCD"] = (lens_truth.VCD(1.0), none, CONTRAST)
        found["ADHH"] = (lens_truth.ADHH(heads=heads), none, DYNAMIC)
    return found | dynamic(gate, none)


def dynamic(gate: lens_truth.HeadGate, none: list[PromptTokens | None]) -> dict[str, Way]:
    """Gates that look at the input: where they never act, sometimes (a row in two, by its entropy) and always."""
    rules = {"never": lens_truth.Never(), "entropy": lens_truth.EntropyAbove(1.0), "always": lens_truth.Always()}
    made = {
        f"DynamicGate, {name}": lens_truth.DynamicGate(switched=gate, rule=rule, positions="answer")
        for name, rule in rules.items()
    }
    return {name: (decoder, none, DYNAMIC) for name, decoder in made.items()}


def plain(model: Any, rows: Sequence[PromptTokens], tokens: int) -> Callable[[], Any]:
    """Hugging Face's greedy `generate`, as a user calls it."""
    ids, mask = pad_rows([row.ids for row in rows], model, side="left")
    how: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0, "use_cache": True}

    def run() -> None:
        with torch.no_grad():
            shown = image_arguments(model, ids, [row.image for row in rows])
            model.original_model.generate(ids, attention_mask=mask, **how, **shown)

    return run


def seconds_of(run: Callable[[], Any], device: torch.device) -> float:
    """Of the wall, with a GPU's work done; of this process's CPU where there is none: others may be running."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def main() -> None:
    """Times everything and says what is within its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--sibling")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--words", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    flags = parser.parse_args()
    how: dict[str, Any] = {"device": flags.device, "dtype": flags.dtype}
    model: Any = lens_truth.load(flags.model, **how)
    sibling = None if flags.sibling is None else lens_truth.load(flags.sibling, **how)
    rows = prompts_of(model, flags.rows, flags.words)
    every = ways(model, rows, sibling)
    for decoder, _, _ in every.values():
        decoder.check(model)
    config = model.original_model.generation_config
    config.eos_token_id = None  # no answer ends before the others
    work: dict[str, Callable[[], Any]] = {"generate": plain(model, rows, flags.tokens)}
    for name, (decoder, others, _) in every.items():
        work[name] = lambda decoder=decoder, others=others: decoder.write(model, rows, others, flags.tokens)
    spent: dict[str, list[float]] = {name: [] for name in work}
    device = model.original_model.device
    for number in range(flags.rounds + 1):
        for name in list(work) if number % 2 else reversed(work):
            seconds = seconds_of(work[name], device)
            if number:
                spent[name].append(seconds)
    bare = np.array(spent["generate"])
    lengths = {len(row.ids) for row in rows}
    print(f"{flags.model}: {len(rows)} rows of {min(lengths)}-{max(lengths)} tokens, {flags.tokens} written")
    print(f"{'':22}{'ms a token':>12}{'ratio':>8}{'of minima':>11}{'bound':>8}")
    beyond = False
    for name, its in spent.items():
        ratio, least = float(np.median(np.array(its) / bare)), min(its) / float(bare.min())
        bound = every[name][2] if name in every else 1.0
        out = name in every and min(ratio, least) > bound
        beyond |= out
        a_token = 1e3 * float(np.median(its)) / flags.tokens
        print(f"{name:22}{a_token:12.3f}{ratio:8.3f}{least:11.3f}{bound:8.2f}{'  beyond' if out else ''}")
    sys.exit(int(beyond))


if __name__ == "__main__":
    main()
