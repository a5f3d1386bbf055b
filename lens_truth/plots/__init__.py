"""Figures, in colours that colour-blind readers can tell apart; the same numbers give the same bytes.

What it offers stands in `__init__.pyi`, and is imported when it is first used: matplotlib takes a while.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType] (untyped)
