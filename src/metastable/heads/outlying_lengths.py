"""Sequences far longer than the others, and what they do to the size of effects."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.heads.contrasts import Contrast
from metastable.stats.correlation import correlation_effect, partial_correlation
from metastable.stats.effects import hedges_g
from metastable.study import Sequence

__all__ = ["OutlyingLengths", "far_longer", "outlying_lengths"]

# Iglewicz and Hoaglin's limit of the modified z-score; and no length below twice the typical one is called far longer.
_FAR = 3.5
_LEAST_RATIO = 2.0
# Median absolute deviation of the standard normal distribution.
_NORMAL_MAD = 0.6745


@dataclass(frozen=True)
class OutlyingLengths:
    """The sequences of a contrast that are far longer than the others of their condition.

    Attributes
    ----------
    identifiers : tuple of str
        The sequences, the longest first.
    lengths : tuple of int
        Their lengths in tokens.
    shortest, typical, longest : float
        Lengths of all others: the least, the median and the largest.
    n_units : int
        Units of inference that hold these sequences (of a pair, the pair).
    size_without : float
        Median absolute standardized effect over heads without these units; NaN where too few are left.
    """

    identifiers: tuple[str, ...]
    lengths: tuple[int, ...]
    shortest: float
    typical: float
    longest: float
    n_units: int
    size_without: float


def far_longer(lengths: ArrayLike, sides: ArrayLike) -> NDArray[np.bool_]:
    """Find the lengths that lie far above the typical length of their side.

    Parameters
    ----------
    lengths : array_like of int, shape (n,)
        Lengths in tokens.
    sides : array_like of int, shape (n,)
        Side of each; below 0 for none.

    Returns
    -------
    ndarray of bool, shape (n,)
        Where the logarithm of a length lies more than 3.5 robust standard deviations above the median of its side,
        and the length is at least twice that median; never where a side is -1 or a length 0.

    Notes
    -----
    The modified z-score of Iglewicz & Hoaglin (1993), "How to Detect and Handle Outliers", with the median absolute
    deviation from each side's own median, pooled: a condition of few long texts has no outlier for being a condition.

    Examples
    --------
    >>> far_longer([8, 9, 10, 11, 106, 9, 10, 12], [0, 0, 0, 0, 0, 1, 1, 1]).nonzero()[0].tolist()
    [4]
    """
    numbers, groups = np.asarray(lengths, dtype=np.float64), np.asarray(sides)
    known = (groups >= 0) & (numbers > 0)
    above = np.zeros(len(numbers))
    for side in np.unique(groups[known]):
        mine = known & (groups == side)
        above[mine] = np.log(numbers[mine]) - np.median(np.log(numbers[mine]))
    if not known.any():
        return known
    deviation = float(np.median(np.abs(above[known]))) / _NORMAL_MAD
    far: NDArray[np.bool_] = known & (above > _FAR * deviation) & (above >= np.log(_LEAST_RATIO))
    return far


def outlying_lengths(
    contrast: Contrast,
    sequences: SequenceOf[Sequence],
    values: NDArray[np.float64],
    covariates: NDArray[np.float64] | None = None,
) -> OutlyingLengths | None:
    """Find the sequences that are far longer than the others, and the size of effects without them.

    Parameters
    ----------
    contrast : Contrast
    sequences : sequence of Sequence
        In the order of the contrast's weights.
    values : ndarray of float64, shape (n_units, n_features)
        What the contrast was tested on.
    covariates : ndarray of float64, shape (n_units, n_covariates), or None
        What a slope was tested beside; a difference's Hedges' g is as observed.

    Returns
    -------
    OutlyingLengths or None
        None where no length is far above the others.
    """
    lengths, sides = np.array([len(sequence.token_ids) for sequence in sequences]), contrast.sides
    far = far_longer(lengths, sides)
    if not far.any():
        return None
    others = lengths[~far & (sides >= 0)]
    order = np.flatnonzero(far)[np.argsort(-lengths[far], kind="stable")]
    hit = np.asarray(abs(contrast.weights) @ far.astype(np.float64)) > 0
    if contrast.pair is not None:
        hit = np.isin(contrast.pair, contrast.pair[hit])
    return OutlyingLengths(
        identifiers=tuple(sequences[int(place)].identifier for place in order),
        lengths=tuple(int(lengths[place]) for place in order),
        shortest=float(others.min()),
        typical=float(np.median(others)),
        longest=float(others.max()),
        n_units=int(hit.sum()) // (1 if contrast.pair is None else 2),
        size_without=_median_size(contrast, values, covariates, ~hit),
    )


def _median_size(
    contrast: Contrast, values: NDArray[np.float64], covariates: NDArray[np.float64] | None, kept: NDArray[np.bool_]
) -> float:
    """Median absolute size over heads of the effect in some of the units."""
    try:
        if contrast.predictor is None:
            pair = None if contrast.pair is None else contrast.pair[kept]
            size = hedges_g(values[kept], contrast.condition[kept], pair=pair)
        else:
            held = None if covariates is None else covariates[kept]
            size = correlation_effect(partial_correlation(values[kept], contrast.predictor[kept], held))
    except InputError:
        # too few units are left for an effect; the report then states none
        return float("nan")
    return float(np.median(np.abs(size.estimate)))
