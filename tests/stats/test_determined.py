"""Which columns others determine, against the rank of matrices."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.stats.determined import independent_columns


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 3), st.booleans())
def test_a_column_is_kept_where_it_raises_the_rank(seed, n_columns, n_made, with_base):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(15, n_columns)) * 10.0 ** rng.integers(-3, 4, n_columns) + 5
    made = table @ rng.integers(-2, 3, size=(n_columns, n_made)) + (3.0 if with_base else 0.0)
    table = np.column_stack([table, made])[:, rng.permutation(n_columns + n_made)]
    base = np.ones((15, 1)) if with_base else np.empty((15, 0))
    kept = independent_columns(table, base if with_base else None)
    unit = np.linalg.norm(table, axis=0)
    scaled = table / np.where(unit > 0, unit, 1)
    ranks = [np.linalg.matrix_rank(np.column_stack([base, scaled[:, :j]]), tol=1e-7) for j in range(len(kept) + 1)]
    np.testing.assert_array_equal(kept, np.diff(ranks) > 0)


def test_a_column_of_one_value_is_determined_by_the_constant():
    assert independent_columns(np.full((7, 1), 1 / 3), np.ones((7, 1))).tolist() == [False]
    assert independent_columns(np.zeros((7, 1))).tolist() == [False]
