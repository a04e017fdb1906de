"""The count against a naive float64 reference that shares no code with it."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.extraction.mass import count_entries

THRESHOLDS = (0.25, 0.5, 0.75, 0.9, 0.99)


def naive_count(row, threshold):
    """The rule of the design, one row at a time, sums exactly rounded."""
    entries = sorted((float(x) for x in row), reverse=True)
    goal = (threshold - 1e-6) * math.fsum(entries)
    if math.fsum(entries) == 0:
        return 0
    for k in range(1, len(entries) + 1):
        if math.fsum(entries[:k]) >= goal:
            return k
    return len(entries)


def reference(rows, thresholds):
    return np.array([[naive_count(row, t) for t in thresholds] for row in np.asarray(rows)])


rows = hnp.arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.25, 0.5, 1.0, 1e-45, 1e-38]),
).filter(lambda row: row.sum() > 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("row", "count"),
    [([0.95, 0.03, 0.02], 1), ([0.25, 0.25, 0.25, 0.25], 4), ([0.5, 0.4, 0.1], 2), ([0.6, 0.2, 0.2], 3)],
)
def test_worked_rows_hold_exactly(row, count, dtype):
    assert count_entries(np.array(row, dtype=dtype), [0.9]).tolist() == [count]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_uniform_rows_give_the_ceiling_at_every_length(dtype):
    for n in range(1, 513):
        counts = count_entries(torch.full((1, n), 1.0 / n, dtype=dtype), [0.5, 0.9, 1.0])
        assert counts.tolist() == [[-(-n // 2), -(-9 * n // 10), n]]


@settings(max_examples=200, deadline=None)
@given(rows)
def test_counts_equal_the_naive_reference(row):
    assert count_entries(row[None], THRESHOLDS).tolist() == reference(row[None], THRESHOLDS).tolist()


@settings(max_examples=100, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_matter(row, random):
    order = list(range(len(row)))
    random.shuffle(order)
    assert np.array_equal(count_entries(row, THRESHOLDS), count_entries(row[order], THRESHOLDS))


@settings(max_examples=100, deadline=None)
@given(rows, st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(sorted))
def test_counts_grow_with_the_threshold_within_one_and_n(row, thresholds):
    counts = count_entries(row, thresholds)
    assert (np.diff(counts) >= 0).all()
    assert counts.min() >= 1
    assert counts.max() <= len(row)


@settings(max_examples=50, deadline=None)
@given(rows, st.integers(-20, 20))
def test_scaling_a_row_changes_nothing(row, exponent):
    row = row.astype(np.float64)
    assert np.array_equal(count_entries(row, THRESHOLDS), count_entries(row * 2.0**exponent, THRESHOLDS))


def test_thresholds_keep_their_order():
    row = np.array([0.5, 0.25, 0.125, 0.125])
    assert count_entries(row, [0.9, 0.5, 0.75]).tolist() == [4, 1, 2]


def test_one_key_counts_one():
    assert count_entries(torch.tensor([[0.3], [1.0]]), [0.1, 1.0]).tolist() == [[1, 1], [1, 1]]


def test_all_mass_on_one_key_counts_one():
    assert count_entries(torch.eye(7), [0.5, 1.0]).tolist() == [[1, 1]] * 7


def test_masked_entries_are_not_keys():
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    mask = torch.tensor([[True, True, True], [False, True, True]])
    assert count_entries(weights, [0.5, 0.9], key_mask=mask).tolist() == [[1, 3], [1, 2]]
    assert count_entries(weights.numpy(), [0.5, 0.9], key_mask=mask.numpy()).tolist() == [[1, 3], [1, 2]]


def test_key_mask_broadcasts_and_equals_dropping_the_keys():
    weights = torch.rand(2, 3, 5, 9, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    mask[1, ..., 6:] = False
    counts = count_entries(weights, THRESHOLDS, key_mask=mask)
    assert counts.shape == (2, 3, 5, 5)
    assert counts.dtype == torch.int32
    assert torch.equal(counts[0], count_entries(weights[0], THRESHOLDS))
    assert torch.equal(counts[1], count_entries(weights[1, ..., :6].clone(), THRESHOLDS))


def test_rows_without_mass_count_zero():
    assert count_entries(np.array([[0.0, 0.0], [0.5, 0.5]]), [0.9]).tolist() == [[0], [2]]


def test_numpy_gives_numpy_and_torch_gives_torch():
    assert isinstance(count_entries(np.ones((2, 3)), [0.9]), np.ndarray)
    assert isinstance(count_entries(torch.ones(2, 3), [0.9]), torch.Tensor)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.5, float("nan")])
def test_thresholds_outside_the_unit_interval_are_refused(threshold):
    with pytest.raises(InputError, match="threshold"):
        count_entries(np.ones(3), [threshold])


def test_no_threshold_is_refused():
    with pytest.raises(InputError, match="no threshold"):
        count_entries(np.ones(3), [])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.5])
def test_bad_weights_are_refused(bad):
    with pytest.raises(InputError, match="finite and not negative"):
        count_entries(np.array([[0.5, 0.5], [0.5, bad]]), [0.9])


def test_weights_without_keys_are_refused():
    with pytest.raises(InputError, match="at least one key"):
        count_entries(np.ones((3, 0)), [0.9])


def test_float64_is_counted_in_float64():
    # short of the threshold, or beyond it, by less than float32 can tell
    distances = np.geomspace(1e-12, 2e-8, 60)
    for sign, count in ((-1, 2), (1, 1)):
        first = 0.9 - 1e-6 + sign * distances
        counted = count_entries(np.column_stack([first, 1 - first]), [0.9])
        np.testing.assert_array_equal(counted, np.full((60, 1), count))


@pytest.mark.parametrize("exponent", [-100, 63, 64, 100, 127])
def test_weights_whose_sum_float32_cannot_hold_are_counted_as_well(exponent):
    row = np.array([0.5, 0.25, 0.125, 0.0625, 0.0625] * 4, dtype=np.float32)
    expected = reference(row[None], THRESHOLDS)
    scaled = row * np.float32(2.0**exponent)
    np.testing.assert_array_equal(count_entries(scaled[None], THRESHOLDS), expected)


def test_no_rows_give_no_counts():
    assert count_entries(np.ones((0, 3)), [0.5, 0.9]).shape == (0, 2)
    assert count_entries(torch.ones(2, 0, 3), [0.9]).shape == (2, 0, 1)
