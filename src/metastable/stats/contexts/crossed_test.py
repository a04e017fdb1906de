"""A test of every feature that generalizes over items and over the contexts that carry them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.contexts.crossed_fit import CrossedFit, fit_crossed
from metastable.stats.contexts.crossed_input import (
    CrossedDesign,
    Outcome,
    check_crossed_input,
    check_crossed_slope_input,
    level_means,
)
from metastable.stats.contexts.strata import FRatio, Stratum, interaction_with_context, min_f, stratum
from metastable.stats.effects import check_confidence, hedges_correction
from metastable.stats.mixed_models.satterthwaite import t_statistic, two_sided_p
from metastable.stats.samples import is_constant

__all__ = [
    "CrossedParts",
    "CrossedTest",
    "crossed_equivalence",
    "crossed_parts",
    "crossed_slope_parts",
    "crossed_slope_test",
    "crossed_test",
    "from_parts",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# A spread of a standardized predictor, or a part of the largest value, below this is rounding.
PREDICTOR_ROUNDING = 1e-12


@dataclass(frozen=True)
class CrossedTest:
    """An effect over items and contexts, one entry a feature.

    Attributes
    ----------
    estimate, se, dof, statistic, p : ndarray of float64, shape (n_features,)
        Of the mixed model: a - b, its standard error, Satterthwaite's degrees of freedom, t, and the two-sided p, which
        generalizes over both items and contexts.
    low, high : ndarray of float64, shape (n_features,)
        Interval of the estimate, by the same t.
    g, g_low, g_high : ndarray of float64, shape (n_features,)
        The estimate in standard deviations of the items' means (Hedges' g), and its interval.
    standardizer : ndarray of float64, shape (n_features,)
        That standard deviation: the root of the mean variance where the items are in both conditions, else pooled.
    f_items, dof_items, p_items : ndarray of float64, shape (n_features,)
        F1: over items alone, contexts averaged away.
    f_contexts, dof_contexts, p_contexts : ndarray of float64, shape (n_features,)
        F2: over contexts alone, items averaged away.
    min_f, dof_min_f, p_min_f : ndarray of float64, shape (n_features,)
        min F' (Clark 1973).
    f_interaction, dof_interaction, p_interaction : ndarray of float64, shape (n_features,)
        Whether the effect depends on the context: F of condition by context, items fixed; its degrees of freedom below.
        NaN where no two contexts are in both conditions.
    variance_item, variance_item_slope, variance_context, variance_context_slope, variance_residual : ndarray
        Variances of the mixed model; NaN for those that it does not have.
    criterion : ndarray of float64, shape (n_features,)
        Its REML criterion.
    singular, converged, flat : ndarray of bool, shape (n_features,)
        A variance at its bound; the optimum found (else p = 1); nothing varies (p = 1 for an effect of zero).
    n_items, n_contexts : int
        Levels.
    formula : str
        The mixed model, in lme4's notation.
    determined : tuple of str
        Covariates that were left out, since those before them determine them.
    """

    estimate: Floats
    se: Floats
    dof: Floats
    statistic: Floats
    p: Floats
    low: Floats
    high: Floats
    g: Floats
    g_low: Floats
    g_high: Floats
    standardizer: Floats
    f_items: Floats
    dof_items: Floats
    p_items: Floats
    f_contexts: Floats
    dof_contexts: Floats
    p_contexts: Floats
    min_f: Floats
    dof_min_f: Floats
    p_min_f: Floats
    f_interaction: Floats
    dof_interaction: Floats
    p_interaction: Floats
    variance_item: Floats
    variance_item_slope: Floats
    variance_context: Floats
    variance_context_slope: Floats
    variance_residual: Floats
    criterion: Floats
    singular: Bools
    converged: Bools
    flat: Bools
    n_items: int
    n_contexts: int
    formula: str
    determined: tuple[str, ...] = ()

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        """Return the lower and upper limits of the estimate at a confidence."""
        return _limits(self.estimate, self.se, self.dof, confidence)

    def table(self) -> pd.DataFrame:
        """Return one row per feature, with a column for each array."""
        return pd.DataFrame({k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)})


@dataclass(frozen=True)
class CrossedParts:
    """A checked design, its fit and both strata: what tests of single features and of families are made from.

    Attributes
    ----------
    design : CrossedDesign
        The rows.
    fit : CrossedFit
        The mixed models.
    items, contexts : Stratum
        The effect over items, and over contexts.
    """

    design: CrossedDesign
    fit: CrossedFit
    items: Stratum
    contexts: Stratum


def _fitted(design: CrossedDesign) -> CrossedParts:
    return CrossedParts(design, fit_crossed(design), stratum(design, "item"), stratum(design, "context"))


def crossed_parts(
    values: ArrayLike,
    condition: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    outcome: Outcome = "auto",
    covariates: ArrayLike | pd.DataFrame | None = None,
) -> CrossedParts:
    """Check a design and fit it.

    Parameters
    ----------
    values, condition, item, context, outcome, covariates
        As `crossed_test` takes them.

    Returns
    -------
    CrossedParts

    Raises
    ------
    InputError
        As `crossed_test`.
    """
    design = check_crossed_input(values, condition, item, context, outcome=outcome, covariates=covariates)
    return _fitted(design)


def crossed_slope_parts(
    values: ArrayLike,
    predictor: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    covariates: ArrayLike | pd.DataFrame | None = None,
) -> CrossedParts:
    """Check a design with a predictor and fit it.

    Parameters
    ----------
    values, predictor, item, context, covariates
        As `crossed_slope_test` takes them.

    Returns
    -------
    CrossedParts

    Raises
    ------
    InputError
        As `crossed_slope_test`.
    """
    design = check_crossed_slope_input(values, predictor, item, context, covariates=covariates)
    return _fitted(design)


def crossed_slope_test(
    values: ArrayLike,
    predictor: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    covariates: ArrayLike | pd.DataFrame | None = None,
    confidence: float = 0.95,
) -> CrossedTest:
    """Test every feature for a slope over a continuous predictor, over items and over contexts.

    Parameters
    ----------
    values : array_like of float, shape (n_observations,) or (n_observations, n_features)
        One row per observation.
    predictor : array_like of float, shape (n_observations,)
        Usually the same for all observations of an item, such as the rating of a word.
    item, context : array_like, shape (n_observations,)
        Labels.
    covariates : array_like of float or pandas.DataFrame, shape (n_observations, n_covariates), or None
        Held fixed, as fixed effects of the mixed model. One that does not vary, or that those before it determine, is
        left out.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    CrossedTest
        Whose estimate is the slope per unit of the predictor, and whose `g` is the d of a partial correlation
        (`metastable.stats.correlation.partial_correlation`): the slope over `standardizer`, half the deviation of
        what the predictor leaves of the items' means over the deviation of what covariates leave of the predictor.

    Raises
    ------
    InputError
        For shapes that do not match, a value, predictor or covariate that is not finite, a missing label, a predictor
        that does not vary or that covariates explain, too few items or contexts to generalize over, and contexts that
        repeat the items.

    Notes
    -----
    ``value ~ predictor + covariates + (1 | item) + (1 + predictor | context)``, as lme4 and lmerTest fit it with a
    standardized predictor, which only matters to the degrees of freedom where a variance is at its bound. Items have
    slopes too where the predictor varies within them, and none has an effect whose levels have one observation each.
    F1 is over the items' means, F2 over the slopes within contexts (Lorch & Myers 1990).

    References
    ----------
    Those of `crossed_test`. Lorch & Myers (1990), Journal of Experimental Psychology: Learning, Memory, and Cognition
    16.

    Examples
    --------
    Sixty words in eight sentences, and a slope that differs between these:

    >>> rng = np.random.default_rng(4)
    >>> word, sentence = (axis.ravel() for axis in np.indices((60, 8)))
    >>> rating = rng.uniform(1, 5, 60)[word]
    >>> values = rng.normal(scale=0.4, size=8)[sentence] * rating + rng.normal(size=480)
    >>> found = crossed_slope_test(values, rating, word, sentence)
    >>> print(found.formula)
    value ~ predictor + (1 | item) + (1 + predictor | context)
    >>> bool(found.p_items[0] < found.p[0]), bool(found.p_interaction[0] < 0.001)
    (True, True)
    """
    check_confidence(confidence)
    parts = crossed_slope_parts(values, predictor, item, context, covariates=covariates)
    return from_parts(parts, confidence=confidence)


def crossed_test(
    values: ArrayLike,
    condition: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    outcome: Outcome = "auto",
    covariates: ArrayLike | pd.DataFrame | None = None,
    confidence: float = 0.95,
) -> CrossedTest:
    """Test every feature for a difference of two conditions over items and over contexts.

    Items are words, pairs of words, answers; contexts are the sentences, clips or readers that carry them. Both were
    drawn from more, and both are random here.

    Parameters
    ----------
    values : array_like of float, shape (n_observations,) or (n_observations, n_features)
        One row per observation.
    condition : array_like of bool, shape (n_observations,)
        True (or 1) for condition a, False (or 0) for b; effects are a - b.
    item, context : array_like, shape (n_observations,)
        Labels. An item (a context) is in one condition or in both. A pair of words is one item, if both its words go
        through the same contexts or are matched.
    outcome : {"auto", "differences", "observations"}
        What is modelled. By default differences within the cells of item and context wherever all such cells have
        equally many observations of both conditions, and otherwise the observations.
    covariates : array_like of float or pandas.DataFrame, shape (n_observations, n_covariates), or None
        Held fixed, as fixed effects of the mixed model; where differences are modelled, by the differences of the
        covariates. One that does not vary, or that those before it determine, is left out.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    CrossedTest

    Raises
    ------
    InputError
        For shapes that do not match, a value that is not finite, a missing label, a condition that is not of two
        values, fewer than two items or contexts to generalize over, contexts that repeat the items, with
        ``outcome="differences"`` items in one condition each or cells without a partner, a covariate that is not
        finite or cannot be told from the condition, and more covariates than the items or the contexts can carry.

    Notes
    -----
    *Differences* d are modelled as ``d ~ 1 + (1 | item) + (1 | context)``. While no variance is at its bound that is
    ``value ~ condition + (1 + condition | item) + (1 + condition | context) + (1 | item:context)``: whatever the two
    members of a pair have in common in a context drops out.

    *Observations* are modelled as ``value ~ condition + (1 + condition | item) + (1 + condition | context)``, without
    the slope of a factor whose levels lie in one condition each (or have no more than two observations), and without
    the effect of a factor whose levels have one observation each, which is the residual.

    Estimates and standard errors are those of lme4 (REML), p-values those of lmerTest (Satterthwaite), for all features
    at once: of complete designs in closed form, of others by Newton's method. A variance at its bound is handled as
    they do. In simulations (`benchmarks/stats_contexts.py`) this p keeps its level with six contexts as with forty,
    where slopes vary over contexts; without any such variance it is conservative. F1 alone errs as soon as there is
    some, F2 as soon as items vary and contexts do not, and min F' is conservative.

    Beside covariates estimate, interval, g, p and all tests are of the adjusted difference; g stays in standard
    deviations of the items' means as they were observed. F1 and F2 hold the covariates fixed as
    `metastable.stats.contexts.strata.stratum` says.

    The effect over contexts of different weight is that of the mixed model; F1 and F2 give each item, and each
    context, the same weight.

    References
    ----------
    Clark (1973), Journal of Verbal Learning and Verbal Behavior 12. Baayen, Davidson & Bates (2008), Journal of Memory
    and Language 59. Barr, Levy, Scheepers & Tily (2013), Journal of Memory and Language 68. Kuznetsova, Brockhoff &
    Christensen (2017), Journal of Statistical Software 82(13).

    Examples
    --------
    Two hundred pairs, and an effect that differs between their six sentences:

    >>> rng = np.random.default_rng(4)
    >>> pair, sentence, side = (axis.ravel() for axis in np.indices((200, 6, 2)))
    >>> slopes = rng.normal(scale=0.3, size=6)
    >>> values = (slopes - slopes.mean() + 0.2)[sentence] * side + rng.normal(size=2400)
    >>> found = crossed_test(values, side == 1, pair, sentence)
    >>> print(found.p_items.round(3), found.p.round(3), found.p_interaction.round(3))
    [0.] [0.295] [0.]
    """
    check_confidence(confidence)
    parts = crossed_parts(values, condition, item, context, outcome=outcome, covariates=covariates)
    return from_parts(parts, confidence=confidence)


def from_parts(parts: CrossedParts, *, confidence: float = 0.95) -> CrossedTest:
    """Put the results of checked and fitted data together.

    Parameters
    ----------
    parts : CrossedParts
        From `crossed_parts`.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    CrossedTest
    """
    design, fit = parts.design, parts.fit
    statistic = t_statistic(fit.estimate, fit.se)
    low, high = _limits(fit.estimate, fit.se, fit.dof, confidence)
    size = _size(design, fit, confidence) if design.predictor is None else _size_of_slope(design, fit, confidence)
    first, second = parts.items.f, parts.contexts.f
    both, interaction = min_f(first, second), interaction_with_context(design)
    return CrossedTest(
        estimate=fit.estimate,
        se=fit.se,
        dof=fit.dof,
        statistic=statistic,
        p=two_sided_p(statistic, fit.dof),
        low=low,
        high=high,
        **size,
        **_columns("items", first),
        **_columns("contexts", second),
        min_f=both.statistic,
        dof_min_f=both.dof,
        p_min_f=both.p,
        **_columns("interaction", interaction),
        variance_item=fit.variance_item,
        variance_item_slope=fit.variance_item_slope,
        variance_context=fit.variance_context,
        variance_context_slope=fit.variance_context_slope,
        variance_residual=fit.variance_residual,
        criterion=fit.criterion,
        singular=fit.singular,
        converged=fit.converged,
        flat=fit.flat,
        n_items=len(design.in_both[0]),
        n_contexts=len(design.in_both[1]),
        formula=design.formula,
        determined=design.determined,
    )


def _limits(estimate: Floats, se: Floats, dof: Floats, confidence: float) -> tuple[Floats, Floats]:
    reach = np.where(se > 0, se * special.stdtrit(dof, 0.5 + confidence / 2), 0.0)
    return estimate - reach, estimate + reach


def _columns(name: str, f: FRatio) -> dict[str, Floats]:
    return {f"f_{name}": f.statistic, f"dof_{name}": f.dof, f"p_{name}": f.p}


def _size(design: CrossedDesign, fit: CrossedFit, confidence: float) -> dict[str, Floats]:
    """Hedges' g; its interval joins the error of the estimate and that of the standard deviation."""
    side, item = design.side_condition, design.side_item
    variances, sizes = [], []
    for one in (side, ~side):
        codes = np.unique(item[one], return_inverse=True)[1].astype(np.int64)
        means = level_means(design.sides[one], codes)
        few = len(means) < 2
        variance = np.zeros(means.shape[1]) if few else means.var(axis=0, ddof=1)
        variances.append(np.where(is_constant(means), 0.0, variance))
        sizes.append(len(means))
    dof = float(sum(sizes) - 2)
    weight = 0.5 if design.in_both[0].all() else (sizes[0] - 1) / dof
    scale = np.sqrt(weight * variances[0] + (1.0 - weight) * variances[1])
    return _standardized(fit, scale, dof, float(hedges_correction(dof)), confidence)


