"""The test of several conditions at once, of one head, beside those of the standard tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.side_by_side import SideBySide, cell, permutation_p, relabelings_drawn

__all__ = ["check_conditions"]

Floats = NDArray[np.float64]


def check_conditions(
    row: Mapping[Any, Any],
    units: pd.DataFrame,
    conditions: Sequence[str],
    *,
    blocks: bool,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Run the standard tools on the values of one head in several conditions.

    Parameters
    ----------
    row : mapping
        The head's row of the omnibus table: ``F, df1, df2, p_welch, p_perm`` and ``mean_NAME`` of each condition.
    units : pandas.DataFrame
        One row per unit: ``unit, condition, value``.
    conditions : sequence of str
    blocks : bool
        Whether the units are in every condition.
    n_permutations, seed : int
        Of our test.

    Returns
    -------
    pandas.DataFrame
        As `metastable.heads.head_check.check_head` returns it.
    """
    import pingouin

    rows = SideBySide()
    groups = [units.loc[units["condition"] == name, "value"].to_numpy(dtype=float) for name in conditions]
    for name, group in zip(conditions, groups, strict=True):
        rows.add(f"mean, {name}", row[f"mean_{name}"], group.mean(), "numpy mean")
    if blocks:
        wide = units.pivot_table(index="unit", columns="condition", values="value")[list(conditions)].to_numpy(
            dtype=float
        )
        # pingouin's default differences of columns are not those of conditions from one of them
        found = pingouin.multivariate_ttest(wide[:, :-1] - wide[:, -1:], np.zeros(len(conditions) - 1))
        tool = "pingouin multivariate_ttest (Hotelling's T² of the differences)"
        rows.add("F of all conditions", row["F"], cell(found, "F"), tool)
        rows.add("degrees of freedom below", row["df2"], cell(found, "df2"), tool)
        rows.add("p of F", row["p_welch"], cell(found, "pval"), tool)
        sphere = pingouin.rm_anova(units, dv="value", within="condition", subject="unit")
        rows.other(
            "F of all conditions", row["F"], cell(sphere, "F"), "pingouin rm_anova",
            "pingouin's takes all differences for equally variable (sphericity); ours does not",
        )  # fmt: skip
        drawn = relabelings_drawn(len(units), exact=False)
        p = permutation_p(list(wide.T), _hotelling, "samples", drawn, seed + 1)
        tool = "scipy permutation_test (Hotelling's T², within units)"
        rows.permuted("p by permutation", row["p_perm"], n_permutations, p, drawn, tool)
        return rows.table()
    found = pingouin.welch_anova(units, dv="value", between="condition")
    rows.add("Welch's F", row["F"], cell(found, "F"), "pingouin welch_anova")
    rows.add("degrees of freedom below", row["df2"], cell(found, "ddof2"), "pingouin welch_anova")
    rows.add("p of Welch's F", row["p_welch"], cell(found, "p-unc"), "pingouin welch_anova")

    def statistic(*samples: Floats, axis: int = -1) -> Floats:
        """Return Welch's F (1951) of every row of relabelled values."""
        k, size = len(samples), [sample.shape[axis] for sample in samples]
        weight = np.stack([n / sample.var(axis=axis, ddof=1) for n, sample in zip(size, samples, strict=True)])
        mean, total = np.stack([sample.mean(axis=axis) for sample in samples]), weight.sum(axis=0)
        between = (weight * (mean - (weight * mean).sum(axis=0) / total) ** 2).sum(axis=0) / (k - 1)
        of_size = np.reshape(size, (k, *(1,) * (weight.ndim - 1)))
        lack = ((1 - weight / total) ** 2 / (of_size - 1)).sum(axis=0)
        return np.asarray(between / (1 + 2 * (k - 2) / (k**2 - 1) * lack))

    drawn = relabelings_drawn(len(units), exact=False)
    p = permutation_p(groups, statistic, "independent", drawn, seed + 1)
    rows.permuted(
        "p by permutation", row["p_perm"], n_permutations, p, drawn,
        "scipy permutation_test (Welch's F)",
    )  # fmt: skip
    return rows.table()


def _hotelling(*samples: Floats, axis: int = -1) -> Floats:
    """Return T² of the differences from the last condition, of every row of values relabelled within units."""
    table = np.stack([np.moveaxis(sample, axis, -1) for sample in samples])
    differences = np.moveaxis(table[:-1] - table[-1], 0, -2)
    mean = differences.mean(axis=-1, keepdims=True)
    covariance = (differences - mean) @ np.swapaxes(differences - mean, -1, -2) / (differences.shape[-1] - 1)
    along = np.linalg.solve(covariance, mean)
    return np.asarray(differences.shape[-1] * (mean * along).sum(axis=(-2, -1)))
