"""`device` of `load`: one device, or how a model is spread over several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lens_truth.errors import InputError
from lens_truth.models.room import check_device, free_memory

Device = str | Mapping[str, str | int]
"""As `load` takes it."""
SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""In place of a device: over all that there are, and what does not fit on the CPU and the disk."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(i?)B", re.IGNORECASE)
_ELSEWHERE = {"cpu", "disk"}
"""Where weights can lie that are computed with on another device."""


@dataclass(frozen=True)
class Spread:
    """What Transformers is told of where a model's parts go."""

    device_map: Any
    max_memory: dict[str | int, int] | None = None
    """Bytes by device, named as accelerate does; others are left alone. None: all that there are."""

    @property
    def how(self) -> dict[str, Any]:
        """Arguments of `from_pretrained`."""
        more = {} if self.max_memory is None else {"max_memory": self.max_memory}
        return {"device_map": self.device_map, **more}

    def check_room(self, name: str, needed: int) -> None:
        """Raises an InputError if the weights need more bytes than all named devices may give."""
        if self.max_memory is not None and needed > sum(self.max_memory.values()):
            raise _too_small(name, self.max_memory, f"need {needed / 1e9:,.2f} GB")

    def check_placed(self, name: str, hf: Any) -> None:
        """Raises an InputError if parts went where none was to go: no layer is cut, so room may be left."""
        found: dict[str, Any] = getattr(hf, "hf_device_map", None) or {}
        placed = {_key(str(its)) for its in found.values()}
        if self.max_memory is not None and (others := placed - set(self.max_memory)):
            raise _too_small(name, self.max_memory, f"would in part go to the {' and the '.join(map(str, others))}")


def is_spread(device: Device) -> bool:
    """Whether it says how a model is spread, and is no name of one device; nothing is checked."""
    return not isinstance(device, str) or device in SPREAD or "," in device or "=" in device


def spread_of(device: Device) -> Spread | None:
    """How a model is spread; None for one device. An InputError says what is wrong with a name or a size."""
    if not isinstance(device, str):
        places = {part: str(its) for part, its in device.items()}
        for its in dict.fromkeys(places.values()):
            if its not in _ELSEWHERE:
                check_device(f"cuda:{its}" if its.isdecimal() else its)
        return Spread({part: _key(its) for part, its in places.items()})
    if device in SPREAD:
        return Spread(device)
    if not is_spread(device):
        check_device(device)
        return None
    named = [part.partition("=")[::2] for part in device.split(",")]
    memory = {_key(name.strip()): _bytes(name.strip(), size.strip()) for name, size in named}
    if len(memory) < len(named):
        raise InputError(f"device '{device}' names one twice")
    return Spread("auto", memory)


def _key(name: str) -> str | int:
    """A device's name among accelerate's: GPUs of the usual kind have numbers."""
    number = name.removeprefix("cuda:").replace("cuda", "0")
    return int(number) if number.isdecimal() else name


def _bytes(name: str, size: str) -> int:
    """How much a device may be given: what is said, or what it has free."""
    if name != "disk":
        check_device(name)
    if size:
        if (found := _SIZE.fullmatch(size)) is None:
            raise InputError(f"device '{name}' is given '{size}', which is no size: write NAME=20GiB or NAME=500MB")
        number, unit, binary = found.groups()
        return int(float(number) * (1024 if binary else 1000) ** ("KMGT".find(unit.upper()) + 1 if unit else 0))
    return 1 << 62 if name == "disk" else free_memory(torch.device(name)) or 1 << 62


def _too_small(name: str, memory: Mapping[str | int, int], what: str) -> InputError:
    said = ", ".join(f"cuda:{its}" if isinstance(its, int) else its for its in memory)
    return InputError(
        f"model '{name}': its weights {what}, and only {said} may be used: name cpu or disk too, or give them more"
    )
