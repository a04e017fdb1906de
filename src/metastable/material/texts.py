"""Texts in a table, one row each with its condition, become the sequences of a study."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metastable.errors import InputError, one_line
from metastable.files import sha256_of
from metastable.material.covariates import bare_word, sequence_covariates, text_word_covariates, word_covariates
from metastable.material.spreadsheets import Row, read_rows
from metastable.material.word_lists import check_length
from metastable.study import Claim, Condition, Design, Material, Option, Options, Sequence, Study
from metastable.study.options import natural

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Encoded, Tokenizer

__all__ = ["MAX_LENGTH", "TextRow", "TextTable", "read_texts", "text_material", "text_study"]

MAX_LENGTH = Option("max_length", natural, None, "most tokens of a sequence (none: all that the model reads)")
"""The option of a study of texts; longer ones are cut."""

_COLUMNS = ("condition", "text", "cluster", "pair", "context")
# They would break the report's tables, its file names or its emphasis.
_UNSAFE = re.compile(r"[|<>\"\[\]`*\\/\x00-\x1f]")
_LONGEST_NAME = 40


@dataclass(frozen=True)
class TextRow:
    """One text.

    Attributes
    ----------
    number : int
        Its row in the file, as a spreadsheet counts.
    condition, text : str
        What it belongs to, and the text itself.
    cluster, pair : str or None
        What it is a draw of, and what joins it with its partner; None where the file has no such column.
    context : str or None
        What carries it and others, and is a draw too.
    """

    number: int
    condition: str
    text: str
    cluster: str | None = None
    pair: str | None = None
    context: str | None = None


@dataclass(frozen=True)
class TextTable:
    """The texts of two conditions.

    Attributes
    ----------
    rows : tuple of TextRow
        In the order of the file.
    source : str
        Name of the file.
    sha256 : str
        Its hash.
    unused : tuple of str
        Columns that are not read.
    """

    rows: tuple[TextRow, ...]
    source: str
    sha256: str
    unused: tuple[str, ...] = ()

    @property
    def conditions(self) -> tuple[str, str]:
        """Both conditions, in the order in which they first occur."""
        first, second = dict.fromkeys(row.condition for row in self.rows)
        return first, second

    @property
    def design(self) -> Design:
        """Paired where the file has a column ``pair``, clustered where it has ``cluster``."""
        return Design(paired=self.rows[0].pair is not None, clustered=self.rows[0].cluster is not None)


def _header(rows: list[Row], name: str) -> dict[str, int]:
    if not rows:
        raise InputError(
            f"{name} is empty; give a first row with the columns condition and text, then one row per text"
        )
    cells = [cell.lower() for cell in rows[0].cells]
    for wanted in _COLUMNS:
        if cells.count(wanted) > 1:
            raise InputError(f"{name}, row {rows[0].number}: the column {wanted} is there twice; leave one of them out")
    for wanted in ("condition", "text"):
        if wanted not in cells:
            found = one_line(", ".join(cell or "(empty)" for cell in rows[0].cells))
            raise InputError(
                f"{name}, row {rows[0].number}: there is no column {wanted}; the first row must name the columns "
                f"condition and text, but it holds: {found}"
            )
    if "cluster" in cells and "pair" in cells:
        raise InputError(
            f"{name}, row {rows[0].number}: it has both a column cluster and a column pair; the pair is the unit of a "
            "paired design, so leave the column cluster out"
        )
    return {column: cells.index(column) for column in _COLUMNS if column in cells}


def _read_row(row: Row, places: Mapping[str, int], name: str) -> TextRow:
    values = {column: row.cells[at] if at < len(row.cells) else "" for column, at in places.items()}
    for column, value in values.items():
        if not value:
            raise InputError(f"{name}, row {row.number}: the cell of the column {column} is empty; fill it in")
    condition = values["condition"]
    if len(condition) > _LONGEST_NAME or _UNSAFE.search(condition):
        raise InputError(
            f"{name}, row {row.number}: {condition[:60]!r} cannot name a condition; give at most {_LONGEST_NAME} "
            "letters, digits, spaces or dashes"
        )
    return TextRow(
        row.number, condition, values["text"], values.get("cluster"), values.get("pair"), values.get("context")
    )


def read_texts(path: str | Path) -> TextTable:
    """Read texts of two conditions from a csv, tsv or xlsx file.

    Parameters
    ----------
    path : str or Path
        The file. Its first row names the columns: ``condition`` and ``text``, and optionally ``cluster``
        (texts that are draws of the same thing) or ``pair`` (a text and its partner in the other condition), and
        ``context`` (what carries several texts, and was drawn from more).

    Returns
    -------
    TextTable

    Raises
    ------
    InputError
        If the file cannot be read, a column or a cell is missing, or there are not exactly two conditions;
        the message names the row.

    Examples
    --------
    >>> read_texts("texts.csv").conditions  # doctest: +SKIP
    ('concrete', 'abstract')
    """
    path = Path(path)
    cells = read_rows(path)
    places = _header(cells, path.name)
    rows: list[TextRow] = []
    names: dict[str, int] = {}
    for row in cells[1:]:
        read = _read_row(row, places, path.name)
        names.setdefault(read.condition, row.number)
        if len(names) > 2:
            first, second = list(names)[:2]
            raise InputError(
                f"{path.name}, row {row.number}: {read.condition!r} is a third condition after {first!r} (row "
                f"{names[first]}) and {second!r} (row {names[second]}); keep two"
            )
        rows.append(read)
    if len(names) < 2:
        found = f"only the condition {next(iter(names))!r}" if names else "no text"
        raise InputError(f"{path.name} holds {found}; give texts of two conditions")
    unused = tuple(cell for at, cell in enumerate(cells[0].cells) if cell and at not in places.values())
    return TextTable(tuple(rows), path.name, sha256_of(path), unused)


def text_material(table: TextTable, tokenizer: Tokenizer, max_length: int | None = None) -> Material:
    """Make one sequence of each text.

    Words are what white space separates. A text of more tokens than `max_length` loses its last words;
    no word is split.

    Parameters
    ----------
    table : TextTable
        As `read_texts` returns it.
    tokenizer : Tokenizer
        The model's.
    max_length : int or None
        The most tokens of a sequence, special ones included; None for all that the model reads.

    Returns
    -------
    Material
        The notes say how many texts were cut, and which occur more than once.

    Raises
    ------
    InputError
        If the length is beyond the model's or leaves no room for the first word of a text, or the tokenizer
        makes nothing of a text.
    """
    if max_length is not None:
        check_length(max_length, tokenizer)
    longest = max_length or tokenizer.max_length
    every = dict.fromkeys(word for row in table.rows for word in row.text.split())
    words = text_word_covariates(list(every), tokenizer.count_pieces)
    digits = max(4, len(str(table.rows[-1].number)))
    sequences: list[Sequence] = []
    shortened: Counter[str] = Counter()
    for row in table.rows:
        encoded, mine = _fit(row, tokenizer, longest, table.source)
        shortened[row.condition] += len(mine) < len(row.text.split())
        sequences.append(
            Sequence(
                identifier=f"{row.condition}-row-{row.number:0{digits}d}",
                condition=row.condition,
                words=mine,
                text=encoded.text,
                token_ids=encoded.token_ids,
                word_index=encoded.word_index,
                segment_ids=encoded.segment_ids,
                cluster=row.cluster,
                pair=row.pair,
                context=row.context,
                covariates=_covariates(mine, len(encoded.token_ids), words, tokenizer),
            )
        )
    return Material(
        tuple(sequences),
        _notes(table, shortened, longest),
        {"texts": table.source, "texts SHA-256": table.sha256},
    )


def _covariates(words: tuple[str, ...], n_tokens: int, table: pd.DataFrame, tokenizer: Tokenizer) -> dict[str, float]:
    """Describe a text by its words without their punctuation; one that is punctuation alone by what it is."""
    if all(bare_word(word) == "" for word in words):
        table = word_covariates(list(dict.fromkeys(words)), tokenizer.count_pieces)
    return sequence_covariates(words, n_tokens, table)


def _fit(row: TextRow, tokenizer: Tokenizer, longest: int, source: str) -> tuple[Encoded, tuple[str, ...]]:
    """Tokenize a text, and leave out words at its end until it fits; whole words, so that the rest reads the same."""
    encoded, words = tokenizer.encode(row.text), tuple(row.text.split())
    if max(encoded.word_index, default=-1) < 0:
        raise InputError(
            f"{source}, row {row.number}: the tokenizer of {tokenizer.model_id} makes no token of {row.text[:40]!r}; "
            "leave the row out"
        )
    while len(encoded.token_ids) > longest:
        of_words = [word for word in encoded.word_index if word >= 0]
        # the word that the first surplus token belongs to goes whole, with all behind it
        n_kept = min(of_words[max(0, longest - tokenizer.n_special)], len(words) - 1)
        if n_kept == 0:
            raise InputError(
                f"{source}, row {row.number}: --max-length {longest} is too short for its first word "
                f"{words[0][:40]!r}; give more or leave the row out"
            )
        words = words[:n_kept]
        encoded = tokenizer.encode_words(words)
    return encoded, words


def _notes(table: TextTable, shortened: Counter[str], longest: int) -> tuple[str, ...]:
    notes = []
    for condition in table.conditions:
        total = sum(row.condition == condition for row in table.rows)
        notes.append(f"{condition}: {total:,} texts, {shortened[condition]:,} cut to {longest} tokens")
    times = Counter((row.condition, row.text) for row in table.rows)
    again = {condition: sum(n > 1 for (name, _), n in times.items() if name == condition) for condition, _ in times}
    if any(again.values()) and not table.design.clustered and not table.design.paired:
        notes.append(
            "texts that occur more than once: "
            + ", ".join(f"{n} of {condition}" for condition, n in again.items() if n)
            + "; copies are no independent observations, so give copies one name in a column cluster"
        )
    first, second = ({text for name, text in times if name == condition} for condition in table.conditions)
    if first & second:
        notes.append(f"{len(first & second):,} texts occur in both conditions")
    if table.unused:
        named = ", ".join(_UNSAFE.sub(" ", column) for column in table.unused)
        notes.append(f"columns of the file that are not used: {named}")
    return tuple(notes)


def text_study(table: TextTable, *, name: str, a: str | None = None, claims: tuple[Claim, ...] = ()) -> Study:
    """Make a study of a table of texts.

    Parameters
    ----------
    table : TextTable
        As `read_texts` returns it.
    name : str
        The study's name, and its report's folder.
    a : str or None
        Which condition is a, from which b is taken away; None for the one that occurs first.
    claims : tuple of Claim
        What is claimed before the run.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If there is no such condition.
    """
    names = table.conditions
    if a is not None and a not in names:
        raise InputError(f"--a {a}: {table.source} has the conditions {names[0]} and {names[1]}; name one of them")
    first, second = names if a in (None, names[0]) else (names[1], names[0])

    def build(options: Options, tokenizer: Tokenizer) -> Material:
        return text_material(table, tokenizer, options.own["max_length"])

    return Study(
        name=name,
        title=f"{first} and {second} texts",
        question=f"Do attention heads spread differently over {first} and over {second} texts?",
        conditions=(
            Condition(first, f"texts of {table.source} marked {first}"),
            Condition(second, f"texts of {table.source} marked {second}"),
        ),
        build=build,
        design=table.design,
        options=(MAX_LENGTH,),
        claims=claims,
        caveat=(
            "the texts come from a file, and nothing is known of how they were chosen: a difference here is one "
            "between these two sets of texts, in whatever they differ."
        ),
    )
