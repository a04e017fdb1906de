"""The sequences that the browser shows of each head, and their attention in few bytes."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.browser.attention import Attend, Head, HeadAttention, Token
from metastable.browser.checked_results import Comparison, significant

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
        The most bytes of all examples with their attention; see `write_browser` for what gives way.

    Returns
    -------
    dict
        ``examples``: for each head a list of [row of ``sequences``, mean count at each threshold, rank];
        ``sequences``: what is shown, each once; ``attention``: for each head base64 of zlib of, for each
        example in turn, levels (n_queries x n_keys uint8), largest weights (n_queries uint16) and counts
        (n_queries x n_thresholds uint16), little-endian, or None; ``queries``: the most query tokens.
    """
    heads: list[Head] = [
        (str(site), int(layer), int(head)) for site, layer, head in comparison.features.itertuples(index=False)
    ]
    first = comparison.heads[comparison.heads["threshold"] == comparison.thresholds[0]]
    chosen = choose_examples(
        comparison.unit_means[0],
        comparison.codes,
        first[comparison.effect.estimate].to_numpy(),
        _STEPS[0][0],
        pair=_pairs(comparison),
    )
    found = _words_alone(comparison, chosen, heads) if attend is None else _read(attend, chosen, heads)
    ranks = _ranks(comparison)
    by_size = np.argsort(-first[comparison.effect.size].abs().fillna(0.0).to_numpy(), kind="stable")
    for n, n_queries in _STEPS:
        filled = _Filled(comparison, ranks)
        for feature in by_size:
            head = heads[feature]
            items = {place: found[place, head] for place in _real(chosen[feature], n)}
            if not filled.add(feature, items, n_queries, max_bytes):
                break
        else:
            break
    return {
        "examples": filled.examples,
        "sequences": filled.table,
        "attention": None if attend is None else filled.blobs,
        "queries": n_queries,
    }


def _read(attend: Attend, chosen: NDArray[np.intp], heads: list[Head]) -> dict[tuple[int, Head], _Packed]:
    wanted: dict[int, list[Head]] = {}
    for feature, places in enumerate(chosen):
        for place in _real(places, places.shape[1]):
            wanted.setdefault(place, []).append(heads[feature])
    return {(item.sequence, item.head): _Packed.of(item, _STEPS[0][1]) for item in attend(wanted)}


def _words_alone(
    comparison: Comparison, chosen: NDArray[np.intp], heads: list[Head]
) -> dict[tuple[int, Head], _Packed]:
    nothing = np.empty((0, 0))
    return {
        (place, heads[feature]): _Packed(
            tuple(Token(word, index) for index, word in enumerate(comparison.sequences[place].words)),
            (),
            nothing.astype(np.uint8),
            nothing.astype(np.uint16),
            nothing.astype(np.uint16),
        )
        for feature, places in enumerate(chosen)
        for place in _real(places, places.shape[1])
    }


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


class _Filled:
    """The examples of head after head, the largest effects first, for as long as there is room."""

    def __init__(self, comparison: Comparison, ranks: NDArray[np.int64]) -> None:
        self._comparison = comparison
        self._codes = comparison.codes
        self._ranks = ranks
        self._places: dict[Any, int] = {}
        self._bytes = 0
        self.table: list[dict[str, Any]] = []
        self.examples: list[list[list[Any]]] = [[] for _ in range(len(comparison.features))]
        self.blobs = [""] * len(comparison.features)

    def add(self, feature: int, items: dict[int, _Packed], n_queries: int, max_bytes: int) -> bool:
        """Add the examples of one head; False, and nothing added, where they do not fit."""
        rows = [self._row(place, item) for place, item in items.items()]
        new = [row for key, row in rows if key not in self._places]
        blob = _blob(list(items.values()), n_queries)
        size = len(blob) + len(json.dumps(new, ensure_ascii=False, separators=(",", ":")).encode())
        if self._bytes + size > max_bytes:
            return False
        self._bytes += size
        self.blobs[feature] = blob
        for place, (key, row) in zip(items, rows, strict=True):
            if key not in self._places:
                self._places[key] = len(self.table)
                self.table.append(row)
            means = [significant(value) for value in self._comparison.unit_means[:, place, feature]]
            self.examples[feature].append([self._places[key], means, int(self._ranks[place, feature])])
        return True

    def _row(self, place: int, item: _Packed) -> tuple[Any, dict[str, Any]]:
        """Make one row of the table, with what tells it from others."""
        sequence = self._comparison.sequences[place]
        row: dict[str, Any] = {
            "id": sequence.identifier,
            "condition": int(self._codes[place]),
            "queries": [[token.text, token.word] for token in item.queries],
            "target": list(sequence.target),
        }
        if item.keys and item.keys != item.queries:
            row["keys"] = [[token.text, token.word] for token in item.keys]
        return (place, item.queries, item.keys), row


def _ranks(comparison: Comparison) -> NDArray[np.int64]:
    """Rank of each sequence's mean count in its own condition, 1 for the highest; ties share the best."""
    means, codes = comparison.unit_means[0], comparison.codes
    ranks = np.zeros(means.shape, dtype=np.int64)
    for side in (0, 1):
        own = codes == side
        ranks[own] = pd.DataFrame(-means[own]).rank(method="min").to_numpy(dtype=np.int64, na_value=0)
    return ranks
