"""Samples drawn anew from a sample's own units: means, errors and corrected p-values of every feature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metastable.stats.corrections import adjust_p_values
from metastable.stats.samples import is_constant

__all__ = ["Draws", "Rule", "Source", "centred_source", "count_relabelings", "paired_draws", "resample", "welch_draws"]

# A variance of a draw below this share of the sample's own is that of equal values.
_ROUNDING = 1e-12


# Beyond this many units there are far more relabelings than are ever drawn, and numbers with as many digits are slow.
_UNITS, _COUNTED = 100, 10**18


def count_relabelings(n_a: int, n_b: int, *, paired: bool) -> int:
    """Count the distinct relabelings of two groups, or sign flips of `n_a` pairs; at most 10^18."""
    if n_a + n_b > _UNITS and min(n_a, n_b) > 3:
        return _COUNTED
    return min(_COUNTED, int(2**n_a) if paired else math.comb(n_a + n_b, n_a))


@dataclass(frozen=True)
class Source:
    """Two samples about their means (or the differences of partners about theirs), and the unit of effects.

    Attributes
    ----------
    a : ndarray of float64, shape (n_a, n_features)
        Units of condition a, or differences of partners.
    b : ndarray of float64, shape (n_b, n_features), or None
        Units of condition b; None where the sample is one of differences.
    deviation : ndarray of float64, shape (n_features,)
        Standard deviation that effects are in units of; 0 where a feature does not vary.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64] | None
    deviation: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """Units of a and of b; of pairs their number, twice."""
        return len(self.a), len(self.a if self.b is None else self.b)

    def n_relabelings(self, size: tuple[int, int] | None = None) -> int:
        """Distinct relabelings of a sample of this size, at most 10^18; of the sample's own if None."""
        return count_relabelings(*(self.size if size is None else size), paired=self.b is None)


@dataclass(frozen=True)
class Draws:
    """Difference of means, its standard error and degrees of freedom: of draws by features, or of one draw.

    Attributes
    ----------
    difference, se, dof : ndarray of float64, shape (n_draws, n_features) or (n_features,)
    """

    difference: NDArray[np.float64]
    se: NDArray[np.float64]
    dof: NDArray[np.float64]

    def row(self, i: int) -> Draws:
        """Return one draw."""
        return Draws(self.difference[i], self.se[i], self.dof[i])

    def t(self, shift: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
        """T after adding `shift`, which may be several of a feature, to every unit of a: the error stays as it is."""
        moved = self.difference + shift
        undefined = np.where(moved == 0, 0.0, np.copysign(np.inf, moved))
        return np.divide(moved, self.se, out=undefined, where=self.se > 0)


@dataclass(frozen=True)
class Rule:
    """How t becomes a corrected p.

    Attributes
    ----------
    correction : str
        "none", "max-t" or a method of `adjust_p_values`.
    alpha : float
    families : ndarray of int, shape (n_features,)
        Features that are corrected together.
    resolution : int
        Relabelings beside the observed one: p is on their grid.
    maxima : list of ndarray or None
        Sorted null maxima of each family, for max-T only.
    """

    correction: str
    alpha: float
    families: NDArray[np.intp]
    resolution: int
    maxima: list[NDArray[np.float64]] | None

    def adjusted(self, t: NDArray[np.float64], dof: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the corrected p of the t of each feature; t has the shape (..., n_features), each row a sample."""
        if self.maxima is not None:
            p = np.empty_like(t)
            for code, null in enumerate(self.maxima):
                members = self.families == code
                below = np.searchsorted(null, np.abs(t[..., members]))
                p[..., members] = (len(null) - below + 1) / (len(null) + 1)
            return p
        p = 2 * special.stdtr(dof, -np.abs(t))
        p = np.asarray((self.resolution * p + 1) / (self.resolution + 1), dtype=np.float64)
        if self.correction == "none":
            return p
        rows = p.reshape(-1, len(self.families))
        # the families of every sample are its own
        families = self.families + (self.families.max() + 1) * np.arange(len(rows))[:, None]
        adjusted = adjust_p_values(rows.ravel(), method=self.correction, family=families.ravel(), alpha=self.alpha)
        return adjusted.reshape(p.shape)


def centred_source(a: NDArray[np.float64], b: NDArray[np.float64], *, paired: bool) -> Source:
    """Put samples about their means, so that nothing differs; of partners their differences."""
    flat = is_constant(a) & is_constant(b)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    # The population drawn from is the sample itself, so its variances divide by n.
    if paired:
        deviation = np.sqrt(((a**2).mean(axis=0) + (b**2).mean(axis=0)) / 2)
    else:
        deviation = np.sqrt(((a**2).sum(axis=0) + (b**2).sum(axis=0)) / (len(a) + len(b)))
    deviation = np.where(flat, 0.0, deviation)
    a, b = np.where(flat, 0.0, a), np.where(flat, 0.0, b)
    return Source(a - b, None, deviation) if paired else Source(a, b, deviation)


def _mean_and_error(
    values: NDArray[np.float64], weight: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of every draw and its squared standard error; weight (n_draws, n_units) sums to n."""
    mean = weight @ values / n
    squares = weight @ values**2 - n * mean**2
    floor = _ROUNDING * (values**2).sum(axis=0)
    return mean, np.where(squares <= floor, 0.0, squares) / (n * (n - 1))


def paired_draws(source: Source, weight: NDArray[np.float64]) -> Draws:
    """Draws of pairs, each of which takes part as often as its weight says, shape (n_draws, n_pairs)."""
    n = round(weight[0].sum())
    mean, squared = _mean_and_error(source.a, weight, n)
    return Draws(mean, np.sqrt(squared), np.full_like(mean, n - 1.0))


def welch_draws(
    values_a: NDArray[np.float64],
    values_b: NDArray[np.float64],
    weight_a: NDArray[np.float64],
    weight_b: NDArray[np.float64],
) -> Draws:
    """Draws of two groups with Welch's error; weights are of shape (n_draws, n_a) and (n_draws, n_b)."""
    n_a, n_b = round(weight_a[0].sum()), round(weight_b[0].sum())
    mean_a, part_a = _mean_and_error(values_a, weight_a, n_a)
    mean_b, part_b = _mean_and_error(values_b, weight_b, n_b)
    total = part_a + part_b
    share_a = np.divide(part_a, total, out=np.full_like(total, 0.5), where=total > 0)
    dof = 1.0 / (share_a**2 / (n_a - 1) + (1 - share_a) ** 2 / (n_b - 1))
    return Draws(mean_a - mean_b, np.sqrt(total), dof)


def resample(source: Source, n_draws: int, rng: np.random.Generator, *, size: tuple[int, int] | None = None) -> Draws:
    """Draw units with replacement from each condition, or pairs.

    Parameters
    ----------
    source : Source
    n_draws : int
    rng : numpy.random.Generator
    size : tuple of int or None
        Units of a and of b in each draw (of pairs the first counts); as many as the sample has if None.

    Returns
    -------
    Draws
        Of shape (n_draws, n_features).
    """

    def weights(n: int, drawn: int) -> NDArray[np.float64]:
        return rng.multinomial(drawn, np.full(n, 1 / n), size=n_draws).astype(np.float64)

    n_a, n_b = source.size if size is None else size
    if source.b is None:
        return paired_draws(source, weights(len(source.a), n_a))
    return welch_draws(source.a, source.b, weights(len(source.a), n_a), weights(len(source.b), n_b))
