"""Heads beside the residual stream of their layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import problem

from lens_truth.errors import InputError
from lens_truth.scoring.activations import HeadActivations
from lens_truth.scoring.layer_result import LayerComparison
from lens_truth.scoring.layers import compare_with_layers
from lens_truth.scoring.probing import held_out_decisions

HEADS = problem(400, signal=0.12)


def stream(of: torch.Tensor) -> HeadActivations:
    return replace(HEADS, z=of[:, :, None], provenance={**HEADS.provenance, "point": "resid_post"})


def test_a_head_that_knows_more_than_its_layer_is_told() -> None:
    noise = torch.randn(400, 2, 5, generator=torch.Generator().manual_seed(0))
    found = compare_with_layers(HEADS, stream(noise))
    assert found.beating == [1] and found.picked[1] == 2
    assert "in 1 layer of 2 (1) the best head knows more" in found.verdict()
    assert found.ci_low[1] > 0 > found.ci_low[0]


def test_a_layer_that_holds_all_its_heads_is_not_beaten() -> None:
    found = compare_with_layers(HEADS, stream(HEADS.z.flatten(2)))
    assert found.beating == []


def test_the_head_is_not_picked_by_the_rows_it_is_judged_on() -> None:
    """Of many heads that know nothing the best over all rows looks good, the picked one does not."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.normal(size=(400, 1, 60, 4))).float()
    blind = replace(HEADS, z=z)
    found = compare_with_layers(blind, stream(z[:, :, 0]))
    decisions, _ = held_out_decisions(blind)
    best = ((decisions > 0) == (HEADS.labels.numpy() > 0)[:, None, None]).mean(0).max()
    assert best > 0.56 and abs(found.head[0] - 0.5) < 0.06


def test_goes_to_a_file_and_back(tmp_path: Path) -> None:
    found = compare_with_layers(HEADS, stream(HEADS.z.flatten(2)))
    found.save(tmp_path)
    assert LayerComparison.load(tmp_path).as_dict() == found.as_dict()
    assert len(found.tables()[0].rows) == 2


def test_other_rows_are_refused() -> None:
    other = replace(stream(HEADS.z.flatten(2)), ids=HEADS.ids[::-1])
    for layers in (other, HEADS):
        with pytest.raises(InputError, match="on the same rows of the same model"):
            compare_with_layers(HEADS, layers)
