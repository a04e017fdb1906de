"""Words packed into sequences of a given number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError

__all__ = ["EncodedWords", "PackedSequence", "Packing", "pack_words"]

# Words tokenized in one call to learn how many pieces each has.
_BLOCK = 500


class EncodedWords(Protocol):
    """What the tokenizer returns for a list of words: `metastable.encoders.Encoded` is one."""

    @property
    def text(self) -> str:
        """The words joined by one space."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All tokens, special ones included."""

    @property
    def word_index(self) -> tuple[int, ...]:
        """For each token the word that it is a piece of; -1 for a special token."""

    @property
    def segment_ids(self) -> tuple[int, ...]:
        """The segment of each token; empty where the model has none."""


@dataclass(frozen=True)
class PackedSequence:
    """Words that are read together.

    Attributes
    ----------
    words : tuple of str
        In reading order.
    text : str
        The words joined by one space; tokenizing it gives `token_ids`.
    token_ids : tuple of int
        All tokens, special ones included.
    word_index : tuple of int
        For each token the position in `words` of the word that it is a piece of; -1 for a special token.
    segment_ids : tuple of int
        The model's segment of each token; empty where it has none.
    """

    words: tuple[str, ...]
    text: str
    token_ids: tuple[int, ...]
    word_index: tuple[int, ...]
    segment_ids: tuple[int, ...]


@dataclass(frozen=True)
class Packing:
    """What became of a list of words.

    Attributes
    ----------
    sequences : tuple of PackedSequence
        The sequences, in the order of the words.
    tail : PackedSequence or None
        What was left over at the end of the list and does not fill a sequence, where it is left out.
    too_long : tuple of str
        Words of more pieces than a sequence holds; left out.
    unreadable : tuple of str
        Words of which the tokenizer makes no token at all; left out.
    """

    sequences: tuple[PackedSequence, ...]
    tail: PackedSequence | None = None
    too_long: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: the words left out."""
        notes = []
        if self.tail is not None:
            notes.append(
                f"the last {_count_words(len(self.tail.words))} ({len(self.tail.token_ids)} tokens) did not fill a "
                f"sequence and {'is' if len(self.tail.words) == 1 else 'are'} left out"
            )
        for words, reason in (
            (self.too_long, "longer than a sequence"),
            (self.unreadable, "of which the tokenizer makes no token"),
        ):
            if words:
                named = ", ".join(words[:10]) + (", ..." if len(words) > 10 else "")
                notes.append(f"{_count_words(len(words))} {reason} left out: {named}")
        return tuple(notes)


def pack_words(
    words: Sequence[str],
    encode: Callable[[Sequence[str]], EncodedWords],
    max_length: int,
    *,
    keep_tail: bool = False,
) -> Packing:
    """Pack words into sequences of at most `max_length` tokens, each as full as the next word allows.

    No word is split over two sequences. The last sequence, if the list ends before it has `max_length`
    tokens, is the tail: shorter than the others for no reason of its own, it is left out unless told.

    Parameters
    ----------
    words : sequence of str
        In reading order.
    encode : callable
        Tokenizes words joined by one space, as `Tokenizer.encode_words` does.
    max_length : int
        The most tokens of a sequence, special ones included.
    keep_tail : bool
        Whether the tail is kept as a sequence.

    Returns
    -------
    Packing

    Raises
    ------
    InputError
        If `max_length` is too short for any of the words, or if there are too few words to fill one
        sequence.
    """
    n_pieces = _count_pieces(words, encode)
    n_special = len(encode(()).token_ids)
    unreadable = n_pieces == 0
    # Byte-level tokenizers write the first word of a text, without a space before it, in pieces of its own: a word has
    # to fit in both places.
    alone = np.array([len(encode([word]).token_ids) for word in words], dtype=np.int64)
    too_long = np.maximum(alone, n_pieces + n_special) > max_length
    kept = np.flatnonzero(~too_long & ~unreadable)
    sequences = _pack_greedily([words[int(i)] for i in kept], n_pieces[kept], encode, max_length)
    if too_long.any() and not sequences:
        shortest = np.maximum(alone, n_pieces + n_special)[~unreadable].min()
        raise InputError(
            f"the max length of {max_length} tokens is too short for one word with the {n_special} special tokens; "
            f"give {shortest} or more"
        )
    tail = None
    if sequences and not keep_tail and len(sequences[-1].token_ids) < max_length:
        tail = sequences.pop()
    if not sequences:
        raise InputError(
            f"{_count_words(len(words))} do not fill one sequence of {max_length} tokens; give more words or a shorter "
            "max length"
        )
    return Packing(
        sequences=tuple(sequences),
        tail=tail,
        too_long=tuple(word for word, left_out in zip(words, too_long, strict=True) if left_out),
        unreadable=tuple(word for word, left_out in zip(words, unreadable, strict=True) if left_out),
    )


def _pack_greedily(
    words: Sequence[str],
    n_pieces: NDArray[np.int64],
    encode: Callable[[Sequence[str]], EncodedWords],
    max_length: int,
) -> list[PackedSequence]:
    n_special = len(encode(()).token_ids)
    ends = np.cumsum(n_pieces)
    sequences: list[PackedSequence] = []
    start = 0
    while start < len(words):
        used = int(ends[start - 1]) if start else 0
        # A first guess by adding up; what the tokenizer makes of the whole text decides.
        stop = max(start + 1, int(np.searchsorted(ends, used + max_length - n_special, side="right")))
        best = encode(words[start:stop])
        while len(best.token_ids) > max_length and stop > start + 1:
            stop -= 1
            best = encode(words[start:stop])
        while stop < len(words) and len(best.token_ids) < max_length:
            longer = encode(words[start : stop + 1])
            if len(longer.token_ids) > max_length:
                break
            best, stop = longer, stop + 1
        sequences.append(
            PackedSequence(tuple(words[start:stop]), best.text, best.token_ids, best.word_index, best.segment_ids)
        )
        start = stop
    return sequences


def _count_pieces(words: Sequence[str], encode: Callable[[Sequence[str]], EncodedWords]) -> NDArray[np.int64]:
    """Count the pieces of each word as it stands after another one."""
    counts = []
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK]
        word_index = np.asarray(encode([block[0], *block]).word_index, dtype=np.int64)
        counts.append(np.bincount(word_index[word_index > 0] - 1, minlength=len(block)))
    return np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)


def _count_words(count: int) -> str:
    return f"{count:,} word" if count == 1 else f"{count:,} words"
