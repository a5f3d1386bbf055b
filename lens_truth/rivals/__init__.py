"""What else could be done against hallucination: rivals of gates, and gates among them, in one table."""
