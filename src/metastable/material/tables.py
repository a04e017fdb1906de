"""Anyone's table as named columns of text: a csv, tsv, xlsx, jsonl or parquet file, or a pandas frame."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metastable.errors import InputError, one_line, plural
from metastable.files import is_file, sha256_of
from metastable.material.marked_words import composed
from metastable.material.spreadsheets import SUFFIXES, Row, read_sheet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TABLE_SUFFIXES", "Table", "column_key", "is_table_file", "read_table", "table_of_frame"]

TABLE_SUFFIXES = (*SUFFIXES, ".jsonl", ".ndjson", ".parquet")
"""Endings of the files that hold a table."""

# They turn the direction of what follows them, in whatever shows the text.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_NAMED = 5


@dataclass(frozen=True)
class Table:
    """Rows of named columns.

    Attributes
    ----------
    columns : tuple of str
        Their names as they are written, each once.
    rows : tuple of Row
        As many cells as there are columns; a cell that holds nothing is empty.
    source : str
        Name of the file.
    sha256 : str
        Its hash.
    notes : tuple of str
        What was assumed in reading it.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    source: str
    sha256: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Compose letters, and leave out what turns the direction of writing, which is no part of a word."""
        turned = [row.number for row in self.rows if any(_TURNING.search(cell) for cell in row.cells)]
        apart = sum(any(composed(cell) != cell for cell in row.cells) for row in self.rows)
        cleaned = tuple(
            Row(row.number, tuple(composed(_TURNING.sub("", cell)) for cell in row.cells)) for row in self.rows
        )
        object.__setattr__(self, "rows", cleaned)
        if turned:
            named = ", ".join(map(str, turned[:_NAMED])) + (", …" if len(turned) > _NAMED else "")
            note = (
                f"characters that turn the direction of writing were left out of {plural(len(turned), 'row')}: {named}"
            )
            object.__setattr__(self, "notes", (*self.notes, note))
        if apart:
            hold = "row holds" if apart == 1 else "rows hold"
            note = (
                f"{apart:,} {hold} letters that are written apart from their marks; they were read composed (Unicode "
                "NFC), so that a word is the same word however it was typed"
            )
            object.__setattr__(self, "notes", (*self.notes, note))

    def cells(self, column: str) -> list[str]:
        """Return the cells of a column, one a row."""
        at = self.columns.index(column)
        return [row.cells[at] for row in self.rows]

    def where(self, row: Row) -> str:
        """Name a row: ``texts.csv, row 3``."""
        return f"{self.source}, row {row.number}"


def column_key(name: str) -> str:
    """Return a column's name without what writers differ in: case, spaces, dashes, dots.

    Examples
    --------
    >>> column_key(" Text-B "), column_key("Conc.M")
    ('text_b', 'conc_m')
    """
    return "_".join("".join(letter if letter.isalnum() else " " for letter in name.casefold()).split())


def is_table_file(text: str) -> bool:
    """Whether a word names a file of a table, by its ending."""
    return Path(text).suffix.lower() in TABLE_SUFFIXES


def read_table(path: str | Path, *, encoding: str | None = None, known: Collection[str] = ()) -> Table:
    """Read a table whose first row names its columns; of jsonl each line is an object, of parquet a schema does.

    Parameters
    ----------
    path : str or Path
        A file that ends in one of `TABLE_SUFFIXES`.
    encoding : str or None
        Of a text file; None to find it out.
    known : collection of str
        Names of columns that its header may have, in small letters.

    Returns
    -------
    Table
        Rows bear the numbers of a spreadsheet; of jsonl those of lines; of parquet they count from 1.

    Raises
    ------
    InputError
        If the file cannot be read, a column has no name or one that another has, or a row has more cells than the
        header.
    """
    path = Path(path)
    if not is_file(path):
        raise InputError(f"there is no file {path}; give the path of a csv, tsv, xlsx, jsonl or parquet file")
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path.name}: files end in {', '.join(TABLE_SUFFIXES)}; save it as one of these")
    if suffix in {".jsonl", ".ndjson"}:
        return _of_lines(path)
    if suffix == ".parquet":
        return _of_parquet(path)
    sheet = read_sheet(path, encoding=encoding, known=known)
    if not sheet.rows:
        raise InputError(f"{path.name} is empty; give a first row of column names, then one row per text")
    header, body = sheet.rows[0], sheet.rows[1:]
    names, rows = _squared(path.name, header, body)
    return Table(names, rows, path.name, sha256_of(path), sheet.notes)


def _squared(source: str, header: Row, body: Sequence[Row]) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Give every row as many cells as the header; leave out columns that hold nothing and have no name."""
    width = len(header.cells)
    for row in body:
        if any(row.cells[width:]):
            raise InputError(
                f"{source}, row {row.number}: it has {len(row.cells)} cells and the header {width}; put quotation "
                "marks around a cell that holds the character that separates columns"
            )
    rows = [Row(row.number, (*row.cells[:width], *[""] * (width - len(row.cells)))) for row in body]
    kept = [at for at, name in enumerate(header.cells) if name or any(row.cells[at] for row in rows)]
    names = [header.cells[at] or f"column {at + 1}" for at in kept]
    _check_names(source, names, f"row {header.number}: ")
    return tuple(names), tuple(Row(row.number, tuple(row.cells[at] for at in kept)) for row in rows)


