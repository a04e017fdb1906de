"""What a calibration found: all that its report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.study import Study

__all__ = ["CalibrationResult"]


@dataclass(frozen=True)
class CalibrationResult:
    """What a calibration found and where it lies.

    Attributes
    ----------
    study : Study
    folder : Path
        Where calibration.md and its files lie.
    table : pandas.DataFrame
        Rates with Monte Carlo intervals, as `metastable.stats.simulation.calibrating.calibrate` returns them.
    contrast : Contrast
        What the study compares.
    n_units : int
        Units of the condition that was divided.
    n_heads : int
        Heads of the largest site.
    recipe : mapping
        What calibration.json holds.
    """

    study: Study
    folder: Path
    table: pd.DataFrame = field(repr=False)
    contrast: Contrast
    n_units: int
    n_heads: int
    recipe: Mapping[str, Any] = field(repr=False)
