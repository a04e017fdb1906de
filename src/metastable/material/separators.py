"""Which character separates the columns of a text file, and rows that a quotation mark would join."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from pathlib import Path

from metastable.errors import InputError

__all__ = ["SEPARATORS", "records", "separator_of"]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What may separate columns, and what it is called."""

_DECIMAL = re.compile(r"[-+]?\d{1,3}(?:[.\u00a0 ]?\d{3})*,\d+|[-+]?\d+,\d+")
# what the csv module takes for the end of a line
_LINE = re.compile(r"\r\n|\r|\n")
_SAMPLE = 200


def separator_of(path: Path, text: str, known: Collection[str] = ()) -> str:
    """Find what separates the columns of a csv file.

    Decided by the first that can: a first row in which only one of the characters stands, or whose cells are column
    names known; and where there is no header, the one reading in which rows are equally wide and no cell holds another
    separator beyond a decimal comma.

    Parameters
    ----------
    path : Path
        The file, for what is said of it.
    text : str
        What it holds.
    known : collection of str
        Names of columns, in small letters, that a header may have.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If two readings are possible; the message shows the first row in both.
    """
    lines = [line for line in text.splitlines() if line.strip()][:_SAMPLE]
    if not lines:
        return ","
    first = lines[0]
    held = [mark for mark in SEPARATORS if mark in first]
    if len(held) < 2:
        return held[0] if held else ","
    names = {mark: sum(cell.lower() in known for cell in _cells(first, mark)) for mark in held}
    most = max(names.values())
    best = [mark for mark in held if names[mark] == most]
    if most and len(best) == 1:
        return best[0]
    even = [mark for mark in held if len({len(_cells(line, mark)) for line in lines}) == 1]
    clean = [mark for mark in even if _is_clean(lines, mark)] or even
    if len(clean) == 1:
        return clean[0]
    if not clean:
        return max(held, key=first.count)
    shown = "; or by ".join(f"{SEPARATORS[mark]}, {' | '.join(_cells(first, mark))}" for mark in clean)
    raise InputError(
        f"{path.name}: its columns may be separated by {shown}; put a first row of column names on top, or quotation "
        "marks around each cell that holds one of these characters"
    )


def _cells(line: str, mark: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark), [])]


def _is_clean(lines: list[str], mark: str) -> bool:
    """Whether a separator makes rows whose cells hold no other one, but for decimal commas."""
    rows = [_cells(line, mark) for line in lines]
    others = [other for other in SEPARATORS if other != mark]
    return not any(
        any(other in cell for other in others) and not _DECIMAL.fullmatch(cell) for row in rows for cell in row
    )


def records(path: Path, text: str, mark: str) -> list[tuple[str, ...]]:
    """Split a text file into its records, blank ones included.

    Parameters
    ----------
    path : Path
        The file, for what is said of it.
    text : str
        What it holds.
    mark : str
        What separates the columns.

    Returns
    -------
    list of tuple of str
        Cells without the white space around them.

    Raises
    ------
    InputError
        If quotation marks do not end with a cell, or would make one cell of lines that are rows by themselves; the
        message names the row in which they open.
    """
    # a cell may be as long as the file
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=mark, strict=True)
    found: list[tuple[str, ...]] = []
    spans: list[tuple[int, int]] = []
    line = 0
    try:
        for cells in reader:
            found.append(tuple(map(str.strip, cells)))
            spans.append((line, reader.line_num))
            line = reader.line_num
    except csv.Error as error:
        raise InputError(
            f"{path.name}, row {len(found) + 1}: {error}; put quotes around a whole cell and double those within it"
        ) from None
    _check_joined(path, text, mark, found, spans)
    return found


def _check_joined(path: Path, text: str, mark: str, found: list[tuple[str, ...]], spans: list[tuple[int, int]]) -> None:
    """Refuse a record of several lines one of which is a row by itself: as wide as the header, with a value known."""
    several = [row for row, (start, stop) in enumerate(spans) if stop - start > 1 and any(found[row])]
    if not several:
        return
    width = len(next(cells for cells in found if any(cells)))
    known: list[set[str]] = [set() for _ in range(width)]
    for cells, (start, stop) in zip(found, spans, strict=True):
        if stop - start == 1 and len(cells) == width:
            for column, cell in zip(known, cells, strict=True):
                column.add(cell)
    lines = _LINE.split(text)
    for row in several:
        start, stop = spans[row]
        for number, line in enumerate(lines[start + 1 : stop], start=start + 2):
            parts = [part.strip() for part in line.split(mark)]
            if len(parts) == width > 1 and any(
                part and part in column for part, column in zip(parts, known, strict=True)
            ):
                raise InputError(
                    f"{path.name}, row {row + 1}: a quotation mark opens there and closes in line {number} or below, "
                    "so that rows of their own would be one cell; double the quotation marks that belong to the text "
                    "and put others around the whole cell, or leave them out"
                )
