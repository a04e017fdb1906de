"""How many units a test of one feature needs, by formula: the power functions of pingouin stand behind it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Literal

from scipy import special

from metastable.errors import InputError

__all__ = ["DESIGNS", "Design", "formula_sample_size", "lone_slope_sample_size"]

Design = Literal["two", "paired", "slope", "several"]
DESIGNS: tuple[Design, ...] = ("two", "paired", "slope", "several")

# More units than this are no plan.
_MOST = 10_000_000
_FEWEST = {"two": 2, "paired": 2, "slope": 4, "several": 2}


def formula_sample_size(
    design: Design,
    effect: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    ratio: float = 1.0,
    spread: float = 1.0,
    n_conditions: int = 2,
) -> int:
    """Return the fewest units with which a two-sided test of one feature reaches a power.

    Parameters
    ----------
    design : {"two", "paired", "slope", "several"}
        Two groups, pairs, a continuous predictor, or more than two groups.
    effect : float
        In standard deviations: of two groups and of pairs d, of a slope the d of its correlation, of several groups the
        difference of the two that lie furthest apart.
    power, alpha : float
        Between 0 and 1.
    ratio : float
        Units of the second group for each of the first.
    spread : float
        Of pairs: standard deviation of the differences of partners over that of the values.
    n_conditions : int
        Groups, where there are several.

    Returns
    -------
    int
        Units of the first condition: pairs, or of a slope all units.

    Raises
    ------
    InputError
        If an argument is out of range, or more than ten million units would be needed.

    Notes
    -----
    pingouin's ``power_ttest`` (of unequal groups ``power_ttest2n``; noncentral t, equal variances), ``power_corr``
    (Cohen 1988, Fisher's z with a correction) and ``power_anova`` (noncentral F), rounded up. Of several groups all but
    the outer two lie in the middle, which is where the F test finds least: f = d / sqrt(2 k) (Cohen 1988, eq. 8.2.7).

    Examples
    --------
    >>> formula_sample_size("two", 0.5), formula_sample_size("paired", 0.5)
    (64, 34)
    """
    _check(effect, power, alpha)
    if not ratio > 0 or not spread > 0:
        raise InputError(f"ratio is {ratio} and spread {spread}; give numbers above 0")
    reached = _power(design, abs(effect), alpha, ratio, spread, n_conditions)
    low, high = _FEWEST[design], _FEWEST[design]
    if reached(low) >= power:
        return low
    while reached(high) < power:
        low, high = high, 2 * high
        if high > _MOST:
            raise InputError(f"an effect of {effect:g} takes more than {_MOST:,} units; plan for a larger one")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high


def _power(
    design: Design, effect: float, alpha: float, ratio: float, spread: float, n_conditions: int
) -> Callable[[int], float]:
    """Return the power as a function of the number of units."""
    import pingouin

    def of(n: int) -> float:
        with warnings.catch_warnings():
            # of very few units, whose power is no number and taken for none
            warnings.simplefilter("ignore")
            if design == "paired":
                found = pingouin.power_ttest(d=effect / spread, n=n, alpha=alpha, contrast="paired")
            elif design == "slope":
                found = pingouin.power_corr(r=effect / math.sqrt(effect**2 + 4), n=n, alpha=alpha)
            elif design == "several":
                f2 = effect**2 / (2 * n_conditions)
                found = pingouin.power_anova(eta_squared=f2 / (1 + f2), k=n_conditions, n=n, alpha=alpha)
            else:
                found = pingouin.power_ttest2n(nx=n, ny=max(2, round(ratio * n)), d=effect, alpha=alpha)
        return float(found) if math.isfinite(found) else 0.0

    return of


def lone_slope_sample_size(
    effect: float, n_features: int, *, power: float = 0.8, alpha: float = 0.05, n_covariates: int = 0
) -> int:
    """Return the units with which a slope is found that is the only one of all features.

    The inverse of `metastable.stats.correlation.detectable_effect`, whose number a report states: Fisher's z at
    ``alpha / n_features``.

    Examples
    --------
    >>> from metastable.stats.correlation import detectable_effect
    >>> n = lone_slope_sample_size(0.4, 72)
    >>> detectable_effect(n, 0, 72) <= 0.4 < detectable_effect(n - 1, 0, 72)
    True
    """
    _check(effect, power, alpha)
    reach = float(special.ndtri(1 - alpha / (2 * n_features)) + special.ndtri(power))
    return math.ceil((reach / math.asinh(abs(effect) / 2)) ** 2 + 3 + n_covariates)


def _check(effect: float, power: float, alpha: float) -> None:
    if not (math.isfinite(effect) and effect != 0):
        raise InputError(f"effect is {effect}; give a size in standard deviations that is not 0, such as 0.3")
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise InputError(f"{name} is {value}; give a number between 0 and 1")
    if power <= alpha:
        raise InputError(f"power is {power} and alpha {alpha}; a test has that power without any unit, give more")
