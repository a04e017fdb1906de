"""Running text in stretches of exactly so many tokens."""

from __future__ import annotations

import pytest

from metastable.errors import InputError
from metastable.material.text_stretches import cut_stretches, may_fill, read_words, stretch_sequences
from metastable.models.encoders import load_tokenizer

TEXT = (
    "The river rose in the night and nobody on the embankment could say whether unprecedented flooding would "
    "overwhelm the pumping station before the engineers returned from the reservoir. "
) * 40


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.mark.parametrize("length", [12, 33, 128])
def test_every_stretch_has_exactly_the_length_and_reads_on_in_the_text(tokenizer, length):
    words = tuple(TEXT.split())
    stretches = cut_stretches(words, tokenizer, length)
    assert len(stretches) > 0.8 * len(tokenizer.encode_words(words).token_ids) // length
    text, place = " ".join(words), 0
    for chosen, encoded in stretches:
        assert len(encoded.token_ids) == length
        assert tokenizer.encode(encoded.text).token_ids == encoded.token_ids
        # in order, and none overlaps the one before it
        place = text.index(" ".join(chosen), place) + len(" ".join(chosen))


def test_a_word_that_does_not_fit_is_not_cut(tokenizer):
    # two pieces a word, and an odd number of places: no number of words fills them
    words = ("skyward",) * 50
    assert tokenizer.count_pieces(["skyward"]) == [2]
    assert cut_stretches(words, tokenizer, 2 + 7) == []
    assert len(cut_stretches(words, tokenizer, 2 + 8)) == 12


def test_no_room_for_text_is_refused(tokenizer):
    with pytest.raises(InputError, match="adds 2 special tokens, which leaves no room for text; give 3 or more"):
        cut_stretches(("a",), tokenizer, 2)


def test_of_more_stretches_some_are_taken_evenly(tokenizer):
    stretches = cut_stretches(tuple(TEXT.split()), tokenizer, 16)
    sequences = stretch_sequences(stretches, "first", tokenizer, most=5)
    assert [s.identifier for s in sequences] == [f"first-000{i}" for i in range(1, 6)]
    assert sequences[0].words == stretches[0][0]
    assert sequences[-1].words == stretches[-1][0]
    assert len(stretch_sequences(stretches[:3], "first", tokenizer, most=5)) == 3


def test_what_may_fill_is_never_refused_though_it_fills(tokenizer):
    words = ("🙂🙂", "naïve", "a", "مرحبا")
    n = len(tokenizer.encode_words(words).token_ids)
    assert may_fill(words, n, 1)
    assert not may_fill(words, 512, 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"sch\xf6n", "not plain text in UTF-8 \\(byte 4\\)"), (b" \n\t", "holds no word"), (b"a\x00b", "zero byte")],
)
def test_files_that_are_no_text_are_refused(content, told, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_words(path)
    with pytest.raises(InputError, match="cannot read"):
        read_words(tmp_path)
