"""The results that the browser shows, checked to fit one another."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.effect_kinds import Effect, effect_of
from metastable.study import Sequence

__all__ = ["Comparison", "Measured", "significant"]


@dataclass(frozen=True)
class Measured:
    """What was compared in each head, in the words of the page.

    Attributes
    ----------
    measure : str
        Name of the measure: "count", "entropy", ...
    digits : int
        Digits of its numbers after the point.
    note : str
        What a reader must know who compares the attention shown with the numbers; empty if nothing.
    """

    measure: str = "count"
    digits: int = 2
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """All that the browser is made of but the attention.

    Attributes
    ----------
    heads, details : pandas.DataFrame
        Tables of `metastable.stats.analysis.Analysis` of one measure: one row per threshold and head, the heads of
        each threshold in the same order.
    histograms : ndarray of int, shape (n_thresholds, 2, n_features, n_max + 1)
        How many tokens of each condition gave each count; position 0 is left out.
    unit_means : ndarray of float, shape (n_thresholds, n_sequences, n_features)
        Mean of the measure in each sequence.
    sequences : sequence of Sequence
        In the order of `unit_means`.
    conditions : pair of str
        Names of a and b, as `Sequence.condition` has them.
    paired : bool
        Whether `Sequence.pair` joins each sequence of a with one of b.
    measured : Measured
        What was compared.
    """

    heads: pd.DataFrame
    details: pd.DataFrame
    histograms: NDArray[np.integer[Any]]
    unit_means: NDArray[np.float64]
    sequences: SequenceOf[Sequence]
    conditions: tuple[str, str]
    paired: bool = False
    measured: Measured = Measured()
    features: pd.DataFrame = field(init=False, repr=False)
    thresholds: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        thresholds = tuple(float(value) for value in self.heads["threshold"].drop_duplicates())
        keys = ["site", "layer", "head"]
        features = self.heads.loc[self.heads["threshold"] == thresholds[0], keys].reset_index(drop=True)
        for threshold in thresholds:
            for name, table in (("heads", self.heads), ("details", self.details)):
                own = table.loc[table["threshold"] == threshold, keys].reset_index(drop=True)
                if not own.equals(features):
                    raise InputError(
                        f"table {name} has other heads at threshold {threshold} than at {thresholds[0]}; give the "
                        "same heads in the same order at each"
                    )
        shape = (len(thresholds), 2, len(features))
        if self.histograms.ndim != 4 or self.histograms.shape[:3] != shape:
            raise InputError(f"histograms have shape {self.histograms.shape}; give {shape} and the counts last")
        shape = (len(thresholds), len(self.sequences), len(features))
        if self.unit_means.shape != shape:
            raise InputError(f"unit_means have shape {self.unit_means.shape}; give {shape}")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "thresholds", thresholds)

    @property
    def effect(self) -> Effect:
        """What was tested."""
        return effect_of(self.heads)

    @property
    def codes(self) -> NDArray[np.int64]:
        """Condition of each sequence: 0, 1, or -1 for neither."""
        return np.array([self.conditions.index(s.condition) if s.condition in self.conditions else -1
                         for s in self.sequences])  # fmt: skip


def significant(value: float) -> float | None:
    """Round a number to four significant digits, as it enters the page; None for NaN."""
    return None if not np.isfinite(value) else float(f"{value:.4g}")
