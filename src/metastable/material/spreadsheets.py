"""Rows of csv, tsv and xlsx files, numbered as a spreadsheet numbers them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from metastable.errors import InputError
from metastable.material.encodings import decode
from metastable.material.separators import SEPARATORS, records, separator_of

__all__ = ["SUFFIXES", "Row", "Sheet", "read_rows", "read_sheet"]

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
"""Endings of the files that can be read; .txt holds columns separated by tabs or commas."""


_TOLD = re.compile(r"sep=(?P<mark>.)\r?\n")


class Row(NamedTuple):
    """One row that holds something.

    Attributes
    ----------
    number : int
        Its number in a spreadsheet: the first row is 1, blank rows count.
    cells : tuple of str
        Its cells as text, without the white space around them. A cell is never taken for a missing
        value: "null", "nan" and "NA" stay what they are.
    """

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """The rows of a file, and what was assumed in reading it.

    Attributes
    ----------
    rows : tuple of Row
        Without the rows that are blank.
    notes : tuple of str
        The assumed encoding, where the file names none.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a csv, tsv or xlsx file, as `read_sheet` does, without its notes."""
    return list(read_sheet(path).rows)


def read_sheet(path: Path, *, encoding: str | None = None, known: Collection[str] = ()) -> Sheet:
    """Read the rows of a csv, tsv or xlsx file (of a workbook the first sheet).

    Parameters
    ----------
    path : Path
        The file. What separates the columns of a .csv or .txt file is found as `separator_of` does.
    encoding : str or None
        Of a text file; None to find it out, as `decode` does.
    known : collection of str
        Names of columns, in small letters, that its header may have.

    Returns
    -------
    Sheet

    Raises
    ------
    InputError
        If the file is missing, of another kind, or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; give the path of a csv, tsv or xlsx file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path.name}: files end in {', '.join(SUFFIXES)}; save it as one of these")
    notes: tuple[str, ...] = ()
    try:
        if suffix == ".xlsx":
            cells: Iterable[tuple[str, ...]] = _workbook_cells(path)
        else:
            text, notes = decode(path, path.read_bytes(), encoding)
            cells = _text_cells(path, text, "\t" if suffix == ".tsv" else None, known)
        return Sheet(tuple(Row(number, row) for number, row in enumerate(cells, start=1) if any(row)), notes)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a file that you may read") from None


def _text_cells(path: Path, text: str, mark: str | None, known: Collection[str]) -> list[tuple[str, ...]]:
    # what Excel writes into the first line for itself
    told = _TOLD.match(text)
    if told is not None:
        return [(), *records(path, text[told.end() :], told["mark"])]
    if mark is None or (mark not in text and any(other in text for other in SEPARATORS)):
        mark = separator_of(path, text, known)
    return records(path, text, mark)


def _workbook_cells(path: Path) -> Iterator[tuple[str, ...]]:
    import openpyxl

    try:
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs write a size that is too small, and rows would be lost
        for row in sheet.iter_rows(values_only=True):
            yield tuple(_cell_text(cell) for cell in row)
        workbook.close()
    except (zipfile.BadZipFile, ParseError, KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path.name} is not a workbook with a sheet ({error}); save it anew as xlsx or csv") from None


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):  # a spreadsheet turns the words "true" and "false" into truth values
        return str(value).lower()
    return str(value).strip()
