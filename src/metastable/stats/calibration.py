"""Error rates and power of every test and correction, on random halves of one condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.corrections import adjust_p_values
from metastable.stats.effects import welch
from metastable.stats.halves import Split, TokenValues, Units, UnitTokens, divide, prepare
from metastable.stats.mixed import fit_mixed_models
from metastable.stats.monte_carlo import estimate_rate
from metastable.stats.permutation import permutation_test
from metastable.stats.planting import check_share, plant_effects
from metastable.stats.samples import is_constant, sample_moments, split_samples

__all__ = ["CORRECTIONS", "TESTS", "TokenValues", "calibrate"]

#: Tests on offer: permutation (Welch's t, paired t for pairs), the same t with its parametric p, mixed model.
TESTS = ("permutation", "welch", "mixed")
#: Corrections on offer; the last two come with the permutation test alone.
CORRECTIONS = ("none", "bh", "by", "tsbh", "storey", "holm", "max-t", "max-t-stepdown")
_OF_PERMUTATION = ("max-t", "max-t-stepdown")
_MEASURES = ("false_positive_rate", "fwer", "fdr", "power")
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
    cluster: ArrayLike | None = None,
    paired: bool = False,
    family: ArrayLike | None = None,
    tests: Sequence[str] | None = None,
    corrections: Sequence[str] = CORRECTIONS,
    n_splits: int = 200,
    n_model_splits: int | None = None,
    n_permutations: int = 1000,
    alpha: float = 0.05,
    shift: float = 0.5,
    share: float = 0.1,
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
    corrections : sequence of str
        Of `CORRECTIONS`.
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

        * ``test``, ``correction``
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
        option is out of range or unknown, the mixed model is asked for without tokens, `paired` is
        combined with `cluster`, or every feature is constant.

    Notes
    -----
    The units are those of the study and stay the same: the rates are over the ways to divide them, and
    so is the Monte Carlo error (`estimate_rate`). Features that are constant over all units cannot be
    called and are not counted. Corrections run within families; family-wise error is per family.

    Examples
    --------
    >>> values = np.random.default_rng(1).normal(size=(60, 20))
    >>> table = calibrate(values, corrections=("none", "bh"), n_splits=30, n_permutations=200, rng=1)
    >>> sorted(table["measure"].unique())
    ['false_positive_rate', 'fdr', 'fwer', 'power']
    """
    data = prepare(values, tokens, cluster, paired, family)
    options = _options(tests, corrections, n_permutations, alpha, tokens is not None)
    _check_numbers(n_splits, n_model_splits, alpha, shift, share)
    deviation = np.where(is_constant(data.table), 0.0, data.table.std(axis=0, ddof=1))
    varies = deviation > 0
    if not varies.any():
        raise InputError("values has no feature that varies over units; nothing can be tested in it")
    generator = np.random.default_rng(rng)
    n_models = n_splits if n_model_splits is None else n_model_splits
    records: dict[tuple[str, str, str, str], list[float]] = {}
    for done in range(n_splits):
        split = divide(len(data.table), paired, generator)
        sign = plant_effects(varies, data.families, share, generator)
        seed = int(generator.integers(2**63))
        modelled: NDArray[np.float64] | None = None
        for scenario, amount in (("null", np.zeros_like(sign)), ("planted", shift * sign * deviation)):
            p_values = _unit_tests(data, split, amount, options, seed)
            if data.tokens is not None and "mixed" in options.tests and done < n_models:
                # Planting changes the planted features alone: the others keep their p.
                columns = np.flatnonzero(varies if modelled is None else amount)
                modelled = np.ones(len(sign)) if modelled is None else modelled.copy()
                modelled[columns] = _mixed_test(data.tokens, len(data.table), split, amount, columns)
                p_values["mixed", "none"] = modelled
            for key, p in _corrected(p_values, data.families, options).items():
                rates = _rates((p < alpha)[varies], (amount != 0)[varies], data.families[varies])
                for measure, rate in rates.items():
                    records.setdefault((*key, scenario, measure), []).append(rate)
        if callback is not None:
            callback(done + 1, n_splits)
    return _table(records, alpha, confidence)


def _options(
    tests: Sequence[str] | None,
    corrections: Sequence[str],
    n_permutations: int,
    alpha: float,
    has_tokens: bool,
) -> _Options:
    wanted = tuple(tests) if tests is not None else TESTS if has_tokens else TESTS[:2]
    for name, given, known in (("tests", wanted, TESTS), ("corrections", tuple(corrections), CORRECTIONS)):
        unknown = [item for item in given if item not in known]
        if unknown or not given:
            raise InputError(f"{name} has {unknown or 'nothing'}; choose from {', '.join(known)}")
    if "permutation" not in wanted and set(corrections) <= set(_OF_PERMUTATION):
        raise InputError(f"corrections has only {', '.join(corrections)}, which need the permutation test")
    if "mixed" in wanted and not has_tokens:
        raise InputError("tests has 'mixed' but tokens is None; give the values of the tokens, or leave it out")
    if n_permutations < 20:
        raise InputError(f"n_permutations is {n_permutations}; give at least 20")
    return _Options(wanted, tuple(corrections), n_permutations, alpha)


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
    data: Units, split: Split, amount: NDArray[np.float64], options: _Options, seed: int
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """P-values by test and correction of the units once `amount` is added to half a."""
    values = data.table[split.rows] + split.condition[:, None] * amount
    p_values: dict[tuple[str, str], NDArray[np.float64]] = {}
    if "permutation" in options.tests:
        result = permutation_test(
            values,
            split.condition,
            statistic="welch" if split.pair is None else "paired",
            pair=split.pair,
            family=data.families,
            n_permutations=options.n_permutations,
            alpha=options.alpha,
            rng=seed,
        )
        p_values["permutation", "none"] = result.p_perm
        p_values["permutation", "max-t"] = result.p_fwer
        p_values["permutation", "max-t-stepdown"] = result.p_fwer_stepdown
    if "welch" in options.tests:
        p_values["welch", "none"] = _t_test(values, split)
    return p_values


