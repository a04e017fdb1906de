"""The reduction of the rows to cross-products, and what it says about the model."""

from __future__ import annotations

import numpy as np
import pytest

from metastable.stats.mixed_models.random_terms import RandomTerms, saturated, term_sums

GROUP = np.repeat(np.arange(20), 5)
CROSSING = np.arange(100) % 7
SLOPE = (np.arange(100) % 2).astype(float)


def example(terms, n_features=3):
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(100), rng.normal(size=100)])
    y = rng.normal(size=(100, n_features))
    return x, y, term_sums(x, y, terms)


@pytest.mark.parametrize(
    ("terms", "nested", "n_theta"),
    [
        (RandomTerms(None, GROUP), True, 1),
        (RandomTerms(None, GROUP, SLOPE), True, 3),
        (RandomTerms(GROUP, GROUP // 4), True, 2),
        (RandomTerms(GROUP // 4, GROUP), False, 2),
        (RandomTerms(GROUP, CROSSING), False, 2),
        (RandomTerms(GROUP, CROSSING, SLOPE), False, 4),
    ],
)
def test_structure_is_recognized_and_no_sum_of_squares_is_lost(terms, nested, n_theta):
    assert terms.nested == nested
    assert terms.n_theta == n_theta
    x, y, sums = example(terms)
    n_levels = terms.outer.max() + 1
    z = np.zeros((100, n_levels * terms.width))
    z[np.arange(100), terms.outer * terms.width] = 1.0
    if terms.slope is not None:
        z[np.arange(100), terms.outer * terms.width + 1] = terms.slope
    size = z.shape[1] // (n_levels if nested else 1)
    assert sums.within_zz.shape == (z.shape[1] // size, size, size)
    total = sums.within_zz + sums.between_zz.sum(axis=0)
    expected = z.T @ z
    for block, found in enumerate(total):
        of_block = slice(block * size, (block + 1) * size)
        np.testing.assert_allclose(found, expected[of_block, of_block], atol=1e-12)
    np.testing.assert_allclose((sums.within_zx + sums.between_zx.sum(axis=0)).reshape(-1, 2), z.T @ x, atol=1e-12)
    np.testing.assert_allclose((sums.within_zy + sums.between_zy.sum(axis=0)).reshape(-1, 3), z.T @ y, atol=1e-12)
    some = sums.features(np.array([2]))
    np.testing.assert_array_equal(some.within_zy, sums.within_zy[..., [2]])


def test_saturated_features_are_those_without_residual():
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(100), rng.normal(size=100)])
    effects = rng.normal(size=20)[GROUP] + rng.normal(size=7)[CROSSING] * (1 + SLOPE) + x[:, 1]
    y = np.column_stack([rng.normal(size=100), effects, effects])
    y[17, 2] += 0.01
    assert saturated(term_sums(x, y, RandomTerms(GROUP, CROSSING, SLOPE))).tolist() == [False, True, False]
