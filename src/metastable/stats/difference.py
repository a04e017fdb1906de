"""All tests of one measure over all heads for a difference of two groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.adjustment import adjustment_table
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
from metastable.stats.bayes import difference_bayes_factor
from metastable.stats.bootstrap import bootstrap_g
from metastable.stats.contexts.generalized import Observations, generalized
from metastable.stats.effect_kinds import DIFFERENCE
from metastable.stats.effects import hedges_g, mean_difference
from metastable.stats.equivalence import equivalence_test
from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.superiority import probability_of_superiority

__all__ = ["analyse"]


def analyse(
    values: NDArray[np.float64],
    condition: NDArray[np.bool_],
    features: pd.DataFrame,
    *,
    threshold: float,
    measure: str,
    medians: NDArray[np.float64],
    tokens: TokenRows | None = None,
    pair: NDArray[np.integer] | None = None,
    block: NDArray[np.integer] | None = None,
    covariates: NDArray[np.float64] | None = None,
    recorded: pd.DataFrame | None = None,
    contexts: Observations | None = None,
    settings: Settings | None = None,
    on_permutations: Progress | None = None,
    on_models: Progress | None = None,
) -> Analysis:
    """Test every feature for a difference between two conditions.

    Parameters
    ----------
    values : ndarray of float64, shape (n_units, n_features)
        The unit of inference is the row: a sequence, or the mean over a cluster of sequences.
    condition : ndarray of bool, shape (n_units,)
        True for condition a, False for b; every difference is a - b.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``. Corrections run over the features of a site.
    threshold : float
        Threshold of the measure, for the column of that name.
    measure : str
        Name of the measure, for the column of that name.
    medians : ndarray of float64, shape (2, n_features)
        Median over the tokens of each condition.
    tokens : TokenRows or None
        Rows for the mixed model; without them it is fitted on nothing and its columns are NaN.
    pair : ndarray of int or None, shape (n_units,)
        Code that joins a unit of a with one of b; the test then flips signs of pair differences.
    block : ndarray of int or None, shape (n_units,)
        Exchangeability block: labels are exchanged within blocks only.
    covariates : ndarray of float64 or None, shape (n_units, n_covariates)
        Nuisance covariates of all tests: by Freedman-Lane of the permutation test, as columns of the regressions
        behind the equivalence test and the Bayes factor. Means, differences and g stay as observed.
    recorded : pandas.DataFrame or None, n_units rows
        All covariates that were recorded: the details show each difference before and after adjusting for
        them, whether or not the tests do.
    contexts : Observations or None
        Every observation with its item and its context. The tests are then over both, as
        `metastable.stats.contexts.generalized.generalized` has them, and not over the units alone.
    settings : Settings or None
        Choices made before looking.
    on_permutations, on_models : callable or None
        Told of progress as ``f(done, total)``.

    Returns
    -------
    Analysis

    Raises
    ------
    InputError
        If there are both `contexts` and `covariates`. For what `permutation_test`, `fit_mixed_models` and
        `crossed_test` refuse: NaN, a condition with one unit, a pair without its partner, a covariate collinear with
        the condition.

    Notes
    -----
    A feature without variance gets p = 1 and ``flat = True`` in the details. How a verdict comes about says
    `metastable.stats.analysis.assemble`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values, condition = rng.normal(size=(400, 6)), np.arange(400) < 200
    >>> values[condition, 4] += 0.8
    >>> features = pd.DataFrame({"site": "self", "layer": [1, 1, 1, 2, 2, 2], "head": [1, 2, 3, 1, 2, 3]})
    >>> medians = np.stack([np.median(values[condition], axis=0), np.median(values[~condition], axis=0)])
    >>> settings = Settings(n_permutations=999, margin=0.5)
    >>> named = {"threshold": 0.9, "measure": "count"}
    >>> result = analyse(values, condition, features, medians=medians, settings=settings, **named)
    >>> print(result.heads[["layer", "head", "verdict"]].to_string(index=False))
     layer  head    verdict
         1     1 equivalent
         1     2 equivalent
         1     3 equivalent
         2     1 equivalent
         2     2  different
         2     3 equivalent
    """
    settings, family = settings or Settings(), Family(features)
    permutation = permutation_test(
        values,
        condition,
        statistic="welch" if pair is None else "paired",
        pair=pair,
        block=block,
        covariates=covariates,
        family=family.codes,
        omnibus=family.omnibus,
        n_permutations=settings.n_permutations,
        alpha=settings.alpha,
        rng=settings.seed,
        callback=on_permutations,
    )
    held = None if covariates is None else pd.DataFrame(covariates)
    boot_low, boot_high = _bootstrap(values, condition, pair, settings)
    adjusted, no_adjustment = _adjusted(values, condition, recorded, pair, family, settings)
    found = Ingredients(
        effect=DIFFERENCE,
        estimate=mean_difference(values, condition, pair=pair),
        size=hedges_g(values, condition, pair=pair),
        permutation=permutation,
        bf10=difference_bayes_factor(values, condition, pair=pair, covariates=covariates),
        p_tost=equivalence_test(values, condition, margin=settings.margin, pair=pair, covariates=held),
        superiority=probability_of_superiority(values, condition, pair=pair),
        beside_size={"g_boot_low": boot_low, "g_boot_high": boot_high},
        adjusted=adjusted,
        no_adjustment=no_adjustment,
    )
    if contexts is not None:
        if covariates is not None:
            raise InputError("tests over contexts hold no covariates fixed; leave out the covariates or the contexts")
        found = generalized(found, contexts, family, settings)
    described = Described(values, condition, medians, threshold, measure)
    return assemble(found, described, family, tokens=tokens, settings=settings, on_models=on_models)


# A jackknife over fewer units says nothing.
_LEAST_TO_DRAW = 3


def _bootstrap(
    values: NDArray[np.float64],
    condition: NDArray[np.bool_],
    pair: NDArray[np.integer] | None,
    settings: Settings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """BCa interval of g; NaN where a condition has fewer than three units."""
    if min(condition.sum(), (~condition).sum()) < _LEAST_TO_DRAW:
        missing = np.full(values.shape[1], np.nan)
        return missing, missing
    found = bootstrap_g(values, condition, pair=pair, n_resamples=settings.n_resamples, rng=settings.seed)
    return found.low, found.high


def _adjusted(
    values: Floats,
    condition: NDArray[np.bool_],
    recorded: pd.DataFrame | None,
    pair: NDArray[np.integer] | None,
    family: Family,
    settings: Settings,
) -> tuple[dict[str, Floats], str]:
    """Differences adjusted for all recorded covariates, or the reason why there are none."""
    if recorded is None or recorded.empty:
        return {}, "no covariate was recorded"
    try:
        table = adjustment_table(values, condition, recorded, pair=pair)
    except InputError as error:
        # an adjustment that the data do not allow is a finding of its own, and the report states it
        return {}, str(error)
    columns = ("difference_adjusted", "ci_low_adjusted", "ci_high_adjusted", "p_adjusted", "g_adjusted")
    return {name: table[name].to_numpy() for name in columns} | {
        "p_unadjusted_fdr": family.corrected(table["p"].to_numpy(), settings),
        "p_adjusted_fdr": family.corrected(table["p_adjusted"].to_numpy(), settings),
    }, ""
