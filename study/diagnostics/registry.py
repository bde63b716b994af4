"""The registry of diagnostics: what each asks, when it can be asked, and where its answer belongs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast

from study.core import checked
from study.diagnostics.finding import Finding

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
    LEVELS = "the question in levels where it is asked in proportion"


@dataclass(frozen=True)
class Diagnostic:
    """One diagnostic.

    Attributes
    ----------
    name : str
        Of its file and its files on disk.
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
        arguments |= {name: value for name, value in options.items() if takes_any or name in own}
        return self.function(**arguments)


_REGISTERED: dict[str, Diagnostic] = {}


def diagnostic(
    name: str = "", *, title: str, question: str, section: Section, **more: Any
) -> Callable[[Function], Function]:
    """Register a function as a diagnostic, which checks its arguments and whose findings have its name and title.

    See :class:`Diagnostic` for the arguments; without a name it has the function's.
    """

    def register(function: Function) -> Function:
        own = name or function.__name__
        find = checked(function)

        @wraps(function)
        def titled(*args: Any, **kwargs: Any) -> Finding:
            finding = find(*args, **kwargs)
            return finding if finding.name else replace(finding, name=own, title=title)

        _REGISTERED[own] = Diagnostic(own, title, question, section, titled, **more)
        return cast(Function, titled)

    return register


def all_diagnostics() -> dict[str, Diagnostic]:
    """Return every diagnostic by name, section by section, in the order of their names."""
    order = list(Section)
    return dict(sorted(_REGISTERED.items(), key=lambda item: (order.index(item[1].section), item[0])))


def fitting(design: str, has: Collection[Needs]) -> Iterator[Diagnostic]:
    """Yield the diagnostics that are about a design, and have what they need."""
    for each in all_diagnostics().values():
        if set(each.needs) <= {*has, Needs.LEVELS} and (not each.designs or design in each.designs):
            yield each
