"""CCS's loss at probabilities made by hand, and its training against torch.optim and autograd, head by head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lens_truth.geometry.ccs_fit import ccs_loss, fit_ccs


@pytest.mark.parametrize(
    ("first", "second", "loss"),
    [(1, 0, 0), (0, 1, 0), (0.5, 0.5, 0.25), (1, 1, 2), (0, 0, 1), (0.9, 0.2, 0.05), (0.25, 0.5, 0.125)],
)
def test_the_loss_at_probabilities_made_by_hand(first: float, second: float, loss: float) -> None:
    assert ccs_loss(torch.tensor(float(first)), torch.tensor(float(second))).item() == pytest.approx(loss)


def by_hand(first: Tensor, second: Tensor, start: Tensor, n_epochs: int) -> tuple[Tensor, Tensor, float]:
    """One probe of one head: weight and intercept on features centred by side and of standard deviation 1, and loss."""
    first, second = first - first.mean(0), second - second.mean(0)
    scale = torch.cat([first, second]).std(0, correction=0)
    weight, intercept = (its.clone().requires_grad_() for its in (start[:-1], start[-1:]))
    optimizer = torch.optim.AdamW([weight, intercept], lr=0.015, weight_decay=0.01)
    for _ in range(n_epochs):
        p, q = (torch.sigmoid(side / scale @ weight + intercept) for side in (first, second))
        loss = ((p - (1 - q)) ** 2).mean() + (torch.min(p, q) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        p, q = (torch.sigmoid(side / scale @ weight + intercept) for side in (first, second))
        return weight / scale, intercept, ccs_loss(p, q).mean().item()


def pairs(n: int = 60, F: int = 3, D: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pairs of float64 whose sides differ by truth along one feature of the second head and the third."""
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(n, F, D)) * np.geomspace(0.1, 10, D) for _ in range(2))
    truth = rng.choice([-1, 1], size=n)
    for head, strength in ((1, 1), (2, 3)):
        first[:, head, 1] += strength * truth
        second[:, head, 1] -= strength * truth
    return torch.from_numpy(first + 4), torch.from_numpy(second - 2)


@pytest.mark.parametrize("n_epochs", [1, 300])
def test_all_heads_at_once_are_every_head_by_itself(n_epochs: int) -> None:
    first, second = pairs()
    starts = torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    found = fit_ccs(first, second, starts, n_epochs)
    for head in range(3):
        tries = [by_hand(first[:, head], second[:, head], start, n_epochs) for start in starts]
        direction, intercept, loss = min(tries, key=lambda its: its[2])
        assert found.loss[head].item() == pytest.approx(loss, abs=1e-9)
        torch.testing.assert_close(found.direction[head], direction.detach(), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(found.intercept[head : head + 1], intercept.detach(), rtol=1e-6, atol=1e-8)


def test_blocks_of_heads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pairs()
    starts = torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) - 0.5
    whole = fit_ccs(first, second, starts, 50)
    monkeypatch.setattr("lens_truth.geometry.ccs_fit._AT_ONCE", 1)
    for part, its in zip(whole, fit_ccs(first, second, starts, 50), strict=True):
        torch.testing.assert_close(part, its, rtol=1e-9, atol=1e-12)


def test_logits_are_centred_by_the_training_rows_alone() -> None:
    first, second = pairs()
    found = fit_ccs(first[:40], second[:40], torch.full((1, 6), 0.1, dtype=torch.float64), 20)
    logits = found.logits(first[40:], second[40:])
    row = (first[50, 1] - first[:40, 1].mean(0)) @ found.direction[1] + found.intercept[1]
    assert logits[0, 10, 1].item() == pytest.approx(row.item())
    shifted = found.logits(first[40:] + 7, second[40:])  # test rows are not centred by themselves
    assert (shifted[0] - logits[0]).abs().min() > 1e-3


def test_a_feature_that_is_constant_is_not_read() -> None:
    first, second = pairs()
    first[..., 3], second[..., 3] = 5, 5
    found = fit_ccs(first, second, torch.full((1, 6), 0.1, dtype=torch.float64), 20)
    assert (found.direction[:, 3] == 0).all()
    assert torch.isfinite(found.direction).all()
