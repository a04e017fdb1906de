"""All tests of one measure over all heads: units by features in, one row per feature out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.adjustment import adjustment_table
from metastable.stats.bayes import difference_bayes_factor
from metastable.stats.bootstrap import bootstrap_g
from metastable.stats.corrections import adjust_p_values
from metastable.stats.effects import hedges_g, mean_difference
from metastable.stats.equivalence import equivalence_test
from metastable.stats.hierarchical import hierarchical_test
from metastable.stats.mixed_models.mixed import MixedModels, fit_mixed_models
from metastable.stats.permutations.permutation import PermutationResult, permutation_test
from metastable.stats.superiority import probability_of_superiority
from metastable.stats.verdict import verdicts

__all__ = [
    "HEAD_COLUMNS",
    "Analysis",
    "Settings",
    "TokenRows",
    "analyse",
    "join_analyses",
    "layers_first",
    "mixed_columns",
    "omnibus_masks",
    "summarize_groups",
]

HEAD_COLUMNS = (
    "site", "layer", "head", "threshold", "n_a", "n_b", "mean_a", "mean_b", "median_a", "median_b", "difference",
    "ci_low", "ci_high", "hedges_g", "statistic", "p_perm", "p_perm_fdr", "p_perm_fwer", "lmm_estimate", "lmm_se",
    "lmm_dof", "lmm_p", "lmm_p_fdr", "bf10", "p_tost", "verdict",
)  # fmt: skip

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """What an analyst chooses before looking.

    Attributes
    ----------
    n_permutations : int
        Relabelings asked for; all distinct ones are used where there are fewer.
    alpha : float
        Significance level, after correction.
    correction : str
        False discovery rate method, as `adjust_p_values` names it.
    margin : float
        Smallest effect of interest, in units of Hedges' g.
    seed : int
        Seed of the relabelings.
    n_resamples : int
        Bootstrap resamples of the interval of g.
    """

    n_permutations: int = 10_000
    alpha: float = 0.05
    correction: str = "bh"
    margin: float = 0.2
    seed: int = 20
    n_resamples: int = 2000


@dataclass(frozen=True)
class TokenRows:
    """One row per token, for the mixed model.

    Attributes
    ----------
    read : callable
        ``read(columns)`` returns the values of these features, float64, shape (n_tokens, n_columns);
        it is called for one block of features after another, so that memory stays bounded.
    group : ndarray of int, shape (n_tokens,)
        The sequence that each token belongs to.
    design : ndarray of float64, shape (n_tokens, p)
        Fixed effects: the intercept, the tested one, then any others.
    cluster : ndarray of int or None, shape (n_tokens,)
        Second grouping factor.
    block : int
        Features per call of `read`.
    """

    read: Callable[[slice], NDArray[np.float64]]
    group: NDArray[np.integer]
    design: NDArray[np.float64]
    cluster: NDArray[np.integer] | None = None
    block: int = 64


@dataclass(frozen=True)
class Analysis:
    """Results of `analyse`.

    Attributes
    ----------
    heads : pandas.DataFrame
        One row per feature with the columns `HEAD_COLUMNS`.
    details : pandas.DataFrame
        The same rows and keys with what else was computed: interval of g, probability of
        superiority, step-down p, adjusted equivalence p, flags of the mixed model.
    layers : pandas.DataFrame
        One row per site and layer with its omnibus p-values.
    omnibus : pandas.DataFrame
        One row per site, and one for all sites (``site = "all"``).
    n_permutations : int
        Relabelings used.
    exact : bool
        Whether these were all distinct ones.
    no_adjustment : str
        Why the details hold no adjusted differences; empty if they do.
    """

    heads: pd.DataFrame
    details: pd.DataFrame
    layers: pd.DataFrame
    omnibus: pd.DataFrame
    n_permutations: int
    exact: bool
    no_adjustment: str = ""


def _blocks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _mixed(rows: TokenRows, n_features: int, progress: Progress | None) -> dict[str, NDArray[Any]]:
    parts: list[MixedModels] = []
    for block in _blocks(n_features, rows.block):
        parts.append(fit_mixed_models(rows.read(block), rows.design, rows.group, cluster=rows.cluster))
        if progress is not None:
            progress(block.stop, n_features)
    names = ("estimate", "se", "dof", "p_value", "singular", "converged")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def mixed_columns(
    tokens: TokenRows | None, family: NDArray[np.intp], settings: Settings, progress: Progress | None
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Fit the mixed model of every feature: columns of the heads, and of the details; NaN without `tokens`.

    Parameters
    ----------
    tokens : TokenRows or None
    family : ndarray of int, shape (n_features,)
        Family of each feature, within which the p-values are corrected.
    settings : Settings
    progress : callable or None

    Returns
    -------
    heads, details : dict of str to ndarray of shape (n_features,)
    """
    if tokens is None:
        missing = np.full(len(family), np.nan)
        mixed = dict.fromkeys(("estimate", "se", "dof", "p_value", "singular", "converged"), missing)
        lmm_fdr = missing
    else:
        mixed = _mixed(tokens, len(family), progress)
        lmm_fdr = adjust_p_values(mixed["p_value"], method=settings.correction, family=family, alpha=settings.alpha)
    return {
        "lmm_estimate": mixed["estimate"],
        "lmm_se": mixed["se"],
        "lmm_dof": mixed["dof"],
        "lmm_p": mixed["p_value"],
        "lmm_p_fdr": lmm_fdr,
    }, {"lmm_singular": mixed["singular"], "lmm_converged": mixed["converged"]}


