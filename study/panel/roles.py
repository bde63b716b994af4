"""What each column of a long table is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from study.core import DataError, unknown

Names = str | Sequence[str] | None

FEWEST_PERIODS_IN_A_HEADING = 3


@dataclass(frozen=True)
class Roles:
    """The columns of a panel by what they are for; the names are those of :meth:`study.Panel.from_long`."""

    unit: str
    time: str
    first_treated: tuple[str, ...] = ()
    treatment: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    @classmethod
    def of(cls, unit: str, time: str, **several: Names) -> Roles:
        """Build roles from one name or several each."""
        return cls(unit, time, **{role: _names(columns) for role, columns in several.items()})

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Roles:
        """Build roles from an entry of ``panels.toml``, which has other keys beside them."""
        return cls.of(**{each.name: entry[each.name] for each in fields(cls) if each.name in entry})

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has a role, once."""
        several = (self.first_treated, self.treatment, self.outcomes, self.covariates, self.attributes)
        return tuple(dict.fromkeys([self.unit, self.time, *(name for names in several for name in names)]))

    def role(self, column: str) -> str:
        """Return what a column is for, in words; empty for a column without a role."""
        words = {
            "unit": (self.unit,),
            "period": (self.time,),
            "event: first treated period": self.first_treated,
            "event: 0/1 path": self.treatment,
            "outcome": self.outcomes,
            "covariate": self.covariates,
            "attribute": self.attributes,
        }
        return next((word for word, names in words.items() if column in names), "")

    def check(self, label: str) -> None:
        """Refuse roles without an outcome or an event."""
        if not self.outcomes:
            raise DataError(f"{label}: no outcome is named; say which columns are outcomes.")
        if not self.first_treated and not self.treatment:
            raise DataError(f"{label}: no event is named; give first_treated= or treatment=.")

    def missing(self, headings: Sequence[str]) -> list[str]:
        """Return the columns with a role that a table does not have."""
        return [column for column in self.columns if column not in headings]


def absent(column: str, headings: Sequence[str], label: str) -> DataError:
    """Return the error for a column that a table does not have."""
    return DataError(str(unknown("column", column, map(str, headings), label)) + wide_hint(headings))


def wide_hint(headings: Sequence[str]) -> str:
    """Return a sentence for headings of which several are periods, as in a wide table; else nothing."""
    periods = [name for heading in headings if (name := str(heading).strip()).isdigit() and len(name) == 4]
    if len(periods) < FEWEST_PERIODS_IN_A_HEADING:
        return ""
    return (
        f" The columns {', '.join(periods[:3])}, ... look like periods: make the table long, with one row a "
        "unit and period (pandas.melt does it)."
    )


def _names(columns: Names) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(map(str, () if columns is None else columns))
