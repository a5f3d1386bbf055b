"""Truth directions of many heads at once, with the boundary on them: TTPD, and those that it is compared with."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_truth.scoring.closed_form import PENALTIES
from lens_truth.scoring.inverses import inverses

_STEPS, _CLOSE = 60, 1e-10
_PENALTY = 1e-3
"""What is added to the features' variances, as a share of their mean, before a covariance is inverted."""


class Plane(NamedTuple):
    """Decisions x . direction + intercept, above 0 for a true statement; x in raw coordinates."""

    direction: Float[Tensor, "F D"]
    intercept: Float[Tensor, " F"]

    def decide(self, x: Float[Tensor, "n F D"]) -> Float[Tensor, "F n"]:
        """Of other statements."""
        return torch.baddbmm(self.intercept[:, None, None], self.direction[:, None], x.permute(1, 2, 0))[:, 0]


class TruthDirections(NamedTuple):
    """What TTPD learns (Bürger, Hamprecht and Nadler 2024, arXiv 2407.12831, Sections 3 and 5)."""

    general: Float[Tensor, "F D"]
    """t_G: truth, whether a statement is negated or not."""
    polarity_sensitive: Float[Tensor, "F D"]
    """t_P: truth, turned round by a negation; NaN where all statements are of one polarity."""
    polarity: Float[Tensor, "F D"]
    """Tells affirmative from negated statements; NaN likewise."""
    plane: Plane


def centred(x: Float[Tensor, "n F D"], sets: Int[Tensor, " n"]) -> Float[Tensor, "n F D"]:
    """The activations less the mean of their data set."""
    result = x.clone()
    for number in range(int(sets.max()) + 1):
        rows = sets == number
        if rows.any():
            result[rows] -= x[rows].mean(0)
    return result


def ttpd(
    x: Float[Tensor, "n F D"], true: Bool[Tensor, " n"], negated: Bool[Tensor, " n"], sets: Int[Tensor, " n"]
) -> TruthDirections:
    """Training of Truth and Polarity Direction.

    With the centred activations a of a statement (`centred`, each data set by itself), its truth tau and polarity p (1
    or -1, negated: -1), t_G and t_P are the least squares of a = tau t_G + tau p t_P (Equation 4). A statement is then
    placed on t_G and on the polarity direction, both of its raw activations, and a logistic regression on these two
    numbers says true or false. Where no statement is negated there is t_G alone.

    The polarity direction is S^-1 (mean of affirmative less mean of negated), S the covariance within both, with a
    thousandth of its mean variance on the diagonal. The paper fits a logistic regression without penalty there, whose
    coefficients have no limit where polarity can be told without error, as it nearly always can.
    """
    y = true.to(x) * 2 - 1
    design = y[:, None]
    both = bool(negated.any() and not negated.all())
    if both:
        design = torch.stack([y, y * torch.where(negated, -1, 1)], dim=1)
    least_squares = cast("tuple[Tensor, ...]", torch.linalg.lstsq(design, centred(x, sets).flatten(1)))
    solution = least_squares[0].view(-1, *x.shape[1:])
    if not both:
        nothing = torch.full_like(solution[0], torch.nan)
        return TruthDirections(solution[0], nothing, nothing, on_directions(x, true, solution))
    polarity = discriminant(x, ~negated)
    plane = on_directions(x, true, torch.stack([solution[0], polarity]))
    return TruthDirections(solution[0], solution[1], polarity, plane)


def mass_mean(x: Float[Tensor, "n F D"], true: Bool[Tensor, " n"]) -> Plane:
    """The difference of both labels' means (Marks and Tegmark 2023, Section 5), with a boundary by logistic regression
    on the projection, as TTPD has it."""
    return on_directions(x, true, (x[true].mean(0) - x[~true].mean(0))[None])


def lda(x: Float[Tensor, "n F D"], true: Bool[Tensor, " n"]) -> Plane:
    """`mass_mean` with the covariance within both labels taken into account (Marks and Tegmark 2023, Section 5, the
    form for in-distribution data)."""
    return on_directions(x, true, discriminant(x, true)[None])


