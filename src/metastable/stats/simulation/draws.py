"""Error rates over draws in which nothing differs, each of them tested by itself and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.corrections import CORRECTIONS, adjust_p_values
from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.samples import is_constant
from metastable.stats.simulation.error_rates import PROMISES, Key, group_rates, rate_table, rates
from metastable.stats.simulation.feature_groups import feature_groups
from metastable.stats.simulation.planting import family_codes

__all__ = ["DrawTests", "draw_table", "draw_tests"]

Floats = NDArray[np.float64]

# Omnibus combinations, and how the table names them.
_COMBINATIONS = {"p_max": "maximum", "p_sum_squares": "sum of squares", "p_count": "number below alpha"}
_OF_HEADS = ("none", "max-t", "max-t-stepdown", "layers-first")


@dataclass(frozen=True)
class DrawTests:
    """P-values of one draw in which nothing differs.

    Attributes
    ----------
    features : mapping of str to list of float
        Of each feature, by correction: "none" and those that come with the permutation test; NaN where the feature
        does not vary.
    omnibus : mapping of str to list of float
        Of the groups of each scope and combination: "model: maximum", "layer: sum of squares", ...
    """

    features: Mapping[str, list[float]]
    omnibus: Mapping[str, list[float]]


def draw_tests(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    family: ArrayLike | None = None,
    layer: ArrayLike | None = None,
    n_permutations: int = 1000,
    alpha: float = 0.05,
    rng: int | np.random.Generator | None = None,
) -> DrawTests:
    """Run the permutation test of one draw.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
    condition : array_like of bool, shape (n_units,)
        The list that each unit was drawn into.
    pair : array_like of int, shape (n_units,), or None
        What joins units of both lists.
    family, layer : array_like, shape (n_features,), or None
        Features that are corrected together, and their layers.
    n_permutations : int
    alpha : float
        Level of the layers' omnibus tests in "layers-first".
    rng : int, numpy.random.Generator or None

    Returns
    -------
    DrawTests
    """
    table = np.asarray(values, dtype=np.float64)
    families = family_codes(family, table.shape[1])
    groups = feature_groups(families, layer)
    result = permutation_test(
        table,
        condition,
        statistic="welch" if pair is None else "paired",
        pair=pair,
        family=families,
        omnibus=groups.named,
        n_permutations=n_permutations,
        alpha=alpha,
        rng=rng,
    )
    varies = ~is_constant(table)
    features = {"none": result.p_perm, "max-t": result.p_fwer, "max-t-stepdown": result.p_fwer_stepdown}
    if layer is not None:
        features["layers-first"] = groups.layers_first(result, alpha)
    return DrawTests(
        {name: np.where(varies, p, np.nan).tolist() for name, p in features.items()},
        {
            f"{scope}: {name}": groups.omnibus(result, scope, which).tolist()
            for scope in groups.masks
            for which, name in _COMBINATIONS.items()
        },
    )


def draw_table(
    draws: Mapping[str, Sequence[DrawTests]],
    *,
    family: ArrayLike | None = None,
    alpha: float = 0.05,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Rates over draws.

    Parameters
    ----------
    draws : mapping of str to sequence of DrawTests
        By what was tested ("sequences", "words"), which the tests' names end with.
    family : array_like of int, shape (n_features,), or None
        Features that are corrected together.
    alpha : float
        Nominal level.
    confidence : float
        Coverage of the Monte Carlo intervals.

    Returns
    -------
    pandas.DataFrame
        As `metastable.stats.calibrate` returns it, of the scenario "null" alone.

    Raises
    ------
    InputError
        If there are fewer than two draws.
    """
    records: dict[Key, list[float]] = {}
    names: list[str] = []
    for unit, tests in draws.items():
        if len(tests) < 2:
            raise InputError(f"there are {len(tests)} draws of {unit}; give at least 2, better 200 or more")
        names += [f"permutation, {unit}", *(f"{name}, {unit}" for name in tests[0].omnibus)]
        for one in tests:
            p = np.array(one.features["none"])
            families, varies = family_codes(family, len(p)), np.isfinite(p)
            if not varies.any():
                raise InputError(f"a draw of {unit} has no head that varies; draw more words")
            none = np.zeros(int(varies.sum()), dtype=bool)
            for correction, adjusted in _corrected(one, families, varies, alpha).items():
                for measure, rate in rates(adjusted < alpha, none, families[varies]).items():
                    records.setdefault((f"permutation, {unit}", correction, "null", measure), []).append(rate)
            for name, of_groups in one.omnibus.items():
                called = np.array(of_groups) < alpha
                for measure, rate in group_rates(called, np.zeros(len(called), dtype=bool)).items():
                    records.setdefault((f"{name}, {unit}", "none", "null", measure), []).append(rate)
    return rate_table(records, tests=names, corrections=tuple(PROMISES), alpha=alpha, confidence=confidence)


def _corrected(
    tests: DrawTests, families: NDArray[np.intp], varies: NDArray[np.bool_], alpha: float
) -> dict[str, Floats]:
    """P-values of the features that vary, by correction."""
    found = {name: np.array(tests.features[name])[varies] for name in _OF_HEADS if name in tests.features}
    for method in PROMISES:
        if method in CORRECTIONS:
            found[method] = adjust_p_values(found["none"], method=method, family=families[varies], alpha=alpha)
    return found
