"""`watch`: the score of every token as a model writes it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_truth.errors import InputError
from lens_truth.models.cut import Given
from lens_truth.models.hooks import Hooked, inner_model
from lens_truth.models.structure import attentions
from lens_truth.scoring.detector import Detector, Head, summed_directions, units_of
from lens_truth.scoring.head_probes import HeadProbes


@dataclass(frozen=True, eq=False)
class WatchedToken:
    """What the heads say at the newest token of every row, where the model is (a GPU is not waited for)."""

    step: int
    """0 at the end of the prompt, then the tokens that were written."""
    ids: Int[Tensor, " B"]
    """The token of each row that the model has just read."""
    score: Float[Tensor, " B"]
    """Above `detector.threshold` for supported."""
    detector: Detector
    _parts: Callable[[], Float[Tensor, "B K"]]

    @property
    def probability(self) -> Float[Tensor, " B"]:
        """Of an answer that ends here, that it is supported."""
        return torch.sigmoid(self.detector.slope * self.score + self.detector.intercept)

    @property
    def parts(self) -> Float[Tensor, "B K"]:
        """What each of `detector.heads` adds to the score; computed when it is asked for."""
        return self._parts()


@contextmanager
def watch(
    model: Hooked,
    probes: HeadProbes,
    *,
    on_token: Callable[[WatchedToken], None],
    heads: Sequence[Head] | None = None,
    descendant: bool = False,
) -> Generator[Detector, None, None]:
    """While open, every forward pass of the model calls `on_token` with the score of each row's last token: so each
    token is scored as `generate` goes on from it, with or without a cache, a streamer, a gate. It gives the detector.

    A model never reads the last token that it writes (mostly the sign of the end), so that one has no score.

    >>> with lens_truth.watch(model, probes, on_token=lambda token: print(float(token.score))):
    ...     model.generate("Question: Which colour is the heart?\\nAnswer:", max_new_tokens=8)

    Args:
        probes: of heads, of this model.
        heads: layer and head of those to be asked; by default the detector in the probes (`Detector.of`).
        descendant: whether the probes may be those of another model of the same shape.

    Raises:
        InputError: if the probes do not fit the model, or a head is not there.
    """
    if probes.point != "z":
        raise InputError("heads are watched, and these probes are of the residual stream")
    probes.check(model, str(probes.provenance.get("template")), descendant=descendant)
    hf = inner_model(model)
    found = getattr(model, "attentions", None) or attentions(hf)
    projections = [hf.get_submodule(its.projection) for its in found]
    watching = _Watching(Detector.of(probes, heads), probes, on_token)
    watched = [projections[layer] for layer in watching.layers]
    handles = [its.register_forward_pre_hook(partial(watching.keep, Given(its))) for its in watched]
    handles += [hf.register_forward_pre_hook(watching.begin, with_kwargs=True), hf.register_forward_hook(watching.tell)]
    try:
        yield watching.detector
    finally:
        for handle in handles:
            handle.remove()


class _Watching:
    """Keeps what goes into the output projections of the layers that are watched, behind all gates, and decides on all
    of them at once: hook points, and a product for each layer, would cost a small model more than .05 of its time."""

    def __init__(self, detector: Detector, probes: HeadProbes, on_token: Callable[[WatchedToken], None]) -> None:
        self.detector, self._on_token = detector, on_token
        self.layers = sorted({layer for layer, _ in detector.heads})
        self._unit, self._probes = torch.from_numpy(units_of(probes)), probes
        self._kept: list[Tensor] = []
        self._ids: Tensor | None = None
        self._summed: Float[Tensor, " n"] | None = None
        self._constant, self._step = detector.offset, 0

    def begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a forward pass."""
        self._ids, self._kept = args[0] if args else kwargs.get("input_ids"), []

    def keep(self, given: Given, module: Any, args: tuple[Any, ...]) -> None:
        """As a layer's heads pass, side by side."""
        self._kept.append(given.whole(args[0]))

    def tell(self, module: Any, args: Any, output: Any) -> None:
        """After a forward pass."""
        if self._ids is None or len(self._kept) != len(self.layers):
            return  # not a pass over tokens
        last = [its[:, -1] for its in self._kept]
        self._kept = []
        if self._summed is None or self._summed.device != last[-1].device:
            self._summed = self._prepared(last)
        score = torch.mv(self._together(last), self._summed) + self._constant
        parts = partial(self._parts_of, last)
        self._on_token(WatchedToken(self._step, self._ids[:, -1], score, self.detector, parts))
        self._step += 1

    def _prepared(self, last: Sequence[Float[Tensor, "B _"]]) -> Float[Tensor, " n"]:
        """The sum of all heads' directions, each at the place of its layer and head."""
        widths = {layer: its.shape[-1] for layer, its in zip(self.layers, last, strict=True)}
        summed, self._constant = summed_directions(self.detector, self._probes, widths)
        return torch.cat([its.flatten() for its in summed]).to(last[-1].device)

    def _together(self, last: Sequence[Float[Tensor, "B _"]]) -> Float[Tensor, "B n"]:
        on = last[-1].device
        if any(its.device != on for its in last):
            last = [its.to(on) for its in last]
        return torch.cat(list(last), dim=1).float()

    def _parts_of(self, last: Sequence[Float[Tensor, "B _"]]) -> Float[Tensor, "B K"]:
        H, of_layer, parts = self._probes.intercepts.shape[1], dict(zip(self.layers, last, strict=True)), list[Tensor]()
        for (layer, head), weight in zip(self.detector.heads, self.detector.weights.tolist(), strict=True):
            z: Tensor = of_layer[layer].view(len(last[-1]), H, -1)[:, head].float()
            direction = self._probes.directions[layer, head, : z.shape[-1]].to(z.device)
            decision = torch.mv(z, direction) + float(self._probes.intercepts[layer, head])
            parts.append((decision * (weight / float(self._unit[layer, head]))).to(last[-1].device))
        return torch.stack(parts, dim=1)
