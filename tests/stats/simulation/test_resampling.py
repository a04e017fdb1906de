"""Samples drawn anew against scipy's tests of the same samples written out, and corrected p by hand."""

from math import comb

import numpy as np
import pytest
from scipy import stats

from metastable.stats.simulation.resampling import (
    Rule,
    centred_source,
    count_relabelings,
    paired_draws,
    resample,
    welch_draws,
)

RNG = np.random.default_rng(1)
A, B = RNG.gamma(2.0, 1.0, (7, 3)), RNG.normal(size=(12, 3))


def weights(n, drawn):
    return RNG.multinomial(drawn, np.full(n, 1 / n), size=5).astype(float)


def test_draws_of_two_groups_are_welchs_test_of_them():
    weight_a, weight_b = weights(7, 9), weights(12, 20)
    found = welch_draws(A, B, weight_a, weight_b)
    for i in range(5):
        a, b = (np.repeat(v, w[i].astype(int), axis=0) for v, w in ((A, weight_a), (B, weight_b)))
        for shift in (0.0, 0.7):
            expected = stats.ttest_ind(a + shift, b, equal_var=False)
            np.testing.assert_allclose(found.row(i).t(shift), expected.statistic)
            np.testing.assert_allclose(found.row(i).dof, expected.df)


def test_draws_of_pairs_are_the_paired_test_of_them():
    source = centred_source(A, B[:7], paired=True)
    weight = weights(7, 10)
    found = paired_draws(source, weight)
    for i in range(5):
        expected = stats.ttest_1samp(np.repeat(source.a, weight[i].astype(int), axis=0), 0.0)
        np.testing.assert_allclose(found.row(i).t(), expected.statistic)
        np.testing.assert_allclose(found.row(i).dof, expected.df)


def test_a_source_has_no_difference_and_keeps_its_spread():
    a, b = np.column_stack([A, np.full(7, 0.1)]), np.column_stack([B, np.full(12, 0.3)])
    source = centred_source(a, b, paired=False)
    spread = (7 * A.var(axis=0) + 12 * B.var(axis=0)) / 19
    np.testing.assert_allclose(source.deviation, np.sqrt([*spread, 0]))
    np.testing.assert_allclose(np.concatenate([source.a.mean(axis=0), source.b.mean(axis=0)]), 0, atol=1e-12)
    assert (source.a[:, 3] == 0).all()
    assert (source.b[:, 3] == 0).all()
    drawn = resample(source, 4, np.random.default_rng(0), size=(3, 30))
    assert (drawn.t()[:, 3] == 0).all()
    # the error is that of samples of the size that is asked for
    assert (drawn.dof[:, :3] > 2).all()
    assert (drawn.dof[:, :3] < 31).all()


@pytest.mark.parametrize(
    ("sizes", "paired", "expected"),
    [
        ((3, 4), False, 35),
        ((200, 2), False, 202 * 201 // 2),
        ((3, 98), False, comb(101, 3)),
        ((60, 60), False, 10**18),
        ((5, 5), True, 32),
        ((40, 40), True, 2**40),
        ((400, 400), True, 10**18),
    ],
)
def test_relabelings_are_counted(sizes, paired, expected):
    assert count_relabelings(*sizes, paired=paired) == expected


def test_p_of_the_largest_statistic_are_counted_within_families():
    null = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 3.5, 4.5, 5.5])]
    rule = Rule("max-t", 0.05, np.array([0, 1, 0, 1]), 100, null)
    p = rule.adjusted(np.array([-2.5, 2.0, 9.0, 4.5]), np.full(4, 10.0))
    # (number that reaches it + 1) / (4 + 1)
    np.testing.assert_allclose(p, [3 / 5, 5 / 5, 1 / 5, 3 / 5])


def test_p_are_on_the_grid_of_relabelings_before_they_are_corrected():
    t, dof = np.array([-2.0, 0.3, 40.0]), np.full(3, 10.0)
    exact = 2 * stats.t.sf(np.abs(t), dof)
    alone = Rule("none", 0.05, np.zeros(3, int), 19, None).adjusted(t, dof)
    np.testing.assert_allclose(alone, (19 * exact + 1) / 20)
    np.testing.assert_allclose(alone[2], 1 / 20)
    corrected = Rule("bh", 0.05, np.zeros(3, int), 19, None).adjusted(t, dof)
    np.testing.assert_allclose(corrected, stats.false_discovery_control(alone))
