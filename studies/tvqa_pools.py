"""TVQA questions with concrete or abstract answers, each followed by a pool of concrete and of abstract answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.corpora import TVQA, TVQA_HOME, load_tvqa, rate_answers
from metastable.material.norms import NORMS_OPTIONS, norms_of
from metastable.material.tvqa import followed_by_pool
from metastable.program import typed
from metastable.study import Claim, Condition, Design, Factor, Material, Option, Options, Sequence, Study
from metastable.study.options import natural, share

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def check(options: Options) -> None:
    """See that there are files, and a gap between concrete and abstract answers."""
    if not options.own["tvqa"]:
        raise InputError(
            f"tvqa_pools needs TVQA's question files by --tvqa tvqa_train.jsonl tvqa_val.jsonl, from {TVQA_HOME}; "
            f"{typed('mt40k_topbotk')} runs without any file"
        )
    low, high = options.own["low"], options.own["high"]
    if low >= high:
        raise InputError(f"--low {low} is not below --high {high}; give a gap between the two")


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Follow every question once by concrete and once by abstract answers, drawn anew for each question."""
    max_length = min(options.own["max_length"] or tokenizer.max_length, tokenizer.max_length)
    norms = norms_of(options, two_word=True)
    corpus = load_tvqa(options.own["tvqa"])
    low, high = options.own["low"], options.own["high"]
    rated = rate_answers(corpus, norms)
    chosen = (rated[rated["scaled"] > high], rated[rated["scaled"] < low])
    answers = [sorted(set(table["entry"])) for table in chosen]
    size = options.own["pool_size"]
    for level, pool in zip(FACTOR.levels, answers, strict=True):
        if len(pool) <= size:
            raise InputError(
                f"--pool-size {size}: the files hold {len(pool)} {level.name} answers; give {max(1, len(pool) - 1)} or "
                "less, or more files"
            )
    rng = np.random.default_rng([options.seed, 4])
    sequences: list[Sequence] = []
    cut = 0
    for condition, table in zip(STUDY.conditions, chosen, strict=True):
        for row in table.to_dict("records"):
            for level, pool in zip(FACTOR.levels, answers, strict=True):
                others = [answer for answer in pool if answer != row["entry"]]
                drawn = [others[index] for index in rng.permutation(len(others))[:size]]
                sequence, shortened = followed_by_pool(
                    row, drawn, f"{condition.name}-{row['qid']}-{level.name}", condition.name, level.name, tokenizer,
                    max_length,
                )  # fmt: skip
                sequences.append(sequence)
                cut += shortened
    notes = (
        f"{len(chosen[0]):,} questions with a concrete and {len(chosen[1]):,} with an abstract answer, each once with "
        f"{size} concrete and once with {size} abstract answers behind it, drawn anew for each question",
        f"pools of {len(answers[0]):,} concrete and {len(answers[1]):,} abstract answers; a question's own answer is "
        "never behind it",
        f"{cut:,} sequences cut to {max_length} tokens",
        "questions with the same correct answer are averaged: the answer is the unit",
    )
    return Material(
        tuple(sequences),
        notes,
        {
            "questions": corpus.source,
            **{f"{name} SHA-256": digest for name, digest in corpus.sha256.items()},
            "norms": norms.source,
            "norms SHA-256": norms.sha256,
        },
    )


FACTOR = Factor(
    "pool",
    (
        Condition("concrete pool", "the question is followed by concrete answers"),
        Condition("abstract pool", "the question is followed by abstract answers"),
    ),
)

STUDY = Study(
    name="tvqa_pools",
    title="Questions by pools of answers (TVQA)",
    question="Does attention follow the concreteness of the question's answer, of the words behind it, or their match?",
    conditions=(
        Condition("concrete", "questions whose correct answer is rated concrete"),
        Condition("abstract", "questions whose correct answer is rated abstract"),
    ),
    build=build,
    check=check,
    design=Design(factor=FACTOR, unit="answer", context="clip"),
    options=(
        TVQA,
        Option("high", share, 0.95, "answers rated above this (0..1) are concrete"),
        Option("low", share, 0.3, "answers rated below this (0..1) are abstract"),
        Option("pool_size", natural, 10, "answers put behind each question"),
        Option("max_length", natural, None, "most tokens of a sequence (none: all that the model reads)"),
        *NORMS_OPTIONS,
    ),
    claims=(
        Claim(
            contrast="pool",
            statement="some heads differ between a concrete and an abstract pool behind the same question",
        ),
    ),
    caveat=(
        "the pools differ in word length and frequency as well as in concreteness, and the answers behind a question "
        "come from the same few; that each question is its own control rules out the question, not the pool's words."
    ),
)  # fmt: skip
