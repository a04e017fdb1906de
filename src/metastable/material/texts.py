"""Texts in a table, one row each with its condition, become the sequences of a study."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metastable.errors import InputError, plural
from metastable.material.column_roles import header_names, names_of
from metastable.material.covariates import (
    LANGUAGE,
    bare_word,
    lacking_note,
    sequence_covariates,
    text_word_covariates,
    word_covariates,
)
from metastable.material.tables import Table, column_key, read_table
from metastable.material.text_designs import designed
from metastable.material.text_rows import TextRow, TextRows, text_rows
from metastable.material.word_lists import check_length
from metastable.study import Claim, Condition, Design, Material, Option, Options, Sequence, Study, View
from metastable.study.options import natural

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Encoded, Tokenizer

__all__ = ["MAX_LENGTH", "TextRow", "TextTable", "read_texts", "table_texts", "text_material", "text_study", "texts_of"]

MAX_LENGTH = Option("max_length", natural, None, "most tokens of a sequence (none: all that the model reads)")
"""The option of a study of texts; longer ones are cut."""

# They would break the report's tables, its file names or its emphasis.
_UNSAFE = re.compile(r"[|<>\"\[\]`*\\/\x00-\x1f\u202a-\u202e\u2066-\u2069]")
_LONGEST_NAME = 40


@dataclass(frozen=True)
class TextTable:
    """The texts of two conditions, or rated texts in two halves.

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
    conditions : pair of str
        Both conditions, a first.
    design : Design
        What its columns say of what may be exchanged.
    warnings : tuple of str
        Each column that is not read, with what it could be.
    notes : tuple of str
        What was assumed, and how the columns were used.
    predictor : str
        Name of the covariate that is the predictor; empty where there are conditions.
    """

    rows: tuple[TextRow, ...]
    source: str
    sha256: str
    unused: tuple[str, ...] = ()
    conditions: tuple[str, str] = ("", "")
    design: Design = field(default_factory=Design)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    predictor: str = ""


def _check_condition(name: str, where: str) -> None:
    if len(name) > _LONGEST_NAME or _UNSAFE.search(name):
        raise InputError(
            f"{where}: {name[:60]!r} cannot name a condition; give at most {_LONGEST_NAME} letters, digits, spaces or "
            "dashes"
        )


def table_texts(table: Table, options: Mapping[str, Any]) -> TextRows:
    """Read all texts of a table, whatever conditions they have.

    Parameters
    ----------
    table : Table
    options : mapping of str to object
        Values of `TABLE_OPTIONS`, by name; what is not there has its default.

    Returns
    -------
    TextRows

    Raises
    ------
    InputError
        If a column or a cell is missing; the message names the row.
    """
    return text_rows(
        table,
        names_of(options),
        drop_incomplete=bool(options.get("drop_incomplete")),
        check_condition=_check_condition,
    )


def texts_of(texts: TextRows, options: Mapping[str, Any]) -> TextTable:
    """Take two conditions of texts, or rated texts, with their design.

    Parameters
    ----------
    texts : TextRows
    options : mapping of str to object
        Values of `TABLE_OPTIONS`, by name.

    Returns
    -------
    TextTable

    Raises
    ------
    InputError
        If it is not said which of more than two conditions, or the design lacks texts.
    """
    found = designed(
        texts, a=options.get("a"), b=options.get("b"), drop_incomplete=bool(options.get("drop_incomplete"))
    )
    return TextTable(
        found.rows,
        texts.source,
        texts.sha256,
        texts.unused,
        found.conditions,
        found.design,
        texts.warnings,
        (*texts.notes, *found.notes),
        "" if texts.conditions else column_key(texts.columns["predictor"]) or "predictor",
    )


def read_texts(path: str | Path, **options: Any) -> TextTable:
    """Read texts of two conditions, or rated texts, from a csv, tsv, xlsx, jsonl or parquet file.

    Parameters
    ----------
    path : str or Path
        The file. Its first row names the columns: ``condition`` and ``text``, and what else there is
        (`metastable.material.column_roles.ROLES`): ``pair``, ``cluster``, ``context``, ``target``, ``level``,
        ``text_b``; of texts without conditions ``predictor``. Further columns of numbers become covariates.
    **options
        Values of `TABLE_OPTIONS`: ``a="near", b="far", pair_column="item", drop_incomplete=True``.

    Returns
    -------
    TextTable

    Raises
    ------
    InputError
        If the file cannot be read, a column or a cell is missing, or of more than two conditions two are not picked;
        the message names the row.

    Examples
    --------
    >>> read_texts("texts.csv").conditions  # doctest: +SKIP
    ('concrete', 'abstract')
    """
    named = names_of(options)
    table = read_table(path, encoding=options.get("encoding"), known=header_names(named))
    return texts_of(table_texts(table, options), options)


def text_material(
    table: TextTable, tokenizer: Tokenizer, max_length: int | None = None, *, language: str = LANGUAGE.default
) -> Material:
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
    language : str
        Code of the texts' language, for the frequencies of their words.

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
    every = dict.fromkeys(word for row in table.rows for word in (*_words(row), *row.words_b))
    words = text_word_covariates(list(every), tokenizer.count_pieces, language=language)
    digits = max(4, len(str(table.rows[-1].number)))
    sequences: list[Sequence] = []
    shortened: Counter[str] = Counter()
    unknown: dict[str, int] = {}
    letters: dict[int, str] = {}
    for row in table.rows:
        encoded, mine, n_first = _fit(row, tokenizer, longest, table.source)
        shortened[row.condition] += len(mine) < len(_words(row)) + len(row.words_b)
        _find_unknown(unknown, encoded, mine, row.number, tokenizer)
        for name in tokenizer.special_letters(f"{row.text} {row.text_b or ''}"):
            letters.setdefault(row.number, name)
        target = (*row.target, *(n_first + place for place in row.target_b))
        _check_targets(row, target, mine, n_first, table.source)
        sequences.append(
            Sequence(
                identifier=f"{row.condition}-row-{row.number:0{digits}d}",
                condition=row.condition,
                words=mine,
                text=encoded.text if encoded.pair is None else f"{encoded.text} {encoded.pair}",
                token_ids=encoded.token_ids,
                word_index=encoded.word_index,
                segment_ids=encoded.segment_ids,
                cluster=row.cluster,
                pair=row.pair,
                level=row.level if table.design.factor is not None else None,
                context=row.context,
                target=target,
                target_b=tuple(n_first + place for place in row.target_b) if row.target else (),
                covariates={
                    **_covariates(mine, len(encoded.token_ids), words, tokenizer, language),
                    **row.covariates,
                    **({table.predictor: row.predictor} if table.predictor else {}),
                },
            )
        )
    kept, left_out = _without_determined(sequences, table.predictor)
    return Material(
        kept,
        (
            *_notes(table, shortened, longest),
            *lacking_note(language),
            *_unknown_note(unknown, tokenizer),
            *_letters_note(letters),
            *left_out,
        ),
        {"texts": table.source, "texts SHA-256": table.sha256},
    )


def _covariates(
    words: tuple[str, ...], n_tokens: int, table: pd.DataFrame, tokenizer: Tokenizer, language: str
) -> dict[str, float]:
    """Describe a text by its words without their punctuation; one that is punctuation alone by what it is."""
    if all(bare_word(word) == "" for word in words):
        table = word_covariates(list(dict.fromkeys(words)), tokenizer.count_pieces, language=language)
    return sequence_covariates(words, n_tokens, table)


def _words(row: TextRow) -> tuple[str, ...]:
    return row.words or tuple(row.text.split())


def _check_targets(row: TextRow, target: tuple[int, ...], mine: tuple[str, ...], n_first: int, source: str) -> None:
    """Refuse a text whose target was cut off."""
    lost = [place for place in row.target if place >= n_first] or [place for place in target if place >= len(mine)]
    if lost:
        raise InputError(
            f"{source}, row {row.number}: its target lies beyond the tokens that are kept; give a longer --max-length, "
            "or leave the row out"
        )


def _fit(row: TextRow, tokenizer: Tokenizer, longest: int, source: str) -> tuple[Encoded, tuple[str, ...], int]:
    """Tokenize a text, and leave out words at its end until it fits; whole words, so that the rest reads the same.

    Of two texts the longer one loses its last words first. Also returned is how many words are of the first text.
    """
    first, second = _words(row), row.words_b
    if row.text_b is None:
        encoded = tokenizer.encode_words(first, text=row.text)
    elif _separates(tokenizer):
        encoded = tokenizer.encode_words(first, second, text=row.text, pair_text=row.text_b)
    else:
        encoded = tokenizer.encode_words((*first, *second), text=f"{row.text} {row.text_b}")
    read = set(encoded.word_index)
    if not any(place in read for place in range(len(first))) or (
        row.text_b is not None and not any(place in read for place in range(len(first), len(first) + len(second)))
    ):
        blank = row.text if not any(place in read for place in range(len(first))) else str(row.text_b)
        raise InputError(
            f"{source}, row {row.number}: the tokenizer of {tokenizer.model_id} makes no token of {blank[:40]!r}; "
            "leave the row out"
        )
    while len(encoded.token_ids) > longest:
        n_special = sum(word < 0 for word in encoded.word_index)
        sizes = np.bincount([word for word in encoded.word_index if word >= 0], minlength=len(first) + len(second))
        n_first, n_second = _kept_words(sizes[: len(first)], sizes[len(first) :], max(0, longest - n_special))
        if n_first == 0 or (row.text_b is not None and n_second == 0):
            short = first if n_first == 0 else second
            raise InputError(
                f"{source}, row {row.number}: --max-length {longest} is too short for its first word "
                f"{short[0][:40]!r}; give more or leave the row out"
            )
        first, second = first[:n_first], second[:n_second]
        if row.text_b is None:
            encoded = tokenizer.encode_words(first)
        elif _separates(tokenizer):
            encoded = tokenizer.encode_words(first, second)
        else:
            encoded = tokenizer.encode_words((*first, *second))
    return encoded, (*first, *second), len(first)


def _separates(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer sets the two texts of a pair apart; where it does not, they are one text."""
    return tokenizer.has_segments or tokenizer.n_special_pair > tokenizer.n_special


