"""`StudyCost`: what every stage of a study costs; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lens_truth.io.numbers import count, short
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table
from lens_truth.planning.ratios import Ratio

_HOUR, _MINUTE = 3600, 60


@dataclass(frozen=True)
class Ends:
    """From where everything that is uncertain turns out well to where it turns out badly."""

    low: float
    high: float

    @property
    def said(self) -> str:
        """Both, or one where they look the same."""
        low, high = (_two_digits(its) for its in (self.low, self.high))
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class StageCost:
    """Of one stage."""

    name: str
    command: str
    tokens: Ends
    """Millions, read and written."""
    tflop: Ends
    """Multiplications and additions, 10^12."""
    read_gb: Ends
    """Of weights, keys and values, from the devices' memory."""
    disk_gb: Ends
    """What is written to disk."""
    memory_gb: Ends
    """On each device."""
    hours: Ends
    """On all devices together."""
    loading_hours: Ends
    """Of these, until its commands have libraries and weights."""


@dataclass(frozen=True, eq=False)
class StudyCost(Result):
    """Bytes, FLOPs and hours of a study before it is run, as `study_cost` gives it.

    >>> cost = lens_truth.StudyCost.load("runs/plan")
    >>> cost.total.hours.low, cost.total.hours.high
    """

    command: ClassVar[str] = "plan"
    part: ClassVar[str] = "cost"

    model: str
    data: str
    device: str
    device_source: str
    """Where its peak numbers are from."""
    n_devices: int
    group: int
    """Devices that hold one copy of the model."""
    workers: int
    """Copies."""
    dtype: str
    billions: float
    """Of weights."""
    weights_gb: float
    stages: tuple[StageCost, ...]
    ratios: Mapping[str, Ratio]
    """What is reached of peak numbers, and what else is uncertain."""
    warnings: tuple[str, ...] = ()

    @property
    def total(self) -> StageCost:
        """Sums over stages; of memory the most.

        >>> cost.total.tflop
        """

        def over(name: str, most: bool = False) -> Ends:
            found: list[Ends] = [getattr(stage, name) for stage in self.stages]
            many = max if most else sum
            return Ends(many(its.low for its in found), many(its.high for its in found))

        sums = {name: over(name) for name in ("tokens", "tflop", "read_gb", "disk_gb", "hours", "loading_hours")}
        return StageCost("total", "", memory_gb=over("memory_gb", most=True), **sums)

    def headline(self) -> str:
        """One line: model, devices and how it lies on them.

        >>> print(cost.headline())
        """
        copies = f"{count(self.workers, 'copy' if self.workers == 1 else 'copie')}"
        on = "each on one" if self.group == 1 else f"each on {self.group}"
        devices = f"{self.n_devices} x {self.device}"
        return (
            f"{self.model}: {self.billions:.3g} billion weights, {self.weights_gb:.3g} GB in {self.dtype}; {devices}, "
            f"{copies} {on}"
        )

    def tables(self) -> Sequence[Table]:
        """Stages, and what they rest on.

        >>> cost.tables()
        """
        return self.stage_table(), self.ratio_table()

    def stage_table(self) -> Table:
        """A row a stage, and their total.

        >>> print(lens_truth.StudyCost.load("runs/plan").stage_table())
        """
        header = (
            "stage",
            "million tokens",
            "TFLOP",
            "memory read, GB",
            "to disk, GB",
            "GB a device",
            "time",
            "loading",
        )
        note = (
            "Time is on all devices together, loading of libraries and weights included; 1 TFLOP is 10^12 "
            "multiplications and additions."
        )
        stages = (*self.stages, self.total)
        return table(f"What {self.data} costs with {self.model}", header, map(_stage_row, stages), note)

    def ratio_table(self) -> Table:
        """What is uncertain, between which ends, and how it is known.

        >>> cost.ratio_table()
        """
        rows = (row(name, short(its.good), short(its.bad), its.known, its.what) for name, its in self.ratios.items())
        return table("What the hours rest on", ("what", "good", "bad", "known", "meaning"), rows)

    def commands(self) -> dict[str, list[str]]:
        """The stages of every command.

        >>> for command, stages in cost.commands().items(): print(command)
        """
        found: dict[str, list[str]] = {}
        for stage in self.stages:
            found.setdefault(stage.command, []).append(stage.name)
        return found


def _stage_row(stage: StageCost) -> Row:
    sizes = (stage.tokens, stage.tflop, stage.read_gb, stage.disk_gb, stage.memory_gb)
    times = (time_said(its) if its.high else "" for its in (stage.hours, stage.loading_hours))
    return row(stage.name, *(its.said for its in sizes), *times)


def time_said(hours: Ends) -> str:
    """From seconds to hours, as large as it is."""
    unit, factor = "h", 1.0
    if hours.high < 1:
        unit, factor = "min", _MINUTE
    if hours.high * _MINUTE < 1:
        unit, factor = "s", _HOUR
    return f"{Ends(hours.low * factor, hours.high * factor).said} {unit}"


def _two_digits(value: float) -> str:
    """Two digits that count, and no exponent."""
    if value == 0:
        return "0"
    if value >= 100:
        digits = len(str(int(value)))
        return f"{round(value, 2 - digits):,.0f}"
    return f"{value:#.2g}".rstrip(".") if value >= 0.01 else f"{value:.1g}" if value >= 1e-4 else "0"
