"""Adapt Segment Anything to image stacks from a few painted slices, with SALT adapters.

Importing this package is cheap: each public name (see ``__init__.pyi``) is loaded when it is first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
