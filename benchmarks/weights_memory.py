"""Time and memory of comparing two checkpoints of a 7B model's shape (32 layers, 32 heads of width 128, bfloat16,
13.5 GB each, in two shards), written as sparse files: every head gets one row of numbers, the rest are holes.

    python benchmarks/weights_memory.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, D, M, MLP, VOCABULARY = 32, 32, 128, 4096, 11008, 32000
CONFIG = {
    "model_type": "llama",
    "hidden_size": M,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "vocab_size": VOCABULARY,
}


def shapes_of(layers: range) -> dict[str, tuple[int, int]]:
    """The matrices of some layers, by name."""
    shapes: dict[str, tuple[int, int]] = {}
    for layer in layers:
        prefix = f"model.layers.{layer}"
        shapes |= {f"{prefix}.self_attn.{side}_proj.weight": (M, M) for side in "qkvo"}
        shapes |= {f"{prefix}.mlp.{name}_proj.weight": (MLP, M) for name in ("gate", "up")}
        shapes |= {f"{prefix}.mlp.down_proj.weight": (M, MLP)}
    return shapes


def write_shard(path: Path, shapes: dict[str, tuple[int, int]], rng: np.random.Generator) -> None:
    """A safetensors file whose attention matrices hold one row of numbers every `D` rows, and holes elsewhere."""
    header: dict[str, dict[str, Any]] = {}
    start: dict[str, int] = {}
    offset = 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        start[name], offset = offset, offset + size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
        for name in (name for name in shapes if "self_attn" in name):
            for row in range(0, M, D):
                numbers = rng.standard_normal(M).astype(np.float32)
                file.seek(8 + len(text) + start[name] + 2 * row * M)
                file.write((numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def write_checkpoint(folder: Path, seed: int) -> None:
    """A sharded checkpoint with its index."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    shards = [shapes_of(range(LAYERS // 2)), shapes_of(range(LAYERS // 2, LAYERS))]
    shards[0]["model.embed_tokens.weight"] = shards[1]["lm_head.weight"] = (VOCABULARY, M)
    weight_map: dict[str, str] = {}
    for number, shapes in enumerate(shards, start=1):
        name = f"model-0000{number}-of-00002.safetensors"
        write_shard(folder / name, shapes, rng)
        weight_map |= dict.fromkeys(shapes, name)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base, child, out = (Path(scratch) / name for name in ("base", "child", "out"))
        write_checkpoint(base, 0)
        write_checkpoint(child, 1)
        size = sum(path.stat().st_size for path in base.iterdir())
        command = [sys.executable, "-m", "lens_truth.weights", "--base", base, "--child", child, "--out", out]
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6  # in kB on Linux
    print(f"two checkpoints of {size / 1e9:.1f} GB: {seconds:.0f} s, peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
