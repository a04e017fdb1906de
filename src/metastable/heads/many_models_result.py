"""What a study found over many models: all that its report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from metastable.heads.model_names import trainings_of
from metastable.heads.model_tables import ModelRun, OverModels
from metastable.heads.record import ManyModelsRecord
from metastable.study import Study

__all__ = ["ManyModelsResult"]


@dataclass(frozen=True)
class ManyModelsResult:
    """What a study found over many models, and where it lies.

    Attributes
    ----------
    study : Study
    folder : Path
        Where the report and its files lie.
    runs : tuple of ModelRun
        Trained models in the order given, then untrained ones.
    found : OverModels
    heads : pandas.DataFrame
        As `metastable.heads.model_tables.sorted_heads` returns it, of the run's own measure.
    record : ManyModelsRecord
        What run.json holds.
    """

    study: Study
    folder: Path
    runs: tuple[ModelRun, ...]
    found: OverModels
    heads: pd.DataFrame = field(repr=False)
    record: ManyModelsRecord = field(repr=False)

    @property
    def measure(self) -> str:
        """What the study is about."""
        return self.record.measure

    @property
    def models(self) -> pd.DataFrame:
        """One row per model, of the measure that the study is about."""
        return self._own(self.found.models)

    @property
    def means(self) -> pd.DataFrame:
        """Means over models, of the measure that the study is about."""
        return self._own(self.found.means)

    @property
    def profiles(self) -> pd.DataFrame:
        """Parts of the depth of every model, of the measure that the study is about."""
        return self._own(self.found.profiles)

    @property
    def trainings(self) -> dict[str, list[int]]:
        """Positions in `runs` of the checkpoints of each training that has several, in the order given."""
        return trainings_of([run.name for run in self.runs])

    def _own(self, table: pd.DataFrame) -> pd.DataFrame:
        return table[table["measure"] == self.measure] if len(table) else table
