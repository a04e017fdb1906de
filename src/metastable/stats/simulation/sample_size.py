"""How many units a test of many features needs, corrected over them: power by drawing anew, size after size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.samples import split_samples
from metastable.stats.simulation.monte_carlo import estimate_rate
from metastable.stats.simulation.planting import check_share, family_codes, plant_effects
from metastable.stats.simulation.resampling import Draws, Rule, Source, centred_source, count_relabelings, resample

__all__ = [
    "TESTS",
    "NormalPopulation",
    "PilotPopulation",
    "Population",
    "SlopePopulation",
    "pilot_population",
    "power_curves",
    "sample_sizes",
    "slope_population",
]

Floats = NDArray[np.float64]

TESTS = ("uncorrected", "corrected", "max-t", "omnibus")
"""A head by itself; after the correction over heads; after that by the largest statistic; whether any differs."""

_FEWEST = 4
_MOST = 2_000_000
_NULL = 2000
_POINTS = 16
_AT_ONCE = 100
# Units of which there are more orders than are ever drawn.
_ORDERED = 20


class Population(Protocol):
    """Where samples of any size come from."""

    @property
    def deviation(self) -> Floats:
        """Standard deviation that effects are in units of, shape (n_features,); 0 where a feature does not vary."""

    @property
    def factor(self) -> float:
        """Squared standard error of a typical feature's effect, times the units of condition a."""

    def size(self, n: int) -> tuple[int, int]:
        """Units of a and of b, for `n` of a."""

    def n_relabelings(self, n: int) -> int:
        """Distinct relabelings of a sample with `n` units of a."""

    def draw(self, n: int, n_draws: int, rng: np.random.Generator) -> Draws:
        """Draw samples in which nothing differs."""


@dataclass(frozen=True)
class PilotPopulation:
    """The units of a pilot, drawn with replacement.

    Attributes
    ----------
    source : Source
        Its two sides, or the differences of its pairs, about their means.
    ratio : float
        Units of b for each of a.
    noise : float or ndarray of float64, shape (n_features,)
        Standard deviation of a planned unit over that of the pilot's, as where clusters will have more texts.
    """

    source: Source = field(repr=False)
    ratio: float = 1.0
    noise: Floats | float = 1.0

    @property
    def deviation(self) -> Floats:
        """Standard deviation of Hedges' g, of the pilot's units."""
        return self.source.deviation

    @property
    def spread(self) -> Floats:
        """Of pairs: standard deviation of the differences over that of the values, of the features that vary."""
        varied = self.deviation > 0
        return np.asarray(np.sqrt((self.source.a[:, varied] ** 2).mean(axis=0)) / self.deviation[varied])

    @property
    def factor(self) -> float:
        """As `Population` says."""
        noise = float(np.median(np.broadcast_to(self.noise, self.deviation.shape)[self.deviation > 0]))
        if self.source.b is None:
            return float(np.median(self.spread)) ** 2 * noise**2
        return (1 + 1 / self.ratio) * noise**2

    def size(self, n: int) -> tuple[int, int]:
        """As `Population` says."""
        return n, n if self.source.b is None else max(_FEWEST, round(self.ratio * n))

    def n_relabelings(self, n: int) -> int:
        """As `Population` says."""
        return self.source.n_relabelings(self.size(n))

    def draw(self, n: int, n_draws: int, rng: np.random.Generator) -> Draws:
        """As `Population` says."""
        found = resample(self.source, n_draws, rng, size=self.size(n))
        return Draws(found.difference * self.noise, found.se * self.noise, found.dof)


def pilot_population(
    values: ArrayLike, condition: ArrayLike, *, pair: ArrayLike | None = None, ratio: float | None = None,
    noise: Floats | float = 1.0,
) -> PilotPopulation:  # fmt: skip
    """Take the units of a pilot for a population.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
    condition : array_like of bool, shape (n_units,)
        True for condition a.
    pair : array_like, shape (n_units,), or None
        What joins units of a and of b.
    ratio : float or None
        Units of b for each of a; the pilot's own if None.
    noise : float or ndarray
        As `PilotPopulation` has it.

    Returns
    -------
    PilotPopulation

    Raises
    ------
    InputError
        As `split_samples` with at least three units a condition; or if every feature is constant.
    """
    samples = split_samples(values, condition, pair=pair, minimum=3)
    source = centred_source(samples.a, samples.b, paired=samples.paired)
    if not (source.deviation > 0).any():
        raise InputError("values has no feature that varies within a condition; no effect has a size in it")
    return PilotPopulation(source, len(samples.b) / len(samples.a) if ratio is None else ratio, noise)


