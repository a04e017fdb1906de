"""Concrete and abstract words matched pair by pair: the options, the pairs, and sequences made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.covariates import LANGUAGE, lacking_note, sequence_covariates, word_covariates
from metastable.material.norms import NORMS_OPTIONS, norms_of, select_by_rating
from metastable.material.packing import pack_parallel
from metastable.material.pairing import Matching, match_words
from metastable.material.parts_of_speech import LEXICON, parts_of_speech
from metastable.material.word_lists import check_length
from metastable.study import Option, Options, Sequence
from metastable.study.options import natural, share

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Tokenizer

__all__ = ["MatchedWords", "caliper", "matching_options", "paired_sequences", "select_matched_words"]


@dataclass(frozen=True)
class MatchedWords:
    """Pairs of one concrete and one abstract word.

    Attributes
    ----------
    matching : Matching
        The pairs, and the balance before and after.
    table : pandas.DataFrame
        ``characters``, ``word_pieces`` and ``zipf`` of every paired word; the word as index.
    notes : tuple of str
        What a reader must know of the choice.
    sources : mapping of str to str
        Ratings and lexicon, for the recipe.
    """

    matching: Matching
    table: pd.DataFrame
    notes: tuple[str, ...]
    sources: Mapping[str, str]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The concrete and the abstract word of each pair."""
        return list(zip(self.matching.pairs["a"], self.matching.pairs["b"], strict=True))


def caliper(text: str) -> float:
    """Parse a caliper: a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number") from None
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{text} is no caliper; give 0 (the same) or more")
    return value


def matching_options(*, characters: float, pieces: int | None, part_of_speech: str) -> tuple[Option, ...]:
    """Return the options that say which words are paired.

    Parameters
    ----------
    characters : float
        Default of ``--characters``.
    pieces : int or None
        Default of ``--pieces``.
    part_of_speech : str
        Default of ``--part-of-speech``.

    Returns
    -------
    tuple of Option
    """
    return (
        Option("high", share, 0.875, "words rated this or above (0..1) are concrete"),
        Option("low", share, 0.375, "words rated this or below (0..1) are abstract"),
        Option("characters", caliper, characters, "the most characters by which the words of a pair differ"),
        Option("zipf", caliper, 0.3, "the most by which their Zipf frequencies differ"),
        Option("pieces", natural, pieces,
               "word pieces of every word (none: any number, the same for the words of a pair)"),
        Option("part_of_speech", str, part_of_speech,
               "same: the words of a pair can be the same parts of speech; noun: words that are nouns and nothing else",
               choices=("same", "noun")),
        *NORMS_OPTIONS,
    )  # fmt: skip


def select_matched_words(options: Options, tokenizer: Tokenizer) -> MatchedWords:
    """Pair concrete with abstract words within the calipers.

    Parameters
    ----------
    options : Options
        Its own ones are those of `matching_options`.
    tokenizer : Tokenizer
        Its word pieces are matched.

    Returns
    -------
    MatchedWords

    Raises
    ------
    InputError
        If the ratings cannot be read, no word is so concrete or so abstract, or fewer than two pairs exist.
    """
    import pandas as pd

    own = options.own
    norms = norms_of(options)
    language = norms.language
    extremes = select_by_rating(norms, high=own["high"], low=own["low"])
    # the lexicon is of English
    has_parts = language == LANGUAGE.default
    sides = []
    for side, table in (("concrete", extremes.concrete), ("abstract", extremes.abstract)):
        words = table["word"].tolist()
        candidates = word_covariates(words, tokenizer.count_pieces, language=language)
        if has_parts:
            candidates = candidates.join(parts_of_speech(words))
        kept = candidates["word_pieces"] > 0
        if own["pieces"] is not None:
            kept &= candidates["word_pieces"] == own["pieces"]
        if has_parts and own["part_of_speech"] == "noun":
            kept &= candidates["part_of_speech"] == "NOUN"
        if not kept.any():
            raise InputError(
                f"none of the {len(words):,} {side} words has the word pieces and the part of speech asked for; "
                "leave --pieces or --part-of-speech out, or widen --high and --low"
            )
        sides.append(candidates[kept])
    matching = match_words(
        *sides,
        exact=("word_pieces", "part_of_speech") if has_parts else ("word_pieces",),
        calipers={name: own[name] for name in ("characters", "zipf") if name in sides[0].columns},
    )
    paired = pd.Index([*matching.pairs["a"], *matching.pairs["b"]])
    table = pd.concat(sides).loc[paired].drop(columns="part_of_speech", errors="ignore")
    kind = "words that are nouns and nothing else" if has_parts and own["part_of_speech"] == "noun" else "words"
    lowest, highest = norms.scale
    pieces = "" if own["pieces"] is None else f" of {own['pieces']} word piece{'s' * (own['pieces'] > 1)}"
    notes = (
        *norms.notes,
        *lacking_note(language, part_of_speech=True),
        f"candidates are {kind}{pieces}, concrete from {lowest + (highest - lowest) * own['high']:g} and abstract to "
        f"{lowest + (highest - lowest) * own['low']:g} on the scale of {lowest:g} to {highest:g}",
        *matching.notes,
        _letters_note(matching, own["characters"]),
    )
    return MatchedWords(
        matching,
        table,
        tuple(note for note in notes if note),
        {
            "norms": norms.source,
            "norms SHA-256": norms.sha256,
            **({"parts of speech": LEXICON} if has_parts else {}),
        },
    )


def _letters_note(matching: Matching, width: float) -> str:
    """Say what a wide caliper leaves: the direction of the difference within pairs is not the caliper's business."""
    if width == 0:
        return "the words of a pair have the same number of characters, so that word length is balanced exactly"
    after = matching.balance_after.set_index("covariate").loc["characters"]
    return (
        f"the caliper of {width:g} on characters bounds each pair's difference but not its direction: the words' mean "
        f"lengths still differ by {after['smd']:+.2f} standard deviations; --characters 0 balances them exactly, with "
        "fewer pairs"
    )


