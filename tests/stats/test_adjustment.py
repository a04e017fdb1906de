from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.stats.adjustment import adjusted_difference, adjustment_table, robust_regression


def confounded(seed, n=80, n_features=4):
    """Covariates differ between conditions and drive the values, with errors that grow with them."""
    rng = np.random.default_rng(seed)
    condition = rng.permutation(np.arange(n) < n // 3)
    covariates = pd.DataFrame(
        {"pieces": rng.poisson(2, n) + condition * 1.0, "zipf": rng.normal(3, 1, n) - 0.5 * condition}
    )
    error = rng.normal(size=(n, n_features)) * (0.3 + covariates[["pieces"]].to_numpy())
    values = covariates.to_numpy() @ rng.normal(size=(2, n_features)) + error + 5
    return values, condition, covariates


def test_before_and_after_match_statsmodels_hc3():
    values, condition, covariates = confounded(1)
    table = adjustment_table(values, condition, covariates, confidence=0.9)
    for suffix, design in (
        ("", condition[:, None].astype(float)),
        ("_adjusted", np.column_stack([condition, covariates])),
    ):
        for j, outcome in enumerate(values.T):
            fit = sm.OLS(outcome, sm.add_constant(design)).fit(cov_type="HC3", use_t=True)
            row = table.iloc[j]
            low, high = fit.conf_int(0.1)[1]
            assert row[f"difference{suffix}"] == pytest.approx(fit.params[1], rel=1e-9)
            assert row[f"se{suffix}"] == pytest.approx(fit.bse[1], rel=1e-9)
            assert row[f"p{suffix}"] == pytest.approx(fit.pvalues[1], rel=1e-7)
            assert row[f"ci_low{suffix}"] == pytest.approx(low, rel=1e-7)
            assert row[f"ci_high{suffix}"] == pytest.approx(high, rel=1e-7)


def test_pairs_regress_differences_on_differences():
    rng = np.random.default_rng(2)
    n = 40
    a, b = pd.DataFrame({"x": rng.normal(size=n)}), pd.DataFrame({"x": rng.normal(0.5, 1, n)})
    y_b = rng.normal(size=(n, 2))
    y_a = y_b + 1 + 2 * (a - b).to_numpy() + 0.5 * rng.normal(size=(n, 2))
    order = rng.permutation(2 * n)
    table = adjustment_table(
        np.concatenate([y_a, y_b])[order],
        (np.arange(2 * n) < n)[order],
        pd.concat([a, b], ignore_index=True).iloc[order],
        pair=np.tile(np.arange(n), 2)[order],
    )
    for j in range(2):
        design = sm.add_constant((a - b).to_numpy())
        fit = sm.OLS(y_a[:, j] - y_b[:, j], design).fit(cov_type="HC3", use_t=True)
        assert table["difference"].iloc[j] == pytest.approx((y_a - y_b)[:, j].mean())
        assert table["difference_adjusted"].iloc[j] == pytest.approx(fit.params[0])
        assert table["se_adjusted"].iloc[j] == pytest.approx(fit.bse[0])
        assert table["p_adjusted"].iloc[j] == pytest.approx(fit.pvalues[0], rel=1e-7)


def test_cluster_errors_are_the_jackknife_over_clusters():
    rng = np.random.default_rng(3)
    cluster = rng.integers(0, 9, 60)
    design = np.column_stack([np.ones(60), cluster < 4, rng.normal(size=60)])
    values = rng.normal(size=(60, 3)) + rng.normal(size=(9, 3))[cluster]
    fit = robust_regression(values, design, cluster=cluster)
    moved = [
        np.linalg.lstsq(design[cluster != g], values[cluster != g], rcond=None)[0] - fit.coefficients for g in range(9)
    ]
    np.testing.assert_allclose(fit.se, np.sqrt((np.array(moved) ** 2).sum(axis=0)), rtol=1e-9)
    assert fit.dof == 6


def test_clusters_of_one_unit_are_units():
    values, condition, covariates = confounded(4)
    one = adjustment_table(values, condition, covariates)
    same = adjustment_table(values, condition, covariates, cluster=np.arange(80)[::-1])
    pd.testing.assert_frame_equal(one, same)


def test_a_difference_that_is_the_covariates_goes_away():
    rng = np.random.default_rng(5)
    n, n_features = 300, 2000
    condition = np.arange(n) < 150
    pieces = rng.normal(size=n) + condition
    values = 0.6 * pieces[:, None] + rng.normal(size=(n, n_features))
    table = adjustment_table(values, condition, pd.DataFrame({"pieces": pieces}))
    assert (table["p"] < 0.05).mean() > 0.95
    assert (table["p_adjusted"] < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert table["change"].mean() == pytest.approx(-0.6 * (pieces[:150].mean() - pieces[150:].mean()), rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_shares_add_up_and_units_do_not_matter(seed, scale, shift):
    values, condition, covariates = confounded(seed, n=30)
    table = adjustment_table(values, condition, covariates)
    np.testing.assert_allclose(table["change_pieces"] + table["change_zipf"], table["change"], rtol=1e-6, atol=1e-9)
    moved = adjustment_table(values, condition, covariates * scale + shift)
    np.testing.assert_allclose(moved["difference_adjusted"], table["difference_adjusted"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(moved["change_zipf"], table["change_zipf"], rtol=1e-5, atol=1e-7)
    swapped = adjustment_table(values, ~condition, covariates[["zipf", "pieces"]])
    np.testing.assert_allclose(swapped["change_zipf"], -table["change_zipf"], rtol=1e-6, atol=1e-9)


def test_what_does_not_vary_is_left_alone():
    values, condition, covariates = confounded(6)
    values[:, 1] = 0.1
    table = adjustment_table(values, condition, covariates.assign(same=0.3))
    assert (table["change_same"] == 0).all()
    pd.testing.assert_series_equal(table["se_adjusted"], adjustment_table(values, condition, covariates)["se_adjusted"])
    flat = table.iloc[1]
    assert flat[["p", "p_adjusted"]].tolist() == [1, 1]
    assert flat.drop(["p", "p_adjusted"]).eq(0).all()
    assert table.notna().all(axis=None)


def test_a_covariate_that_others_determine_is_left_out_and_named():
    # Issue 12, case 15: every word is one piece, so that a sequence has two tokens more than words.
    rng = np.random.default_rng(11)
    condition = np.arange(40) < 20
    words = rng.integers(5, 15, size=40) + 2 * condition
    zipf = rng.normal(size=40)
    values = rng.normal(size=(40, 3)) + words[:, None]
    table = pd.DataFrame({"tokens": words + 2, "words": words, "pieces": 1, "zipf": zipf})
    found = adjustment_table(values, condition, table)
    assert found.attrs["determined"] == ["words"]
    without = adjustment_table(values, condition, table[["tokens", "zipf"]])
    np.testing.assert_allclose(found["difference_adjusted"], without["difference_adjusted"], rtol=1e-12)
    np.testing.assert_allclose(found["se_adjusted"], without["se_adjusted"], rtol=1e-12)
    np.testing.assert_array_equal(found["change_words"], 0.0)
    pair = np.tile(np.arange(20), 2)
    assert adjustment_table(values, condition, table, pair=pair).attrs["determined"] == ["words"]
    mixed = table.assign(sum=2 * table["words"] - zipf)
    assert adjustment_table(values, condition, mixed).attrs["determined"] == ["words", "sum"]


def test_matched_covariate_of_pairs_changes_nothing():
    rng = np.random.default_rng(7)
    values, matched = rng.normal(size=(20, 2)), np.tile(rng.normal(size=10), 2)
    table = adjustment_table(
        values, np.arange(20) < 10, pd.DataFrame({"matched": matched}), pair=np.tile(np.arange(10), 2)
    )
    np.testing.assert_array_equal(table["difference"], table["difference_adjusted"])
    np.testing.assert_array_equal(table["change_matched"], [0, 0])


@pytest.mark.parametrize(
    ("covariates", "options", "message"),
    [
        (pd.DataFrame({"x": range(6), "y": [i - 3 * (i < 3) for i in range(6)]}), {}, "'y' is explained"),
        (pd.DataFrame({"side": [1, 1, 1, 0, 0, 0]}), {}, "'side' is explained by the condition"),
        (pd.DataFrame({"x": [0, 0, 1.0, 0, 0, 0]}), {}, "unit 2 alone determines"),
        (pd.DataFrame({"x": [0, 0, 1.0]}), {}, "3 rows for 6 units"),
        (pd.DataFrame({"x": [0, np.nan, 1.0, 0, 0, 0]}), {}, "'x' has no finite value in row 1"),
        (pd.DataFrame({"x": range(6)}), {"cluster": [0, 0, 1, 1, 2, 2]}, "3 clusters cannot carry"),
        (pd.DataFrame({"x": range(6)}), {"cluster": [0, 0, 1]}, "cluster has shape"),
        (
            pd.DataFrame({"x": range(6)}),
            {"pair": [0, 1, 2, 0, 1, 2], "cluster": [0, 1, 2, 1, 2, 0]},
            "partners in two clusters",
        ),
    ],
)
def test_bad_input_is_told(covariates, options, message):
    values = np.random.default_rng(8).normal(size=(6, 2))
    with pytest.raises(InputError, match=message):
        adjustment_table(values, np.arange(6) < 3, covariates, **options)


@pytest.mark.parametrize("paired", [False, True])
def test_the_influence_of_a_unit_is_what_the_difference_loses_without_it(paired):
    values, condition, covariates = confounded(8, n=30)
    if paired:
        condition = np.arange(30) < 15
    pair = np.tile(np.arange(15), 2) if paired else None
    found = adjusted_difference(values, condition, covariates, pair=pair)
    table = covariates.to_numpy()
    if paired:
        outcome, design = values[:15] - values[15:], np.column_stack([np.ones(15), table[:15] - table[15:]])
    else:
        outcome, design = values, np.column_stack([condition, np.ones(30), table])
    for unit in range(len(outcome)):
        without = np.delete(np.arange(len(outcome)), unit)
        left = np.linalg.lstsq(design[without], outcome[without], rcond=None)[0][0]
        np.testing.assert_allclose(found.influence[unit], found.difference - left, rtol=1e-7)
    np.testing.assert_allclose((found.influence**2).sum(axis=0), found.se**2, rtol=1e-9)


def test_one_pair_in_two_clusters_is_refused():
    values, condition, covariates = confounded(8, n=30)
    condition, pair = np.arange(30) < 15, np.tile(np.arange(15), 2)
    cluster = pair // 3
    adjustment_table(values, condition, covariates, pair=pair, cluster=cluster)
    cluster = np.where(np.arange(30) == 4, 0, cluster)
    with pytest.raises(InputError, match="a pair has partners in two clusters"):
        adjustment_table(values, condition, covariates, pair=pair, cluster=cluster)
