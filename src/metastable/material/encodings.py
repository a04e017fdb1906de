"""Text of whatever encoding a spreadsheet writes, never guessed in silence."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from metastable.errors import InputError

__all__ = ["decode", "known_encoding"]

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets save where they do not save Unicode. Latin-1 is cp1252 but for characters that no text holds.
_WESTERN = "cp1252"
_OTHERS = ("mac_roman", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp437", "cp850")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC")
# No language of the Latin script writes so many letters with marks in a row; other scripts read as Latin do.
_MARKED = re.compile(r"[\u00c0-\u024f]{3}")
# Signs between two letters are no text, but for apostrophes and dashes.
_WITHIN = re.compile(r"[^\W\d_][„‚€£«»‹›°§¿¡½¼¾²³©®™•×÷±´µ‰¢¥“”][^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
# Quotation marks, dashes, the euro and such: what a typist sets beside words, but not within them.
_TYPED = frozenset("‘’“”„‚–—…€£«»‹›°§·¿¡½¼¾²³©®™\u00a0•×÷±ªº´´µ‰¢¥")


def known_encoding(text: str) -> str:
    """Take the name of an encoding that Python knows.

    Raises
    ------
    InputError
        If there is none of that name, or it is none of text.
    """
    try:
        info = codecs.lookup(text)
    except LookupError:
        raise InputError("there is no such encoding; give utf-8, utf-16, cp1252, latin-1 or mac_roman, say") from None
    if not getattr(info, "_is_text_encoding", True):
        raise InputError("this is no encoding of text; give utf-8, utf-16, cp1252, latin-1 or mac_roman, say")
    return text


def decode(path: Path, data: bytes, encoding: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Decode the bytes of a text file, and say what was assumed.

    A mark of the byte order decides, then UTF-8 where the bytes are valid in it, then the zero bytes that UTF-16
    leaves in Western text. Other bytes are of an encoding of one byte a character, which no file names: that of
    Windows (cp1252) is taken where it gives words that can be read, or the only other one that does.

    Parameters
    ----------
    path : Path
        The file, for what is said of it.
    data : bytes
        What it holds.
    encoding : str or None
        The encoding, where it is known.

    Returns
    -------
    text : str
    notes : tuple of str
        One that names the assumed encoding with a word to check it by; none where nothing was assumed.

    Raises
    ------
    InputError
        If the bytes are no text in the encoding given, or no encoding, or several, read them as words; the message
        names the row and ``--encoding``.
    """
    if encoding is not None:
        try:
            return data.decode(encoding).removeprefix("\ufeff"), ()
        except UnicodeError as error:
            row = data[: getattr(error, "start", 0)].count(b"\n") + 1
            raise InputError(f"{path.name}, row {row}: not {encoding} text; give another --encoding") from None
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if marked is not None:
        try:
            return data.decode(marked), ()
        except UnicodeDecodeError:
            raise InputError(
                f"{path.name} begins as {marked.removesuffix('-sig').upper()} and does not go on so; save it anew"
            ) from None
    wide = _wide(data)
    if wide is not None:
        return data.decode(wide), (f"{path.name} was read as {wide.upper()}, by the zero bytes in it",)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        return _of_one_byte(path, data, data[: error.start].count(b"\n") + 1)


def _wide(data: bytes) -> str | None:
    """Tell UTF-16 without a mark by where its zero bytes are; None where it is not."""
    sample = data[:4096]
    for name, zeros, others in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if len(data) % 2 == 0 and zeros.count(0) > len(zeros) / 3 and not others.count(0):
            try:
                data.decode(name)
            except UnicodeDecodeError:
                return None
            return name
    return None


def _of_one_byte(path: Path, data: bytes, row: int) -> tuple[str, tuple[str, ...]]:
    read = {name: text for name in (_WESTERN, *_OTHERS) if (text := _readable(data, name)) is not None}
    ask = "save the file with the encoding UTF-8, or name its encoding by --encoding"
    if _WESTERN in read:
        chosen = _WESTERN
    else:
        # several encodings that give the same characters are one reading
        readings = list(dict.fromkeys(read.values()))
        if len(readings) != 1:
            also = "; it may be " + " or ".join(f"{name} ({_example(text)!r})" for name, text in read.items())
            raise InputError(f"{path.name}, row {row}: not UTF-8 text{also if read else ''}; {ask}")
        chosen = next(iter(read))
    text = read[chosen]
    return text, (
        f"{path.name} is not UTF-8 and names no encoding; it was read as {chosen}, as in {_example(text)!r}: where "
        "that is wrong, name the right one by --encoding",
    )


def _readable(data: bytes, encoding: str) -> str | None:
    """Decode bytes; None where the encoding does not know one of them, or gives no words that can be."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    for character in set(text):
        if character >= "\x80" and not character.isalpha() and character not in _TYPED:
            return None
    if _MARKED.search(text) or _WITHIN.search(text):
        return None
    for word in set(_WORD.findall(text)):
        if not word.isascii() and not _may_be_word(word):
            return None
    return text


def _may_be_word(word: str) -> bool:
    """Whether letters are of one script, and none but the first, or all, are capitals."""
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in word}
    if len(scripts) > 1 or not scripts <= set(_SCRIPTS):
        return False
    cased = [letter for letter in word if letter.isupper() or letter.islower()]
    return not cased or all(map(str.isupper, cased)) or all(map(str.islower, cased[1:])) or word.istitle()


def _example(text: str) -> str:
    """Give a word that shows how the bytes were read."""
    word = next((word for word in _WORD.findall(text) if not word.isascii()), "")
    if word:
        return word[:30]
    return next((part for part in text.split() if not part.isascii()), "")[:30]
