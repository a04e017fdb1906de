"""The sequences that the browser shows of each head, and their attention in few bytes."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.browser.attention import Attend, Head, HeadAttention, Token
from metastable.browser.comparison import Comparison, significant

__all__ = ["choose_examples", "example_data", "quantize_rows"]

# How much attention is shown: the first step whose bytes fit is taken. (examples a condition, query tokens)
_STEPS = ((2, 128), (1, 128), (1, 64), (1, 32), (1, 16), (1, 8), (1, 4))


def choose_examples(
    means: NDArray[np.float64],
    codes: NDArray[np.int64],
    sign: NDArray[np.float64],
    n: int,
    *,
    pair: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.intp]:
    """Choose for every head the sequences in which the conditions part most, in its direction.

    Parameters
    ----------
    means : ndarray of float64, shape (n_sequences, n_features)
        Mean count of each sequence.
    codes : ndarray of int, shape (n_sequences,)
        0 for a, 1 for b, else left out.
    sign : ndarray of float64, shape (n_features,)
        The difference a - b; where it is negative the lowest of a and the highest of b are chosen.
    n : int
        How many of each condition.
    pair : ndarray of int, optional, shape (n_sequences,)
        Pairs: then the pairs that differ most are chosen, the first sequence of each side; -1 for none.

    Returns
    -------
    ndarray of int, shape (n_features, 2, n)
        Positions of sequences, the most extreme first, ties in the order of the list; -1 where there are
        fewer.
    """
    direction = np.where(sign < 0, -1.0, 1.0)
    chosen = np.full((means.shape[1], 2, n), -1, dtype=np.intp)
    if pair is not None:
        sides = [{int(code): place for place, code in reversed(list(enumerate(np.where(codes == side, pair, -1))))}
                 for side in (0, 1)]  # fmt: skip
        shared = sorted((sides[0].keys() & sides[1].keys()) - {-1})
        members = np.array([[side[code] for side in sides] for code in shared], dtype=np.intp).reshape(-1, 2)
        gap = (means[members[:, 0]] - means[members[:, 1]]) * direction
        best = np.argsort(-gap, axis=0, kind="stable")[:n]
        chosen[:, :, : len(best)] = members[best].transpose(1, 2, 0)
        return chosen
    for side, towards in ((0, 1.0), (1, -1.0)):
        own = np.flatnonzero(codes == side)
        order = np.argsort(-means[own] * direction * towards, axis=0, kind="stable")[:n]
        chosen[:, side, : len(order)] = own[order].T
    return chosen


def quantize_rows(weights: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Store attention rows in bytes.

    Parameters
    ----------
    weights : ndarray of float, shape (n_queries, n_keys)
        Rows that sum to 1.

    Returns
    -------
    levels : ndarray of uint8, shape (n_queries, n_keys)
        255 times each weight over the largest of its row.
    largest : ndarray of uint16, shape (n_queries,)
        65535 times the largest weight of each row.

    Notes
    -----
    A weight is ``levels / 255 * largest / 65535``, wrong by at most 1/510 of the largest of its row and
    1/131070.
    """
    top = weights.max(axis=1, keepdims=True)
    share = np.divide(weights, top, out=np.zeros_like(weights), where=top > 0)
    return np.rint(share * 255).astype(np.uint8), np.rint(top[:, 0] * 65535).astype(np.uint16)


def _pairs(comparison: Comparison) -> NDArray[np.int64] | None:
    if not comparison.paired:
        return None
    return np.asarray(pd.factorize(pd.Series([s.pair for s in comparison.sequences], dtype="object"))[0])


def example_data(comparison: Comparison, attend: Attend | None, max_bytes: int) -> dict[str, Any]:
    """Choose the examples of every head and pack what they attend to.

    Parameters
    ----------
    comparison : Comparison
        The results.
    attend : callable or None
        As `metastable.browser.attention_of` makes it.
    max_bytes : int
        The most bytes of all attention in base64; see `write_browser` for what gives way.

    Returns
    -------
    dict
        ``examples``: for each head a list of [row of ``sequences``, mean count at each threshold, rank];
        ``sequences``: what is shown, each once; ``attention``: for each head base64 of zlib of, for each
        example in turn, levels (n_queries x n_keys uint8), largest weights (n_queries uint16) and counts
        (n_queries x n_thresholds uint16), little-endian, or None; ``queries``: the most query tokens.
    """
    difference = comparison.heads.loc[
        comparison.heads["threshold"] == comparison.thresholds[0], "difference"
    ].to_numpy()
    means, codes = comparison.unit_means[0], comparison.codes
    chosen = choose_examples(means, codes, difference, _STEPS[0][0], pair=_pairs(comparison))
    shown = _Shown(comparison)
    if attend is None:
        return {"examples": [shown.list_words(feature, chosen[feature]) for feature in range(len(chosen))],
                "sequences": shown.table, "attention": None, "queries": None}  # fmt: skip
    heads: list[Head] = [
        (str(site), int(layer), int(head)) for site, layer, head in comparison.features.itertuples(index=False)
    ]
    wanted: dict[int, list[Head]] = {}
    for feature, places in enumerate(chosen):
        for place in places.ravel():
            if place >= 0:
                wanted.setdefault(int(place), []).append(heads[feature])
    found = {(item.sequence, item.head): _Packed.of(item, _STEPS[0][1]) for item in attend(wanted)}
    for n, n_queries in _STEPS:
        blobs, room = [], max_bytes
        for feature, head in enumerate(heads):
            blobs.append(_blob([found[place, head] for place in _real(chosen[feature], n)], n_queries))
            room -= len(blobs[-1])
            if room < 0 and (n, n_queries) != _STEPS[-1]:
                break
        if room >= 0:
            break
    else:
        # Not even a few rows of all heads fit: those of the heads that differ most.
        blobs = _largest(blobs, comparison, max_bytes)
    return {
        "examples": [
            [shown.list_one(feature, place, found[place, head]) for place in _real(chosen[feature], n)]
            for feature, head in enumerate(heads)
        ],
        "sequences": shown.table,
        "attention": blobs,
        "queries": n_queries,
    }


