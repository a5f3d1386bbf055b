"""`python -m lens_truth.lm_eval`: lm-eval's own command line, which knows one model more."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from lens_truth.errors import InputError, needs_package

MODEL = "lens_truth.harnesses.gated_lm:GatedLM"


def launch(module: str) -> None:
    """What `lens_truth/lm_eval.py` calls: runs lm-eval where Python runs that file. A mistake in what the model is
    given ends with one sentence and exit code 2, as everywhere here; lm-eval's own mistakes end as lm-eval has it."""
    if module != "__main__":
        return
    try:
        needs_package("lm-eval", "lm_eval", "lm-eval")
        add_model()
        command: Any = import_module("lm_eval.__main__")
        command.cli_evaluate()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def add_model() -> None:
    """Puts the name `lens_truth` beside lm-eval's own, which come first: its registry fills itself only while it is
    empty. lm-eval 0.4.13 looks for models nowhere else (no entry points), so its own command cannot find this one."""
    import_module("lm_eval.models")
    registry: Any = import_module("lm_eval.api.registry").model_registry
    if "lens_truth" not in registry:
        registry.register("lens_truth", target=MODEL)
