"""Error rates and power of every test and correction, on random halves of one condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.corrections import CORRECTIONS, adjust_p_values
from metastable.stats.effects import welch_p
from metastable.stats.mixed_models.mixed import fit_mixed_models
from metastable.stats.permutations.permutation import PermutationResult, permutation_test
from metastable.stats.samples import is_constant
from metastable.stats.simulation.context_splits import CONTEXT_TESTS, context_tests
from metastable.stats.simulation.error_rates import OF_PERMUTATION, PROMISES, Key, group_rates, rate_table, rates
from metastable.stats.simulation.feature_groups import FeatureGroups, feature_groups
from metastable.stats.simulation.further import Further, further_tests, joint_tests
from metastable.stats.simulation.halves import ContextValues, Split, TokenValues, Units, UnitTokens, divide, prepare
from metastable.stats.simulation.planting import check_share, plant_effects

__all__ = ["CALIBRATED", "TESTS", "ContextValues", "TokenValues", "calibrate"]

Floats = NDArray[np.float64]

#: Tests on offer: permutation (Welch's t, paired t for pairs), its omnibus tests of groups of features, the same t
#: with its parametric p, mixed model.
TESTS = ("permutation", "omnibus", "welch", "mixed")
#: Corrections on offer: none, those of the table, and those that come with the permutation test ("layers-first" with
#: layers).
CALIBRATED = tuple(PROMISES)
# Omnibus combinations, and how the table names them.
_COMBINATIONS = {"p_max": "maximum", "p_sum_squares": "sum of squares", "p_count": "number below alpha"}
# Features per call of the mixed model, whose token values are copied.
_FEATURES = 64


@dataclass(frozen=True)
class _Options:
    tests: tuple[str, ...]
    corrections: tuple[str, ...]
    n_permutations: int
    alpha: float


def calibrate(
    values: ArrayLike,
    *,
    tokens: TokenValues | None = None,
    contexts: ContextValues | None = None,
    cluster: ArrayLike | None = None,
    paired: bool = False,
    family: ArrayLike | None = None,
    layer: ArrayLike | None = None,
    tests: Sequence[str] | None = None,
    corrections: Sequence[str] | None = None,
    n_splits: int = 200,
    n_model_splits: int | None = None,
    n_permutations: int = 1000,
    alpha: float = 0.05,
    shift: float = 0.5,
    share: float = 0.1,
    further: Further | None = None,
    confidence: float = 0.95,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Run the tests on random halves of one condition, without and with a planted difference.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        Units of one condition.
    tokens : TokenValues or None
        Values of the units' tokens; without them the mixed model is not run.
    contexts : ContextValues or None
        Values of the units in contexts, for the tests over both that `further` may name.
    cluster : array_like, shape (n_units,), or None
        Cluster of each unit: whole clusters go to one half, the tests get the means of clusters, and the
        mixed model has the cluster as its second grouping factor.
    paired : bool
        Whether the design is paired: units are joined at random in pairs, one of each pair goes to each
        half, and the tests are the paired ones. A unit left over is left out.
    family : array_like of int, shape (n_features,), or None
        Features that are corrected together.
    tests : sequence of str or None
        Of `TESTS`; None is all that can be run.
    corrections : sequence of str or None
        Of `CALIBRATED`; None is all that can be run.
    n_splits : int
        Random divisions; each is tested twice, without and with the planted difference.
    n_model_splits : int or None
        Divisions that the mixed model is run on, the first of them: it takes far longer than the other
        tests, most of all with pairs or clusters. None is all.
    n_permutations : int
        Relabelings per permutation test.
    alpha : float
        Nominal level.
    shift : float
        Planted difference, in standard deviations of the feature over units.
    share : float
        Share of the features of a family that it is planted in, at least one; newly chosen for each
        split, up in some and down in others.
    further : Further or None
        What else is tried where it is known to be false (`metastable.stats.simulation.further`): equivalence at its
        margin, covariates, slopes, contexts, the joint model. The last two are tried on as many divisions as the mixed
        model.
    confidence : float
        Coverage of the Monte Carlo intervals.
    rng : int, numpy.random.Generator or None
        Seed or generator.
    callback : callable or None
        Told of progress as ``f(splits done, splits)``.

    Returns
    -------
    pandas.DataFrame
        One row per test, correction, scenario and measure:

        * ``test``, ``correction``; omnibus tests are named "model: maximum", "layer: sum of squares" and so on,
          have no correction, and count groups (layers, families, the model) where other tests count features
        * ``scenario``: "null" or "planted"
        * ``measure``: "false_positive_rate", the share of features without a difference that are
          called different; "fwer", the share of splits (times families) with at least one such;
          and, where a difference is planted, "fdr", the mean share of the false among the called (0
          where none is), and "power", the share of the planted that are called
        * ``nominal``: the level that the correction promises for the measure, NaN where it promises none
        * ``estimate``, ``low``, ``high``: the rate and its Monte Carlo interval
        * ``n_splits``: the divisions that the rate is over

    Raises
    ------
    InputError
        If there are fewer than eight units (clusters), a value is not finite, a shape does not fit, an
        option is out of range or unknown, the mixed model is asked for without tokens or "layers-first"
        without `layer`, `paired` is combined with `cluster`, or every feature is constant.

    Notes
    -----
    The units are those of the study and stay the same: the rates are over the ways to divide them, and
    so is the Monte Carlo error (`estimate_rate`). Features that are constant over all units cannot be
    called and are not counted. Corrections run within families; family-wise error is per family.

    The halves of one condition have the same distribution, variances included: what a test does where only the
    means are alike is not seen here (`permutation_test`, Notes).

    Examples
    --------
    >>> values = np.random.default_rng(1).normal(size=(60, 20))
    >>> table = calibrate(values, corrections=("none", "bh"), n_splits=30, n_permutations=200, rng=1)
    >>> sorted(table["measure"].unique())
    ['false_positive_rate', 'fdr', 'fwer', 'power']
    """
    data = prepare(values, tokens, cluster, paired, family, contexts)
    _check_numbers(n_splits, n_model_splits, alpha, shift, share)
    deviation = np.where(is_constant(data.table), 0.0, data.table.std(axis=0, ddof=1))
    varies = deviation > 0
    if not varies.any():
        raise InputError("values has no feature that varies over units; nothing can be tested in it")
    groups = feature_groups(data.families, layer)
    options = _options(tests, corrections, n_permutations, alpha, tokens is not None, layer is not None)
    omnibus = {f"{scope}: {name}": (scope, which) for scope in groups.masks for which, name in _COMBINATIONS.items()}
    generator = np.random.default_rng(rng)
    n_models = n_splits if n_model_splits is None else n_model_splits
    records: dict[Key, list[float]] = {}
    more = Further() if further is None else further
    _check_further(more, data, paired, layer)
    for done in range(n_splits):
        split = divide(len(data.table), paired, generator)
        sign = plant_effects(varies, data.families, share, generator)
        seed = int(generator.integers(2**63))
        false = {
            (name, "none"): p
            for name, p in further_tests(data.table, split, deviation, data.families, more, seed).items()
        }
        for name in CONTEXT_TESTS:
            if data.contexts is not None and name in more.tests and done < n_models:
                false |= context_tests(
                    data.contexts, split, deviation, data.families, covariate=name != "contexts",
                    n_permutations=more.n_permutations, alpha=alpha, seed=seed,
                )  # fmt: skip
        for (name, correction), p in false.items():
            measure = "false_positive_rate" if correction == "none" else "fwer"
            rate = rates((p < alpha)[varies], np.zeros(int(varies.sum()), bool), data.families[varies])[measure]
            records.setdefault((name, correction, "null", measure), []).append(rate)
        if "joint" in more.tests and done < n_models:
            for name, p_joint in joint_tests(data.table, split, np.asarray(layer)).items():
                records.setdefault((name, "none", "null", "false_positive_rate"), []).append(float(p_joint < alpha))
        modelled: Floats | None = None
        for scenario, amount in (("null", np.zeros_like(sign)), ("planted", shift * sign * deviation)):
            planted = amount != 0
            p_values, result = _unit_tests(data, groups, split, amount, options, seed)
            if data.tokens is not None and "mixed" in options.tests and done < n_models:
                # Planting changes the planted features alone: the others keep their p.
                columns = np.flatnonzero(varies if modelled is None else amount)
                modelled = np.ones(len(sign)) if modelled is None else modelled.copy()
                modelled[columns] = _mixed_test(data.tokens, len(data.table), split, amount, columns)
                p_values["mixed", "none"] = modelled
            found = {
                key: rates((p < alpha)[varies], planted[varies], data.families[varies])
                for key, p in _corrected(p_values, data.families, options).items()
            }
            if result is not None and "omnibus" in options.tests:
                for name, (scope, which) in omnibus.items():
                    masks = groups.masks[scope]
                    tested = (masks & varies).any(axis=1)
                    called = groups.omnibus(result, scope, which) < alpha
                    found[name, "none"] = group_rates(called[tested], (masks & planted).any(axis=1)[tested])
            for (test, correction), by_measure in found.items():
                for measure, rate in by_measure.items():
                    records.setdefault((test, correction, scenario, measure), []).append(rate)
        if callback is not None:
            callback(done + 1, n_splits)
    rows = [row for test in TESTS for row in (omnibus if test == "omnibus" else [test])]
    rows += dict.fromkeys(key[0] for key in records if key[0] not in rows)
    return rate_table(records, tests=rows, corrections=CALIBRATED, alpha=alpha, confidence=confidence)


