"""The effect that a sample of this size and shape would find, by simulation from its own values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.parallel_blocks import on_one_thread
from metastable.stats.samples import split_samples
from metastable.stats.simulation.monte_carlo import estimate_rate
from metastable.stats.simulation.planting import check_share, family_codes, plant_effects
from metastable.stats.simulation.resampling import Draws, Rule, Source, centred_source, resample, welch_draws

__all__ = ["Sensitivity", "sensitivity"]

_STEPS = 25
_SIMULATIONS_AT_ONCE = 64
_RELABELINGS = 1000


@dataclass(frozen=True)
class Sensitivity:
    """Power of the test as a function of the effect.

    Attributes
    ----------
    curve : pandas.DataFrame
        One row per effect: ``effect`` in standard deviations; ``power``, the share of the features with
        that effect that are found; ``low`` and ``high``, its 95% Monte Carlo interval.
    detectable : float
        Effect that is found with the power asked for; infinite if none on the curve is.
    detectable_low, detectable_high : float
        Its 95% Monte Carlo interval.
    target : float
        The power asked for.
    share : float
        Share of the features that carry the effect.
    correction : str
        Correction over features.
    alpha : float
        Significance level after correction.
    n_simulations : int
        Simulated samples.
    """

    curve: pd.DataFrame
    detectable: float
    detectable_low: float
    detectable_high: float
    target: float
    share: float
    correction: str
    alpha: float
    n_simulations: int


def sensitivity(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    family: ArrayLike | None = None,
    correction: str = "bh",
    alpha: float = 0.05,
    power: float = 0.8,
    share: float = 0.1,
    effects: ArrayLike | None = None,
    n_permutations: int = 10_000,
    n_simulations: int = 200,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Simulate which effect the sample would have found.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference (the mean of a cluster where clusters move together).
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b; the test is then the paired one.
    family : array_like of int, shape (n_features,), or None
        Features that are corrected together.
    correction : str
        ``"none"``, ``"max-t"`` or a method of `adjust_p_values`.
    alpha : float
        Significance level after correction.
    power : float
        Power that `Sensitivity.detectable` is for.
    share : float
        Share of the features of a family that carry the effect, at least one feature; under most
        corrections a lone effect is harder to find than one of many.
    effects : array_like of float or None
        Effects of the curve, in standard deviations, rising from 0 or more; None spans the curve.
    n_permutations : int
        Relabelings of the test, which bound its smallest p.
    n_simulations : int
        Simulated samples.
    rng : int, numpy.random.Generator or None
        Seed or generator.
    callback : callable or None
        Told of progress as ``f(done, total)``.

    Returns
    -------
    Sensitivity

    Raises
    ------
    InputError
        As `split_samples` with at least three units a condition; or if an option is out of range, or
        every feature is constant.

    Notes
    -----
    Each condition is centred on a common mean, so that nothing differs, and units (pairs) are drawn from
    it with replacement: the simulated samples have the study's own distributions, correlations between
    features and unequal variances. The effect, a shift of condition a in standard deviations of the
    feature (pooled, as in Hedges' g), goes to a new random choice of features in every sample, up in some
    and down in others.

    The test is Welch's t (the paired t for pairs). Its permutation p is taken as the p of the t
    distribution, which it approaches (Chung & Romano 2013), put on the grid of `n_permutations`:
    (m p + 1) / (m + 1). For ``"max-t"`` the null of the maximum is that of 1,000 relabelings of the
    centred values. Features
    constant in both conditions carry no effect and are not counted.

    Examples
    --------
    >>> values = np.random.default_rng(1).normal(size=(100, 20))
    >>> result = sensitivity(values, np.arange(100) < 50, correction="none", rng=1)
    >>> bool(abs(result.detectable - 0.566) < 0.05)  # 2.8 standard errors of 0.2
    True
    """
    samples = split_samples(values, condition, pair=pair, minimum=3)
    _check(alpha=alpha, power=power, share=share, n_simulations=n_simulations, n_permutations=n_permutations)
    n_features = samples.a.shape[1]
    families = family_codes(family, n_features)
    source = centred_source(samples.a, samples.b, paired=samples.paired)
    if not (source.deviation > 0).any():
        raise InputError("values has no feature that varies within a condition; no effect has a size in it")
    generator = np.random.default_rng(rng)
    grid = _grid(effects, source, alpha)
    rule = Rule(
        correction=correction,
        alpha=alpha,
        families=families,
        resolution=min(n_permutations, source.n_relabelings() - 1),
        maxima=_null_maxima(source, families, generator) if correction == "max-t" else None,
    )
    found = np.empty((n_simulations, len(grid)))
    with on_one_thread():
        for i in range(n_simulations):
            if i % _SIMULATIONS_AT_ONCE == 0:
                draws = resample(source, min(_SIMULATIONS_AT_ONCE, n_simulations - i), generator)
            sign = plant_effects(source.deviation > 0, families, share, generator)
            one = draws.row(i % _SIMULATIONS_AT_ONCE)
            p = rule.adjusted(one.t(grid[:, None] * sign * source.deviation), one.dof)
            found[i] = (p[:, sign != 0] < alpha).mean(axis=1)
            if callback is not None:
                callback(i + 1, n_simulations)
    rates = [estimate_rate(column) for column in found.T]
    curve = pd.DataFrame(
        {
            "effect": grid,
            "power": [rate.estimate for rate in rates],
            "low": [rate.low for rate in rates],
            "high": [rate.high for rate in rates],
        }
    )
    return Sensitivity(
        curve=curve,
        detectable=_crossing(grid, curve["power"].to_numpy(), power),
        detectable_low=_crossing(grid, curve["high"].to_numpy(), power),
        detectable_high=_crossing(grid, curve["low"].to_numpy(), power),
        target=power,
        share=share,
        correction=correction,
        alpha=alpha,
        n_simulations=n_simulations,
    )


