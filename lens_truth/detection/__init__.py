"""Scores of answers and tokens from kept probes, watching while a model writes, and the verification of answers."""
