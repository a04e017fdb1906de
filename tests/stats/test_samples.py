from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.stats.samples import covariate_matrix, is_constant, sample_moments, split_samples, unit_scaled


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e9, 1e9, allow_subnormal=False), st.integers(4, 40), st.integers(1, 30))
def test_means_of_equal_counts_are_constant(value, n_units, n_tokens):
    """However a mean of equal values is rounded, and whatever their size, it has no variance."""
    rows = [np.full(n_tokens + i, value).sum() / (n_tokens + i) for i in range(n_units)]
    values = np.array(rows)[:, None]
    moments = sample_moments(split_samples(values, np.arange(n_units) % 2 == 0))
    assert moments.flat.all()
    assert moments.var_a == moments.var_b == moments.difference == 0


@pytest.mark.parametrize("size", [1e3, -1e3, 1e9, -1e9, -1e-9])
def test_a_difference_in_the_ninth_digit_is_seen(size):
    values = size * (1 + 1e-8 * np.arange(6.0)[:, None])
    assert not is_constant(values).any()
    # of partners too, whichever of them is large
    for a, b in ((values, values[::-1]), (values, np.zeros_like(values)), (np.zeros_like(values), values)):
        moments = sample_moments(
            split_samples(np.concatenate([a, b]), np.arange(12) < 6, pair=np.tile(np.arange(6), 2))
        )
        np.testing.assert_allclose(moments.var_difference, np.var(a - b, axis=0, ddof=1))


def test_no_units_have_a_unit_too():
    table, unit = unit_scaled(np.empty((0, 3)))
    assert table.shape == (0, 3)
    np.testing.assert_array_equal(unit, 1.0)


def test_partners_are_put_side_by_side():
    values = np.array([[10.0], [21.0], [20.0], [11.0], [30.0], [31.0]])
    condition = np.array([True, False, True, False, True, False])
    samples = split_samples(values, condition, pair=np.array(["x", "y", "y", "x", "z", "z"]))
    np.testing.assert_array_equal(samples.b - samples.a, [[1.0], [1.0], [1.0]])
    moments = sample_moments(samples)
    assert moments.var_difference == 0
    assert moments.standardizer == pytest.approx(10.0)


def test_covariates_keep_their_order_and_booleans_are_numbers():
    table = covariate_matrix(pd.DataFrame({"b": [1, 2], "a": [True, False]}), 2)
    np.testing.assert_array_equal(table, [[1.0, 1.0], [2.0, 0.0]])


def test_missing_values_of_a_nullable_column_are_named():
    column = pd.array([1.0, None, 3.0], dtype="Float64")
    with pytest.raises(InputError, match="'zipf' has no finite value in row 1"):
        covariate_matrix(pd.DataFrame({"zipf": column}), 3)
