"""Directions of truth: probes of every head, or of the residual stream, on several data sets, and what they share.

Every data set is a domain, and is read once; what is read is kept in the output folder. Without a subcommand: fit."""

from __future__ import annotations

from typing import Annotated

import tyro

from lens_truth.commands.directions_ccs import Ccs
from lens_truth.commands.directions_erase import Erase
from lens_truth.commands.directions_fit import Fit
from lens_truth.commands.directions_polarity import Polarity
from lens_truth.commands.directions_swap import Swap
from lens_truth.commands.directions_transfer import Transfer
from lens_truth.commands.domains import Domains
from lens_truth.commands.flags import subcommands
from lens_truth.commands.run import Run

Config = (  # a subcommand is one line here
    Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Transfer, tyro.conf.subcommand("transfer")]
    | Annotated[Erase, tyro.conf.subcommand("erase")]
    | Annotated[Ccs, tyro.conf.subcommand("ccs")]
    | Annotated[Polarity, tyro.conf.subcommand("polarity")]
    | Annotated[Swap, tyro.conf.subcommand("swap")]
)

DEFAULT_ARGUMENTS = ("fit",)


def run(config: Domains) -> None:
    """Runs one subcommand."""
    from lens_truth.data.loading import check_limit

    name = next(name for name, flags in subcommands(Config).items() if type(config) is flags)
    with Run(f"directions {name}", config) as run:
        check_limit(config.limit)
        config.compute(run)
