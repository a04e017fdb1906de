"""All tests of one measure over all heads along a continuous predictor instead of two groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.adjustment import robust_regression
from metastable.stats.analysis import (
    Analysis,
    Described,
    Family,
    Floats,
    Ingredients,
    Progress,
    Settings,
    TokenRows,
    assemble,
)
from metastable.stats.bayes import PRIORS, log_slope_bayes_factor
from metastable.stats.bootstrap import bootstrap_slope, jackknife_error
from metastable.stats.contexts.generalized import Observations, over_both
from metastable.stats.correlation import (
    PartialCorrelation,
    correlation_equivalence,
    partial_correlation,
    slope_design,
)
from metastable.stats.determined import independent_columns
from metastable.stats.effect_kinds import SLOPE
from metastable.stats.effects import EffectSize
from metastable.stats.permutations.permutation import PermutationResult, permutation_test_contrast
from metastable.stats.samples import covariate_matrix, is_constant
from metastable.stats.single_units import Holdable, holdable
from metastable.stats.superiority import probability_of_superiority

__all__ = ["Slopes", "analyse_slope", "fit_slopes", "holdable_beside_slope"]

# The prior of a slope that agrees with that of a difference has half of its scale: see `slope_bayes_factor`.
_OF_SLOPE = 0.5


@dataclass(frozen=True)
class Slopes:
    """Least squares slope of every feature, with errors robust to unequal variances.

    Attributes
    ----------
    estimate : ndarray of float64, shape (n_features,)
        Change of the feature per unit of the predictor; 0 where the feature is flat.
    low, high : ndarray of float64, shape (n_features,)
        Limits of its confidence interval.
    p : ndarray of float64, shape (n_features,)
        Two-sided p of its t; 1 where the feature is flat.
    """

    estimate: Floats
    low: Floats
    high: Floats
    p: Floats


def fit_slopes(
    values: Floats, predictor: Floats, covariates: Floats | None = None, *, confidence: float = 0.95
) -> Slopes:
    """Regress every feature on a continuous predictor beside covariates.

    Parameters
    ----------
    values : ndarray of float64, shape (n_units, n_features)
        One row per unit of inference.
    predictor : ndarray of float64, shape (n_units,)
        For instance the mean rating of each sequence.
    covariates : ndarray of float64, shape (n_units, n_covariates), or None
        Nuisance covariates.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    Slopes

    Raises
    ------
    InputError
        As `slope_design`; or if one unit alone determines a coefficient.

    Notes
    -----
    Ordinary least squares with HC3 standard errors (MacKinnon & White 1985) and t tails: a count varies more where
    it is large, so that the variance along the predictor is not constant.
    """
    design = slope_design(predictor, covariates)
    fit = robust_regression(values, design)
    flat = is_constant(values)
    slope, se = np.where(flat, 0.0, fit.coefficients[1]), np.where(flat, 0.0, fit.se[1])
    undefined = np.where(slope == 0, 0.0, np.copysign(np.inf, slope))
    t = np.divide(slope, se, out=undefined, where=se > 0)
    reach = se * special.stdtrit(fit.dof, 0.5 + confidence / 2)
    p = np.asarray(2 * special.stdtr(fit.dof, -np.abs(t)), dtype=np.float64)
    return Slopes(slope, slope - reach, slope + reach, p)


@dataclass(frozen=True)
class _Variant:
    """The tests with one set of covariates, or with none."""

    slopes: Slopes
    correlation: PartialCorrelation
    effect: EffectSize
    permutation: PermutationResult

    def columns(self, suffix: str, family: Family, settings: Settings) -> dict[str, Floats]:
        """Columns of the details, named with a suffix."""
        return {
            f"slope_{suffix}": self.slopes.estimate,
            f"ci_low_{suffix}": self.slopes.low,
            f"ci_high_{suffix}": self.slopes.high,
            f"p_{suffix}": self.slopes.p,
            f"p_{suffix}_fdr": family.corrected(self.slopes.p, settings),
            f"correlation_{suffix}": self.correlation.estimate,
            f"d_{suffix}": self.effect.estimate,
            f"d_low_{suffix}": self.effect.low,
            f"d_high_{suffix}": self.effect.high,
            f"p_perm_{suffix}": self.permutation.p_perm,
            f"p_perm_{suffix}_fdr": family.corrected(self.permutation.p_perm, settings),
        }


def _variant(
    values: Floats,
    predictor: Floats,
    covariates: Floats | None,
    family: Family,
    settings: Settings,
    progress: Progress | None,
) -> _Variant:
    design = slope_design(predictor, covariates)
    correlation = partial_correlation(values, predictor, covariates)
    permutation = permutation_test_contrast(
        values,
        design,
        np.eye(1, design.shape[1], 1)[0],
        family=family.codes,
        omnibus=family.omnibus,
        n_permutations=settings.n_permutations,
        alpha=settings.alpha,
        rng=settings.seed,
        callback=progress,
    )
    effect = bootstrap_slope(values, predictor, covariates, n_resamples=settings.n_resamples, rng=settings.seed)
    return _Variant(fit_slopes(values, predictor, covariates), correlation, effect, permutation)


def analyse_slope(
    values: Floats,
    predictor: Floats,
    features: pd.DataFrame,
    *,
    condition: NDArray[np.bool_],
    threshold: float,
    measure: str,
    medians: Floats,
    tokens: TokenRows | None = None,
    covariates: pd.DataFrame | None = None,
    recorded: pd.DataFrame | None = None,
    contexts: Observations | None = None,
    settings: Settings | None = None,
    on_permutations: Progress | None = None,
    on_models: Progress | None = None,
) -> Analysis:
    """Test every feature for a slope over a continuous predictor.

    Parameters
    ----------
    values : ndarray of float64, shape (n_units, n_features)
        The unit of inference is the row: a sequence, or the mean over a cluster of sequences.
    predictor : ndarray of float64, shape (n_units,)
        The continuous predictor. A rating scaled to 0..1 makes every slope the difference between the most concrete
        and the most abstract rating possible.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``. Corrections run over the features of a site.
    condition : ndarray of bool, shape (n_units,)
        True for the units of the upper half by the predictor. The halves describe (numbers, means, medians,
        probability of superiority); nothing is tested on them.
    threshold : float
        Threshold of the measure, for the column of that name.
    measure : str
        Name of the measure, for the column of that name.
    medians : ndarray of float64, shape (2, n_features)
        Median over the tokens of each half.
    tokens : TokenRows or None
        Rows for the mixed model, the predictor the second column of their design; without them its columns are NaN.
    covariates : pandas.DataFrame of n_units rows, or None
        Nuisance covariates that every test holds fixed; None or no column for none.
    recorded : pandas.DataFrame of n_units rows, or None
        All covariates that were recorded. Where `covariates` has none, the details show what holding all of these
        fixed would do; where it has some, what the tests without them say.
    contexts : Observations or None
        Every observation with its item, its context, its predictor and its covariates. The tests are then over both,
        as `metastable.stats.contexts.generalized.over_both` has them, and not over the units alone.
    settings : Settings or None
        Choices made before looking.
    on_permutations, on_models : callable or None
        Told of progress as ``f(done, total)``.

    Returns
    -------
    Analysis
        Of `metastable.stats.effect_kinds.SLOPE`, with these meanings in ``heads``:

        * ``n_a, n_b, mean_a, mean_b, median_a, median_b``: the halves, for description
        * ``slope``: per unit of the predictor; ``ci_low, ci_high``: its HC3 interval
        * ``partial_d``: the d of the partial correlation (`correlation_effect`), without small-sample correction;
          ``d_low, d_high`` in the details: its BCa interval (`bootstrap_slope`)
        * ``statistic, p_perm, p_perm_fwer``: the slope over its HC3 error, by flipped residuals
        * ``lmm_estimate``: slope of the mixed model on the tokens
        * ``bf10``: `slope_bayes_factor`; ``p_tost``: `correlation_equivalence` with the error of
          `jackknife_error`

        and in ``details``, beside those of `metastable.stats.analysis.assemble`, ``correlation`` and for both
        suffixes ``unadjusted`` and ``adjusted``: ``slope_, ci_low_, ci_high_, p_`` (HC3), ``p_..._fdr``,
        ``correlation_, d_, d_low_, d_high_, p_perm_`` and ``p_perm_..._fdr``. One of the two is what ``heads`` holds.
        Over contexts all of these are of the mixed model over both and of rotations (`crossed_slope_test`).

    Raises
    ------
    InputError
        For what `slope_design`, `permutation_test_contrast` and `fit_mixed_models` refuse: NaN, a predictor that does
        not vary, covariates that explain it or one another.

    Notes
    -----
    The signs of the residuals of the model without the predictor are flipped, so that each keeps its own variance
    (Davidson & Flachaire 2008; Hemerik, Goeman & Finos 2020), and the slope is studentized by HC3. Where the variance
    changes along the predictor, exchanges of the residuals (Freedman & Lane 1983) studentized alike reject two to three
    times too often at small levels in samples of 40 (`benchmarks/stats_errors.py`). The flips serve all features at
    once.
    """
    settings, family = settings or Settings(), Family(features)
    if contexts is None:
        found = _over_units(values, predictor, condition, covariates, recorded, family, settings, on_permutations)
    else:
        if contexts.predictor is None:
            raise InputError("the observations in contexts have no predictor; give Observations(predictor=...)")
        if covariates is not None and covariates.shape[1]:
            raise InputError(
                "with contexts the covariates are those of the observations; give them as Observations(covariates=...)"
            )
        superiority = probability_of_superiority(values, condition)
        found = over_both(contexts, SLOPE, superiority, family, settings, on_permutations)
    described = Described(values, condition, medians, threshold, measure)
    return assemble(found, described, family, tokens=tokens, settings=settings, on_models=on_models)


def _over_units(
    values: Floats,
    predictor: Floats,
    condition: NDArray[np.bool_],
    covariates: pd.DataFrame | None,
    recorded: pd.DataFrame | None,
    family: Family,
    settings: Settings,
    on_permutations: Progress | None,
) -> Ingredients:
    """Run the tests over units, with and without covariates."""
    n_units = len(values)
    chosen = _matrix(covariates, n_units)
    found = Holdable(covariates) if chosen is not None else holdable_beside_slope(values, predictor, recorded)
    beside = found.covariates
    n_variants = 1 if beside is None else 2

    def tell(done: int, total: int, part: int) -> None:
        if on_permutations is not None:
            on_permutations(part * total + done, n_variants * total)

    main = _variant(values, predictor, chosen, family, settings, partial(tell, part=0))
    main_name, other_name = ("unadjusted", "adjusted") if chosen is None else ("adjusted", "unadjusted")
    other = _matrix(beside, n_units) if chosen is None else None
    variants = {main_name: main}
    if n_variants == 2:
        variants[other_name] = _variant(values, predictor, other, family, settings, partial(tell, part=1))
    adjusted: dict[str, Floats] = {}
    for name in ("unadjusted", "adjusted"):
        if name in variants:
            adjusted |= variants[name].columns(name, family, settings)
    correlation, slopes = main.correlation, main.slopes

    def interval(confidence: float) -> tuple[Floats, Floats]:
        fit = fit_slopes(values, predictor, chosen, confidence=confidence)
        return fit.low, fit.high

    return Ingredients(
        effect=SLOPE,
        estimate=EffectSize(slopes.estimate, slopes.low, slopes.high, correlation.flat),
        size=main.effect,
        permutation=main.permutation,
        log_bf10={
            scale: log_slope_bayes_factor(
                correlation.t, n_units, n_covariates=correlation.n_covariates, scale=scale * _OF_SLOPE
            )
            for scale in PRIORS
        },
        p_tost=correlation_equivalence(
            correlation, margin=settings.margin, error=jackknife_error(values, predictor, chosen)
        ),
        superiority=probability_of_superiority(values, condition),
        interval=interval,
        beside_size={"correlation": correlation.estimate},
        adjusted=adjusted,
        no_adjustment=found.reason,
        determined=() if beside is None else _determined(beside),
        single=found.single,
    )


def _matrix(covariates: pd.DataFrame | None, n_units: int) -> Floats | None:
    if covariates is None or covariates.shape[1] == 0:
        return None
    return covariate_matrix(covariates, n_units)


def _determined(covariates: pd.DataFrame) -> tuple[str, ...]:
    """Names of the covariates that vary and that the ones before them determine, which `slope_design` leaves out."""
    table = covariate_matrix(covariates, len(covariates))
    varies = ~is_constant(table)
    kept = independent_columns((table - table.mean(axis=0))[:, varies], np.ones((len(table), 1)))
    names = [str(name) for name, one in zip(covariates.columns, varies, strict=True) if one]
    return tuple(name for name, is_kept in zip(names, kept, strict=True) if not is_kept)


def holdable_beside_slope(values: Floats, predictor: Floats, recorded: pd.DataFrame | None) -> Holdable:
    """Find the recorded covariates that slopes can be adjusted for; arguments as `analyse_slope` takes them."""
    return holdable(recorded, lambda held: fit_slopes(values, predictor, covariate_matrix(held, len(values))))
