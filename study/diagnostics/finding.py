"""What diagnostics find, in sentences, as a table and as a figure, and their register: what each asks, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast

import pandas as pd

from study.core import checked, html_page
from study.figures import Axes, Figure, figure_files
from study.panel import Sample

Chart = Callable[[pd.DataFrame, Axes | None], Figure]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Finding:
    """What was found, in sentences, as a table and as a figure.

    Attributes
    ----------
    name : str
        Of the function that found it; a diagnostic has that under which it is registered.
    title : str
        What was looked at, as a heading; a diagnostic has that under which it is registered.
    verdict : str
        What was found, in one sentence.
    evidence : tuple of str
        What it rests on and what else was found, the most important first.
    frame : DataFrame
        The table behind it.
    chart : callable
        Draws the frame, on given axes or on a figure of its own; one of :mod:`study.figures` with its labels.
    against : bool or None
        Whether it speaks against the design's assumptions; None where it says how strong a violation would have to be,
        or what an estimate rests on, and not whether there is one.
    objection : str
        Where it speaks against them, what does, as the end of a sentence.
    details : mapping
        Numbers and tables by name, besides the frame; ``finding["name"]`` looks one up.
    """

    name: str = ""
    title: str = ""
    verdict: str
    evidence: tuple[str, ...]
    frame: pd.DataFrame
    chart: Chart
    against: bool | None = None
    objection: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sentences: Iterable[str], frame: pd.DataFrame, chart: Chart, **more: Any) -> Finding:
        """Return the finding whose first sentence is the verdict and whose others are the evidence.

        Parameters
        ----------
        sentences : iterable of str
            One at least.
        frame : DataFrame
            The table behind them.
        chart : callable
            Draws the frame, on given axes or on a figure of its own.
        **more
            Other fields of the finding.

        Returns
        -------
        Finding
        """
        # The name of a unit may end in a full stop.
        verdict, *evidence = (re.sub(r"(?<!\.)\.\.$", ".", sentence) for sentence in sentences)
        return cls(verdict=verdict, evidence=tuple(evidence), frame=frame, chart=chart, **more)

    def __getitem__(self, name: str) -> Any:
        """Return a detail by its name."""
        if name not in self.details:
            raise KeyError(f"{self.name} has no {name!r}; it has {', '.join(self.details)}.")
        return self.details[name]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict and its evidence."""
        return (self.verdict, *self.evidence)

    def tidy(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame.copy()

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the figure, on given axes where there are some.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; on a figure of its own where none are given.

        Returns
        -------
        matplotlib Figure
        """
        return self.chart(self.frame, ax)

    def files(self) -> dict[str, bytes]:
        """Return the figure as PDF and PNG, and the table as CSV, by file name."""
        table = self.tidy().to_csv(index=False).encode()
        return figure_files(self.name, self.plot()) | {f"{self.name}.csv": table}

    def __repr__(self) -> str:
        """The title and the verdict."""
        return f"{self.title or self.name}: {self.verdict}"

    def __str__(self) -> str:
        """The title and the sentences, one a line."""
        return "\n".join([self.title, *self.sentences])

    def _repr_html_(self) -> str:
        return html_page(self.title, self.sentences, self.frame)


Function = TypeVar("Function", bound=Callable[..., Finding])


class Section(StrEnum):
    """Where a diagnostic stands on the page of ``study diagnose``."""

    AGAINST = "What the data say against it"
    OVERTURNS = "How strong a violation would overturn the sign"
    UNCERTAINTY = "Whether the uncertainty can be trusted"


class Needs(StrEnum):
    """What a diagnostic needs of the question, the design or the plan."""

    PATH = "effects by event time"
    COVARIATES = "covariates"
    LEARNERS = "a design that fits learners"
    DRAWS = "a design that draws"
    PLACEBO_PANELS = "panels on whose outcome the event should have no effect"
    NEIGHBOURS = "what makes units neighbours"
    ENDS = "a treatment that ends"
    ERAS = "effects by cohort, and eras of adoption"
    LEVELS = "the question in levels where it is asked in proportion"


@dataclass(frozen=True)
class Diagnostic:
    """One diagnostic.

    Attributes
    ----------
    name : str
        Of its function and its files on disk.
    title : str
        What it looks at.
    question : str
        What it answers, as a question.
    section : Section
    needs : tuple of Needs
    designs : tuple of str
        The designs that it is about; all where there are none.
    reference : str
        Key in paper/references.bib, if any.
    shown : int
        How many of its sentences stand on the page.
    function : callable
        Its parameters are filled by name from what is known of the answer.
    given : mapping
        Arguments that tell it from another diagnostic with the same function.
    """

    name: str
    title: str
    question: str
    section: Section
    function: Callable[..., Finding]
    needs: tuple[Needs, ...] = ()
    designs: tuple[str, ...] = ()
    reference: str = ""
    shown: int = 1
    given: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, known: Mapping[str, Any], options: Mapping[str, Any]) -> Finding:
        """Make the finding from what is known: those arguments that the function takes, and the design's options."""
        taken = signature(self.function).parameters
        takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in taken.values())
        arguments = {name: value for name, value in known.items() if name in taken} | dict(self.given)
        # A diagnostic of one design names that design's options as its own.
        own = taken if self.designs else {}
        return self.function(**arguments | {k: v for k, v in options.items() if takes_any or k in own})


_REGISTERED: dict[str, Diagnostic] = {}


def diagnostic(
    title: str, question: str, section: Section, *, name: str = "", of_sums: bool = False, **more: Any
) -> Callable[[Function], Function]:
    """Register a function as a diagnostic, which checks its arguments and whose findings have its name and title.

    See :class:`Diagnostic` for the arguments; without a name it has the function's. ``of_sums`` says that it does not
    look at single units, so that it is for panels larger than memory too.
    """

    def register(function: Function) -> Function:
        own = name or function.__name__
        find = titled(title, own, of_sums=of_sums)(function)
        _REGISTERED[own] = Diagnostic(own, title, question, section, find, **more)
        return find

    return register


def titled(title: str, name: str = "", *, of_sums: bool = True) -> Callable[[Function], Function]:
    """Make a function check its arguments, and its findings have its name and a title where they have none.

    Unless it is ``of_sums``, samples have to have the rows of single units.
    """

    def decorate(function: Function) -> Function:
        own, find = name or function.__name__, checked(function)

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Finding:
            for value in () if of_sums else (*args, *kwargs.values()):
                sample = getattr(value, "sample", value)
                if isinstance(sample, Sample):
                    sample.needs_units(own)
            finding = find(*args, **kwargs)
            return replace(finding, name=finding.name or own, title=finding.title or title)

        return cast(Function, called)

    return decorate


def all_diagnostics() -> dict[str, Diagnostic]:
    """Return every diagnostic by name, section by section, in the order of their names."""
    order = list(Section)
    return dict(sorted(_REGISTERED.items(), key=lambda item: (order.index(item[1].section), item[0])))


def fitting(design: str, has: Collection[Needs]) -> Iterator[Diagnostic]:
    """Yield the diagnostics that are about a design, and have what they need."""
    for each in all_diagnostics().values():
        if set(each.needs) <= {*has, Needs.LEVELS} and (not each.designs or design in each.designs):
            yield each
