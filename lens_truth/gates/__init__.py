"""Gates on heads: made from scores, attached, folded into weights; and control gates."""
