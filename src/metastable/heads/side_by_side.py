"""Our numbers beside those of a standard tool, row by row."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ERRORS", "SideBySide", "cell", "permutation_p", "relabelings_drawn", "seeded", "versioned"]

# Two computations of one formula agree but for rounding.
_EXACT, _ROUNDING = 1e-7, 1e-10
# Values that decide how many relabelings scipy draws, so that a check takes seconds.
_MOST_VALUES = 10_000_000
_FEWEST, _MOST = 999, 9999

ERRORS = 4.0
"""Standard errors of the Monte Carlo difference within which two simulated numbers agree."""


@dataclass
class SideBySide:
    """The rows of the table, as they are found."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        quantity: str,
        ours: float,
        theirs: float,
        tool: str,
        *,
        within: float | None = None,
        why: str = "the same formula: exact but for rounding",
    ) -> None:
        """Put two numbers side by side; `within` is how far apart they may be, None for rounding."""
        mine, other = float(ours), float(theirs)
        # of a p the size is what counts, however small; other numbers may be zero but for rounding
        floor = 0.0 if quantity.startswith("p ") else _ROUNDING
        tolerance = max(_EXACT * abs(mine), floor) if within is None else float(within)
        same = mine == other or (np.isnan(mine) and np.isnan(other)) or abs(mine - other) <= tolerance
        self.rows.append(
            {"quantity": quantity, "ours": mine, "theirs": other, "tool": versioned(tool),
             "difference": 0.0 if mine == other else mine - other, "tolerance": tolerance, "agrees": bool(same),
             "why": why}
        )  # fmt: skip

    def permuted(self, quantity: str, ours: float, m: int, theirs: float, drawn: float, tool: str) -> None:
        """Put two permutation p side by side, ours of `m` relabelings; `drawn` is infinite where all were made."""
        if np.isinf(drawn):
            self.add(quantity, ours, theirs, tool, why="all distinct relabelings on both sides: exact")
            return
        p = np.clip((ours + theirs) / 2, 1 / m, 1 - 1 / m)
        within = ERRORS * np.sqrt(p * (1 - p) * (1 / m + 1 / drawn)) + 1 / m + 1 / drawn
        why = f"both draw: {ERRORS:g} Monte Carlo standard errors of {m:,} and {int(drawn):,} relabelings"
        self.add(quantity, ours, theirs, tool, within=within, why=why)

    def other(self, quantity: str, ours: float, theirs: float, tool: str, why: str) -> None:
        """Put a number beside that of another method, which need not agree."""
        self.rows.append(
            {"quantity": quantity, "ours": float(ours), "theirs": float(theirs), "tool": versioned(tool),
             "difference": float(ours) - float(theirs), "tolerance": np.nan, "agrees": None, "why": why}
        )  # fmt: skip

    def none(self, quantity: str, ours: float, why: str) -> None:
        """Say that no standard tool has a quantity."""
        self.rows.append(
            {"quantity": quantity, "ours": float(ours), "theirs": np.nan, "tool": "", "difference": np.nan,
             "tolerance": np.nan, "agrees": None, "why": why}
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Return all rows; `agrees` is True, False or None."""
        table = pd.DataFrame(self.rows)
        table["agrees"] = table["agrees"].astype(object)
        return table


def versioned(tool: str) -> str:
    """Put the version behind the package's name: "pingouin 0.7.0 ttest"."""
    package, _, rest = tool.partition(" ")
    return f"{package} {version(package)} {rest}".strip()


def cell(table: pd.DataFrame, name: str, row: int = 0) -> float:
    """Return a number of a table of pingouin, whose versions spell its columns differently: p-val, p_val, pval."""

    def plain(text: object) -> str:
        return re.sub(r"[^a-z0-9]", "", str(text).lower())

    column = next(column for column in table.columns if plain(column) == plain(name))
    return float(table[column].iloc[row])


def seeded(function: Any, seed: int) -> dict[str, Any]:
    """Return the seed under the name that this version of scipy gives it."""
    name = "rng" if "rng" in inspect.signature(function).parameters else "random_state"
    return {name: np.random.default_rng(seed)}


def relabelings_drawn(n_units: int, *, exact: bool) -> int | float:
    """Return how many relabelings scipy draws: all where ours were all, else as many as take seconds."""
    return np.inf if exact else int(np.clip(_MOST_VALUES // n_units, _FEWEST, _MOST))


def permutation_p(
    samples: Sequence[NDArray[np.float64]],
    statistic: Callable[..., NDArray[np.float64]],
    kind: str,
    drawn: float,
    seed: int,
) -> float:
    """Return the p of scipy's permutation test, large values of the statistic speaking for an effect.

    Parameters
    ----------
    samples : sequence of ndarray
    statistic : callable
        Of the samples and an `axis`.
    kind : {"independent", "samples", "pairings"}
        What is exchanged, as scipy names it.
    drawn : float
        Relabelings; infinite for all distinct ones.
    seed : int

    Returns
    -------
    float
    """
    from scipy import stats

    test: Any = stats.permutation_test
    found = test(
        tuple(samples), statistic, permutation_type=kind, vectorized=True, n_resamples=drawn, batch=500,
        alternative="greater", **seeded(test, seed),
    )  # fmt: skip
    return float(found.pvalue)
