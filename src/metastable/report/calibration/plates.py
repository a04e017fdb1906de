"""The figures of a calibration's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

import metastable.figures as figures
from metastable.heads.calibration_result import CalibrationResult
from metastable.report.plate import Given, Part, Plate, given

__all__ = ["PLATES"]


def _parts(result: CalibrationResult) -> Sequence[Part[CalibrationResult]]:
    """Return the whole result; its figures lie beside those of the calibration on finished sequences."""
    return (Part(result, "" if result.repacked is None else "_repack"),)


def _promised(measure: str, scenario: str, *, corrected: bool) -> Callable[[CalibrationResult], Given]:
    """Choose the rates that promise a level: only they are held against it."""

    def chosen(result: CalibrationResult) -> Given:
        table = result.table
        alone = table["correction"] == "none"
        rows = table[
            table["nominal"].notna()
            & (table["measure"] == measure)
            & (table["scenario"] == scenario)
            & (~alone if corrected else alone)
        ]
        return given(_bars(rows), nominal=result.record.options.alpha)

    return chosen


def _bars(rows: pd.DataFrame) -> pd.DataFrame:
    names = rows["test"] + np.where(rows["correction"] == "none", "", ", " + rows["correction"])
    return rows.assign(test=names, rate=rows["estimate"])[["test", "rate", "low", "high"]].reset_index(drop=True)


PLATES: tuple[Plate[CalibrationResult], ...] = (
    Plate(
        "calibration_level",
        "rates",
        figures.calibration_plot,
        _promised("false_positive_rate", "null", corrected=False),
        lambda _: "Share of heads (layers, models) called different by each test on its own, where nothing differs.",
        parts=_parts,
    ),
    Plate(
        "calibration_fwer",
        "rates",
        figures.calibration_plot,
        _promised("fwer", "null", corrected=True),
        lambda result: (
            f"Share of {'splits' if result.repacked is None else 'draws'} with any head called different, "
            "where nothing differs."
        ),
        parts=_parts,
    ),
    Plate(
        "calibration_fdr",
        "rates",
        figures.calibration_plot,
        _promised("fdr", "planted", corrected=True),
        lambda _: "Share of false calls among all calls, where a shift is planted in some heads.",
        applies=lambda result: result.repacked is None,
    ),
)
"""In the order of the page."""
