"""Running text cut into stretches of exactly so many tokens."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.covariates import sequence_covariates, word_covariates
from metastable.study import Sequence

if TYPE_CHECKING:
    from metastable.models.encoders import Encoded, Tokenizer

__all__ = ["cut_stretches", "may_fill", "read_words", "stretch_sequences"]

# No tokenizer of a single text adds more special tokens.
_MOST_SPECIAL = 4


def read_words(path: str | Path) -> tuple[str, ...]:
    """Read the words of a plain text file: what white space separates.

    Parameters
    ----------
    path : str or Path
        A text file in UTF-8.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If the file cannot be read, is not text in UTF-8, or holds no word.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not plain text in UTF-8 (byte {error.start + 1}); save it as such, without formatting"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give a file that you may read") from None
    if "\x00" in text:
        raise InputError(f"{path.name} is not plain text: it holds a zero byte; save it as text in UTF-8")
    words = tuple(text.split())
    if not words:
        raise InputError(f"{path.name} holds no word; give a file with text")
    return words


def may_fill(words: SequenceOf[str], length: int, n_stretches: int) -> bool:
    """Tell whether words may fill so many stretches, before any tokenizer has seen them.

    No tokenizer makes more tokens of a word than the word has bytes, and one for the space before it.

    Examples
    --------
    >>> may_fill(["word"] * 10, length=512, n_stretches=1)
    False
    """
    most_tokens = sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in words)
    return most_tokens >= n_stretches * (length - _MOST_SPECIAL)


def cut_stretches(words: SequenceOf[str], tokenizer: Tokenizer, length: int) -> list[tuple[tuple[str, ...], Encoded]]:
    """Cut running text into stretches of whole words that have exactly so many tokens.

    The words of a stretch stand in the text one behind the other. Where no number of words from a place on makes
    exactly `length` tokens, the stretch begins a word later; the words before it are left out.

    Parameters
    ----------
    words : sequence of str
        In reading order.
    tokenizer : Tokenizer
        The model's.
    length : int
        Tokens of a stretch, special ones included.

    Returns
    -------
    list of (tuple of str, Encoded)
        The words of each stretch and what the tokenizer makes of them, joined by one space.

    Raises
    ------
    InputError
        If the special tokens leave no room for text.
    """
    room = length - tokenizer.n_special
    if room < 1:
        raise InputError(
            f"a length of {length} tokens: {tokenizer.model_id} adds {tokenizer.n_special} special tokens, which "
            f"leaves no room for text; give {tokenizer.n_special + 1} or more"
        )
    distinct = list(dict.fromkeys(words))
    pieces = dict(zip(distinct, tokenizer.count_pieces(distinct), strict=True))
    ends = np.concatenate([[0], np.cumsum([pieces[word] for word in words], dtype=np.int64)])
    stretches = []
    start = 0
    while start < len(words) and ends[-1] - ends[start] >= room:
        stop = int(np.searchsorted(ends, ends[start] + room))
        if ends[stop] - ends[start] == room:
            chosen = tuple(words[start:stop])
            encoded = tokenizer.encode_words(chosen)
            # the first word of a text may be written in other pieces than behind a space
            if len(encoded.token_ids) == length:
                stretches.append((chosen, encoded))
                start = stop
                continue
        start += 1
    return stretches


def stretch_sequences(
    stretches: SequenceOf[tuple[tuple[str, ...], Encoded]], condition: str, tokenizer: Tokenizer, *, most: int
) -> tuple[Sequence, ...]:
    """Make sequences of stretches of text, with their covariates.

    Parameters
    ----------
    stretches : sequence of (tuple of str, Encoded)
        As `cut_stretches` returns them.
    condition : str
        Name of the condition.
    tokenizer : Tokenizer
        The model's.
    most : int
        The most sequences; of more stretches so many are taken, evenly over the text.

    Returns
    -------
    tuple of Sequence
    """
    places = np.unique(np.linspace(0, len(stretches) - 1, min(most, len(stretches))).round().astype(int))
    chosen = [stretches[place] for place in places]
    table = word_covariates(list(dict.fromkeys(word for words, _ in chosen for word in words)), tokenizer.count_pieces)
    return tuple(
        Sequence(
            identifier=f"{condition}-{number:04d}",
            condition=condition,
            words=words,
            text=encoded.text,
            token_ids=encoded.token_ids,
            word_index=encoded.word_index,
            segment_ids=encoded.segment_ids,
            covariates=sequence_covariates(words, len(encoded.token_ids), table),
        )
        for number, (words, encoded) in enumerate(chosen, start=1)
    )
