"""Balance of covariates between two conditions, with its sampling error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from metastable.stats.corrections import adjust_p_values
from metastable.stats.effects import check_confidence, welch, welch_p
from metastable.stats.samples import covariate_matrix, sample_moments, split_samples

__all__ = ["BALANCE_LINE", "balance_table", "unbalanced"]

#: The usual line: a standardized mean difference below it is negligible (Austin 2009).
BALANCE_LINE = 0.1


def balance_table(
    covariates: pd.DataFrame, condition: ArrayLike, *, pair: ArrayLike | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Standardized mean difference of every covariate with its interval, and whether chance alone gives it.

    Parameters
    ----------
    covariates : pandas.DataFrame, n_units rows
        One numeric or boolean column per covariate.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b; the error is then that of differences of partners.
    confidence : float
        Coverage of the intervals, and one minus the level at which a covariate counts as unbalanced.

    Returns
    -------
    pandas.DataFrame
        One row per covariate, in the order of the columns:

        * ``covariate``: its name
        * ``mean_a``, ``mean_b``, ``sd_a``, ``sd_b``: mean and standard deviation in each condition
        * ``smd``: (mean_a - mean_b) / sqrt((var_a + var_b) / 2) (Austin 2009, eq. 1); 0 where the
          covariate is constant throughout, infinite where it is constant in each condition but differs
        * ``smd_low``, ``smd_high``: its interval; NaN where it is infinite
        * ``p``, ``p_holm``: Welch's (the paired t's) p of the difference, and after Holm over the covariates
        * ``variance_ratio``: var_a / var_b; 1 where both are 0, infinite where only var_b is
        * ``balanced``: False where the difference is one that chance does not give (``p_holm`` below 1 - confidence)
          and abs(smd) is 0.1 or more

    Raises
    ------
    InputError
        As `covariate_matrix` and `split_samples`; or if `condition` has fewer than two units on one side.

    Notes
    -----
    Two random samples of 60 differ by 0.1 standard deviations or more in 58% of covariates: the line alone tells of
    chance as of bias. The interval takes the variances of either condition as they are: with s^2 their mean, its
    standard error is the root of se^2 / s^2 + smd^2 / (8 s^4) (var_a^2 / (n_a - 1) + var_b^2 / (n_b - 1)), se that of
    the difference of means (Bonett 2008, eq. 10), with t tails. Holm (1979) bounds the chance that any covariate of
    alike conditions counts as unbalanced.

    Examples
    --------
    >>> import pandas as pd
    >>> table = balance_table(pd.DataFrame({"zipf": [3.0, 4.0, 2.0, 3.0]}), [True, True, False, False])
    >>> print(table[["covariate", "mean_a", "mean_b", "balanced"]].to_string(index=False))
    covariate  mean_a  mean_b  balanced
         zipf     3.5     2.5      True
    """
    check_confidence(confidence)
    matrix = covariate_matrix(covariates, len(np.asarray(condition)))
    moments = sample_moments(split_samples(matrix, condition, pair=pair))
    difference, scale = moments.difference, np.sqrt((moments.var_a + moments.var_b) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # both degenerate cases are set below
        smd = np.where(difference == 0, 0.0, difference / scale)
        ratio = np.where((moments.var_a == 0) & (moments.var_b == 0), 1.0, moments.var_a / moments.var_b)
    p = welch_p(matrix, condition, pair=pair)
    p_holm = adjust_p_values(p, method="holm") if len(p) else p
    se, dof = welch(moments)
    known = scale > 0
    size = np.where(known, scale, 1.0)
    of_scale = (moments.var_a**2 / (moments.n_a - 1) + moments.var_b**2 / (moments.n_b - 1)) / (8 * size**4)
    finite = np.isfinite(smd)
    error = np.sqrt((se / size) ** 2 + np.where(finite, smd, 0.0) ** 2 * of_scale)
    reach = np.where(finite, special.stdtrit(dof, 0.5 + confidence / 2) * error, np.nan)
    return pd.DataFrame(
        {
            "covariate": [str(name) for name in covariates.columns],
            "mean_a": moments.unit * moments.mean_a,
            "mean_b": moments.unit * moments.mean_b,
            "sd_a": moments.unit * np.sqrt(moments.var_a),
            "sd_b": moments.unit * np.sqrt(moments.var_b),
            "smd": smd,
            "smd_low": smd - reach,
            "smd_high": smd + reach,
            "p": p,
            "p_holm": p_holm,
            "variance_ratio": ratio,
            "balanced": ~((np.abs(smd) >= BALANCE_LINE) & (p_holm < 1 - confidence)),
        }
    )


def unbalanced(balance: pd.DataFrame) -> tuple[str, ...]:
    """Name the covariates of a table of `balance_table` in which the conditions are not alike, in its order."""
    return tuple(str(row["covariate"]) for row in balance.to_dict("records") if not row["balanced"])
