"""The parts of a truth score: folds, estimators, metrics, permutation null and interval."""
