from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from metastable.errors import InputError
from metastable.stats.corrections import CORRECTIONS, adjust_p_values, null_proportion

P_VALUES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40).map(np.array)
METHODS = sorted(CORRECTIONS)


@given(P_VALUES)
def test_bh_and_by_match_scipy(p):
    for method in ("bh", "by"):
        expected = stats.false_discovery_control(p, method=method)
        np.testing.assert_allclose(adjust_p_values(p, method=method), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("seed", range(10))
def test_holm_matches_statsmodels(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(0.5, 4, 1 + 4 * seed), 3)
    np.testing.assert_allclose(adjust_p_values(p, method="holm"), multipletests(p, method="holm")[1], rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("seed", range(8))
def test_two_stage_matches_statsmodels(seed, alpha):
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.beta(0.2, 8, 5 * seed), rng.uniform(size=30)])
    rejected, expected = multipletests(p, alpha=alpha, method="fdr_tsbky")[:2]
    adjusted = adjust_p_values(p, method="tsbh", alpha=alpha)
    np.testing.assert_allclose(adjusted, np.minimum(expected, 1), rtol=1e-12)
    np.testing.assert_array_equal(adjusted <= alpha, rejected)


def test_two_stage_stops_after_the_first_stage_that_rejects_all():
    p = np.array([1e-4, 1e-3, 2e-3])
    expected = multipletests(p, alpha=0.05, method="fdr_tsbky")[1]
    np.testing.assert_allclose(adjust_p_values(p, method="tsbh"), expected)


def test_a_p_at_the_level_of_the_first_stage_is_rejected_there():
    # alpha / (1 + alpha) is a quarter: the first stage rejects one p of four, and its three leave a share of 3/4
    adjusted = adjust_p_values([1 / 16, 0.8, 0.8, 0.9], method="tsbh", alpha=1 / 3)
    np.testing.assert_allclose(adjusted, np.minimum(np.array([1 / 4, 0.9, 0.9, 0.9]) * 4 / 3 * 3 / 4, 1))


@pytest.mark.parametrize("method", METHODS)
def test_the_table_says_whether_the_level_matters(method):
    p = np.array([0.001, 0.004, 0.02, 0.03, 0.2, 0.45, 0.7, 0.9])
    levels = [adjust_p_values(p, method=method, alpha=alpha).tolist() for alpha in (0.01, 0.2)]
    assert CORRECTIONS[method].uses_alpha == (levels[0] != levels[1])


def test_heads_are_corrected_for_false_discoveries():
    # family-wise error over heads is that of the largest statistic, which knows how they go together
    assert {name for name in METHODS if CORRECTIONS[name].for_heads} == {"bh", "by", "storey", "tsbh"}
    assert {CORRECTIONS[name].controls for name in METHODS if CORRECTIONS[name].for_heads} == {"FDR"}


def test_storey_by_hand():
    p = np.array([0.001, 0.004, 0.03, 0.2, 0.45, 0.7, 0.8, 0.9])
    # Three above a half: (3 + 1) / (8 * 0.5) = 1; with one such only, (1 + 1) / 4.
    assert null_proportion(p) == 1.0
    few = np.array([0.001, 0.004, 0.03, 0.1, 0.2, 0.3, 0.45, 0.9])
    assert null_proportion(few) == 0.5
    np.testing.assert_allclose(
        adjust_p_values(few, method="storey"), 0.5 * stats.false_discovery_control(few), rtol=1e-12
    )


def test_storey_finds_more_than_bh_where_most_hypotheses_are_false():
    rng = np.random.default_rng(3)
    p = np.concatenate([rng.beta(0.3, 6, 160), rng.uniform(size=40)])
    assert (adjust_p_values(p, method="storey") <= 0.05).sum() > (adjust_p_values(p) <= 0.05).sum()


@pytest.mark.parametrize("method", METHODS)
def test_false_discovery_rate_is_held(method):
    rng = np.random.default_rng(11)
    shares = []
    for _ in range(600):
        p = stats.norm.sf(rng.normal(size=60) + np.where(np.arange(60) < 20, 2.8, 0.0))
        found = adjust_p_values(p, method=method) <= 0.1
        shares.append(found[20:].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(600)


@pytest.mark.parametrize("method", METHODS)
@given(p=P_VALUES, data=st.data())
def test_each_family_is_corrected_on_its_own(method, p, data):
    family = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(p), max_size=len(p))))
    together = adjust_p_values(p, method=method, family=family)
    for code in np.unique(family):
        alone = adjust_p_values(p[family == code], method=method)
        np.testing.assert_array_equal(together[family == code], alone)


@pytest.mark.parametrize("method", METHODS)
@given(P_VALUES)
def test_adjusted_keep_the_order_and_stay_within_one(method, p):
    adjusted = adjust_p_values(p, method=method)
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert ((adjusted >= 0) & (adjusted <= 1)).all()
    if method in ("bh", "by", "holm"):
        assert (adjusted >= p).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": [0.1, np.nan]}, r"p\[1\] is nan"),
        ({"p": [0.1, 1.2]}, r"p\[1\] is 1.2"),
        ({"p": [[0.1]]}, "one dimension"),
        ({"method": "bonferoni"}, "must be one of bh"),
        ({"family": [1]}, "family has shape"),
        ({"alpha": 0.0}, "alpha is 0.0"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        adjust_p_values(**({"p": [0.1, 0.2]} | change))
