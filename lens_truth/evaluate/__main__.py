"""`python -m lens_truth.evaluate`."""

from lens_truth.cli import run_module

run_module("evaluate")
