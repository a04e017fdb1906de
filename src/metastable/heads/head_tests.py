"""The tests of every head: a cube of counts and a contrast become tables."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.heads.contrasts import Contrast
from metastable.heads.cube import (
    feature_table,
    histogram_medians,
    holds_tokens,
    target_rows,
    token_histograms,
    token_values,
    unit_means,
)
from metastable.heads.spread import Spread, spread_of
from metastable.measures import COUNT, call_measure, known_measures, measure_named
from metastable.progress import Advance
from metastable.stats.analysis import Analysis, Settings, TokenRows, join_analyses
from metastable.stats.contexts.generalized import Observations
from metastable.stats.corrections import adjust_p_values
from metastable.stats.correlation import slope_design
from metastable.stats.determined import independent_columns
from metastable.stats.difference import analyse
from metastable.stats.mixed_models.joint import JointModel, fit_joint_model
from metastable.stats.permutations.engine import PermutationResult
from metastable.stats.permutations.permutation import permutation_test, permutation_test_contrast
from metastable.stats.permutations.resolution import Resolution, resolution
from metastable.stats.simulation.sensitivity import Sensitivity, sensitivity
from metastable.stats.slope import analyse_slope
from metastable.study import Options, Sequence, View

if TYPE_CHECKING:
    import xarray as xr

    from metastable.models.sites import Site

__all__ = [
    "JOINT_NEEDS",
    "adjusting",
    "analyse_beside",
    "analyse_cube",
    "analyse_view",
    "directed_test",
    "joint_fits",
    "joint_model",
    "lone_head",
    "measures_beside",
    "observations_of",
    "power_of",
    "require_resolution",
    "side_histograms",
    "side_spread",
    "thresholds_of",
    "token_rows",
    "unit_values",
    "view_cube",
]

# The rows of one block of heads for the mixed model stay below this many bytes.
_TOKEN_BLOCK_BYTES = 256 * 2**20


def adjusting(contrast: Contrast, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Return the units' values of the covariates to adjust for, shape (n_units, n_names); None for none.

    Raises
    ------
    InputError
        If the study has no covariate of that name.
    """
    unknown = [name for name in names if name not in contrast.covariates.columns]
    if unknown:
        raise InputError(
            f"--covariates {unknown[0]}: there is no such covariate; "
            f"choose among {', '.join(contrast.covariates.columns)}"
        )
    return contrast.covariates[list(names)].to_numpy(dtype=np.float64) if names else None


def require_resolution(contrast: Contrast, options: Options) -> None:
    """Refuse units so few that no head could come out different, before anything is measured.

    Parameters
    ----------
    contrast : Contrast
    options : Options
        The level, the number of relabelings and the covariates.

    Raises
    ------
    InputError
        If no relabeling of the units gives a p below alpha.
    """
    found = resolution_of(contrast, options)
    if found.p < options.alpha:
        return
    a, b = contrast.a.name, contrast.b.name
    if contrast.predictor is not None:
        have, ways = f"{len(contrast.condition)} {contrast.unit}s", "flipped"
    elif contrast.pair is not None:
        have, ways = f"{contrast.n_a} {contrast.unit}s", "flipped"
    else:
        have, ways = f"{contrast.n_a} {a} and {contrast.n_b} {b} {contrast.unit}s", "relabelled"
    raise InputError(
        f"{have} can be {ways} in {found.n_relabelings} ways, so that p is at least {found.p:.2g} and never below "
        f"--alpha {options.alpha:g}: no head could come out different, however large its effect; give more "
        f"{contrast.unit}s, by more material or a smaller --max-length"
    )


def resolution_of(contrast: Contrast, options: Options) -> Resolution:
    """Return the smallest p that the permutation test of a contrast can give."""
    return resolution(
        contrast.condition,
        paired=contrast.pair is not None and contrast.predictor is None,
        rows=contrast.predictor is not None or bool(options.covariates and contrast.pair is None),
        n_permutations=options.permutations,
    )


