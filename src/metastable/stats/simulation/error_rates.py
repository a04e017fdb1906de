"""Rates of error and power, counted over simulated data sets whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.stats.corrections import CORRECTIONS
from metastable.stats.simulation.monte_carlo import estimate_rate

__all__ = ["MEASURES", "OF_PERMUTATION", "PROMISES", "group_rates", "rate_table", "rates"]

Bools = NDArray[np.bool_]
#: Test, correction, scenario ("null" or "planted") and measure.
Key = tuple[str, str, str, str]

#: What is counted, in the order of the table.
MEASURES = ("false_positive_rate", "fwer", "fdr", "power")
#: Corrections that come with the permutation test alone, each with the rate that it promises to bound.
OF_PERMUTATION: Mapping[str, str] = {"layers-first": "", "max-t": "FWER", "max-t-stepdown": "FWER"}
#: All that a calibration tries, each with the rate that it promises to bound; no correction first.
PROMISES: Mapping[str, str] = {
    "none": "",
    **{name: correction.controls for name, correction in CORRECTIONS.items() if correction.calibrated},
    **OF_PERMUTATION,
}


def rates(called: Bools, planted: Bools, families: NDArray[np.intp]) -> dict[str, float]:
    """Rates of one data set; family-wise error and false discovery rate are means over families.

    Parameters
    ----------
    called, planted : ndarray of bool, shape (n_features,)
        Features called different, and those that are.
    families : ndarray of int, shape (n_features,)

    Returns
    -------
    dict of str to float
        By measure; without "false_positive_rate" where all are planted, without "fdr" and "power" where none is.
    """
    false = called & ~planted
    codes = np.unique(families)
    found = {"fwer": float(np.mean([false[families == code].any() for code in codes]))}
    if not planted.all():
        found["false_positive_rate"] = float(called[~planted].mean())
    if planted.any():
        shares = [false[families == code].sum() / max(1, called[families == code].sum()) for code in codes]
        found["fdr"] = float(np.mean(shares))
        found["power"] = float(called[planted].mean())
    return found


def group_rates(called: Bools, planted: Bools) -> dict[str, float]:
    """Rates of one test a group of features, each group tested as one.

    Parameters
    ----------
    called, planted : ndarray of bool, shape (n_groups,)
        Groups called different, and those with a feature that is.

    Returns
    -------
    dict of str to float
        "false_positive_rate" where a group has nothing planted, "power" where one has.
    """
    found = {}
    if not planted.all():
        found["false_positive_rate"] = float(called[~planted].mean())
    if planted.any():
        found["power"] = float(called[planted].mean())
    return found


def _nominal(correction: str, scenario: str, measure: str, alpha: float) -> float:
    """Level that a correction promises: without any difference all but "none" bound the family-wise error."""
    rate = PROMISES[correction]
    promised = {
        "false_positive_rate": correction == "none",
        "fwer": rate == "FWER" or (scenario == "null" and correction != "none"),
        "fdr": rate != "",
        "power": False,
    }
    return alpha if promised[measure] else float("nan")


def rate_table(
    records: Mapping[Key, Sequence[float]],
    *,
    tests: Sequence[str],
    corrections: Sequence[str],
    alpha: float,
    confidence: float,
) -> pd.DataFrame:
    """Means and Monte Carlo intervals of the rates of many data sets.

    Parameters
    ----------
    records : mapping of (test, correction, scenario, measure) to sequence of float
        Rates of the data sets.
    tests, corrections : sequence of str
        Their order in the table.
    alpha : float
        Nominal level.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        As `metastable.stats.calibrate` returns it.
    """
    rows = []
    for (test, correction, scenario, measure), values in records.items():
        rate = estimate_rate(values, confidence=confidence)
        rows.append(
            {
                "test": test,
                "correction": correction,
                "scenario": scenario,
                "measure": measure,
                "nominal": _nominal(correction, scenario, measure, alpha),
                "estimate": rate.estimate,
                "low": rate.low,
                "high": rate.high,
                "n_splits": len(values),
            }
        )
    order = {"test": tests, "correction": corrections, "scenario": ("null", "planted"), "measure": MEASURES}
    return (
        pd.DataFrame(rows)
        .sort_values(
            list(order), key=lambda column: column.map({name: i for i, name in enumerate(order[str(column.name)])})
        )
        .reset_index(drop=True)
    )
