"""Numbers only: correlation over heads, bootstraps, paired tests, folds; no model and no text."""
