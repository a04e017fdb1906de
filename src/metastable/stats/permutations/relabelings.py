"""Relabelings of units that a null hypothesis makes equally likely: drawn, or all of them enumerated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.parallel_blocks import blas_threads, side_by_side

__all__ = ["COUNTED", "Exchanges", "Flips", "Relabelings", "Sampling", "exchange_labels", "exchange_rows", "flip_signs"]

Ints = NDArray[np.intp]

#: Relabelings are counted up to here: factorials soon have more digits than anyone prints.
COUNTED = 10**18

# What is drawn from one stream: so many relabelings, or more of few items, until a stream's start costs little.
_TOGETHER = 64
_ITEMS_TOGETHER = 1 << 14
# Keys that are sorted at a time, few enough to stay in the cache.
_KEYS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class Sampling:
    """How many relabelings to use.

    Attributes
    ----------
    n_permutations : int
        Asked for; all distinct relabelings are enumerated where there are at most so many.
    seed : int
        Seed of the draws. Every pass over the relabelings repeats the same ones.
    """

    n_permutations: int
    seed: int


class Relabelings(Protocol):
    """A set of relabelings in a fixed order, of which any part can be had on any thread.

    Drawn ones come in chunks of `grain`, each with a random stream of its own, so that a seed gives the same ones in
    whatever parts they are taken, and on however many threads.
    """

    @property
    def n_distinct(self) -> int:
        """Number of distinct relabelings that exist, the observed one among them; at most `COUNTED`."""

    @property
    def mirrored(self) -> bool:
        """Whether the conditions may trade places, so that each statistic comes with its negative."""

    @property
    def exact(self) -> bool:
        """Whether `blocks` hands out every distinct relabeling once."""

    @property
    def n(self) -> int:
        """Number of relabelings that there are."""

    @property
    def grain(self) -> int:
        """Relabelings that are drawn together; a part that starts or ends between multiples of it draws more."""

    def part(self, start: int, stop: int) -> NDArray[Any]:
        """Return those from `start` to before `stop`, shape (stop - start, n_units)."""

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield all of them in order, in arrays of shape (at most `size`, n_units), made on threads side by side."""


def _ranges(n: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, size):
        yield start, min(start + size, n)


def _grain(n_items: int) -> int:
    return max(_TOGETHER, _ITEMS_TOGETHER // n_items)


def _stream(seed: int, chunk: int) -> np.random.PCG64:
    """Random numbers of one chunk. Those of NumPy's bit generators stay the same in all its versions."""
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(chunk,)))


