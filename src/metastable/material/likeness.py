"""How alike the words of a sequence are to each other, and how often its word pieces repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metastable.study import Material
from metastable.study import Sequence as StudySequence

__all__ = ["DISTINCT_PIECES", "MODEL_COVARIATES", "WORD_LIKENESS", "with_distinct_pieces", "with_word_likeness"]

DISTINCT_PIECES = "distinct_pieces"
WORD_LIKENESS = "word_likeness"
#: Covariates that are known only once the model is loaded.
MODEL_COVARIATES = (WORD_LIKENESS,)

Embed = Callable[[NDArray[np.intp]], NDArray[np.float32] | None]


def with_distinct_pieces(material: Material) -> Material:
    """Give every sequence the share of its word pieces that are distinct, as the covariate ``distinct_pieces``.

    Parameters
    ----------
    material : Material

    Returns
    -------
    Material
        With types over tokens of the word pieces of each sequence, special tokens left out; unchanged if a sequence
        has no word, or the study has a covariate of that name.
    """
    shares = []
    for sequence in material.sequences:
        pieces = _pieces(sequence)
        if not len(pieces) or DISTINCT_PIECES in sequence.covariates:
            return material
        shares.append(len(np.unique(pieces)) / len(pieces))
    return _with(material, DISTINCT_PIECES, shares)


def with_word_likeness(material: Material, embed: Embed) -> Material:
    """Give every sequence the mean cosine of its words' input embeddings, as the covariate ``word_likeness``.

    Parameters
    ----------
    material : Material
    embed : callable
        Gives the rows of the model's input embeddings for token ids, or None where it has none.

    Returns
    -------
    Material
        A word is the mean over its pieces, and the mean of cosines runs over all pairs of words of a sequence. Where a
        sequence has fewer than two words or the model no such embeddings, there is no covariate, and a note says why.
    """
    words = [sequence.word_index for sequence in material.sequences]
    if any(WORD_LIKENESS in sequence.covariates for sequence in material.sequences):
        return material
    if any(len({word for word in index if word >= 0}) < 2 for index in words):
        return _noting(material, "some sequences have fewer than two words")
    known = np.unique(np.concatenate([_pieces(sequence) for sequence in material.sequences]))
    table = embed(known)
    if table is None:
        return _noting(material, "the model has no matrix of input embeddings to take it from")
    values = []
    for sequence in material.sequences:
        index = np.array(sequence.word_index)
        rows = table[np.searchsorted(known, _pieces(sequence))].astype(np.float64)
        codes = np.unique(index[index >= 0], return_inverse=True)[1]
        values.append(_mean_cosine(rows, codes))
    return _with(material, WORD_LIKENESS, values)


def _mean_cosine(rows: NDArray[np.float64], word: NDArray[np.intp]) -> float:
    """Mean cosine over pairs of words, each the mean of its rows; one of length 0 has a cosine of 0 with any."""
    n = int(word.max()) + 1
    means = np.zeros((n, rows.shape[1]))
    np.add.at(means, word, rows)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    unit = np.divide(means, length, out=np.zeros_like(means), where=length > 0)
    # The squared length of the sum holds every pair twice and every word once.
    return float(((unit.sum(axis=0) ** 2).sum() - (unit**2).sum()) / (n * (n - 1)))


def _pieces(sequence: StudySequence) -> NDArray[np.intp]:
    """Token ids of the sequence's words."""
    return np.array(sequence.token_ids, dtype=np.intp)[np.array(sequence.word_index) >= 0]


def _with(material: Material, name: str, values: Sequence[float]) -> Material:
    sequences = tuple(
        replace(sequence, covariates={**sequence.covariates, name: float(value)})
        for sequence, value in zip(material.sequences, values, strict=True)
    )
    return replace(material, sequences=sequences)


def _noting(material: Material, reason: str) -> Material:
    note = f"how alike the words of a sequence are is not among the covariates: {reason}"
    return replace(material, notes=(*material.notes, note))
