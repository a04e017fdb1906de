"""Words packed into sequences of a given number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError

__all__ = ["EncodedWords", "PackedSequence", "Packing", "pack_parallel", "pack_words"]

# Words tokenized in one call to learn how many pieces each has.
_BLOCK = 500


class EncodedWords(Protocol):
    """What the tokenizer returns for a list of words: `metastable.models.encoders.Encoded` is one."""

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
        Words of more pieces than a sequence holds; left out, as are their partners in a parallel list.
    unreadable : tuple of str
        Words of which the tokenizer makes no token at all; left out likewise.
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
    count_tokens: Callable[[Sequence[str]], Sequence[int]] | None = None,
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
    count_tokens : callable, optional
        Counts the tokens of each word as a text of its own, all at once, as `Tokenizer.count_tokens` does. Without it
        each word is encoded in a call of its own, which takes longer.

    Returns
    -------
    Packing

    Raises
    ------
    InputError
        If `max_length` is too short for any of the words, or if there are too few words to fill one
        sequence.
    """
    return pack_parallel([words], encode, max_length, keep_tail=keep_tail, count_tokens=count_tokens)[0]


def pack_parallel(
    lists: Sequence[Sequence[str]],
    encode: Callable[[Sequence[str]], EncodedWords],
    max_length: int,
    *,
    keep_tail: bool = False,
    count_tokens: Callable[[Sequence[str]], Sequence[int]] | None = None,
) -> tuple[Packing, ...]:
    """Pack lists of the same number of words slot by slot.

    Sequence i of each list holds the words of the same places in its list, so the words of a matched pair
    stand in the same slot of two sequences. A word left out of one list takes the words of its place in
    the other lists with it.

    Parameters
    ----------
    lists : sequence of sequence of str
        Lists of words in reading order, one a condition.
    encode, max_length, keep_tail, count_tokens
        As in `pack_words`; a sequence ends where the next word of any list does not fit.

    Returns
    -------
    tuple of Packing
        One per list, of as many sequences each.

    Raises
    ------
    InputError
        As `pack_words`; or if the lists differ in length.
    """
    n_words = len(lists[0])
    if any(len(words) != n_words for words in lists):
        raise InputError(
            f"lists of {', '.join(f'{len(words):,}' for words in lists)} words cannot be packed slot by slot; "
            "give lists of the same length"
        )
    n_special = len(encode(()).token_ids)
    n_pieces = np.stack([_count_pieces(words, encode) for words in lists])
    # Byte-level tokenizers write the first word of a text, without a space before it, in pieces of its own: a word has
    # to fit in both places.
    count = count_tokens or (lambda words: [len(encode([word]).token_ids) for word in words])
    alone = np.array([count(words) for words in lists]).reshape(n_pieces.shape)
    needed = np.maximum(alone, n_pieces + n_special).max(axis=0)
    unreadable = (n_pieces == 0).any(axis=0)
    too_long = (needed > max_length) & ~unreadable
    kept = np.flatnonzero(~too_long & ~unreadable)
    groups = _pack_greedily(
        [[words[int(i)] for i in kept] for words in lists], n_pieces[:, kept].max(axis=0), encode, max_length
    )
    if too_long.any() and not groups:
        raise InputError(
            f"the max length of {max_length} tokens is too short for one word with the {n_special} special tokens; "
            f"give {needed[~unreadable].min()} or more"
        )
    tail: Sequence[PackedSequence | None] = [None] * len(lists)
    if groups and not keep_tail and max(len(sequence.token_ids) for sequence in groups[-1]) < max_length:
        tail = groups.pop()
    if not groups:
        raise InputError(
            f"{_count_words(n_words)} do not fill one sequence of {max_length} tokens; give more words or a shorter "
            "max length"
        )
    return tuple(
        Packing(
            sequences=tuple(group[k] for group in groups),
            tail=tail[k],
            too_long=tuple(word for word, left_out in zip(words, too_long, strict=True) if left_out),
            unreadable=tuple(word for word, left_out in zip(words, unreadable, strict=True) if left_out),
        )
        for k, words in enumerate(lists)
    )


def _pack_greedily(
    lists: Sequence[Sequence[str]],
    n_pieces: NDArray[np.int64],
    encode: Callable[[Sequence[str]], EncodedWords],
    max_length: int,
) -> list[list[PackedSequence]]:
    """Sequences of the same places, one of each list; every word fits alone."""

    def read(start: int, stop: int) -> list[PackedSequence]:
        return [_read(words[start:stop], encode) for words in lists]

    def length(group: list[PackedSequence]) -> int:
        return max(len(sequence.token_ids) for sequence in group)

    n_words = len(lists[0])
    room = max_length - len(encode(()).token_ids)
    ends = np.cumsum(n_pieces)
    groups: list[list[PackedSequence]] = []
    start = 0
    while start < n_words:
        used = int(ends[start - 1]) if start else 0
        # A first guess by adding up; what the tokenizer makes of the whole text decides.
        stop = max(start + 1, int(np.searchsorted(ends, used + room, side="right")))
        best = read(start, stop)
        while length(best) > max_length:
            stop -= 1
            best = read(start, stop)
        while stop < n_words and length(best) < max_length:
            longer = read(start, stop + 1)
            if length(longer) > max_length:
                break
            best, stop = longer, stop + 1
        groups.append(best)
        start = stop
    return groups


def _read(words: Sequence[str], encode: Callable[[Sequence[str]], EncodedWords]) -> PackedSequence:
    encoded = encode(words)
    return PackedSequence(tuple(words), encoded.text, encoded.token_ids, encoded.word_index, encoded.segment_ids)


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