def _options(
    tests: Sequence[str] | None,
    corrections: Sequence[str] | None,
    n_permutations: int,
    alpha: float,
    has_tokens: bool,
    has_layers: bool,
) -> _Options:
    wanted = tuple(tests) if tests is not None else TESTS if has_tokens else TESTS[:3]
    possible = tuple(c for c in CALIBRATED if c != "layers-first" or has_layers)
    asked = possible if corrections is None else tuple(corrections)
    for name, given, known in (("tests", wanted, TESTS), ("corrections", asked, CALIBRATED)):
        unknown = [item for item in given if item not in known]
        if unknown or not given:
            raise InputError(f"{name} has {unknown or 'nothing'}; choose from {', '.join(known)}")
    if "layers-first" in asked and not has_layers:
        raise InputError("corrections has 'layers-first', but layer is None; give the layer of each feature")
    if "permutation" not in wanted and set(asked) <= set(OF_PERMUTATION):
        raise InputError(f"corrections has only {', '.join(asked)}, which need the permutation test")
    if "mixed" in wanted and not has_tokens:
        raise InputError("tests has 'mixed' but tokens is None; give the values of the tokens, or leave it out")
    if n_permutations < 19:
        raise InputError(f"n_permutations is {n_permutations}; give at least 19")
    return _Options(wanted, asked, n_permutations, alpha)