def _check_names(source: str, names: Sequence[str], place: str = "") -> None:
    keys = [column_key(name) or name for name in names]
    for name, key in zip(names, keys, strict=True):
        if keys.count(key) > 1:
            raise InputError(f"{source}, {place}the column {name} is there twice; leave one of them out")


def _of_lines(path: Path) -> Table:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not UTF-8 text, as jsonl is; save it so") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a file that you may read") from None
    objects: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
            told = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
            raise InputError(f"{path.name}, row {number}: not JSON ({told}); give one JSON object a line") from None
        if not isinstance(found, dict):
            raise InputError(
                f"{path.name}, row {number}: holds a {type(found).__name__}; give one JSON object a line, with the "
                "names of columns as keys"
            )
        objects[number] = found
    names = list(dict.fromkeys(name for found in objects.values() for name in found))
    if not names:
        raise InputError(f"{path.name} is empty; give one JSON object a line, with condition and text, say")
    _check_names(path.name, names)
    rows = tuple(Row(number, tuple(_text(found.get(name)) for name in names)) for number, found in objects.items())
    _check_letters(path.name, rows)
    return Table(tuple(names), rows, path.name, sha256_of(path))


def _check_letters(source: str, rows: Iterable[Row]) -> None:
    for row in rows:
        for cell in row.cells:
            try:
                cell.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{source}, row {row.number}: {cell[error.start]!r} is half a character (a lone surrogate); write "
                    "the whole one, or leave it out"
                ) from None


def _of_parquet(path: Path) -> Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # of pyarrow, which raises what it likes of a damaged file
        raise InputError(f"{path.name} cannot be read as parquet ({one_line(error)}); save it anew") from None
    return _of_frame(frame, path.name, sha256_of(path), first=1)


def table_of_frame(frame: pd.DataFrame, source: str = "frame") -> Table:
    """Take the table of a pandas frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        Missing values are empty cells; a named index is a column as well.
    source : str
        What it is called.

    Returns
    -------
    Table
        Rows count from 0, as `frame.iloc` does. The hash is that of the cells.

    Raises
    ------
    InputError
        If two columns have one name.
    """
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    table = _of_frame(frame, source, "", first=0)
    digest = hashlib.sha256(json.dumps([table.columns, [row.cells for row in table.rows]]).encode())
    return Table(table.columns, table.rows, source, digest.hexdigest())


def _of_frame(frame: pd.DataFrame, source: str, sha256: str, *, first: int) -> Table:
    # names of several levels are tuples
    header: list[Any] = list(frame.columns)
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in header]
    if not names:
        raise InputError(f"{source} has no columns; give condition and text, say")
    _check_names(source, names)
    columns = [frame.iloc[:, at].astype(object).tolist() for at in range(len(names))]
    rows = tuple(
        Row(number, tuple(map(_text, cells)))
        for number, cells in enumerate(zip(*columns, strict=True), start=first)
        if any(map(_text, cells))
    )
    _check_letters(source, rows)
    return Table(tuple(names), rows, source, sha256)


def _text(value: Any) -> str:
    """Write a value as a cell."""
    if (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in {"NAType", "NaTType"}
    ):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()
