from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.stats.balance import balance_table


def test_columns_follow_the_textbook():
    rng = np.random.default_rng(1)
    condition = np.arange(50) < 20
    covariates = pd.DataFrame({"zipf": rng.normal(3, 1, 50), "pieces": rng.poisson(2, 50), "noun": condition})
    table = balance_table(covariates, condition)
    assert list(table.columns) == [
        "covariate", "mean_a", "mean_b", "sd_a", "sd_b", "smd", "variance_ratio", "balanced",
    ]  # fmt: skip
    a, b = covariates.loc[condition, "zipf"], covariates.loc[~condition, "zipf"]
    row = table.iloc[0]
    assert row["smd"] == pytest.approx((a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2))
    assert row["variance_ratio"] == pytest.approx(a.var() / b.var())
    assert row["sd_a"] == pytest.approx(a.std())
    # A covariate that is the condition itself separates without limit.
    assert table["smd"].iloc[2] == np.inf
    assert not table["balanced"].iloc[2]


def test_published_imbalance_is_reproduced():
    """Summary statistics of Austin (2009) style: means 61 and 60, standard deviations 10: SMD 0.1."""
    half = np.array([-1.0, 1.0]) * 10 / np.sqrt(2)  # sample standard deviation 10
    table = balance_table(
        pd.DataFrame({"age": np.concatenate([61 + half, 60 + half]), "other": [1.0, 2.0, 1.0, 2.0]}),
        np.array([True, True, False, False]),
    )
    assert table["smd"].iloc[0] == pytest.approx(0.1)
    assert table["smd"].iloc[1] == 0.0
    assert table["balanced"].iloc[1]


def test_constant_covariate_is_balanced():
    table = balance_table(pd.DataFrame({"x": [0.1] * 5, "y": [1.0, 1, 1, 2, 3]}), np.arange(5) < 3)
    assert table["smd"].iloc[0] == 0
    assert table["variance_ratio"].iloc[0] == 1
    assert table["balanced"].iloc[0]
    assert table["variance_ratio"].iloc[1] == 0


def test_a_table_without_covariates_is_empty():
    table = balance_table(pd.DataFrame(index=range(4)), np.arange(4) < 2)
    assert len(table) == 0
    assert "smd" in table


@pytest.mark.parametrize(
    ("column", "message"),
    [(["a", "b", "c", "d"], "covariate 'x' has dtype"), ([1.0, None, 2.0, np.nan], "covariate 'x' .* row 1")],
)
def test_bad_covariates_are_named(column, message):
    with pytest.raises(InputError, match=message):
        balance_table(pd.DataFrame({"x": column}), np.arange(4) < 2)
