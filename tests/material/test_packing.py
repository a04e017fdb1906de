"""Words are packed whole, in order, and what is left out is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from metastable.errors import InputError
from metastable.material.norms import load_norms, select_extremes
from metastable.material.packing import pack_parallel, pack_words
from metastable.models.encoders import BUNDLED_MODEL, Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Cut:
    text: str
    token_ids: tuple[int, ...]
    word_index: tuple[int, ...]
    segment_ids: tuple[int, ...] = ()


def cut(words: Sequence[str], first: int = 0) -> Cut:
    """A tokenizer of one token a letter between two special ones; "_" is no token, the first word `first` more."""
    letters = [(ord(letter), i) for i, word in enumerate(words) for letter in word if letter != "_"]
    letters = [(0, 0)] * (first if words else 0) + letters
    return Cut(" ".join(words), (1, *(t for t, _ in letters), 2), (-1, *(i for _, i in letters), -1))


def cut_first_longer(words: Sequence[str]) -> Cut:
    return cut(words, first=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(BUNDLED_MODEL)


def greedy(words: Sequence[str], encode, max_length: int) -> list[tuple[str, ...]]:
    """The definition, one word at a time."""
    packs: list[list[str]] = []
    for word in words:
        if packs and len(encode([*packs[-1], word]).token_ids) <= max_length:
            packs[-1].append(word)
        elif len(encode([word]).token_ids) <= max_length:
            packs.append([word])
    return [tuple(pack) for pack in packs]


words_strategy = st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=60)


@given(words_strategy, st.integers(1, 16), st.booleans())
def test_packing_is_greedy_packing(words: list[str], max_length: int, keep_tail: bool) -> None:
    expected = greedy([word for word in words if len(word) + 2 <= max_length], cut, max_length)
    try:
        packing = pack_words(words, cut, max_length, keep_tail=keep_tail)
    except InputError as error:
        if "too short for one word" in str(error):
            assert all(len(word) + 2 > max_length for word in words)
        else:
            assert len(expected) == 1
            assert not keep_tail
        return
    sequences = [*packing.sequences, *([packing.tail] if packing.tail else [])]
    assert [sequence.words for sequence in sequences] == expected
    assert packing.too_long == tuple(word for word in words if len(word) + 2 > max_length)
    for sequence in sequences:
        again = cut(sequence.words)
        assert (sequence.text, sequence.token_ids, sequence.word_index) == (
            again.text,
            again.token_ids,
            again.word_index,
        )
        assert len(sequence.token_ids) <= max_length
    if packing.tail is not None:
        assert not keep_tail
        assert len(packing.tail.token_ids) < max_length
    elif not keep_tail:
        assert len(packing.sequences[-1].token_ids) == max_length


@given(words_strategy, st.integers(5, 16))
def test_what_the_tokenizer_makes_of_the_whole_text_decides(words: list[str], max_length: int) -> None:
    """The first word is longer here than after a space: lengths of words do not add up."""
    fitting = [word for word in words if len(word) + 4 <= max_length]
    try:
        packing = pack_words(words, cut_first_longer, max_length, keep_tail=True)
    except InputError:
        assert not fitting
        return
    assert [sequence.words for sequence in packing.sequences] == greedy(fitting, cut_first_longer, max_length)
    packed = [word for sequence in packing.sequences for word in sequence.words]
    assert sorted([*packed, *packing.too_long]) == sorted(words)


def test_no_word_is_lost_or_split_on_real_words(tokenizer: Tokenizer) -> None:
    words = select_extremes(load_norms(), 500, rng=3).abstract["word"].tolist()
    for max_length in (5, 20, 64, 512):
        packing = pack_words(words, tokenizer.encode_words, max_length)
        kept = [word for sequence in packing.sequences for word in sequence.words]
        left_out = set(packing.too_long)
        tail = packing.tail.words if packing.tail else ()
        assert [*kept, *tail] == [word for word in words if word not in left_out]
        assert len(kept) + len(tail) + len(packing.too_long) == len(words)
        assert all(tokenizer.pieces(word) + 2 > max_length for word in left_out)
        for sequence in packing.sequences:
            encoded = tokenizer.encode(sequence.text)
            assert encoded.token_ids == sequence.token_ids
            assert len(sequence.token_ids) <= max_length
            assert sequence.word_index[0] == sequence.word_index[-1] == -1
            inner = sequence.word_index[1:-1]
            assert sorted(set(inner)) == list(range(len(sequence.words)))
            assert list(inner) == sorted(inner)


def test_entries_of_two_words_stay_together(tokenizer: Tokenizer) -> None:
    packing = pack_words(["baking soda", "dog"] * 6, tokenizer.encode_words, 8)
    assert packing.sequences[0].words == ("baking soda", "dog", "baking soda", "dog")
    assert packing.sequences[0].word_index == (-1, 0, 0, 1, 2, 2, 3, -1)


def test_what_is_left_out_is_told() -> None:
    packing = pack_words(["abc", "abcdefgh", "_", "abc", "ab"], cut, 8)
    assert [sequence.words for sequence in packing.sequences] == [("abc", "abc")]
    assert packing.tail is not None
    assert packing.tail.words == ("ab",)
    assert packing.too_long == ("abcdefgh",)
    assert packing.unreadable == ("_",)
    assert packing.notes == (
        "the last 1 word (4 tokens) did not fill a sequence and is left out",
        "1 word longer than a sequence left out: abcdefgh",
        "1 word of which the tokenizer makes no token left out: _",
    )


def test_a_full_last_sequence_is_no_tail() -> None:
    packing = pack_words(["abc", "abc", "abc", "abc"], cut, 8)
    assert len(packing.sequences) == 2
    assert packing.tail is None
    assert packing.notes == ()


@pytest.mark.parametrize("max_length", [-3, 0, 1, 2, 3, 4])
def test_a_max_length_too_short_for_any_word_is_refused(max_length: int) -> None:
    with pytest.raises(InputError, match=rf"the max length of {max_length} tokens is too short .* give 5 or more"):
        pack_words(["abc", "abcd"], cut, max_length)


@pytest.mark.parametrize(("words", "count"), [([], "0 words"), (["abc"], "1 word"), (["abc", "ab"], "2 words")])
def test_too_few_words_for_one_sequence_are_refused(words: list[str], count: str) -> None:
    with pytest.raises(InputError, match=f"{count} do not fill one sequence of 20 tokens"):
        pack_words(words, cut, 20)


@given(words_strategy, st.integers(6, 16), st.randoms(use_true_random=False))
def test_parallel_lists_are_packed_slot_by_slot(words: list[str], max_length: int, random) -> None:
    partners = [random.choice(["a", "bb", "aaa", "abababab"]) for _ in words]
    places = [i for i, pair in enumerate(zip(words, partners, strict=True)) if max(map(len, pair)) + 2 <= max_length]
    try:
        first, second = pack_parallel([words, partners], cut, max_length, keep_tail=True)
    except InputError:
        assert not places
        return
    assert len(first.sequences) == len(second.sequences)
    slots = [
        pair
        for a, b in zip(first.sequences, second.sequences, strict=True)
        for pair in zip(a.words, b.words, strict=True)
    ]
    assert slots == [(words[i], partners[i]) for i in places]
    assert len(first.too_long) == len(second.too_long) == len(words) - len(places)
    lengths = [max(len(a.token_ids), len(b.token_ids)) for a, b in zip(first.sequences, second.sequences, strict=True)]
    assert max(lengths) <= max_length
    # the next pair would have been one too many for one of the two
    for (a, b), (next_a, next_b) in pairwise(zip(first.sequences, second.sequences, strict=True)):
        assert max(len(a.token_ids) + len(next_a.words[0]), len(b.token_ids) + len(next_b.words[0])) > max_length


def test_parallel_lists_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="lists of 2, 1 words"):
        pack_parallel([["a", "b"], ["a"]], cut, 8)


def byte_level_tokenizer(words: Sequence[str]) -> Tokenizer:
    """A tokenizer as RoBERTa's, trained here: the first word of a text has pieces of its own."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=800, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([" ".join(words)], trainer)
    backend.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=False)
    return Tokenizer("byte-level", None, PreTrainedTokenizerFast(tokenizer_object=backend), 512)


@pytest.mark.parametrize("max_length", [8, 20, 128])
def test_byte_level_tokenizers_pack_whole_words(max_length: int) -> None:
    extremes = select_extremes(load_norms(two_word=True), 400, rng=0)
    lists = [extremes.concrete["word"].tolist(), extremes.abstract["word"].tolist()]
    tokenizer = byte_level_tokenizer([*lists[0], *lists[1]])
    assert any(len(tokenizer.encode_words([word]).token_ids) - 2 > tokenizer.pieces(word) for word in lists[0])
    packings = pack_parallel(lists, tokenizer.encode_words, max_length)
    for packing in packings:
        for sequence in packing.sequences:
            assert tokenizer.encode_words(sequence.words).token_ids == sequence.token_ids
            assert len(sequence.token_ids) <= max_length
            assert set(sequence.word_index) == {-1, *range(len(sequence.words))}
        n_packed = sum(len(sequence.words) for sequence in packing.sequences)
        assert n_packed + len(packing.tail.words if packing.tail else ()) + len(packing.too_long) == 400