def _largest(blobs: list[str], comparison: Comparison, max_bytes: int) -> list[str]:
    size = comparison.heads.loc[comparison.heads["threshold"] == comparison.thresholds[0], "hedges_g"].abs()
    kept, room = [""] * len(blobs), max_bytes
    for feature in np.argsort(-size.fillna(0.0).to_numpy(), kind="stable"):
        room -= len(blobs[feature])
        if room < 0:
            break
        kept[feature] = blobs[feature]
    return kept


def _real(places: NDArray[np.intp], n: int) -> list[int]:
    return [int(place) for place in places[:, :n].ravel() if place >= 0]


@dataclass(frozen=True)
class _Packed:
    """Attention in bytes."""

    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    levels: NDArray[np.uint8]
    largest: NDArray[np.uint16]
    counts: NDArray[np.uint16]

    @classmethod
    def of(cls, item: HeadAttention, n_queries: int) -> _Packed:
        levels, largest = quantize_rows(item.weights[:n_queries])
        return cls(item.queries, item.keys, levels, largest, item.counts[:n_queries].astype(np.uint16))


def _blob(items: list[_Packed], n_queries: int) -> str:
    """Join the examples of one head: of each the levels, the largest weights and the counts, little-endian."""
    parts = [
        array[:n_queries].astype(array.dtype.newbyteorder("<")).tobytes()
        for item in items
        for array in (item.levels, item.largest, item.counts)
    ]
    return base64.b64encode(zlib.compress(b"".join(parts))).decode("ascii")


class _Shown:
    """The table of sequences that are shown, each once for each way in which it is split into tokens."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._codes = comparison.codes
        self._places: dict[Any, int] = {}
        self._ranks = _ranks(comparison)
        self.table: list[dict[str, Any]] = []

    def list_words(self, feature: int, places: NDArray[np.intp]) -> list[list[Any]]:
        """Examples of one head without attention."""
        return [
            self._entry(feature, place, tuple(Token(word, index) for index, word in enumerate(words)), ())
            for place in _real(places, places.shape[1])
            for words in (self._comparison.sequences[place].words,)
        ]

    def list_one(self, feature: int, place: int, item: _Packed) -> list[Any]:
        """One example: its row in the table, its mean count at each threshold, its rank in its condition."""
        return self._entry(feature, place, item.queries, () if item.keys == item.queries else item.keys)

    def _entry(self, feature: int, place: int, queries: tuple[Token, ...], keys: tuple[Token, ...]) -> list[Any]:
        means = [significant(value) for value in self._comparison.unit_means[:, place, feature]]
        return [self._row(place, queries, keys), means, int(self._ranks[place, feature])]

    def _row(self, place: int, queries: tuple[Token, ...], keys: tuple[Token, ...]) -> int:
        key = (place, queries, keys)
        if key not in self._places:
            self._places[key] = len(self.table)
            sequence = self._comparison.sequences[place]
            row: dict[str, Any] = {
                "id": sequence.identifier,
                "condition": int(self._codes[place]),
                "queries": [[token.text, token.word] for token in queries],
                "target": list(sequence.target),
            }
            if keys:
                row["keys"] = [[token.text, token.word] for token in keys]
            self.table.append(row)
        return self._places[key]


def _ranks(comparison: Comparison) -> NDArray[np.int64]:
    """Rank of each sequence's mean count in its own condition, 1 for the highest; ties share the best."""
    means, codes = comparison.unit_means[0], comparison.codes
    ranks = np.zeros(means.shape, dtype=np.int64)
    for side in (0, 1):
        own = codes == side
        ranks[own] = pd.DataFrame(-means[own]).rank(method="min").to_numpy(dtype=np.int64, na_value=0)
    return ranks