def _kept_words(first: Any, second: Any, room: int) -> tuple[int, int]:
    """Return how many words of two texts fit into so many tokens, at least one less than there are.

    Parameters
    ----------
    first, second : ndarray of int
        Tokens of each word.
    room : int

    Returns
    -------
    pair of int
    """
    total = (int(first.sum()), int(second.sum()))
    shorter = min(total)
    share = (
        (room - shorter if total[0] > total[1] else total[0], room - shorter if total[1] > total[0] else total[1])
        if shorter <= room // 2
        else (room - room // 2, room // 2)
    )
    pairs = zip((first, second), share, strict=True)
    kept = [int(np.searchsorted(np.cumsum(sizes), part, side="right")) for sizes, part in pairs]
    if kept == [len(first), len(second)]:
        # the special tokens changed: the last word of the longer text goes
        kept[int(total[1] > total[0])] -= 1
    return kept[0], kept[1]


def _find_unknown(
    unknown: dict[str, int], encoded: Encoded, words: tuple[str, ...], number: int, tokenizer: Tokenizer
) -> None:
    """Note the words that the vocabulary lacks a piece of, each with the first row that holds it."""
    lacking = tokenizer.unknown_id
    if lacking is None or lacking not in encoded.token_ids:
        return
    for token, word in zip(encoded.token_ids, encoded.word_index, strict=True):
        if token == lacking and word >= 0:
            unknown.setdefault(words[word], number)


def _unknown_note(unknown: dict[str, int], tokenizer: Tokenizer) -> tuple[str, ...]:
    if not unknown:
        return ()
    shown = ", ".join(f"{_UNSAFE.sub(' ', word)} (row {number})" for word, number in list(unknown.items())[:5])
    more = ", ..." if len(unknown) > 5 else ""
    mark = tokenizer.tokens((tokenizer.unknown_id or 0,))[0].strip("[]<>")
    return (
        f"the vocabulary of {tokenizer.model_id} lacks a piece of {plural(len(unknown), 'word')}, which it reads as "
        f"its token for the unknown ({mark}): {shown}{more}",
    )


def _letters_note(letters: dict[int, str]) -> tuple[str, ...]:
    if not letters:
        return ()
    named = ", ".join(f"{number} ({_UNSAFE.sub('', name)})" for number, name in list(letters.items())[:5])
    more = ", …" if len(letters) > 5 else ""
    return (
        f"{plural(len(letters), 'text holds', 'texts hold')} the name of a special token, read as the letters that it "
        f"is: {'row' if len(letters) == 1 else 'rows'} {named}{more}",
    )


def _without_determined(sequences: list[Sequence], predictor: str) -> tuple[tuple[Sequence, ...], tuple[str, ...]]:
    """Leave out covariates that follow from those before them, which no model could tell apart, and name them."""
    from dataclasses import replace

    names = [name for name in sequences[0].covariates if name != predictor]
    values = np.array([[one.covariates[name] for name in names] for one in sequences], dtype=np.float64)
    basis = np.ones((len(sequences), 1)) / np.sqrt(len(sequences))
    dropped: dict[str, str] = {}
    for name, column in zip(names, values.T, strict=True):
        centred = column - column.mean()
        size = float(np.linalg.norm(centred))
        # constants are told by the table of balance, and are no burden to any model
        if not np.isfinite(size) or size <= 1e-9 * max(1.0, float(np.abs(column).max())):
            continue
        rest = centred - basis @ (basis.T @ centred)
        left = float(np.linalg.norm(rest))
        if left > 1e-8 * size:
            basis = np.column_stack([basis, rest / left])
        elif basis.shape[1] < len(sequences):
            dropped[name] = _follows_from(name, names, values, dropped)
    if not dropped:
        return tuple(sequences), ()
    kept = tuple(
        replace(one, covariates={name: value for name, value in one.covariates.items() if name not in dropped})
        for one in sequences
    )
    notes = tuple(
        f"the covariate {name} is left out: in these texts it follows from {others}" for name, others in dropped.items()
    )
    return kept, notes


def _follows_from(name: str, names: list[str], values: Any, dropped: Mapping[str, str]) -> str:
    """Name the covariates before one that determine it: one of them with its equation, where one does."""
    place = names.index(name)
    before = [other for other in range(place) if names[other] not in dropped and np.ptp(values[:, other]) > 0]
    for other in before:
        slope, intercept = np.polyfit(values[:, other], values[:, place], 1)
        if np.allclose(
            slope * values[:, other] + intercept, values[:, place], rtol=0, atol=1e-8 * np.ptp(values[:, place])
        ):
            sign = "+" if intercept >= 0 else "-"
            scale = "" if np.isclose(slope, 1) else f"{slope:.4g} times "
            shift = "" if np.isclose(intercept, 0, atol=1e-6) else f" {sign} {abs(intercept):.4g}"
            return f"{names[other]} ({name} = {scale}{names[other]}{shift})"
    return f"{', '.join(names[other] for other in before)} together"


def _notes(table: TextTable, shortened: Counter[str], longest: int) -> tuple[str, ...]:
    notes = [_plain(text) for text in (*table.warnings, *table.notes)]
    for condition in table.conditions:
        total = sum(row.condition == condition for row in table.rows)
        notes.append(f"{condition}: {plural(total, 'text')}, {shortened[condition]:,} cut to {longest} tokens")
    times = Counter((row.condition, row.text, row.text_b) for row in table.rows)
    again = dict.fromkeys(table.conditions, 0)
    for (condition, *_), n in times.items():
        again[condition] += n > 1
    design = table.design
    if any(again.values()) and not design.clustered and not design.paired and design.factor is None:
        notes.append(
            "texts that occur more than once: "
            + ", ".join(f"{n} of {condition}" for condition, n in again.items() if n)
            + "; copies are no independent observations, so give copies one name in a column cluster"
        )
    first, second = ({key[1:] for key in times if key[0] == condition} for condition in table.conditions)
    if first & second:
        notes.append(f"{plural(len(first & second), 'text occurs', 'texts occur')} in both conditions")
    return tuple(notes)


def _plain(text: str) -> str:
    """Take out of a note what would break the report's tables or its emphasis."""
    return _UNSAFE.sub(" ", text)


def text_study(
    table: TextTable,
    *,
    name: str,
    a: str | None = None,
    claims: tuple[Claim, ...] = (),
    options: tuple[Option, ...] = (),
) -> Study:
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
    options : tuple of Option
        Options beside `MAX_LENGTH`: those that the table was read by, so that the record of a run holds them.

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
        language = options.own.get("language", LANGUAGE.default)
        return text_material(table, tokenizer, options.own["max_length"], language=language)

    noun = table.predictor.replace("_", " ")
    either = "upper" if first == table.conditions[0] else "lower"
    other = "lower" if either == "upper" else "upper"
    slope = table.design.predictor is not None
    described = (
        (
            Condition(first, f"texts of {table.source}, the {either} half by {noun}"),
            Condition(second, f"texts of {table.source}, the {other} half by {noun}"),
        )
        if table.predictor
        else (
            Condition(first, f"texts of {table.source} marked {first}"),
            Condition(second, f"texts of {table.source} marked {second}"),
        )
    )
    unused = "; ".join(map(_plain, table.warnings)) + ". " if table.warnings else ""
    opening = "The" if unused else "the"
    return Study(
        name=name,
        title=f"{_capital(noun)} as a matter of degree" if slope else f"{first} and {second} texts",
        question=(
            f"Do attention heads spread wider, or narrower, with {noun}?"
            if slope
            else f"Do attention heads spread differently over {first} and over {second} texts?"
        ),
        conditions=described,
        build=build,
        design=table.design,
        options=(MAX_LENGTH, *options),
        claims=claims,
        views=_views(table),
        caveat=unused
        + (
            f"{opening} texts come from a file, and nothing is known of how they were chosen: a difference here is one "
            "between these two sets of texts, in whatever they differ."
            if not slope
            else f"{opening} texts come from a file, and nothing is known of how they were chosen: a slope here may be "
            "one over "
            f"whatever goes along with {noun} in them."
        ),
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _views(table: TextTable) -> tuple[View, ...]:
    """Return the other looks that marked words allow."""
    first, second = bool(table.rows[0].target), bool(table.rows[0].target_b)
    if not first and not second:
        return ()
    views = (
        View("target_as_query", "how widely the target itself looks", targets_query=True),
        View("target_as_key", "how much attention the other tokens pay to the target", measure="target_mass"),
    )
    if not (first and second):
        return views
    return (
        *views,
        View(
            "text_to_text_b",
            "how much attention the target of the first text pays to that of the second",
            measure="span_mass",
            targets_query=True,
            span="first",
        ),
        View(
            "text_b_to_text",
            "how much attention the target of the second text pays to that of the first",
            measure="span_mass",
            targets_query=True,
            span="second",
        ),
    )
