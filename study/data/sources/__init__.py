"""Published sources, one a module: from the original files to tidy, validated tables and nothing else."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
