"""What else differs between words: characters, word pieces, Zipf frequency, part of speech."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.study import Option

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LANGUAGE",
    "bare_word",
    "lacking_note",
    "language_code",
    "sequence_covariates",
    "text_word_covariates",
    "word_covariates",
]

_ENGLISH = "en"


def bare_word(word: str) -> str:
    """Take the punctuation off the ends of a word of a text; what is punctuation alone leaves nothing.

    Examples
    --------
    >>> bare_word("(dog),"), bare_word("geht's?"), bare_word("--")
    ('dog', "geht's", '')
    """
    inside = [i for i, letter in enumerate(word) if not unicodedata.category(letter).startswith("P")]
    return word[inside[0] : inside[-1] + 1] if inside else ""


def text_word_covariates(
    words: Sequence[str], count_pieces: Callable[[Sequence[str]], Sequence[int]], *, language: str = _ENGLISH
) -> pd.DataFrame:
    """Describe each word of a running text by itself, the punctuation that is written to it left out.

    Parameters
    ----------
    words, count_pieces, language
        As `word_covariates` takes them; words as white space parts them.

    Returns
    -------
    pandas.DataFrame
        As `word_covariates` returns it, of float64; NaN where a word is punctuation alone.
    """
    import pandas as pd

    bare = [bare_word(word) for word in words]
    known = [word for word in dict.fromkeys(bare) if word]
    table = word_covariates(known, count_pieces, language=language).astype(np.float64)
    return table.reindex(bare).set_axis(pd.Index(list(words), name="word", dtype="str"))


def language_code(text: str) -> str:
    """Take a language's code, two or three letters.

    Raises
    ------
    InputError
        If it is none.
    """
    if not re.fullmatch(r"[A-Za-z]{2,3}", text):
        raise InputError("a language is named by two or three letters; give en, de, fr, fil, say")
    return text.lower()


LANGUAGE = Option("language", language_code, _ENGLISH,
                  "language of the words, for their frequencies: en, de, fr, ...", varies=False)  # fmt: skip
"""The option of whatever reads words that may be of any language."""


# wordfreq lists these under another code; any other that it lacks it would take for the nearest it has
_LISTED_AS = {"no": "nb", "nn": "nb", "sr": "sh", "hr": "sh", "bs": "sh", "tl": "fil", "iw": "he", "in": "id"}


@cache
def _list_of(language: str) -> str | None:
    """Return the code under which wordfreq lists a language; None where it does not, or cannot take words apart."""
    from wordfreq import available_languages, zipf_frequency

    code = _LISTED_AS.get(language, language)
    if code not in available_languages("small"):
        return None
    try:
        zipf_frequency("a", code)
    except ImportError:
        return None
    return code


def lacking_note(language: str, *, part_of_speech: bool = False) -> tuple[str, ...]:
    """Say which covariates a language lacks.

    Parameters
    ----------
    language : str
        Its code.
    part_of_speech : bool
        Whether parts of speech are asked for, which are known of English alone.

    Returns
    -------
    tuple of str
        One note, or none.
    """
    lacking = [] if _list_of(language) else ["Zipf frequency (wordfreq has no such list installed)"]
    if part_of_speech and language != _ENGLISH:
        lacking.append("part of speech (the lexicon is of English)")
    return (f"covariates that the language {language} lacks: {', '.join(lacking)}",) if lacking else ()


def word_covariates(
    words: Sequence[str], count_pieces: Callable[[Sequence[str]], Sequence[int]], *, language: str = _ENGLISH
) -> pd.DataFrame:
    """Describe each word by what may differ between conditions beside the rating.

    Parameters
    ----------
    words : sequence of str
        Words; an entry of several parts ("baking soda") is one word.
    count_pieces : callable
        Gives the number of word pieces of each of a list of words, as `Tokenizer.count_pieces` does.
    language : str
        Code of the words' language.

    Returns
    -------
    pandas.DataFrame
        One row per word, in their order, with the word as index and the columns

        * ``characters`` : int64, letters and all other characters but white space
        * ``word_pieces`` : int64
        * ``zipf`` : float64, Zipf frequency in the language: log10 of occurrences in a billion words; 0 for a
          word that the lists of wordfreq do not hold; no such column where they do not hold the language

    References
    ----------
    van Heuven, W. J. B., Mandera, P., Keuleers, E., & Brysbaert, M. (2014). SUBTLEX-UK: A new and improved
    word frequency database for British English. Quarterly Journal of Experimental Psychology, 67, 1176-1190.
    Speer, R. (2022). rspeer/wordfreq: v3.0. Zenodo. doi:10.5281/zenodo.7199437.
    """
    import pandas as pd
    from wordfreq import zipf_frequency

    words = list(words)
    columns: dict[str, NDArray[Any]] = {
        "characters": np.array([sum(map(len, word.split())) for word in words], dtype=np.int64),
        "word_pieces": np.array(count_pieces(words), dtype=np.int64),
    }
    listed = _list_of(language)
    if listed is not None:
        columns["zipf"] = np.array([zipf_frequency(word, listed) for word in words], dtype=np.float64)
    return pd.DataFrame(columns, index=pd.Index(words, name="word", dtype="str"))


def sequence_covariates(words: Sequence[str], n_tokens: int, table: pd.DataFrame) -> dict[str, float]:
    """Describe a sequence by its length and by the means of its words.

    Parameters
    ----------
    words : sequence of str
        The words of the sequence; each must be in `table`.
    n_tokens : int
        Its length in tokens, special ones included.
    table : pandas.DataFrame
        Numbers of each word, as `word_covariates` returns them: one row per word, the word as index.

    Returns
    -------
    dict of str to float
        ``tokens``, ``words`` (how many) and the mean over its words of each column of `table`.
    """
    # Not table.loc[words], which makes the whole index anew: many sequences would take quadratic time.
    rows = np.array([table.index.get_loc(word) for word in words], dtype=np.intp)
    means = {str(name): _mean_of_known(column.to_numpy(dtype=np.float64)[rows]) for name, column in table.items()}
    return {"tokens": float(n_tokens), "words": float(len(words)), **means}


def _mean_of_known(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
