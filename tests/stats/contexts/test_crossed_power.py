"""Planned items and contexts: the pilot's own errors come back, and new samples have the power promised."""

from __future__ import annotations

import numpy as np
import pytest

from metastable.stats import crossed_test
from metastable.stats.contexts.crossed_power import crossed_spread, detectable_over_both, items_needed


def sample(rng, n_items, n_contexts, n_features, effect=0.0):
    item, context, side = (axis.ravel() for axis in np.indices((n_items, n_contexts, 2)))
    values = (
        rng.normal(size=(n_items, n_features))[item]
        + 0.5 * rng.normal(size=(n_items, 2, n_features))[item, side]
        + 0.25 * rng.normal(size=(n_contexts, 2, n_features))[context, side]
        + 0.5 * rng.normal(size=(len(item), n_features))
    )
    return values + effect * side[:, None], side == 1, item, context


@pytest.mark.parametrize("between", [False, True])
def test_at_the_size_of_the_pilot_its_own_errors_come_back(between):
    values, side, item, context = sample(np.random.default_rng(0), 25, 7, 6)
    found = crossed_test(values, side, item * 2 + side if between else item, context)
    spread = crossed_spread(found, between=between, per_condition=25 if between else None)
    se, dof = spread.error(25, 7)
    np.testing.assert_allclose(se, found.se, rtol=1e-5)
    np.testing.assert_allclose(dof, found.dof, rtol=1e-3)


def test_new_samples_of_the_planned_size_have_the_power_promised():
    rng = np.random.default_rng(1)
    found = crossed_test(*sample(rng, 60, 30, 40))
    spread = crossed_spread(found, between=False)
    effect = 0.45
    n = items_needed(spread, effect, 12)
    assert np.isfinite(n)
    raw = effect * float(np.median(spread.scale))
    power = [(crossed_test(*sample(rng, int(n), 12, 60, raw)).p < 0.05).mean() for _ in range(8)]
    assert np.mean(power) == pytest.approx(0.8, abs=0.09)


def test_items_alone_do_not_make_up_for_few_contexts():
    spread = crossed_spread(crossed_test(*sample(np.random.default_rng(2), 40, 6, 20)), between=False)
    detectable = [float(np.median(detectable_over_both(spread, n, 6))) for n in (40, 400, 100_000)]
    assert detectable[0] > detectable[1] > detectable[2] > 0.1
    assert np.isinf(items_needed(spread, 0.9 * detectable[2], 6))
    assert np.isfinite(items_needed(spread, 1.2 * detectable[2], 6))


def test_one_item_less_is_too_few():
    spread = crossed_spread(crossed_test(*sample(np.random.default_rng(3), 40, 20, 20)), between=False)
    n = int(items_needed(spread, 0.4, 20))
    assert np.median(detectable_over_both(spread, n, 20)) <= 0.4 < np.median(detectable_over_both(spread, n - 1, 20))
