"""TVQA's correct answer put before its question, concrete against abstract answers: the second founding study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metastable.errors import InputError
from metastable.material.corpora import TVQA, TVQA_HOME, load_tvqa, rate_answers
from metastable.material.norms import NORMS_OPTIONS, norms_of
from metastable.material.tvqa import answer_first
from metastable.material.word_lists import check_length
from metastable.program import typed
from metastable.study import Claim, Condition, Design, Material, Option, Options, Sequence, Study
from metastable.study.options import natural, share

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["FOUNDING_NUMBERS", "STUDY"]

FOUNDING_NUMBERS = (2530, 613)
"""Questions with a concrete and with an abstract answer that the founding experiment found in the full files."""


def check(options: Options) -> None:
    """See that there are files, and a gap between concrete and abstract answers."""
    if not options.own["tvqa"]:
        raise InputError(
            f"tvqa_answers needs TVQA's question files by --tvqa tvqa_train.jsonl tvqa_val.jsonl, from {TVQA_HOME}; "
            f"{typed('mt40k_topbotk')} runs without any file"
        )
    low, high = options.own["low"], options.own["high"]
    if low >= high:
        raise InputError(f"--low {low} is not below --high {high}; give a gap between the two")


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Look every correct answer up in the norms and put the concrete and the abstract ones before their questions."""
    check_length(options.own["max_length"], tokenizer)
    norms = norms_of(options, two_word=True)
    corpus = load_tvqa(options.own["tvqa"])
    low, high = options.own["low"], options.own["high"]
    rated = rate_answers(corpus, norms)
    sequences: list[Sequence] = []
    notes = [f"{len(rated):,} of {len(corpus.table):,} correct answers are an entry of the norms"]
    chosen = (rated[rated["scaled"] > high], rated[rated["scaled"] < low])
    for condition, table in zip(STUDY.conditions, chosen, strict=True):
        cut = 0
        for row in table.to_dict("records"):
            sequence, shortened = answer_first(
                row,
                f"{condition.name}-{row['qid']}",
                condition.name,
                tokenizer,
                options.own["max_length"],
                segments=options.own["pair_encoding"],
            )
            sequences.append(sequence)
            cut += shortened
        notes.append(
            f"{condition.name}: {len(table):,} questions with {table['entry'].nunique():,} different answers from "
            f"{table['clip'].nunique():,} clips; {cut:,} cut to {options.own['max_length']} tokens"
        )
    concrete, abstract = FOUNDING_NUMBERS
    notes.append(
        f"the founding experiment found {concrete:,} concrete and {abstract:,} abstract answers in the full training "
        f"and validation files; these files hold {len(chosen[0]):,} and {len(chosen[1]):,}"
    )
    shared = set(chosen[0]["clip"]) & set(chosen[1]["clip"])
    if shared:
        notes.append(f"{len(shared):,} clips have questions in both conditions")
    if "penny" in set(chosen[0]["entry"]):
        n = int((chosen[0]["entry"] == "penny").sum())
        notes.append(f'{n} answers are "penny", often the name of a character, rated as the coin; they are one cluster')
    return Material(
        tuple(sequences),
        tuple(notes),
        {
            "questions": corpus.source,
            **{f"{name} SHA-256": digest for name, digest in corpus.sha256.items()},
            "norms": norms.source,
            "norms SHA-256": norms.sha256,
        },
    )


STUDY = Study(
    name="tvqa_answers",
    title="Concrete and abstract answers before their questions (TVQA)",
    question="Do attention heads spread differently when a question's answer is concrete than when it is abstract?",
    conditions=(
        Condition("concrete", "questions whose correct answer is rated concrete, the answer put first"),
        Condition("abstract", "questions whose correct answer is rated abstract, the answer put first"),
    ),
    build=build,
    # as the founding experiment had it
    measure="count",
    check=check,
    design=Design(clustered=True, unit="answer", context="clip"),
    options=(
        TVQA,
        Option("high", share, 0.95, "answers rated above this (0..1) are concrete"),
        Option("low", share, 0.3, "answers rated below this (0..1) are abstract"),
        Option("max_length", natural, 20, "most tokens of a sequence, special ones included"),
        Option("pair_encoding", bool, False, "put answer and question in the model's two segments"),
        *NORMS_OPTIONS,
    ),
    claims=(
        Claim(
            smallest_effect=0.2,
            statement="some heads differ between concrete and abstract answers by more than a fifth of a standard "
            "deviation",
        ),
    ),
    caveat=(
        "people ask other questions about things than about ideas, so the questions differ with their answers, and a "
        "difference here is one of answers together with their questions. The same answer in many questions is one "
        "draw of that answer: answers, not questions, are counted."
    ),
)  # fmt: skip
