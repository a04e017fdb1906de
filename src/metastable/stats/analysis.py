"""The tables of all tests over all heads: whatever the effect, they are put together here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.stats.bayes import PRIORS
from metastable.stats.corrections import adjust_p_values
from metastable.stats.effect_kinds import CONTEXT_COLUMNS, Effect, head_columns
from metastable.stats.effects import EffectSize
from metastable.stats.hierarchical import hierarchical_test
from metastable.stats.labels import check_labels
from metastable.stats.mixed_models.mixed import MixedModels, fit_mixed_models
from metastable.stats.permutations.permutation import PermutationResult
from metastable.stats.selected_intervals import selected_intervals
from metastable.stats.verdict import VERDICTS, verdicts

__all__ = [
    "Analysis",
    "Described",
    "Family",
    "Ingredients",
    "Settings",
    "TokenRows",
    "assemble",
    "join_analyses",
    "of_primary_measure",
    "primary",
]

Progress = Callable[[int, int], None]
Floats = NDArray[np.float64]


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
        Smallest effect of interest, in units of the effect's standardized size.
    seed : int
        Seed of the relabelings.
    n_resamples : int
        Bootstrap resamples of the interval of the standardized size, where it has one.
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
    """All tests of an effect over all heads.

    Attributes
    ----------
    effect : Effect
        What was tested; its columns hold the estimates.
    heads : pandas.DataFrame
        One row per feature, threshold and measure, with the columns `head_columns` of the effect.
    details : pandas.DataFrame
        The same rows and keys with what else was computed: interval of the standardized size, probability of
        superiority, step-down p, adjusted equivalence p, flags of the mixed model; and ``ci_low_fcr, ci_high_fcr``, the
        interval of the estimate of each feature that was found, which allows for the choice of these
        (`metastable.stats.selected_intervals.selected_intervals`), NaN for the others.
    layers : pandas.DataFrame
        One row per site, layer, threshold and measure with its omnibus p-values.
    omnibus : pandas.DataFrame
        One row per site, and one for all sites (``site = "all"``), for each threshold and measure.
    n_permutations : int
        Relabelings used.
    exact : bool
        Whether these were all distinct ones.
    no_adjustment : str
        Why the details hold no adjusted estimates; empty if they do.
    over_contexts : str
        The mixed model over items and contexts, in lme4's notation, where the tests are over both; else empty. The
        heads then have the columns `CONTEXT_COLUMNS` too.
    determined : tuple of str
        Covariates that the adjustment leaves out, since others determine them.
    single : tuple of str
        Recorded covariates that it leaves out, since a single unit determines a coefficient of the design with them.
    """

    effect: Effect
    heads: pd.DataFrame
    details: pd.DataFrame
    layers: pd.DataFrame
    omnibus: pd.DataFrame
    n_permutations: int
    exact: bool
    no_adjustment: str = ""
    over_contexts: str = ""
    determined: tuple[str, ...] = ()
    single: tuple[str, ...] = ()

    def naming(self, conditions: tuple[str, str]) -> Analysis:
        """Return the same with the names of a and b in the attributes of every table, under "conditions"."""
        tables = {name: getattr(self, name).copy() for name in _TABLES}
        for table in tables.values():
            table.attrs["conditions"] = list(conditions)
        return replace(self, **tables)


_TABLES = ("heads", "details", "layers", "omnibus")


def of_primary_measure(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the primary measure, the first of the table, at all its thresholds."""
    rows: pd.DataFrame = table[table["measure"] == table["measure"].iloc[0]]
    return rows.reset_index(drop=True)