def _check(*, alpha: float, power: float, share: float, n_simulations: int, n_permutations: int) -> None:
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise InputError(f"{name} is {value}; give a number between 0 and 1")
    check_share(share)
    for name, count, fewest in (("n_simulations", n_simulations, 20), ("n_permutations", n_permutations, 19)):
        if count < fewest:
            raise InputError(f"{name} is {count}; give at least {fewest}")


def _grid(effects: ArrayLike | None, source: Source, alpha: float) -> NDArray[np.float64]:
    if effects is not None:
        grid = np.asarray(effects, dtype=np.float64)
        if grid.ndim != 1 or len(grid) < 2 or not (np.isfinite(grid) & (grid >= 0)).all() or (np.diff(grid) <= 0).any():
            raise InputError("effects must be at least two finite numbers that rise from 0 or more")
        return grid
    varying = source.deviation > 0
    if source.b is None:
        spread = np.sqrt((source.a[:, varying] ** 2).mean(axis=0)) / source.deviation[varying]
        unit = float(np.median(spread)) / math.sqrt(len(source.a))
    else:
        unit = math.sqrt(1 / len(source.a) + 1 / len(source.b))
    # Where Bonferroni's test of all features has power 0.99, the strictest that is on offer.
    top = (special.ndtri(1 - alpha / (2 * varying.sum())) + special.ndtri(0.99)) * unit * 1.1
    return np.linspace(0.0, float(top), _STEPS)


def _null_maxima(source: Source, families: NDArray[np.intp], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Sorted maxima of |t| over each family under random relabelings (sign flips of pairs)."""
    if source.b is None:
        signs = rng.choice([-1.0, 1.0], size=(_RELABELINGS, len(source.a)))
        n = len(source.a)
        mean = signs @ source.a / n
        squares = np.maximum((source.a**2).sum(axis=0) - n * mean**2, 0.0)
        draws = Draws(mean, np.sqrt(squares / (n * (n - 1))), np.full_like(mean, n - 1.0))
    else:
        both = np.concatenate([source.a, source.b])
        side = np.zeros((_RELABELINGS, len(both)))
        side[:, : len(source.a)] = 1.0
        side = rng.permuted(side, axis=1)
        draws = welch_draws(both, both, side, 1.0 - side)
    size = np.abs(draws.t())
    return [np.sort(size[:, families == code].max(axis=1)) for code in np.unique(families)]


def _crossing(effects: NDArray[np.float64], power: NDArray[np.float64], target: float) -> float:
    """First effect whose power reaches the target, linear between the points of the curve."""
    reached = np.flatnonzero(power >= target)
    if len(reached) == 0:
        return math.inf
    j = int(reached[0])
    if j == 0:
        return float(effects[0])
    step = (target - power[j - 1]) / (power[j] - power[j - 1])
    return float(effects[j - 1] + step * (effects[j] - effects[j - 1]))
