"""Heads that look away from the image: against attention written out, cached and not, in batches and alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asking import generate

from lens_truth.attention.measuring import reading_patterns
from lens_truth.data.loading import load_examples
from lens_truth.decoding.adhh import ADHH
from lens_truth.decoding.decoder import Decoder
from lens_truth.decoding.dynamic import DynamicGate
from lens_truth.decoding.greedy import greedy
from lens_truth.decoding.head_rules import ContextAttentionBelow
from lens_truth.decoding.rules import Always, ContextChanges, Never
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.models.batches import pad_rows
from lens_truth.models.image_input import image_arguments, images_for
from lens_truth.models.prompts import PromptTokens, encode_prompts, prompt_of
from lens_truth.scoring.causal import answer_log_probs, encode_answers
from lens_truth.scoring.scores import HeadScores

HEADS = [(0, 1), (1, 0), (1, 2), (2, 3)]
CHILDREN = ["llava-child", "qwen-child"]
