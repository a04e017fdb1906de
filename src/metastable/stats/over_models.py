"""Effects over models: models and units resampled together, because one checkpoint is one draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.effects import check_confidence, hedges_correction
from metastable.stats.samples import check_values, split_samples

__all__ = ["MultiBootstrap", "Pooled", "multi_bootstrap"]

# Features per block: a block of resampled moments has n_resamples times this many floats.
_FEATURES = 256
# A resampled variance below this share of the sample's own is that of equal values.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Pooled:
    """A mean over models, or a difference of two means, with its interval over models and units together.

    Attributes
    ----------
    estimate : ndarray of float64, shape (n_quantities,)
    se, dof : ndarray of float64, shape (n_quantities,)
        Standard error and Satterthwaite's degrees of freedom.
    low, high : ndarray of float64, shape (n_quantities,)
        Limits of the interval; NaN where there is one model, which says nothing of others.
    between : ndarray of float64, shape (n_quantities,)
        Part of the squared standard error that more models would shrink.
    shared : ndarray of float64, shape (n_quantities,)
        Part that only more units would shrink: what models have in common because they read the same units.
    """

    estimate: NDArray[np.float64]
    se: NDArray[np.float64]
    dof: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    between: NDArray[np.float64]
    shared: NDArray[np.float64]


@dataclass(frozen=True)
class MultiBootstrap:
    """Quantities of every model, and how they move together when units are drawn anew.

    Attributes
    ----------
    names : tuple of (str, str)
        Of each quantity what it is (``"mean"``, ``"size2"`` or ``"share"``) and the group of features it is of.
    estimate : ndarray of float64, shape (n_models, n_quantities)
    covariance : ndarray of float64, shape (n_quantities, n_models, n_models)
        Of the estimates over draws of units, the models being what they are. Models that read other units have none.
    moved : ndarray of float64, shape (n_resamples, n_models, n_quantities)
        By how much each draw of the units moves each model's quantities, about their mean over draws.
    picks : ndarray of float64, shape (n_resamples, n_models)
        Uniform numbers that say which models a draw of models takes.
    unit_dof : ndarray of float64, shape (n_models,)
        Independent units of a model less the means that were taken of them.
    left_out : ndarray of int, shape (n_models,)
        Features with an infinite effect (constant in both conditions, but not the same), which no quantity holds.
    confidence : float
    """

    names: tuple[tuple[str, str], ...]
    estimate: NDArray[np.float64]
    covariance: NDArray[np.float64] = field(repr=False)
    moved: NDArray[np.float64] = field(repr=False)
    picks: NDArray[np.float64] = field(repr=False)
    unit_dof: NDArray[np.float64] = field(repr=False)
    left_out: NDArray[np.intp] = field(repr=False)
    confidence: float = 0.95

    @property
    def n_models(self) -> int:
        """How many models there are."""
        return len(self.estimate)

    def index(self, what: str, group: str) -> int:
        """Return the position of a quantity."""
        return self.names.index((what, group))

    def joint(self, models: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return means over models with models and units drawn together (Sellam et al. 2022, section 4).

        Parameters
        ----------
        models : array_like of bool, shape (n_models,), or None
            Which models; all unless given.

        Returns
        -------
        ndarray of float64, shape (n_resamples, n_quantities)
        """
        places = np.flatnonzero(self._chosen(models))
        n = len(places)
        drawn = places[(self.picks[:, :n] * n).astype(np.intp)]
        each = self.estimate[drawn] + np.take_along_axis(self.moved, drawn[:, :, None], axis=1)
        return np.asarray(each.mean(axis=1))

    def percentile(self, models: ArrayLike | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the percentile limits of the joint draws, as Sellam et al. (2022) report them; too narrow for few."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(self.joint(models), [tail, 1 - tail], axis=0)
        return low, high

    def pooled(self, models: ArrayLike | None = None) -> Pooled:
        """Return the mean over models, as draws from the models that there could be.

        Parameters
        ----------
        models : array_like of bool, shape (n_models,), or None
            Which models; all unless given.

        Returns
        -------
        Pooled

        Notes
        -----
        Of the estimates t of R models with the variances d and covariances o over draws of units, the variance of
        their mean is S^2 / R + o (S^2 the variance between the estimates, whose expectation is tau^2 + d - o, and o
        averaged over all pairs of models): the two-way random-effects analysis of variance, in which what the
        resampling of models adds to that of units is not counted twice (Owen 2007, on what resampling both ways
        counts too often). The limits are those of t with Satterthwaite's degrees of freedom, because percentiles of
        few models are too narrow. Those of ``"size2"`` are the values that differ from the estimate by t standard
        errors at these values, since the variance of a square grows with it: of noise of variance v it is
        4 v q + 2 v^2, of which draws, whose own noise comes on top, show 4 v q + 6 v^2; that between models is taken
        to grow in proportion to q.
        """
        chosen = self._chosen(models)
        estimate, n = self.estimate[chosen], int(chosen.sum())
        mean = estimate.mean(axis=0)
        shared = self._shared(chosen, chosen)
        if n < 2:
            missing = np.full_like(mean, np.nan)
            return Pooled(mean, missing, missing, missing, missing, missing, shared)
        between = estimate.var(axis=0, ddof=1) / n
        parts = ((between, float(n - 1)), (shared, float(self.unit_dof[chosen].mean())))
        return self._of_squares(_interval(mean, parts, between, shared, self.confidence))

    def difference(self, first: ArrayLike, second: ArrayLike) -> Pooled:
        """Return the mean over some models minus that over others, both as draws.

        Parameters
        ----------
        first, second : array_like of bool, shape (n_models,)
            Two sets of at least two models each, without a common one.

        Returns
        -------
        Pooled
            What the sets have in common because they read the same units cancels.
        """
        one, other = self._chosen(first), self._chosen(second)
        if (one & other).any():
            raise InputError("a model is in both sets; give two sets of models without a common one")
        estimate = self.estimate[one].mean(axis=0) - self.estimate[other].mean(axis=0)
        parts = []
        between = np.zeros_like(estimate)
        for chosen in (one, other):
            n = int(chosen.sum())
            part = self.estimate[chosen].var(axis=0, ddof=1) / n if n > 1 else np.full_like(estimate, np.nan)
            parts.append((part, float(n - 1)))
            between = between + part
        # only what is not common to both sets is left of the units' part
        common = self._between_sets(one, other)
        shared = np.maximum(self._shared(one, one) + self._shared(other, other) - 2 * common, 0)
        parts.append((shared, float(self.unit_dof[one | other].mean())))
        return _interval(estimate, tuple(parts), between, shared, self.confidence)

    def fixed_difference(self, first: int, second: int) -> Pooled:
        """Return one model minus another, with an interval over units alone: the condition by model interaction.

        Parameters
        ----------
        first, second : int
            Positions of the models, which are taken as they are and not as draws.

        Returns
        -------
        Pooled
        """
        estimate = self.estimate[first] - self.estimate[second]
        cov = self.covariance
        shared = np.maximum(cov[:, first, first] + cov[:, second, second] - 2 * cov[:, first, second], 0)
        parts = ((shared, float(min(self.unit_dof[first], self.unit_dof[second]))),)
        return _interval(estimate, parts, np.zeros_like(estimate), shared, self.confidence)

    def alone(self, model: int) -> Pooled:
        """Return one model's quantities with intervals over units alone: the model as it is."""
        shared = np.maximum(self.covariance[:, model, model], 0)
        parts = ((shared, float(self.unit_dof[model])),)
        return self._of_squares(_interval(self.estimate[model], parts, np.zeros_like(shared), shared, self.confidence))

    def own_variance(self, models: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return of each model the variance over units that it does not share with the others.

        Parameters
        ----------
        models : array_like of bool, shape (n_models,), or None

        Returns
        -------
        ndarray of float64, shape (n of them, n_quantities)
            Its variance less its mean covariance with the others: what a meta-analysis, which takes models as
            independent, may be given as sampling variance where all read the same units.
        """
        chosen = self._chosen(models)
        cov, n = self.covariance[:, chosen][:, :, chosen], int(chosen.sum())
        variance = np.diagonal(cov, axis1=1, axis2=2)
        if n == 1:
            return np.asarray(variance.T)
        others = (cov.sum(axis=2) - variance) / (n - 1)
        return np.asarray(np.maximum(variance - others, _ROUNDING * variance).T)

    def _of_squares(self, found: Pooled) -> Pooled:
        """Give squares limits that know that their variance grows with them."""
        squares = np.array([what == "size2" for what, _ in self.names])
        low, high = _square_limits(found, self.confidence)
        return replace(found, low=np.where(squares, low, found.low), high=np.where(squares, high, found.high))

    def _chosen(self, models: ArrayLike | None) -> NDArray[np.bool_]:
        chosen = np.ones(self.n_models, dtype=bool) if models is None else np.asarray(models, dtype=bool)
        if chosen.shape != (self.n_models,) or not chosen.any():
            raise InputError(f"models has shape {chosen.shape}; mark at least one of the {self.n_models} models")
        return chosen

    def _shared(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean covariance of two different models of a set; of one model its variance."""
        cov = self.covariance[:, one][:, :, other]
        n = cov.shape[1]
        diagonal = np.trace(cov, axis1=1, axis2=2)
        found = diagonal if n == 1 else (cov.sum(axis=(1, 2)) - diagonal) / (n * (n - 1))
        # a covariance below zero is noise of few resamples
        return np.asarray(np.maximum(found, 0))

    def _between_sets(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(self.covariance[:, one][:, :, other].mean(axis=(1, 2)))


def _interval(
    estimate: NDArray[np.float64],
    parts: tuple[tuple[NDArray[np.float64], float], ...],
    between: NDArray[np.float64],
    shared: NDArray[np.float64],
    confidence: float,
) -> Pooled:
    """Limits from independent parts of a variance, each with its degrees of freedom (Satterthwaite 1946)."""
    variance = np.sum([part for part, _ in parts], axis=0)
    # shares of the whole rather than raw squares, which would underflow
    shares = [
        np.divide(part, variance, out=np.zeros_like(variance), where=variance > 0) ** 2 / max(dof, 1.0)
        for part, dof in parts
    ]
    total = np.sum(shares, axis=0)
    dof = np.divide(1.0, total, out=np.full_like(total, np.inf), where=total > 0)
    se = np.sqrt(variance)
    reach = se * np.where(
        np.isfinite(dof), special.stdtrit(np.where(np.isfinite(dof), dof, 1.0), 0.5 + confidence / 2), 0.0
    )
    known = np.isfinite(variance)
    low, high = (np.where(known, estimate + side * reach, np.nan) for side in (-1, 1))
    return Pooled(estimate, se, np.where(known, dof, np.nan), low, high, between, shared)


def _square_limits(found: Pooled, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of mean squares, by inverting a test whose standard error is that at the value that it tests."""
    q, between = found.estimate, np.nan_to_num(found.between)
    noise = (np.sqrt(16 * q**2 + 24 * found.shared) - 4 * q) / 12
    # near 0 the variance between models cannot be in proportion to q
    growing = np.where(q > 0, q**2, 0.0)
    growing = np.divide(growing, growing + between, out=np.zeros_like(q), where=growing + between > 0)
    slope = 4 * noise + np.divide(growing * between, q, out=np.zeros_like(q), where=q > 0)
    constant = 2 * noise**2 + (1 - growing) * between
    dof = np.where(np.isfinite(found.dof), found.dof, 1e9)
    t = special.stdtrit(dof, 0.5 + confidence / 2)
    middle = q + t**2 * slope / 2
    reach = np.sqrt(np.maximum(middle**2 - q**2 + t**2 * constant, 0))
    known = np.isfinite(found.se)
    return np.where(known, middle - reach, np.nan), np.where(known, middle + reach, np.nan)


@dataclass(frozen=True)
class _Reading:
    """What one model gives: two samples of units, and how units are drawn."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    paired: bool

    @property
    def strata(self) -> tuple[int, ...]:
        """How many units are drawn in each stratum."""
        return (len(self.a),) if self.paired else (len(self.a), len(self.b))

    @property
    def dof(self) -> float:
        return float(sum(self.strata) - len(self.strata))


def multi_bootstrap(
    values: Sequence[ArrayLike],
    condition: Sequence[ArrayLike],
    *,
    pair: Sequence[ArrayLike | None] | None = None,
    reads: ArrayLike | None = None,
    groups: Mapping[str, Sequence[ArrayLike]] | None = None,
    different: Sequence[ArrayLike] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> MultiBootstrap:
    """Draw models and units together, and find the size of effects of the typical feature over models.

    Parameters
    ----------
    values : sequence of array_like of float, each of shape (n_units, n_features)
        One a model: its units by its features. Features of two models need not correspond, nor be as many.
    condition : sequence of array_like of bool, each of shape (n_units,)
        True for condition a, False for b.
    pair : sequence of array_like of shape (n_units,), or of None
        Of each model the code that joins each unit of a with one of b; pairs are then drawn whole.
    reads : array_like of shape (n_models,), or None
        A code of what each model read. Models of one code read the same units in the same order, which are drawn
        once for all of them; those of another code draw theirs independently. All read the same unless given.
    groups : mapping of str to sequence of array_like of bool, each of shape (n_features,), or None
        Groups of features by name, such as thirds of the depth, with one mask a model; ``"all"`` is always there.
    different : sequence of array_like of bool, each of shape (n_features,), or None
        Of each model which features were found to differ, where their share is wanted.
    confidence : float
        Coverage of the intervals, between 0 and 1.
    n_resamples : int
        Draws of the units, and of the models.
    rng : int, numpy.random.Generator or None
        Seed or generator.
    callback : callable or None
        Told of progress as ``f(models done, models)``.

    Returns
    -------
    MultiBootstrap
        Three quantities of each group: ``"mean"``, the mean of Hedges' g over its features; ``"size2"``, the mean of
        g^2 less what noise adds to it, whose root is the size of the typical feature; and, with `different`,
        ``"share"``.

    Raises
    ------
    InputError
        If the sequences have other lengths, a group has no feature in a model, models of one code have other units,
        or as `metastable.stats.hedges_g`.

    Notes
    -----
    The mean of absolute effects grows with noise: of a feature without any effect it is sqrt(2 / pi) standard errors.
    Of the square the noise is known and taken off: with d the difference over the pooled standard deviation s, of
    nu = n_a + n_b - 2 degrees of freedom (of partners those of `small_sample_factor`),
    E d^2 = nu / (nu - 2) (delta^2 + se^2 / sigma^2) (the noncentral t; Hedges 1981, eq. 6b), so that
    d^2 (nu - 2) / nu - se^2 / s^2 has the expectation delta^2 for normal values of equal variance, whatever the number
    of units. se is that of Welch, of partners that of their differences.

    Squares are skewed. Where all features of all models err together a lower limit of ``"size2"`` lies above 0 for
    nothing at all in 5 of 100 rather than 2.5; the limits are no test of whether anything differs.

    The share is that which was observed. Of a draw it is the share of features whose t is as large as the smallest
    that was found to differ, which serves for covariances between models alone.

    The moments of a draw are products of the units' values with multinomial weights (Sellam et al. 2022, "The
    MultiBERTs", section 4 and algorithm 1; of partners the pair is drawn).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> noise, condition = rng.normal(size=(60, 5)), np.arange(60) < 30
    >>> values = [noise + 0.5 * condition[:, None] + rng.normal(0, 0.3, (60, 5)) for _ in range(4)]
    >>> found = multi_bootstrap(values, [condition] * 4, rng=1)
    >>> pooled = found.pooled()
    >>> where = found.index("mean", "all")
    >>> bool(pooled.low[where] < pooled.estimate[where] < pooled.high[where])
    True
    """
    check_confidence(confidence)
    if n_resamples < 100:
        raise InputError(f"n_resamples is {n_resamples}; give at least 100, better 1000")
    readings = _readings(values, condition, pair)
    n_models = len(readings)
    codes = _codes(reads, readings, condition)
    masks = _masks(groups, readings)
    found = _found(different, readings)
    names = tuple((what, group) for group in masks for what in ("mean", "size2", *(("share",) if found else ())))
    generator = np.random.default_rng(rng)
    weights = {
        code: _weights(readings[int(np.argmax(codes == code))], n_resamples, generator) for code in np.unique(codes)
    }
    estimate = np.empty((n_models, len(names)))
    moved = np.empty((n_resamples, n_models, len(names)))
    left_out = np.zeros(n_models, dtype=np.intp)
    for m, reading in enumerate(readings):
        effects = _observed(reading)
        use = np.isfinite(effects.g)
        left_out[m] = int((~use).sum())
        estimate[m], moved[:, m] = _quantities(
            reading,
            weights[codes[m]],
            effects,
            {name: mask[m] & use for name, mask in masks.items()},
            None if found is None else found[m],
        )
        if callback is not None:
            callback(m + 1, n_models)
    unit_dof = np.array([reading.dof for reading in readings])
    # draws of n units vary by (n - 1) / n of what samples do
    inflation = np.array([sum(r.strata) / r.dof for r in readings])
    centred = moved - moved.mean(axis=0)
    covariance = np.einsum("bmk,bnk->kmn", centred, centred, optimize=True) / (n_resamples - 1)
    covariance *= np.sqrt(np.multiply.outer(inflation, inflation))
    covariance *= codes[:, None] == codes[None, :]
    picks = generator.uniform(size=(n_resamples, n_models))
    return MultiBootstrap(names, estimate, covariance, centred, picks, unit_dof, left_out, confidence)


def _readings(
    values: Sequence[ArrayLike], condition: Sequence[ArrayLike], pair: Sequence[ArrayLike | None] | None
) -> list[_Reading]:
    partners = [None] * len(values) if pair is None else list(pair)
    if not len(values) == len(condition) == len(partners) or not len(values):
        raise InputError(
            f"there are values of {len(values)} models, conditions of {len(condition)} and pairs of {len(partners)}; "
            "give one of each a model"
        )
    found = []
    for one, side, joined in zip(values, condition, partners, strict=True):
        samples = split_samples(check_values(one), side, pair=joined)
        found.append(_Reading(samples.a, samples.b, samples.paired))
    return found


def _codes(reads: ArrayLike | None, readings: Sequence[_Reading], condition: Sequence[ArrayLike]) -> NDArray[np.intp]:
    n_models = len(readings)
    given = np.zeros(n_models, dtype=np.intp) if reads is None else np.asarray(reads)
    if given.shape != (n_models,):
        raise InputError(f"reads has shape {given.shape}; give one code for each of the {n_models} models")
    codes = np.unique(given, return_inverse=True)[1].astype(np.intp)
    for code in range(int(codes.max()) + 1):
        first, *others = np.flatnonzero(codes == code).tolist()
        for other in others:
            if readings[other].strata != readings[first].strata or not np.array_equal(
                np.asarray(condition[first]), np.asarray(condition[other])
            ):
                raise InputError(
                    f"models {first} and {other} are said to read the same units, but these differ in number or "
                    "condition; give them two codes in reads"
                )
    return codes


def _masks(
    groups: Mapping[str, Sequence[ArrayLike]] | None, readings: Sequence[_Reading]
) -> dict[str, list[NDArray[np.bool_]]]:
    masks = {"all": [np.ones(reading.a.shape[1], dtype=bool) for reading in readings]}
    for name, given in (groups or {}).items():
        mine = [np.asarray(mask, dtype=bool) for mask in given]
        shapes = [(reading.a.shape[1],) for reading in readings]
        if [mask.shape for mask in mine] != shapes:
            raise InputError(f"group {name!r} does not mark the features of each model; give one mask a model")
        if not all(mask.any() for mask in mine):
            raise InputError(f"group {name!r} has no feature in a model; give groups that every model has")
        masks[name] = mine
    return masks


def _found(different: Sequence[ArrayLike] | None, readings: Sequence[_Reading]) -> list[NDArray[np.bool_]] | None:
    if different is None:
        return None
    found = [np.asarray(mask, dtype=bool) for mask in different]
    if [mask.shape for mask in found] != [(reading.a.shape[1],) for reading in readings]:
        raise InputError("different does not mark the features of each model; give one mask a model")
    return found


def _weights(reading: _Reading, n_resamples: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """How often each draw has each unit: float64, (n_resamples, n) of each stratum."""
    return tuple(rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64) for n in reading.strata)


@dataclass(frozen=True)
class _Effects:
    """Hedges' g, squared effects less their noise, and t; arrays of one shape."""

    g: NDArray[np.float64]
    squared: NDArray[np.float64]
    t: NDArray[np.float64]


def _effects(
    reading: _Reading,
    means: tuple[NDArray[np.float64], NDArray[np.float64]],
    variances: tuple[NDArray[np.float64], NDArray[np.float64]],
    var_difference: NDArray[np.float64] | None,
) -> _Effects:
    n_a, n_b = len(reading.a), len(reading.b)
    difference = means[0] - means[1]
    total = variances[0] + variances[1]
    if var_difference is None:
        share = (n_a - 1) / (n_a + n_b - 2)
        scale2 = share * variances[0] + (1 - share) * variances[1]
        error2 = variances[0] / n_a + variances[1] / n_b
        dof = np.full_like(total, n_a + n_b - 2.0)
    else:
        scale2, error2 = total / 2, var_difference / n_a
        # partners who are alike tell of one variance between them, as `small_sample_factor` has it
        alike = np.divide(total - var_difference, total, out=np.zeros_like(total), where=total > 0)
        dof = 2.0 * (n_a - 1.0) / (1.0 + np.clip(alike, -1, 1) ** 2)
    infinite = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    d = np.divide(difference, np.sqrt(scale2), out=infinite.copy(), where=scale2 > 0)
    noise = np.divide(error2, scale2, out=np.zeros_like(scale2), where=scale2 > 0)
    t = np.divide(difference, np.sqrt(error2), out=infinite, where=error2 > 0)
    return _Effects(
        np.asarray(hedges_correction(dof) * d, dtype=np.float64), d**2 * np.maximum(dof - 2, 0) / dof - noise, t
    )


def _observed(reading: _Reading) -> _Effects:
    a, b = reading.a, reading.b
    constant = (np.ptp(a, axis=0) == 0, np.ptp(b, axis=0) == 0)
    variances = tuple(
        np.where(same, 0.0, sample.var(axis=0, ddof=1)) for sample, same in zip((a, b), constant, strict=True)
    )
    means = tuple(np.where(same, sample[0], sample.mean(axis=0)) for sample, same in zip((a, b), constant, strict=True))
    apart = (a - b).var(axis=0, ddof=1) if reading.paired else None
    return _effects(reading, (means[0], means[1]), (variances[0], variances[1]), apart)


def _quantities(
    reading: _Reading,
    weights: tuple[NDArray[np.float64], ...],
    found: _Effects,
    masks: Mapping[str, NDArray[np.bool_]],
    different: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantities of one model as observed, shape (n,), and in every draw of its units, shape (n_resamples, n)."""
    n_draws, n_features = len(weights[0]), len(found.g)
    least = np.inf
    if different is not None and different.any():
        least = float(np.abs(found.t)[different].min())
    sums = {name: [np.zeros(n_draws) for _ in range(3)] for name in masks}
    for start in range(0, n_features, _FEATURES):
        block = slice(start, min(start + _FEATURES, n_features))
        drawn = _drawn(reading, block, weights)
        # a draw in which a condition happens to be constant says as little as no draw
        finite = np.isfinite(drawn.g)
        g = np.where(finite, drawn.g, found.g[block])
        squared = np.where(finite, drawn.squared, found.squared[block])
        passed = np.abs(drawn.t) >= least
        for name, mask in masks.items():
            for place, amount in enumerate((g, squared, passed)):
                sums[name][place] += amount[:, mask[block]].sum(axis=1)
    observed, moved = [], []
    for name, mask in masks.items():
        n = int(mask.sum())
        if not n:
            raise InputError(f"group {name!r} has no feature with a finite effect in a model; leave the model out")
        observed += [float(found.g[mask].mean()), float(found.squared[mask].mean())]
        moved += [sums[name][0] / n, sums[name][1] / n]
        if different is not None:
            observed.append(float(different[mask].mean()))
            moved.append(sums[name][2] / n)
    return np.array(observed), np.stack(moved, axis=1)


def _sums(sample: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and unbiased variance of every draw, shape (n_resamples, n_features)."""
    n = len(sample)
    centre = sample.mean(axis=0)
    centred = sample - centre
    first, second = weights @ centred / n, weights @ centred**2 / n
    variance = (second - first**2) * n / (n - 1)
    floor = _ROUNDING * centred.var(axis=0)
    return centre + first, np.where(variance <= floor, 0.0, variance)


def _drawn(reading: _Reading, block: slice, weights: tuple[NDArray[np.float64], ...]) -> _Effects:
    """Effects of every draw, shape (n_resamples, n_features of the block)."""
    a, b = reading.a[:, block], reading.b[:, block]
    mean_a, var_a = _sums(a, weights[0])
    mean_b, var_b = _sums(b, weights[-1])
    apart = _sums(a - b, weights[0])[1] if reading.paired else None
    return _effects(reading, (mean_a, mean_b), (var_a, var_b), apart)
