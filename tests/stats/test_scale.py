"""Nothing depends on the unit of the values, however large or small; and what has no number is never significant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metastable import stats
from metastable.stats.bayes import difference_bayes_factor
from metastable.stats.permutations import permutation
from metastable.stats.permutations.statistics import TwoSample
from metastable.stats.samples import unit_scaled

RNG = np.random.default_rng(2)
VALUES = RNG.normal(size=(40, 5)) + np.linspace(0, 1, 5) * (np.arange(40) < 20)[:, None]
CONDITION = np.arange(40) < 20
PAIR = np.tile(np.arange(20), 2)
LENGTH = RNG.normal(size=(40, 1))
TABLE = pd.DataFrame(LENGTH, columns=["length"])
MIXED = np.column_stack([np.ones(40), CONDITION])
OPTIONS = {"n_permutations": 199, "rng": 0}
SCALES = [1e155, 1e200, 1e300, 1e-155, 1e-250]

PERMUTED = {
    "welch": lambda v: stats.permutation_test(v, CONDITION, **OPTIONS),
    "student": lambda v: stats.permutation_test(v, CONDITION, statistic="student", **OPTIONS),
    "paired": lambda v: stats.permutation_test(v, CONDITION, statistic="paired", pair=PAIR, **OPTIONS),
    "covariate": lambda v: stats.permutation_test(v, CONDITION, covariates=LENGTH, **OPTIONS),
    "clusters": lambda v: stats.permutation_test(v, CONDITION, cluster=np.arange(40) // 4, **OPTIONS),
    "slope": lambda v: stats.permutation_test_contrast(v, np.column_stack([np.ones(40), LENGTH]), [0, 1], **OPTIONS),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", PERMUTED)
def test_permutations_have_the_p_of_the_unscaled_values(kind, scale):
    # Issue 12, case 11: at 1e155 the statistic was NaN and p .005.
    plain, scaled = PERMUTED[kind](VALUES), PERMUTED[kind](VALUES * scale)
    np.testing.assert_allclose(scaled.statistic, plain.statistic, rtol=1e-9)
    for name in ("p_perm", "p_fwer", "p_fwer_stepdown", "flat"):
        np.testing.assert_array_equal(getattr(scaled, name), getattr(plain, name))


FREE = {
    "g": lambda v: np.array([x for r in [stats.hedges_g(v, CONDITION)] for x in (r.estimate, r.low, r.high)]),
    "paired g": lambda v: stats.hedges_g(v, CONDITION, pair=PAIR).estimate,
    "bootstrap": lambda v: stats.bootstrap_g(v, CONDITION, covariates=LENGTH, n_resamples=100, rng=1).low,
    "bootstrap of slopes": lambda v: stats.bootstrap_slope(v, LENGTH[:, 0], n_resamples=100, rng=1).high,
    "equivalence": lambda v: stats.equivalence_test(v, CONDITION),
    "equivalence of pairs": lambda v: stats.equivalence_test(v, CONDITION, pair=PAIR),
    "equivalence beside": lambda v: stats.equivalence_test(v, CONDITION, covariates=TABLE),
    "Bayes factor": lambda v: difference_bayes_factor(v, CONDITION, covariates=LENGTH),
    "adjusted": lambda v: stats.adjustment_table(v, CONDITION, TABLE)[["p", "p_adjusted", "g_adjusted"]].to_numpy(),
    "held": lambda v: stats.held_difference(v, CONDITION, np.sin(VALUES)).p,
    "mixed model": lambda v: stats.fit_mixed_models(v, MIXED, np.arange(40) // 4).p_value,
    "joint model": lambda v: np.array([stats.fit_joint_model(v, CONDITION, [1, 1, 1, 2, 2]).interaction.p_value]),
    "sensitivity": lambda v: np.array([stats.sensitivity(v, CONDITION, n_simulations=20, rng=1).detectable]),
    "calibration": lambda v: stats.calibrate(v, n_splits=4, n_permutations=49, rng=1)["estimate"].to_numpy(),
    "held slope": lambda v: stats.held_slope(v, LENGTH[:, 0], np.sin(VALUES)).p,
}
SIZED = {
    "difference": lambda v: stats.mean_difference(v, CONDITION).low,
    "adjusted difference": lambda v: stats.adjustment_table(v, CONDITION, TABLE)["se_adjusted"].to_numpy(),
    "held difference": lambda v: stats.held_difference(v, CONDITION, np.sin(VALUES), pair=PAIR).low,
    "mixed estimate": lambda v: stats.fit_mixed_models(v, MIXED, np.arange(40) // 4).se,
    "joint estimate": lambda v: stats.fit_joint_model(v, CONDITION, [1, 1, 1, 2, 2]).by_layer.se,
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", FREE)
def test_what_has_no_unit_does_not_change(kind, scale):
    np.testing.assert_allclose(FREE[kind](VALUES * scale), FREE[kind](VALUES), rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", SIZED)
def test_what_has_one_changes_with_it(kind, scale):
    np.testing.assert_allclose(SIZED[kind](VALUES * scale) / scale, SIZED[kind](VALUES), rtol=1e-6)


def test_ordinary_values_are_left_as_they_are():
    table, unit = unit_scaled(VALUES * 1e30)
    assert table is not None
    np.testing.assert_array_equal(table, VALUES * 1e30)
    np.testing.assert_array_equal(unit, 1.0)
    table, unit = unit_scaled(VALUES * 1e100)
    np.testing.assert_array_equal(table * unit, VALUES * 1e100)


@pytest.mark.parametrize("lost", ["observed", "relabelings"])
def test_a_statistic_without_a_number_is_never_significant(monkeypatch, lost):
    class Broken(TwoSample):
        def observed(self, prepared, backend):
            found = super().observed(prepared, backend)
            found[2] = np.nan if lost == "observed" else 1e9
            return found

        def evaluate(self, prepared, relabeled, backend):
            found = super().evaluate(prepared, relabeled, backend)
            if lost == "relabelings" and len(relabeled) > 1:
                found[-1] = np.nan  # features come by the size of their statistics
            return found

    monkeypatch.setattr(permutation, "TwoSample", Broken)
    result = stats.permutation_test(VALUES, CONDITION, omnibus={"all": np.ones(5, dtype=bool)}, **OPTIONS)
    assert result.p_perm[2] == result.p_fwer[2] == result.p_fwer_stepdown[2] == 1.0
    if lost == "observed":
        monkeypatch.undo()
        others = np.delete(VALUES, 2, axis=1)
        plain = stats.permutation_test(others, CONDITION, omnibus={"all": np.ones(4, dtype=bool)}, **OPTIONS)
        np.testing.assert_array_equal(np.delete(result.p_fwer, 2), plain.p_fwer)
        assert result.omnibus["all"] == plain.omnibus["all"]


def test_a_criterion_moves_by_the_logarithm_of_the_unit():
    group = np.arange(40) // 4
    for method, n_free in (("reml", 38), ("ml", 40)):
        plain = stats.fit_mixed_models(VALUES, MIXED, group, method=method)
        scaled = stats.fit_mixed_models(VALUES * 1e100, MIXED, group, method=method)
        expected = plain.criterion + 2 * n_free * np.log(1e100)
        np.testing.assert_allclose(scaled.criterion, expected, rtol=1e-9)
        np.testing.assert_allclose(scaled.variance_residual, plain.variance_residual * 1e200, rtol=1e-6)
