"""How a model is asked and what its answers are worth: generation, benchmarks, scorers, paired tests, searches."""
