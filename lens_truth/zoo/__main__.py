"""`python -m lens_truth.zoo`: list the zoo's models; `... train NAME`: train one anew."""

from lens_truth.cli import run_module

run_module("zoo")
