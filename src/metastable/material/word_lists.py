"""A list of words becomes the sequences of one condition."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING

from metastable.errors import InputError
from metastable.material.covariates import sequence_covariates, word_covariates
from metastable.material.packing import pack_words
from metastable.study import Sequence

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["check_length", "repeated_sequences", "word_sequences"]


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
        import pandas as pd

        table = table.join(pd.Series(list(ratings), index=list(words), name="rating"))
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
