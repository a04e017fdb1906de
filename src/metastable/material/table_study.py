"""A study made of a table of texts by options alone: no code, and the record of a run holds how it was read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metastable.errors import InputError
from metastable.material.column_roles import TABLE_OPTIONS, header_names, names_of
from metastable.material.tables import TABLE_SUFFIXES, Table, read_table
from metastable.material.text_rows import TextRows
from metastable.material.texts import text_study, texts_of
from metastable.study import Option, Options, Study
from metastable.study.options import existing_file

__all__ = ["FILE_OPTIONS", "TableFile", "as_recorded", "read_file", "study_name", "study_of", "wanted_file"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")

_CSV = Option("csv", existing_file, None,
              "csv, tsv, xlsx, jsonl or parquet file with a row for each text; the same as giving it first",
              group="the file", varies=False)  # fmt: skip
_REPORT_NAME = Option("name", str, None, "name of the report's folder (none: the file's)",
                      affects="nothing", group="the file", varies=False)  # fmt: skip

FILE_OPTIONS: tuple[Option, ...] = (_CSV, _REPORT_NAME, *TABLE_OPTIONS)
"""The options of a study of a file: what it is, and what its columns say."""


@dataclass(frozen=True)
class TableFile:
    """A table and how it is to be read.

    Attributes
    ----------
    texts : TextRows
        All its texts.
    name : str
        Of the report's folder.
    values : mapping of str to object
        Values of `FILE_OPTIONS`.
    """

    texts: TextRows
    name: str
    values: Mapping[str, Any]

    @property
    def has_several(self) -> bool:
        """Whether it holds more than two conditions, of which two are not picked."""
        picked = self.values.get("a") is not None and self.values.get("b") is not None
        return len(self.texts.conditions) > 2 and not picked


def study_name(given: str | None, path: str, taken: Collection[str]) -> str:
    """Return the name of the report's folder: the one given, or the file's.

    Raises
    ------
    InputError
        If it cannot name a folder, or is a study's.
    """
    name = Path(path).stem if given is None else given
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a folder; give --name with letters, digits, dashes and underscores, at most 60"
        )
    if name in taken:
        raise InputError(f"{name!r} is the name of a study, whose report would be lost; give another by --name")
    return name


def read_file(values: Mapping[str, Any]) -> Table:
    """Read the table whose file and columns options name.

    Parameters
    ----------
    values : mapping of str to object
        Values of `FILE_OPTIONS`.

    Returns
    -------
    Table
    """
    known = header_names(names_of(values))
    return read_table(values["csv"], encoding=values["encoding"], known=known)


def as_recorded(values: dict[str, Any], given: Mapping[str, Any], recorded: Options | None) -> dict[str, Any]:
    """Take what the finished run of the same file was told of its columns, where nothing else is said now.

    Parameters
    ----------
    values : dict of str to object
        Values of `FILE_OPTIONS`.
    given : mapping of str to object
        What was typed, by option; None or False for what was not.
    recorded : Options or None
        Of the finished run.

    Returns
    -------
    dict of str to object
    """
    known: Mapping[str, Any] = {} if recorded is None else recorded.own
    if "csv" not in known or Path(str(known["csv"])).name != Path(values["csv"]).name:
        return values
    return {
        option.name: known[option.name]
        if option in TABLE_OPTIONS and given.get(option.name) in (None, False) and option.name in known
        else values[option.name]
        for option in FILE_OPTIONS
    }


def study_of(file: TableFile, *, a: str | None = None, b: str | None = None, name: str | None = None) -> Study:
    """Make a study of two conditions of a file, or of its rated texts.

    Parameters
    ----------
    file : TableFile
    a, b : str or None
        The conditions; None for those that the file's options name.
    name : str or None
        Of the report's folder; None for the file's.

    Returns
    -------
    Study
        Its options have for defaults what was given for the file, so that the record of a run holds it.
    """
    values = {**file.values, **({} if a is None else {"a": a}), **({} if b is None else {"b": b})}
    name = file.name if name is None else name
    options = tuple(replace(option, default=values[option.name]) for option in FILE_OPTIONS)
    return text_study(texts_of(file.texts, values), name=name, options=options)


def wanted_file() -> str:
    """Say what files hold a table."""
    return f"a file that ends in {', '.join(TABLE_SUFFIXES)}"
