"""Attention to the evidence in images, over the families of multimodal models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from multimodal import FAMILIES, build_multimodal
from PIL import Image

from lens_truth.attention.evidence_tokens import locate_evidence
from lens_truth.attention.measuring import evidence_attention, patterns
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.models.image_input import images_of
from lens_truth.models.loading import load
from lens_truth.models.patches import token_boxes
from lens_truth.models.prompts import encode
from lens_truth.models.spans import token_texts


@pytest.fixture(scope="module", params=[name for name in FAMILIES if name != "llava-next-mistral"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    build_multimodal(request.param, folder)
    return load(str(folder))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Questions about two pictures of other sizes, and one about a context."""
    folder = tmp_path_factory.mktemp("asked")
    rng = np.random.default_rng(0)
    for name, (width, height) in {"wide.png": (160, 90), "tall.png": (70, 120)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    question = "What is it?"
    return [
        Example(
            "wide", "wide", question, "a dog", 1, image=str(folder / "wide.png"), boxes=((60.0, 20.0, 110.0, 80.0),)
        ),
        Example(
            "tall", "tall", question, "it is a cat", 1, image=str(folder / "tall.png"), boxes=((0.0, 0.0, 35.0, 60.0),)
        ),
        Example("told", "told", question, "a cow", 1, "There is a dog. It is a cow. And a cat.", evidence=((16, 28),)),
    ]


def test_is_a_share_of_patches(model: Any, asked: list[Example]) -> None:
    found = evidence_attention(model, asked, template="chat")
    assert found.n_examples("evidence") == 3 and found.n_examples("retrieval") == 1
    assert model.original_model.config.get_text_config()._attn_implementation == "sdpa"
    heads = [(0, 1), (2, 3)]
    for number, example in enumerate(asked):
        alone = evidence_attention(model, [example], template="chat")
        for name, values in alone.measures.items():
            np.testing.assert_allclose(found.measures[name][number], values[0], rtol=2e-3, atol=2e-4)
        images = images_of(model)
        (row,) = encode(model.tokenizer, [example], "chat", images)
        tokens = np.flatnonzero(locate_evidence(example, row, images, token_texts(model.tokenizer, row.ids)).evidence)
        weights = patterns(model, row, heads)[:, row.answer[1] - 1].numpy()
        share = weights[:, tokens].sum(1) / weights[:, 1:].sum(1)
        lift = share / (len(tokens) / (row.answer[1] - 1))
        np.testing.assert_allclose([found.measures["evidence"][number][at] for at in heads], lift, rtol=2e-3)
        if example.image:
            assert row.image_span is not None and row.image_span[0] <= tokens[0] <= tokens[-1] < row.image_span[1]
            boxes = token_boxes(images, example.image)[tokens - row.image_span[0]]
            ((left, top, right, bottom),) = example.boxes
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            near = (boxes[:, 2:] - boxes[:, :2]) / 2  # a patch that is half inside may have its centre at the edge
            assert (centres + near >= [left, top]).all() and (centres - near <= [right, bottom]).all()


def test_evidence_that_is_cropped_away_is_named(tmp_path: Path) -> None:
    build_multimodal("llava", tmp_path)  # its processor keeps the middle square
    model = load(str(tmp_path))
    Image.new("RGB", (300, 60)).save(tmp_path / "banner.png")
    example = Example("b", "b", "What?", "this", 1, image=str(tmp_path / "banner.png"), boxes=((0.0, 0.0, 40.0, 60.0),))
    with pytest.raises(InputError, match="the evidence of example 'b' lies outside what the model sees of its image"):
        evidence_attention(model, [example])
    assert torch.is_grad_enabled()