@dataclass(frozen=True)
class NormalPopulation:
    """Independent features, normal with equal variances: what is assumed without a pilot.

    Attributes
    ----------
    design : {"two", "paired", "slope"}
    n_features : int
    ratio : float
        Units of b for each of a.
    spread : float
        Of pairs: standard deviation of the differences over that of the values.
    """

    design: Literal["two", "paired", "slope"]
    n_features: int
    ratio: float = 1.0
    spread: float = 1.0

    @property
    def deviation(self) -> Floats:
        """One for each feature."""
        return np.ones(self.n_features)

    @property
    def factor(self) -> float:
        """As `Population` says."""
        return {"two": 1 + 1 / self.ratio, "paired": self.spread**2, "slope": 4.0}[self.design]

    def size(self, n: int) -> tuple[int, int]:
        """As `Population` says."""
        return n, max(_FEWEST, round(self.ratio * n)) if self.design == "two" else n

    def n_relabelings(self, n: int) -> int:
        """As `Population` says."""
        if self.design == "slope":
            return math.factorial(min(n, _ORDERED))
        return count_relabelings(*self.size(n), paired=self.design == "paired")

    def draw(self, n: int, n_draws: int, rng: np.random.Generator) -> Draws:
        """As `Population` says."""
        shape = (n_draws, self.n_features)
        z = rng.standard_normal(shape)
        if self.design == "slope":
            return _slope_draws(z, n, 0, rng)
        if self.design == "paired":
            se = self.spread * np.sqrt(rng.chisquare(n - 1, shape) / (n - 1) / n)
            return Draws(z * self.spread / np.sqrt(n), se, np.full(shape, n - 1.0))
        n_a, n_b = self.size(n)
        parts = [rng.chisquare(m - 1, shape) / (m - 1) / m for m in (n_a, n_b)]
        total = parts[0] + parts[1]
        share = parts[0] / total
        dof = 1.0 / (share**2 / (n_a - 1) + (1 - share) ** 2 / (n_b - 1))
        return Draws(z * np.sqrt(1 / n_a + 1 / n_b), np.sqrt(total), dof)


@dataclass(frozen=True)
class SlopePopulation:
    """Normal errors about lines, correlated over features as those of a pilot are.

    Attributes
    ----------
    residuals : ndarray of float64, shape (n_units, n_features)
        Of the pilot, each feature of unit length; 0 where it does not vary.
    n_covariates : int
        Columns that the tests hold fixed.
    """

    residuals: Floats = field(repr=False)
    n_covariates: int = 0

    @property
    def deviation(self) -> Floats:
        """One where a feature varies."""
        return np.asarray((self.residuals**2).sum(axis=0) > 0, dtype=np.float64)

    @property
    def factor(self) -> float:
        """As `Population` says."""
        return 4.0

    def size(self, n: int) -> tuple[int, int]:
        """As `Population` says."""
        return n, n

    def n_relabelings(self, n: int) -> int:
        """As `Population` says."""
        return math.factorial(min(n, _ORDERED))

    def draw(self, n: int, n_draws: int, rng: np.random.Generator) -> Draws:
        """As `Population` says: estimates of all features together from a multivariate normal distribution."""
        z = rng.standard_normal((n_draws, len(self.residuals))) @ self.residuals
        return _slope_draws(z, n, self.n_covariates, rng)


