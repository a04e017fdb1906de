"""Questions with their answers become sequences."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING, Any

from metastable.material.covariates import bare_word
from metastable.study import Sequence

if TYPE_CHECKING:
    from metastable.models.encoders import Encoded, Tokenizer

__all__ = ["answer_first", "cut", "followed_by_pool", "text_covariates"]


def cut(encoded: Encoded, max_length: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]:
    """Cut a tokenized text to a number of tokens, keeping the special tokens at its end.

    Parameters
    ----------
    encoded : Encoded
        The text.
    max_length : int
        The most tokens, special ones included.

    Returns
    -------
    token_ids, word_index, segment_ids : tuple of int
    shortened : bool
        Whether anything was cut.
    """
    surplus = len(encoded.token_ids) - max_length
    if surplus <= 0:
        return encoded.token_ids, encoded.word_index, encoded.segment_ids, False
    n_end = 0
    while n_end < len(encoded.word_index) and encoded.word_index[-1 - n_end] < 0:
        n_end += 1
    stop = len(encoded.token_ids) - n_end
    kept = [*range(stop - surplus), *range(stop, stop + n_end)]

    def take(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(values[index] for index in kept) if values else ()

    return take(encoded.token_ids), take(encoded.word_index), take(encoded.segment_ids), True


def text_covariates(words: SequenceOf[str], answer: str, n_tokens: int, tokenizer: Tokenizer) -> dict[str, float]:
    """Describe a question with its answer: lengths, word pieces, and frequencies.

    Parameters
    ----------
    words : sequence of str
        All words of the sequence.
    answer : str
        The answer.
    n_tokens : int
        Tokens, special ones included.
    tokenizer : Tokenizer

    Returns
    -------
    dict of str to float
    """
    from wordfreq import zipf_frequency

    bare = [word for word in map(bare_word, words) if word]
    pieces = tokenizer.count_pieces(bare)
    frequencies = [zipf_frequency(word, "en") for word in bare]
    return {
        "tokens": float(n_tokens),
        "words": float(len(words)),
        "word_pieces": sum(pieces) / max(1, len(pieces)),
        "zipf": sum(frequencies) / max(1, len(frequencies)),
        "answer_pieces": float(tokenizer.count_pieces([answer])[0]),
        "answer_characters": float(len(answer)),
        "answer_zipf": zipf_frequency(answer, "en"),
    }


def answer_first(
    row: dict[str, Any],
    identifier: str,
    condition: str,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    segments: bool,
) -> tuple[Sequence, bool]:
    """Put a question's correct answer before it.

    Parameters
    ----------
    row : dict
        A row of `metastable.material.corpora.rate_answers`: ``answer``, ``question``, ``entry``, ``clip``.
    identifier, condition : str
        Of the sequence.
    tokenizer : Tokenizer
    max_length : int
        The most tokens, special ones included.
    segments : bool
        Whether answer and question go into the model's two segments, instead of one text.

    Returns
    -------
    sequence : Sequence
        Its cluster is the answer, its context the clip.
    shortened : bool
        Whether it was cut.
    """
    answer, question = row["answer"].split(), row["question"].split()
    encoded = tokenizer.encode_words(answer, question) if segments else tokenizer.encode_words([*answer, *question])
    token_ids, word_index, segment_ids, shortened = cut(encoded, max_length)
    words = tuple([*answer, *question][: max(word_index) + 1])
    return (
        Sequence(
            identifier=identifier,
            condition=condition,
            words=words,
            text=" ".join(words),
            token_ids=token_ids,
            word_index=word_index,
            segment_ids=segment_ids,
            cluster=row["entry"],
            context=row["clip"],
            target=tuple(range(len(answer))),
            covariates=text_covariates(words, row["entry"], len(token_ids), tokenizer),
        ),
        shortened,
    )


def followed_by_pool(
    row: dict[str, Any],
    pool: SequenceOf[str],
    identifier: str,
    condition: str,
    level: str,
    tokenizer: Tokenizer,
    max_length: int,
) -> tuple[Sequence, bool]:
    """Put answers of a pool behind a question.

    Parameters
    ----------
    row : dict
        A row of `metastable.material.corpora.rate_answers`.
    pool : sequence of str
        The answers, in order.
    identifier, condition, level : str
        Of the sequence; the level names the pool.
    tokenizer : Tokenizer
    max_length : int
        The most tokens, special ones included.

    Returns
    -------
    sequence : Sequence
        Its unit is the question's correct answer, its context the clip.
    shortened : bool
        Whether it was cut.
    """
    question, answers = row["question"].split(), [word for answer in pool for word in answer.split()]
    encoded = tokenizer.encode_words([*question, *answers])
    token_ids, word_index, segment_ids, shortened = cut(encoded, max_length)
    words = tuple([*question, *answers][: max(word_index) + 1])
    return (
        Sequence(
            identifier=identifier,
            condition=condition,
            words=words,
            text=" ".join(words),
            token_ids=token_ids,
            word_index=word_index,
            segment_ids=segment_ids,
            pair=row["entry"],
            level=level,
            context=row["clip"],
            target=tuple(range(len(question), len(words))),
            covariates=text_covariates(words, row["entry"], len(token_ids), tokenizer),
        ),
        shortened,
    )
