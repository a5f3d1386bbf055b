"""How often llama.cpp writes the greedy tokens that we write, without a gate and with it: the gate folded into the file
that llama.cpp reads, and attached to the model that we read from the file without it. The file as it is, or (with
`--single`) written out in single precision by llama.cpp itself: nothing is quantised then, its cache neither.

Wants llama-cpp-python beside `lens-truth[gguf]`, and a gate of the model (`lens-truth gate --model FILE --save
GATED.gguf` leaves it in `GATED.gate/gate.safetensors`):

    python benchmarks/llama_cpp_gates.py FILE GATED.gate/gate.safetensors --prompts 200 --new 32
"""

from __future__ import annotations

import argparse
import ctypes
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import lens_truth
from lens_truth.models.batches import pad_rows
from lens_truth.models.prompts import QUESTION, encode_prompts, prompt_of

BATCH = 20
_SINGLE = 0
"""llama.cpp's number of a file, and of a cache, in single precision."""


def main() -> None:
    """Prints a row without the gate, and one with it."""
    flags = argparse.ArgumentParser()
    flags.add_argument("file", type=Path)
    flags.add_argument("gate", type=Path)
    flags.add_argument("--prompts", type=int, default=200)
    flags.add_argument("--new", type=int, default=32)
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--single", action="store_true", help="the file written out in single precision")
    given = flags.parse_args()
    model, gate = lens_truth.load(str(given.file), dtype="float32"), lens_truth.HeadGate.load(given.gate)
    rows = prompts_of(model, given.prompts)
    print(f"{len(rows)} prompts of {min(map(len, rows))} to {max(map(len, rows))} tokens", flush=True)
    with TemporaryDirectory() as name:
        file = written_out(given.file, Path(name) / "single.gguf") if given.single else given.file
        for its in (None, gate):
            ours = of_ours(model, rows, its, given.new)
            if its is not None:
                print(its.fold_into_gguf(file, Path(name) / "gated.gguf"))
                file = Path(name) / "gated.gguf"
            theirs = of_llama(file, rows, given.new, given.threads, single=given.single)
            print(f"{'with the gate' if its else 'without'}: {compared(ours, theirs)}", flush=True)


def prompts_of(model: Any, n: int) -> list[list[int]]:
    """The questions of `facts:conflict` with their contexts, by the model's chat template."""
    examples = {example.question + example.context: example for example in lens_truth.load_examples("facts:conflict")}
    shown = [prompt_of(model.tokenizer, e, "chat", QUESTION, None) for e in list(examples.values())[:n]]
    return [row.ids for row in encode_prompts(model.tokenizer, shown)]


def of_ours(model: Any, rows: list[list[int]], gate: Any, n_new: int) -> list[tuple[list[int], Any]]:
    """What we write to each prompt, up to an end, with the logits of each token that is written."""
    hf, found = model.original_model, list[tuple[list[int], Any]]()
    ends: list[int] = np.atleast_1d(hf.generation_config.eos_token_id).tolist()
    how: dict[str, Any] = {"do_sample": False, "max_new_tokens": n_new, "pad_token_id": ends[0]}
    with torch.no_grad(), nullcontext() if gate is None else gate.attach(model):
        for first in range(0, len(rows), BATCH):
            ids, mask = pad_rows(some := rows[first : first + BATCH], model, "left")
            out = hf.generate(ids, attention_mask=mask, **how, return_dict_in_generate=True, output_logits=True)
            for row in range(len(some)):
                tokens = until(out.sequences[row, ids.shape[1] :].tolist(), ends)
                found.append((tokens, torch.stack([step[row] for step in out.logits[: len(tokens)]])))
    return found


def of_llama(file: Path, rows: list[list[int]], n_new: int, threads: int, *, single: bool) -> list[list[int]]:
    """What llama.cpp writes, a prompt at a time."""
    llama_cpp: Any = import_module("llama_cpp")
    more = {"type_k": _SINGLE, "type_v": _SINGLE} if single else {}
    llm: Any = llama_cpp.Llama(str(file), n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False, **more)
    found = list[list[int]]()
    for row in rows:
        llm.reset()
        steps = llm.generate(row, temp=0.0, repeat_penalty=1.0)
        found.append(until([int(token) for token, _ in zip(steps, range(n_new), strict=False)], [llm.token_eos()]))
    llm.close()
    return found


def until(tokens: list[int], ends: list[int]) -> list[int]:
    """Up to the first end, with it."""
    return tokens[: next((at + 1 for at, token in enumerate(tokens) if token in ends), len(tokens))]


def compared(ours: list[tuple[list[int], Any]], theirs: list[list[int]]) -> str:
    """How many texts are the same over 16 tokens and over all; where others part, and by how much our own logit of our
    token there is above that of theirs."""
    places, margins = list[int](), list[float]()
    for (tokens, logits), other in zip(ours, theirs, strict=True):
        at = next((i for i, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b), None)
        if at is not None:
            places.append(at)
            margins.append(float(logits[at, tokens[at]] - logits[at, other[at]]))
    n, early = len(ours), sum(at < 16 for at in places)
    if not places:
        return f"{n} of {n} the same"
    least, half, most = np.quantile(margins, (0.0, 0.5, 1.0))
    return (
        f"{n - early} of {n} the same over 16 tokens, {n - len(places)} over all; the others part at token "
        f"{int(np.median(places))} (median; first {min(places)}), at margins of {least:.4f} to {most:.4f} "
        f"(median {half:.4f})"
    )


def written_out(source: Path, target: Path) -> Path:
    """The same file with all weights in single precision."""
    llama_cpp: Any = import_module("llama_cpp")
    how = llama_cpp.llama_model_quantize_default_params()
    how.ftype, how.allow_requantize = _SINGLE, True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(how)):
        raise SystemExit(f"llama.cpp could not write {source} out")
    return target


if __name__ == "__main__":
    main()
