"""Views on the cube of counts: the features, the units' means, the tokens' histograms and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from metastable.errors import InputError

if TYPE_CHECKING:
    import metastable.study as study
    from metastable.models.sites import Site

__all__ = [
    "counts_and_keys",
    "feature_table",
    "head_positions",
    "histogram_medians",
    "in_memory",
    "row_blocks",
    "target_rows",
    "token_histograms",
    "token_values",
    "unit_means",
]


# Bytes of a cube that is read but once.
_SMALL = 1 << 28


def in_memory(cube: xr.Dataset) -> xr.Dataset:
    """Return a small cube as it is in memory, so that it is read from the disk once; a large one as it is."""
    return cube.compute() if cube.nbytes <= _SMALL else cube


def feature_table(cube: xr.Dataset) -> pd.DataFrame:
    """List the heads that the cube holds.

    Parameters
    ----------
    cube : xarray.Dataset
        With ``mean_count`` of dimensions (sequence, site, layer, head, threshold); NaN where a site
        has no such layer or head.

    Returns
    -------
    pandas.DataFrame
        One row per head with columns ``site, layer, head``, in that order; the index is 0..n-1.
    """
    first = cube["mean_count"].isel(sequence=0, threshold=0).transpose("site", "layer", "head")
    site, layer, head = np.nonzero(~np.isnan(first.to_numpy()))
    return pd.DataFrame(
        {
            "site": cube["site"].to_numpy()[site].astype(str),
            "layer": cube["layer"].to_numpy()[layer].astype(np.int64),
            "head": cube["head"].to_numpy()[head].astype(np.int64),
        }
    )


def target_rows(
    cube: xr.Dataset,
    sequences: Sequence[study.Sequence],
    sites: Sequence[Site],
    measure: str = "count",
    span: Literal["", "first", "second"] = "",
) -> xr.Dataset:
    """Keep the rows of the target words alone.

    Parameters
    ----------
    cube : xarray.Dataset
        With ``count`` of dimensions (sequence, site, layer, head, threshold, token).
    sequences : sequence of Sequence
        In the order of the cube, each with a `target`.
    sites : sequence of Site
        The sites of the cube: a decoder reads each word one step later than the text has it.
    measure : str
        What is taken of them beside the count.
    span : {"", "first", "second"}
        Of the targets, only the first span or the second; empty for both.

    Returns
    -------
    xarray.Dataset
        ``count``, 0 but for the pieces of the target words, and its mean over them, ``mean_count``; the same of the
        measure, with NaN in the place of 0 where its values are floats.

    Raises
    ------
    InputError
        If a sequence has no target that queries: it names none, it was cut off, or ``queries`` left it out.
    """
    hit = np.zeros((len(sequences), cube.sizes["token"]), dtype=bool)
    wanted = {"": (1, 2), "first": (1,), "second": (2,)}[span]
    for row, sequence in zip(hit, sequences, strict=True):
        row[: len(sequence.word_index)] = np.isin(sequence.target_spans, wanted)
    later = np.pad(hit[:, :-1], ((0, 0), (1, 0)))
    of_site = {site.name: later if site.queries == "decoder" else hit for site in sites}
    hits = np.stack([of_site[name] for name in cube["site"].to_numpy().tolist()])
    of_target = xr.DataArray(hits, dims=("site", "sequence", "token"))
    count = cube["count"].where(of_target, 0)
    asked = (count > 0).sum("token")
    # a head that the site does not have has no count anywhere
    lost = ((asked == 0) & ~np.isnan(cube["mean_count"])).any(("site", "layer", "head", "threshold")).to_numpy()
    if lost.any():
        raise InputError(
            f"sequence {sequences[int(np.argmax(lost))].identifier!r} has no target word that queries; leave "
            "--queries at all or words"
        )
    kept = {"count": count}
    if measure != "count":
        values = cube[measure]
        kept[measure] = values.where(of_target, np.nan if values.dtype.kind == "f" else 0)
    return xr.Dataset({**kept, **{f"mean_{name}": _mean_over_tokens(values) for name, values in kept.items()}})


def _mean_over_tokens(values: xr.DataArray) -> xr.DataArray:
    """Mean over the tokens that query; NaN where none does."""
    if values.dtype.kind == "f":
        return values.mean("token", skipna=True, dtype=np.float64)
    asked = (values > 0).sum("token")
    return (values.sum("token", dtype=np.float64) / asked).where(asked > 0)


def head_positions(cube: xr.Dataset, features: pd.DataFrame) -> tuple[NDArray[np.intp], ...]:
    """Return the positions of heads along the axes site, layer and head of a cube, each of shape (n_features,)."""
    return tuple(
        pd.Index(cube[name].to_numpy()).get_indexer(pd.Index(features[name])) for name in ("site", "layer", "head")
    )


def _threshold_index(cube: xr.Dataset, threshold: float) -> int:
    return int(np.argmin(np.abs(cube["threshold"].to_numpy() - threshold)))


def unit_means(
    cube: xr.Dataset, features: pd.DataFrame, threshold: float, measure: str = "count"
) -> NDArray[np.float64]:
    """Return the mean count of every sequence and head at one threshold.

    Parameters
    ----------
    cube : xarray.Dataset
        See `feature_table`.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``.
    threshold : float
        One of the cube's thresholds.
    measure : str
        Which summary of the attention row.

    Returns
    -------
    ndarray of float64, shape (n_sequences, n_features)
    """
    array = cube[f"mean_{measure}"]
    if "threshold" in array.dims:
        array = array.isel(threshold=_threshold_index(cube, threshold))
    block = array.transpose("sequence", "site", "layer", "head").to_numpy()
    site, layer, head = head_positions(cube, features)
    return np.ascontiguousarray(block[:, site, layer, head], dtype=np.float64)


def holds_tokens(cube: xr.Dataset) -> bool:
    """Whether a cube holds the values of every token, and not the means of sequences alone."""
    return "count" in cube


def _chunks(cube: xr.Dataset, threshold: float, measure: str, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
    array = cube[measure]
    if "threshold" in array.dims:
        array = array.isel(threshold=_threshold_index(cube, threshold))
    array = array.transpose("sequence", "token", "site", "layer", "head")
    for start in range(0, array.sizes["sequence"], size):
        yield start, array.isel(sequence=slice(start, start + size)).to_numpy()


def _asked(values: NDArray[Any]) -> NDArray[np.bool_]:
    return ~np.isnan(values) if values.dtype.kind == "f" else values > 0


def row_blocks(
    cube: xr.Dataset, features: pd.DataFrame, threshold: float, measure: str = "count", *, chunk: int = 256
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.bool_]]]:
    """Read a measure of every row of attention, some sequences at a time.

    Parameters
    ----------
    cube, features, threshold
        As for `token_histograms`.
    measure : str
        Which summary of the attention row.
    chunk : int
        Sequences read at a time, which bounds the memory.

    Yields
    ------
    start : int
        Position of the first of these sequences in the cube.
    values : ndarray, shape (n_sequences, n_tokens, n_features)
    asked : ndarray of bool of the same shape
        Whether the token queries.
    """
    site, layer, head = head_positions(cube, features)
    for start, block in _chunks(cube, threshold, measure, chunk):
        rows = block[:, :, site, layer, head]
        yield start, rows, _asked(rows)


def token_histograms(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    groups: NDArray[np.integer],
    *,
    chunk: int = 256,
) -> NDArray[np.int64]:
    """Count how often each head gives each count, for each group of sequences.

    Parameters
    ----------
    cube : xarray.Dataset
        With ``count`` of dimensions (sequence, site, layer, head, threshold, token), 0 where a token
        is no query.
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``.
    threshold : float
        One of the cube's thresholds.
    groups : ndarray of int, shape (n_sequences,)
        Group of each sequence, from 0; -1 leaves a sequence out.
    chunk : int
        Sequences read at a time, which bounds the memory.

    Returns
    -------
    ndarray of int64, shape (n_groups, n_features, n_tokens + 1)
        Number of tokens with each count; index 0 is always 0.
    """
    site, layer, head = head_positions(cube, features)
    n_groups, width = int(groups.max()) + 1, cube.sizes["token"] + 1
    n_features = len(features)
    histograms = np.zeros((n_groups, n_features, width), dtype=np.int64)
    offset = np.arange(n_features, dtype=np.int64) * width
    for start, block in _chunks(cube, threshold, "count", chunk):
        rows = block[:, :, site, layer, head]
        here = groups[start : start + len(rows)]
        for group in np.unique(here[here >= 0]):
            keys = rows[here == group].astype(np.int64) + offset
            histograms[group] += np.bincount(keys.ravel(), minlength=n_features * width).reshape(n_features, width)
    histograms[:, :, 0] = 0
    return histograms


def counts_and_keys(
    cube: xr.Dataset, features: pd.DataFrame, threshold: float, *, chunk: int = 256
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Read the count of every token, and the number of keys that its query sees, some sequences at a time.

    Parameters
    ----------
    cube, features, threshold
        As for `token_histograms`; the cube holds the measure ``share`` too, which is count / keys.
    chunk : int
        Sequences read at a time.

    Yields
    ------
    start : int
        Position of the first of these sequences in the cube.
    counts, keys : ndarray of int64, shape (n_sequences, n_tokens, n_features)
        0 where a token is no query.
    """
    site, layer, head = head_positions(cube, features)
    blocks = zip(_chunks(cube, threshold, "count", chunk), _chunks(cube, threshold, "share", chunk), strict=True)
    for (start, count), (_, share) in blocks:
        counts = count[:, :, site, layer, head].astype(np.int64)
        shares = share[:, :, site, layer, head].astype(np.float64)
        # float32 tells whole numbers of up to seven digits apart
        keys = np.divide(counts, shares, out=np.zeros(counts.shape), where=counts > 0)
        yield start, counts, np.rint(keys).astype(np.int64)


