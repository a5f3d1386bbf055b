"""Memory and time of measuring attention on one context of 2,000 tokens with 32 heads, in processes of their own:

- a plain forward pass (SDPA, no patterns): what the model costs by itself;
- `evidence`, which takes what it needs from each layer's pattern and drops it;
- every layer's pattern kept in a cache, as `run_with_cache` does.

    python benchmarks/evidence_memory.py [--layers 8]

The floor above the plain pass is one layer's pattern as Hugging Face makes it: scores, softmax in float32, and what it
hands on, three times 0.5 GB here.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

TOKENS, HEADS, D = 2000, 32, 16
WAYS = ("plain", "evidence", "cache")


def one(way: str, layers: int) -> None:
    """Prints seconds and peak memory of one way."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lens_truth import evidence_attention
    from lens_truth.attention.measuring import reading_patterns
    from lens_truth.data.examples import Example
    from lens_truth.models.batches import pad_rows, run_body
    from lens_truth.models.loading import load, load_tokenizer
    from lens_truth.models.prompts import encode

    config = LlamaConfig(
        vocab_size=512,
        hidden_size=HEADS * D,
        intermediate_size=2 * HEADS * D,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        max_position_embeddings=2 * TOKENS,
    )
    torch.manual_seed(0)
    model = load(LlamaForCausalLM(config), tokenizer=load_tokenizer("zoo:llama-base"))
    told = "The coral heart is in the attic. "
    context = told * (TOKENS // 6 - 5)
    example = Example(
        "long", "long", "What colour is the heart?", "coral", 1, context, ((len(told), 2 * len(told) - 1),)
    )
    (row,) = encode(model.tokenizer, [example], "plain")
    ids, mask = pad_rows([row.ids], model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    kept = []
    if way == "evidence":
        evidence_attention(model, [example])
    else:
        with torch.no_grad():
            if way == "plain":
                run_body(model, ids, mask, [""])
            else:
                with reading_patterns(model, lambda layer, pattern: kept.append(pattern)):
                    run_body(model, ids, mask, [""])
    seconds = time.perf_counter() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6  # in kB on Linux
    print(f"{way:<9} {len(row.ids)} tokens, {layers} layers x {HEADS} heads: {seconds:5.1f} s, +{grown:.2f} GB at peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--way", choices=WAYS, help="measure this one here")
    arguments = parser.parse_args()
    if arguments.way:
        one(arguments.way, arguments.layers)
        return
    for way in WAYS:
        subprocess.run([sys.executable, __file__, "--layers", str(arguments.layers), "--way", way], check=True)


if __name__ == "__main__":
    main()
