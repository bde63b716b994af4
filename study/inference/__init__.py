"""Inference from influence functions; what refits a design is in modules of its own here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
