"""Heads that look away from the image: against attention written out, cached and not, in batches and alone."""

from __future__ import annotations

HEADS = [(0, 1), (1, 0), (1, 2), (2, 3)]
CHILDREN = ["llava-child", "qwen-child"]