def _check_further(further: Further, data: Units, paired: bool, layer: ArrayLike | None) -> None:
    """Refuse contexts where there are none, and the joint model but for unpaired units and logarithms of values."""
    for name in CONTEXT_TESTS:
        if name in further.tests and data.contexts is None:
            raise InputError(
                f"further has {name!r}, but contexts is None; give the values in contexts, or leave it out"
            )
    if "joint" in further.tests and (paired or layer is None or not (data.table > 0).all()):
        raise InputError("further has 'joint', which needs unpaired units, layers and values above 0; leave it out")


def _check_numbers(n_splits: int, n_model_splits: int | None, alpha: float, shift: float, share: float) -> None:
    if n_splits < 2:
        raise InputError(f"n_splits is {n_splits}; give at least 2, better 200 or more")
    if n_model_splits is not None and not 2 <= n_model_splits <= n_splits:
        raise InputError(f"n_model_splits is {n_model_splits}; give a number from 2 to n_splits, {n_splits}")
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05")
    if not (np.isfinite(shift) and shift != 0):
        raise InputError(f"shift is {shift}; give a difference in standard deviations that is not 0")
    check_share(share)


def _unit_tests(
    data: Units, groups: FeatureGroups, split: Split, amount: Floats, options: _Options, seed: int
) -> tuple[dict[tuple[str, str], Floats], PermutationResult | None]:
    """P-values by test and correction of the units once `amount` is added to half a, and their permutation test."""
    values = data.table[split.rows] + split.condition[:, None] * amount
    p_values: dict[tuple[str, str], Floats] = {}
    result: PermutationResult | None = None
    if {"permutation", "omnibus"} & set(options.tests):
        layered = "layers-first" in options.corrections
        result = permutation_test(
            values,
            split.condition,
            statistic="welch" if split.pair is None else "paired",
            pair=split.pair,
            family=data.families,
            omnibus=groups.named if layered or "omnibus" in options.tests else None,
            n_permutations=options.n_permutations,
            alpha=options.alpha,
            rng=seed,
        )
        if "permutation" in options.tests:
            p_values["permutation", "none"] = result.p_perm
            p_values["permutation", "max-t"] = result.p_fwer
            p_values["permutation", "max-t-stepdown"] = result.p_fwer_stepdown
            if layered:
                p_values["permutation", "layers-first"] = groups.layers_first(result, options.alpha)
    if "welch" in options.tests:
        p_values["welch", "none"] = welch_p(values, split.condition, pair=split.pair)
    return p_values, result


def _corrected(
    p_values: dict[tuple[str, str], Floats], families: NDArray[np.intp], options: _Options
) -> dict[tuple[str, str], Floats]:
    corrected = {key: p for key, p in p_values.items() if key[1] in options.corrections}
    for (test, kind), p in p_values.items():
        if kind == "none":
            for method in options.corrections:
                if method in CORRECTIONS:
                    corrected[test, method] = adjust_p_values(p, method=method, family=families, alpha=options.alpha)
    return corrected


def _mixed_test(
    tokens: UnitTokens,
    n_units: int,
    split: Split,
    amount: Floats,
    columns: NDArray[np.intp],
) -> Floats:
    """P-values of the mixed models of these features."""
    used, in_a, pair = np.zeros(n_units, bool), np.zeros(n_units, bool), np.zeros(n_units, np.intp)
    used[split.rows], in_a[split.rows] = True, split.condition
    rows = np.flatnonzero(used[tokens.unit])
    unit, group = tokens.unit[rows], tokens.group[rows]
    cluster = unit if tokens.clustered else None if tokens.crossed is None else tokens.crossed[rows]
    if split.pair is not None:
        pair[split.rows] = split.pair
        cluster = pair[unit]
    design = np.column_stack([np.ones(len(unit)), in_a[unit], tokens.nuisance[rows]])
    p = np.empty(len(columns))
    for start in range(0, len(columns), _FEATURES):
        block = columns[start : start + _FEATURES]
        values = tokens.table[np.ix_(rows, block)] + design[:, 1:2] * amount[block]
        models = fit_mixed_models(values, design, group, column=1, cluster=cluster)
        p[start : start + _FEATURES] = models.p_value
    return p
