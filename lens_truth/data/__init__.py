"""Examples with known answers: their files, published data sets, and a small world that is generated.

What it offers beside `lens_truth` itself stands in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType] (untyped)