def omnibus_masks(features: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Mask the features of the whole model, of each site and of each layer, for the omnibus tests."""
    masks = {"all": np.ones(len(features), dtype=bool)}
    for site, of_site in features.groupby("site", sort=False):
        masks[f"site {site}"] = (features["site"] == site).to_numpy()
        for layer in of_site["layer"].unique():
            masks[f"layer {site} {layer}"] = ((features["site"] == site) & (features["layer"] == layer)).to_numpy()
    return masks


def _omnibus_row(result: PermutationResult, name: str, mask: NDArray[np.bool_]) -> dict[str, Any]:
    found = result.omnibus[name]
    return {
        "n_heads": int(mask.sum()),
        "max_statistic": found.max,
        "p_max": found.p_max,
        "sum_squares": found.sum_squares,
        "p_sum_squares": found.p_sum_squares,
        "n_below_alpha": found.count,
        "p_count": found.p_count,
    }


def _group_summary(heads: pd.DataFrame) -> dict[str, Any]:
    return {
        "mean_a": heads["mean_a"].mean(),
        "mean_b": heads["mean_b"].mean(),
        "difference": heads["difference"].mean(),
        "mean_abs_g": heads["hedges_g"].abs().mean(),
        "n_different": int((heads["verdict"] == "different").sum()),
        "n_equivalent": int((heads["verdict"] == "equivalent").sum()),
        "n_undecided": int((heads["verdict"] == "undecided").sum()),
    }


def analyse(
    values: NDArray[np.float64],
    condition: NDArray[np.bool_],
    features: pd.DataFrame,
    *,
    threshold: float,
    medians: NDArray[np.float64],
    tokens: TokenRows | None = None,
    pair: NDArray[np.integer] | None = None,
    block: NDArray[np.integer] | None = None,
    covariates: NDArray[np.float64] | None = None,
    recorded: pd.DataFrame | None = None,
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
        Threshold of the count, for the column of that name.
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
        For what `permutation_test` and `fit_mixed_models` refuse: NaN, a condition with one unit, a
        pair without its partner, a covariate collinear with the condition.

    Notes
    -----
    A feature without variance gets p = 1 and ``flat = True`` in the details. The verdict is
    "different" where the corrected permutation p is below alpha, else "equivalent" where the
    BH-corrected equivalence p is below alpha, else "undecided".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values, condition = rng.normal(size=(400, 6)), np.arange(400) < 200
    >>> values[condition, 4] += 0.8
    >>> features = pd.DataFrame({"site": "self", "layer": [1, 1, 1, 2, 2, 2], "head": [1, 2, 3, 1, 2, 3]})
    >>> medians = np.stack([np.median(values[condition], axis=0), np.median(values[~condition], axis=0)])
    >>> settings = Settings(n_permutations=999, margin=0.5)
    >>> result = analyse(values, condition, features, threshold=0.9, medians=medians, settings=settings)
    >>> print(result.heads[["layer", "head", "verdict"]].to_string(index=False))
     layer  head    verdict
         1     1 equivalent
         1     2 equivalent
         1     3 equivalent
         2     1 equivalent
         2     2  different
         2     3 equivalent
    """
    settings = settings or Settings()
    family = pd.factorize(features["site"])[0]
    masks = omnibus_masks(features)
    result = permutation_test(
        values,
        condition,
        statistic="welch" if pair is None else "paired",
        pair=pair,
        block=block,
        covariates=covariates,
        family=family,
        omnibus=masks,
        n_permutations=settings.n_permutations,
        alpha=settings.alpha,
        rng=settings.seed,
        callback=on_permutations,
    )
    difference = mean_difference(values, condition, pair=pair)
    g = hedges_g(values, condition, pair=pair)
    n_a, n_b = int(condition.sum()), int((~condition).sum())
    p_perm_fdr = adjust_p_values(result.p_perm, method=settings.correction, family=family, alpha=settings.alpha)
    held = None if covariates is None else pd.DataFrame(covariates)
    p_tost = equivalence_test(values, condition, margin=settings.margin, pair=pair, covariates=held)
    p_tost_fdr = adjust_p_values(p_tost, method="bh", family=family, alpha=settings.alpha)
    bf10 = difference_bayes_factor(values, condition, pair=pair, covariates=covariates)
    of_heads, of_details = mixed_columns(tokens, family, settings, on_models)
    keys = features[["site", "layer", "head"]].assign(threshold=threshold).reset_index(drop=True)
    heads = keys.assign(
        n_a=n_a,
        n_b=n_b,
        mean_a=values[condition].mean(axis=0),
        mean_b=values[~condition].mean(axis=0),
        median_a=medians[0],
        median_b=medians[1],
        difference=difference.estimate,
        ci_low=difference.low,
        ci_high=difference.high,
        hedges_g=g.estimate,
        statistic=result.statistic,
        p_perm=result.p_perm,
        p_perm_fdr=p_perm_fdr,
        p_perm_fwer=result.p_fwer,
        **of_heads,
        bf10=bf10,
        p_tost=p_tost,
        verdict=verdicts(p_perm_fdr, p_tost_fdr, settings.alpha),
    )[list(HEAD_COLUMNS)]
    boot_low, boot_high = _bootstrap(values, condition, pair, settings)
    details = keys.assign(
        g_low=g.low,
        g_high=g.high,
        g_boot_low=boot_low,
        g_boot_high=boot_high,
        superiority=probability_of_superiority(values, condition, pair=pair),
        p_perm_stepdown=result.p_fwer_stepdown,
        p_layers_first=layers_first(features, result, masks, family, settings),
        p_tost_fdr=p_tost_fdr,
        within_margin=p_tost_fdr < settings.alpha,
        flat=result.flat,
        **of_details,
    )
    adjusted, no_adjustment = _adjusted(values, condition, recorded, pair, family, settings)
    layers, omnibus = summarize_groups(heads, result, masks, threshold)
    return Analysis(heads, details.join(adjusted), layers, omnibus, result.n_permutations, result.exact, no_adjustment)


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


def layers_first(
    features: pd.DataFrame,
    result: PermutationResult,
    masks: dict[str, NDArray[np.bool_]],
    family: NDArray[np.intp],
    settings: Settings,
) -> NDArray[np.float64]:
    """Return the p of every head after its layer's omnibus test: layers first, then heads within (Yekutieli 2008)."""
    of_layer = np.ones(len(features))
    for name, mask in masks.items():
        if name.startswith("layer "):
            of_layer[mask] = result.omnibus[name].p_sum_squares
    found = hierarchical_test(
        result.p_perm,
        features["layer"].to_numpy(),
        group_p=of_layer,
        family=family,
        method=settings.correction,
        alpha=settings.alpha,
    )
    return found.adjusted


def _adjusted(
    values: NDArray[np.float64],
    condition: NDArray[np.bool_],
    recorded: pd.DataFrame | None,
    pair: NDArray[np.integer] | None,
    family: NDArray[np.intp],
    settings: Settings,
) -> tuple[pd.DataFrame, str]:
    """Differences adjusted for all recorded covariates, or the reason why there are none."""
    empty = pd.DataFrame(index=range(values.shape[1]))
    if recorded is None or recorded.empty:
        return empty, "no covariate was recorded"
    try:
        table = adjustment_table(values, condition, recorded, pair=pair)
    except InputError as error:
        # an adjustment that the data do not allow is a finding of its own, and the report states it
        return empty, str(error)
    columns = table[["difference_adjusted", "ci_low_adjusted", "ci_high_adjusted", "p_adjusted", "g_adjusted"]]
    return columns.assign(
        p_unadjusted_fdr=adjust_p_values(table["p"].to_numpy(), method=settings.correction, family=family),
        p_adjusted_fdr=adjust_p_values(table["p_adjusted"].to_numpy(), method=settings.correction, family=family),
    ), ""


def summarize_groups(
    heads: pd.DataFrame, result: PermutationResult, masks: dict[str, NDArray[np.bool_]], threshold: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of layers and of sites: omnibus tests and means of the heads."""
    layers, omnibus = [], []
    for name, mask in masks.items():
        kind, _, rest = name.partition(" ")
        row = {**_omnibus_row(result, name, mask), **_group_summary(heads[mask])}
        if kind == "layer":
            site, _, layer = rest.rpartition(" ")
            layers.append({"site": site, "layer": int(layer), "threshold": threshold, **row})
        else:
            omnibus.append({"site": rest if kind == "site" else "all", "threshold": threshold, **row})
    return pd.DataFrame(layers), pd.DataFrame(omnibus)


def join_analyses(analyses: list[Analysis]) -> Analysis:
    """Put the analyses of several thresholds under one another, in the order given."""
    first = analyses[0]

    def stack(name: str) -> pd.DataFrame:
        tables: list[pd.DataFrame] = [getattr(analysis, name) for analysis in analyses]
        return pd.concat(tables, ignore_index=True)

    return Analysis(
        stack("heads"),
        stack("details"),
        stack("layers"),
        stack("omnibus"),
        first.n_permutations,
        first.exact,
        first.no_adjustment,
    )
