"""Log-probabilities of tokens, or their whole logits, from the logits of these tokens alone: those of all can fill a
GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.models.batches import without_cache
from lens_truth.models.hooks import Hooked

_LOGITS_AT_ONCE = 1 << 24
"""Numbers in one piece of the logits, of which a backward pass needs several copies: 64 MB each in float32."""


def token_log_probs(
    model: Hooked,
    ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T_whole"],
    row: Int[Tensor, " n"],
    position: Int[Tensor, " n"],
    given: Mapping[str, Any],
) -> Float[Tensor, " n"]:
    """Log-probability of each token ids[row, position] (position > 0) after those before it. Gradients flow to whatever
    acts before the unembedding. `given` is what else the model is given (images; keys and values and positions, where
    rows have begun already, and `mask` is of whole rows then).

    What the unembedding is given is exchanged for the wanted rows of it, piece by piece. So whatever a class does to
    its logits (scaling, soft capping) is done by the class; for the second piece on, to a batch of single tokens.
    """
    hooked: Any = model
    size, differentiable = max(1, _LOGITS_AT_ONCE // model.cfg.d_vocab), torch.is_grad_enabled()
    hidden: list[Float[Tensor, "n M"]] = []
    shown: list[Float[Tensor, "n M"]] = []

    def instead(unembedding: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        if not hidden:
            given_all = inputs[0]
            of_wanted: Tensor = given_all[row.to(given_all.device), position.to(given_all.device) - 1]
            hidden.extend(torch.split(of_wanted, size))
        shown.append(hidden[len(shown)].detach().requires_grad_(differentiable))
        return (shown[-1][None],)

    found: list[Float[Tensor, " n"]] = []
    wanted: Tensor = ids[row, position]
    more = dict(given)
    with hooked.unembed.register_forward_pre_hook(instead):
        for tokens in torch.split(wanted, size):
            logits = model(ids, attention_mask=mask, **more)[0]
            log_probs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
            log_prob = log_probs.gather(1, tokens.to(logits.device)[:, None])[:, 0]
            if differentiable:
                # The slope is taken at once: for a later backward pass, the logits of all pieces would have to be kept.
                (slope,) = torch.autograd.grad(log_prob.sum(), shown[-1])
                zeros = (hidden[len(found)] - shown[-1].detach()).to(log_prob)  # by which gradients pass
                log_prob = log_prob.detach() + (slope.to(log_prob) * zeros).sum(-1)
            found.append(log_prob)
            ids, mask, more = torch.ones_like(ids[:, :1]), torch.ones_like(mask[:, :1]), without_cache(model)
    return torch.cat(found)


def token_logits(
    model: Hooked,
    ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T_whole"],
    row: Int[Tensor, " n"],
    position: Int[Tensor, " n"],
    given: Mapping[str, Any],
    also: Callable[[], Sequence[Float[Tensor, "B T M"]]] = lambda: (),
) -> Float[Tensor, "K n V"]:
    """Logits from which each token ids[row, position] (position > 0) is chosen, in single precision or better; without
    gradients. `also` gives, as the model comes to its unembedding, other hidden states that are to go
    through it too; theirs come first."""
    hooked: Any = model
    n_also = 0

    def instead(unembedding: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        nonlocal n_also
        hidden = [*also(), inputs[0]]
        n_also = len(hidden) - 1
        at = row.to(inputs[0].device), position.to(inputs[0].device) - 1
        return (torch.cat([its.to(inputs[0].device)[at] for its in hidden])[None],)

    with torch.no_grad(), hooked.unembed.register_forward_pre_hook(instead):
        logits = model(ids, attention_mask=mask, **given)[0]
    return logits.unflatten(0, (n_also + 1, -1)).to(torch.promote_types(logits.dtype, torch.float32))
