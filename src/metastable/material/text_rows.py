"""The rows of a table as texts: each with its condition, and what joins it with others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from metastable.errors import InputError, plural
from metastable.material.column_roles import could_be, find_columns
from metastable.material.decimals import MISSING, is_numeric, numbers
from metastable.material.marked_words import composed, mark_word, split_marked
from metastable.material.spreadsheets import Row
from metastable.material.tables import Table, column_key
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = ["TextRow", "TextRows", "text_rows"]

# Columns of sequences.parquet, and what a text is described by beside the columns of its file.
_TAKEN = frozenset(
    {*COVARIATE_NAMES, "sequence", "condition", "cluster", "pair", "level", "context", "text", "n_tokens", "n_words",
     "token_ids", "word_index", "target", "target_b", "segment_ids", "side", "intercept"}
)  # fmt: skip
_GROUPINGS = ("pair", "cluster", "context", "level")
_MOST_CONDITIONS = 12


@dataclass(frozen=True)
class TextRow:
    """One text, or two that are read together.

    Attributes
    ----------
    number : int
        Its row in the file, as a spreadsheet counts.
    condition, text : str
        What it belongs to, and the text itself.
    cluster, pair : str or None
        What it is a draw of, and what joins it with its partner; None where the file has no such column.
    context, level : str or None
        What it shares with others beside the condition, and its level of the second factor.
    text_b : str or None
        The second segment.
    words, words_b : tuple of str
        The words of either.
    target, target_b : tuple of int
        Positions in `words` and in `words_b` of the words that the study is about.
    predictor : float
        What it is rated by; NaN where the file has conditions.
    covariates : mapping of str to float
        Its numbers in further columns.
    """

    number: int
    condition: str
    text: str
    cluster: str | None = None
    pair: str | None = None
    context: str | None = None
    level: str | None = None
    text_b: str | None = None
    words: tuple[str, ...] = ()
    words_b: tuple[str, ...] = ()
    target: tuple[int, ...] = ()
    target_b: tuple[int, ...] = ()
    predictor: float = math.nan
    covariates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TextRows:
    """All texts of a table.

    Attributes
    ----------
    rows : tuple of TextRow
        In the order of the file.
    source, sha256 : str
        Name and hash of the file.
    columns : mapping of str to str
        The column of each role.
    covariates : tuple of str
        Columns whose numbers describe the texts.
    unused : tuple of str
        Columns that are not read.
    warnings : tuple of str
        Each of these, with what it could be.
    notes : tuple of str
        What was assumed or left out in reading.
    """

    rows: tuple[TextRow, ...]
    source: str
    sha256: str
    columns: Mapping[str, str]
    covariates: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def conditions(self) -> tuple[str, ...]:
        """All conditions, in the order in which they first occur; none where texts are rated."""
        return tuple(dict.fromkeys(row.condition for row in self.rows if row.condition))

    def where(self, row: TextRow) -> str:
        """Name a row: ``texts.csv, row 3``."""
        return f"{self.source}, row {row.number}"


def text_rows(
    table: Table,
    named: Mapping[str, str | None],
    *,
    drop_incomplete: bool = False,
    check_condition: Callable[[str, str], None],
) -> TextRows:
    """Read the texts of a table.

    Parameters
    ----------
    table : Table
    named : mapping of str to str or None
        The columns that the user names, by role.
    drop_incomplete : bool
        Whether rows with an empty cell are left out, and counted, instead of refused.
    check_condition : callable
        ``check_condition(name, where)`` refuses what cannot name a condition.

    Returns
    -------
    TextRows

    Raises
    ------
    InputError
        If a column or a cell is missing, or a cell is not what its column holds; the message names the row.
    """
    columns, notes = find_columns(table, named)
    _require_columns(table, columns)
    notes = (*table.notes, *notes)
    roles = {role: name for role, name in columns.items() if role != "predictor"}
    numeric = _numeric_columns(table, columns)
    body, dropped = _complete(table, list(columns.values()), numeric, drop_incomplete)
    if dropped:
        notes = (*notes, f"{plural(dropped, 'row')} with an empty cell {'was' if dropped == 1 else 'were'} left out")
    table = replace(table, rows=tuple(body))
    covariates = [name for name in numeric if all(table.cells(name))]
    places = [table.where(row) for row in body]
    values = {_covariate_name(name, roles): numbers(table.cells(name), places) for name in covariates}
    if any(math.isnan(value) for column in values.values() for value in column):
        covariates = [name for name in covariates if not any(map(math.isnan, values[_covariate_name(name, roles)]))]
        values = {_covariate_name(name, roles): values[_covariate_name(name, roles)] for name in covariates}
    predictor = [math.nan] * len(body)
    if "predictor" in columns:
        predictor = _predictor(table, columns["predictor"], places)
    cells = {role: table.cells(name) for role, name in roles.items()}
    rows = []
    for at, row in enumerate(body):
        mine = {role: column[at] for role, column in cells.items()}
        if "condition" in mine:
            check_condition(mine["condition"], table.where(row))
        rows.append(
            _read(
                row.number,
                mine,
                table.where(row),
                predictor[at],
                {name: column[at] for name, column in values.items()},
            )
        )
    _check_marks(table, rows)
    _check_conditions(table, rows, columns)
    return _told(table, rows, columns, tuple(covariates), notes)


def _require_columns(table: Table, columns: Mapping[str, str]) -> None:
    found = ", ".join(table.columns)
    named = "name the columns by --condition-column and --text-column, or give them these names"
    if "text" not in columns:
        raise InputError(f"{table.source}, row 1: there is no column text; its columns are: {found}; {named}")
    if "condition" not in columns and "predictor" not in columns:
        raise InputError(
            f"{table.source}, row 1: there is no column condition, and no number that texts are rated by; its columns "
            f"are: {found}; {named}, or a predictor by --predictor-column"
        )


def _numeric_columns(table: Table, columns: Mapping[str, str]) -> list[str]:
    """Further columns of numbers that vary; those of one value say nothing."""
    others = [name for name in table.columns if name not in columns.values()]
    return [name for name in others if is_numeric(table.cells(name)) and len(set(table.cells(name))) > 1]


def _complete(table: Table, needed: list[str], numeric: list[str], drop: bool) -> tuple[list[Row], int]:
    """Return the rows whose cells hold something; refuse the first whose needed ones do not, unless they may go."""
    places = [table.columns.index(name) for name in needed]
    of_numbers = [table.columns.index(name) for name in numeric]
    body = []
    for row in table.rows:
        empty = next((at for at in places if not row.cells[at]), None)
        if empty is not None and not drop:
            raise InputError(
                f"{table.where(row)}: the cell of the column {table.columns[empty]} is empty; fill it in, or leave "
                "such rows out by --drop-incomplete"
            )
        if empty is None and not (drop and any(row.cells[at].lower() in MISSING for at in of_numbers)):
            body.append(row)
    return body, len(table.rows) - len(body)


def _covariate_name(column: str, roles: Mapping[str, str]) -> str:
    key = column_key(column) or column
    return f"{key}_of_file" if key in _TAKEN or key in roles else key


def _predictor(table: Table, column: str, places: list[str]) -> list[float]:
    values = numbers(table.cells(column), places)
    missing = next((place for place, value in zip(places, values, strict=True) if math.isnan(value)), None)
    if missing is not None:
        raise InputError(f"{missing}: the predictor {column} holds no number; fill it in or leave the row out")
    if len(set(values)) < 3:
        raise InputError(
            f"{table.source}: the predictor {column} has {len(set(values))} values; a slope needs three or more, and "
            "two kinds of text are conditions (--condition-column)"
        )
    return values


def _read(
    number: int, cells: Mapping[str, str], where: str, predictor: float, covariates: Mapping[str, float]
) -> TextRow:
    text, text_b = composed(cells["text"]), cells.get("text_b")
    text_b = None if text_b is None else composed(text_b)
    if "target" in cells:
        text = mark_word(text, composed(cells["target"]), where, "--target-column")
    if "target_b" in cells:
        if text_b is None:
            raise InputError(f"{where}: there are targets of a second text and no second text; add --text-b-column")
        text_b = mark_word(text_b, composed(cells["target_b"]), where, "--target-b-column")
    text, words, target = split_marked(text)
    words_b: tuple[str, ...] = ()
    target_b: tuple[int, ...] = ()
    if text_b is not None:
        text_b, words_b, target_b = split_marked(text_b)
    return TextRow(
        number=number,
        condition=cells.get("condition", ""),
        text=text,
        text_b=text_b,
        words=words,
        words_b=words_b,
        target=target,
        target_b=target_b,
        predictor=predictor,
        covariates=covariates,
        **{name: cells.get(name) for name in _GROUPINGS},
    )


def _check_marks(table: Table, rows: list[TextRow]) -> None:
    """Refuse a table that marks words in some of its texts only."""
    for name, which in (("target", "text"), ("target_b", "second text")):
        marked = [bool(getattr(row, name)) for row in rows]
        if any(marked) and not all(marked):
            lost = rows[marked.index(False)]
            raise InputError(
                f"{table.source}, row {lost.number}: no word of the {which} is marked, and {sum(marked):,} of "
                f"{len(rows):,} texts mark one as [[word]]; mark one in every text, or in none"
            )


def _check_conditions(table: Table, rows: list[TextRow], columns: Mapping[str, str]) -> None:
    if not rows:
        raise InputError(f"{table.source} holds no text; give a row for each, below the names of the columns")
    if "condition" not in columns:
        return
    names = Counter(row.condition for row in rows)
    if len(names) < 2:
        raise InputError(f"{table.source} holds only the condition {next(iter(names))!r}; give texts of two conditions")
    if len(names) > _MOST_CONDITIONS:
        numeric = is_numeric(list(names))
        remedy = (
            "give --condition-column none and --predictor-column for a slope over it"
            if numeric
            else "name the column of conditions by --condition-column, or pick two by --a and --b"
        )
        if numeric or max(names.values()) == 1:
            raise InputError(
                f"{table.source}: the column {columns['condition']} has {len(names):,} values, which are no "
                f"conditions; {remedy}"
            )


def _told(
    table: Table,
    rows: list[TextRow],
    columns: Mapping[str, str],
    covariates: tuple[str, ...],
    notes: tuple[str, ...],
) -> TextRows:
    """Put together what was read with what was not."""
    unused = tuple(name for name in table.columns if name not in columns.values() and name not in covariates)
    conditions = [row.condition for row in rows] if "condition" in columns else None
    warnings = []
    for name in unused:
        hint = could_be(table, name, conditions)
        warnings.append(f"the column {name} is not used" + (f": {hint}" if hint else ""))
    if covariates:
        notes = (
            *notes,
            f"columns of numbers that describe the texts, in the table of balance and for --covariates: "
            f"{', '.join(covariates)}",
        )
    return TextRows(tuple(rows), table.source, table.sha256, dict(columns), covariates, unused, tuple(warnings), notes)
