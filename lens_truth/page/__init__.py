"""One self-contained HTML page from the results of any runs."""
