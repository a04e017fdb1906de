from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

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


@pytest.mark.parametrize("names", [[0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0]])
def test_units_of_mixed_clusters_trade_among_themselves_beside_whole_ones(names):
    cluster = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    condition = np.array([1, 0, 0, 1, 1, 0, 1, 1], dtype=bool)
    rows = collected(exchange_labels(condition, MANY, cluster=np.array(names)[cluster]))
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


# --- chunks of a stream each -------------------------------------------------------------------------


def _large(kind, n, seed=5):
    """Designs of so many units that chunks hold 64 relabelings."""
    units = np.arange(300)
    sampling = Sampling(n, seed)
    return {
        "labels": lambda: exchange_labels(units % 3 == 0, sampling),
        "blocks": lambda: exchange_labels(units % 3 == 0, sampling, block=units // 50),
        "clusters": lambda: exchange_labels(units // 4 % 2 == 0, sampling, cluster=units // 4),
        "rows": lambda: exchange_rows(np.sin(units)[:, None], sampling),
        "rows of clusters": lambda: exchange_rows(np.sin(units)[:, None], sampling, cluster=units // 3),
        "rows of blocks": lambda: exchange_rows(np.sin(units)[:, None], sampling, block=units // 100),
        "flips": lambda: flip_signs(None, 300, sampling),
        "flips of clusters": lambda: flip_signs(units // 3, 300, sampling),
    }[kind]()


KINDS = ["labels", "blocks", "clusters", "rows", "rows of clusters", "rows of blocks", "flips", "flips of clusters"]


@pytest.mark.parametrize("kind", KINDS)
def test_relabelings_are_the_same_in_whatever_parts_and_on_however_many_threads(kind):
    whole = _large(kind, 1000)
    grain = whole.grain
    expected = whole.part(0, 1000)
    for n in (1, grain - 1, grain, grain + 1, 2 * grain + 1):
        fewer = _large(kind, n)
        np.testing.assert_array_equal(fewer.part(0, n), expected[:n])
        for size in (1, grain - 1, grain, grain + 1, 3 * grain):
            for n_threads in (1, 2, 3):
                with threadpool_limits(n_threads, user_api="blas"):
                    blocks = list(fewer.blocks(size))
                assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
                np.testing.assert_array_equal(np.concatenate(blocks), expected[:n])
    for start, stop in ((0, 1), (grain - 1, grain + 1), (grain, 2 * grain), (grain + 3, 3 * grain + 2), (999, 1000)):
        np.testing.assert_array_equal(whole.part(start, stop), expected[start:stop])


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_relabelings_of_any_chunks_are_alike(kind):
    rows = _large(kind, 1000).part(0, 1000)
    assert len(np.unique(rows, axis=0)) == 1000
    assert len(np.unique(np.concatenate([rows, _large(kind, 1000, seed=6).part(0, 1000)]), axis=0)) == 2000


def test_chunks_hold_64_relabelings_or_more_of_few_units():
    assert _large("labels", 1000).grain == _large("flips", 1000).grain == 64
    assert exchange_labels(np.arange(20_000) % 2 == 0, MANY).grain == 64
    assert exchange_labels(np.arange(64) % 2 == 0, MANY).grain == 256


def test_chunks_hold_what_they_are_said_to_and_keep_each_units_share():
    """Every stratum keeps its labels, every row moves once and within its stratum, every cluster is of one label."""
    units = np.arange(300)
    labels = _large("blocks", 1000).part(0, 1000).reshape(1000, 6, 50)
    given = (units % 3 == 0).reshape(6, 50).sum(axis=1)
    np.testing.assert_array_equal(labels.sum(axis=2), np.tile(given, (1000, 1)))
    rows = _large("rows of blocks", 1000).part(0, 1000)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(units, (1000, 1)))
    np.testing.assert_array_equal(rows // 100, np.tile(units // 100, (1000, 1)))
    for kind, size in (("clusters", 4), ("flips of clusters", 3)):
        moved = _large(kind, 1000).part(0, 1000).reshape(1000, -1, size)
        assert (moved == moved[:, :, :1]).all()


def _exchanges_of_six(seed):
    return exchange_labels(np.arange(6) < 3, Sampling(19, seed))


# Designs of few relabelings, so that each is drawn often: (made, number of distinct ones).
FEW = {
    "labels": (_exchanges_of_six, 20),
    "labels of unequal groups": (lambda seed: exchange_labels(np.arange(6) < 2, Sampling(14, seed)), 15),
    "blocks": (lambda seed: exchange_labels(np.arange(7) % 2 == 0, Sampling(17, seed), block=np.arange(7) // 4), 18),
    "rows": (lambda seed: exchange_rows(np.arange(4.0)[:, None], Sampling(23, seed)), 24),
    "rows of blocks": (
        lambda seed: exchange_rows(np.arange(6.0)[:, None], Sampling(35, seed), block=np.arange(6) % 2),
        36,
    ),
    "flips": (lambda seed: flip_signs(None, 5, Sampling(31, seed)), 32),
}


@pytest.mark.parametrize("kind", FEW)
def test_every_relabeling_is_drawn_as_often_as_every_other_in_chunks_early_and_late(kind):
    made, n_distinct = FEW[kind]
    relabelings = made(11)
    assert not relabelings.exact
    assert relabelings.n_distinct == n_distinct
    for chunks in (range(8), (100, 10_000, 1_000_000, 2**31)):
        rows = np.concatenate([relabelings._draw(chunk, 4000 // len(chunks)) for chunk in chunks])
        distinct, counts = np.unique(rows, axis=0, return_counts=True)
        assert len(distinct) == n_distinct
        assert stats.chisquare(counts).pvalue > 1e-3


def test_neighbouring_relabelings_and_chunks_do_not_depend_on_one_another():
    """The overlap of two relabelings of 300 units, 100 of them in a, is hypergeometric, whichever two they are."""
    rows = _large("labels", 1000).part(0, 1000).astype(int)
    expected = stats.hypergeom(300, 100, 100)
    for step in (1, 64):
        overlap = (rows[:-step] * rows[step:]).sum(axis=1)
        z = (overlap.mean() - expected.mean()) / (expected.std() / np.sqrt(len(overlap)))
        assert abs(z) < 3.5
        assert overlap.std() == pytest.approx(expected.std(), rel=0.1)
    flips = _large("flips", 1000).part(0, 1000).astype(int)
    for step in (1, 64):
        product_of = (flips[:-step] * flips[step:]).sum(axis=1)
        assert abs(product_of.mean()) < 3.5 * np.sqrt(300 / len(product_of))


def test_keys_of_many_strata_and_of_one_hold_enough_random_bits():
    pairs = exchange_labels(np.arange(20_000) % 2 == 0, MANY, block=np.arange(20_000) // 2)
    rows = pairs.part(0, 200).reshape(200, 10_000, 2)
    assert (rows.sum(axis=2) == 1).all()
    share = rows[:, :, 0].mean()
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(rows.shape[0] * rows.shape[1])


def test_labels_may_trade_places_where_each_block_has_as_many_of_either():
    half, block = np.arange(8) % 2 == 0, np.arange(8) // 4
    assert exchange_labels(half, MANY).mirrored
    assert exchange_labels(half, MANY, block=block).mirrored
    assert not exchange_labels(half, MANY, block=np.array([0, 0, 0, 1, 1, 1, 1, 1])).mirrored
    assert not exchange_labels(CONDITION, MANY).mirrored
    assert not exchange_rows(half[:, None] * 1.0, MANY).mirrored
    assert flip_signs(None, 7, MANY).mirrored
