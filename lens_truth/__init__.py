"""Find, compare, test and amplify the attention heads that keep a model truthful to its context.

What this package offers stands in `__init__.pyi`; each name is imported when it is first used, so `import lens_truth`
costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType] (untyped)
