"""Other ways to the next token than a model's own logits: rivals of gates, and gates that look at the input."""
