"""The test over items and contexts against lme4, lmerTest and scipy, in simulations, and at its limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from metastable.errors import InputError
from metastable.stats import crossed_equivalence, crossed_test, fit_mixed_models
from metastable.stats.contexts import crossed_input
from metastable.stats.contexts.crossed_test import crossed_parts, from_parts

LME4 = Path(__file__).parent / "lme4"
FITS = json.loads((LME4 / "fits.json").read_text())
HEADS = ["y1", "y2", "y3"]
FULL = "value ~ condition + (1 + condition | item) + (1 + condition | context)"
DIFFERENCES = "difference ~ 1 + (1 | item) + (1 | context)"
FORMULAS = {
    "pairs": DIFFERENCES,
    "pairs_observations": FULL,
    "pairs_cells": DIFFERENCES,
    "missing_cells": DIFFERENCES,
    "latin": FULL,
    "missing_rows": FULL,
    "items_nested": "value ~ condition + (1 | item) + (1 + condition | context)",
    "items_nested_missing": "value ~ condition + (1 | item) + (1 + condition | context)",
    "both_nested": "value ~ condition + (1 | item) + (1 | context)",
    "single": "value ~ condition + (1 + condition | context)",
    "boundary": DIFFERENCES,
}


def fixture(name):
    data = pd.read_csv(LME4 / f"{name}.csv")
    return data[HEADS].to_numpy(), data["condition"] == 1, data["item"], data["context"]


def oracle(name, field):
    return np.array([FITS[name][head][field] for head in HEADS])


@pytest.mark.parametrize("name", FORMULAS)
def test_estimates_and_tests_are_those_of_lme4_and_lmertest(name):
    outcome = "observations" if name == "pairs_observations" else "auto"
    found = crossed_test(*fixture(name), outcome=outcome)
    assert found.formula == FORMULAS[name]
    assert found.converged.all()
    for field in ("estimate", "se", "p"):
        np.testing.assert_allclose(getattr(found, field), oracle(name, field), rtol=1e-4, atol=1e-9, err_msg=field)
    # lmerTest differentiates by finite differences
    np.testing.assert_allclose(found.dof, oracle(name, "dof"), rtol=5e-4)
    np.testing.assert_array_equal(found.singular, oracle(name, "singular"))
    if name != "pairs_cells":  # whose likelihood is of the observations
        np.testing.assert_allclose(found.criterion, oracle(name, "criterion"), rtol=1e-8)


def test_fixtures_hold_variances_at_their_bounds_and_inside():
    singular = np.concatenate([oracle(name, "singular") for name in FORMULAS])
    assert 8 <= singular.sum() <= len(singular) - 8


@pytest.mark.parametrize("name", FORMULAS)
def test_variances_are_those_of_lme4(name):
    outcome = "observations" if name == "pairs_observations" else "auto"
    found = crossed_test(*fixture(name), outcome=outcome)
    variances = oracle(name, "variances")
    of_differences = found.formula == DIFFERENCES and name != "pairs_cells"
    for factor in ("item", "context"):
        intercept = np.array([v.get(f"{factor}.(Intercept)", np.nan) for v in variances])
        slope = intercept if of_differences else np.array([v.get(f"{factor}.condition", np.nan) for v in variances])
        np.testing.assert_allclose(getattr(found, f"variance_{factor}_slope"), slope, rtol=2e-3, atol=1e-6)
        if found.formula != DIFFERENCES:
            np.testing.assert_allclose(getattr(found, f"variance_{factor}"), intercept, rtol=2e-3, atol=1e-6)
    residual = np.array([v["Residual"] for v in variances]) * (2 if name == "pairs_cells" else 1)
    np.testing.assert_allclose(found.variance_residual, residual, rtol=1e-3)


def test_f1_and_f2_are_t_tests_of_means_and_min_f_is_clarks():
    values, condition, item, context = fixture("pairs")
    found = crossed_test(values, condition, item, context)
    table = pd.DataFrame(values).assign(condition=condition, item=item, context=context)
    f = {}
    for name in ("item", "context"):
        means = table.groupby([name, "condition"])[[0, 1, 2]].mean()
        test = stats.ttest_rel(means.xs(True, level=1), means.xs(False, level=1))
        f[name] = test.statistic**2
        np.testing.assert_allclose(getattr(found, f"f_{name}s"), f[name])
        np.testing.assert_allclose(getattr(found, f"p_{name}s"), test.pvalue)
    first, second = f["item"], f["context"]
    dof = (first + second) ** 2 / (first**2 / 7 + second**2 / 23)
    np.testing.assert_allclose(found.min_f, first * second / (first + second))
    np.testing.assert_allclose(found.dof_min_f, dof)
    np.testing.assert_allclose(found.p_min_f, stats.f.sf(found.min_f, 1, dof))


def test_levels_of_one_condition_each_are_compared_by_welch():
    values, condition, item, context = fixture("both_nested")
    found = crossed_test(values, condition, item, context)
    for name, codes in (("items", item), ("contexts", context)):
        means = pd.DataFrame(values).groupby([condition, codes]).mean()
        test = stats.ttest_ind(means.loc[True], means.loc[False], equal_var=False)
        np.testing.assert_allclose(getattr(found, f"p_{name}"), test.pvalue)
    assert np.isnan(found.p_interaction).all()


def least_squares_f(y, small, large):
    left = [y - x @ np.linalg.lstsq(x, y, rcond=None)[0] for x in (small, large)]
    ranks = [np.linalg.matrix_rank(x) for x in (small, large)]
    rss = [(r**2).sum(axis=0) for r in left]
    f = (rss[0] - rss[1]) / (ranks[1] - ranks[0]) / (rss[1] / (len(y) - ranks[1]))
    return f, stats.f.sf(f, ranks[1] - ranks[0], len(y) - ranks[1])


@pytest.mark.parametrize("name", ["pairs", "missing_cells", "latin", "missing_rows", "items_nested", "single"])
def test_the_interaction_is_the_f_of_condition_by_context_with_items_fixed(name):
    values, condition, item, context = fixture(name)
    found = crossed_test(values, condition, item, context)
    c = condition.to_numpy(float)[:, None]
    contexts, items = (pd.get_dummies(code).to_numpy(float) for code in (context, item))
    if name in ("pairs", "missing_cells"):
        order = np.lexsort([c[:, 0], context, item])
        values, items, contexts = values[order], items[order][::2], contexts[order][::2]
        y = values[1::2] - values[::2]
        small, large = items, np.column_stack([items, contexts])
    else:
        y = values
        nested = np.column_stack([items, items * c]) if name != "single" else c
        small = np.column_stack([nested, contexts])
        large = np.column_stack([small, contexts * c])
    f, p = least_squares_f(y, small, large)
    np.testing.assert_allclose(found.f_interaction, f, rtol=1e-6)
    np.testing.assert_allclose(found.p_interaction, p, rtol=1e-5, atol=1e-12)


def test_items_of_one_context_each_are_what_the_interaction_varies_against():
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(48), 3)
    context, condition = item % 6, (item // 6) % 2 == 0
    values = rng.normal(size=(144, 2)) + rng.normal(size=(48, 2))[item]
    found = crossed_test(values, condition, item, context)
    means = values.reshape(48, 3, 2).mean(axis=1)
    side, where = condition[::3].astype(float)[:, None], pd.get_dummies(context[::3]).to_numpy(float)
    f, _ = least_squares_f(means, np.column_stack([side, where]), np.column_stack([where, where * side]))
    np.testing.assert_allclose(found.f_interaction, f)


def simulate(rng, n_items, n_contexts, n, slope, *, items_slope=0.0, nested=False):
    """Differences of pairs by sentences, or items and clips of one condition each; the effect is zero."""
    item, context = (axis.ravel() for axis in np.indices((n_items, n_contexts)))
    if nested:
        condition = item % 2 == 0
        keep = condition == (context % 2 == 0)
        item, context, condition = item[keep], context[keep], condition[keep]
        values = rng.normal(size=(len(item), n)) + slope * rng.normal(size=(n_contexts, n))[context]
        return values + items_slope * rng.normal(size=(n_items, n))[item], condition, item, context
    difference = rng.normal(size=(len(item), n)) + slope * rng.normal(size=(n_contexts, n))[context]
    difference += items_slope * rng.normal(size=(n_items, n))[item]
    values = np.concatenate([difference, np.zeros_like(difference)])
    return values, np.repeat([True, False], len(item)), np.tile(item, 2), np.tile(context, 2)


@pytest.mark.parametrize("slope", [0.05, 0.1, 0.2])
def test_the_level_holds_over_six_contexts_where_averaging_them_away_does_not(slope):
    found = crossed_test(*simulate(np.random.default_rng(5), 600, 6, 2000, slope))
    error = 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert abs((found.p < 0.05).mean() - 0.05) < error
    assert (found.p_items < 0.05).mean() > {0.05: 0.18, 0.1: 0.42, 0.2: 0.66}[slope]
    covered = (found.low <= 0) & (found.high >= 0)
    assert abs(covered.mean() - 0.95) < error


@pytest.mark.parametrize("n_contexts", [6, 16])
def test_the_level_holds_with_clips_of_one_condition_each(n_contexts):
    data = simulate(np.random.default_rng(6), 60, n_contexts, 300, 0.5, items_slope=0.3, nested=True)
    found = crossed_test(*data)
    assert (found.p < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert (found.p_items < 0.05).mean() > 0.15


def test_the_interaction_keeps_its_level_and_finds_slopes():
    level = crossed_test(*simulate(np.random.default_rng(7), 60, 8, 2000, 0.0, items_slope=0.5)).p_interaction
    assert abs((level < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 2000)
    power = crossed_test(*simulate(np.random.default_rng(7), 60, 8, 500, 0.5)).p_interaction
    assert (power < 0.05).mean() > 0.95


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), latin=st.booleans())
@example(seed=314, scale=1.0, shift=0.0, latin=True)
def test_order_units_and_side_change_nothing_else(seed, scale, shift, latin):
    rng = np.random.default_rng(seed)
    item, context, side = (axis.ravel() for axis in np.indices((9, 6, 2)))
    keep = ((item + context) % 2 == side) | (not latin)
    item, context, side = item[keep], context[keep], side[keep] == 1
    values = rng.normal(size=(len(item), 3)) + rng.normal(size=(6, 3))[context] * side[:, None]
    found = crossed_test(values, side, item, context)
    order = rng.permutation(len(item))
    names = np.array([f"c{code}" for code in context])
    other = crossed_test(scale * (values + shift)[order], ~side[order], item[order] * 7, names[order])
    np.testing.assert_allclose(other.estimate, -scale * found.estimate, rtol=1e-5, atol=1e-7 * scale)
    np.testing.assert_allclose(other.se, scale * found.se, rtol=1e-4)
    np.testing.assert_allclose(other.p, found.p, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(other.g, -found.g, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(other.p_interaction, found.p_interaction, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_lowest_of_several_minima_is_found(swapped):
    # lme4 ends at 145.3656, 145.3332 or 145.3079 as condition is coded and by its optimizer (nloptwrap, Nelder_Mead)
    rng = np.random.default_rng(314)
    item, context, side = (axis.ravel() for axis in np.indices((9, 6, 2)))
    keep = (item + context) % 2 == side
    item, context, side = item[keep], context[keep], side[keep] == 1
    values = rng.normal(size=(len(item), 3)) + rng.normal(size=(6, 3))[context] * side[:, None]
    found = crossed_test(values[:, 0], side ^ swapped, item, context)
    assert found.criterion[0] == pytest.approx(145.307939, abs=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
def test_pairs_that_lie_in_one_context_each_leave_the_contexts_random_alone(swapped):
    rng = np.random.default_rng(3)
    pair = np.repeat(np.arange(60), 2)
    context, condition = pair % 8, np.arange(120) % 2 == 0
    values = rng.normal(size=(120, 3)) + 0.7 * rng.normal(size=(8, 3))[context] * condition[:, None]
    labels = (context, pair) if swapped else (pair, context)
    found = crossed_test(values, condition, *labels)
    differences = values[::2] - values[1::2]
    alone = fit_mixed_models(differences, np.ones((60, 1)), pair[::2] % 8, column=0)
    assert found.formula == f"difference ~ 1 + (1 | {'item' if swapped else 'context'})"
    np.testing.assert_allclose(found.se, alone.se, rtol=1e-6)
    np.testing.assert_allclose(found.dof, alone.dof, rtol=1e-4)
    if not swapped:
        test = stats.f_oneway(*(differences[context[::2] == code] for code in range(8)))
        np.testing.assert_allclose(found.p_interaction, test.pvalue)


def test_one_feature_may_be_a_vector_and_the_table_has_a_row_for_each():
    values, condition, item, context = fixture("pairs")
    one, all_ = (crossed_test(v, condition, item, context) for v in (values[:, 1], values))
    assert one.p.shape == (1,)
    np.testing.assert_allclose(one.p[0], all_.p[1], rtol=1e-12)
    table = all_.table()
    assert len(table) == 3
    assert {"estimate", "se", "dof", "p", "p_items", "p_contexts", "p_interaction", "min_f"} <= set(table.columns)


def test_g_is_in_standard_deviations_of_the_items_and_its_interval_excludes_zero_with_p():
    values, condition, item, context = fixture("pairs_cells")
    found = crossed_test(values, condition, item, context)
    table = pd.DataFrame(values).assign(side=condition, item=item)
    variance = table.groupby(["side", "item"]).mean().groupby("side").var(ddof=1).mean().to_numpy()
    np.testing.assert_allclose(found.g, found.estimate / np.sqrt(variance) * (1 - 3 / (4 * 38 - 1)))
    assert ((found.low > 0) | (found.high < 0)).tolist() == (found.p < 0.05).tolist()
    assert (found.g_low < found.g).all()
    assert (found.g < found.g_high).all()


def test_equivalence_is_two_one_sided_tests_of_the_same_t():
    found = crossed_test(*fixture("pairs"))
    upper = stats.t.cdf((found.estimate - 0.8 * found.standardizer) / found.se, found.dof)
    lower = stats.t.sf((found.estimate + 0.8 * found.standardizer) / found.se, found.dof)
    np.testing.assert_allclose(crossed_equivalence(found, margin=0.8), np.maximum(upper, lower))
    for margin in (0.0, -0.2, np.inf, np.nan):
        with pytest.raises(InputError, match=f"margin is {margin}; give a positive effect"):
            crossed_equivalence(found, margin=margin)


@pytest.mark.parametrize(("n_items", "n_contexts"), [(4, 9), (6, 3)])
def test_without_any_variance_of_items_and_contexts_all_differences_are_independent(n_items, n_contexts):
    """Both variances are at zero, and the test is the one-sample t of all differences."""
    rng = np.random.default_rng(5)
    table = rng.normal(size=(n_items, n_contexts, 3))
    table -= table.mean(axis=0) + (table - table.mean(axis=0)).mean(axis=1, keepdims=True)
    differences = table.reshape(-1, 3) + np.array([0.0, 0.2, -0.5])
    item, context = np.divmod(np.arange(n_items * n_contexts), n_contexts)
    level = rng.normal(size=differences.shape)
    found = crossed_test(
        np.concatenate([differences + level, level]), np.arange(2 * len(item)) < len(item), np.tile(item, 2),
        np.tile(context, 2),
    )  # fmt: skip
    expected = stats.ttest_1samp(differences, 0)
    np.testing.assert_allclose(found.p, expected.pvalue)
    np.testing.assert_allclose(found.dof, len(item) - 1)
    np.testing.assert_allclose(found.se, stats.sem(differences))


def test_what_does_not_vary_is_no_finding_and_what_differs_without_error_is():
    item, context, side = (axis.ravel() for axis in np.indices((8, 6, 2)))
    for keep in (np.ones(len(item), dtype=bool), (item + context) % 2 == side, item % 2 == side):
        rng = np.random.default_rng(1)
        values = np.column_stack([np.full(len(item), 0.1), side * 1.0, rng.normal(size=len(item))])
        found = crossed_test(values[keep], side[keep] == 1, item[keep], context[keep])
        assert found.flat.tolist() == [True, True, False]
        assert found.p[0] == 1
        assert found.p[1] == 0
        assert 0 < found.p[2] < 1


def test_a_feature_that_items_and_contexts_explain_entirely_has_a_p():
    item, context, side = (axis.ravel() for axis in np.indices((8, 6, 2)))
    rng = np.random.default_rng(2)
    values = (rng.normal(size=8)[item] + rng.normal(size=6)[context]) * side
    found = crossed_test(values, side == 1, item, context)
    assert 0 < found.p[0] < 1
    assert found.p_interaction[0] == 0


GOOD = (np.arange(48.0), np.arange(48) % 2 == 0, np.arange(48) // 12, np.arange(48) // 2 % 6)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.where(np.arange(48) == 7, np.nan, 1.0), "values row 7, feature 0 is nan"),
        (0, np.zeros((2, 3, 4)), "shape"),
        (1, np.array(["a", "b"] * 24), "True for condition a"),
        (1, np.full(48, 2), "True for condition a"),
        (1, np.ones(48, dtype=bool), "throughout"),
        (1, np.ones(5, dtype=bool), "shape"),
        (2, np.zeros(48), "item has 1 level"),
        (3, np.zeros(48), "context has 1 level"),
        (3, np.arange(48) % 2, "context has 2 levels"),
        (3, np.arange(48) // 12, "same levels as item"),
        (2, np.where(np.arange(48) == 5, None, "x"), "item row 5 has no label"),
        (3, np.where(np.arange(48) == 9, np.nan, 1.0), "context row 9 has no label"),
        (3, np.where(np.arange(48) == 9, np.nan, 1.0).astype(object), "context row 9 has no label"),
    ],
)
def test_bad_input_is_refused_with_the_reason(place, value, message):
    arguments = list(GOOD)
    arguments[place] = value
    with pytest.raises(InputError, match=message):
        crossed_test(*arguments)


def test_differences_without_partners_are_refused():
    values, condition, item, context = GOOD
    with pytest.raises(InputError, match=r"item 3 meets context 5 in one condition only \(row 46; 1 such cells\)"):
        crossed_test(values[:-1], condition[:-1], item[:-1], context[:-1], outcome="differences")
    with pytest.raises(InputError, match="choose 'auto'"):
        crossed_test(*GOOD, outcome="means")
    with pytest.raises(InputError, match="no differences"):
        crossed_test(values, condition, item * 2 + condition, context, outcome="differences")


def test_a_fit_gives_the_interval_of_95_percent_unless_told():
    rng = np.random.default_rng(5)
    item, context, side = (axis.ravel() for axis in np.indices((12, 5, 2)))
    data = (rng.normal(size=(120, 2)), side == 1, item, context)
    parts = crossed_parts(*data)
    found = from_parts(parts)
    reach = stats.t.ppf(0.975, found.dof) * found.se
    np.testing.assert_allclose(found.high - found.estimate, reach, rtol=1e-9)
    np.testing.assert_allclose(found.low, crossed_test(*data).low, rtol=1e-12)
    assert (from_parts(parts, confidence=0.99).low < found.low).all()


def test_items_that_do_not_vary_have_an_effect_of_zero_or_an_infinite_one():
    item, context, side = (axis.ravel() for axis in np.indices((6, 4, 2)))
    rest = np.random.default_rng(6).normal(size=4)[context]
    values = np.column_stack([rest, rest + side, rest - side])
    found = crossed_test(values, side == 1, item, context)
    assert found.g.tolist() == [0, np.inf, -np.inf]


def test_items_of_which_some_are_in_both_conditions_have_an_f_of_the_difference():
    rng = np.random.default_rng(7)
    rows = [(i, k, s) for i in range(24) for k in range(4) for s in (0, 1) if i < 8 or (i < 16) == bool(s)]
    item, context, side = np.array(rows).T
    level = 0.7 * rng.normal(size=(24, 3))[item] + rng.normal(size=(len(rows), 3)) + side[:, None] * [0, 0.8, 2.0]
    found, shifted = (crossed_test(values, side == 1, item, context) for values in (level, level + 50))
    np.testing.assert_allclose(shifted.f_items, found.f_items, rtol=1e-6, atol=1e-9)
    # a model of the means of items in each condition, with an intercept of each item
    means = pd.DataFrame(level).assign(item=item, side=side).groupby(["item", "side"]).mean().reset_index()
    for feature in range(3):
        data = means.rename(columns={feature: "value"})[["item", "side", "value"]]
        fit = smf.mixedlm("value ~ side", data, groups="item").fit(reml=True, method="powell")
        design = np.column_stack([np.ones(len(data)), data["side"]])
        alike = np.equal.outer(data["item"].to_numpy(), data["item"].to_numpy())
        covariance = fit.scale * np.eye(len(data)) + float(fit.cov_re.iloc[0, 0]) * alike
        error = np.linalg.inv(design.T @ np.linalg.solve(covariance, design))[1, 1]
        assert found.f_items[feature] == pytest.approx(fit.params["side"] ** 2 / error, rel=1e-3)


def test_items_that_are_the_cells_of_context_and_condition_have_no_effects_beside_the_contexts_slopes():
    context, side = np.repeat(np.arange(5), 6), np.tile(np.arange(6) < 3, 5)
    own = np.zeros(10, dtype=bool), np.ones(5, dtype=bool)
    assert crossed_input._widths(side, context * 2 + side, context, own) == (0, 2)
    assert crossed_input._widths(side, context, context * 2 + side, own[::-1]) == (2, 0)
    # two items in each cell are more than that
    two = (context * 2 + side) * 2 + np.arange(30) % 2
    assert crossed_input._widths(side, two, context, (np.zeros(20, dtype=bool), own[1])) == (1, 2)
