"""The compiled count and softmax against exactly rounded sums, on rows made to break them."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.extraction import kernels
from metastable.extraction.kernels import (
    COUNTS,
    MASSES,
    NOT_FINITE,
    count_rows,
    softmax_and_measure_rows,
)
from metastable.extraction.mass import count_entries

SHARES = np.array([0.5, 0.75, 0.9, 0.95, 0.99]) - 1e-6
TINY = 2.0**-149


def reference(rows, shares):
    """The rule by sorting, all sums in float64."""
    ordered = -np.sort(-np.asarray(rows, dtype=np.float64), axis=1)
    mass = np.cumsum(ordered, axis=1)
    return np.stack([1 + (mass < share * mass[:, -1:]).sum(axis=1) for share in shares], axis=1)


def naive_count(row, share):
    """The rule word by word, sums exactly rounded."""
    entries = sorted((float(entry) for entry in row), reverse=True)
    goal = share * math.fsum(entries)
    return next(k for k in range(1, len(entries) + 1) if math.fsum(entries[:k]) >= goal)


def softmax(scores, **options):
    given_options = {"scale": 1.0, "bias": None, "visible": None, **options}
    given_options.setdefault("asked", np.ones((scores.shape[0], scores.shape[2]), dtype=bool))
    weights = scores.copy()
    return weights, softmax_and_measure_rows(weights, SHARES, (), **given_options)["count"]


def measure(scores, shares=SHARES, **options):
    """All measures of rows of scores, whatever the shape of their last axis; a batch of one, one head a row."""
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float32))
    given_options = {"words": np.ones((1, scores.shape[-1]), dtype=bool), **options}
    given_options.setdefault("lengths", np.ones((1, len(scores), scores.shape[-1]), dtype=np.float32))
    weights = scores[None, :, None].copy()
    values = softmax_and_measure_rows(
        weights, shares, COUNTS + MASSES, scale=1.0, asked=np.ones((1, 1), dtype=bool), **given_options
    )
    return weights[0, :, 0], {name: measured[0, :, 0] for name, measured in values.items()}


def soft_rows(n_rows, n_keys, spread, seed):
    scores = np.random.default_rng(seed).normal(scale=spread, size=(n_rows, n_keys))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("n_keys", [1, 2, 3, 7, 16, 20, 31, 64, 128, 512, 1000, 4097])
@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0, 30.0])
def test_counts_of_softmax_rows_equal_the_sorted_sums(n_keys, spread):
    rows = soft_rows(200, n_keys, spread, seed=n_keys)
    assert np.array_equal(count_rows(rows, SHARES), reference(rows, SHARES))


@settings(max_examples=400, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 70),
        elements=st.floats(0, 1, width=32) | st.sampled_from([0.0, TINY, 3 * TINY, 1e-38, 1e-6, 0.25, 0.5, 1.0]),
    ).filter(lambda row: row.sum() > 0),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
def test_counts_of_any_row_equal_the_naive_reference(row, shares):
    shares = np.array(shares) - 1e-6
    expected = [naive_count(row, share) for share in shares]
    assert count_rows(row[None], shares)[0].tolist() == expected


@pytest.mark.parametrize("value", [1.0, 1 / 3, 0.1, 1e-30, 1e-40, TINY])
def test_equal_entries_need_their_share_at_every_length(value):
    shares = np.array([0.1, 0.5, 0.9, 1.0]) - 1e-6
    for n in range(1, 513):
        counts = count_rows(np.full((1, n), value, dtype=np.float32), shares)[0]
        assert counts.tolist() == [-(-n // 10), -(-n // 2), -(-9 * n // 10), n]


@pytest.mark.parametrize("denominator", [2, 4, 64, 512])
def test_ties_at_the_threshold_are_reached(denominator):
    """Sums of these entries equal the shares exactly."""
    rows = np.full((1, denominator), 1 / denominator, dtype=np.float32)
    shares = np.arange(1, denominator + 1) / denominator
    assert count_rows(rows, shares)[0].tolist() == list(range(1, denominator + 1))


def test_many_ties_within_a_row():
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 4, size=(2000, 97)).astype(np.float32)
    rows[:, 0] = 1
    assert np.array_equal(count_rows(rows, SHARES), reference(rows, SHARES))


def test_neighbouring_floats_are_told_apart():
    """Entries one unit in the last place apart, between which no pivot fits."""
    bits = np.float32(1 / 512).view(np.int32) + np.arange(512, dtype=np.int32)
    rows = np.random.default_rng(0).permutation(bits).view(np.float32)[None]
    shares = np.linspace(0.001, 0.999, 333)
    assert np.array_equal(count_rows(rows, shares), reference(rows, shares))


def test_geometric_rows_and_denormals():
    rows = np.stack([2.0 ** -np.arange(140), 1.5 ** -np.arange(140), 1.01 ** -np.arange(140)]).astype(np.float32)
    tiny = (np.arange(1, 141) * TINY).astype(np.float32)[None]
    rows = np.concatenate([rows, tiny, tiny[:, ::-1] * np.float32(1000)])
    assert np.array_equal(count_rows(rows, SHARES), reference(rows, SHARES))


def test_one_large_entry_among_512():
    rows = np.full((6, 512), 1e-6, dtype=np.float32)
    rows[np.arange(6), [0, 1, 100, 255, 256, 511]] = [1.0, 0.01, 0.001, 1e-4, 1e-5, 2e-6]
    assert np.array_equal(count_rows(rows, SHARES), reference(rows, SHARES))


def test_sums_that_float32_cannot_decide():
    """The goal lies one part in 10^9 above or below the mass of the first k entries."""
    rows = soft_rows(300, 300, 1.0, seed=5)
    ordered = -np.sort(-rows.astype(np.float64), axis=1)
    mass = np.cumsum(ordered, axis=1) / ordered.sum(axis=1, keepdims=True)
    for row, sums in zip(rows, mass, strict=True):
        shares = np.sort(np.concatenate([sums[[10, 60, 150]] - 1e-9, sums[[10, 60, 150]] + 1e-9]))
        assert count_rows(row[None], shares)[0].tolist() == [11, 12, 61, 62, 151, 152]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_as_its_values(dtype):
    rows = torch.from_numpy(soft_rows(500, 300, 2.0, seed=1)).to(dtype)
    counts = count_entries(rows, [0.5, 0.9, 0.99])
    assert np.array_equal(counts.numpy(), reference(rows.double().numpy(), np.array([0.5, 0.9, 0.99]) - 1e-6))


def test_float32_and_float64_go_different_ways_to_the_same_counts():
    rows = soft_rows(500, 100, 2.0, seed=2)
    assert np.array_equal(count_entries(rows, [0.5, 0.9]), count_entries(rows.astype(np.float64), [0.5, 0.9]))


def test_shares_keep_their_order_and_may_repeat():
    rows = soft_rows(50, 40, 1.0, seed=0)
    shares = np.array([0.9, 0.5, 0.99, 0.5])
    assert np.array_equal(count_rows(rows, shares), reference(rows, shares))


def test_shares_of_nothing_need_one_and_empty_rows_none():
    rows = np.array([[0.2, 0.8], [0.0, 0.0]], dtype=np.float32)
    assert count_rows(rows, np.array([-1e-6, 0.0, 0.9])).tolist() == [[1, 1, 2], [0, 0, 0]]


def test_counts_do_not_depend_on_the_number_of_threads():
    rows = soft_rows(3000, 100, 2.0, seed=4)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = count_rows(rows, SHARES)
        torch.set_num_threads(2)
        two = count_rows(rows, SHARES)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("n_keys", [1, 5, 20, 128, 512])
def test_softmax_equals_float64(n_keys):
    scores = np.random.default_rng(n_keys).normal(scale=4, size=(2, 3, 8, n_keys)).astype(np.float32)
    weights, counts = softmax(scores, scale=0.5)
    exact = torch.softmax(torch.from_numpy(scores).double() * 0.5, dim=-1).numpy()
    np.testing.assert_allclose(weights, exact, rtol=3e-6)
    assert np.array_equal(counts.reshape(-1, 5), reference(weights.reshape(-1, n_keys), SHARES))


def test_exponentials_are_right_over_the_whole_range():
    scores = np.linspace(-87, 0, 20_001, dtype=np.float32)[None, None, None]
    weights, _ = softmax(scores)
    exact = np.exp(scores.astype(np.float64))
    np.testing.assert_allclose(weights, exact / exact.sum(), rtol=2.5e-7, atol=2 * TINY)


def test_weights_too_small_for_float32_are_zero():
    weights, counts = softmax(np.array([0.0, -88.0, -1e30, -np.inf], dtype=np.float32)[None, None, None])
    assert weights.tolist() == [[[[1.0, 0.0, 0.0, 0.0]]]]
    assert counts.tolist() == [[[[1] * 5]]]


def test_bias_and_hidden_keys():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 3, 4, 9)).astype(np.float32)
    bias = rng.normal(size=(1, 3, 4, 9)).astype(np.float32)
    visible = np.ones((2, 1, 1, 9), dtype=bool)
    visible[1, ..., 6:] = False
    weights, counts = softmax(scores, bias=bias, visible=visible, scale=2.0)
    exact = torch.from_numpy(scores * 2.0 + bias).double().masked_fill(torch.from_numpy(~visible), -torch.inf)
    np.testing.assert_allclose(weights, exact.softmax(-1).numpy(), rtol=2e-6)
    assert not weights[1, ..., 6:].any()
    assert counts[1].max() <= 6


def test_rows_without_keys_or_questions_count_zero():
    scores = np.zeros((1, 2, 3, 4), dtype=np.float32)
    visible = np.ones((1, 1, 3, 4), dtype=bool)
    visible[0, 0, 1] = False
    weights, counts = softmax(scores, visible=visible, asked=np.array([[True, True, False]]))
    assert counts[0, 0, :, 1].tolist() == [3, 0, 0]
    assert weights[0, 0].sum(axis=-1).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
def test_broken_scores_are_told(bad):
    scores = np.zeros((1, 1, 2, 40), dtype=np.float32)
    scores[0, 0, 1, 7] = bad
    weights, counts = softmax(scores)
    assert (counts[0, 0, 0] > 0).all()
    assert (counts[0, 0, 1] == NOT_FINITE).all()
    assert np.isnan(weights[0, 0, 1]).all()


def near_goal(rows, shares, within=3e-7):
    """Rows whose mass comes within rounding of a goal, which may count one more or less."""
    ordered = -np.sort(-rows, axis=1)
    mass = np.cumsum(ordered, axis=1) / np.maximum(ordered.sum(axis=1, keepdims=True), TINY)
    return np.stack([(np.abs(mass - share) < within).any(axis=1) for share in shares], axis=1)


LENGTHS_OF_ROWS = [1, 2, 3, 15, 16, 17, 20, 31, 64, 128, 255, 256, 257, 512, 1000, 4096]
"""Both sides of the longest row that is sorted, and of the width of a vector."""


@pytest.mark.parametrize("n_keys", LENGTHS_OF_ROWS)
@pytest.mark.parametrize("spread", [0.1, 2.0, 10.0])
def test_all_measures_equal_float64(n_keys, spread):
    rng = np.random.default_rng(n_keys)
    scores = rng.normal(scale=spread, size=(37, n_keys)).astype(np.float32)
    words = rng.random(n_keys) < 0.8
    lengths = rng.gamma(2, size=(37, n_keys)).astype(np.float32)
    sinks = rng.normal(scale=spread, size=37)
    weights, values = measure(scores, words=words[None], lengths=lengths[None], sinks=sinks)
    # The difference of two scores is rounded to float32, as in every softmax of that type.
    exact = np.exp((scores - scores.max(axis=1, keepdims=True)).astype(np.float64))
    whole = exact.sum(axis=1) + np.exp(sinks - scores.max(axis=1))
    np.testing.assert_allclose(weights, exact / whole[:, None], rtol=3e-6, atol=2 * TINY)
    rows = {"count": exact, "count_words": exact * words, "count_contributions": exact * lengths}
    for name, row in rows.items():
        near = near_goal(row, SHARES)
        assert near.mean() < 0.05
        expected = np.where(row.sum(axis=1, keepdims=True) > 0, reference(row, SHARES), 0)
        assert np.array_equal(values[name][~near], expected[~near])
    masses = {
        "special_mass": exact[:, ~words].sum(axis=1) / whole,
        "first_mass": exact[:, 0] / whole,
        "sink_mass": 1 - exact.sum(axis=1) / whole,
    }
    for name, mass in masses.items():
        np.testing.assert_allclose(values[name], mass, rtol=2e-6, atol=1e-12)


lengths_of_values = hnp.arrays(
    np.float32,
    st.integers(1, 70) | st.sampled_from([256, 257, 300]),
    elements=st.floats(0, 1, width=32) | st.sampled_from([0.0, TINY, 1e-38, 1e-6, 0.25, 0.5, 1.0]),
)


@settings(max_examples=200, deadline=None)
@given(lengths_of_values)
def test_contributions_of_equal_weights_are_counted_as_the_lengths(lengths):
    """The row is then exactly the lengths, with their ties and zeros."""
    _, values = measure(np.zeros((1, len(lengths))), lengths=lengths[None, None])
    expected = reference(lengths[None], SHARES)[0] if lengths.any() else np.zeros(5)
    assert values["count_contributions"][0].tolist() == expected.tolist()


rows_of_scores = hnp.arrays(
    np.float32,
    st.integers(1, 60) | st.sampled_from([256, 257, 300]),
    elements=st.floats(-20, 20, width=32) | st.sampled_from([0.0, 1.0, -200.0, 5.0]),
)


@settings(max_examples=200, deadline=None)
@given(rows_of_scores, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(scores, random):
    order = list(range(len(scores)))
    random.shuffle(order)
    rng = np.random.default_rng(len(scores))
    words, lengths = rng.random(len(scores)) < 0.7, rng.random(len(scores)).astype(np.float32)
    _, values = measure(scores, words=words[None], lengths=lengths[None, None])
    _, moved = measure(scores[order], words=words[order][None], lengths=lengths[order][None, None])
    for name in COUNTS:
        assert np.array_equal(moved[name], values[name])
    np.testing.assert_allclose(moved["special_mass"], values["special_mass"], rtol=1e-6)


@settings(max_examples=200, deadline=None)
@given(rows_of_scores, st.integers(0, 2**32 - 1), st.floats(-30, 30))
def test_measures_keep_within_their_bounds(scores, seed, sink):
    words = np.random.default_rng(seed).random(len(scores)) < 0.6
    _, values = measure(scores, words=words[None], sinks=np.array([sink]))
    assert (values["count_words"] <= words.sum()).all()
    assert (values["count_words"] >= min(words.sum(), 1) * (scores[words].max(initial=-np.inf) > -80)).all()
    assert (values["count_contributions"] == values["count"]).all()
    for name in COUNTS:
        assert (np.diff(values[name][0]) >= 0).all()
    assert 0 <= values["special_mass"] + values["sink_mass"] <= 1 + 1e-6
    assert 0 <= values["first_mass"] + values["sink_mass"] <= 1 + 1e-6


@settings(max_examples=100, deadline=None)
@given(rows_of_scores, st.floats(-20, 20))
def test_a_sink_takes_mass_and_leaves_the_counts(scores, sink):
    weights, values = measure(scores)
    sunk, with_sink = measure(scores, sinks=np.array([sink]))
    for name in COUNTS:
        assert np.array_equal(with_sink[name], values[name])
    assert not values["sink_mass"].any()
    np.testing.assert_allclose(sunk.sum() + with_sink["sink_mass"][0], 1, rtol=1e-5)
    np.testing.assert_allclose(sunk, weights * (1 - with_sink["sink_mass"][0].astype(float)), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("n_keys", LENGTHS_OF_ROWS)
def test_words_alone_or_none_at_all(n_keys):
    scores = np.random.default_rng(0).normal(size=(20, n_keys))
    _, everything = measure(scores)
    assert np.array_equal(everything["count_words"], everything["count"])
    assert not everything["special_mass"].any()
    _, nothing = measure(scores, words=np.zeros((1, n_keys), dtype=bool))
    assert not nothing["count_words"].any()
    np.testing.assert_allclose(nothing["special_mass"], 1, rtol=1e-6)


def test_an_overwhelming_sink_leaves_nothing():
    weights, values = measure(np.zeros((1, 4)), sinks=np.array([1e4]))
    assert not weights.any()
    assert values["sink_mass"].tolist() == [1.0]
    assert values["first_mass"].tolist() == [0.0]
    assert values["count"].tolist() == [[2, 3, 4, 4, 4]]


def test_unasked_unseeing_and_broken_rows_have_no_measures():
    scores = np.zeros((1, 2, 4, 5), dtype=np.float32)
    scores[0, 0, 3, 2] = np.nan
    visible = np.ones((1, 1, 4, 5), dtype=bool)
    visible[0, 0, 1] = False
    values = softmax_and_measure_rows(
        scores,
        SHARES,
        COUNTS + MASSES,
        scale=1.0,
        visible=visible,
        asked=np.array([[True, True, False, True]]),
        words=np.array([[False, True, True, True, False]]),
        lengths=np.ones((1, 2, 5), dtype=np.float32),
    )
    for name in COUNTS:
        assert values[name][0, 1, :, 2].tolist() == [5 if name != "count_words" else 3, 0, 0, values[name][0, 1, 3, 2]]
        assert (values[name][0, 0, 3] == NOT_FINITE).all()
    for name in MASSES:
        assert np.isnan(values[name][0, 0]).tolist() == [False, True, True, True]
        assert np.isnan(values[name][0, 1]).tolist() == [False, True, True, False]


def test_only_what_is_wanted_is_measured():
    values = softmax_and_measure_rows(
        np.zeros((1, 1, 1, 4), dtype=np.float32), SHARES, ["first_mass"], scale=1.0, asked=np.ones((1, 1), dtype=bool)
    )
    assert list(values) == ["count", "first_mass"]


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    monkeypatch.setattr(numba.core.caching.CompileResultCacheImpl, "_locator_classes", [])
    doubled = kernels._compiled()(lambda x: 2 * x)
    assert doubled(3) == 6


@pytest.mark.parametrize(
    ("function", "pivots", "options"),
    [(kernels._above, 2, {"fastmath": kernels._SUMS}), (kernels._largest_bits, 0, {})],
)
def test_loops_are_compiled_to_vectors(function, pivots, options):
    """The speed rests on it: a scalar loop over a row would be ten times slower."""
    compiled = numba.njit(**options)(function.py_func)
    compiled(np.ones(64, dtype=np.float32), *[np.float32(0.5)] * pivots)
    code = "".join(compiled.inspect_llvm().values())
    assert "x float>" in code or "x i32>" in code
