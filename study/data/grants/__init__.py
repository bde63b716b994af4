"""What awards of NSF's instrument and campus programmes bought, which contest they won, and whose they are."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
