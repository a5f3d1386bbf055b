"""Directions of truth over domains: where they carry over, how they lie to each other, what is left once one is erased."""
