"""The words of a study drawn at random into two lists and packed anew: lists between which nothing differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metastable.errors import InputError
from metastable.material.packing import pack_parallel, pack_words
from metastable.material.word_lists import Packed, in_packings
from metastable.study import Material, Options, Sequence, Study

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["WordPool", "check_redrawing", "redrawn", "word_pool"]

# Words of a list below which its few sequences would say nothing.
_LEAST_WORDS = 8


@dataclass(frozen=True)
class WordPool:
    """Words from which two lists are drawn.

    Attributes
    ----------
    words : tuple of str
        Each once; of pairs the words of the first condition.
    partners : tuple of str
        Of pairs the partner of each word in the second condition; empty where words are unpaired.
    """

    words: tuple[str, ...]
    partners: tuple[str, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether partners change their lists together."""
        return bool(self.partners)


def check_redrawing(study: Study, options: Options) -> None:
    """Refuse a study whose material is no list of words that could be dealt out anew.

    Raises
    ------
    InputError
        With the reason.
    """
    design = study.design
    reason = ""
    if design.predictor is not None:
        reason = "it orders its words by a predictor, and has no two lists"
    elif design.clustered or design.factor is not None or study.views:
        reason = "it has clusters, a second factor or views"
    elif "max_length" not in options.own:
        reason = "it does not pack words to a length (--max-length)"
    if reason:
        raise InputError(
            f"--repack: the words of {study.name} cannot be drawn into two lists: {reason}; leave --repack out"
        )


def word_pool(study: Study, material: Material, side: str) -> WordPool:
    """Return the words that are drawn from: those of one side, or of a paired study its pairs.

    Parameters
    ----------
    study : Study
    material : Material
        As the study builds it.
    side : {"a", "b"}
        The condition whose words are dealt out; of a paired study both are.

    Returns
    -------
    WordPool

    Raises
    ------
    InputError
        If the material is no list of words, or the pool holds too few.
    """
    if not material.of_words:
        raise InputError(f"--repack: {study.name} reads texts and not lists of words; leave --repack out")
    a, b = ([one for one in material.sequences if one.condition == condition.name] for condition in study.conditions)
    if study.design.paired:
        second = {one.pair: one for one in b}
        pairs = dict(pair for one in a for pair in zip(one.words, second[one.pair].words, strict=True))
        pool = WordPool(tuple(pairs), tuple(pairs.values()))
        enough = len(pool.words) >= _LEAST_WORDS
    else:
        pool = WordPool(tuple(dict.fromkeys(word for one in (a if side == "a" else b) for word in one.words)))
        enough = len(pool.words) >= 2 * _LEAST_WORDS
    if not enough:
        raise InputError(f"--repack: {study.name} has {len(pool.words)} words to draw from; give more words")
    return pool


def redrawn(
    pool: WordPool,
    names: tuple[str, str],
    tokenizer: Tokenizer,
    max_length: int,
    *,
    packings: int,
    rng: np.random.Generator,
) -> Material:
    """Draw two lists from a pool and pack them.

    Parameters
    ----------
    pool : WordPool
        Dealt out whole: unpaired words half to each list, the two words of a pair one to each.
    names : pair of str
        Of the conditions that stand for the first and the second list.
    tokenizer : Tokenizer
    max_length : int
        The most tokens of a sequence, special ones included.
    packings : int
        In how many random packings the words are read.
    rng : numpy.random.Generator

    Returns
    -------
    Material
        Without covariates.

    Raises
    ------
    InputError
        If the words of a list do not fill a sequence.
    """
    if pool.paired:
        swap = rng.random(len(pool.words)) < 0.5
        lists = [
            [second if swapped else first for first, second, swapped in zip(*sides, swap, strict=True)]
            for sides in ((pool.words, pool.partners), (pool.partners, pool.words))
        ]
    else:
        order, half = rng.permutation(len(pool.words)), len(pool.words) // 2
        lists = [[pool.words[index] for index in chosen] for chosen in (order[:half], order[half:])]

    def pack() -> Packed:
        if pool.paired:
            order = rng.permutation(len(lists[0]))
            found = pack_parallel(
                [[words[index] for index in order] for words in lists],
                tokenizer.encode_words,
                max_length,
                count_tokens=tokenizer.count_tokens,
            )
        else:
            found = tuple(
                pack_words(
                    [words[index] for index in rng.permutation(len(words))],
                    tokenizer.encode_words,
                    max_length,
                    count_tokens=tokenizer.count_tokens,
                )
                for words in lists
            )
        return (
            tuple(
                Sequence(
                    identifier=f"{name}-{number:04d}",
                    condition=name,
                    words=packed.words,
                    text=packed.text,
                    token_ids=packed.token_ids,
                    word_index=packed.word_index,
                    segment_ids=packed.segment_ids,
                    pair=f"{number:04d}" if pool.paired else None,
                )
                for name, packing in zip(names, found, strict=True)
                for number, packed in enumerate(packing.sequences, start=1)
            ),
            (),
        )

    sequences, _ = in_packings(packings, pack)
    read = [dict.fromkeys(word for one in sequences if one.condition == name for word in one.words) for name in names]
    number_of = [{word: number for number, word in enumerate(words)} for words in lists]
    units = tuple(
        Sequence(
            identifier=f"{name}: {word}",
            condition=name,
            words=(word,),
            text=word,
            token_ids=(),
            word_index=(),
            pair=f"{numbers[word]:05d}" if pool.paired else None,
        )
        for name, words, numbers in zip(names, read, number_of, strict=True)
        for word in words
    )
    return Material(sequences, of_words=True, packings=packings, units=units if packings > 1 else ())
