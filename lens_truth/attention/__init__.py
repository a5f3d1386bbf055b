"""What heads look at: attention to the evidence, one layer at a time."""
