"""What a report says beside the difference, tried where it is false."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.stats.effects import welch_p
from metastable.stats.simulation import context_splits
from metastable.stats.simulation import further as further_module
from metastable.stats.simulation.calibrating import calibrate
from metastable.stats.simulation.context_splits import VARIES, context_tests
from metastable.stats.simulation.further import FURTHER, Further, further_tests
from metastable.stats.simulation.halves import ContextValues, UnitContexts, divide

VALUES = np.random.default_rng(1).normal(size=(60, 30))
TESTS = ("equivalence", "covariate", "slope", "slope with covariate")


def rates(further, values=VALUES, n_splits=40, **options):
    table = calibrate(
        values, tests=("welch",), corrections=("none",), n_splits=n_splits, n_permutations=200, rng=2, further=further,
        **options,
    )  # fmt: skip
    return table[table["measure"] == "false_positive_rate"].set_index(["test", "scenario"])


def test_equivalence_covariates_and_slopes_keep_their_level():
    table = rates(Further(TESTS, n_permutations=200), UNLIKE, n_splits=120)
    for name in TESTS:
        row = table.loc[(name, "null")]
        assert row["nominal"] == 0.05
        assert row["low"] <= 0.05, name
        assert row["n_splits"] == 120
    # a margin that the sample can resolve is reached in about one of twenty, one that it cannot never
    assert rates(Further(("equivalence",), margin=1.5)).loc[("equivalence", "null"), "estimate"] > 0.01
    assert rates(Further(("equivalence",), margin=0.05)).loc[("equivalence", "null"), "estimate"] == 0


def spy(monkeypatch, module, name):
    """Record the arguments of each call."""
    calls = []
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: calls.append((given, named)) or original(*given, **named))
    return calls


UNLIKE = 5 + VALUES * np.geomspace(0.1, 10, 30)
DEVIATION = UNLIKE.std(axis=0)


def test_an_equivalence_is_tried_at_its_margin_on_either_side(monkeypatch):
    tested = spy(monkeypatch, further_module, "equivalence_test")
    split = divide(60, False, np.random.default_rng(0))
    further_tests(UNLIKE, split, DEVIATION, np.zeros(30, int), Further(("equivalence",), 0.4), 5)
    (values, condition), named = tested[0]
    moved = (values - UNLIKE[split.rows]) / (0.4 * DEVIATION)
    np.testing.assert_array_equal(condition, split.condition)
    assert named["margin"] == 0.4
    np.testing.assert_array_equal(moved[~condition], 0)
    # every unit of a feature goes to the same side, and features to either
    np.testing.assert_allclose(moved[condition], np.tile(np.sign(moved[condition][0]), (30, 1)))
    assert set(np.sign(moved[condition][0])) == {-1.0, 1.0}


@pytest.mark.parametrize("name", ["covariate", "slope with covariate"])
def test_a_covariate_would_be_taken_for_an_effect_if_it_were_not_held(monkeypatch, name):
    split = divide(60, False, np.random.default_rng(0))
    tested = {
        test: spy(monkeypatch, further_module, test) for test in ("permutation_test", "permutation_test_contrast")
    }
    held = further_tests(UNLIKE, split, DEVIATION, np.zeros(30, int), Further((name,), 0.2, 200), 5)
    assert list(held) == [name]
    assert (held[name] < 0.05).mean() < 0.2
    ((arguments, named),) = tested["permutation_test"] + tested["permutation_test_contrast"]
    if name == "covariate":
        predictor, covariate = arguments[1].astype(float), named["covariates"][:, 0]
    else:
        predictor, covariate = arguments[1][:, 1:].T
        np.testing.assert_array_equal(arguments[2], [0, 1, 0])
    # a unit of the covariate, and so one in the design, moves each feature by about half of its standard deviation
    moved = (arguments[0] - UNLIKE[split.rows]) / DEVIATION
    slopes = [np.polyfit(covariate, column, 1)[0] for column in moved.T]
    np.testing.assert_allclose(slopes, slopes[0])
    assert 0.4 < slopes[0] < 0.7
    assert 0.3 < np.corrcoef(predictor, covariate)[0, 1] < 0.6
    alone = [stats.linregress(predictor, column).pvalue for column in arguments[0].T]
    assert np.mean(np.array(alone) < 0.05) > 3 * 0.05


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


def test_effects_over_contexts_are_drawn_anew_for_each_and_go_to_half_a(monkeypatch):
    _, contexts = _in_contexts(n_units=17, n_contexts=40, n_features=3)
    observed = UnitContexts(contexts.values, contexts.unit, contexts.context)
    split = divide(17, True, np.random.default_rng(3))
    taken = spy(monkeypatch, context_splits, "crossed_parts")
    deviation = np.array([1.0, 2.0, 4.0])
    found = context_tests(observed, split, deviation, np.arange(3), n_permutations=19, alpha=0.05, seed=1)
    again = context_tests(observed, split, deviation, np.arange(3), n_permutations=19, alpha=0.05, seed=1)
    for key, p in found.items():
        np.testing.assert_array_equal(again[key], p)
    # each family is of one feature
    np.testing.assert_array_equal(found["contexts", "max-t"], found["contexts", "none"])
    np.testing.assert_allclose(found["contexts", "none"] * 20 % 1, 0, atol=1e-9)
    values, side, item, context = taken[0][0]
    # the unit that pairs leave over takes no part
    assert len(values) == 16 * 40
    left = np.setdiff1d(np.arange(17), split.rows)
    mine = contexts.unit != left
    moved = (values - contexts.values[mine]) / deviation
    np.testing.assert_array_equal(context, contexts.context[mine])
    assert all(len(np.unique(side[item == pair])) == 2 for pair in np.unique(item))
    np.testing.assert_array_equal(moved[~side], 0)
    by_context = np.array([moved[side & (context == c)] for c in range(40)])
    assert np.ptp(by_context, axis=1).max() < 1e-9
    # of mean zero and, over contexts, of .3 standard deviations of the feature
    effect = by_context[:, 0]
    assert np.abs(effect.mean(axis=0)).max() < 3.5 * 0.3 / np.sqrt(40)
    assert effect.std() == pytest.approx(0.3, rel=0.2)
