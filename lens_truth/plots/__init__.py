"""Figures, in colours that colour-blind readers can tell apart; the same numbers give the same bytes."""
