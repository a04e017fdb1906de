"""Concrete and abstract words of MT40k matched pair by pair in length, frequency, word pieces and part of speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.material.matched_words import matching_options, paired_sequences, select_matched_words
from metastable.material.word_lists import PACKINGS, in_packings, units_of_words
from metastable.study import Claim, Condition, Design, Material, Option, Options, Study
from metastable.study.options import natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Match the words, then pack both sides slot by slot."""
    words = select_matched_words(options, tokenizer)
    concrete, abstract = STUDY.conditions
    rng, packings = np.random.default_rng([options.seed, 5]), options.own["packings"]
    sequences, notes = in_packings(
        packings,
        lambda: paired_sequences(words, (concrete.name, abstract.name), tokenizer, options.own["max_length"], rng=rng),
    )
    return Material(
        sequences,
        (*words.notes, *notes),
        words.sources,
        matched=(words.matching.balance_before, words.matching.balance_after),
        of_words=True,
        packings=packings,
        units=units_of_words(sequences, words.table, words.pairs) if packings > 1 else (),
    )


STUDY = Study(
    name="mt40k_matched",
    title="Matched concrete and abstract words of MT40k",
    question="Do attention heads differ between concrete and abstract words that match in length, frequency and word "
    "pieces?",
    conditions=(
        Condition("concrete", "sequences of concrete words, each with its abstract partner in the same place"),
        Condition("abstract", "sequences of their abstract partners"),
    ),
    build=build,
    design=Design(paired=True, unit="sequence pair"),
    options=(
        Option("max_length", natural, 20, "most tokens of a sequence, special ones included"),
        PACKINGS,
        *matching_options(characters=0.0, pieces=None, part_of_speech="same"),
    ),
    claims=(
        Claim(
            smallest_effect=0.2,
            statement="some heads differ between matched concrete and abstract words by more than a fifth of a "
            "standard deviation",
        ),
    ),
    caveat=(
        "matching removes what it matches (characters, word pieces, Zipf frequency, part of speech), nothing else: "
        "concrete and abstract words also differ in age of acquisition, imageability, number of meanings, the texts "
        "they occur in, and morphology (many abstract words share endings such as -ness, -ity and -ism, whose pieces "
        "recur within a sequence). The paired abstract words are shorter and more frequent than abstract words are, so "
        "the result is about words of this kind."
    ),
)
