"""What a sweep found: all that its report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.heads.sweep_axes import Axis
from metastable.stats.effect_kinds import Effect, effect_of
from metastable.study import Study

__all__ = ["SweepResult"]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found and where it lies.

    Attributes
    ----------
    study : Study
    folder : Path
        Where the report and its files lie.
    axes : tuple of Axis
    contrast : Contrast
        The primary contrast, as the first setting has it.
    settings : pandas.DataFrame
        As `metastable.heads.sweep_tables.settings_table` returns it.
    heads : pandas.DataFrame
        As `metastable.heads.sweep_tables.corrected_heads` returns it.
    stability : pandas.DataFrame
        As `metastable.heads.sweep_tables.head_table` returns it.
    recipe : mapping
        What run.json holds.
    n_reused : int
        Runs whose result was kept from before.
    """

    study: Study
    folder: Path
    axes: tuple[Axis, ...]
    contrast: Contrast
    settings: pd.DataFrame
    heads: pd.DataFrame
    stability: pd.DataFrame
    recipe: Mapping[str, Any] = field(repr=False)
    n_reused: int = 0

    @property
    def effect(self) -> Effect:
        """What was tested."""
        return effect_of(self.heads)
