"""Family-wise tests over items and contexts: exact where one factor makes up the error, nominal between."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats import crossed_family_test, crossed_test


def pairs(rng, n_items, n_contexts, n, slope, *, items_slope=0.0, shared=0.0):
    """Differences with features that share a part `shared` of every variance."""
    item, context = (axis.ravel() for axis in np.indices((n_items, n_contexts)))

    def draw(size):
        return np.sqrt(shared) * rng.normal(size=(size, 1)) + np.sqrt(1 - shared) * rng.normal(size=(size, n))

    difference = draw(len(item)) + slope * draw(n_contexts)[context] + items_slope * draw(n_items)[item]
    values = np.concatenate([difference, np.zeros_like(difference)])
    return values, np.repeat([True, False], len(item)), np.tile(item, 2), np.tile(context, 2)


@pytest.mark.parametrize(("slope", "items_slope", "shared"), [(0.5, 0.0, 0.0), (0.2, 0.3, 0.5), (0.0, 0.5, 0.2)])
def test_the_family_wise_level_holds_with_six_contexts(slope, items_slope, shared):
    rng = np.random.default_rng(1)
    reached, covered, n = 0, 0, 150
    for _ in range(n):
        data = pairs(rng, 40, 6, 15, slope, items_slope=items_slope, shared=shared)
        found = crossed_family_test(*data, n_rotations=199, rng=rng)
        reached += bool((found.p_fwer <= 0.05).any())
        covered += bool(((found.low <= 0) & (found.high >= 0)).all())
    error = 3 * np.sqrt(0.05 * 0.95 / n)
    assert reached / n < 0.05 + error
    assert covered / n > 0.95 - error


def test_where_contexts_alone_make_the_error_p_is_that_of_students_t():
    data = pairs(np.random.default_rng(2), 50, 7, 4, 5.0)
    found = crossed_family_test(*data, n_rotations=20_000, rng=0)
    np.testing.assert_allclose(found.p, crossed_test(*data).p_contexts, atol=0.012)


def test_a_family_of_one_feature_has_its_own_p_and_its_own_interval():
    data = pairs(np.random.default_rng(3), 60, 8, 1, 0.4, items_slope=0.3)
    found, alone = crossed_family_test(*data, n_rotations=20_000, rng=0), crossed_test(*data)
    assert found.p_fwer == found.p == found.p_fwer_stepdown
    np.testing.assert_allclose(found.p, alone.p, atol=0.03)
    np.testing.assert_allclose(found.high - found.low, alone.high - alone.low, rtol=0.1)


def test_features_that_are_copies_cost_nothing_and_others_do():
    values, *rest = pairs(np.random.default_rng(4), 40, 8, 1, 0.3)
    values[:320] += 0.25
    one = crossed_family_test(values, *rest, n_rotations=4999, rng=0)
    copies = crossed_family_test(np.repeat(values, 12, axis=1), *rest, n_rotations=4999, rng=0)
    np.testing.assert_allclose(copies.p_fwer, one.p[0])
    noise = pairs(np.random.default_rng(5), 40, 8, 11, 0.3)[0]
    others = crossed_family_test(np.column_stack([values, noise]), *rest, n_rotations=4999, rng=0)
    assert others.p_fwer[0] > 2 * one.p[0]
    # in families of their own they do not either
    apart = crossed_family_test(np.column_stack([values, noise]), *rest, family=np.arange(12), n_rotations=4999, rng=0)
    np.testing.assert_allclose(apart.p_fwer, apart.p)


def test_step_down_and_single_step_are_ordered_as_the_p_values():
    values, *rest = pairs(np.random.default_rng(6), 40, 8, 10, 0.1)
    values[:320, :5] += 0.5
    found, alone = crossed_family_test(values, *rest, n_rotations=999, rng=0), crossed_test(values, *rest)
    assert (found.p_fwer_stepdown <= found.p_fwer).all()
    assert (found.p <= found.p_fwer).all()
    order = np.argsort(alone.p)
    assert (np.diff(found.p_fwer[order]) >= 0).all()
    assert (np.diff(found.p_fwer_stepdown[order]) >= 0).all()


def test_omnibus_tests_find_what_their_group_holds():
    values, *rest = pairs(np.random.default_rng(7), 60, 8, 10, 0.1)
    values[:480, :5] += 0.4
    masks = {"with": np.arange(10) < 5, "without": np.arange(10) >= 5}
    found = crossed_family_test(values, *rest, omnibus=masks, n_rotations=999, rng=0).omnibus
    assert found["with"].p_max == found["with"].p_sum_squares == 0.001
    assert found["with"].count == 5
    assert found["without"].p_max > 0.05
    alone = crossed_test(values, *rest)
    np.testing.assert_allclose(found["with"].max, stats.norm.isf(alone.p[:5].min() / 2))


def test_one_seed_gives_one_answer_and_flat_features_take_no_part():
    values, *rest = pairs(np.random.default_rng(8), 20, 6, 3, 0.2)
    with_flat = np.column_stack([values, np.ones(len(values))])
    first, second = (crossed_family_test(v, *rest, n_rotations=199, rng=3) for v in (values, with_flat))
    np.testing.assert_array_equal(first.p_fwer, second.p_fwer[:3])
    assert second.p_fwer[3] == 1
    assert second.flat.tolist() == [False, False, False, True]


def test_levels_of_one_condition_each_are_rotated_within_what_the_mean_leaves():
    rng = np.random.default_rng(9)
    item, context = (axis.ravel() for axis in np.indices((30, 12)))
    keep = item % 2 == context % 2
    item, context = item[keep], context[keep]
    condition, reached, n = item % 2 == 0, 0, 60
    for _ in range(n):
        values = rng.normal(size=(len(item), 10)) + 0.5 * rng.normal(size=(12, 10))[context]
        values += 100.0  # a grand mean is no effect
        reached += bool(
            (crossed_family_test(values, condition, item, context, n_rotations=199, rng=rng).p_fwer < 0.05).any()
        )
    assert reached / n < 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)


def test_items_that_stand_once_are_the_residual():
    rng = np.random.default_rng(10)
    item = np.arange(168)
    context, condition = item % 6, item // 6 % 2 == 0
    slopes = 0.6 * rng.normal(size=(6, 1500))[context] * condition[:, None]
    values = rng.normal(size=(168, 1500)) + rng.normal(size=(6, 1500))[context] + slopes
    found = crossed_family_test(values, condition, item, context, n_rotations=999, rng=rng)
    assert abs((found.p <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 1500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rotations": 5}, "19 or more"),
        ({"alpha": 1.5}, "between 0 and 1"),
        ({"family": [0, 1]}, "family has shape"),
        ({"omnibus": {"all": np.ones(7, dtype=bool)}}, "omnibus 'all' has shape"),
    ],
)
def test_bad_options_are_refused_with_the_reason(options, message):
    with pytest.raises(InputError, match=message):
        crossed_family_test(*pairs(np.random.default_rng(0), 6, 4, 3, 0.0), **options)
