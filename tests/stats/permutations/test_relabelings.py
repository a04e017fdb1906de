from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metastable.errors import InputError
from metastable.stats.permutations.relabelings import Sampling, exchange_labels, exchange_rows, flip_signs

MANY = Sampling(5_000, 1)


def collected(relabelings, size=7):
    return np.concatenate(list(relabelings.blocks(size)))


def as_set(rows):
    return {tuple(row) for row in np.asarray(rows).tolist()}


CONDITION = np.array([1, 0, 1, 0, 0, 1, 0], dtype=bool)


def test_all_labels_are_enumerated_once():
    exchanges = exchange_labels(CONDITION, MANY)
    rows = collected(exchanges)
    assert exchanges.exact
    assert len(rows) == exchanges.n == exchanges.n_distinct == 35
    assert as_set(rows) == as_set(set(permutations(CONDITION.tolist())))


def test_enumeration_respects_blocks():
    block = np.array([0, 0, 1, 1, 1, 1, 0])
    rows = collected(exchange_labels(CONDITION, MANY, block=block))
    expected = {
        row
        for row in set(permutations(CONDITION.tolist()))
        if all(sum(np.array(row)[block == b]) == sum(CONDITION[block == b]) for b in (0, 1))
    }
    assert len(rows) == len(expected) == 3 * 6
    assert as_set(rows) == expected


def test_whole_clusters_of_any_size_trade_labels():
    cluster = np.array([0, 0, 0, 1, 2, 2, 3])
    condition = np.array([1, 1, 1, 0, 1, 1, 0], dtype=bool)
    rows = collected(exchange_labels(condition, MANY, cluster=cluster))
    expected = {tuple(np.array(labels)[cluster].tolist()) for labels in permutations([True, False, True, False])}
    assert len(rows) == 6
    assert as_set(rows) == expected


def test_units_of_mixed_clusters_trade_among_themselves_beside_whole_ones():
    cluster = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    condition = np.array([1, 0, 0, 1, 1, 0, 1, 1], dtype=bool)
    rows = collected(exchange_labels(condition, MANY, cluster=cluster))
    mixed = [(True, False, False), (False, True, False), (False, False, True)]
    whole = [np.array(labels)[cluster[3:] - 1] for labels in set(permutations([True, False, True]))]
    assert len(rows) == 9
    assert as_set(rows) == {(*first, *second.tolist()) for first, second in product(mixed, whole)}


def test_rows_move_within_clusters_of_one_size_in_their_order():
    design = np.arange(9.0)[:, None]
    cluster = np.array([5, 5, 6, 6, 7, 7, 7, 8, 8])
    rows = collected(exchange_rows(design, MANY, cluster=cluster))
    pairs = np.array([[0, 1], [2, 3], [7, 8]])
    expected = set()
    for order in permutations(range(3)):
        row = np.arange(9)
        row[pairs.ravel()] = pairs[list(order)].ravel()
        expected.add(tuple(row.tolist()))
    assert len(rows) == 6
    assert as_set(rows) == expected


def test_equal_rows_make_no_new_relabeling():
    design = np.array([[0.0, 1], [0, 1], [2, 1], [3, 3]])
    rows = collected(exchange_rows(design, MANY))
    assert len(rows) == 12
    moved = design[rows]
    assert len(np.unique(moved.reshape(12, -1), axis=0)) == 12


def test_all_flips_of_whole_clusters_are_enumerated_once():
    flips = flip_signs(np.array([3, 1, 3, 2]), 4, MANY)
    rows = collected(flips, size=3)
    assert len(rows) == flips.n_distinct == 8
    assert as_set(rows) == {(c, a, c, b) for a, b, c in product((1.0, -1.0), repeat=3)}


def test_drawn_labels_are_uniform():
    few = exchange_labels(CONDITION[:6], Sampling(19, 4))
    assert not few.exact
    many = exchange_labels(np.array([1, 1, 0, 0, 0, 1], dtype=bool), Sampling(19, 4))
    counts = np.zeros(64)
    for seed in range(600):
        drawn = exchange_labels(many.labels, Sampling(19, seed))
        np.add.at(counts, collected(drawn) @ (1 << np.arange(6)), 1)
    reached = counts[counts > 0]
    assert len(reached) == 20
    assert stats.chisquare(reached).pvalue > 1e-3


def test_drawn_rows_are_uniform_within_strata():
    cluster = np.array([0, 0, 0, 1, 1, 1])
    everyone = np.zeros(6, dtype=bool)
    counts = np.zeros((6, 6))
    exchanges = exchange_rows(np.arange(6.0)[:, None], Sampling(35, 4), cluster=cluster, whole=everyone)
    assert exchanges.n_distinct == 36
    for seed in range(300):
        rows = collected(exchange_rows(np.arange(6.0)[:, None], Sampling(35, seed), cluster=cluster, whole=everyone))
        np.testing.assert_array_equal(np.sort(rows[:, :3], axis=1), np.tile([0, 1, 2], (35, 1)))
        for place in range(6):
            np.add.at(counts[place], rows[:, place], 1)
    for place in range(6):
        assert stats.chisquare(counts[place][counts[place] > 0]).pvalue > 1e-3


@settings(max_examples=60)
@given(
    seed=st.integers(0, 100),
    n=st.integers(12, 40),
    size=st.integers(1, 90),
    kind=st.sampled_from(["labels", "blocks", "clusters", "rows", "flips"]),
)
def test_the_block_size_changes_nothing(seed, n, size, kind):
    rng = np.random.default_rng(seed)
    condition = np.arange(n) % 2 == 0
    sampling = Sampling(61, seed)
    made = {
        "labels": lambda: exchange_labels(condition, sampling),
        "blocks": lambda: exchange_labels(condition, sampling, block=np.arange(n) // 6),
        "clusters": lambda: exchange_labels(condition, sampling, cluster=(np.arange(n) // 4) * 2 + condition),
        "rows": lambda: exchange_rows(rng.normal(size=(n, 2)), sampling),
        "flips": lambda: flip_signs(None, n, sampling),
    }[kind]()
    np.testing.assert_array_equal(collected(made, size), collected(made, 61))


def test_counts_beyond_printing_are_capped():
    many = np.arange(20_000)
    for made in (
        exchange_labels(many % 2 == 0, MANY),
        exchange_rows(many[:, None] / 7, MANY),
        exchange_labels(many % 2 == 0, MANY, block=many // 2),
        flip_signs(None, 20_000, MANY),
    ):
        assert made.n_distinct == 10**18
        assert not made.exact
        assert made.n == 5_000


def test_a_cluster_in_two_blocks_is_refused():
    with pytest.raises(InputError, match="cluster 4 lies in more than one block"):
        exchange_labels(CONDITION, MANY, cluster=np.array([1, 2, 3, 4, 5, 6, 4]), block=np.array([0] * 6 + [1]))


def test_no_relabeling_is_refused():
    with pytest.raises(InputError, match="no relabeling differs"):
        exchange_labels(CONDITION, MANY, block=CONDITION.astype(int))
