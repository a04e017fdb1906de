"""A list of words becomes the sequences of one condition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from typing import TYPE_CHECKING

from metastable.errors import InputError
from metastable.material.covariates import sequence_covariates, word_covariates
from metastable.material.packing import pack_words
from metastable.study import Option, Sequence
from metastable.study.options import natural

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Tokenizer

__all__ = ["PACKINGS", "check_length", "in_packings", "rated", "repeated_sequences", "units_of_words", "word_sequences"]

PACKINGS = Option(
    "packings",
    natural,
    1,
    "read the words in so many random packings: the word is then the unit, with its mean over them, and no longer the "
    "sequence (1: one packing)",
)
"""The option of a study that packs words in random order."""

Packed = tuple[tuple[Sequence, ...], tuple[str, ...]]
"""Sequences of one packing, and what a reader must know of it."""


def check_length(max_length: int, tokenizer: Tokenizer) -> None:
    """Refuse a length that the model cannot read.

    Raises
    ------
    InputError
        Naming the option and the model's limit.
    """
    if max_length > tokenizer.max_length:
        raise InputError(
            f"--max-length {max_length}: {tokenizer.model_id} reads at most {tokenizer.max_length} tokens; "
            f"give that or less{tokenizer.read_more}"
        )


def word_sequences(
    words: SequenceOf[str],
    condition: str,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    ratings: SequenceOf[float] | None = None,
    cluster: str | None = None,
    language: str = "en",
) -> tuple[tuple[Sequence, ...], tuple[str, ...]]:
    """Pack words into sequences of one condition, with their covariates.

    Parameters
    ----------
    words : sequence of str
        In the order in which they are read.
    condition : str
        Name of the condition.
    tokenizer : Tokenizer
        The model's.
    max_length : int
        The most tokens of a sequence, special ones included.
    ratings : sequence of float, optional
        A rating of each word; its mean over a sequence becomes the covariate ``rating``.
    cluster : str, optional
        What all these sequences are draws of.
    language : str
        Code of the words' language, for their frequencies.

    Returns
    -------
    sequences : tuple of Sequence
    notes : tuple of str
        Words left out and the leftover tail.

    Raises
    ------
    InputError
        If the length is too short for one word, too long for the model, or not filled by the words.
    """
    check_length(max_length, tokenizer)
    packing = pack_words(words, tokenizer.encode_words, max_length, count_tokens=tokenizer.count_tokens)
    table = word_covariates(list(dict.fromkeys(words)), tokenizer.count_pieces, language=language)
    if ratings is not None:
        table = rated(table, words, ratings)
    digits = max(4, len(str(len(packing.sequences))))
    sequences = tuple(
        Sequence(
            identifier=f"{condition}-{number:0{digits}d}",
            condition=condition,
            words=packed.words,
            text=packed.text,
            token_ids=packed.token_ids,
            word_index=packed.word_index,
            segment_ids=packed.segment_ids,
            cluster=cluster,
            covariates=sequence_covariates(packed.words, len(packed.token_ids), table),
        )
        for number, packed in enumerate(packing.sequences, start=1)
    )
    return sequences, tuple(f"{condition}: {note}" for note in packing.notes)


def rated(table: pd.DataFrame, words: SequenceOf[str], ratings: SequenceOf[float]) -> pd.DataFrame:
    """Return a table of words with the column ``rating``."""
    import pandas as pd

    return table.join(pd.Series(list(ratings), index=list(words), name="rating"))


def in_packings(n: int, pack: Callable[[], Packed]) -> Packed:
    """Pack the same words several times, each time in another order.

    Parameters
    ----------
    n : int
        How many packings; of one alone the sequences and notes stay as they are.
    pack : callable
        ``pack()`` shuffles the words anew and returns the sequences of all conditions with their notes.

    Returns
    -------
    sequences : tuple of Sequence
        Those of the first packing, then of the second, each with its `packing`, which its identifier and its pair begin
        with.
    notes : tuple of str
        Those that every packing has, and how many words were not read in every packing.
    """
    packings = [pack() for _ in range(n)]
    if n == 1:
        return packings[0]
    digits = len(str(n))
    sequences = []
    for number, (packed, _) in enumerate(packings, start=1):
        label = f"p{number:0{digits}d}"
        sequences += [
            replace(
                one,
                identifier=f"{label}-{one.identifier}",
                pair=None if one.pair is None else f"{label}-{one.pair}",
                packing=str(number),
            )
            for one in packed
        ]
    everywhere = [note for note in packings[0][1] if all(note in notes for _, notes in packings)]
    return tuple(sequences), (*everywhere, *_partly_read(sequences, n))


def _partly_read(sequences: SequenceOf[Sequence], n: int) -> Iterable[str]:
    """Say of each condition how many words some packings left over at their end."""
    for condition in dict.fromkeys(one.condition for one in sequences):
        times = Counter(word for one in sequences if one.condition == condition for word in set(one.words))
        fewer = sum(count < n for count in times.values())
        if fewer:
            yield (
                f"{condition}: the last words of a packing that did not fill a sequence are left out of it, so that "
                f"{fewer:,} of {len(times):,} words were read in fewer than {n} packings"
            )


def units_of_words(
    sequences: SequenceOf[Sequence], table: pd.DataFrame, pairs: SequenceOf[tuple[str, str]] = ()
) -> tuple[Sequence, ...]:
    """Make the units of inference where words are read in several packings: each word that was read, once.

    Parameters
    ----------
    sequences : sequence of Sequence
        Of all packings.
    table : pandas.DataFrame
        Covariates of each word, as `metastable.material.covariates.word_covariates` returns them.
    pairs : sequence of (str, str)
        In a paired design the words of the first and of the second condition that are partners.

    Returns
    -------
    tuple of Sequence
        Condition by condition, in the order in which the words first occur; `Material.units` takes them.

    Raises
    ------
    InputError
        If a condition has a word twice in one packing: a word is one unit.
    """
    number = {word: index for index, pair in enumerate(pairs, start=1) for word in pair}
    digits = max(4, len(str(len(pairs))))
    names = [str(name) for name in table.columns]
    rows = dict(zip(table.index, table.to_numpy(dtype="float64").tolist(), strict=True))
    units = []
    for condition in dict.fromkeys(one.condition for one in sequences):
        mine = [one for one in sequences if one.condition == condition]
        first = Counter(word for one in mine if one.packing == mine[0].packing for word in one.words)
        word, times = max(first.items(), key=lambda item: item[1])
        if times > 1:
            raise InputError(
                f"--packings: the word {word!r} stands {times} times in the list of {condition} words, and a word is "
                "one unit; give each word once"
            )
        units += [
            Sequence(
                identifier=f"{condition}: {word}",
                condition=condition,
                words=(word,),
                text=word,
                token_ids=(),
                word_index=(),
                pair=f"{number[word]:0{digits}d}" if pairs else None,
                covariates=dict(zip(names, rows[word], strict=True)),
            )
            for word in dict.fromkeys(word for one in mine for word in one.words)
        ]
    return tuple(units)


def repeated_sequences(
    words: SequenceOf[str], condition: str, tokenizer: Tokenizer, max_length: int, *, language: str = "en"
) -> tuple[tuple[Sequence, ...], tuple[str, ...]]:
    """Make one sequence of each word: the word repeated as often as it fits.

    Parameters
    ----------
    words, condition, tokenizer, max_length, language
        As for `word_sequences`.

    Returns
    -------
    sequences : tuple of Sequence
    notes : tuple of str
        Words left out because they do not fit twice.
    """
    check_length(max_length, tokenizer)
    table = word_covariates(list(dict.fromkeys(words)), tokenizer.count_pieces, language=language)
    sequences: list[Sequence] = []
    left_out: list[str] = []
    digits = max(4, len(str(len(words))))
    for word, pieces in zip(words, tokenizer.count_pieces(list(words)), strict=True):
        times = (max_length - tokenizer.n_special) // max(1, pieces)
        encoded = tokenizer.encode_words([word] * times)
        while len(encoded.token_ids) > max_length and times > 1:
            times -= 1
            encoded = tokenizer.encode_words([word] * times)
        if times < 2:
            left_out.append(word)
            continue
        sequences.append(
            Sequence(
                identifier=f"{condition}-{len(sequences) + 1:0{digits}d}",
                condition=condition,
                words=(word,) * times,
                text=encoded.text,
                token_ids=encoded.token_ids,
                word_index=encoded.word_index,
                segment_ids=encoded.segment_ids,
                covariates=sequence_covariates((word,) * times, len(encoded.token_ids), table),
            )
        )
    notes = (f"{condition}: left out because they do not fit twice: {', '.join(left_out)}",) if left_out else ()
    return tuple(sequences), notes
