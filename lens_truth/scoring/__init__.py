"""Scores of heads: what is captured, the probes that read it (truth), and gradients of the margin (causal)."""
