"""What a calibration found: all that its report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.heads.record import CalibrationRecord
from metastable.study import Study

__all__ = ["CalibrationResult", "Repacked"]


@dataclass(frozen=True)
class Repacked:
    """What was drawn where words were drawn, packed and read anew.

    Attributes
    ----------
    n_draws : int
        How often.
    n_words : int
        Words of each list.
    n_sequences : pair of int
        Sequences of each list in one packing of the first draw; the sequence pairs of a paired study, twice.
    packings : int
        Random packings of each draw.
    paired : bool
        Whether the words of matched pairs were dealt out, one to each list.
    """

    n_draws: int
    n_words: int
    n_sequences: tuple[int, int]
    packings: int
    paired: bool


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
    record : CalibrationRecord
        What calibration.json holds.
    repacked : Repacked or None
        What was drawn, where words were drawn and packed anew; None where finished sequences were divided.
    """

    study: Study
    folder: Path
    table: pd.DataFrame = field(repr=False)
    contrast: Contrast
    n_units: int
    n_heads: int
    record: CalibrationRecord = field(repr=False)
    repacked: Repacked | None = None

    @property
    def stem(self) -> str:
        """Name of the report's files without ending."""
        return "calibration" if self.repacked is None else "calibration_repack"
