"""Tests over more than two conditions, against pingouin, scipy and brute force, and where nothing differs."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats import several_groups_test, welch_anova

LABELS = np.repeat(list("abc"), [8, 12, 20])


def unequal(seed, n_features=5):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(LABELS), n_features)) * np.repeat([3.0, 1.0, 0.5], [8, 12, 20])[:, None]
    values[LABELS == "b"] += np.linspace(0, 1, n_features)
    return values


@pytest.mark.parametrize("seed", range(3))
def test_the_statistic_is_that_of_pingouin_and_of_scipy(seed):
    values = unequal(seed)
    statistic, df2, p = welch_anova(values, LABELS)
    for column in range(values.shape[1]):
        table = pd.DataFrame({"y": values[:, column], "g": LABELS})
        row = pingouin.welch_anova(table, dv="y", between="g").iloc[0]
        np.testing.assert_allclose([statistic[column], df2[column], p[column]], row.iloc[[3, 2, 4]].astype(float))
        found = stats.f_oneway(*(values[name == LABELS, column] for name in "abc"), equal_var=False)
        np.testing.assert_allclose([statistic[column], p[column]], [found.statistic, found.pvalue])


def test_of_two_conditions_it_is_welchs_t_squared():
    values, labels = unequal(1)[:20], LABELS[:20]
    expected = stats.ttest_ind(values[labels == "a"], values[labels == "b"], equal_var=False)
    statistic, df2, p = welch_anova(values, labels)
    np.testing.assert_allclose(statistic, expected.statistic**2)
    np.testing.assert_allclose(df2, expected.df)
    np.testing.assert_allclose(p, expected.pvalue)


def test_within_blocks_it_is_hotellings_of_the_differences():
    rng = np.random.default_rng(4)
    cube = rng.normal(size=(15, 3, 2)) + rng.normal(size=(15, 1, 2)) * 5
    order = rng.permutation(45)
    block, label = np.repeat(np.arange(15), 3)[order], np.tile(list("xyz"), 15)[order]
    found = several_groups_test(cube.reshape(45, 2)[order], label, block=block, n_permutations=99)
    for column in range(2):
        differences = cube[:, :2, column] - cube[:, 2:, column]
        expected = pingouin.multivariate_ttest(differences)
        np.testing.assert_allclose(found.statistic[column], float(expected["F"].iloc[0]))
        np.testing.assert_allclose(found.p_parametric[column], float(expected.filter(like="p").iloc[0, -1]))


def test_permutations_give_what_brute_force_gives():
    values = unequal(2, 3)
    found = several_groups_test(values, LABELS, n_permutations=400, rng=7, family=[0, 0, 1])
    rng = np.random.default_rng(8)
    drawn = np.array([welch_anova(values, rng.permutation(LABELS))[0] for _ in range(4000)])
    observed = found.statistic
    np.testing.assert_allclose(found.p, (drawn >= observed).mean(axis=0), atol=0.08)
    joint = (drawn[:, :2].max(axis=1)[:, None] >= observed[:2]).mean(axis=0)
    np.testing.assert_allclose(found.p_fwer[:2], joint, atol=0.08)
    assert found.p_fwer[2] == found.p[2]
    assert found.p_all == pytest.approx((drawn.sum(axis=1) >= observed.sum()).mean(), abs=0.08)


@pytest.mark.parametrize("within", [False, True])
def test_errors_are_as_often_as_they_may_be(within):
    rng = np.random.default_rng(11)
    label = np.tile(list("abc"), 12) if within else LABELS
    block = np.repeat(np.arange(12), 3) if within else None
    scale = np.repeat([3.0, 1.0, 0.5], [8, 12, 20])[:, None]
    p = []
    for _ in range(60):
        values = rng.normal(size=(len(label), 10)) * (1 if within else scale)
        p.append(several_groups_test(values, label, block=block, n_permutations=199, rng=rng).p)
    share = (np.array(p) < 0.05).mean()
    # 600 tests at .05: standard error .009
    assert 0.025 < share < 0.08


def test_a_feature_that_does_not_vary_is_no_finding():
    values = np.column_stack([np.ones(40), unequal(3, 1)])
    found = several_groups_test(values, LABELS, n_permutations=99)
    assert (found.statistic[0], found.p[0]) == (0, 1)
    assert found.statistic[1] > 0


@pytest.mark.parametrize(
    ("values", "label", "block", "complaint"),
    [
        (np.zeros((3, 1)), ["a", "b"], None, "do not fit"),
        (np.zeros((3, 1)), ["a", "a", "b"], None, "condition b has one unit"),
        (np.zeros((3, 1)), ["a", "a", "a"], None, "one condition"),
        (np.full((4, 1), np.nan), ["a", "a", "b", "b"], None, "unit 0, feature 0"),
        (np.zeros((4, 1)), ["a", "a", "b", "b"], [0, 0, 1, 1], "block 0 does not have one unit"),
        (np.zeros((4, 1)), ["a", "b", "a", "b"], [0, 0, 1, 1], "2 blocks of 2 conditions are too few"),
    ],
)
def test_what_can_not_be_tested_is_refused(values, label, block, complaint):
    with pytest.raises(InputError, match=complaint):
        several_groups_test(values, label, block=block, n_permutations=9)


def test_within_blocks_a_feature_that_does_not_vary_is_no_finding():
    varied = np.random.default_rng(12).normal(size=(30, 1))
    block, label = np.repeat(np.arange(10), 3), np.tile(list("xyz"), 10)
    found = several_groups_test(np.column_stack([np.ones(30), varied]), label, block=block, n_permutations=99)
    assert (found.statistic[0], found.p[0]) == (0, 1)
    assert found.statistic[1] > 0
