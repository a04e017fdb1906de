"""One test for a whole group of features, combined within each relabeling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metastable.stats.permutations.tail import tail_p_values

__all__ = ["Collector", "OmnibusResult", "p_value", "slack"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OmnibusResult:
    """Tests of the hypothesis that no feature of a group differs.

    All three combine the same relabelings, so that they hold under any dependence between features.

    Attributes
    ----------
    max : float
        Largest statistic in the direction tested (absolute value if two-sided); 0 if all are flat.
    p_max : float
        Its p; powerful against a strong effect in few features.
    sum_squares : float
        Sum of the squared statistics; of those in the direction tested, if one-sided. F is a square already and
        enters as it is.
    p_sum_squares : float
        Its p; powerful against a weak effect in many features.
    count : int
        Number of features whose own permutation p is below alpha.
    p_count : float
        Its p.
    """

    max: float
    p_max: float
    sum_squares: float
    p_sum_squares: float
    count: int
    p_count: float


def slack(observed: Floats | float, scale: Floats | float = 0.0, *, studentized: bool = True) -> Floats:
    """Difference below which two statistics are the same but for rounding.

    Parameters
    ----------
    observed : float or ndarray of float64
        Statistics, of the size that is compared.
    scale : float or ndarray of float64
        Size of a typical value of the feature, where the statistic has the feature's units.
    studentized : bool
        Whether the statistic is a ratio to its standard error; its rounding error grows with the square
        of a large t, since the variance within groups is then the small difference of two sums.

    Returns
    -------
    ndarray of float64
    """
    size = np.abs(observed)
    relative = 1e-9 + (1e-15 * size**2 if studentized else 0.0)
    return np.asarray(size * np.minimum(relative, 0.5) + (1e-12 if studentized else 1e-12 * scale))


def p_value(observed: float, null: Floats, margin: float, *, exact: bool) -> float:
    """(b + 1) / (m + 1) of m drawn relabelings, b / m where they are all distinct ones.

    `null` holds what the relabelings gave; a value short of `observed` by no more than `margin` is
    counted as reaching it. In the exact case the observed labelling is one of them.
    """
    reached = int(np.count_nonzero(null >= observed - margin))
    return reached / len(null) if exact else (reached + 1) / (len(null) + 1)


@dataclass
class Collector:
    """Running combination over the features of each group, one number a relabeling.

    Attributes
    ----------
    masks : mapping of str to ndarray of bool, shape (n_features,)
    n : int
        Number of relabelings.
    square : bool
        Whether the statistics are to be squared, for sums and for the fit of a tail: all but F.
    """

    masks: Mapping[str, NDArray[np.bool_]]
    n: int
    square: bool
    _null: dict[str, Floats] = field(init=False)
    _observed: dict[str, Floats] = field(init=False)
    _margin: dict[str, Floats] = field(init=False)

    def __post_init__(self) -> None:
        """Start every maximum below all numbers and every sum at zero."""
        self._null = {name: np.zeros((3, self.n)) for name in self.masks}
        self._observed = {name: np.zeros(3) for name in self.masks}
        self._margin = {name: np.array([0.0, 0.0, 0.5]) for name in self.masks}
        for name in self.masks:
            self._null[name][0] = self._observed[name][0] = -np.inf

    def add(self, feature: int, observed: float, null: Floats, *, margin: float, critical: float) -> None:
        """Add a feature; its statistics above `critical` have a p below alpha.

        `margin` is the difference below which two of its statistics are the same.
        """
        counted = null > critical
        power = 2 if self.square else 1
        reach = max(observed, 0.0)
        squares = np.maximum(null, 0.0) ** power
        for name, mask in self.masks.items():
            if not mask[feature]:
                continue
            sums, reached, margins = self._null[name], self._observed[name], self._margin[name]
            np.maximum(sums[0], null, out=sums[0])
            sums[1] += squares
            sums[2] += counted
            if observed > reached[0]:
                reached[0], margins[0] = observed, margin
            reached[1] += reach**power
            margins[1] += power * reach ** (power - 1) * margin
            reached[2] += observed > critical

    def add_many(self, name: str, observed: Floats, null: Floats, margin: Floats, critical: Floats) -> None:
        """Add features to one group, whose maxima, sums and numbers over these features are `null`, shape (3, n)."""
        sums, reached, margins = self._null[name], self._observed[name], self._margin[name]
        np.maximum(sums[0], null[0], out=sums[0])
        sums[1:] += null[1:]
        power = 2 if self.square else 1
        reach = np.maximum(observed, 0.0)
        best = int(np.argmax(observed))
        if observed[best] > reached[0]:
            reached[0], margins[0] = observed[best], margin[best]
        reached[1] += np.sum(reach**power)
        margins[1] += np.sum(power * reach ** (power - 1) * margin)
        reached[2] += np.count_nonzero(observed > critical)

    def results(self, *, exact: bool, tail: bool) -> dict[str, OmnibusResult]:
        """Test every group."""
        found = {}
        for name, null in self._null.items():
            observed = self._observed[name]
            if np.isneginf(observed[0]):
                found[name] = OmnibusResult(0.0, 1.0, 0.0, 1.0, 0, 1.0)
                continue
            p = [p_value(observed[k], null[k], self._margin[name][k], exact=exact) for k in range(3)]
            if tail and not exact:
                # The count is discrete: a continuous tail does not describe it.
                for k, square in ((0, self.square), (1, False)):
                    p[k] = float(tail_p_values(observed[k : k + 1], null[k], np.array([p[k]]), square=square)[0])
            found[name] = OmnibusResult(float(observed[0]), p[0], float(observed[1]), p[1], int(observed[2]), p[2])
        return found
