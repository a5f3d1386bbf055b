"""`study_cost`: what a study costs on devices, from its stages."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Literal, get_args

from lens_truth.errors import InputError
from lens_truth.planning.costing import Cost, Layout, Split, cost_of, devices_needed, laid_out, room
from lens_truth.planning.devices import CPU, Accelerator, accelerator
from lens_truth.planning.llama import LLAMA_2
from lens_truth.planning.paper import HALUEVAL, PAPER, paper_works
from lens_truth.planning.ratios import ANY
from lens_truth.planning.result import Ends, StageCost, StudyCost, time_said
from lens_truth.planning.shape import DTYPES, ModelShape
from lens_truth.planning.sizes import DataSize
from lens_truth.planning.study import GateCounts, ablation_works, scoring_works
from lens_truth.planning.work import Case, Work

_CASES: tuple[Case, ...] = get_args(Case)


def study_cost(
    shape: ModelShape,
    data: DataSize | Literal["paper"],
    device: str | Accelerator = "h100",
    *,
    n_devices: int = 1,
    workers: int | None = None,
    split: Split = "layers",
    n_children: int = 1,
    gating: GateCounts | None = None,
) -> StudyCost:
    """Bytes, FLOPs and hours of every stage, from where all that is uncertain turns out well to where it does not.

    What is not reckoned: figures, bootstraps of benchmarks, side effects, reading data, fetching weights over a
    network, retries. If validation wants no gate, fewer are tested than is said here.

    >>> lens_truth.study_cost(lens_truth.model_shape("70b"), "paper", "h100", n_devices=8).tables()[0]

    Args:
        data: a data set, scored by `probe` (truth, causal) and asked by `ablate`; or `paper` for the whole study.
        device: `h100`, `h200`, `a100`, ..., or `cpu`, which is measured for a second.
        workers: copies of the model; by default as many as devices hold.
        split: how a copy lies on several devices: `layers`, one after the other (`--device auto`), which is no faster
            than one; `tensor`, all at once, by an engine that can.
        n_children: of the paper's study, multimodal.
        gating: of a data set, what `ablate` compares.

    Raises:
        InputError: for an unknown device, or numbers below 1.
    """
    if n_devices < 1 or (workers is not None and workers < 1) or n_children < 0:
        raise InputError(
            f"--devices is {n_devices}, --workers {workers} and --children {n_children}; the first two must be at "
            "least 1, the last not negative"
        )
    on = accelerator(device) if isinstance(device, str) else device
    longest = data.longest if isinstance(data, DataSize) else HALUEVAL.longest
    works = {case: _works(shape, data, n_children, gating or GateCounts(), case) for case in _CASES}
    widest = max((work.shape for work in works["bad"]), key=lambda its: its.weight_bytes)
    layout = laid_out(widest, on, n_devices, workers, split, longest)
    stages = tuple(
        _stage(good, cost_of(good, layout, "good"), bad, cost_of(bad, layout, "bad"))
        for good, bad in zip(*(works[case] for case in _CASES), strict=True)
    )
    cost = StudyCost(
        model=shape.name,
        data=data.name if isinstance(data, DataSize) else PAPER,
        device=on.name,
        device_source=on.source,
        n_devices=n_devices,
        group=layout.group,
        workers=layout.workers,
        dtype=shape.dtype if shape.bits is None else f"{shape.bits} bits",
        billions=shape.n_parameters / 1e9,
        weights_gb=shape.weight_bytes / 1e9,
        stages=stages,
        ratios={**layout.ratios, **ANY},
        warnings=tuple(_warnings(widest, layout, longest)),
    )
    return replace(cost, warnings=(*cost.warnings, *_of_loading(cost)))


def _of_loading(cost: StudyCost) -> list[str]:
    """Where most of the time may go before anything is read."""
    its = cost.total
    if its.loading_hours.high < its.hours.high / 3 or its.hours.high < 1:
        return []
    return [
        f"loading takes {time_said(its.loading_hours)} of {time_said(its.hours)}: POPE and CHAIR are a command for "
        "each gate and file; `Asker.run` in Python asks under all gates after one loading"
    ]


def _works(
    shape: ModelShape, data: DataSize | Literal["paper"], n_children: int, gating: GateCounts, case: Case
) -> list[Work]:
    model = "MODEL" if shape.name in LLAMA_2 else shape.name
    if not isinstance(data, DataSize):
        return list(paper_works(shape, n_children, case, model))
    scored = scoring_works(shape, data, model, data.name)
    return [*scored, *ablation_works(shape, data, gating, case, model, data.name)]


def _stage(good: Work, well: Cost, bad: Work, badly: Cost) -> StageCost:
    def ends(name: str, unit: float) -> Ends:
        low, high = sorted((getattr(well, name) / unit, getattr(badly, name) / unit))
        return Ends(low, high)

    hour = 3600.0
    return StageCost(
        name=good.name,
        command=good.command,
        tokens=ends("tokens", 1e6),
        tflop=ends("flops", 1e12),
        read_gb=ends("moved", 1e9),
        disk_gb=Ends(good.stored / 1e9, bad.stored / 1e9),
        memory_gb=ends("memory", 1e9),
        hours=ends("seconds", hour),
        loading_hours=ends("loading", hour),
    )


def _warnings(shape: ModelShape, layout: Layout, longest: float) -> list[str]:
    """What does not fit, and what would; what is left idle."""
    device, said = layout.device, list[str]()
    on = f"{layout.n_devices} x {device.name} ({layout.n_devices * device.memory:,.0f} GB)"
    if not layout.fits:
        needed = devices_needed(shape, device, longest)
        cures = [f"{needed} of them"] if needed else []
        if device.name == CPU:
            cures = []
        cures += [f"--dtype bfloat16 ({_gb(shape.in_dtype('bfloat16'))})"] if DTYPES[shape.dtype] == 4 else []
        cures += ["--device auto, which keeps the rest on the CPU and is many times slower than is said here"]
        said.append(f"{shape.name} does not fit on {on}: its weights take {_gb(shape)}; what does: {'; '.join(cures)}")
    elif layout.group > 1 and layout.split == "layers":
        said.append(
            f"a copy lies on {layout.group} devices, layer after layer, so that one works at a time (--device auto); "
            "an engine that splits every layer (--split tensor) would have all work at once"
        )
    if (idle := layout.n_devices - layout.group * layout.workers) and layout.fits:
        said.append(f"{idle} of {layout.n_devices} devices have nothing to do")
    free, backward = room(device) * layout.group - shape.weight_bytes, longest * shape.bytes_per_token(backward=True)
    if layout.fits and backward > free:
        enough = ceil((shape.weight_bytes + backward) / room(device))
        said.append(
            f"causal scores may not fit: a backward pass of the longest row keeps {backward / 1e9:,.0f} GB, and beside "
            f"the weights of a copy {free / 1e9:,.0f} GB are free; {enough} devices a copy would do"
        )
    return said


def _gb(shape: ModelShape) -> str:
    return f"{shape.weight_bytes / 1e9:,.1f} GB"
