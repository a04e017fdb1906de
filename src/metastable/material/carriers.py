"""Carrier sentences: the two words of a pair read in the same place of the same sentence."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import TYPE_CHECKING

from metastable.errors import InputError
from metastable.study import Sequence

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Encoded, Tokenizer

__all__ = ["CARRIERS", "SLOT", "carried_sequences", "load_carriers", "split_carrier"]

SLOT = "{word}"
"""Where the word goes in a carrier sentence."""

CARRIERS = (
    # the noun as subject, early
    "The {word} was not what we had expected.",
    "The {word} surprised everyone who was there.",
    "The {word} has changed a great deal since then.",
    "This {word} means more to her than she admits.",
    "Their {word} became famous within a few years.",
    "The {word} that he described sounded strange to me.",
    # as subject, later
    "By the next morning the {word} had been forgotten.",
    "In the end the {word} made all the difference.",
    "I am not sure that the {word} matters here.",
    "When the {word} was gone, she felt relieved.",
    "If the {word} disappears we will all notice.",
    "What the {word} needs is more attention.",
    "It was the {word} that we missed most.",
    "Few things are as important to him as the {word} is.",
    # as object
    "Most people ignored the {word} at first.",
    "She could not describe the {word} to her brother.",
    "He pictured the {word} in great detail.",
    "We discussed the {word} over dinner.",
    "I have never understood the {word} in that story.",
    "You should remember the {word} when you write to them.",
    "Nobody mentioned the {word} at the meeting.",
    "They kept the {word} for themselves.",
    "My sister lost the {word} many years ago.",
    "Did anyone notice the {word} before today?",
    # after a preposition, in the middle
    "I thought about the {word} again.",
    "They talked about the {word} for an hour.",
    "She wrote a few lines about the {word} yesterday.",
    "He asked us about the {word} on the phone.",
    "The old man looked for the {word} everywhere.",
    "The children laughed at the {word} and went on.",
    "The story of the {word} was told many times.",
    "A song about the {word} played on the radio.",
    "The book begins with the {word} and ends without it.",
    # after a preposition, early
    "Without the {word} we would never have finished.",
    "Because of the {word} the whole plan failed.",
    "Despite the {word} nobody felt at ease.",
    # late in the sentence
    "For most of us everything depends on the {word} now.",
    "There was something odd about the {word} after all.",
    "The critics praised every part of it except the {word} itself.",
    "What I liked best that evening was the {word} they gave us.",
)
"""The built-in sentences: each takes any singular noun, countable or not, concrete or abstract.

