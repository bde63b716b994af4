"""Learners of nuisance functions, cross-fitting, and what designs by double machine learning share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