def lone_head(contrast: Contrast, options: Options, n_heads: int) -> str:
    """Say that a single head could not come out different among so many, or nothing where it could.

    Parameters
    ----------
    contrast : Contrast
    options : Options
    n_heads : int
        Heads of a site, which are corrected together.

    Returns
    -------
    str
        A sentence without its full stop; empty where a lone head can be found.
    """
    found = resolution_of(contrast, options)
    alone = np.ones(n_heads)
    alone[0] = found.p
    corrected = adjust_p_values(alone, method=options.correction, alpha=options.alpha)[0]
    if corrected < options.alpha:
        return ""
    more = "more --permutations" if found.n_relabelings > options.permutations else f"more {contrast.unit}s"
    return (
        f"p is at least {found.p:.2g} here: a head that is different alone among {n_heads} gets a corrected p of "
        f"{corrected:.2g} and is not found; {more} would find it"
    )


def token_rows(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    covariates: tuple[str, ...],
    measure: str,
) -> TokenRows | None:
    """Return the rows of the mixed model; None where they would say no more than the sequences' own tests.

    Parameters
    ----------
    cube, contrast, sequences
        As `analyse_cube` takes them.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``.
    threshold : float
        One of the cube's thresholds.
    covariates : tuple of str
        Nuisance covariates.
    measure : str
        Which summary of the attention row.

    Returns
    -------
    TokenRows or None
    """
    design = contrast.design
    if covariates:
        nuisance = np.array([[s.covariates[name] for name in covariates] for s in sequences], dtype=np.float64)
        # One that does not vary or that others determine is left out, as of the tests of units.
        nuisance = nuisance[:, independent_columns(nuisance, np.ones((len(nuisance), 1)))]
        design = np.column_stack([design, nuisance - nuisance.mean(axis=0)])
    if contrast.repeated is not None:
        return TokenRows(
            read=lambda columns: unit_means(cube, features.iloc[columns], threshold, measure),
            group=contrast.repeated,
            design=design,
            cluster=contrast.crossed,
        )
    if not holds_tokens(cube):
        return None
    _, owner = token_values(cube, features.iloc[:1], threshold, measure)
    if np.bincount(owner).max() == 1:
        return None  # one row per sequence: the sequences' own tests say it all
    of_sites = features.drop_duplicates("site")
    if len(of_sites) > 1 and len(token_values(cube, of_sites, threshold, measure)[1]) != len(owner):
        return None  # a decoder reads a target one step later: its rows are of other tokens than the encoder's

    def read(columns: slice) -> NDArray[np.float64]:
        return token_values(cube, features.iloc[columns], threshold, measure)[0]

    return TokenRows(
        read=read,
        group=owner,
        design=design[owner],
        cluster=None if contrast.crossed is None else contrast.crossed[owner],
        block=max(1, _TOKEN_BLOCK_BYTES // (8 * max(1, len(owner)))),
    )


def observations_of(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    contrast: Contrast,
    options: Options,
    *,
    with_recorded: bool = False,
) -> Observations | None:
    """Row by row what tests over items and contexts take; None where they are over units.

    Parameters
    ----------
    cube, contrast, options
        As `analyse_cube` takes them.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``.
    threshold : float
        One of the cube's thresholds.
    with_recorded : bool
        Whether all recorded covariates are given too, to hold them fixed beside.

    Returns
    -------
    Observations or None
    """
    crossing = contrast.crossing
    if crossing is None:
        return None
    return Observations(
        values=crossing.values(unit_means(cube, features, threshold, options.measure)),
        condition=crossing.condition,
        item=crossing.item,
        context=crossing.context,
        names=(crossing.item_name.replace(" ", "_"), crossing.context_name.replace(" ", "_")),
        measure=f"{crossing.outcome}mean {call_measure(options.measure)}",
        covariates=crossing.covariates[list(options.covariates)] if options.covariates else None,
        recorded=crossing.covariates if with_recorded else None,
        predictor=crossing.predictor,
        effect_name=crossing.effect,
    )


def _settings(options: Options) -> Settings:
    return Settings(
        n_permutations=options.permutations,
        alpha=options.alpha,
        correction=options.correction,
        margin=options.margin,
        seed=options.seed,
    )


def thresholds_of(cube: xr.Dataset, options: Options) -> tuple[float, ...]:
    """Return the thresholds that the measure depends on: all, or the first where it depends on none."""
    depends = "threshold" in cube[f"mean_{options.measure}"].dims
    thresholds: tuple[float, ...] = options.threshold
    return thresholds if depends else thresholds[:1]


def _medians(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    contrast: Contrast,
    measure: str,
    histograms: NDArray[np.int64] | None,
) -> NDArray[np.float64]:
    """Median over the tokens of either condition, or over its units where there are none, shape (2, n_features)."""
    if measure == COUNT.name and histograms is not None:
        return histogram_medians(histograms)
    means = unit_means(cube, features, threshold, measure)
    values = contrast.values(means)
    return np.stack([np.median(values[contrast.condition], axis=0), np.median(values[~contrast.condition], axis=0)])


def analyse_cube(
    cube: xr.Dataset,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    options: Options,
    histograms: NDArray[np.int64] | None,
    advance: Advance,
    *,
    with_mixed_models: bool = True,
    beside_covariates: bool = True,
) -> Analysis:
    """Run all tests of one contrast, for every threshold.

    Parameters
    ----------
    cube : xarray.Dataset
        As `metastable.load_counts` opens it.
    contrast : Contrast
        What is compared.
    sequences : tuple of Sequence
        In the order of the cube.
    options : Options
        Values of the common options.
    histograms : ndarray of int64, shape (n_thresholds, 2, n_features, n_max + 1)
        How many tokens of each condition gave each count; None of a cube of means.
    advance : callable
        Told of progress as ``f(done, total)``.
    with_mixed_models : bool
        Whether mixed models of tokens are fitted; their columns are NaN if not. Where the tests are over items and
        contexts, these columns hold the mixed model over both in any case.
    beside_covariates : bool
        Whether tests that hold no covariate fixed are done a second time with all recorded ones held fixed.

    Returns
    -------
    Analysis
    """
    features = feature_table(cube)
    nuisance = adjusting(contrast, options.covariates)
    measure = options.measure
    analyses = []
    thresholds = thresholds_of(cube, options)
    for index, threshold in enumerate(thresholds):

        def tell(done: int, total: int, part: int, index: int = index) -> None:
            advance(int(100 * (2 * index + part + done / max(total, 1))), 200 * len(thresholds))

        values = contrast.values(unit_means(cube, features, threshold, measure))
        observations = observations_of(cube, features, threshold, contrast, options, with_recorded=beside_covariates)
        arguments: dict[str, Any] = {
            "threshold": threshold,
            "measure": measure,
            "medians": _medians(
                cube, features, threshold, contrast, measure, None if histograms is None else histograms[index]
            ),
            "tokens": token_rows(cube, features, threshold, contrast, sequences, options.covariates, measure)
            if with_mixed_models and observations is None
            else None,
            # What holding all recorded covariates fixed would do is asked of the run's own measure.
            "recorded": contrast.covariates if beside_covariates else None,
            "settings": _settings(options),
            "on_permutations": partial(tell, part=0),
            "on_models": partial(tell, part=1),
        }
        if contrast.predictor is None:
            analyses.append(
                analyse(
                    values,
                    contrast.condition,
                    features,
                    pair=contrast.pair,
                    covariates=nuisance if observations is None else None,
                    contexts=observations,
                    **arguments,
                )
            )
        else:
            held = contrast.covariates[list(options.covariates)] if observations is None else None
            analyses.append(
                analyse_slope(
                    values,
                    contrast.predictor,
                    features,
                    condition=contrast.condition,
                    covariates=held,
                    contexts=observations,
                    **arguments,
                )
            )
    return join_analyses(analyses).naming((contrast.a.name, contrast.b.name))


def directed_test(
    cube: xr.Dataset, contrast: Contrast, options: Options, direction: Literal["greater", "less"]
) -> PermutationResult:
    """Run the permutation test of one contrast in one direction, at the primary threshold.

    Parameters
    ----------
    cube : xarray.Dataset
        As `metastable.load_counts` opens it.
    contrast : Contrast
    options : Options
        The measure, the covariates held fixed, the relabelings.
    direction : {"greater", "less"}
        Of a - b, or of the slope.

    Returns
    -------
    PermutationResult
        With the omnibus group "all".
    """
    features = feature_table(cube)
    values = contrast.values(unit_means(cube, features, options.threshold[0], options.measure))
    nuisance = adjusting(contrast, options.covariates)
    arguments: dict[str, Any] = {
        "alternative": direction,
        "omnibus": {"all": np.ones(len(features), dtype=bool)},
        "n_permutations": options.permutations,
        "alpha": options.alpha,
        "rng": options.seed,
    }
    if contrast.predictor is not None:
        design = slope_design(contrast.predictor, nuisance)
        return permutation_test_contrast(values, design, np.eye(1, design.shape[1], 1)[0], **arguments)
    return permutation_test(
        values,
        contrast.condition,
        statistic="welch" if contrast.pair is None else "paired",
        pair=contrast.pair,
        covariates=nuisance,
        **arguments,
    )


def view_cube(cube: xr.Dataset, view: View, sequences: tuple[Sequence, ...], sites: tuple[Site, ...]) -> xr.Dataset:
    """Return what a view looks at: the rows of the target words, or all.

    Raises
    ------
    InputError
        If the view is of target words and a sequence has none.
    """
    return target_rows(cube, sequences, sites, view.measure, view.span) if view.targets_query else cube


def measures_beside(cube: xr.Dataset, options: Options) -> tuple[str, ...]:
    """Return the names of the measures that a run tests beside its own: those of every run that its cube holds.

    Parameters
    ----------
    cube : xarray.Dataset
        As `metastable.load_counts` opens it.
    options : Options
        The run's options: its measure.

    Returns
    -------
    tuple of str
        In the order of the table of measures.
    """
    return tuple(
        name
        for name, measure in known_measures().measures.items()
        if name != options.measure
        and f"mean_{name}" in cube
        and (measure.tested_in_every_run or (measure.stands_in_for and f"mean_{measure.stands_in_for}" not in cube))
    )


def analyse_beside(
    cube: xr.Dataset,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    options: Options,
    histograms: NDArray[np.int64] | None,
    advance: Advance,
) -> tuple[dict[str, Analysis], dict[str, str]]:
    """Run the tests of the measures that every run tests beside its own.

    Parameters
    ----------
    cube, contrast, sequences, options, histograms, advance
        As `analyse_cube` takes them; `options` names the run's own measure.

    Returns
    -------
    analyses : dict of str to Analysis
        By the measure's name: permutation tests, intervals, Bayes factors, equivalence tests and verdicts, p-values
        corrected within the measure. No mixed model is fitted, and the columns of mixed models are NaN;
        covariates are held fixed only where the options name them.
    left_out : dict of str to str
        For each measure that units lack a value of, such as words that no query of a head attends to, that this is
        so, after "the measure count_words".
    """
    names = measures_beside(cube, options)
    features = feature_table(cube)
    analyses: dict[str, Analysis] = {}
    left_out: dict[str, str] = {}
    for index, name in enumerate(names):

        def tell(done: int, total: int, index: int = index) -> None:
            advance(index * total + done, len(names) * total)

        its = replace(options, measure=name)
        without = np.zeros(len(contrast.condition), dtype=bool)
        for threshold in thresholds_of(cube, its):
            without |= np.isnan(contrast.values(unit_means(cube, features, threshold, name))).any(axis=1)
        if without.any():
            left_out[name] = f"has no value in a head for {without.sum()} of {len(without)} units"
            continue
        analyses[name] = analyse_cube(
            cube, contrast, sequences, its, histograms, tell, with_mixed_models=False, beside_covariates=False
        )
    return analyses, left_out


# Below this many units of a condition the sample says too little about itself to be drawn from.
_LEAST_UNITS = 5


def unit_values(cube: xr.Dataset, contrast: Contrast, options: Options) -> NDArray[np.float64]:
    """Values of the units at the primary threshold."""
    return contrast.values(unit_means(cube, feature_table(cube), options.threshold[0], options.measure))


def power_of(cube: xr.Dataset, contrast: Contrast, options: Options, advance: Advance) -> Sensitivity | None:
    """Find the effect that this sample would find, or None where it has too few units or is about a slope."""
    features = feature_table(cube)
    values = unit_values(cube, contrast, options)
    varied = np.ptp(values, axis=0) > 0
    # of a slope, and over contexts, the report says by formula what the sample could find
    if (
        contrast.crossing is not None
        or contrast.predictor is not None
        or min(contrast.n_a, contrast.n_b) < _LEAST_UNITS
        or not varied.any()
    ):
        return None
    return sensitivity(
        values,
        contrast.condition,
        pair=contrast.pair,
        family=pd.factorize(features["site"])[0],
        correction=options.correction,
        alpha=options.alpha,
        n_permutations=options.permutations,
        rng=options.seed,
        callback=advance,
    )


JOINT_NEEDS = (
    "--joint: the joint model needs unpaired sequences, one attention site of several layers, and one of the "
    f"measures {', '.join(name for name, measure in known_measures().measures.items() if measure.joint)}; leave it out"
)
"""What a refusal says."""


def joint_fits(contrast: Contrast, features: pd.DataFrame, measure: str) -> bool:
    """Whether the joint model of all heads is one of this design, of these heads and of this measure."""
    sizes = features.groupby("layer").size()
    return bool(
        contrast.unit == "sequence"
        and contrast.predictor is None
        and measure_named(measure).joint
        and len(features["site"].unique()) == 1
        and len(sizes) > 1
        and sizes.min() > 1
    )


def joint_model(cube: xr.Dataset, contrast: Contrast, options: Options) -> JointModel:
    """Fit one model over all heads.

    Raises
    ------
    InputError
        If the design, the measure or the model's heads do not suit it.
    """
    features = feature_table(cube)
    if not joint_fits(contrast, features, options.measure):
        raise InputError(JOINT_NEEDS)
    values = unit_values(cube, contrast, options)
    return fit_joint_model(np.log(values), contrast.condition, features["layer"].to_numpy())


def side_histograms(
    cube: xr.Dataset, sides: NDArray[np.intp], thresholds: tuple[float, ...]
) -> NDArray[np.int64] | None:
    """Count how many tokens of either side gave each count, as `RunResult.histograms` holds it.

    None of a cube of means, which does not hold tokens.
    """
    if not holds_tokens(cube):
        return None
    features = feature_table(cube)
    return np.stack([token_histograms(cube, features, threshold, sides) for threshold in thresholds])


def side_spread(cube: xr.Dataset, sides: NDArray[np.intp], options: Options) -> Spread | None:
    """Find how the counts of either side spread at the primary threshold, as `RunResult` holds it.

    None of a cube of means, which does not hold tokens.
    """
    if not holds_tokens(cube):
        return None
    return spread_of(cube, feature_table(cube), options.threshold[0], sides)


def analyse_view(
    cube: xr.Dataset,
    view: View,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    sites: tuple[Site, ...],
    options: Options,
    advance: Advance,
) -> Analysis:
    """Run all tests of one view of the sequences, as `analyse_cube` does of the whole ones.

    Raises
    ------
    InputError
        If the view is of target words and a sequence has none.
    """
    options = replace(options, measure=view.measure)
    looked = view_cube(cube, view, sequences, sites)
    histograms = side_histograms(looked, contrast.sides, thresholds_of(looked, options))
    return analyse_cube(looked, contrast, sequences, options, histograms, advance)