def paired_sequences(
    words: MatchedWords,
    conditions: tuple[str, str],
    tokenizer: Tokenizer,
    max_length: int,
    *,
    rng: np.random.Generator,
) -> tuple[tuple[Sequence, ...], tuple[str, ...]]:
    """Pack matched words so that the words of a pair stand in the same slot of two sequences.

    Parameters
    ----------
    words : MatchedWords
    conditions : pair of str
        Names of the concrete and the abstract condition.
    tokenizer : Tokenizer
    max_length : int
        The most tokens of a sequence, special ones included.
    rng : numpy.random.Generator
        Shuffles the pairs.

    Returns
    -------
    sequences : tuple of Sequence
        Those of the first condition, then those of the second; `Sequence.pair` joins them.
    notes : tuple of str
        Words left out and the leftover tail.

    Raises
    ------
    InputError
        If the length is too short for one word, too long for the model, or not filled by the words.
    """
    check_length(max_length, tokenizer)
    shuffled = [words.pairs[index] for index in rng.permutation(len(words.pairs))]
    packings = pack_parallel(
        list(zip(*shuffled, strict=True)), tokenizer.encode_words, max_length, count_tokens=tokenizer.count_tokens
    )
    digits = max(4, len(str(len(packings[0].sequences))))
    sequences = tuple(
        Sequence(
            identifier=f"{condition}-{number:0{digits}d}",
            condition=condition,
            words=packed.words,
            text=packed.text,
            token_ids=packed.token_ids,
            word_index=packed.word_index,
            segment_ids=packed.segment_ids,
            pair=f"{number:0{digits}d}",
            covariates=sequence_covariates(packed.words, len(packed.token_ids), words.table),
        )
        for condition, packing in zip(conditions, packings, strict=True)
        for number, packed in enumerate(packing.sequences, start=1)
    )
    notes = tuple(
        f"{condition}: {note}"
        for condition, packing in zip(conditions, packings, strict=True)
        for note in packing.notes
    )
    return sequences, notes
