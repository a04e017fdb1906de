"""Parts of speech of words out of context, from the lexicon that lemminflect ships."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEXICON", "UNKNOWN", "part_of_speech", "parts_of_speech"]

LEXICON = f"lemminflect {version('lemminflect')} (NIH SPECIALIST lexicon)"
"""Where the parts of speech come from."""

UNKNOWN = ""
"""The part of speech of a word that the lexicon does not hold."""


def part_of_speech(word: str) -> str:
    """Tell every part of speech that a word can be, whatever the context.

    Parameters
    ----------
    word : str
        A word; its case does not matter.

    Returns
    -------
    str
        Universal parts of speech joined by "+", in alphabetical order, each followed by "*" where the
        word is not the base form: ``"NOUN"`` for a pure noun such as "hardship",
        ``"NOUN+VERB"`` for "run", ``"NOUN*+VERB*"`` for "dogs". `UNKNOWN` for a word that the lexicon
        does not hold, function words and entries of two words among them: nothing is guessed.

    Examples
    --------
    >>> part_of_speech("hardship"), part_of_speech("run"), part_of_speech("children")
    ('NOUN', 'NOUN+VERB', 'NOUN*')
    """
    import lemminflect

    lemmas = lemminflect.getAllLemmas(word)
    return "+".join(name if lemmas[name] == (word,) else f"{name}*" for name in sorted(lemmas))


def parts_of_speech(words: Sequence[str]) -> pd.Series[str]:
    """Tell the parts of speech of each word, as `part_of_speech` does.

    Parameters
    ----------
    words : sequence of str

    Returns
    -------
    pandas.Series of str
        Named ``part_of_speech``, with the word as index.
    """
    import pandas as pd

    return pd.Series(
        [part_of_speech(word) for word in words],
        index=pd.Index(list(words), name="word", dtype="str"),
        name="part_of_speech",
        dtype="str",
    )
