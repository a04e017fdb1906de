"""Matched concrete and abstract nouns, both of a pair in the same carrier sentences, over pairs and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.material.carriers import carried_sequences, load_carriers
from metastable.material.matched_words import matching_options, select_matched_words
from metastable.study import Claim, Condition, Design, Material, Option, Options, Study, View
from metastable.study.options import existing_file, natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Match the words, and put both of each pair into every sentence."""
    words = select_matched_words(options, tokenizer)
    pairs, notes = words.pairs, list(words.notes)
    carriers = load_carriers(options.own["carriers"])
    if options.own["pairs"] < len(pairs):
        drawn = np.random.default_rng([options.seed, 6]).permutation(len(pairs))[: options.own["pairs"]]
        pairs = [pairs[index] for index in sorted(drawn)]
        notes.append(f"{len(pairs):,} of the {len(words.pairs):,} pairs were drawn at random with the seed")
    concrete, abstract = STUDY.conditions
    sequences, left_out = carried_sequences(pairs, (concrete.name, abstract.name), carriers, words.table, tokenizer)
    notes.extend(left_out)
    notes.append(
        f"{len(carriers)} carrier sentences, the same for both words of every pair; pairs and sentences are draws: "
        + " ".join(carriers)
    )
    return Material(
        sequences,
        tuple(notes),
        {**words.sources, "carriers": str(options.own["carriers"] or "built in")},
        matched=(words.matching.balance_before, words.matching.balance_after),
    )


STUDY = Study(
    name="carrier_pairs",
    title="Matched concrete and abstract nouns in the same sentences",
    question="Does attention differ when one noun of a sentence is concrete instead of abstract, and otherwise alike?",
    conditions=(
        Condition("concrete", "carrier sentences with the concrete noun of each pair"),
        Condition("abstract", "the same sentences with its abstract partner"),
    ),
    build=build,
    design=Design(paired=True, unit="word pair", context="carrier"),
    options=(
        *matching_options(characters=0.0, pieces=1, part_of_speech="noun"),
        # All 476 pairs would take three times as long to read in 40 sentences, and narrow the intervals, which are over
        # sentences too, by less than a fifth.
        Option("pairs", natural, 200, "at most so many pairs, drawn at random; each is read in every sentence"),
        Option("carriers", existing_file, None,
               "your own carrier sentences: a text file, one a line, with {word} (none: 40 built in)"),
    ),
    views=(
        View("word_as_query", "how widely the word itself looks", targets_query=True),
        View("word_as_key", "how much attention the other tokens pay to the word", measure="target_mass"),
    ),
    claims=(
        Claim(statement="some heads differ between the two sentences of a pair, in either direction"),
        Claim("word_as_query", statement="some heads differ in how widely the word itself looks"),
        Claim(
            "word_as_key",
            measure="target_mass",
            statement="some heads differ in how much attention the other tokens pay to the word",
        ),
    ),
    caveat=(
        "one word of each sentence differs, and its partner is alike in word pieces, length, frequency and part of "
        "speech only: number of meanings, age of acquisition and how well a noun fits the sentence still differ, and "
        "the sentences are plain English ones that any noun fits, written for this study. With thousands of sentences "
        "even slight differences are significant: sizes and intervals say more than the number of significant heads."
    ),
)  # fmt: skip
