"""Rows of csv, tsv and xlsx files, numbered as a spreadsheet numbers them."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from metastable.errors import InputError

__all__ = ["SUFFIXES", "Row", "read_rows"]

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
"""Endings of the files that can be read; .txt holds columns separated by tabs or commas."""


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


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a csv, tsv or xlsx file (of a workbook the first sheet).

    Parameters
    ----------
    path : Path
        The file; text files are UTF-8. Columns of a .csv or .txt file are separated by whichever of
        comma, semicolon and tab stands most often in its first row.

    Returns
    -------
    list of Row
        Without the rows that are blank.

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
    cells = _workbook_cells(path) if suffix == ".xlsx" else _text_cells(path, "\t" if suffix == ".tsv" else None)
    try:
        return [Row(number, row) for number, row in enumerate(cells, start=1) if any(row)]
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a file that you may read") from None


def _text_cells(path: Path, delimiter: str | None) -> Iterator[tuple[str, ...]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path.name}, row {line}: not UTF-8 text; save the file with the encoding UTF-8") from None
    if delimiter is None:
        first = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    n_read = 0
    try:
        for row in rows:
            n_read += 1
            yield tuple(map(str.strip, row))
    except csv.Error as error:
        raise InputError(
            f"{path.name}, row {n_read + 1}: {error}; put quotes around a whole cell and double those within it"
        ) from None


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
