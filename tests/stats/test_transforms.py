"""Transformations of the count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from metastable.errors import InputError
from metastable.stats.transforms import transform_counts


def test_worked_values():
    np.testing.assert_array_equal(transform_counts([[1, 3]]), [[1.0, 3.0]])
    np.testing.assert_allclose(transform_counts([1, 10], transform="log"), [0.0, np.log(10)])
    np.testing.assert_allclose(transform_counts([5, 10], 10, transform="logit"), [0.0, np.log(10.5 / 0.5)])


@given(n=st.integers(1, 512), data=st.data())
def test_logit_is_finite_rises_and_is_odd_about_one_half(n, data):
    k = np.arange(1, n + 1)
    value = transform_counts(k, n, transform="logit")
    assert np.isfinite(value).all()
    assert (np.diff(value) > 0).all()
    np.testing.assert_allclose(value[:-1], -value[:-1][::-1], atol=1e-9)
    inside = data.draw(st.integers(1, n))
    if 20 < inside < n - 20:
        assert value[inside - 1] == pytest.approx(special.logit(inside / n), abs=0.03)


def test_n_keys_go_by_token():
    count = np.array([[1, 2], [3, 4]])
    value = transform_counts(count, np.array([4, 8])[:, None], transform="logit")
    np.testing.assert_allclose(value[1], transform_counts(count[1], 8, transform="logit"))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0, 1],), {}, "below 1"),
        (([1, np.nan],), {"transform": "log"}, "missing"),
        (([1, 2],), {"transform": "logit"}, "needs n_keys"),
        (([1, 3], 2), {"transform": "logit"}, "above n_keys"),
        (([1, 3],), {"transform": "sqrt"}, "transform is 'sqrt'"),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(InputError, match=message):
        transform_counts(*arguments, **options)
