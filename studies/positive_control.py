"""The same words, repeated against distinct: a control in which any working pipeline finds a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.norms import NORMS_OPTIONS, norms_of
from metastable.material.word_lists import repeated_sequences, word_sequences
from metastable.study import Claim, Condition, Material, Option, Options, Study
from metastable.study.options import natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Pack random words as they come, and repeat a random one of them for each sequence so made."""
    norms = norms_of(options)
    k, pool = options.own["k"], norms.table["word"].tolist()
    if k > len(pool):
        raise InputError(f"--k {k}: the norms hold {len(pool):,} words; give that or less")
    rng = np.random.default_rng([options.seed, 3])
    words = [pool[index] for index in rng.permutation(len(pool))[:k]]
    repeated, distinct = STUDY.conditions
    packed, notes = word_sequences(words, distinct.name, tokenizer, options.own["max_length"], language=norms.language)
    chosen = [words[index] for index in rng.permutation(len(words))[: len(packed)]]
    same, told = repeated_sequences(
        chosen, repeated.name, tokenizer, options.own["max_length"], language=norms.language
    )
    return Material(
        (*same, *packed),
        (*norms.notes, *told, *notes),
        {"norms": norms.source, "norms SHA-256": norms.sha256},
        of_words=True,
    )


STUDY = Study(
    name="positive_control",
    title="Control: repeated against distinct words",
    question="Does the pipeline find the difference between one word repeated and many distinct words?",
    conditions=(
        Condition("repeated", "each sequence is one word repeated"),
        Condition("distinct", "each sequence is made of distinct words, from the same pool"),
    ),
    build=build,
    options=(
        Option("k", natural, 600, "how many words"),
        Option("max_length", natural, 20, "most tokens of a sequence, special ones included"),
        *NORMS_OPTIONS,
    ),
    claims=(Claim(share=0.5, statement="most heads differ"),),
    caveat=(
        "this is a control: repetition changes attention in any transformer, so a difference here says that the "
        "pipeline works and nothing about concreteness."
    ),
)
