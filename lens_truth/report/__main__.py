"""`python -m lens_truth.report`."""

from lens_truth.cli import run_module

run_module("report")