def _drawn(draw: Callable[[int, int], NDArray[Any]], grain: int, start: int, stop: int) -> NDArray[Any]:
    """Put together a part of what `draw` makes: the first relabelings of a chunk, given its number and how many."""
    pieces = []
    for chunk in range(start // grain, -(-stop // grain)):
        first = chunk * grain
        pieces.append(draw(chunk, min(grain, stop - first))[max(start - first, 0) :])
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _in_blocks(relabelings: Relabelings, size: int) -> Iterator[NDArray[Any]]:
    """Yield all relabelings in blocks; while the caller works on one, the next one's are under way on threads."""
    step = max(size // blas_threads() // relabelings.grain, 1) * relabelings.grain
    held: list[NDArray[Any]] = []
    n_held = 0
    for piece in side_by_side(lambda part: relabelings.part(*part), _ranges(relabelings.n, step)):
        held.append(piece)
        n_held += len(piece)
        if n_held < size:
            continue
        together = np.concatenate(held)
        whole = n_held - n_held % size
        for start in range(0, whole, size):
            yield together[start : start + size]
        held, n_held = [together[whole:]], n_held - whole
    if n_held:
        yield np.concatenate(held)


# --- sign flips -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flips:
    """Sign flips of whole groups of units.

    They are int8 arrays of +1 and -1, one row each, shape (size, n_units).

    Attributes
    ----------
    group : ndarray of int, shape (n_units,)
        Codes 0..G-1; the units of a group flip together.
    sampling : Sampling
    """

    group: Ints
    sampling: Sampling

    @property
    def n_groups(self) -> int:
        """Number of groups that flip independently."""
        return int(self.group.max()) + 1

    @property
    def n_distinct(self) -> int:
        """Two to the number of groups, or `COUNTED`."""
        return min(1 << min(self.n_groups, 64), COUNTED)

    @property
    def mirrored(self) -> bool:
        """Always."""
        return True

    @property
    def exact(self) -> bool:
        """Whether all flips are used."""
        return self.n_distinct <= self.sampling.n_permutations

    @property
    def n(self) -> int:
        """Number of flips used."""
        return self.n_distinct if self.exact else self.sampling.n_permutations

    @property
    def grain(self) -> int:
        """Flips that are drawn together."""
        return _grain(self.n_groups)

    def part(self, start: int, stop: int) -> NDArray[np.int8]:
        """Return signs, shape (stop - start, n_units)."""
        if self.exact:
            flipped = ((np.arange(start, stop)[:, None] >> np.arange(self.n_groups)) & 1).astype(np.int8)
        else:
            flipped = _drawn(self._draw, self.grain, start, stop)
        return (1 - 2 * flipped)[:, self.group]

    def blocks(self, size: int) -> Iterator[NDArray[np.int8]]:
        """Yield signs, shape (at most `size`, n_units)."""
        return _in_blocks(self, size)

    def _draw(self, chunk: int, n: int) -> NDArray[np.int8]:
        """Draw whether each group flips, a random bit for each."""
        words = -(-self.n_groups // 64)
        random = _stream(self.sampling.seed, chunk).random_raw(n * words)
        # Bytes in one order on every machine.
        in_bytes = np.asarray(random, dtype="<u8").view(np.uint8).reshape(n, 8 * words)
        return np.unpackbits(in_bytes, axis=1, count=self.n_groups, bitorder="little").view(np.int8)


def flip_signs(cluster: NDArray[Any] | None, n_units: int, sampling: Sampling) -> Flips:
    """Sign flips of units, or of whole clusters of them.

    Parameters
    ----------
    cluster : ndarray or None, shape (n_units,)
        Units of one cluster flip together; each unit on its own if None.
    n_units : int
    sampling : Sampling

    Returns
    -------
    Flips
    """
    group = np.arange(n_units) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    return Flips(group, sampling)


# --- exchanges ------------------------------------------------------------------------------------


class _Keys(NamedTuple):
    """How items are drawn by sorting 64-bit keys: `slots` their places in that order, `fixed` what is not random."""

    slots: Ints | slice
    above: np.uint64
    random: np.uint64
    fixed: NDArray[np.uint64]
    low: np.uint64


@dataclass(frozen=True)
class Exchanges:
    """Exchanges of items (units, or whole clusters) within strata.

    They have one row each, shape (size, n_units). Where `labels` are given, entry i is the label that unit i takes
    over (bool), otherwise the unit whose row of the design it takes over (int32).

    Attributes
    ----------
    item : ndarray of int, shape (n_units,)
        The item that a unit belongs to, 0..n_items-1.
    place : ndarray of int, shape (n_units,)
        Place of a unit in the rows of its item in `members`.
    members : ndarray of int, shape (n_items, size of the largest item)
        Units of each item; rows that only carry a label repeat the first unit.
    stratum : ndarray of int, shape (n_items,)
        Items trade places within a stratum.
    content : ndarray of int, shape (n_items,)
        Items of one stratum with the same content are alike, so that swapping them changes nothing.
    sampling : Sampling
    labels : ndarray of bool or None, shape (n_items,)
        What the units of an item carry, where that is all that moves.
    """

    item: Ints
    place: Ints
    members: Ints
    stratum: Ints
    content: Ints
    sampling: Sampling
    labels: NDArray[np.bool_] | None = None

    @cached_property
    def n_distinct(self) -> int:
        """Product over strata of the number of distinct arrangements of their items, or `COUNTED`."""
        total = 1
        for stratum in np.unique(self.stratum):
            counts = np.unique(self.content[self.stratum == stratum], return_counts=True)[1]
            left = int(counts.sum())
            for count in counts.tolist():
                total *= math.comb(left, count)
                left -= count
                if total >= COUNTED:
                    return COUNTED
        return total

    @property
    def mirrored(self) -> bool:
        """Whether labels move, as many of either kind in each stratum."""
        if self.labels is None:
            return False
        n_a = np.bincount(self.stratum, weights=self.labels)
        return bool((2 * n_a == np.bincount(self.stratum)).all())

    @property
    def exact(self) -> bool:
        """Whether all distinct arrangements are used."""
        return self.n_distinct <= self.sampling.n_permutations

    @property
    def n(self) -> int:
        """Number of arrangements used."""
        return self.n_distinct if self.exact else self.sampling.n_permutations

    @property
    def grain(self) -> int:
        """Arrangements that are drawn together."""
        return _grain(len(self.stratum))

    def part(self, start: int, stop: int) -> NDArray[Any]:
        """Return labels or row indices, shape (stop - start, n_units)."""
        moved = self._enumerated(start, stop) if self.exact else _drawn(self._draw, self.grain, start, stop)
        single = len(self.stratum) == len(self.item)
        if self.labels is not None:
            return moved if single else moved[:, self.item]
        return moved if single else self.members[moved[:, self.item], self.place].astype(np.int32)

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield labels or row indices, shape (at most `size`, n_units)."""
        return _in_blocks(self, size)

    @property
    def _moving(self) -> NDArray[Any]:
        return np.arange(len(self.stratum), dtype=np.int32) if self.labels is None else self.labels

    @cached_property
    def _keys(self) -> _Keys:
        moving, highest = self._moving.astype(np.uint64), int(self.stratum.max())
        # Places of the items in the order of the keys, whose first bits are the stratum.
        slots = np.argsort(self.stratum, kind="stable") if highest else slice(None)
        above, below = highest.bit_length(), max(int(moving.max()).bit_length(), 1)
        low = (1 << below) - 1
        random = (1 << (64 - above)) - 1 - low
        fixed = (self.stratum.astype(np.uint64) << np.uint64(64 - above)) | moving if highest else moving
        return _Keys(slots, np.uint64(above), np.uint64(random), fixed, np.uint64(low))

    def _draw(self, chunk: int, n: int) -> NDArray[Any]:
        """Draw what moves to each item, by sorting random keys.

        A key has the stratum in its first bits, what moves in its last, and random bits between: 53 of them where the
        rows of 2,000 units move freely, so that one relabeling of 10^9 has two that are equal, and in no random order.
        """
        random, keys, n_items = _stream(self.sampling.seed, chunk), self._keys, len(self.stratum)
        moved = np.empty((n, n_items), dtype=self._moving.dtype)
        for start, stop in _ranges(n, max(_KEYS_AT_A_TIME // n_items, 1)):
            rows = random.random_raw((stop - start) * n_items).reshape(-1, n_items)
            rows >>= keys.above
            rows &= keys.random
            rows |= keys.fixed
            rows.sort(axis=1)
            rows &= keys.low
            moved[start:stop, keys.slots] = rows
        return moved

    @cached_property
    def _choices(self) -> list[tuple[Ints, NDArray[Any]]]:
        """Strata that hold different items: their places, and all arrangements, shape (count, n_places)."""
        strata = []
        for stratum in np.unique(self.stratum):
            slots = np.flatnonzero(self.stratum == stratum)
            kinds, first = np.unique(self.content[slots], return_index=True)
            if len(kinds) > 1:
                strata.append((slots, self._moving[slots[first]][_arrangements(self.content[slots])]))
        return strata

    def _enumerated(self, start: int, stop: int) -> NDArray[Any]:
        moved = np.tile(self._moving, (stop - start, 1))
        code = np.arange(start, stop)
        for slots, arrangements in self._choices:
            code, chosen = np.divmod(code, len(arrangements))
            moved[:, slots] = arrangements[chosen]
        return moved


def _arrangements(content: NDArray[Any]) -> Ints:
    """All distinct orders of a multiset, as ranks of its sorted distinct values; shape (count, n)."""
    counts = np.unique(content, return_counts=True)[1]
    orders = np.full((1, len(content)), -1, dtype=np.intp)
    for rank, count in enumerate(counts):
        # Every order so far leaves the same number of free slots: choose which of them this value takes.
        n_free = int(counts[rank:].sum())
        chosen = np.array(list(combinations(range(n_free), int(count))), dtype=np.intp)
        free = np.nonzero(orders == -1)[1].reshape(len(orders), n_free)
        grown = np.repeat(orders, len(chosen), axis=0)
        slots = free[:, chosen].reshape(len(grown), int(count))
        np.put_along_axis(grown, slots, rank, axis=1)
        orders = grown
    return orders


def exchange_labels(
    condition: NDArray[np.bool_],
    sampling: Sampling,
    *,
    cluster: NDArray[Any] | None = None,
    block: NDArray[Any] | None = None,
) -> Exchanges:
    """Exchanges of the labels of two conditions.

    A cluster that lies in one condition keeps its units together: whole clusters, of any size, trade
    labels. In a cluster with units of both conditions the units trade labels among themselves.

    Parameters
    ----------
    condition : ndarray of bool, shape (n_units,)
    sampling : Sampling
    cluster, block : ndarray or None, shape (n_units,)
        As in `exchange_rows`.

    Returns
    -------
    Exchanges
        Its blocks are labels.

    Raises
    ------
    InputError
        If a cluster lies in two blocks, or nothing can be exchanged.
    """
    items = _items(len(condition), cluster, block, None if cluster is None else ~mixed_clusters(condition, cluster))
    first = np.unique(items.item, return_index=True)[1]
    labels = condition[first]
    stratum = _codes(items.stratum[first])
    nowhere = np.zeros(len(condition), dtype=np.intp)
    return _refuse_identity(
        Exchanges(items.item, nowhere, first[:, None], stratum, labels.astype(np.intp), sampling, labels)
    )


def mixed_clusters(condition: NDArray[np.bool_], cluster: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each unit's cluster has units of both conditions; shape (n_units,)."""
    codes = _codes(cluster)
    size = np.bincount(codes)
    n_a = np.bincount(codes, weights=condition)
    return np.asarray(((n_a > 0) & (n_a < size))[codes])


def exchange_rows(
    design: NDArray[np.float64],
    sampling: Sampling,
    *,
    cluster: NDArray[Any] | None = None,
    block: NDArray[Any] | None = None,
    whole: NDArray[np.bool_] | None = None,
) -> Exchanges:
    """Exchanges of the rows of a design.

    The rows of a cluster stay together in their order, so that only clusters of the same size trade
    places (whole-block exchange, Winkler et al. 2014, section 2.5).

    Parameters
    ----------
    design : ndarray of float64, shape (n_units, n_columns)
        Equal rows are interchangeable, so that exchanging them is no new relabeling.
    sampling : Sampling
    cluster : ndarray or None, shape (n_units,)
        Clusters of units.
    block : ndarray or None, shape (n_units,)
        Exchangeability block; nothing moves from one block to another. A cluster lies in one block.
    whole : ndarray of bool or None, shape (n_units,)
        Whether the unit's cluster moves as a whole (all do if None); the units of the other clusters are
        exchanged within their cluster.

    Returns
    -------
    Exchanges
        Its blocks are row indices.

    Raises
    ------
    InputError
        If a cluster lies in two blocks, or nothing can be exchanged.
    """
    items = _items(len(design), cluster, block, whole)
    order = np.argsort(items.item, kind="stable")
    sizes = np.bincount(items.item)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(design), dtype=np.intp)
    place[order] = np.arange(len(design)) - np.repeat(starts, sizes)
    # Rows past an item's end repeat its first one; they are never read, since sizes do not mix.
    columns = np.arange(sizes.max())
    members = order[starts[:, None] + np.where(columns < sizes[:, None], columns, 0)]
    stratum = _codes(np.column_stack([items.stratum[members[:, 0]], sizes]))
    content = _codes(_codes(design)[members])
    return _refuse_identity(Exchanges(items.item, place, members, stratum, content, sampling))


@dataclass(frozen=True)
class _Items:
    """What moves: the item of each unit, and the stratum within which the item may move."""

    item: Ints
    stratum: Ints


def _codes(values: NDArray[Any]) -> Ints:
    """Integer codes of the distinct entries, or of the distinct rows."""
    return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)


def _items(
    n_units: int, cluster: NDArray[Any] | None, block: NDArray[Any] | None, whole: NDArray[np.bool_] | None
) -> _Items:
    blocks = np.zeros(n_units, dtype=np.intp) if block is None else _codes(block)
    if cluster is None:
        return _Items(np.arange(n_units), blocks)
    clusters = _codes(cluster)
    nested = np.unique(np.column_stack([clusters, blocks]), axis=0)
    split = np.flatnonzero(np.bincount(nested[:, 0]) > 1)
    if len(split):
        name = np.unique(cluster)[split[0]]
        raise InputError(f"cluster {name} lies in more than one block; put all its units into one block.")
    moves = np.ones(n_units, dtype=bool) if whole is None else whole
    item = _codes(np.where(moves, clusters, clusters.max() + 1 + np.arange(n_units)))
    return _Items(item, np.where(moves, blocks, blocks.max() + 1 + clusters))


def _refuse_identity(exchanges: Exchanges) -> Exchanges:
    if exchanges.n_distinct < 2:
        raise InputError(
            "no relabeling differs from the observed one, since no block holds both conditions; "
            "give blocks (or, with covariates, clusters of one size) that hold both conditions."
        )
    return exchanges
