"""The tables of tests over items and contexts: every column of the verdict is over both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats import (
    adjust_p_values,
    analyse,
    crossed_equivalence,
    crossed_family_test,
    crossed_slope_family_test,
    crossed_slope_test,
    crossed_test,
)
from metastable.stats.analysis import Settings
from metastable.stats.bayes import log_effective_bayes_factor, log_jzs_bayes_factor
from metastable.stats.contexts.generalized import Observations
from metastable.stats.effect_kinds import CONTEXT_COLUMNS, DIFFERENCE, SLOPE, head_columns
from metastable.stats.slope import analyse_slope

FEATURES = pd.DataFrame({"site": "self", "layer": [1, 1, 1, 2, 2, 2], "head": [1, 2, 3, 1, 2, 3]})
SETTINGS = Settings(n_permutations=999, margin=0.8)


def example(seed=0, effect=0.0):
    rng = np.random.default_rng(seed)
    pair, sentence, side = (axis.ravel() for axis in np.indices((80, 6, 2)))
    values = rng.normal(size=(960, 6)) + 0.5 * rng.normal(size=(6, 6))[sentence] * side[:, None]
    values[:, 5] += effect * side
    return Observations(values, side == 1, pair, sentence, names=("word_pair", "carrier"), measure="mean count")


def analysed(observations, **more):
    order = np.lexsort([~observations.condition, observations.item])
    units = vars(observations)["values"][order].reshape(160, 6, 6).mean(axis=1)
    condition = np.arange(160) % 2 == 0
    medians = np.stack([np.median(units[condition == which], axis=0) for which in (True, False)])
    return analyse(
        units,
        condition,
        FEATURES,
        threshold=0.9,
        measure="count",
        medians=medians,
        pair=np.repeat(np.arange(80), 2),
        settings=SETTINGS,
        **more,
    )


def test_the_columns_are_those_of_the_tests_over_both():
    observations = example(effect=2.0)
    arguments = (vars(observations)["values"], observations.condition, observations.item, observations.context)
    found, test = analysed(observations, contexts=observations), crossed_test(*arguments)
    heads, details = found.heads, found.details
    assert tuple(heads.columns) == (*head_columns(DIFFERENCE), *CONTEXT_COLUMNS)
    for column, expected in {
        "difference": test.estimate, "ci_low": test.low, "ci_high": test.high, "hedges_g": test.g,
        "statistic": test.statistic, "lmm_estimate": test.estimate, "lmm_se": test.se, "lmm_dof": test.dof,
        "lmm_p": test.p, "p_tost": crossed_equivalence(test, margin=0.8), "f_items": test.f_items,
        "p_items": test.p_items, "p_contexts": test.p_contexts, "min_f": test.min_f, "p_min_f": test.p_min_f,
        "p_interaction": test.p_interaction,
    }.items():  # fmt: skip
        np.testing.assert_allclose(heads[column], expected, err_msg=column)
    np.testing.assert_allclose(details["g_low"], test.g_low)
    # as many units as would give the standard error that was found
    n_effective = (test.standardizer / test.se) ** 2
    log_bf = log_effective_bayes_factor(test.statistic, n_effective, test.dof, scale=0.707)
    np.testing.assert_allclose(heads["log10_bf10"], log_bf / np.log(10), rtol=1e-6)
    assert not found.exact
    np.testing.assert_allclose(heads["p_items_fdr"], adjust_p_values(test.p_items))
    family = crossed_family_test(*arguments, n_rotations=999, rng=20)
    np.testing.assert_allclose(heads["p_perm"], family.p)
    np.testing.assert_allclose(heads["p_perm_fwer"], family.p_fwer)
    assert found.over_contexts == "difference of mean count ~ 1 + (1 | word_pair) + (1 | carrier)"
    assert heads["verdict"].tolist()[5] == "different"
    assert found.omnibus["p_max"].iloc[0] == family.p_fwer.min()


def test_verdicts_over_units_call_what_verdicts_over_both_do_not():
    called = {True: 0, False: 0}
    for seed in range(12):
        observations = example(seed)
        for both in called:
            found = analysed(observations, contexts=observations if both else None)
            called[both] += int(found.heads["verdict"].isin(["different", "negligible"]).sum())
    assert called[False] > 30
    assert called[True] <= 6


def test_without_contexts_the_columns_are_as_ever():
    found = analysed(example())
    assert tuple(found.heads.columns) == head_columns(DIFFERENCE)
    assert found.over_contexts == ""


def test_covariates_of_units_beside_contexts_are_refused():
    observations = example()
    with pytest.raises(InputError, match="give them as Observations"):
        analysed(observations, contexts=observations, covariates=np.random.default_rng(0).normal(size=(160, 1)))


def with_covariate(seed=0):
    """Words of condition a are longer by one standard deviation, and length alone moves every head."""
    observations, rng = example(seed), np.random.default_rng([seed, 1])
    length = rng.normal(size=(80, 2))[observations.item, observations.condition.astype(int)] + observations.condition
    moved = vars(observations)["values"] + 0.8 * length[:, None]
    return replace(observations, values=moved), pd.DataFrame({"length": length, "other": rng.normal(size=960)})


def test_with_covariates_every_column_is_adjusted_and_over_both_with_the_raw_ones_beside():
    observations, table = with_covariate()
    arguments = (vars(observations)["values"], observations.condition, observations.item, observations.context)
    held = table[["length"]]
    found = analysed(observations, contexts=replace(observations, covariates=held, recorded=table))
    raw, adjusted = crossed_test(*arguments), crossed_test(*arguments, covariates=held)
    heads, details = found.heads, found.details
    for column, expected in {
        "difference": adjusted.estimate, "ci_low": adjusted.low, "hedges_g": adjusted.g, "lmm_p": adjusted.p,
        "p_tost": crossed_equivalence(adjusted, margin=0.8), "p_items": adjusted.p_items, "min_f": adjusted.min_f,
        "p_interaction": adjusted.p_interaction, "statistic": adjusted.statistic,
    }.items():  # fmt: skip
        np.testing.assert_allclose(heads[column], expected, err_msg=column)
    for suffix, test in (("unadjusted", raw), ("adjusted", adjusted)):
        family = crossed_family_test(*arguments, covariates=None if test is raw else held, n_rotations=999, rng=20)
        for column, expected in {
            "difference": test.estimate, "ci_low": test.low, "ci_high": test.high, "p": test.p, "g": test.g,
            "g_low": test.g_low, "g_high": test.g_high, "p_perm": family.p,
        }.items():  # fmt: skip
            np.testing.assert_allclose(details[f"{column}_{suffix}"], expected, err_msg=column)
    np.testing.assert_allclose(heads["p_perm"], details["p_perm_adjusted"])
    differ = (heads["p_perm_fdr"] < 0.05).to_numpy()
    share = differ.sum() / len(differ)
    for column, expected in zip(("ci_low_fcr", "ci_high_fcr"), adjusted.interval(1 - 0.05 * share), strict=True):
        np.testing.assert_allclose(details[column], np.where(differ, expected, np.nan))
    np.testing.assert_allclose(adjusted.interval(0.95), (adjusted.low, adjusted.high))
    np.testing.assert_allclose(
        adjusted.interval(0.9), stats.t.interval(0.9, adjusted.dof, adjusted.estimate, adjusted.se)
    )
    assert found.over_contexts == "difference of mean count ~ 1 + length + (1 | word_pair) + (1 | carrier)"
    assert found.no_adjustment == ""
    # six sentences do not tell a length from a difference that is not there
    assert (details["p_perm_unadjusted_fdr"] < 0.05).sum() > (details["p_perm_adjusted_fdr"] < 0.05).sum()


def test_without_chosen_covariates_all_recorded_ones_are_held_fixed_beside():
    observations, table = with_covariate()
    more = table.assign(both=table["length"] + table["other"])
    found = analysed(observations, contexts=replace(observations, recorded=more))
    arguments = (vars(observations)["values"], observations.condition, observations.item, observations.context)
    adjusted, raw = crossed_test(*arguments, covariates=table), crossed_test(*arguments)
    np.testing.assert_allclose(found.details["p_adjusted"], adjusted.p)
    np.testing.assert_allclose(found.details["p_unadjusted"], raw.p)
    np.testing.assert_allclose(found.heads["difference"], raw.estimate)
    assert found.determined == ("both",)
    single = replace(observations, recorded=table.assign(single=(observations.item == 0) * observations.condition))
    left_out = analysed(observations, contexts=single)
    assert left_out.single == ("single",)
    np.testing.assert_allclose(left_out.details["p_adjusted"], adjusted.p)
    same = replace(observations, recorded=table.assign(side=observations.condition))
    assert "explained by the condition" in analysed(observations, contexts=same).no_adjustment


def rated(seed=0):
    """Eighty rated words in six sentences whose slopes differ; their length goes along and moves every head."""
    rng = np.random.default_rng(seed)
    word, sentence = (axis.ravel() for axis in np.indices((80, 6)))
    rating = rng.normal(size=80)
    length = (0.6 * rating + rng.normal(size=80))[word]
    values = rng.normal(size=(480, 6)) + 0.3 * rng.normal(size=(6, 6))[sentence] * rating[word][:, None]
    values += 0.4 * length[:, None]
    values[:, 2] += 1.2 * rating[word]
    observations = Observations(
        values, rating[word] > 0, word, sentence, names=("word", "carrier"), measure="mean count",
        predictor=rating[word], effect_name="rating", recorded=pd.DataFrame({"length": length}),
    )  # fmt: skip
    return observations, values.reshape(80, 6, 6).mean(axis=1), rating


def analysed_slope(*, of_units=None, **changed):
    observations, units, rating = rated()
    found = analyse_slope(
        units,
        rating,
        FEATURES,
        condition=rating > np.median(rating),
        threshold=0.9,
        measure="count",
        medians=np.zeros((2, 6)),
        covariates=of_units,
        contexts=replace(observations, **changed),
        settings=SETTINGS,
    )
    return found, (vars(observations)["values"], observations.predictor, observations.item, observations.context)


@pytest.mark.parametrize("held", [False, True])
def test_the_columns_of_slopes_are_those_of_the_tests_over_both(held):
    table = rated()[0].recorded
    found, arguments = analysed_slope(covariates=table if held else None)
    tests = {"unadjusted": crossed_slope_test(*arguments), "adjusted": crossed_slope_test(*arguments, covariates=table)}
    test = tests["adjusted" if held else "unadjusted"]
    heads, details = found.heads, found.details
    for column, expected in {
        "slope": test.estimate, "ci_low": test.low, "partial_d": test.g, "lmm_p": test.p, "statistic": test.statistic,
        "p_tost": crossed_equivalence(test, margin=0.8), "p_items": test.p_items, "p_contexts": test.p_contexts,
    }.items():  # fmt: skip
        np.testing.assert_allclose(heads[column], expected, err_msg=column)
    family = crossed_slope_family_test(*arguments, covariates=table if held else None, n_rotations=999, rng=20)
    np.testing.assert_allclose(heads["p_perm"], family.p)
    np.testing.assert_allclose(heads["p_perm_fwer"], family.p_fwer)
    np.testing.assert_allclose(details["d_low"], test.g_low)
    r = details["correlation"]
    np.testing.assert_allclose(2 * r / np.sqrt(1 - r**2), test.g)
    for suffix, one in tests.items():
        for column, expected in {"slope": one.estimate, "p": one.p, "d": one.g, "d_high": one.g_high}.items():
            np.testing.assert_allclose(details[f"{column}_{suffix}"], expected, err_msg=column)
        r = details[f"correlation_{suffix}"]
        np.testing.assert_allclose(2 * r / np.sqrt(1 - r**2), one.g)
    # the prior of a difference, for d compares two groups
    log_bf = log_effective_bayes_factor(test.statistic, (test.standardizer / test.se) ** 2, test.dof, scale=0.707)
    np.testing.assert_allclose(heads["log10_bf10"], log_bf / np.log(10), rtol=1e-6)
    beside = " + length" if held else ""
    assert found.over_contexts == f"mean count ~ rating{beside} + (1 | word) + (1 + rating | carrier)"
    assert tuple(heads.columns) == (*head_columns(SLOPE), *CONTEXT_COLUMNS)
    assert heads["verdict"][2] == "different"


def test_slopes_in_contexts_ask_for_what_belongs_to_observations():
    with pytest.raises(InputError, match="give them as Observations"):
        analysed_slope(of_units=pd.DataFrame({"length": np.arange(80.0)}))
    with pytest.raises(InputError, match=r"give Observations\(predictor"):
        analysed_slope(predictor=None)


def test_the_bayes_factor_of_independent_units_is_the_one_of_their_t():
    t, n = np.array([0.0, 1.5, -4.0]), 30
    np.testing.assert_allclose(log_effective_bayes_factor(t, [n] * 3, [n - 1.0] * 3), log_jzs_bayes_factor(t, n))
    assert log_effective_bayes_factor([2.0], [0.0], [5.0])[0] == 0
