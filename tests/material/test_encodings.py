"""Bytes of any encoding become the text that was meant, or what was assumed is told, or they are refused."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.material.encodings import decode, known_encoding

PATH = Path("mine.csv")
GERMAN = "Wort;Bewertung\nMüller;4,5\nStraße;4,0\nÄrger;1,5\n"
FRENCH = "mot;note\nélève;4,5\nforêt;4,0\nça;1,5\n«œuvre»;2\n"
RUSSIAN = "слово;оценка\nсобака;4,5\nИдея;1,5\n"


@pytest.mark.parametrize("text", [GERMAN, FRENCH, RUSSIAN, "word,rating\ndog,4.5\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_known_by_its_mark_or_by_itself(text, encoding):
    if encoding in {"utf-16-le", "utf-16-be"} and text == RUSSIAN:
        pytest.skip("without a mark only Western text shows its zero bytes; --encoding names it")
    found, notes = decode(PATH, text.encode(encoding))
    assert found == text
    assert bool(notes) == (encoding in {"utf-16-le", "utf-16-be"})


@pytest.mark.parametrize(
    ("text", "encoding", "read_as", "word"),
    [
        (GERMAN, "cp1252", "cp1252", "Müller"),
        (GERMAN, "latin-1", "cp1252", "Müller"),
        (FRENCH, "cp1252", "cp1252", "élève"),
        (GERMAN, "mac_roman", "mac_roman", "Müller"),
        (RUSSIAN, "cp1251", "cp1251", "слово"),
    ],
)
def test_one_byte_a_character_is_read_and_told_with_a_word_to_check(text, encoding, read_as, word):
    found, (note,) = decode(PATH, text.encode(encoding))
    assert found == text
    assert read_as in note
    assert word in note
    assert "--encoding" in note


@pytest.mark.parametrize("data", [b"word\nm\x81\x9dll\n", "単語\n犬\n".encode("shift_jis"), bytes(range(128, 256))])
def test_what_no_encoding_reads_as_words_is_refused(data):
    with pytest.raises(InputError, match=r"mine.csv, row \d: not UTF-8.*--encoding"):
        decode(PATH, data)


def test_an_encoding_that_is_named_is_taken(tmp_path):
    assert decode(PATH, GERMAN.encode("cp850"), "cp850") == (GERMAN, ())
    with pytest.raises(InputError, match=r"row 2: not utf-8 text"):
        decode(PATH, GERMAN.encode("cp1252"), "utf-8")
    for unknown in ("utf-9", "rot13", "base64"):
        with pytest.raises(InputError):
            known_encoding(unknown)


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_refused(data):
    with contextlib.suppress(InputError):
        assert isinstance(decode(PATH, data)[0], str)
