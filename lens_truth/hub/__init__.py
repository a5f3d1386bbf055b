"""Scores, gates, shifts, probes and sets of neurons on the Hugging Face Hub."""
