"""A lineage in a box: tiny models trained by this package on data that it generates."""
