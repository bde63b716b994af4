"""From strings that people typed to institutions: names, the gazetteer of known ones, and the matching rule."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