def _corrected(
    p_values: dict[tuple[str, str], NDArray[np.float64]], families: NDArray[np.intp], options: _Options
) -> dict[tuple[str, str], NDArray[np.float64]]:
    corrected = {key: p for key, p in p_values.items() if key[1] in options.corrections}
    for (test, kind), p in p_values.items():
        if kind == "none":
            for method in options.corrections:
                if method != "none" and method not in _OF_PERMUTATION:
                    corrected[test, method] = adjust_p_values(p, method=method, family=families, alpha=options.alpha)
    return corrected


def _t_test(values: NDArray[np.float64], split: Split) -> NDArray[np.float64]:
    moments = sample_moments(split_samples(values, split.condition, pair=split.pair))
    se, dof = welch(moments)
    undefined = np.where(moments.difference == 0, 0.0, np.inf)
    t = np.divide(np.abs(moments.difference), se, out=undefined, where=se > 0)
    return np.asarray(2 * special.stdtr(dof, -t), dtype=np.float64)


def _mixed_test(
    tokens: UnitTokens,
    n_units: int,
    split: Split,
    amount: NDArray[np.float64],
    columns: NDArray[np.intp],
) -> NDArray[np.float64]:
    """P-values of the mixed models of these features."""
    used, in_a, pair = np.zeros(n_units, bool), np.zeros(n_units, bool), np.zeros(n_units, np.intp)
    used[split.rows], in_a[split.rows] = True, split.condition
    rows = np.flatnonzero(used[tokens.unit])
    unit, group = tokens.unit[rows], tokens.group[rows]
    cluster = unit if tokens.clustered else None
    if split.pair is not None:
        pair[split.rows] = split.pair
        cluster = pair[unit]
    design = np.column_stack([np.ones(len(unit)), in_a[unit]])
    p = np.empty(len(columns))
    for start in range(0, len(columns), _FEATURES):
        block = columns[start : start + _FEATURES]
        values = tokens.table[np.ix_(rows, block)] + design[:, 1:] * amount[block]
        models = fit_mixed_models(values, design, group, column=1, cluster=cluster)
        p[start : start + _FEATURES] = models.p_value
    return p


def _rates(called: NDArray[np.bool_], planted: NDArray[np.bool_], families: NDArray[np.intp]) -> dict[str, float]:
    """Rates of one split; family-wise error and false discovery rate are means over families."""
    false = called & ~planted
    codes = np.unique(families)
    rates = {"fwer": float(np.mean([false[families == code].any() for code in codes]))}
    if not planted.all():
        rates["false_positive_rate"] = float(called[~planted].mean())
    if planted.any():
        shares = [false[families == code].sum() / max(1, called[families == code].sum()) for code in codes]
        rates["fdr"] = float(np.mean(shares))
        rates["power"] = float(called[planted].mean())
    return rates


def _nominal(correction: str, scenario: str, measure: str, alpha: float) -> float:
    """Level that a correction promises: without any difference all but "none" bound the family-wise error."""
    family_wise = correction in ("holm", *_OF_PERMUTATION)
    promised = {
        "false_positive_rate": correction == "none",
        "fwer": family_wise or (scenario == "null" and correction != "none"),
        "fdr": correction != "none",
        "power": False,
    }
    return alpha if promised[measure] else float("nan")


def _table(records: dict[tuple[str, str, str, str], list[float]], alpha: float, confidence: float) -> pd.DataFrame:
    rows = []
    for (test, correction, scenario, measure), rates in records.items():
        rate = estimate_rate(rates, confidence=confidence)
        rows.append(
            {
                "test": test,
                "correction": correction,
                "scenario": scenario,
                "measure": measure,
                "nominal": _nominal(correction, scenario, measure, alpha),
                "estimate": rate.estimate,
                "low": rate.low,
                "high": rate.high,
                "n_splits": len(rates),
            }
        )
    table = pd.DataFrame(rows)
    order = {"test": TESTS, "correction": CORRECTIONS, "scenario": ("null", "planted"), "measure": _MEASURES}
    return table.sort_values(
        list(order), key=lambda column: column.map({name: i for i, name in enumerate(order[str(column.name)])})
    ).reset_index(drop=True)
