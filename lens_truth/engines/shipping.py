"""A pass as bytes: its own code and data, and of the model only the names of its parts, which stand for those of the
model where it is unpacked."""

from __future__ import annotations

import io
import pickle
from typing import Any

from torch import nn

from lens_truth.errors import InputError
from lens_truth.models.hooked import HookedModel
from lens_truth.models.image_input import images_of
from lens_truth.models.structure import modules_of

_IMAGES = "image input"
"""Made when it is first asked for, so it may be there on one side only."""


def packed(model: HookedModel, what: Any) -> bytes:
    """Functions and data that refer to a model, without it.

    Raises:
        InputError: if they hold another model, or what cannot leave this process.
    """
    import cloudpickle

    names = {id(part): name for name, part in _parts(model).items() if part is not None}

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            name = names.get(id(obj))
            if name is None and isinstance(obj, nn.Module):
                raise InputError(
                    f"this work needs a {type(obj).__name__} beside the model, which workers do not have; leave the "
                    "engine away"
                )
            return name

    file = io.BytesIO()
    try:
        Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(what)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InputError(f"this work cannot be sent to workers ({error}); leave the engine away") from error
    return file.getvalue()


def unpacked(model: HookedModel, data: bytes) -> Any:
    """What was packed, about this model."""
    parts = _parts(model)

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return images_of(model) if pid == _IMAGES else parts[pid]

    return Unpickler(io.BytesIO(data)).load()


def _parts(model: HookedModel) -> dict[str, Any]:
    """All of a model that other objects hold on to, by a name that is the same for every copy of it."""
    hf = model.original_model
    config: Any = hf.config
    own = {"model": model, "tokenizer": model.tokenizer, "processor": model.image_processor, _IMAGES: model.image_input}
    own |= {"config": config, "text config": config.get_text_config(decoder=True), "cfg": model.cfg}
    own |= {"generation config": hf.generation_config}
    return own | {f"module {name}": module for name, module in modules_of(model) if name}