def primary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the primary measure at its primary threshold, the first of each.

    Parameters
    ----------
    table : pandas.DataFrame
        Any table of an `Analysis`.

    Returns
    -------
    pandas.DataFrame

    Examples
    --------
    >>> table = pd.DataFrame({"threshold": [0.9, 0.5, 0.9], "measure": ["count", "count", "share"], "g": [1, 2, 3]})
    >>> primary(table)["g"].tolist()
    [1]
    """
    rows = of_primary_measure(table)
    at_first: pd.DataFrame = rows[rows["threshold"] == rows["threshold"].iloc[0]]
    return at_first.reset_index(drop=True)


@dataclass(frozen=True)
class _Group:
    """Features with one omnibus test: all, those of a site, or those of a layer."""

    name: str
    site: str
    layer: int | None
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Family:
    """The features that are tested together, and the groups of them that have an omnibus test.

    Attributes
    ----------
    features : pandas.DataFrame
        With columns ``site, layer, head``.
    """

    features: pd.DataFrame
    groups: tuple[_Group, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        site, layer = self.features["site"], self.features["layer"]
        for column in ("site", "layer"):
            check_labels(f"features.{column}", self.features[column], len(self.features), each="feature")
        groups = [_Group("all", "all", None, np.ones(len(self.features), dtype=bool))]
        for name, of_site in self.features.groupby("site", sort=False):
            inside = (site == name).to_numpy()
            groups.append(_Group(f"site {name}", str(name), None, inside))
            groups += [
                _Group(f"layer {name} {number}", str(name), int(number), inside & (layer == number).to_numpy())
                for number in of_site["layer"].unique()
            ]
        object.__setattr__(self, "groups", tuple(groups))

    @property
    def codes(self) -> NDArray[np.intp]:
        """Code of each feature's site, within which p-values are corrected."""
        return np.asarray(pd.factorize(self.features["site"])[0], dtype=np.intp)

    @property
    def omnibus(self) -> dict[str, NDArray[np.bool_]]:
        """Masks of the groups, as the permutation tests take them."""
        return {group.name: group.mask for group in self.groups}

    def corrected(self, p: Floats, settings: Settings) -> Floats:
        """Correct p-values by the method that was chosen."""
        return adjust_p_values(p, method=settings.correction, family=self.codes, alpha=settings.alpha)


@dataclass(frozen=True)
class Described:
    """What describes two sides of the units beside any test.

    Attributes
    ----------
    units : ndarray of float64, shape (n_units, n_features)
        Values of the units of inference.
    condition : ndarray of bool, shape (n_units,)
        True for side a.
    medians : ndarray of float64, shape (2, n_features)
        Median over the tokens of each side.
    threshold : float
        Threshold of the measure, for the column of that name.
    measure : str
        Name of the measure, for the column of that name.
    """

    units: Floats
    condition: NDArray[np.bool_]
    medians: Floats
    threshold: float
    measure: str


@dataclass(frozen=True)
class Ingredients:
    """What the tests of one effect found, feature by feature.

    Attributes
    ----------
    effect : Effect
    estimate : EffectSize
        In the units of the measure.
    size : EffectSize
        In standard deviations.
    permutation : PermutationResult
        Of the omnibus groups of `Family` too.
    log_bf10 : mapping of float to ndarray of float64, shape (n_features,)
        Natural logarithm of the Bayes factor by the scale of its prior; of those of `metastable.stats.bayes.PRIORS`,
        the scale of a difference.
    p_tost, superiority : ndarray of float64, shape (n_features,)
        P of the equivalence test, probability of superiority.
    interval : callable
        Returns the lower and upper limits of the estimate at a confidence.
    beside_size : mapping of str to ndarray
        Columns of the details behind the interval of the size.
    adjusted : mapping of str to ndarray
        Last columns of the details: the estimates with and without covariates.
    no_adjustment : str
        Why there are none; empty if there are.
    over_contexts : str
        The mixed model over items and contexts, where the tests are over both; else empty.
    mixed : mapping of str to ndarray
        Estimate, se, dof, p_value, singular and converged of a mixed model that was fitted already.
    beside_tests : mapping of str to ndarray
        F ratios and p-values of other tests, for the heads; p-values are also given corrected.
    determined, single : tuple of str
        As in `Analysis`.
    """

    effect: Effect
    estimate: EffectSize
    size: EffectSize
    permutation: PermutationResult
    log_bf10: Mapping[float, Floats]
    p_tost: Floats
    superiority: Floats
    interval: Callable[[float], tuple[Floats, Floats]]
    beside_size: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    adjusted: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    no_adjustment: str = ""
    over_contexts: str = ""
    mixed: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    beside_tests: Mapping[str, Floats] = field(default_factory=dict)
    determined: tuple[str, ...] = ()
    single: tuple[str, ...] = ()