The noun is subject, object or behind a preposition, early or late; a word follows it in all of them, so that a causal
model has someone to look back at it.
"""


def split_carrier(carrier: str, word: str) -> tuple[tuple[str, ...], int]:
    """Put a word into a carrier sentence.

    Parameters
    ----------
    carrier : str
        A sentence with one `SLOT`.
    word : str
        What goes there.

    Returns
    -------
    words : tuple of str
        The words of the sentence; punctuation that touches the slot is a word of its own.
    position : int
        Which of them is `word`.

    Examples
    --------
    >>> split_carrier("Is it the {word}?", "dog")
    (('Is', 'it', 'the', 'dog', '?'), 3)
    """
    before, after = carrier.split(SLOT)
    first, last = before.split(), after.split()
    return (*first, word, *last), len(first)


def load_carriers(path: str | Path | None = None) -> tuple[str, ...]:
    """Load carrier sentences.

    Parameters
    ----------
    path : str or Path, optional
        A text file in UTF-8, one sentence a line with ``{word}`` where the word goes; empty lines and lines
        that begin with ``#`` are passed over. By default the built-in `CARRIERS`.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If the file cannot be read or holds no sentence, or a line has no ``{word}``, several, one within a
        word, or stands there twice.
    """
    if path is None:
        return CARRIERS
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--carriers {path}: the file cannot be read as text in UTF-8 ({error})") from error
    carriers: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        text = " ".join(line.split())
        if not text or text.startswith("#"):
            continue
        where = f"{path.name}, line {number}"
        if text.count(SLOT) != 1:
            raise InputError(f"{where}: {text.count(SLOT)} times {SLOT}; write it once, where the word goes")
        before, after = text.split(SLOT)
        if before[-1:].isalnum() or after[:1].isalnum():
            raise InputError(f"{where}: {SLOT} touches a letter; set it apart by spaces or punctuation")
        if text in carriers:
            raise InputError(f"{where}: the sentence is in line {carriers[text]} already; delete one of them")
        carriers[text] = number
    if not carriers:
        raise InputError(f"--carriers {path}: the file holds no sentence; give one a line, with {SLOT} in each")
    return tuple(carriers)


def carried_sequences(
    pairs: SequenceOf[tuple[str, str]],
    conditions: tuple[str, str],
    carriers: SequenceOf[str],
    table: pd.DataFrame,
    tokenizer: Tokenizer,
) -> tuple[tuple[Sequence, ...], tuple[str, ...]]:
    """Put both words of each pair into every carrier sentence.

    Parameters
    ----------
    pairs : sequence of pair of str
        A word of the first and one of the second condition.
    conditions : pair of str
        Their names.
    carriers : sequence of str
        The sentences.
    table : pandas.DataFrame
        Numbers of each word, which become covariates; the word as index.
    tokenizer : Tokenizer

    Returns
    -------
    sequences : tuple of Sequence
        `Sequence.pair` is the word pair, `Sequence.context` the carrier, `Sequence.target` the word.
    notes : tuple of str
        Pairs left out because their words are not equally many tokens in a carrier.

    Raises
    ------
    InputError
        If a sentence is longer than the model reads, or no pair is left.
    """
    rows = {str(word): {str(k): float(v) for k, v in row.items()} for word, row in table.to_dict("index").items()}
    sequences: tuple[list[Sequence], list[Sequence]] = ([], [])
    left_out: list[str] = []
    for number, pair in enumerate(pairs, start=1):
        read = [[_read(carrier, word, tokenizer) for carrier in carriers] for word in pair]
        # all else is equal only where both words are equally many tokens, in this place of this sentence
        if any(a.word_index != b.word_index for (a, *_), (b, *_) in zip(*read, strict=True)):
            left_out.append(" and ".join(pair))
            continue
        for word, sentences, condition, mine in zip(pair, read, conditions, sequences, strict=True):
            for place, (encoded, words, position) in enumerate(sentences, start=1):
                mine.append(
                    Sequence(
                        identifier=f"{condition}-{number:04d}-{place}",
                        condition=condition,
                        words=words,
                        text=encoded.text,
                        token_ids=encoded.token_ids,
                        word_index=encoded.word_index,
                        segment_ids=encoded.segment_ids,
                        pair="/".join(pair),
                        context=carriers[place - 1],
                        target=(position,),
                        covariates=rows[word],
                    )
                )
    if not sequences[0]:
        raise InputError("no pair has words of equally many tokens in every carrier sentence; give other sentences")
    notes = (
        (f"{len(left_out):,} pairs left out, not equally many tokens in a carrier: {', '.join(left_out[:10])}",)
        if left_out
        else ()
    )
    return (*sequences[0], *sequences[1]), notes


def _read(carrier: str, word: str, tokenizer: Tokenizer) -> tuple[Encoded, tuple[str, ...], int]:
    words, position = split_carrier(carrier, word)
    encoded = tokenizer.encode_words(words, text=carrier.replace(SLOT, word))
    if len(encoded.token_ids) > tokenizer.max_length:
        raise InputError(
            f"the carrier {carrier[:60]!r} is {len(encoded.token_ids)} tokens long with {word!r} and "
            f"{tokenizer.model_id} reads at most {tokenizer.max_length}; shorten it{tokenizer.read_more}"
        )
    return encoded, words, position
