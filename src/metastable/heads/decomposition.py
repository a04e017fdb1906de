"""Where a difference lives: the maps of effects of several measures side by side, and the effect with the sink held."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from metastable.heads.contrasts import Contrast
from metastable.heads.cube import feature_table, unit_means
from metastable.measures import known_measures, measure_named
from metastable.stats.analysis import Analysis, primary
from metastable.stats.corrections import adjust_p_values
from metastable.stats.own_covariate import held_difference, held_slope
from metastable.study import Options

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "MapComparison",
    "compared_maps",
    "effects_with_sink_held",
    "learned_sink_shares",
    "sink_of",
    "without_sinks",
]

# Fisher's z has a standard error of one over the root of n - 3.
_LEAST_HEADS = 4


def sink_of(names: Container[str]) -> str | None:
    """Return the first measure in the table that says how much rests on a sink and that a run has; None without one."""
    return next(
        (name for name, measure in known_measures().measures.items() if measure.of_sink and name in names), None
    )


def without_sinks(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some measures that a sink hardly enters."""
    return tuple(name for name in names if measure_named(name).without_sinks)


def learned_sink_shares(cube: xr.Dataset, sides: NDArray[np.intp]) -> tuple[float, float] | None:
    """Return what share of the attention goes to learned sinks on either side of a contrast.

    Parameters
    ----------
    cube : xarray.Dataset
        Of a model with such sinks it holds ``mean_sink_mass`` (sequence, site, layer, head).
    sides : ndarray of int, shape (n_sequences,)
        Of a contrast, as `metastable.heads.word_units.read_sides` gives them: 0 for a, 1 for b, -1 for none.

    Returns
    -------
    tuple of float or None
        Means over the sequences of a and of b and over all heads; None where the softmax has no learned sink.
    """
    if "mean_sink_mass" not in cube:
        return None
    of_sequence = cube["mean_sink_mass"].mean(("site", "layer", "head")).to_numpy()
    a, b = (float(of_sequence[sides == side].mean()) for side in (0, 1))
    return a, b


@dataclass(frozen=True)
class MapComparison:
    """How the map of effects on one measure agrees with that on the run's own.

    Attributes
    ----------
    measure : str
        The other measure.
    n_heads : int
        Heads of both maps.
    r, r_low, r_high : float
        Pearson's correlation of the two maps over heads, with its 95% interval by Fisher's z, which takes the heads as
        independent draws; NaN where a map is constant or has fewer than four heads.
    same_sign : int
        Heads whose effects have the same sign.
    kept, turned, lost : int
        Of the heads that differ in the run's own measure, those that differ in the other in the same direction, in the
        opposite one, and not demonstrably.
    gained : int
        Heads that differ in the other alone.
    """

    measure: str
    n_heads: int
    r: float
    r_low: float
    r_high: float
    same_sign: int
    kept: int
    turned: int
    lost: int
    gained: int


def compared_maps(measured: Mapping[str, Analysis], *, alpha: float) -> list[MapComparison]:
    """Compare the map of effects of the first measure with that of each other one, at the primary threshold.

    Parameters
    ----------
    measured : mapping of str to Analysis
        The tests of each measure over the same heads, the run's own first.
    alpha : float
        A head differs where its corrected permutation p is below it.

    Returns
    -------
    list of MapComparison
        One per other measure.
    """
    (_, own), *others = measured.items()
    first, size = primary(own.heads), own.effect.size
    differs = (first["p_perm_fdr"] < alpha).to_numpy()
    found = []
    for name, analysis in others:
        second = primary(analysis.heads)
        also = (second["p_perm_fdr"] < alpha).to_numpy()
        x, y = first[size].to_numpy(), second[size].to_numpy()
        same = np.sign(x) == np.sign(y)
        r, low, high = _correlation(x, y)
        numbers = (same, differs & also & same, differs & also & ~same, differs & ~also, ~differs & also)
        found.append(MapComparison(name, len(first), r, low, high, *(int(mask.sum()) for mask in numbers)))
    return found


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < _LEAST_HEADS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return (float("nan"),) * 3
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    if abs(r) == 1:
        return r, r, r
    reach = float(special.ndtri(0.975)) / np.sqrt(len(x) - 3)
    z = np.arctanh(r)
    return r, float(np.tanh(z - reach)), float(np.tanh(z + reach))


def effects_with_sink_held(cube: xr.Dataset, contrast: Contrast, options: Options, sink: str) -> pd.DataFrame:
    """Effect on the run's measure in every head, with the mass that its unit rests on a sink held fixed.

    The covariates that the run holds fixed are held fixed too.

    Parameters
    ----------
    cube : xarray.Dataset
        As `metastable.load_counts` opens it.
    contrast : Contrast
        The primary contrast.
    options : Options
        The run's measure, primary threshold, correction and alpha.
    sink : str
        A measure of the mass on a sink: each head's own, of the same units.

    Returns
    -------
    pandas.DataFrame
        One row per head: ``site, layer, head, threshold, measure, held``, then ``estimate_held, ci_low_held,
        ci_high_held, size_held, p_held, p_held_fdr``, as `metastable.stats.own_covariate` gives them; NaN where the
        mass goes along with the condition so closely that they cannot be told apart.
    """
    features, threshold = feature_table(cube), options.threshold[0]
    values, mass = (contrast.values(unit_means(cube, features, threshold, name)) for name in (options.measure, sink))
    nuisance = contrast.covariates[list(options.covariates)].to_numpy(dtype=np.float64) if options.covariates else None
    if contrast.predictor is None:
        found = held_difference(values, contrast.condition, mass, pair=contrast.pair, nuisance=nuisance)
    else:
        found = held_slope(values, contrast.predictor, mass, nuisance=nuisance)
    known = np.isfinite(found.p)
    corrected = np.full(len(features), np.nan)
    if known.any():
        corrected[known] = adjust_p_values(
            found.p[known],
            method=options.correction,
            family=pd.factorize(features.loc[known, "site"])[0],
            alpha=options.alpha,
        )
    return features.assign(
        threshold=threshold,
        measure=options.measure,
        held=sink,
        estimate_held=found.estimate,
        ci_low_held=found.low,
        ci_high_held=found.high,
        size_held=found.standardized,
        p_held=found.p,
        p_held_fdr=corrected,
    )
