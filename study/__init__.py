"""Does compute access cause changes in academic representation in machine-learning research?

Panels of institutions x years with compute-access events, difference-in-differences and double-ML designs
under one contract, and the LaTeX tables of the paper.
"""

import lazy_loader

from study.core import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
