"""All tests of one measure over all heads for a difference of two groups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.adjustment import adjustment_table, difference_design
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
from metastable.stats.bayes import PRIORS, log_difference_bayes_factor
from metastable.stats.bootstrap import bootstrap_g
from metastable.stats.contexts.generalized import Observations, over_both
from metastable.stats.effect_kinds import DIFFERENCE
from metastable.stats.effects import EffectSize, hedges_g, mean_difference, small_sample_factor, welch_p
from metastable.stats.equivalence import equivalence_test
from metastable.stats.permutations.permutation import PermutationResult, permutation_test
from metastable.stats.samples import covariate_frame, sample_moments, split_samples
from metastable.stats.single_units import Holdable, holdable
from metastable.stats.superiority import probability_of_superiority

__all__ = ["analyse", "holdable_beside_difference", "relabelings_beside"]


def relabelings_beside(n_permutations: int, n_features: int, alpha: float) -> int:
    """Return how many relabelings an adjustment that only stands beside the test takes.

    As many as a lone feature needs to pass a correction over all, twice over, and no more than the test: beside
    covariates a relabeling is dear.

    Examples
    --------
    >>> relabelings_beside(10_000, 72, 0.05), relabelings_beside(999, 72, 0.05)
    (2880, 999)
    """
    return min(n_permutations, int(np.ceil(2 * n_features / alpha)))


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
    covariates: pd.DataFrame | NDArray[np.float64] | None = None,
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
    covariates : pandas.DataFrame of n_units rows, ndarray of float64 of shape (n_units, n_covariates), or None
        Nuisance covariates. Difference, interval, g, p and verdict are then all of the adjusted difference: of the
        permutation test by flipped residuals with HC3 errors, of the equivalence test and the Bayes factor by
        regression. Means, medians and the probability of superiority stay as observed. One that others determine is
        left out.
    recorded : pandas.DataFrame or None, n_units rows
        All covariates that were recorded. Where `covariates` has none, the details show what holding all of these
        fixed would do.
    contexts : Observations or None
        Every observation with its item, its context and its covariates. The tests are then over both, as
        `metastable.stats.contexts.generalized.over_both` has them, and not over the units alone; `covariates` and
        `recorded` of the units are then those of the observations.
    settings : Settings or None
        Choices made before looking.
    on_permutations, on_models : callable or None
        Told of progress as ``f(done, total)``.

    Returns
    -------
    Analysis
        Of `metastable.stats.effect_kinds.DIFFERENCE`. ``g_low, g_high`` are of `bootstrap_g`, or over contexts of
        `crossed_test`, as are then the p-values. The details hold for both suffixes ``unadjusted`` and ``adjusted``:
        ``difference_, ci_low_, ci_high_, p_`` (Welch's or the paired t, HC3; over contexts the mixed model's),
        ``p_..._fdr``, ``g_, g_low_, g_high_``, ``p_perm_`` and ``p_perm_..._fdr``. One of the two is what ``heads``
        holds.

    Raises
    ------
    InputError
        If there are both `contexts` and `covariates` of units. For what `permutation_test`, `fit_mixed_models` and
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
    if contexts is None:
        found = _over_units(values, condition, pair, block, covariates, recorded, family, settings, on_permutations)
    else:
        if covariates is not None:
            raise InputError(
                "with contexts the covariates are those of the observations; give them as Observations(covariates=...)"
            )
        superiority = probability_of_superiority(values, condition, pair=pair)
        found = over_both(contexts, DIFFERENCE, superiority, family, settings, on_permutations)
    described = Described(values, condition, medians, threshold, measure)
    return assemble(found, described, family, tokens=tokens, settings=settings, on_models=on_models)


def _over_units(
    values: Floats,
    condition: NDArray[np.bool_],
    pair: NDArray[np.integer] | None,
    block: NDArray[np.integer] | None,
    covariates: pd.DataFrame | NDArray[np.float64] | None,
    recorded: pd.DataFrame | None,
    family: Family,
    settings: Settings,
    on_permutations: Progress | None,
) -> Ingredients:
    """Run the tests over units, with and without covariates."""
    chosen = None if covariates is None else covariate_frame(covariates)
    if chosen is not None and chosen.shape[1] == 0:
        chosen = None
    determined: tuple[str, ...] = ()
    found = Holdable(chosen)
    if chosen is None:
        found = holdable_beside_difference(values, condition, recorded, pair=pair)
    beside = found.covariates
    if beside is not None:
        design = difference_design(values, condition, beside, pair=pair)
        determined, beside = design.determined, beside.loc[:, design.kept]
    n_variants = 1 if beside is None else 2
    names = ("unadjusted", "adjusted") if chosen is None else ("adjusted", "unadjusted")
    variants: dict[str, _Variant] = {}
    for part, name in enumerate(names[:n_variants]):

        def tell(done: int, total: int, part: int = part) -> None:
            if on_permutations is not None:
                on_permutations(part * total + done, n_variants * total)

        held = beside if name == "adjusted" else None
        fewer = replace(
            settings, n_permutations=relabelings_beside(settings.n_permutations, len(family.features), settings.alpha)
        )
        mine = settings if part == 0 or held is None else fewer
        variants[name] = _variant(values, condition, held, pair, block, family, mine, tell)
    main, main_held = variants[names[0]], None if chosen is None else beside

    def interval(confidence: float) -> tuple[Floats, Floats]:
        estimate, _ = _estimate(values, condition, main_held, pair, confidence)
        return estimate.low, estimate.high

    adjusted: dict[str, Floats] = {}
    for name in ("unadjusted", "adjusted"):
        if name in variants:
            adjusted |= variants[name].columns(name, family, settings)
    held_columns = None if main_held is None else main_held.to_numpy(dtype=np.float64)
    return Ingredients(
        effect=DIFFERENCE,
        estimate=main.estimate,
        size=main.size,
        permutation=main.permutation,
        log_bf10={
            scale: log_difference_bayes_factor(values, condition, pair=pair, covariates=held_columns, scale=scale)
            for scale in PRIORS
        },
        p_tost=equivalence_test(values, condition, margin=settings.margin, pair=pair, covariates=main_held),
        superiority=probability_of_superiority(values, condition, pair=pair),
        interval=interval,
        adjusted=adjusted,
        no_adjustment=found.reason,
        determined=determined,
        single=found.single,
    )


# A jackknife over fewer units says nothing.
_LEAST_TO_DRAW = 3


@dataclass(frozen=True)
class _Variant:
    """The tests with one set of covariates, or with none."""

    estimate: EffectSize
    p: Floats
    size: EffectSize
    permutation: PermutationResult

    def columns(self, suffix: str, family: Family, settings: Settings) -> dict[str, Floats]:
        """Columns of the details, named with a suffix."""
        return {
            f"difference_{suffix}": self.estimate.estimate,
            f"ci_low_{suffix}": self.estimate.low,
            f"ci_high_{suffix}": self.estimate.high,
            f"p_{suffix}": self.p,
            f"p_{suffix}_fdr": family.corrected(self.p, settings),
            f"g_{suffix}": self.size.estimate,
            f"g_low_{suffix}": self.size.low,
            f"g_high_{suffix}": self.size.high,
            f"p_perm_{suffix}": self.permutation.p_perm,
            f"p_perm_{suffix}_fdr": family.corrected(self.permutation.p_perm, settings),
        }


def _variant(
    values: Floats,
    condition: NDArray[np.bool_],
    held: pd.DataFrame | None,
    pair: NDArray[np.integer] | None,
    block: NDArray[np.integer] | None,
    family: Family,
    settings: Settings,
    progress: Progress,
) -> _Variant:
    permutation = permutation_test(
        values,
        condition,
        statistic="welch" if pair is None else "paired",
        pair=pair,
        block=block,
        covariates=None if held is None else held.to_numpy(dtype=np.float64),
        family=family.codes,
        omnibus=family.omnibus,
        n_permutations=settings.n_permutations,
        alpha=settings.alpha,
        rng=settings.seed,
        callback=progress,
    )
    estimate, p = _estimate(values, condition, held, pair)
    return _Variant(estimate, p, _size(values, condition, held, pair, settings), permutation)


def _estimate(
    values: Floats,
    condition: NDArray[np.bool_],
    held: pd.DataFrame | None,
    pair: NDArray[np.integer] | None,
    confidence: float = 0.95,
) -> tuple[EffectSize, Floats]:
    """Return the difference of every feature with its interval, and its p by the t distribution."""
    plain = mean_difference(values, condition, pair=pair, confidence=confidence)
    if held is None:
        return plain, welch_p(values, condition, pair=pair)
    table = adjustment_table(values, condition, held, pair=pair, confidence=confidence)
    value, low, high = (table[f"{name}_adjusted"].to_numpy() for name in ("difference", "ci_low", "ci_high"))
    return EffectSize(value, low, high, plain.flat), table["p_adjusted"].to_numpy()


def _size(
    values: Floats,
    condition: NDArray[np.bool_],
    held: pd.DataFrame | None,
    pair: NDArray[np.integer] | None,
    settings: Settings,
) -> EffectSize:
    """Hedges' g with its BCa interval; limits are NaN where a condition has fewer than three units."""
    if min(condition.sum(), (~condition).sum()) >= _LEAST_TO_DRAW:
        return bootstrap_g(
            values, condition, pair=pair, covariates=held, n_resamples=settings.n_resamples, rng=settings.seed
        )
    g = hedges_g(values, condition, pair=pair)
    missing = np.full(len(g.estimate), np.nan)
    if held is None:
        return EffectSize(g.estimate, missing, missing, g.flat)
    table = adjustment_table(values, condition, held, pair=pair)
    factor = small_sample_factor(sample_moments(split_samples(values, condition, pair=pair)))
    return EffectSize(factor * table["g_adjusted"].to_numpy(), missing, missing, g.flat)


def holdable_beside_difference(
    values: Floats,
    condition: NDArray[np.bool_],
    recorded: pd.DataFrame | None,
    *,
    pair: NDArray[np.integer] | None = None,
) -> Holdable:
    """Find the recorded covariates that differences can be adjusted for; arguments as `analyse` takes them."""
    return holdable(recorded, lambda held: difference_design(values, condition, held, pair=pair).adjusted())