def token_values(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    measure: str = "count",
    *,
    chunk: int = 256,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return one row per query token, for models with tokens within sequences.

    Parameters
    ----------
    cube, features, threshold
        As for `token_histograms`.
    measure : str
        Which summary of the attention row.
    chunk : int
        Sequences read at a time.

    Returns
    -------
    values : ndarray of float64, shape (n_tokens, n_features)
    sequence : ndarray of int, shape (n_tokens,)
        Position of each token's sequence in the cube.
    """
    site, layer, head = head_positions(cube, features)
    values, owners = [], []
    for start, block in _chunks(cube, threshold, measure, chunk):
        rows = block[:, :, site, layer, head]
        asked = _asked(rows).any(axis=2)
        values.append(rows[asked].astype(np.float64))
        owners.append(start + np.nonzero(asked)[0])
    return np.concatenate(values), np.concatenate(owners)


def histogram_medians(histograms: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the medians of counts from their histograms.

    Parameters
    ----------
    histograms : ndarray of int64, shape (..., n_values)
        How often each value from 0 upwards occurs.

    Returns
    -------
    ndarray of float64, shape (...)
        The mean of the two middle values where their number is even, as `numpy.median` has it.
    """
    below = np.cumsum(histograms, axis=-1)
    total = below[..., -1:]
    lower = np.argmax(below >= (total + 1) // 2, axis=-1)
    upper = np.argmax(below >= total // 2 + 1, axis=-1)
    return np.asarray((lower + upper) / 2)
