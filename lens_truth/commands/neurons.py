"""Neurons that foretell hallucination (H-Neurons): their data."""

from __future__ import annotations

from typing import Annotated

import tyro

from lens_truth.commands.flags import subcommands
from lens_truth.commands.neurons_sample import Sample
from lens_truth.commands.run import Rows, Run

Config = Annotated[Sample, tyro.conf.subcommand("sample")]  # a subcommand is one line here

DEFAULT_ARGUMENTS = ("sample",)


def run(config: Rows) -> None:
    """Runs one subcommand."""
    from lens_truth.data.loading import check_limit

    name = next(name for name, flags in subcommands(Config).items() if type(config) is flags)
    with Run(f"neurons {name}", config) as run:
        check_limit(config.limit)
        config.compute(run)
