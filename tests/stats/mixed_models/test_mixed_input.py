"""Bad input to the mixed models is named."""

from __future__ import annotations

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats.mixed_models.mixed_input import check_mixed_input, group_means


def good():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), 5)
    condition = (group % 2).astype(float)
    return {
        "values": rng.normal(size=(60, 2)),
        "design": np.column_stack([np.ones(60), condition, rng.normal(size=60)]),
        "group": group,
        "column": 1,
        "cluster": group // 3,
        "slope": None,
    }


def check(**changes):
    arguments = {**good(), **changes}
    return check_mixed_input(arguments.pop("values"), arguments.pop("design"), arguments.pop("group"), **arguments)


def with_entry(name, value, row, column):
    array = good()[name].copy()
    array[row, column] = value
    return {name: array}


def with_column(column):
    return {"design": np.column_stack([good()["design"], column])}


def test_good_input_passes():
    data = check()
    assert data.terms.nested
    assert data.values.shape == (60, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros(60)}, r"values has shape \(60,\)"),
        ({"values": np.zeros((60, 0))}, "values has shape"),
        ({"values": np.zeros((59, 2))}, "give 59 rows"),
        (with_entry("values", np.nan, 7, 1), "values row 7, column 1 is nan"),
        (with_entry("values", np.inf, 7, 1), "values row 7, column 1 is inf"),
        (with_entry("design", np.nan, 3, 2), "design row 3, column 2 is nan"),
        ({"column": 3}, "column is 3"),
        ({"column": -1}, "column is -1"),
        ({"slope": 5}, "slope is 5"),
        ({"group": np.zeros(60)}, "group has one level"),
        ({"group": np.zeros(59)}, "group has shape"),
        ({"group": np.where(np.arange(60) == 4, np.nan, np.arange(60) // 5)}, r"group\[4\] is nan"),
        ({"group": np.array([None, *"ab" * 29, "a"], dtype=object)}, r"group\[0\] is None"),
        ({"group": np.arange(60)}, "has one row"),
        ({"cluster": np.zeros(60)}, "cluster has one level"),
        ({"cluster": good()["group"] + 3}, "same levels as group"),
        ({"cluster": np.arange(60)}, "clusters has one row"),
        ({"cluster": good()["group"] % 2}, "cluster has 2 levels, too few"),
        (with_column(np.zeros(60)), "design column 3 is zero"),
        (with_column(2 * good()["design"][:, 1] - 5), "column 1, the one tested.*collinear"),
        (with_column(2 * good()["design"][:, 2] - 5), "4 columns but rank 3"),
        ({"group": np.arange(60) % 2, "design": good()["design"][:, :1].repeat(2, 1)}, "collinear"),
        ({"group": good()["design"][:, 1], "cluster": None}, "group has 2 levels, too few"),
        ({"slope": 0}, "column 0 is constant within every cluster"),
        ({"slope": 1, "cluster": None}, "column 1 is constant within every group"),
        ({"slope": 1, "cluster": good()["group"] // 2}, "one group for each value"),
        ({"slope": 2, "cluster": None, "group": np.arange(60) // 2}, "too few for an intercept and a slope"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        check(**changes)


def test_rows_that_leave_no_residual_are_named():
    group = np.repeat(np.arange(4), [2, 1, 1, 1])
    x = np.column_stack([np.ones(5), [0.0, 1.0, 0.0, 0.0, 0.0]])
    with pytest.raises(InputError, match="no residual degree of freedom"):
        check_mixed_input(np.zeros((5, 1)), x, group, column=1)


def test_group_means_are_those_of_each_group():
    rng = np.random.default_rng(1)
    array, codes = rng.normal(size=(20, 3)), rng.permutation(np.arange(20) % 6)
    expected = [array[codes == level].mean(axis=0) for level in range(6)]
    np.testing.assert_allclose(group_means(array, codes), expected)
