"""What folding gates into a GGUF file costs: how far rounding the scales moves weights, for heads of several widths,
and how far llama.cpp's logits and Transformers' are from each other without the gate and with it.

The second part (`--llama`) wants llama-cpp-python and rests on 24 tokens.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from gguf.constants import GGMLQuantizationType

import lens_truth
from lens_truth.gates.gguf_formats import FORMATS, error_of, scaled_blocks
from lens_truth.models.gguf_header import read_gguf

SPREADS = (0.25, 0.9)
TOKENS = 24


def main() -> None:
    """Prints both."""
    flags = argparse.ArgumentParser()
    flags.add_argument("file", type=Path)
    flags.add_argument("--llama", action="store_true")
    given = flags.parse_args()
    rounding(given.file)
    if given.llama:
        in_llama(given.file)


def rounding(path: Path) -> None:
    """For heads as wide as they may be, whatever the model's are, and gates 1 + U(-spread, spread)."""
    rng = np.random.default_rng(0)
    tensors = [tensor for name, tensor in read_gguf(path).tensors.items() if name.endswith("attn_output.weight")]
    name, (n_rows, width) = GGMLQuantizationType(tensors[0].kind).name, tensors[0].shape
    for d_head, spread in ((d, spread) for d in (64, 128, 256) if width % d == 0 for spread in SPREADS):
        errors: list[Any] = []
        for tensor in tensors:
            n_blocks = tensor.n_bytes // n_rows // (width // 256 if name.endswith("_K") else width // 32)
            blocks = np.fromfile(tensor.file, np.uint8, tensor.n_bytes, offset=tensor.start).reshape(
                n_rows, -1, n_blocks
            )
            factor = rng.uniform(1 - spread, 1 + spread, width // d_head).repeat(d_head).reshape(1, blocks.shape[1], -1)
            if (done := scaled_blocks(blocks, FORMATS[name], factor)) is not None:
                off, half = error_of(blocks, done, FORMATS[name], factor)
                errors.append(((off**2).sum(), (half**2).sum() * off.shape[-1], (off / half).max()))
        if errors:
            off, half, largest = np.array(errors).T
            rms = np.sqrt(off.sum() / half.sum())
            what = f"{name}, heads of {d_head}, 1 + U(-{spread}, {spread})"
            print(f"{what}: {rms:.3f} of half a step, {largest.max():.2f} at most")


def in_llama(path: Path) -> None:
    """Root mean squares of differences between logits, less each token's mean; how many greedy tokens are the same."""
    llama_cpp: Any = import_module("llama_cpp")

    def of_llama(file: Path) -> tuple[Any, list[int]]:
        llm: Any = llama_cpp.Llama(str(file), n_ctx=256, logits_all=True, verbose=False)
        llm.eval(ids[0].tolist())
        written = [int(llm.scores[TOKENS - 1].argmax())]
        while len(written) < TOKENS:
            llm.eval(written[-1:])
            written.append(int(llm.scores[llm.n_tokens - 1].argmax()))
        return torch.tensor(np.array(llm.scores[:TOKENS])), written

    def of_transformers(model: Any) -> tuple[Any, list[int]]:
        how = {"do_sample": False, "max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "pad_token_id": 0}
        with torch.no_grad():
            written = model.generate(ids, attention_mask=torch.ones_like(ids), **how)
            return model(ids).logits[0], written[0, TOKENS:].tolist()

    def apart(a: Any, b: Any) -> float:
        return float(((a - a.mean(-1, keepdim=True)) - (b - b.mean(-1, keepdim=True))).square().mean().sqrt())

    model = lens_truth.load(str(path), dtype="float32")
    text = "The capital of France is Paris, and the capital of Italy is Rome. The largest planet is Jupiter. "
    ids = model.tokenizer(f"{text}Water boils at", return_tensors="pt")["input_ids"][:, :TOKENS]
    torch.manual_seed(0)
    gate = lens_truth.HeadGate(0.75 + 0.5 * torch.rand(model.cfg.n_layers, model.cfg.n_heads))
    with TemporaryDirectory() as folder:
        fold = gate.fold_into_gguf(path, gated := Path(folder) / "gated.gguf")
        read = lens_truth.load(str(gated), dtype="float32").original_model
        plain, folded, file = map(of_transformers, (model.original_model, gate.fold_into(model), read))
        base, ours = map(of_llama, (path, gated))
    print(fold)
    print(
        f"the gate changes logits by {apart(folded[0], plain[0]):.3f}; its file and the folded model differ by "
        f"{apart(file[0], folded[0]):.4f}"
    )
    for name, a, b in (("without", base, plain), ("with", ours, folded)):
        same = sum(np.cumprod(np.equal(a[1], b[1])))
        print(
            f"llama.cpp and Transformers {name} the gate: {apart(a[0], b[0]):.3f}, {same} of {TOKENS} tokens the same"
        )


if __name__ == "__main__":
    main()
