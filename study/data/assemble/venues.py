"""Which venues and years each panel counts, and from which period on a dated event can show in its papers."""

from __future__ import annotations

from dataclasses import dataclass

from study.data.sources.paperlists import FILES

# Month of the deadline, and how many years before the venue's own year it lies. Where a venue moved its deadline the
# earliest one stands, so that no paper counts as treated that was written before the event.
DEADLINES: dict[str, tuple[int, int]] = {
    "aistats": (10, 1),
    "acml": (5, 0),
    "colt": (2, 0),
    "cvpr": (11, 1),
    "iccv": (3, 0),
    "icml": (1, 0),
    "icra": (9, 1),
    "iros": (2, 0),
    "models": (1, 0),
    "nips": (5, 0),
    "rss": (1, 0),
}

# Editions of which the publisher has a small part only.
PARTIAL = frozenset(
    {(venue, year) for venue in ("icra", "iros") for year in range(2000, 2005)} | {("icra", 2016)}
)


@dataclass(frozen=True)
class PanelSpec:
    """A panel of universities: whose papers are counted when, and who is in it.

    Attributes
    ----------
    name : str
    groups : dict of str to tuple of str
        Venues by group; one group, except where the panel compares groups.
    years : tuple of int
        Evenly spaced.
    baseline_end : int
        Universities with a paper at any covered venue up to this year are the panel's units.
    """

    name: str
    groups: dict[str, tuple[str, ...]]
    years: tuple[int, ...]
    baseline_end: int

    @property
    def venues(self) -> tuple[str, ...]:
        """All venues of all groups."""
        return tuple(venue for venues in self.groups.values() for venue in venues)

    def observed(self, year: int, group: str) -> bool:
        """Tell whether all venues of the group have their papers of a year, in full."""
        return all(year in FILES[venue] and (venue, year) not in PARTIAL for venue in self.groups[group])

    def first_period(self, date: str) -> int:
        """Return the first year of the panel's grid whose papers can respond to an event.

        Parameters
        ----------
        date : str
            "YYYY-MM", or "YYYY", which counts as its last month.

        Returns
        -------
        int
            The year may lie before or after the panel's years. The deadlines of all its venues in that
            year lie in a later month than the event.
        """
        year = max(first_year(date, *DEADLINES[venue]) for venue in self.venues)
        step = self.years[1] - self.years[0]
        return year + (self.years[0] - year) % step


def first_year(date: str, month: int, years_before: int) -> int:
    """Return the first year of a venue whose deadline lies in a later month than the event.

    >>> first_year("2012-06", 11, 1), first_year("2012-11", 11, 1), first_year("2012", 2, 0)
    (2013, 2014, 2013)
    """
    year, event_month = int(date[:4]), int(date[5:] or 12)
    return year + years_before + (event_month >= month)


PANELS = (
    PanelSpec("cvpr", {"vision": ("cvpr",)}, tuple(range(2013, 2025)), 2013),
    PanelSpec("iccv", {"vision": ("iccv",)}, tuple(range(2013, 2024, 2)), 2013),
    PanelSpec("icml", {"learning": ("icml",)}, tuple(range(2013, 2025)), 2013),
    PanelSpec("neurips", {"learning": ("nips",)}, tuple(range(1987, 2019)), 1992),
    PanelSpec("robotics", {"robotics": ("icra", "iros")}, tuple(range(2005, 2024)), 2005),
    PanelSpec("colt", {"theory": ("colt",)}, tuple(range(2011, 2025)), 2011),
    PanelSpec(
        "venues",
        {
            "vision": ("cvpr",),
            "learning": ("aistats", "acml"),
            "robotics": ("icra", "iros"),
            "theory": ("colt",),
        },
        tuple(range(2013, 2024)),
        2013,
    ),
)
MODELS = PanelSpec("models", {"models": ("models",)}, tuple(range(2010, 2026)), 2010)

# ICCV was held in 1999 for the seventh time and every second year since.
SEVENTH_ICCV = 1999


def edition(year: int) -> int:
    """Return the number of ICCV's edition of an odd year.

    >>> edition(1999), edition(2013)
    (7, 14)
    """
    return 7 + (year - SEVENTH_ICCV) // 2
