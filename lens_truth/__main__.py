"""`python -m lens_truth`: one line for each command."""

from lens_truth.cli import main

main()
