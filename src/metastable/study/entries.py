"""The entry of an option: its name, type, default and help, and what it affects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

__all__ = ["Affects", "Option", "as_field", "declared_options", "option"]

Affects = Literal["counts", "tests", "nothing"]
"""The first thing that another value changes: what is read and counted, what is tested of it, or neither."""


@dataclass(frozen=True)
class Option:
    """One option: of every study, of one study, or of a command.

    Attributes
    ----------
    name : str
        As an argument in Python: ``"max_length"`` is typed as ``--max-length``.
    kind : callable
        Turns the string given into a value; `bool` makes a switch.
    default : object
        The value when the option is not given.
    help : str
        One line for ``--help``.
    choices : tuple of str, or mapping of str to str
        The values allowed, where they are few; a mapping says of each in a line what it is.
    many : bool
        Whether several values may be given, separated by spaces or commas; the value is then a tuple.
    empty : bool
        Whether ``none`` may be given for no value at all, where several may be.
    affects : {"counts", "tests", "nothing"}
        Whether another value changes what is counted (and with it what is tested), only what is tested of the same
        counts, or neither.
    group : str
        The heading that it stands under in ``--help``.
    varies : bool or None
        Whether a sweep may give it several values; None where that follows from the rest (`may_vary`).
    """

    name: str
    kind: Callable[[str], Any]
    default: Any
    help: str
    choices: tuple[str, ...] | Mapping[str, str] = ()
    many: bool = False
    empty: bool = False
    affects: Affects = "counts"
    group: str = "what is read"
    varies: bool | None = None

    @property
    def flag(self) -> str:
        """What is typed: ``--max-length``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def may_vary(self) -> bool:
        """Whether a sweep may give it several values: as it says, else where it is one value that affects the counts.

        How the tests judge, and where and how fast the model runs, is one for the whole sweep: the tests of all its
        settings are one analysis.
        """
        if self.varies is not None:
            return self.varies
        return self.affects == "counts" and self.kind is not bool and not self.many


def as_field(entry: Option) -> Any:
    """Make an entry the field of a frozen dataclass of options; the field's name becomes the option's."""
    return field(default=entry.default, metadata={"option": entry})


def option(default: Any, kind: Callable[[str], Any], text: str, **more: Any) -> Any:
    """Declare an option as the field of a frozen dataclass of options.

    Parameters
    ----------
    default : object
        The value when the option is not given.
    kind : callable
        Turns the string given into a value; `bool` makes a switch.
    text : str
        One line for ``--help``.
    **more
        Further fields of `Option`: choices, many, empty, affects, group, varies.

    Returns
    -------
    object
        The field, for ``name: type = option(...)``.
    """
    return as_field(Option("", kind, default, text, **more))


def declared_options(holder: type[Any]) -> tuple[Option, ...]:
    """Return the entries of the options that a dataclass declares, in the order of its fields."""
    return tuple(replace(one.metadata["option"], name=one.name) for one in fields(holder) if "option" in one.metadata)
