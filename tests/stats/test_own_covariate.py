from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.stats.adjustment import adjustment_table
from metastable.stats.own_covariate import held_difference, held_slope


def sinks(seed, n=60, n_features=5, effect=0.0):
    """Counts that fall with each feature's own mass on a sink, which differs between the conditions."""
    rng = np.random.default_rng(seed)
    condition = rng.permutation(np.arange(n) < n // 3)
    mass = rng.uniform(size=(n, n_features)) + 0.4 * condition[:, None]
    error = rng.normal(size=(n, n_features)) * (0.3 + mass)
    return 8 - 4 * mass + effect * condition[:, None] + error, condition, mass


def test_each_feature_matches_statsmodels_hc3_beside_its_own_covariate():
    values, condition, mass = sinks(1)
    held = held_difference(values, condition, mass, confidence=0.9)
    for j in range(values.shape[1]):
        fit = sm.OLS(values[:, j], sm.add_constant(np.column_stack([condition, mass[:, j]]))).fit(
            cov_type="HC3", use_t=True
        )
        assert held.estimate[j] == pytest.approx(fit.params[1], rel=1e-9)
        assert held.se[j] == pytest.approx(fit.bse[1], rel=1e-9)
        assert held.p[j] == pytest.approx(fit.pvalues[1], rel=1e-7)
        np.testing.assert_allclose((held.low[j], held.high[j]), fit.conf_int(0.1)[1], rtol=1e-7)


def test_pairs_match_the_adjustment_table_feature_by_feature():
    rng = np.random.default_rng(2)
    n = 30
    condition, pair = np.arange(2 * n) < n, np.tile(np.arange(n), 2)
    mass = rng.uniform(size=(2 * n, 3))
    mass[n : n + 6] = mass[:6]  # partners may be alike in it
    values = 5 - 3 * mass + rng.normal(size=(2 * n, 3))
    held = held_difference(values, condition, mass, pair=pair)
    for j in range(3):
        row = adjustment_table(values[:, [j]], condition, pd.DataFrame({"mass": mass[:, j]}), pair=pair).iloc[0]
        assert held.estimate[j] == pytest.approx(row["difference_adjusted"], rel=1e-9)
        assert held.se[j] == pytest.approx(row["se_adjusted"], rel=1e-9)
        assert held.p[j] == pytest.approx(row["p_adjusted"], rel=1e-7)
        assert held.standardized[j] == pytest.approx(row["g_adjusted"], rel=1e-9)


def test_slopes_match_statsmodels_hc3():
    rng = np.random.default_rng(3)
    x, mass = rng.uniform(size=80), rng.uniform(size=(80, 4))
    values = 2 * x[:, None] - 3 * mass + rng.normal(size=(80, 4)) * (0.2 + mass)
    held = held_slope(values, x, mass)
    for j in range(4):
        fit = sm.OLS(values[:, j], sm.add_constant(np.column_stack([x, mass[:, j]]))).fit(cov_type="HC3", use_t=True)
        assert held.estimate[j] == pytest.approx(fit.params[1], rel=1e-9)
        assert held.se[j] == pytest.approx(fit.bse[1], rel=1e-9)


def test_a_difference_that_the_sink_carries_is_gone_when_it_is_held():
    values, condition, mass = sinks(4, n=600)
    raw = values[condition].mean(axis=0) - values[~condition].mean(axis=0)
    held = held_difference(values, condition, mass)
    assert (raw < -1).all()
    assert ((held.low < 0) & (held.high > 0)).all()


def test_null_is_rejected_at_alpha_with_unequal_groups_and_variances():
    rejected = np.mean([(held_difference(*sinks(seed, n_features=20)).p < 0.05).mean() for seed in range(150)])
    assert 0.035 < rejected < 0.065


def test_a_covariate_that_does_not_vary_changes_nothing():
    values, condition, mass = sinks(5)
    held = held_difference(values, condition, np.ones_like(mass))
    table = adjustment_table(values, condition, pd.DataFrame({"none": np.ones(len(values))}))
    np.testing.assert_allclose(held.estimate, table["difference"])
    np.testing.assert_allclose(held.p, table["p"])


def test_a_covariate_that_tells_the_conditions_apart_leaves_nothing_to_test():
    values, condition, mass = sinks(6)
    mass[:, 0] = condition
    held = held_difference(values, condition, mass)
    assert np.isnan([held.estimate[0], held.se[0], held.p[0], held.low[0]]).all()
    assert np.isfinite(held.p[1:]).all()


def test_flat_features_have_no_effect():
    values, condition, mass = sinks(7)
    values[:, 0] = 3.0
    held = held_difference(values, condition, mass)
    assert (held.estimate[0], held.p[0], held.standardized[0]) == (0.0, 1.0, 0.0)


@given(st.integers(0, 2**16), st.floats(0.1, 50), st.floats(-20, 20))
def test_scaling_and_shifting_the_covariate_changes_nothing(seed, scale, shift):
    values, condition, mass = sinks(seed, n=24, n_features=2)
    held, moved = (held_difference(values, condition, x) for x in (mass, scale * mass + shift))
    np.testing.assert_allclose(held.estimate, moved.estimate, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(held.se, moved.se, rtol=1e-6)


def test_shapes_that_do_not_agree_are_refused():
    values, condition, mass = sinks(8)
    with pytest.raises(InputError, match="give each value a covariate of its own"):
        held_difference(values, condition, mass[:, :2])
    with pytest.raises(InputError, match="not all equal"):
        held_slope(values, np.ones(len(values)), mass)
    with pytest.raises(InputError, match="cannot carry a covariate"):
        held_difference(values[:4], np.array([True, True, False, False]), mass[:4], pair=[0, 1, 0, 1])


def test_nuisance_covariates_are_held_as_statsmodels_holds_them():
    values, condition, mass = sinks(9)
    length = np.random.default_rng(10).normal(size=(len(values), 2)) + condition[:, None]
    held = held_difference(values, condition, mass, nuisance=length)
    slope = held_slope(values, length[:, 0], mass, nuisance=length[:, 1:])
    for j in range(values.shape[1]):
        fit = sm.OLS(values[:, j], sm.add_constant(np.column_stack([condition, mass[:, j], length]))).fit(
            cov_type="HC3", use_t=True
        )
        assert held.estimate[j] == pytest.approx(fit.params[1], rel=1e-8)
        assert held.se[j] == pytest.approx(fit.bse[1], rel=1e-8)
        assert held.p[j] == pytest.approx(fit.pvalues[1], rel=1e-6)
        other = sm.OLS(values[:, j], sm.add_constant(np.column_stack([length, mass[:, j]]))).fit()
        r = other.tvalues[1] / np.sqrt(other.tvalues[1] ** 2 + other.df_resid)
        assert slope.standardized[j] == pytest.approx(2 * r / np.sqrt(1 - r**2), rel=1e-8)


def test_pairs_hold_the_differences_of_nuisance_covariates():
    rng = np.random.default_rng(11)
    n = 40
    condition, pair = np.arange(2 * n) < n, np.tile(np.arange(n), 2)
    mass, length = rng.uniform(size=(2 * n, 2)), rng.normal(size=(2 * n, 1))
    values = 5 - 3 * mass + length + rng.normal(size=(2 * n, 2))
    held = held_difference(values, condition, mass, pair=pair, nuisance=length)
    for j in range(2):
        table = pd.DataFrame({"mass": mass[:, j], "length": length[:, 0]})
        row = adjustment_table(values[:, [j]], condition, table, pair=pair).iloc[0]
        assert held.estimate[j] == pytest.approx(row["difference_adjusted"], rel=1e-8)
        assert held.se[j] == pytest.approx(row["se_adjusted"], rel=1e-8)


def test_a_nuisance_covariate_that_others_determine_changes_nothing():
    values, condition, mass = sinks(12)
    length = np.random.default_rng(13).normal(size=(len(values), 1))
    once, twice = (
        held_difference(values, condition, mass, nuisance=x) for x in (length, np.hstack([length, 2 * length]))
    )
    np.testing.assert_allclose(once.p, twice.p, rtol=1e-6)
