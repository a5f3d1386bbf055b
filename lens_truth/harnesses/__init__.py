"""Other people's harnesses under a gate: a model of lm-evaluation-harness, a model provider of Inspect."""
