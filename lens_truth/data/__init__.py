"""Examples with known answers: their files, published data sets, and a small world that is generated."""
