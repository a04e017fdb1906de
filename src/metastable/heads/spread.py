"""How the count of every head spreads over tokens, relative to the keys that each token's query sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.cube import counts_and_keys
from metastable.heads.modes import operating_modes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["STEPS", "Spread", "spread_of"]

STEPS = 100
"""Steps of the histograms of shares: percents."""

# The shares of one block of heads stay below this many bytes.
_BLOCK_BYTES = 128 * 2**20
_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Spread:
    """How the count of every head spreads over the tokens of either side of a contrast.

    Attributes
    ----------
    quartiles : ndarray of float64, shape (2, n_features, 3)
        First quartile, median and third quartile over tokens of count / keys, keys the number that the token's query
        sees; NaN for a head without tokens.
    histograms : ndarray of int64, shape (2, n_features, STEPS + 1)
        How many tokens have a count of so many hundredths of their keys, rounded up; position 0 is empty.
    fewest, usual, most : ndarray of int64, shape (n_features,)
        The keys that a query of the head sees, of both sides: the least, the median and the largest number.
    """

    quartiles: NDArray[np.float64]
    histograms: NDArray[np.int64]
    fewest: NDArray[np.int64]
    usual: NDArray[np.int64]
    most: NDArray[np.int64]

    @property
    def modes(self) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Operating mode of every head on either side, from the median of count / keys."""
        a, b = operating_modes(self.quartiles[..., 1], 1)
        return a, b

    def visible_keys(self, features: NDArray[np.bool_] | slice = slice(None)) -> int | None:
        """Return how many keys every query of some heads sees; None where they see different numbers."""
        fewest, most = int(self.fewest[features].min()), int(self.most[features].max())
        return most if fewest == most else None


def spread_of(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    sides: NDArray[np.integer],
    *,
    chunk: int = 256,
    block_bytes: int = _BLOCK_BYTES,
) -> Spread:
    """Find how the counts of both sides spread, relative to the keys that their queries see.

    Parameters
    ----------
    cube : xarray.Dataset
        With ``count`` and ``share``, as `metastable.load_counts` opens it.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``.
    threshold : float
        One of the cube's thresholds.
    sides : ndarray of int, shape (n_sequences,)
        0 or 1; -1 leaves a sequence out.
    chunk : int
        Sequences read at a time.
    block_bytes : int
        The most that the shares of the heads that are held together may take; the cube is read once for each block.

    Returns
    -------
    Spread
    """
    bytes_each = 8 * cube.sizes["sequence"] * cube.sizes["token"]
    step = max(1, block_bytes // bytes_each)
    blocks = [
        _spread_of_block(cube, features.iloc[start : start + step], threshold, sides, chunk)
        for start in range(0, len(features), step)
    ]
    return Spread(
        np.concatenate([one.quartiles for one in blocks], axis=1),
        np.concatenate([one.histograms for one in blocks], axis=1),
        *(np.concatenate([getattr(one, name) for one in blocks]) for name in ("fewest", "usual", "most")),
    )


def _spread_of_block(
    cube: xr.Dataset, features: pd.DataFrame, threshold: float, sides: NDArray[np.integer], chunk: int
) -> Spread:
    read: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    seen: list[NDArray[np.int32]] = []
    for start, counts, keys in counts_and_keys(cube, features, threshold, chunk=chunk):
        here = sides[start : start + len(counts)]
        for side in (0, 1):
            mine = counts[here == side] > 0
            # a token queries in all heads of a site or in none; several sites have tokens of their own
            asked = mine.any(axis=2)
            k, n = counts[here == side][asked], keys[here == side][asked]
            read[side].append(np.divide(k, n, out=np.full(k.shape, np.nan), where=n > 0))
            seen.append(n.astype(np.int32))
    quartiles = np.stack([_quartiles(np.concatenate(shares)) for shares in read])
    histograms = np.stack([_histograms(np.concatenate(shares)) for shares in read])
    numbers = [column[column > 0] for column in np.concatenate(seen).T]
    fewest, usual, most = (
        np.array([of(column) if column.size else 0 for column in numbers], dtype=np.int64)
        for of in (np.min, np.median, np.max)
    )
    return Spread(quartiles, histograms, fewest, usual, most)


def _quartiles(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = (column[~np.isnan(column)] for column in shares.T)
    return np.array([np.quantile(column, _QUARTERS) if column.size else [np.nan] * 3 for column in columns])


def _histograms(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    # 7/100 times 100 is more than 7 by a rounding error
    steps = np.ceil(np.round(STEPS * np.nan_to_num(shares), 6)).astype(np.int64)
    table = np.stack([np.bincount(column, minlength=STEPS + 1) for column in steps.T])
    table[:, 0] = 0
    return table
