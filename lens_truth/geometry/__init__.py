"""Directions of truth over several domains: what they share, what is left without them, where they come from."""
