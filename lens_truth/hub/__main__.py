from lens_truth.cli import launch

launch(__name__, "hub")
