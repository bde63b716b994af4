"""For whom the effect of the event is larger, and who should be treated: by group, by unit, and by rules for grants.

Everything here is about the change of a unit's outcome over the window (:mod:`study.designs.long_change`) and
rests on the same doubly robust scores, made once by :func:`score`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