def _size_of_slope(design: CrossedDesign, fit: CrossedFit, confidence: float) -> dict[str, Floats]:
    """Take the d of a partial correlation of the items' means; of observations where the means of x do not vary."""
    values, x = np.asarray(design.values), design.predictor
    if x is None:
        raise TypeError("the design has no predictor")
    columns = np.column_stack([x, design.covariates, values])
    means = level_means(columns, design.item.codes)
    if np.ptp(means[:, 0]) > PREDICTOR_ROUNDING:
        columns = means
    n_held = len(design.held)
    base = np.column_stack([np.ones(len(columns)), columns[:, 1 : 1 + n_held]])
    rest = np.delete(columns, np.s_[1 : 1 + n_held], axis=1)
    left = rest - base @ np.linalg.lstsq(base, rest, rcond=None)[0]
    x, y = left[:, 0], left[:, 1:]
    along = x @ x
    error = np.sum((y - np.outer(x, x @ y / along)) ** 2, axis=0)
    tiny = error <= (PREDICTOR_ROUNDING * np.abs(values).max(axis=0)) ** 2 * len(y)
    scale = np.where(tiny, 0.0, np.sqrt(error / along) / (2.0 * design.unit))
    return _standardized(fit, scale, max(float(len(y) - 2 - n_held), 1.0), 1.0, confidence)


