"""`UnderGate`: a hooked model with a gate or a shift on it for as long as a harness has it, and what tells it from
others."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import Any
from weakref import finalize

import torch

from lens_truth.errors import InputError
from lens_truth.gates.rows import Intervention
from lens_truth.gates.shift import HeadShift
from lens_truth.io.files import hash_of
from lens_truth.models.hashing import weights_hash
from lens_truth.models.hooks import inner_model, name_of
from lens_truth.models.points import listened_to


class UnderGate:
    """A model whose inner Hugging Face model runs under an intervention until `close`, whoever calls it.

    `with UnderGate(model, gate) as under: under.hf.generate(**prompt)`
    """

    def __init__(self, model: Any, intervention: Intervention | None) -> None:
        """An InputError refuses an intervention that is not of the model's shape, or has gates of single rows, and a
        model on which something acts already."""
        self.model, self.intervention = model, intervention
        self.hf: Any = inner_model(model)
        if any(map(listened_to, model.hook_dict.values())):
            raise InputError("a gate or another hook is attached to this model already: load it a second time")
        attached = ExitStack()
        self._off = finalize(self, attached.close)  # also before Python ends, when torch is still there
        if intervention is not None:
            by_row = (
                intervention.vectors.ndim > 3 if isinstance(intervention, HeadShift) else intervention.values.ndim > 2
            )
            if by_row:
                raise InputError("a gate with a batch axis cannot be used in a harness, which makes batches of its own")
            intervention.check(model)
            attached.enter_context(intervention.attach(model))

    def __enter__(self) -> UnderGate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Takes the intervention off; the model is as it was."""
        self._off()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What results say of it, hashes of weights and gate among it: two of the same identity write the same."""
        return {
            "model": name_of(self.model),
            "weights": weights_hash(self.model),
            "intervention": None if self.gate_hash is None else type(self.intervention).__name__,
            "gate": self.gate_hash,
        }

    @property
    def gate_hash(self) -> str | None:
        """The hash of where the intervention acts and of its values; None where nothing is changed."""
        if self.intervention is None or (acts := self.intervention.acts) is None:
            return None
        where, values = acts
        numbers: Any = values.detach().cpu().to(torch.float64).contiguous().numpy()
        return hash_of(type(self.intervention).__name__, where, str(tuple(values.shape)), numbers.tobytes())

    @property
    def fingerprint(self) -> str:
        """One word for weights and gate."""
        return hash_of(self.identity["weights"], self.gate_hash or "")