def assemble(
    found: Ingredients,
    described: Described,
    family: Family,
    *,
    tokens: TokenRows | None,
    settings: Settings,
    on_models: Progress | None = None,
) -> Analysis:
    """Put what the tests of an effect found into tables.

    Parameters
    ----------
    found : Ingredients
        Of the effect.
    described : Described
        The sides.
    family : Family
        The features.
    tokens : TokenRows or None
        Rows for the mixed model; without them its columns are NaN.
    settings : Settings
        Choices made before looking.
    on_models : callable or None
        Told of progress as ``f(done, total)``.

    Returns
    -------
    Analysis

    Notes
    -----
    Where the corrected permutation p is below alpha the verdict is "negligible" if the 95% interval of the standardized
    effect lies within the margin, and "different" if not; else it is "equivalent" where the BH-corrected equivalence p
    is below alpha, else "undecided".
    """
    effect, permutation = found.effect, found.permutation
    units, condition = described.units, described.condition
    p_perm_fdr = family.corrected(permutation.p_perm, settings)
    within = (found.size.low > -settings.margin) & (found.size.high < settings.margin)
    fcr_low, fcr_high = selected_intervals(
        found.interval, p_perm_fdr < settings.alpha, family=family.codes, alpha=settings.alpha
    )
    p_tost_fdr = adjust_p_values(found.p_tost, method="bh", family=family.codes, alpha=settings.alpha)
    log10_bf10 = found.log_bf10[PRIORS[0]] / np.log(10)
    of_heads, of_details = _mixed_columns(tokens, family, settings, on_models, fitted=found.mixed)
    beside = _with_corrected(found.beside_tests, family, settings)
    keys = family.features[["site", "layer", "head"]].assign(threshold=described.threshold, measure=described.measure)
    keys = keys.reset_index(drop=True)
    heads = keys.assign(
        n_a=int(condition.sum()),
        n_b=int((~condition).sum()),
        mean_a=units[condition].mean(axis=0),
        mean_b=units[~condition].mean(axis=0),
        median_a=described.medians[0],
        median_b=described.medians[1],
        ci_low=found.estimate.low,
        ci_high=found.estimate.high,
        statistic=permutation.statistic,
        p_perm=permutation.p_perm,
        p_perm_fdr=p_perm_fdr,
        p_perm_fwer=permutation.p_fwer,
        bf10=_power(log10_bf10),
        log10_bf10=log10_bf10,
        p_tost=found.p_tost,
        p_tost_fdr=p_tost_fdr,
        verdict=verdicts(p_perm_fdr, p_tost_fdr, settings.alpha, within=within),
        **{effect.estimate: found.estimate.estimate, effect.size: found.size.estimate},
        **of_heads,
        **beside,
    )[[*head_columns(effect), *(CONTEXT_COLUMNS if found.over_contexts else ())]]
    details = keys.assign(
        **{effect.size_low: found.size.low, effect.size_high: found.size.high},
        **found.beside_size,
        superiority=found.superiority,
        p_perm_stepdown=permutation.p_fwer_stepdown,
        p_layers_first=_layers_first(family, permutation, settings),
        **{f"log10_bf10_scale_{scale:g}": found.log_bf10[scale] / np.log(10) for scale in sorted(PRIORS)},
        within_margin=within,
        ci_low_fcr=fcr_low,
        ci_high_fcr=fcr_high,
        flat=permutation.flat,
        **of_details,
        **found.adjusted,
    )
    return Analysis(
        effect=effect,
        heads=heads,
        details=details,
        layers=_group_table(effect, heads, permutation, [one for one in family.groups if one.layer is not None]),
        omnibus=_group_table(effect, heads, permutation, [one for one in family.groups if one.layer is None]),
        n_permutations=permutation.n_permutations,
        exact=permutation.exact,
        no_adjustment=found.no_adjustment,
        over_contexts=found.over_contexts,
        determined=found.determined,
        single=found.single,
    )


