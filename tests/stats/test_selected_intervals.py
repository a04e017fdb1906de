"""Intervals of the features that were called: widened as Benjamini and Yekutieli (2005) do, and they hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats import adjust_p_values
from metastable.stats.selected_intervals import selected_intervals

ESTIMATE = np.array([3.0, -2.0, 0.1, 2.5, 0.0, -4.0])


def normal(estimate, error=1.0):
    def interval(confidence):
        reach = error * stats.norm.ppf(0.5 + confidence / 2)
        return estimate - reach, estimate + reach

    return interval


def test_each_family_has_the_confidence_of_its_own_share():
    selected = np.array([True, False, False, True, False, True])
    low, high = selected_intervals(normal(ESTIMATE), selected, family=["a", "a", "a", "b", "b", "b"], alpha=0.1)
    for at, share in ((0, 1 / 3), (3, 2 / 3), (5, 2 / 3)):
        expected = stats.norm.interval(1 - 0.1 * share, loc=ESTIMATE[at])
        np.testing.assert_allclose((low[at], high[at]), expected)
    assert np.isnan(low[~selected]).all()
    assert np.isnan(high[~selected]).all()
    together, _ = selected_intervals(normal(ESTIMATE), selected, alpha=0.1)
    np.testing.assert_allclose(together[0], stats.norm.interval(1 - 0.1 / 2, loc=3.0)[0])


def test_where_all_are_selected_nothing_is_widened_and_where_none_is_there_is_no_interval():
    low, high = selected_intervals(normal(ESTIMATE), np.ones(6))
    np.testing.assert_allclose((low, high), normal(ESTIMATE)(0.95))
    assert np.isnan(selected_intervals(normal(ESTIMATE), np.zeros(6))).all()


def test_limits_of_other_features_are_refused():
    with pytest.raises(InputError, match=r"shape \(5,\) for limits of shape \(6,\)"):
        selected_intervals(normal(ESTIMATE), np.ones(5))


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_of_the_selected_no_more_than_alpha_miss_where_intervals_of_one_feature_miss_more(correlation):
    """Forty features, of which eight differ by one and a half standard errors, chosen by Benjamini and Hochberg."""
    rng = np.random.default_rng(1)
    truth = np.where(np.arange(40) < 8, 1.5, 0.0)
    missed = {"alone": [], "selected": []}
    for _ in range(4000):
        noise = np.sqrt(1 - correlation) * rng.normal(size=40) + np.sqrt(correlation) * rng.normal()
        estimate = truth + noise
        selected = adjust_p_values(2 * stats.norm.sf(np.abs(estimate)), method="bh") < 0.05
        for name, (low, high) in (
            ("alone", normal(estimate)(0.95)),
            ("selected", selected_intervals(normal(estimate), selected)),
        ):
            outside = ((truth < low) | (truth > high))[selected]
            missed[name].append(outside.mean() if selected.any() else 0.0)
    rate = {name: float(np.mean(values)) for name, values in missed.items()}
    error = np.std(missed["selected"]) / np.sqrt(4000)
    assert rate["selected"] < 0.05 + 2 * error
    assert rate["alone"] > 2 * rate["selected"]
