"""Random halves, and the tokens and contexts of their units."""

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats.simulation.halves import ContextValues, TokenValues, divide, prepare

VALUES = np.random.default_rng(1).normal(size=(8, 4, 3))
UNIT = np.repeat(np.arange(8), 4)


def prepared(unit_of_feature, *, unit=UNIT, cluster=None):
    """Units that are the means of their tokens, and in contexts too."""
    table = VALUES * unit_of_feature
    rows = table.reshape(32, 3)
    return prepare(
        table.mean(axis=1), TokenValues(rows, unit), cluster, False, None, ContextValues(rows, unit, UNIT % 4)
    )


@pytest.mark.parametrize("unit_of_feature", [np.ones(3), np.array([1.0, 1e200, 1e-200])])
def test_tokens_and_contexts_stay_in_the_units_of_their_features(unit_of_feature):
    units = prepared(unit_of_feature)
    for rows in (units.tokens.table, units.contexts.table):
        np.testing.assert_allclose(rows.reshape(8, 4, 3).mean(axis=1), units.table)
    assert np.abs(units.table).max(axis=0).min() > 1e-38
    assert np.abs(units.table).max() < 1e38
    # a power of two, so that nothing is rounded
    ratio = VALUES.reshape(32, 3) * unit_of_feature / units.tokens.table
    assert (np.frexp(ratio)[0] == 0.5).all()


def test_tokens_and_contexts_of_a_cluster_move_with_it():
    values = np.repeat(VALUES, 2, axis=0)
    cluster = np.arange(16) // 2
    rows = values.reshape(64, 3)
    unit = np.repeat(np.arange(16), 4)
    units = prepare(
        values.mean(axis=1), TokenValues(rows, unit), cluster, False, None, ContextValues(rows, unit, np.arange(64) % 4)
    )
    np.testing.assert_allclose(units.table, VALUES.mean(axis=1))
    np.testing.assert_array_equal(units.tokens.unit, np.arange(64) // 8)
    np.testing.assert_array_equal(units.contexts.unit, np.arange(64) // 8)
    np.testing.assert_array_equal(units.tokens.group, unit)
    assert units.tokens.clustered
    assert not prepared(1.0).tokens.clustered


@pytest.mark.parametrize("kind", ["tokens", "contexts"])
@pytest.mark.parametrize("wrong", [UNIT - 1, UNIT + 1, UNIT / 1.0])
def test_a_row_of_no_unit_is_refused(kind, wrong):
    rows = VALUES.reshape(32, 3)
    tokens = TokenValues(rows, wrong if kind == "tokens" else UNIT)
    contexts = ContextValues(rows, wrong if kind == "contexts" else UNIT, UNIT % 4)
    with pytest.raises(InputError, match=f"{kind} has units outside 0 to 7"):
        prepare(VALUES.mean(axis=1), tokens, None, False, None, contexts)


def test_halves_differ_by_one_unit_at_most_and_pairs_leave_one_over():
    rng = np.random.default_rng(2)
    plain, paired = divide(9, False, rng), divide(9, True, rng)
    assert sorted(plain.rows) == list(range(9))
    assert plain.condition.sum() == 4
    assert plain.pair is None
    assert len(np.unique(paired.rows)) == 8
    for side in (paired.condition, ~paired.condition):
        assert sorted(paired.pair[side]) == [0, 1, 2, 3]
    # every unit comes to either half
    often = np.mean([divide(9, False, rng).rows[:4, None] == np.arange(9) for _ in range(400)], axis=0).sum(axis=0)
    np.testing.assert_allclose(often, 4 / 9, atol=4 * np.sqrt(4 / 9 * 5 / 9 / 400))
