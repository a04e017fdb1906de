"""How many units a study needs: what a plan found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from metastable.heads.plan_options import PlanOptions

__all__ = ["BONFERRONI", "FORMULA", "PlanFound"]

FORMULA = "formula"
"""The test of a head by itself, by formula."""
BONFERRONI = "bonferroni"
"""That of a head that is the only one of all to differ, by formula."""


@dataclass(frozen=True)
class PlanFound:
    """How many units each test needs.

    Attributes
    ----------
    study : str
        Name of the study.
    title : str
    design : {"two", "paired", "slope", "contexts", "several"}
    unit : str
        What a unit is called: "sequence", "cluster", "word pair".
    conditions : tuple of str
    options : PlanOptions
    table : pandas.DataFrame
        One row per effect and test (and number of contexts): ``effect``; ``test``, one of
        `metastable.stats.simulation.sample_size.TESTS`, `FORMULA` or `BONFERRONI`; ``n_a`` and ``n_b``, units of either
        condition, the same of pairs, all in ``n_a`` of a slope; ``low`` and ``high``, the interval of n_a that
        Monte Carlo error leaves, NaN where nothing was drawn; ``how``, "formula" or "simulation"; of designs with
        contexts ``contexts``. Infinite where no number is enough.
    curves : pandas.DataFrame
        Power by size, as `metastable.stats.simulation.sample_size.power_curves` returns it; empty without simulation.
    assumptions : tuple of str
        Sentences: all that the numbers rest on.
    pilot : Path or None
        Folder of the pilot.
    folder : Path
        Where the plan is written.
    command : str
        What was typed.
    n_heads : int
        Heads that are tested together.
    """

    study: str
    title: str
    design: Literal["two", "paired", "slope", "contexts", "several"]
    unit: str
    conditions: tuple[str, ...]
    options: PlanOptions
    table: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    assumptions: tuple[str, ...] = field(repr=False)
    pilot: Path | None
    folder: Path
    command: str
    n_heads: int