def _with_corrected(tests: Mapping[str, Floats], family: Family, settings: Settings) -> dict[str, Floats]:
    """Put a corrected p behind every p of other tests; NaN where the design has no such test."""
    columns = dict(tests)
    for name, values in tests.items():
        if name.startswith("p_"):
            columns[f"{name}_fdr"] = values if np.isnan(values).any() else family.corrected(values, settings)
    return columns


def _power(log10: Floats) -> Floats:
    with np.errstate(over="ignore"):  # beyond the largest float the factor is infinity, and its logarithm is not
        return np.power(10.0, log10)


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


def _mixed_columns(
    tokens: TokenRows | None,
    family: Family,
    settings: Settings,
    progress: Progress | None,
    *,
    fitted: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Fit the mixed model of every feature: columns of the heads, and of the details; NaN without `tokens`."""
    n_features = len(family.features)
    mixed: Mapping[str, NDArray[Any]]
    if fitted:
        mixed, lmm_fdr = fitted, family.corrected(fitted["p_value"], settings)
    elif tokens is None:
        missing = np.full(n_features, np.nan)
        mixed = dict.fromkeys(("estimate", "se", "dof", "p_value", "singular", "converged"), missing)
        lmm_fdr = missing
    else:
        mixed = _mixed(tokens, n_features, progress)
        lmm_fdr = family.corrected(mixed["p_value"], settings)
    return {
        "lmm_estimate": mixed["estimate"],
        "lmm_se": mixed["se"],
        "lmm_dof": mixed["dof"],
        "lmm_p": mixed["p_value"],
        "lmm_p_fdr": lmm_fdr,
    }, {"lmm_singular": mixed["singular"], "lmm_converged": mixed["converged"]}


def _layers_first(family: Family, result: PermutationResult, settings: Settings) -> Floats:
    """Return the p of every head after its layer's omnibus test: layers first, then heads within (Yekutieli 2008)."""
    of_layer = np.ones(len(family.features))
    for group in family.groups:
        if group.layer is not None:
            of_layer[group.mask] = result.omnibus[group.name].p_sum_squares
    found = hierarchical_test(
        result.p_perm,
        family.features["layer"].to_numpy(),
        group_p=of_layer,
        family=family.codes,
        method=settings.correction,
        alpha=settings.alpha,
    )
    return found.adjusted


def _group_table(
    effect: Effect, heads: pd.DataFrame, result: PermutationResult, groups: Sequence[_Group]
) -> pd.DataFrame:
    """Return one row per group: its omnibus tests and the means of its heads."""
    rows = []
    for group in groups:
        found, mine = result.omnibus[group.name], heads[group.mask]
        layer = {} if group.layer is None else {"layer": group.layer}
        rows.append(
            {
                "site": group.site,
                **layer,
                "threshold": mine["threshold"].iloc[0],
                "measure": mine["measure"].iloc[0],
                "n_heads": len(mine),
                "max_statistic": found.max,
                "p_max": found.p_max,
                "sum_squares": found.sum_squares,
                "p_sum_squares": found.p_sum_squares,
                "n_below_alpha": found.count,
                "p_count": found.p_count,
                "mean_a": mine["mean_a"].mean(),
                "mean_b": mine["mean_b"].mean(),
                effect.estimate: mine[effect.estimate].mean(),
                effect.mean_size: mine[effect.size].abs().mean(),
                **{f"n_{word}": int((mine["verdict"] == word).sum()) for word in VERDICTS},
            }
        )
    return pd.DataFrame(rows)


def join_analyses(analyses: Sequence[Analysis]) -> Analysis:
    """Put the analyses of several thresholds or measures under one another, in the order given."""
    tables = {
        name: pd.concat([getattr(analysis, name) for analysis in analyses], ignore_index=True) for name in _TABLES
    }
    return replace(analyses[0], **tables)
