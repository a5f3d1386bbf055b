"""`python -m lens_truth.check MODEL`: the self-test of `lens_truth.models.selftest` on any model."""

if __name__ == "__main__":
    from lens_truth.cli import run_module

    run_module("check")
