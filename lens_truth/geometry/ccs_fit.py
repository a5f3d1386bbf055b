"""Contrast-consistent search itself: many probes, of every head and from every start, trained at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

_RATE, _DECAY, _FIRST, _SECOND, _EPS = 0.015, 0.01, 0.9, 0.999, 1e-8
_AT_ONCE = 1 << 18  # numbers of features handled at once on a processor: more overflow its caches


class CcsProbes(NamedTuple):
    """Of every head the probe of the lowest loss among its starts: p(x) = sigmoid(x . direction + intercept) for the
    features x of one side, from which that side's mean was taken."""

    direction: Float[Tensor, "F D"]
    """In raw coordinates."""
    intercept: Float[Tensor, " F"]
    means: Float[Tensor, "2 F D"]
    """Of the training rows, a side each."""
    loss: Float[Tensor, " F"]
    """On the training rows."""

    def logits(self, first: Float[Tensor, "n F D"], second: Float[Tensor, "n F D"]) -> Float[Tensor, "2 n F"]:
        """Of both sides of other pairs."""
        return torch.stack(
            [
                torch.einsum("nfd,fd->nf", side - mean, self.direction) + self.intercept
                for side, mean in zip((first, second), self.means, strict=True)
            ]
        )


def ccs_loss(first: Float[Tensor, "..."], second: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Of pairs to whose sides a probe gives these probabilities of being true (Burns et al. 2023, Section 2.2):

    - consistency (p+ - (1 - p-))^2: what a statement gains its negation loses;
    - confidence min(p+, p-)^2: not one half for both.

    >>> ccs_loss(torch.tensor(0.9), torch.tensor(0.2))  # 0.1**2 + 0.2**2
    """
    return (first - (1 - second)) ** 2 + torch.minimum(first, second) ** 2


def fit_ccs(
    first: Float[Tensor, "n F D"], second: Float[Tensor, "n F D"], starts: Float[Tensor, "T D1"], n_epochs: int = 1500
) -> CcsProbes:
    """Probes of F heads on n pairs, each trained from T starts (directions with an intercept at the end): AdamW on the
    mean of `ccs_loss` over all pairs, learning rate .015, weight decay .01.

    As in the paper's equation, features are centred by the mean of their side and divided by a standard deviation; here
    one for both sides, so that a probe is one direction. All of that is taken from these rows, once: published code
    centres training rows twice and test rows once.
    """
    means = torch.stack([first.mean(0), second.mean(0)])
    centred = torch.cat([first - means[0], second - means[1]]).transpose(0, 1)  # F 2n D
    scale = centred.square().mean(1, keepdim=True).sqrt()
    scale = torch.where(scale > 1e-6 * scale.amax(-1, keepdim=True), scale, torch.inf)  # of a constant nothing is read
    x = torch.cat([centred / scale, torch.ones_like(centred[..., :1])], dim=-1)
    F, n2, width = x.shape
    step = F if x.device.type != "cpu" else max(1, _AT_ONCE // (n2 * width))
    blocks = cast("Sequence[Tensor]", torch.split(x, step))
    found = [_trained(block, starts.to(x), n_epochs) for block in blocks]
    weights, loss = (torch.cat(part) for part in zip(*found, strict=True))
    best = loss.argmin(1)
    weight = weights[torch.arange(F, device=x.device), best]
    return CcsProbes(weight[:, :-1] / scale[:, 0], weight[:, -1], means, loss.amin(1))


def _trained(
    x: Float[Tensor, "F N D1"], starts: Float[Tensor, "T D1"], n_epochs: int
) -> tuple[Float[Tensor, "F T D1"], Float[Tensor, "F T"]]:
    """AdamW written out: its steps and the loss's gradient for all heads and starts are a few products in place. By
    torch.optim and autograd the same takes three times as long."""
    (F, n2, _), T = x.shape, len(starts)
    n, across = n2 // 2, x.mT.contiguous()
    weight = starts.expand(F, *starts.shape).clone()
    moment, second_moment, gradient, root = (torch.zeros_like(weight) for _ in range(4))
    p, slope = x.new_empty(F, T, n2), x.new_empty(F, T, n2)
    first, second = p[..., :n], p[..., n:]
    beyond = x.new_empty(F, T, n)  # p+ + p- - 1
    for epoch in range(1, n_epochs + 1):
        torch.bmm(weight, across, out=p).sigmoid_()
        torch.add(first, second, out=beyond).sub_(1)
        lower = first < second
        torch.mul(p, p, out=slope).neg_().add_(p)  # of the sigmoid
        slope[..., :n].mul_(torch.addcmul(beyond, first, lower))
        slope[..., n:].mul_(torch.addcmul(beyond, second, lower.logical_not_()))
        torch.bmm(slope, x, out=gradient).mul_(2 / n)
        weight.mul_(1 - _RATE * _DECAY)
        moment.lerp_(gradient, 1 - _FIRST)
        second_moment.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        torch.mul(second_moment, 1 / (1 - _SECOND**epoch), out=root).sqrt_().add_(_EPS)
        weight.addcdiv_(moment, root, value=-_RATE / (1 - _FIRST**epoch))
    torch.bmm(weight, across, out=p).sigmoid_()
    return weight, ccs_loss(first, second).mean(-1)
