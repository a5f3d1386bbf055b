"""How a model is asked and what its answers are worth: generation, benchmarks and their scorers."""
