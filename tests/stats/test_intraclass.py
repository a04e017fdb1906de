"""The intraclass correlation against pingouin, and against its definition in simulated data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.formula.api as smf

from metastable.errors import InputError
from metastable.stats import intraclass_correlation


def test_clusters_of_one_size_agree_with_pingouin():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(12), 4)
    values = rng.normal(size=(48, 3)) + rng.normal(size=(12, 3))[cluster]
    for column, ours in zip(values.T, intraclass_correlation(values, cluster), strict=True):
        table = pd.DataFrame({"v": column, "c": cluster, "r": np.tile(np.arange(4), 12)})
        theirs = pingouin.intraclass_corr(table, targets="c", raters="r", ratings="v")["ICC"].iloc[0]
        assert ours == pytest.approx(theirs)


def test_clusters_within_conditions_agree_with_the_nested_analysis_of_variance():
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(9), 4)
    condition = cluster % 3
    values = rng.normal(size=36) + rng.normal(size=9)[cluster] + condition
    table = pd.DataFrame({"v": values, "g": condition, "c": cluster})
    of_conditions, of_clusters = (smf.ols(f"v ~ C({name})", table).fit() for name in "gc")
    between = (of_conditions.ssr - of_clusters.ssr) / (of_conditions.df_resid - of_clusters.df_resid)
    within = of_clusters.mse_resid
    expected = (between - within) / (between + 3 * within)
    assert intraclass_correlation(values, cluster, group=condition)[0] == pytest.approx(expected)


@pytest.mark.parametrize("true", [0.0, 0.3, 0.8])
def test_clusters_of_unequal_size_give_the_share_of_the_variance_between_them(true):
    rng = np.random.default_rng(1)
    size = rng.integers(1, 9, size=1500)
    cluster = np.repeat(np.arange(1500), size)
    values = np.sqrt(true) * rng.normal(size=1500)[cluster] + np.sqrt(1 - true) * rng.normal(size=len(cluster))
    assert intraclass_correlation(values, cluster)[0] == pytest.approx(true, abs=0.035)


def test_a_difference_of_conditions_is_none_of_clusters():
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(400), 3)
    condition = cluster % 2
    values = rng.normal(size=1200) + 5 * condition
    assert intraclass_correlation(values, cluster)[0] > 0.8
    assert intraclass_correlation(values, cluster, group=condition)[0] == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize(
    ("values", "cluster", "words"),
    [
        ([1.0, 2.0, 3.0], [1, 2, 3], "more than one unit"),
        ([1.0, 2.0, 3.0], [1, 1, 1], "more clusters"),
        ([1.0, np.nan, 3.0], [1, 1, 2], "not finite"),
        ([1.0, 2.0, 3.0], ["a", None, "a"], "label"),
    ],
)
def test_what_has_no_clusters_is_refused(values, cluster, words):
    with pytest.raises(InputError, match=words):
        intraclass_correlation(values, cluster)
