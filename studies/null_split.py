"""Random halves of one pool of words: a control in which there is nothing to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.covariates import word_covariates
from metastable.material.norms import NORMS_OPTIONS, norms_of
from metastable.material.word_lists import PACKINGS, Packed, in_packings, units_of_words, word_sequences
from metastable.study import Claim, Condition, Material, Option, Options, Sequence, Study
from metastable.study.options import natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Draw 2 k words at random, split them at random, and pack each half."""
    norms = norms_of(options)
    k, pool = options.own["k"], norms.table["word"].tolist()
    if 2 * k > len(pool):
        raise InputError(f"--k {k}: the norms hold {len(pool):,} words, enough for two halves of {len(pool) // 2:,}")
    rng, packings = np.random.default_rng([options.seed, 2]), options.own["packings"]
    draw = rng.permutation(len(pool))[: 2 * k]
    halves = [[pool[index] for index in half] for half in (draw[:k], draw[k:])]

    def pack() -> Packed:
        sequences: list[Sequence] = []
        notes: list[str] = []
        for condition, words in zip(STUDY.conditions, halves, strict=True):
            packed, told = word_sequences(
                words, condition.name, tokenizer, options.own["max_length"], language=norms.language
            )
            sequences.extend(packed)
            notes.extend(told)
            # the draw is an order as random as any; further packings need one of their own
            words[:] = [words[index] for index in rng.permutation(len(words))]
        return tuple(sequences), tuple(notes)

    sequences, notes = in_packings(packings, pack)
    units: tuple[Sequence, ...] = ()
    if packings > 1:
        words = [word for half in halves for word in half]
        units = units_of_words(sequences, word_covariates(words, tokenizer.count_pieces, language=norms.language))
    return Material(
        sequences,
        (*norms.notes, *notes),
        {"norms": norms.source, "norms SHA-256": norms.sha256},
        of_words=True,
        packings=packings,
        units=units,
    )


STUDY = Study(
    name="null_split",
    title="Control: random halves of one pool of words",
    question="Does the pipeline find a difference where there is none?",
    conditions=(
        Condition("first", "sequences of a random half of the words"),
        Condition("second", "sequences of the other half"),
    ),
    build=build,
    options=(
        Option("k", natural, 1500, "how many words of each half"),
        Option("max_length", natural, 20, "most tokens of a sequence, special ones included"),
        PACKINGS,
        *NORMS_OPTIONS,
    ),
    claims=(Claim(statement="no head differs", expects_difference=False),),
    caveat=(
        "this is a control: the halves are random, so every head called different is a false positive, and one run in "
        "twenty is expected to have some."
    ),
)
