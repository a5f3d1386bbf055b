"""Lets `lens_truth.probe` be the module and the function at once.

`import lens_truth.probe` binds the module to that name in the package, where users also expect the function of the
same name; a module that can be called serves both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(module_name: str, function: Callable[..., Any]) -> None:
    """Calling the module calls `function`."""

    class CallableModule(ModuleType):
        __doc__ = function.__doc__

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    sys.modules[module_name].__class__ = CallableModule
