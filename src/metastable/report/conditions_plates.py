"""The figures of a report on more than two conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pandas as pd

import metastable.figures as figures
from metastable.figures.head_tables import shared_limits, symmetric_limits
from metastable.report.measure_words import measure_words
from metastable.report.plate import Given, Part, Plate, given
from metastable.stats.effect_kinds import DIFFERENCE, SLOPE
from metastable.study import Options

__all__ = ["PLATES", "AllAtOnce", "SeveralConditions"]

T = TypeVar("T")

# Maps side by side in one figure; more would be too small to read.
_IN_A_ROW = 3


@dataclass(frozen=True)
class AllAtOnce:
    """How several conditions were tested at once.

    Attributes
    ----------
    unit : str
        What one observation is.
    within : bool
        Whether the same units are in every condition.
    reason : str
        Why all could not be tested at once; empty where they were.
    """

    unit: str
    within: bool = False
    reason: str = ""

    @property
    def statistic(self) -> str:
        """What is computed of every head."""
        return f"Hotelling's F within {self.unit}s" if self.within else f"Welch's F of {self.unit}s"


@dataclass(frozen=True)
class SeveralConditions:
    """What the figures are drawn from.

    Attributes
    ----------
    conditions : tuple of str
    omnibus, pairs : pandas.DataFrame
        As `metastable.runs.conditions.ConditionsResult` holds them.
    options : Options
        Of the runs, with the measure that was compared.
    tested : AllAtOnce
        How all were tested at once.
    shown : (int, int) or None
        The first of the conditions or pairs that a part shows, and the one after the last; None for all.
    site : str
        The site that a part shows; empty for the whole.
    """

    conditions: tuple[str, ...]
    omnibus: pd.DataFrame = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    options: Options = field(repr=False)
    tested: AllAtOnce = field(repr=False)
    shown: tuple[int, int] | None = None
    site: str = ""

    def keyed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the columns that tell its rows from those of other thresholds and measures."""
        return table.assign(threshold=self.options.threshold[0], measure=self.options.measure)

    @property
    def named_pairs(self) -> list[tuple[str, str]]:
        """Both conditions of every pair, in the order of the table."""
        return list(dict.fromkeys(zip(self.pairs["a"], self.pairs["b"], strict=True)))


def _parts(result: SeveralConditions, n: int) -> Iterator[Part[SeveralConditions]]:
    """Give one part for each site and so many of n maps as stand side by side, of about the same number each."""
    sites = list(dict.fromkeys(result.pairs["site"]))
    rows = -(-n // _IN_A_ROW)
    ends = np.linspace(0, n, rows + 1).round().astype(int)
    for site in sites:
        of_site, note = ("", "") if len(sites) == 1 else (f"_{site}", f" Site: {site}.")
        for row, (start, stop) in enumerate(pairwise(ends), start=1):
            part = replace(result, shown=(int(start), int(stop)), site=str(site))
            yield Part(part, of_site + ("" if rows == 1 else f"_{row}"), note)


def _shown(result: SeveralConditions, of_all: Sequence[T]) -> Sequence[T]:
    start, stop = result.shown or (0, len(of_all))
    return of_all[start:stop]


def _means(result: SeveralConditions) -> Given:
    heads = result.keyed(result.omnibus)
    of_site = heads[heads["site"] == result.site]
    limits = shared_limits(of_site, [f"mean_{name}" for name in result.conditions])
    shown = _shown(result, result.conditions)
    return given(heads, shown, site=result.site, alpha=result.options.alpha).looking(limits=limits)


def _pair_maps(result: SeveralConditions) -> Given:
    # heads are outlined where they differ with all pairs corrected together
    heads = result.keyed(result.pairs).assign(p_perm_fdr=result.pairs["p_all_pairs"])
    size = DIFFERENCE.size if DIFFERENCE.size in heads else SLOPE.size
    sizes = heads.loc[heads["site"] == result.site, size].to_numpy(float)
    tables = {f"{a} − {b}": heads[(heads["a"] == a) & (heads["b"] == b)] for a, b in _shown(result, result.named_pairs)}
    limits = symmetric_limits(np.where(np.isfinite(sizes), sizes, np.nan))
    return given(tables, value=size, site=result.site, alpha=result.options.alpha).looking(limits=limits)


def _means_caption(result: SeveralConditions) -> str:
    return (
        f"Mean {measure_words(result.options).name} of every head in each condition, on one scale; outlined where the "
        f"conditions differ ({result.tested.statistic}, false discovery rate). Layer 1 is at the bottom."
    )


def _pairs_caption(_: SeveralConditions) -> str:
    return (
        "The effect of every head for each pair, on one scale; outlined where it differs, with all pairs corrected "
        "together."
    )


PLATES: Sequence[Plate[SeveralConditions]] = (
    Plate(
        "means", "lead", figures.condition_maps, _means, _means_caption,
        applies=lambda result: not result.omnibus.empty,
        parts=lambda result: list(_parts(result, len(result.conditions))),
    ),
    Plate(
        "pairs", "pairs", figures.effect_maps, _pair_maps, _pairs_caption,
        parts=lambda result: list(_parts(result, len(result.named_pairs))),
    ),
)  # fmt: skip
"""In the order of the page."""
