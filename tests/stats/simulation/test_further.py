"""What a report says beside the difference, tried where it is false."""

from dataclasses import replace

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats.effects import welch_p
from metastable.stats.simulation.calibrating import calibrate
from metastable.stats.simulation.context_splits import VARIES, context_tests
from metastable.stats.simulation.further import FURTHER, Further, further_tests
from metastable.stats.simulation.halves import ContextValues, UnitContexts, divide

VALUES = np.random.default_rng(1).normal(size=(60, 30))
TESTS = ("equivalence", "covariate", "slope", "slope with covariate")


def rates(further, values=VALUES, **options):
    table = calibrate(
        values, tests=("welch",), corrections=("none",), n_splits=40, n_permutations=200, rng=2, further=further,
        **options,
    )  # fmt: skip
    return table[table["measure"] == "false_positive_rate"].set_index(["test", "scenario"])


def test_equivalence_covariates_and_slopes_keep_their_level():
    table = rates(Further(TESTS, n_permutations=200))
    for name in TESTS:
        row = table.loc[(name, "null")]
        assert row["nominal"] == 0.05
        assert row["low"] <= 0.05, name
        assert row["n_splits"] == 40
    # a margin that the sample can resolve is reached in about one of twenty, one that it cannot never
    assert rates(Further(("equivalence",), margin=1.5)).loc[("equivalence", "null"), "estimate"] > 0.01
    assert rates(Further(("equivalence",), margin=0.05)).loc[("equivalence", "null"), "estimate"] == 0


def test_the_covariate_would_be_taken_for_a_difference_if_it_were_not_held():
    rng = np.random.default_rng(0)
    split = divide(60, False, rng)
    deviation = VALUES.std(axis=0)
    held = further_tests(VALUES, split, deviation, np.zeros(30, int), Further(("covariate",), 0.2, 200), 5)
    assert (held["covariate"] < 0.05).mean() < 0.2
    assert list(held) == ["covariate"]


def test_pairs_have_equivalence_and_covariates():
    table = rates(Further(("equivalence", "covariate"), n_permutations=200), paired=True)
    assert (table.loc[[("equivalence", "null"), ("covariate", "null")], "low"] <= 0.05).all()


def test_the_joint_model_is_tried_on_its_units():
    values = np.exp(0.2 * np.random.default_rng(3).normal(size=(24, 8)))
    table = calibrate(
        values, tests=("welch",), corrections=("none",), n_splits=3, rng=2, further=Further(("joint",)),
        layer=np.repeat([0, 1], 4),
    ).set_index("test")  # fmt: skip
    assert {"joint: condition by layer", "joint: heads of a layer"} <= set(table.index)
    with pytest.raises(InputError, match="further has 'joint', which needs unpaired units"):
        calibrate(VALUES, further=Further(("joint",)), layer=np.zeros(30, int))


def test_what_is_not_known_is_refused():
    with pytest.raises(InputError, match=f"choose from {FURTHER[0]}"):
        Further(("sentences",))


def _in_contexts(n_units=40, n_contexts=10, n_features=15, seed=0):
    rng = np.random.default_rng(seed)
    unit, context = np.repeat(np.arange(n_units), n_contexts), np.tile(np.arange(n_contexts), n_units)
    rows = rng.normal(size=(n_units, n_features))[unit] + rng.normal(size=(n_contexts, n_features))[context]
    rows += rng.normal(size=rows.shape)
    means = rows.reshape(n_units, n_contexts, n_features).mean(axis=1)
    return means, ContextValues(rows, unit, context)


def test_an_effect_that_differs_between_contexts_is_none_over_them():
    means, contexts = _in_contexts()
    table = rates(Further(("contexts",), n_permutations=200), means, contexts=contexts, paired=True)
    for name in ("contexts", "contexts: mixed model"):
        assert table.loc[(name, "null"), "nominal"] == 0.05
        assert table.loc[(name, "null"), "estimate"] > 0
        assert table.loc[(name, "null"), "low"] <= 0.05, name
    # over units alone the same halves are called different far too often
    observed = UnitContexts(contexts.values, contexts.unit, contexts.context)
    called = []
    for seed in range(20):
        split = divide(len(means), True, np.random.default_rng(seed))
        deviation = 6 * means.std(axis=0)  # so that contexts vary by 1.8 standard deviations
        found = context_tests(
            observed, split, deviation, np.zeros(15, int), n_permutations=199, alpha=0.05, seed=seed
        )  # fmt: skip
        effect = np.random.default_rng([seed, 2]).normal(size=(10, 15)).mean(axis=0) * VARIES * deviation
        over_units = welch_p(means[split.rows] + split.condition[:, None] * effect, split.condition, pair=split.pair)
        called.append([(over_units < 0.05).mean(), (found["contexts", "none"] < 0.05).mean()])
    over_units, over_both = np.mean(called, axis=0)
    assert over_units > 0.2
    assert over_both < 0.08


def test_beside_a_covariate_that_goes_along_the_tests_over_both_keep_their_level():
    means, contexts = _in_contexts()
    tests = Further(("contexts with covariate",), n_permutations=200)
    table = rates(tests, means, contexts=contexts, paired=True, n_model_splits=30)
    for name in ("contexts with covariate", "contexts with covariate: mixed model"):
        assert table.loc[(name, "null"), "low"] <= 0.05, name
    for name in ("contexts", "contexts: mixed model"):
        assert (name, "null") not in table.index


def test_contexts_are_tried_on_units_of_their_own_halves_and_on_clusters():
    means, contexts = _in_contexts(n_units=16, n_contexts=4, n_features=3)
    table = rates(Further(("contexts",), n_permutations=99), means, contexts=contexts, n_model_splits=4)
    assert table.loc[("contexts", "null"), "n_splits"] == 4
    # two rows of values a cluster, half of the contexts in either: the cluster moves, and not its rows
    rows = contexts.values.reshape(16, 2, 2, 3).mean(axis=2).reshape(32, 3)
    of_rows = ContextValues(contexts.values, np.repeat(np.arange(32), 2), contexts.context)
    clustered = rates(
        Further(("contexts",), n_permutations=99), rows, contexts=of_rows, cluster=np.arange(32) // 2, n_model_splits=4
    )
    assert clustered.loc[("contexts", "null"), "estimate"] == table.loc[("contexts", "null"), "estimate"]


def test_contexts_that_are_missing_or_do_not_fit_are_refused():
    means, contexts = _in_contexts(n_units=16, n_contexts=4, n_features=3)
    with pytest.raises(InputError, match="further has 'contexts', but contexts is None"):
        rates(Further(("contexts",)), means)
    with pytest.raises(InputError, match="contexts has units outside 0 to 15"):
        rates(Further(("contexts",)), means, contexts=replace(contexts, unit=contexts.unit + 1))
    with pytest.raises(InputError, match="contexts has values of shape"):
        rates(Further(("contexts",)), means, contexts=replace(contexts, values=contexts.values[:, :2]))
