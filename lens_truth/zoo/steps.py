"""`Steps`: what a model of the zoo was like while it was trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

STEPS = "steps"
"""The folder in a model's that holds them."""
_STEP_FILE = re.compile(rf"{STEPS}/step-\d{{6}}/[^/]+")


class Steps:
    """Keeps a model's weights every so many steps (never, if None), step 0 among them, in half precision and in memory:
    a run that is killed leaves nothing behind, and neither does one whose training fails."""

    def __init__(self, every: int | None) -> None:
        self._every = every
        self.kept: dict[int, dict[str, Tensor]] = {}

    def of(self, model: PreTrainedModel) -> Callable[[int], None]:
        """What keeps this model, to be called after every step; it draws no random number and changes no weight."""

        def after(step: int) -> None:
            if self._every and step % self._every == 0:
                self.kept[step] = {name: tensor.half().clone() for name, tensor in model.state_dict().items()}

        after(0)
        return after

    def write(self, folder: Path, model: PreTrainedModel, save: Callable[[Path], None]) -> None:
        """A plain checkpoint of each step, `step-000200` and so on. `save` writes the model as it is; its weights are
        put back afterwards."""
        own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        try:
            for step, weights in self.kept.items():
                with torch.no_grad():
                    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in weights.items()})
                save(folder / f"step-{step:06}")
        finally:
            model.load_state_dict(own)


def is_step_file(name: str) -> bool:
    """Whether a path inside a model's folder is that of a step's file."""
    return _STEP_FILE.fullmatch(name) is not None
