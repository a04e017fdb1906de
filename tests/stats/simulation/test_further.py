"""What a report says beside the difference, tried where it is false."""

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats.simulation.calibrating import calibrate
from metastable.stats.simulation.further import FURTHER, Further, further_tests
from metastable.stats.simulation.halves import divide

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
        Further(("contexts",))
