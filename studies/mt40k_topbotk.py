"""The k most concrete against the k least concrete words of MT40k: the first founding study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.covariates import word_covariates
from metastable.material.norms import NORMS_OPTIONS, norms_of, select_extremes
from metastable.material.word_lists import PACKINGS, Packed, in_packings, units_of_words, word_sequences
from metastable.study import Claim, Condition, Material, Option, Options, Sequence, Study
from metastable.study.options import natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def check(options: Options) -> None:
    """Refuse several packings of words that are read in one order."""
    if options.own["packings"] > 1 and options.own["order"] != "shuffle":
        raise InputError(
            f"--packings {options.own['packings']} with --order {options.own['order']}: all packings would be the "
            "same; leave one of them out"
        )


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Take both ends of the list, shuffle each, and pack the words into sequences."""
    norms = norms_of(options, two_word=options.own["two_word"])
    extremes = select_extremes(norms, options.own["k"], rng=options.seed)
    shuffle = np.random.default_rng([options.seed, 1])
    lists = [table["word"].tolist() for table in (extremes.concrete, extremes.abstract)]

    def pack() -> Packed:
        sequences: list[Sequence] = []
        notes: list[str] = []
        for condition, words in zip(STUDY.conditions, lists, strict=True):
            if options.own["order"] == "shuffle":
                words = [words[index] for index in shuffle.permutation(len(words))]
            packed, told = word_sequences(
                words, condition.name, tokenizer, options.own["max_length"], language=norms.language
            )
            sequences.extend(packed)
            notes.extend(told)
        return tuple(sequences), tuple(notes)

    packings = options.own["packings"]
    sequences, notes = in_packings(packings, pack)
    units: tuple[Sequence, ...] = ()
    if packings > 1:
        words = [word for half in lists for word in half]
        units = units_of_words(sequences, word_covariates(words, tokenizer.count_pieces, language=norms.language))
    return Material(
        sequences,
        (*norms.notes, *extremes.notes, *notes),
        {"norms": norms.source, "norms SHA-256": norms.sha256},
        of_words=True,
        packings=packings,
        units=units,
    )


STUDY = Study(
    name="mt40k_topbotk",
    title="The most and the least concrete words of MT40k",
    question="Do attention heads spread wider over concrete or over abstract words?",
    conditions=(
        Condition("concrete", "sequences of the words with the highest concreteness ratings"),
        Condition("abstract", "sequences of the words with the lowest concreteness ratings"),
    ),
    build=build,
    check=check,
    # as the founding experiment had it
    measure="count",
    options=(
        Option("k", natural, 3000, "how many words of each end of the list"),
        Option("max_length", natural, 20, "most tokens of a sequence, special ones included"),
        PACKINGS,
        Option("order", str, "shuffle", "order of the words within a condition", choices=("shuffle", "rating")),
        *NORMS_OPTIONS,
        Option("two_word", bool, False, "keep entries of two words"),
    ),
    claims=(
        Claim(
            smallest_effect=0.2,
            statement="some heads differ between concrete and abstract words by more than a fifth of a standard "
            "deviation",
        ),
    ),
    caveat=(
        "the two ends of the list differ in more than concreteness (the least concrete words are longer, rarer and "
        "have more word pieces), so a difference here is not yet about concreteness."
    ),
)
