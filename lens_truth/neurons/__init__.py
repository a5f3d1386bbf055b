"""Neurons of gated MLPs: how much each contributes to an answer, which foretell hallucination, what they do."""