def ridge(x: Float[Tensor, "n F D"], true: Bool[Tensor, " n"]) -> Plane:
    """Truth by ridge regression on standardised features: with the covariance S, its diagonal D and the covariance b of
    features and labels the direction is (S + a D)^-1 b, a the middle one of `lens_truth.scoring.closed_form`'s
    penalties; the decision is the fitted label less 1/2."""
    mean, share = x.mean(0), true.to(x).mean()
    apart = (x - mean).transpose(0, 1)
    covariance = torch.bmm(apart.mT, apart) / len(x)
    variance = covariance.diagonal(dim1=1, dim2=2)
    variance.masked_fill_(variance <= 1e-12 * variance.amax(1, keepdim=True).clamp(min=1e-30), 1)
    variance.mul_(1 + PENALTIES[1])
    with_label = (apart * (true.to(x) - share)[:, None]).mean(1)
    direction = (inverses(covariance) @ with_label[..., None])[..., 0]
    return Plane(direction, share - 0.5 - (direction * mean).sum(-1))


def discriminant(x: Float[Tensor, "n F D"], which: Bool[Tensor, " n"]) -> Float[Tensor, "F D"]:
    """S^-1 (mean of those less mean of the others), S the covariance within both."""
    apart = x[which].mean(0) - x[~which].mean(0)
    within = torch.empty_like(x)
    for rows in (which, ~which):
        within[rows] = x[rows] - x[rows].mean(0)
    within = within.transpose(0, 1)
    covariance = torch.bmm(within.mT, within) / len(x)
    variance = covariance.diagonal(dim1=1, dim2=2)
    variance += _PENALTY * variance.mean(1, keepdim=True).clamp(min=1e-30)
    return (inverses(covariance) @ apart[..., None])[..., 0]


def on_directions(x: Float[Tensor, "n F D"], true: Bool[Tensor, " n"], directions: Float[Tensor, "d F D"]) -> Plane:
    """The plane of a logistic regression on one or two projections."""
    slopes, offset = small_logistic(torch.einsum("nfd,kfd->nfk", x, directions), true)
    return Plane(torch.einsum("fk,kfd->fd", slopes, directions), offset)


def small_logistic(
    features: Float[Tensor, "n F d"], true: Bool[Tensor, " n"]
) -> tuple[Float[Tensor, "F d"], Float[Tensor, " F"]]:
    """Slopes and offsets of F logistic regressions on a few features each, without penalty, by Newton's method; targets
    are Platt's ((n+ + 1) / (n+ + 2) and 1 / (n- + 2)), which keep them finite where the classes can be separated."""
    x = features.double()
    n_true, n = int(true.sum()), len(true)
    up, down = torch.tensor([(n_true + 1) / (n_true + 2), 1 / (n - n_true + 2)]).to(x)
    target = torch.where(true, up, down)[:, None]
    mean, spread = x.mean(0), x.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    design = torch.cat([(x - mean) / spread, torch.ones_like(x[..., :1])], dim=-1)  # n F d+1
    beta = x.new_zeros(x.shape[1], x.shape[2] + 1)
    for _ in range(_STEPS):
        logit = (design * beta).sum(-1)
        p = torch.sigmoid(logit)
        gradient = torch.einsum("nf,nfd->fd", p - target, design)
        hessian = torch.einsum("nf,nfd,nfe->fde", p * (1 - p), design, design)
        hessian.diagonal(dim1=1, dim2=2).add_(1e-9 * n)
        step = cast("Tensor", torch.linalg.solve(hessian, gradient))
        size, now = torch.ones_like(step[:, :1]), _loss(logit, target)
        for _ in range(20):  # halved where it overshoots; the loss is convex
            worse = _loss((design * (beta - size * step)).sum(-1), target) > now + _CLOSE * n
            if not worse.any():
                break
            size = torch.where(worse[:, None], size / 2, size)
        beta = beta - size * step
        if (size * step).abs().max() < _CLOSE:
            break
    slopes = beta[:, :-1] / spread
    return slopes.to(features), (beta[:, -1] - (slopes * mean).sum(-1)).to(features)


def _loss(logit: Float[Tensor, "n F"], target: Float[Tensor, "n 1"]) -> Float[Tensor, " F"]:
    return (torch.nn.functional.softplus(logit) - target * logit).sum(0)
