"""Where batches go through a model: here, or on the workers of a Ray cluster."""
