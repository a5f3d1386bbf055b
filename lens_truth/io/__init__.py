"""Files, tables and the records of runs: whole or absent, named by line, the same bytes each time."""
