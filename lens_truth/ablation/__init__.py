"""Gates against the vanilla model and against control gates: the search for lambda, side effects, verdicts."""
