from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from metastable.errors import InputError
from metastable.stats.simulation.monte_carlo import estimate_rate


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.data())
def test_events_have_the_interval_of_clopper_and_pearson(n, data):
    events = data.draw(st.integers(0, n))
    rate = estimate_rate(np.arange(n) < events)
    low, high = proportion_confint(events, n, method="beta")
    assert rate.estimate == pytest.approx(events / n)
    assert rate.low == pytest.approx(low, abs=1e-9)
    assert rate.high == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize("strength", [1.0, 20.0])
def test_correlated_features_are_covered(strength):
    rng = np.random.default_rng(1)
    truth, n, features = 0.05, 200, 72
    covered = []
    for _ in range(600):
        shared = rng.beta(truth * strength, (1 - truth) * strength, n)
        rate = estimate_rate(rng.binomial(features, shared) / features)
        covered.append(rate.low <= truth <= rate.high)
    assert np.mean(covered) > 0.92


def test_independent_features_all_count():
    rng = np.random.default_rng(2)
    rate = estimate_rate(rng.binomial(100, 0.3, 400) / 100)
    low, high = proportion_confint(rate.estimate * 40_000, 40_000, method="beta")
    assert rate.high - rate.low == pytest.approx(high - low, rel=0.15)


@pytest.mark.parametrize("rates", [[], [0.5, 1.2], [np.nan], [[0.5]]])
def test_bad_rates_are_told(rates):
    with pytest.raises(InputError, match="one rate a replicate"):
        estimate_rate(rates)
