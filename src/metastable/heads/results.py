"""What a run has counted and found: all that reports, figures and browsers are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.contrasts import Contrast
from metastable.heads.judged_claims import JudgedClaim
from metastable.heads.outlying_lengths import OutlyingLengths
from metastable.heads.packings import PackingVerdicts
from metastable.heads.record import RunRecord
from metastable.heads.spread import Spread
from metastable.heads.word_units import read_sides
from metastable.stats.analysis import Analysis, join_analyses
from metastable.stats.mixed_models.joint import JointModel
from metastable.stats.simulation.sensitivity import Sensitivity
from metastable.study import Material, Options, Study

if TYPE_CHECKING:
    import xarray as xr

    from metastable.extraction import Extraction
    from metastable.models.encoders import Encoder

__all__ = ["Counted", "RunResult"]


@dataclass(frozen=True)
class Counted:
    """A study whose attention has been counted.

    Attributes
    ----------
    study : Study
        Its measure, and those of its claims and views, are what this run compares.
    options : Options
        The measure is named.
    folder : Path
        Where its report goes.
    material : Material
    contrasts : tuple of Contrast
        What is compared, the primary contrast first; of words where they are read in several packings.
    encoder : Encoder
    extraction : Extraction
    """

    study: Study
    options: Options
    folder: Path
    material: Material
    contrasts: tuple[Contrast, ...]
    encoder: Encoder
    extraction: Extraction


@dataclass(frozen=True)
class RunResult:
    """What a run found and where it lies.

    Attributes
    ----------
    study : Study
    folder : Path
        Where the report and its files lie.
    contrasts : tuple of Contrast
        What was compared, the primary contrast first.
    analyses : tuple of Analysis
        All tests of each contrast, for every threshold, of the measure that the run is about.
    material : Material
    balance : pandas.DataFrame
        Covariates of the two sides of the primary contrast.
    histograms : ndarray of int64 or None, shape (n_thresholds, 2, n_features, n_max + 1)
        How many tokens of each side of the primary contrast gave each count; None where the run kept means alone.
    spread : Spread or None
        How the counts of both sides of the primary contrast spread at the primary threshold, relative to the keys that
        their queries see; None likewise.
    unit_values : ndarray of float64, shape (n_units, n_features)
        What the primary contrast was tested on, at the primary threshold.
    record : RunRecord
        What run.json holds.
    beside : mapping of str to Analysis
        The tests of the primary contrast of the measures that every run tests beside its own, by their names, as
        `metastable.heads.head_tests.analyse_beside` gives them: without mixed models.
    views : tuple of Analysis
        The tests of the primary contrast for each of the study's views.
    sensitivity : Sensitivity or None
        Power of the primary contrast's test; None where the data have too few units, or for a slope.
    joint : JointModel or None
        One model over all heads; None unless it was asked for.
    claims : tuple of JudgedClaim
        What became of the study's claims.
    sink_held : pandas.DataFrame or None
        Effect on the run's measure in every head with its mass on a sink held fixed, as
        `metastable.heads.decomposition.effects_with_sink_held` gives it; None where no such mass was tested.
    learned_sink : tuple of float or None
        Share of the attention that goes to the heads' learned sinks on side a and on side b; None where they have none.
    outlying : OutlyingLengths or None
        The sequences that are far longer than the others of their condition; None where none is.
    packings : PackingVerdicts or None
        The tests of each random packing of the words by itself; None where there is one packing.
    word_cube : xarray.Dataset or None
        Values of the words, as `metastable.heads.word_units.UnitCube` holds them; None where sequences are tested.
    """

    study: Study
    folder: Path
    contrasts: tuple[Contrast, ...]
    analyses: tuple[Analysis, ...]
    material: Material
    balance: pd.DataFrame
    histograms: NDArray[np.int64] | None
    spread: Spread | None = field(repr=False)
    unit_values: NDArray[np.float64] = field(repr=False)
    record: RunRecord = field(repr=False)
    beside: Mapping[str, Analysis] = field(default_factory=dict)
    views: tuple[Analysis, ...] = ()
    sensitivity: Sensitivity | None = None
    joint: JointModel | None = None
    claims: tuple[JudgedClaim, ...] = ()
    sink_held: pd.DataFrame | None = field(default=None, repr=False)
    learned_sink: tuple[float, float] | None = None
    outlying: OutlyingLengths | None = None
    packings: PackingVerdicts | None = None
    word_cube: xr.Dataset | None = field(default=None, repr=False)

    @property
    def contrast(self) -> Contrast:
        """The primary contrast."""
        return self.contrasts[0]

    @property
    def read_sides(self) -> NDArray[np.intp]:
        """Side of the primary contrast of each sequence that the model read: 0 for a, 1 for b, -1 for none."""
        return read_sides(self.contrast, self.material)

    @property
    def analysis(self) -> Analysis:
        """The tests of the primary contrast, of the measure that the run is about."""
        return self.analyses[0]

    @property
    def tables(self) -> Analysis:
        """The tests of the primary contrast under one another, measure by measure, as the csv files hold them."""
        return join_analyses(list(self.measured.values()))

    @property
    def measured(self) -> dict[str, Analysis]:
        """The tests of the primary contrast for each measure by its name, the one that the run is about first."""
        return {self.record.options.measure: self.analysis, **self.beside}
