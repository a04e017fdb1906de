"""By what name the program was started, for the commands that it tells its readers to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["started_as", "typed"]

_name: ContextVar[str] = ContextVar("program", default="python -m studies")


@contextmanager
def started_as(name: str) -> Iterator[None]:
    """Call the program by a name for as long as the context lasts.

    Parameters
    ----------
    name : str
        What is typed before the first word: ``"metastable"`` or ``"python -m studies"``.
    """
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)


def typed(*words: str) -> str:
    """Return the command of these words, as it is typed to this program.

    Parameters
    ----------
    *words : str
        What follows the program's name; quoted where a shell would need it.

    Returns
    -------
    str

    Examples
    --------
    >>> typed("run", "--csv", "my texts.csv")
    "python -m studies run --csv 'my texts.csv'"
    """
    return " ".join((_name.get(), *map(shlex.quote, words)))