def slope_population(values: ArrayLike, predictor: ArrayLike, covariates: ArrayLike | None = None) -> SlopePopulation:
    """Take the errors of a pilot about its lines for a population.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
    predictor : array_like of float, shape (n_units,)
    covariates : array_like of float, shape (n_units, n_covariates), or None
        What the tests hold fixed.

    Returns
    -------
    SlopePopulation

    Raises
    ------
    InputError
        If every feature lies on its line.
    """
    table = np.asarray(values, dtype=np.float64)
    columns = [np.ones(len(table)), np.asarray(predictor, dtype=np.float64)]
    held = np.empty((len(table), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    q, _ = np.linalg.qr(np.column_stack([*columns, held]))
    centred = table - table.mean(axis=0)
    residuals = centred - q @ (q.T @ centred)
    length = np.sqrt((residuals**2).sum(axis=0))
    varied = length > 1e-10 * np.abs(table).max(initial=1.0)
    if not varied.any():
        raise InputError("values has no feature that varies about its line; no slope has a size in it")
    scaled = np.divide(residuals, length, out=np.zeros_like(residuals), where=varied)
    return SlopePopulation(scaled, held.shape[1])


def _slope_draws(z: Floats, n: int, n_covariates: int, rng: np.random.Generator) -> Draws:
    """Estimates of d from standard normal ones, with a predictor that is drawn too."""
    dof = n - 2.0 - n_covariates
    along = np.sqrt(n * rng.chisquare(n - 1 - n_covariates, (len(z), 1)) / n) / 2
    error = np.sqrt(rng.chisquare(dof, z.shape) / dof)
    return Draws(z / along, error / along, np.full(z.shape, dof))


@dataclass(frozen=True)
class _Tested:
    """What is done with every sample."""

    correction: str
    alpha: float
    share: float
    families: NDArray[np.intp]
    n_permutations: int
    n_simulations: int


def _found(population: Population, n: int, effect: float, how: _Tested, rng: np.random.Generator) -> dict[str, Floats]:
    """Share of the features with the effect that each simulated sample finds; of the omnibus test whether it does."""
    varied = population.deviation > 0
    null = np.abs(np.concatenate([population.draw(n, _AT_ONCE, rng).t() for _ in range(_NULL // _AT_ONCE)]))
    null[:, ~varied] = 0.0
    maxima = [np.sort(null[:, how.families == code].max(axis=1)) for code in np.unique(how.families)]
    whole = np.sort((null**2).sum(axis=1))
    resolution = min(how.n_permutations, population.n_relabelings(n) - 1)

    def rule(correction: str) -> Rule:
        of = maxima if correction == "max-t" else None
        return Rule(correction, how.alpha, how.families, resolution, of)

    rules = {"uncorrected": rule("none"), "corrected": rule(how.correction), "max-t": rule("max-t")}
    found: dict[str, list[float]] = {name: [] for name in TESTS}
    for done in range(how.n_simulations):
        if done % _AT_ONCE == 0:
            draws = population.draw(n, min(_AT_ONCE, how.n_simulations - done), rng)
        one = draws.row(done % _AT_ONCE)
        sign = plant_effects(varied, how.families, how.share, rng)
        t = one.t(effect * sign * population.deviation)
        t[~varied] = 0.0
        for name, made in rules.items():
            found[name].append(float((made.adjusted(t, one.dof)[sign != 0] < how.alpha).mean()))
        above = len(whole) - np.searchsorted(whole, (t**2).sum())
        found["omnibus"].append(float((above + 1) / (len(whole) + 1) < how.alpha))
    return {name: np.array(rates) for name, rates in found.items()}


def power_curves(
    population: Population,
    sizes: Sequence[int],
    effect: float,
    *,
    family: ArrayLike | None = None,
    correction: str = "bh",
    alpha: float = 0.05,
    share: float = 0.1,
    n_permutations: int = 10_000,
    n_simulations: int = 400,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Find the power of each test at some sample sizes.

    Parameters
    ----------
    population : Population
    sizes : sequence of int
        Units of condition a.
    effect : float
        In standard deviations.
    family : array_like of int, shape (n_features,), or None
        Features that are corrected together.
    correction : str
        A method of `adjust_p_values`.
    alpha : float
        Level, after correction.
    share : float
        Share of the features of a family that carry the effect, at least one.
    n_permutations : int
        Relabelings of the test, which bound its smallest p.
    n_simulations : int
        Simulated samples at each size.
    rng : int, numpy.random.Generator or None
    callback : callable or None
        Told of progress as ``f(sizes done, sizes)``.

    Returns
    -------
    pandas.DataFrame
        One row per size and test of `TESTS`: ``effect, test, n, power, low, high``, the last two a 95% Monte Carlo
        interval.

    Raises
    ------
    InputError
        If a size is below four, the effect is 0, or another argument is out of range.

    Notes
    -----
    As `metastable.stats.simulation.sensitivity.sensitivity` tests one size, each of these is tested: p of Welch's or
    the paired t (of a slope t) on the grid of its permutations, then corrected; the null of the largest statistic and
    of the sum of squares is that of 2,000 samples in which nothing differs.
    """
    _check(effect, alpha, share, n_permutations, n_simulations)
    if min(sizes, default=0) < _FEWEST:
        raise InputError(f"sizes holds {min(sizes, default=0)}; give {_FEWEST} units or more")
    families = family_codes(family, len(population.deviation))
    how = _Tested(correction, alpha, share, families, n_permutations, n_simulations)
    generator, rows = np.random.default_rng(rng), []
    for done, n in enumerate(sizes, start=1):
        for test, found in _found(population, int(n), effect, how, generator).items():
            rate = estimate_rate(found)
            rows.append({"effect": effect, "test": test, "n": int(n), "power": rate.estimate, "low": rate.low,
                         "high": rate.high})  # fmt: skip
        if callback is not None:
            callback(done, len(sizes))
    return pd.DataFrame(rows)


def sample_sizes(
    population: Population,
    effects: Sequence[float],
    *,
    power: float = 0.8,
    family: ArrayLike | None = None,
    correction: str = "bh",
    alpha: float = 0.05,
    share: float = 0.1,
    n_permutations: int = 10_000,
    n_simulations: int = 400,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find how many units each test needs to find effects of some sizes with a power.

    Parameters
    ----------
    population : Population
    effects : sequence of float
        In standard deviations.
    power : float
        Between `alpha` and 1.
    family, correction, alpha, share, n_permutations, n_simulations, rng, callback
        As `power_curves` takes them.

    Returns
    -------
    sizes : pandas.DataFrame
        One row per effect and test: ``effect, test, n, low, high``: units of condition a, and the interval that Monte
        Carlo error leaves; infinite where no size up to two million is enough.
    curves : pandas.DataFrame
        As `power_curves` returns them, at the sizes that were tried.

    Raises
    ------
    InputError
        As `power_curves`, or if the power is out of range.
    """
    if not alpha < power < 1:
        raise InputError(f"power is {power}; give a number above alpha, {alpha:g}, and below 1, such as 0.8")
    generator = np.random.default_rng(rng)
    curves, rows = [], []
    for index, effect in enumerate(effects):
        _check(effect, alpha, share, n_permutations, n_simulations)
        # Where a feature by itself and the only one of all reach the power, by the normal distribution.
        n_features = int((population.deviation > 0).sum())
        alone, strict = (
            population.factor * ((special.ndtri(1 - level / 2) + special.ndtri(power)) / effect) ** 2
            for level in (alpha, alpha / n_features)
        )
        grid = _grid(0.25 * alone, 1.5 * strict + 10)
        tried: list[pd.DataFrame] = []
        while True:

            def tell(done: int, total: int, index: int = index) -> None:
                if callback is not None:
                    callback(min(index * total + done, len(effects) * total), len(effects) * total)

            found = power_curves(
                population, grid, effect, family=family, correction=correction, alpha=alpha, share=share,
                n_permutations=n_permutations, n_simulations=n_simulations, rng=generator, callback=tell,
            )  # fmt: skip
            tried.append(found)
            short = found[found["n"] == max(grid)]["low"].min() < power
            if not short or max(grid) >= _MOST:
                break
            grid = _grid(1.2 * max(grid), min(3 * max(grid), _MOST), _POINTS // 3)
        curve = pd.concat(tried, ignore_index=True)
        curves.append(curve)
        for test in TESTS:
            mine = curve[curve["test"] == test]
            rows.append(
                {"effect": effect, "test": test, "n": _needed(mine, "power", power),
                 "low": _needed(mine, "high", power), "high": _needed(mine, "low", power)}
            )  # fmt: skip
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)


def _grid(low: float, high: float, points: int = _POINTS) -> list[int]:
    start = min(max(float(_FEWEST), low), _MOST / 2)
    return sorted({int(n) for n in np.geomspace(start, min(max(high, start + points), _MOST), points).round()})


def _needed(curve: pd.DataFrame, column: str, power: float) -> float:
    """First size at which a curve, made to rise, reaches the power; between sizes on a straight line in their roots."""
    n, reached = curve["n"].to_numpy(dtype=float), np.maximum.accumulate(curve[column].to_numpy(dtype=float))
    at = np.flatnonzero(reached >= power)
    if not len(at):
        return math.inf
    j = int(at[0])
    if j == 0:
        return float(n[0])
    # power is nearly linear in the root of n on the scale of z
    x = np.sqrt(n[j - 1 : j + 1])
    y = special.ndtri(np.clip(reached[j - 1 : j + 1], 1e-4, 1 - 1e-4))
    share = (special.ndtri(power) - y[0]) / (y[1] - y[0])
    return float(math.ceil((x[0] + float(np.clip(share, 0, 1)) * (x[1] - x[0])) ** 2 - 1e-9))


def _check(effect: float, alpha: float, share: float, n_permutations: int, n_simulations: int) -> None:
    if not (math.isfinite(effect) and effect > 0):
        raise InputError(f"effect is {effect}; give a size in standard deviations above 0, such as 0.3")
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05")
    check_share(share)
    for name, count, fewest in (("n_permutations", n_permutations, 19), ("n_simulations", n_simulations, 20)):
        if count < fewest:
            raise InputError(f"{name} is {count}; give at least {fewest}")
