"""The errors a user meets: what was wrong, where, and what to do about it, in one line."""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz import process, utils

LONGEST = 3000  # characters of a message, whatever it lists


def visible(text: str) -> str:
    """Return a text in which what is no visible character, or moves others, is written as Python does."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


class StudyError(Exception):
    """Base of all errors that a user's input can cause; the command line prints it and exits with 2."""

    def __str__(self) -> str:
        """Return the message in one line that a terminal shows as it is, whatever stands in the names it repeats."""
        text = visible(" ".join(super().__str__().split("\n")))
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 500]} ... {text[-495:]}"


class DataError(StudyError):
    """A file or table is missing, truncated, malformed or contradicts itself."""


class QuestionError(StudyError):
    """A question cannot be asked of this panel, or a design cannot answer it."""


class OutputError(StudyError):
    """A result cannot be written or compiled here."""


class WorkerError(StudyError):
    """Processes that were to do the work do not answer, are not what this one is, or were lost."""


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> QuestionError:
    """Return the error for an unknown name, with the nearest known one and the whole list."""
    names = sorted(known)
    nearest = process.extractOne(name, names, processor=utils.default_process, score_cutoff=70)
    hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
    return QuestionError(
        f'{where}: there is no {kind} "{name}".{hint} Known: {", ".join(names) or "(none)"}.'
    )
