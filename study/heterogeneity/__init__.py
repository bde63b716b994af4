"""Who gains from the event, and who should be given it: effects by group and unit, and the allocation of grants.

Everything here is about the change of a unit's outcome over the window (:mod:`study.designs.long_change`) and
rests on the same doubly robust scores, made once by :func:`score`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
