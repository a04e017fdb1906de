"""All words of MT40k, with the rating as a continuous predictor instead of two groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.covariates import word_covariates
from metastable.material.norms import NORMS_OPTIONS, norms_of
from metastable.material.word_lists import PACKINGS, Packed, in_packings, rated, units_of_words, word_sequences
from metastable.study import Claim, Condition, Design, Material, Option, Options, Sequence, Study
from metastable.study.options import common_option, natural

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]


def _sorted_in_bands(table: pd.DataFrame, bands: int, rng: np.random.Generator) -> pd.DataFrame:
    """Sort words from the most to the least concrete, then shuffle them within bands of equal size."""
    table = table.sort_values("scaled", ascending=False, kind="stable")
    order = np.concatenate([rng.permutation(band) for band in np.array_split(np.arange(len(table)), bands)])
    return table.iloc[order]


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Sort the words by rating, shuffle them within narrow bands, and pack them: a sequence has one rating."""
    norms = norms_of(options)
    table, notes = norms.table, list(norms.notes)
    n_words, bands = options.own["words"], options.own["bands"]
    rng = np.random.default_rng([options.seed, 5])
    if n_words is not None:
        if n_words > len(table):
            raise InputError(f"--words {n_words}: the norms hold {len(table):,} words; give that or fewer")
        table = table.iloc[np.sort(rng.permutation(len(table))[:n_words])]
        notes.append(f"{n_words:,} of {len(norms.table):,} words, drawn at random")
    if 2 * bands > len(table):
        raise InputError(f"--bands {bands}: {len(table):,} words make at most {len(table) // 2:,} bands of two words")

    def pack() -> Packed:
        ordered = _sorted_in_bands(table, bands, rng)
        half = len(ordered) // 2
        sequences: list[Sequence] = []
        told: list[str] = []
        for condition, rows in zip(STUDY.conditions, (ordered.iloc[:half], ordered.iloc[half:]), strict=True):
            packed, more = word_sequences(
                rows["word"].tolist(),
                condition.name,
                tokenizer,
                options.own["max_length"],
                ratings=rows["scaled"].tolist(),
                language=norms.language,
            )
            sequences.extend(packed)
            told.extend(more)
        return tuple(sequences), tuple(told)

    packings = options.own["packings"]
    sequences, told = in_packings(packings, pack)
    units: tuple[Sequence, ...] = ()
    if packings > 1:
        words, ratings = table["word"].tolist(), table["scaled"].tolist()
        described = word_covariates(words, tokenizer.count_pieces, language=norms.language)
        units = units_of_words(sequences, rated(described, words, ratings))
    return Material(
        sequences,
        (*notes, *told, _homogeneity(sequences, table)),
        {"norms": norms.source, "norms SHA-256": norms.sha256},
        of_words=True,
        packings=packings,
        units=units,
    )


def _homogeneity(sequences: tuple[Sequence, ...], table: pd.DataFrame) -> str:
    """Say how much of the ratings' variance lies between sequences."""
    scaled = dict(zip(table["word"], table["scaled"], strict=True))
    ratings = [np.array([scaled[word] for word in sequence.words]) for sequence in sequences]
    within = np.sqrt(np.mean(np.concatenate([(rating - rating.mean()) ** 2 for rating in ratings])))
    means = np.array([rating.mean() for rating in ratings])
    return (
        f"ratings are scaled to 0 (abstract) .. 1 (concrete); the means of the sequences run from {means.min():.2f} to "
        f"{means.max():.2f} (standard deviation {means.std():.2f}), and the words of a sequence lie within "
        f"{within:.3f} of its mean (root mean square)"
    )


STUDY = Study(
    name="concreteness_slope",
    title="Concreteness as a matter of degree: all words of MT40k",
    question="Do attention heads spread wider, or narrower, as words become more concrete?",
    conditions=(
        Condition("concrete", "sequences of the words in the upper half by rating"),
        Condition("abstract", "sequences of the words in the lower half by rating"),
    ),
    build=build,
    design=Design(predictor="rating"),
    options=(
        Option("max_length", natural, 20, "most tokens of a sequence, special ones included"),
        Option("words", natural, None, "how many words, drawn at random from the list (none: all)"),
        PACKINGS,
        Option("bands", natural, 100, "words sorted by rating are shuffled within so many bands of equal size"),
        *NORMS_OPTIONS,
        common_option("covariates", default=("word_pieces", "characters", "zipf")),
    ),
    claims=(
        Claim(
            statement="with word pieces, characters and word frequency held fixed, some heads spread wider or narrower "
            "with concreteness"
        ),
    ),
    caveat=(
        "ratings go along with length and frequency (concrete words are shorter, more frequent and have fewer word "
        "pieces), so the unadjusted slopes are not about concreteness alone, and the adjusted ones only as far as "
        "length and frequency act linearly; other things that go along with concreteness, such as part of speech and "
        "age of acquisition, are not held fixed, and the words of a concrete sequence are also more alike in kind "
        "(mostly nouns for things) than those of an abstract one."
    ),
)  # fmt: skip
