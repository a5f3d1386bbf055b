"""Neurons that foretell hallucination (H-Neurons): replies to find them by, sets of them, what scaling them does, where
they come from. Without a subcommand: find."""

from __future__ import annotations

from typing import Annotated

import tyro

from lens_truth.commands.flags import subcommands
from lens_truth.commands.neurons_find import Find
from lens_truth.commands.neurons_mediate import Mediate
from lens_truth.commands.neurons_origins import Origins
from lens_truth.commands.neurons_rescore import Rescore
from lens_truth.commands.neurons_sample import Sample
from lens_truth.commands.neurons_scale import Scale
from lens_truth.commands.run import Run

Config = (  # a subcommand is one line here
    Annotated[Find, tyro.conf.subcommand("find")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
    | Annotated[Scale, tyro.conf.subcommand("scale")]
    | Annotated[Rescore, tyro.conf.subcommand("rescore")]
    | Annotated[Origins, tyro.conf.subcommand("origins")]
    | Annotated[Mediate, tyro.conf.subcommand("mediate")]
)

DEFAULT_ARGUMENTS = ("find",)


def run(config: Find | Sample | Scale | Rescore | Origins | Mediate) -> None:
    """Runs one subcommand."""
    name = next(name for name, flags in subcommands(Config).items() if type(config) is flags)
    with Run(f"neurons {name}", config) as run:
        config.compute(run)
