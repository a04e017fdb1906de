"""Words of a text, and those that it is about: marked as [[word]], or named in a column."""

from __future__ import annotations

import re
import unicodedata

from metastable.errors import InputError

__all__ = ["composed", "mark_word", "split_marked"]

_MARK = re.compile(r"\[\[(.+?)\]\]", re.DOTALL)


def composed(text: str) -> str:
    r"""Write letters and their marks as one character where Unicode has it (NFC), so that one word is one word.

    Examples
    --------
    >>> composed("nai\u0308ve") == "naïve"
    True
    """
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def mark_word(text: str, word: str, where: str, flag: str) -> str:
    """Mark a word or several where they stand in a text.

    Parameters
    ----------
    text : str
        Where the text has marks already, they must be around this word.
    word : str
        What the study is about; case and what touches it do not matter.
    where : str
        File and row.
    flag : str
        The option that names the column, for what is said of it.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the text does not hold the word, or holds it several times.
    """
    marked = _MARK.findall(text)
    if marked:
        if all(found.casefold() == word.casefold() for found in marked):
            return text
        raise InputError(
            f"{where}: the text marks {marked[0]!r} and the column of targets says {word!r}; make them one"
        )
    parts = r"\s+".join(map(re.escape, word.split()))
    found = list(re.finditer(rf"(?<!\w){parts}(?!\w)", text, re.IGNORECASE))
    exact = [match for match in found if match.group() == word]
    found = exact if len(exact) == 1 else found
    if not found:
        raise InputError(
            f"{where}: the target {word!r} is not in the text {text[:60]!r}; give it as it stands there, or mark it as "
            f"[[word]] and give {flag} none"
        )
    if len(found) > 1:
        raise InputError(
            f"{where}: the target {word!r} stands {len(found)} times in the text; mark the one that is meant as "
            f"[[{word}]]"
        )
    start, stop = found[0].span()
    return f"{text[:start]}[[{text[start:stop]}]]{text[stop:]}"


def split_marked(text: str) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """Split a text into words at white space, and take the marks out.

    Parameters
    ----------
    text : str

    Returns
    -------
    text : str
        Without marks.
    words : tuple of str
        What touches a marked word is a word of its own.
    target : tuple of int
        Which of them were marked.

    Examples
    --------
    >>> split_marked("She saw [[the dog]], twice.")
    ('She saw the dog, twice.', ('She', 'saw', 'the', 'dog', ',', 'twice.'), (2, 3))
    """
    words: list[str] = []
    target: list[int] = []
    for place, part in enumerate(_MARK.split(text)):
        mine = part.split()
        if place % 2:
            target.extend(range(len(words), len(words) + len(mine)))
        words.extend(mine)
    return _MARK.sub(r"\1", text), tuple(words), tuple(target)