def _standardized(
    fit: CrossedFit, scale: Floats, dof: float, correction: float, confidence: float
) -> dict[str, Floats]:
    """Effect over `scale`; its interval joins the error of the estimate and that of the scale."""
    spread = scale > 0
    g = np.divide(correction * fit.estimate, scale, out=np.zeros_like(scale), where=spread)
    g = np.where(spread | (fit.estimate == 0), g, np.copysign(np.inf, fit.estimate))
    relative = np.divide(correction * fit.se, scale, out=np.full_like(scale, np.nan), where=spread)
    with np.errstate(invalid="ignore"):
        reach = special.stdtrit(fit.dof, 0.5 + confidence / 2) * np.sqrt(relative**2 + g**2 / (2.0 * dof))
    return {"g": g, "g_low": g - reach, "g_high": g + reach, "standardizer": scale}


def crossed_equivalence(found: CrossedTest, *, margin: float = 0.2) -> Floats:
    """Test every feature for equivalence over items and contexts, within plus or minus `margin` standard deviations.

    Parameters
    ----------
    found : CrossedTest
        The effects.
    margin : float
        Smallest effect of interest, in units of the standardizer.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        The larger p of two one-sided t-tests (Schuirmann 1987); 1 where there is no standard deviation, or no fit.

    Raises
    ------
    InputError
        If `margin` is not positive and finite.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin is {margin}; give a positive effect in standard deviations, such as 0.2")
    room = margin * found.standardizer - np.abs(found.estimate)
    t = np.divide(room, found.se, out=np.copysign(np.inf, room), where=found.se > 0)
    return np.where((found.standardizer > 0) & found.converged, special.stdtr(found.dof, -t), 1.0)
