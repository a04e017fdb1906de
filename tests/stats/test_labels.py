"""A label that is missing is refused wherever labels come in, whatever stands for it and whatever holds it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable import stats
from metastable.errors import InputError
from metastable.stats.agreement import map_agreement
from metastable.stats.bayes import difference_bayes_factor
from metastable.stats.labels import check_condition, check_labels, label_codes
from metastable.stats.simulation.halves import TokenValues

N = 24
RNG = np.random.default_rng(3)
VALUES = RNG.normal(size=(N, 4))
CONDITION = np.arange(N) < N // 2
PAIR = np.tile(np.arange(N // 2), 2)
CLUSTER = np.arange(N) // 3
FEW = {"n_permutations": 99, "rng": 0}
COVARIATES = pd.DataFrame({"length": RNG.normal(size=N)})
MEDIANS = np.zeros((2, 4))
FEATURES = pd.DataFrame({"site": "self", "layer": [1, 1, 2, 2], "head": [1, 2, 1, 2]})
DESIGN = np.column_stack([np.ones(N), CONDITION])
P = np.linspace(0.01, 0.9, N)
OF_FEATURES = np.array([0, 0, 1, 1])


def _calibrate(**labels: Any) -> object:
    return stats.calibrate(VALUES, n_splits=2, **{**FEW, **labels})


def _features(**labels: Any) -> object:
    features = FEATURES.assign(**labels)
    return stats.analyse(VALUES, CONDITION, features, threshold=0.9, measure="count", medians=MEDIANS)


# Every way in: the argument, right labels for it, and the call that takes them.
DOORS: list[tuple[str, Any, Callable[[Any], object]]] = [
    ("pair", PAIR, lambda x: stats.permutation_test(VALUES, CONDITION, statistic="paired", pair=x, **FEW)),
    ("cluster", CLUSTER, lambda x: stats.permutation_test(VALUES, CONDITION, cluster=x, **FEW)),
    ("block", PAIR, lambda x: stats.permutation_test(VALUES, CONDITION, block=x, **FEW)),
    ("family", OF_FEATURES, lambda x: stats.permutation_test(VALUES, CONDITION, family=x, **FEW)),
    ("condition", CONDITION, lambda x: stats.permutation_test(VALUES, x, **FEW)),
    ("cluster", CLUSTER, lambda x: stats.permutation_test_contrast(VALUES, DESIGN, [0, 1], cluster=x, **FEW)),
    ("block", PAIR, lambda x: stats.permutation_test_contrast(VALUES, DESIGN, [0, 1], block=x, **FEW)),
    ("family", OF_FEATURES, lambda x: stats.permutation_test_contrast(VALUES, DESIGN, [0, 1], family=x, **FEW)),
    ("pair", PAIR, lambda x: stats.hedges_g(VALUES, CONDITION, pair=x)),
    ("condition", CONDITION, lambda x: stats.hedges_g(VALUES, x)),
    ("pair", PAIR, lambda x: stats.mean_difference(VALUES, CONDITION, pair=x)),
    ("pair", PAIR, lambda x: stats.bootstrap_g(VALUES, CONDITION, pair=x, n_resamples=100)),
    ("cluster", CLUSTER, lambda x: stats.bootstrap_g(VALUES, CONDITION, cluster=x, n_resamples=100)),
    ("pair", PAIR, lambda x: stats.equivalence_test(VALUES, CONDITION, pair=x)),
    ("pair", PAIR, lambda x: stats.probability_of_superiority(VALUES, CONDITION, pair=x)),
    ("pair", PAIR, lambda x: stats.held_difference(VALUES, CONDITION, VALUES**2, pair=x)),
    ("pair", PAIR, lambda x: difference_bayes_factor(VALUES, CONDITION, pair=x)),
    ("pair", PAIR, lambda x: stats.adjustment_table(VALUES, CONDITION, COVARIATES, pair=x)),
    ("cluster", CLUSTER, lambda x: stats.adjustment_table(VALUES, CONDITION, COVARIATES, cluster=x)),
    ("condition", CONDITION, lambda x: stats.balance_table(COVARIATES, x)),
    ("pair", PAIR, lambda x: stats.sensitivity(VALUES, CONDITION, pair=x, n_simulations=20)),
    ("family", OF_FEATURES, lambda x: stats.sensitivity(VALUES, CONDITION, family=x, n_simulations=20)),
    ("family", np.arange(N) % 2, lambda x: stats.adjust_p_values(P, family=x)),
    ("group", np.arange(N) // 4, lambda x: stats.hierarchical_test(P, x)),
    ("family", np.arange(N) % 2, lambda x: stats.hierarchical_test(P, np.arange(N) // 4, family=x)),
    ("group", CLUSTER, lambda x: stats.fit_mixed_models(VALUES, DESIGN, x)),
    ("cluster", CLUSTER // 2, lambda x: stats.fit_mixed_models(VALUES, DESIGN, CLUSTER, cluster=x)),
    ("condition", CONDITION, lambda x: stats.fit_joint_model(VALUES, x, OF_FEATURES)),
    ("layer", OF_FEATURES, lambda x: stats.fit_joint_model(VALUES, CONDITION, x)),
    ("cluster", np.arange(N) // 2, lambda x: _calibrate(cluster=x)),
    ("family", OF_FEATURES, lambda x: _calibrate(family=x)),
    ("layer", OF_FEATURES, lambda x: _calibrate(layer=x)),
    ("crossed", np.arange(2 * N) % 5, lambda x: _calibrate(
        tokens=TokenValues(np.repeat(VALUES, 2, axis=0), np.repeat(np.arange(N), 2), crossed=x))),
    ("layer", OF_FEATURES, lambda x: map_agreement(np.arange(4.0), np.arange(4.0) ** 2, x, n_permutations=9)),
    ("features.site", np.array(["self"] * 4), lambda x: _features(site=x)),
    ("features.layer", OF_FEATURES, lambda x: _features(layer=x)),
]  # fmt: skip

MISSING: dict[str, list[Any]] = {
    "None": [None],
    "NaN": [float("nan")],
    "pandas.NA": [pd.NA],
    "NaT": [pd.NaT],
    "a mix": [None, float("nan"), np.datetime64("NaT"), pd.NA],
}


@pytest.mark.parametrize("door", DOORS, ids=[f"{i}-{door[0]}" for i, door in enumerate(DOORS)])
@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("words", [False, True], ids=["numbers", "strings"])
def test_a_missing_label_is_refused_with_its_row(
    door: tuple[str, Any, Callable[[Any], object]], kind: str, words: bool
) -> None:
    name, right, call = door
    labels = np.asarray(right).astype(str if words and name != "condition" else right.dtype).astype(object)
    for row, value in zip(range(1, len(labels)), MISSING[kind], strict=False):
        labels[row] = value
    with pytest.raises(InputError, match=re.escape(f"{name}[1] is ")):
        call(labels)


@pytest.mark.parametrize("door", DOORS, ids=[f"{i}-{door[0]}" for i, door in enumerate(DOORS)])
def test_right_labels_are_taken_as_numbers_or_strings(door: tuple[str, Any, Callable[[Any], object]]) -> None:
    name, right, call = door
    call(right)
    if name != "condition":
        call(np.asarray(right).astype(str).astype(object))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0.0, np.nan, 1.0]),
        [0.0, float("nan"), 1.0],
        ["a", float("nan"), "b"],  # numpy alone makes the string "nan" of it
        np.array(["2020-01-01", "NaT", "2020-01-02"], dtype="datetime64[D]"),
        pd.Series(["a", None, "b"]),
        pd.array([1, None, 2], dtype="Int64"),
        pd.Categorical(["a", None, "b"]),
        np.ma.array([1, 2, 3], mask=[False, True, False]),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_whatever_holds_a_missing_label_it_is_found(labels: Any) -> None:
    with pytest.raises(InputError, match=r"cluster\[1\] is .*\(1 such rows\)"):
        check_labels("cluster", labels, 3)


def test_labels_without_an_order_are_refused() -> None:
    for labels in (np.array([1, "a", 2], dtype=object), [1, "a", 2]):
        with pytest.raises(InputError, match=r"cluster\[1\] is 'a', of the type str, and cluster\[0\] of the type int"):
            check_labels("cluster", labels, 3)


@given(st.lists(st.one_of(st.text(max_size=3), st.none()), min_size=1, max_size=12))
def test_codes_number_the_labels_or_name_the_first_that_is_missing(labels: list[str | None]) -> None:
    if None in labels:
        with pytest.raises(InputError, match=re.escape(f"pair[{labels.index(None)}] is None ({labels.count(None)} ")):
            label_codes("pair", labels, len(labels))
        return
    known = [label for label in labels if label is not None]
    codes = label_codes("pair", known, len(known))
    assert [sorted(set(known))[code] for code in codes] == known


def test_missing_families_leave_no_p_uncorrected() -> None:
    # Issue 12, case 10: np.unique makes no member of a NaN among objects, and p stayed as it was.
    with pytest.raises(InputError, match=r"family\[0\] is nan \(4 such rows\)"):
        stats.adjust_p_values([0.01, 0.02, 0.03, 0.04], family=np.array([np.nan] * 4, dtype=object))


@pytest.mark.parametrize("condition", [np.ones(3, dtype=bool), np.ones((4, 1), dtype=bool), np.ones(4), np.ones(3)])
def test_a_condition_is_one_boolean_a_unit(condition):
    np.testing.assert_array_equal(check_condition(np.arange(4) < 2, 4), [True, True, False, False])
    with pytest.raises(InputError, match="give 4 booleans"):
        check_condition(condition, 4)
