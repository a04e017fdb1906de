"""Rows of csv, tsv and xlsx files, numbered as a spreadsheet numbers them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from metastable.errors import InputError, one_line
from metastable.files import is_file
from metastable.material.encodings import decode
from metastable.material.separators import SEPARATORS, records, separator_of

__all__ = ["SUFFIXES", "Row", "Sheet", "check_characters", "read_rows", "read_sheet"]

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
"""Endings of the files that can be read; .txt holds columns separated by tabs or commas."""


# What a workbook may unpack to, the rows that a spreadsheet has at most, and the cells that are read.
_MOST_BYTES = 1 << 28
_MOST_ROWS = 1 << 20
_MOST_CELLS = 20_000_000
# Halves of a character of UTF-16, which stand for nothing alone and cannot be written as UTF-8.
_HALF = re.compile("[\ud800-\udfff]")
_TOLD = re.compile(r"sep=(?P<mark>.)\r?\n")


class Row(NamedTuple):
    """One row that holds something.

    Attributes
    ----------
    number : int
        Its number in a spreadsheet: the first row is 1, blank rows count.
    cells : tuple of str
        Its cells as text, without the white space around them, none taken for a missing value: "null",
        "nan" and "NA" stay what they are.
    """

    number: int
    cells: tuple[str, ...]


def check_characters(text: str, where: str) -> None:
    """Refuse half a character, as JSON and workbooks can hold it.

    Parameters
    ----------
    text : str
    where : str
        Where it stands: the file and the row.

    Raises
    ------
    InputError
        Naming where it stands.
    """
    found = _HALF.search(text)
    if found:
        raise InputError(
            f"{where}: character {found.start() + 1} is half a character (U+{ord(found[0]):04X}); write the whole one"
        )


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
    if not is_file(path):
        raise InputError(f"there is no file {path}; give the path of a csv, tsv or xlsx file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path.name}: files end in {', '.join(SUFFIXES)}; save it as one of these")
    notes: tuple[str, ...] = ()
    text: str | None = None
    try:
        if suffix == ".xlsx":
            cells: Iterable[tuple[str, ...]] = _workbook_cells(path)
        else:
            text, notes = decode(path, path.read_bytes(), encoding)
            cells = _text_cells(path, text, "\t" if suffix == ".tsv" else None, known)
        rows = tuple(Row(number, row) for number, row in enumerate(cells, start=1) if any(row))
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a file that you may read") from None
    if text is None or _HALF.search(text):
        for row in rows:
            for cell in row.cells:
                check_characters(cell, f"{path.name}, row {row.number}")
    return Sheet(rows, notes)


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

    _check_size(path)
    try:
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs write a size that is too small, and rows would be lost
        n_cells = 0
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            n_cells += len(row)
            _check_extent(path, number, n_cells)
            yield tuple(_cell_text(cell) for cell in row)
        workbook.close()
    except (InputError, OSError):
        raise
    # of openpyxl, and of what it reads zip, XML, dates and numbers with, each of which raises what it likes
    except Exception as error:
        said = one_line(error) or type(error).__name__
        raise InputError(f"{path.name} is not a workbook with a sheet ({said}); save it anew as xlsx or csv") from None


def _check_extent(path: Path, n_rows: int, n_cells: int) -> None:
    """Refuse a sheet of which one cell stands so far away that those before it would fill the memory."""
    if n_rows > _MOST_ROWS:
        raise InputError(
            f"{path.name} names a row beyond {_MOST_ROWS:,}, the last that a spreadsheet has; save it anew as xlsx or "
            "csv"
        )
    if n_cells > _MOST_CELLS:
        raise InputError(
            f"{path.name} has more than {_MOST_CELLS:,} cells up to row {n_rows:,}, empty ones included; delete the "
            "columns that are not needed, or save it as csv"
        )


def _check_size(path: Path) -> None:
    """Refuse a workbook that unpacks to more than a machine should be asked for."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except OSError:
        raise
    except Exception as error:  # of a damaged archive, which the module reads trusting its numbers
        said = one_line(error) or type(error).__name__
        raise InputError(f"{path.name} is not a workbook with a sheet ({said}); save it anew as xlsx or csv") from None
    if size > _MOST_BYTES:
        raise InputError(
            f"{path.name} unpacks to {size / 1e6:,.0f} MB, and {_MOST_BYTES / 1e6:,.0f} MB are read at most; save the "
            "sheet as csv"
        )


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):  # a spreadsheet turns the words "true" and "false" into truth values
        return str(value).lower()
    return str(value).strip()
