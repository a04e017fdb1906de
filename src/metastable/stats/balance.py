"""Balance of covariates between two conditions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metastable.stats.samples import covariate_matrix, sample_moments, split_samples

__all__ = ["BALANCE_LINE", "balance_table"]

#: The usual line: a standardized mean difference below it is negligible (Austin 2009).
BALANCE_LINE = 0.1


def balance_table(covariates: pd.DataFrame, condition: ArrayLike) -> pd.DataFrame:
    """Standardized mean difference and variance ratio of every covariate.

    Parameters
    ----------
    covariates : pandas.DataFrame, n_units rows
        One numeric or boolean column per covariate.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.

    Returns
    -------
    pandas.DataFrame
        One row per covariate, in the order of the columns:

        * ``covariate``: its name
        * ``mean_a``, ``mean_b``, ``sd_a``, ``sd_b``: mean and standard deviation in each condition
        * ``smd``: (mean_a - mean_b) / sqrt((var_a + var_b) / 2) (Austin 2009, eq. 1); 0 where the
          covariate is constant throughout, infinite where it is constant in each condition but differs
        * ``variance_ratio``: var_a / var_b; 1 where both are 0, infinite where only var_b is
        * ``balanced``: whether abs(smd) is below 0.1

    Raises
    ------
    InputError
        As `covariate_matrix`; or if `condition` has fewer than two units on one side.

    Examples
    --------
    >>> import pandas as pd
    >>> table = balance_table(pd.DataFrame({"zipf": [3.0, 4.0, 2.0, 3.0]}), [True, True, False, False])
    >>> print(table[["covariate", "mean_a", "mean_b", "balanced"]].to_string(index=False))
    covariate  mean_a  mean_b  balanced
         zipf     3.5     2.5     False
    """
    moments = sample_moments(split_samples(covariate_matrix(covariates, len(np.asarray(condition))), condition))
    difference, scale = moments.difference, np.sqrt((moments.var_a + moments.var_b) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # both degenerate cases are set below
        smd = np.where(difference == 0, 0.0, difference / scale)
        ratio = np.where((moments.var_a == 0) & (moments.var_b == 0), 1.0, moments.var_a / moments.var_b)
    return pd.DataFrame(
        {
            "covariate": [str(name) for name in covariates.columns],
            "mean_a": moments.unit * moments.mean_a,
            "mean_b": moments.unit * moments.mean_b,
            "sd_a": moments.unit * np.sqrt(moments.var_a),
            "sd_b": moments.unit * np.sqrt(moments.var_b),
            "smd": smd,
            "variance_ratio": ratio,
            "balanced": np.abs(smd) < BALANCE_LINE,
        }
    )
