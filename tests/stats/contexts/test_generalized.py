"""The tables of tests over items and contexts: every column of the verdict is over both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.stats import adjust_p_values, analyse, crossed_equivalence, crossed_family_test, crossed_test
from metastable.stats.analysis import Settings
from metastable.stats.bayes import log_effective_bayes_factor, log_jzs_bayes_factor
from metastable.stats.contexts.generalized import Observations
from metastable.stats.effect_kinds import CONTEXT_COLUMNS, DIFFERENCE, head_columns

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


def test_contexts_beside_covariates_are_refused():
    observations = example()
    with pytest.raises(InputError, match="leave out the covariates or the contexts"):
        analysed(observations, contexts=observations, covariates=np.random.default_rng(0).normal(size=(160, 1)))


def test_the_bayes_factor_of_independent_units_is_the_one_of_their_t():
    t, n = np.array([0.0, 1.5, -4.0]), 30
    np.testing.assert_allclose(log_effective_bayes_factor(t, [n] * 3, [n - 1.0] * 3), log_jzs_bayes_factor(t, n))
    assert log_effective_bayes_factor([2.0], [0.0], [5.0])[0] == 0
