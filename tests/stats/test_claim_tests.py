"""Tests of what a claim says, against exact and simulated rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from metastable.errors import InputError
from metastable.stats.claim_tests import minimum_effect_p, partial_conjunction, within_p


def interval(d, se):
    reach = stats.norm.ppf(0.975) * se
    return d, d - reach, d + reach


def test_it_is_the_test_that_the_interval_inverts():
    d, se = np.array([0.5, -0.5, 0.1, 0.0]), np.array([0.1, 0.1, 0.2, 0.1])
    greater = minimum_effect_p(*interval(d, se), smallest=0.2, direction="greater")
    np.testing.assert_allclose(greater, stats.norm.sf((d - 0.2) / se))
    less = minimum_effect_p(*interval(d, se), smallest=0.2, direction="less")
    np.testing.assert_allclose(less, stats.norm.cdf((d + 0.2) / se))
    both = minimum_effect_p(*interval(d, se), smallest=0.2)
    np.testing.assert_allclose(both, np.minimum(1, 2 * np.minimum(greater, less)))
    np.testing.assert_allclose(
        within_p(*interval(d, se), margin=0.2),
        np.maximum(stats.norm.cdf((d - 0.2) / se), stats.norm.sf((d + 0.2) / se)),
    )


@given(
    st.floats(-2, 2), st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0, 1), st.sampled_from([0.8, 0.9, 0.95, 0.99])
)
def test_p_and_interval_say_the_same(size, below, above, bound, level):
    low, high = size - below, size + above
    one_sided = (1 - level) / 2
    for direction, outside in (("greater", low - bound), ("less", -bound - high)):
        p = minimum_effect_p([size], [low], [high], smallest=bound, direction=direction, level=level)[0]
        if abs(outside) > 1e-9:
            assert (p < one_sided) == (outside > 0)


def test_what_has_no_interval_shows_nothing():
    for size, low, high in ((np.inf, np.inf, np.inf), (np.nan, 0, 1), (1.0, 1.0, 1.0), (1.0, -np.inf, np.inf)):
        assert minimum_effect_p([size], [low], [high], smallest=0.2)[0] == 1
        assert within_p([size], [low], [high], margin=0.2)[0] == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_some_is_bonferroni_and_all_is_the_largest(p):
    assert partial_conjunction(p) == pytest.approx(min(1, len(p) * min(p)))
    nearly_all = (len(p) - 1) / len(p)
    assert partial_conjunction(p, nearly_all) == pytest.approx(max(p))
    assert partial_conjunction(p) == pytest.approx(multipletests(p, method="bonferroni")[1].min())


def test_half_of_the_heads_is_not_most_of_them():
    # of twelve, six differ beyond doubt: that is not more than a half
    p = np.r_[np.full(6, 1e-12), np.full(6, 0.5)]
    assert partial_conjunction(p, 0.5) == 1
    assert partial_conjunction(np.r_[np.full(7, 1e-12), np.full(5, 0.5)], 0.5) == pytest.approx(6e-12)
    # 29% of 100 is 29, whatever 0.29 * 100 gives in binary
    assert partial_conjunction(np.r_[np.full(29, 1e-12), np.full(71, 0.5)], 0.29) == 1


def test_at_the_boundary_it_errs_as_often_as_it_promises():
    rng, n, half = np.random.default_rng(4), 4000, 6
    # half of the hypotheses are false beyond doubt, the others true: "more than a half" is not so
    p = np.concatenate([np.zeros((n, half)), rng.uniform(size=(n, half))], axis=1)
    found = np.array([partial_conjunction(row, 0.5) for row in p])
    assert abs((found < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / n)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: partial_conjunction([0.1], 1.0), "share is 1.0; give a number from 0"),
        (lambda: partial_conjunction([0.1], -0.1), "share is -0.1; give a number from 0"),
        (lambda: partial_conjunction([]), "p has no value"),
        (lambda: partial_conjunction([0.1, np.nan]), "a NaN"),
        (lambda: minimum_effect_p([1], [0], [2], smallest=-0.1), "smallest is -0.1"),
        (lambda: minimum_effect_p([1], [0], [2, 3], smallest=0.1), "one of each per feature"),
        (lambda: minimum_effect_p([1], [0], [2], smallest=0.1, direction="up"), "direction is 'up'"),
        (lambda: within_p([1], [0], [2], margin=0.1, level=95), "level is 95"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
