"""Pairs of words alike in their covariates: as many as the calipers allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.material.parts_of_speech import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CALIPERS", "EXACT", "Matching", "assign_pairs", "match_words"]

EXACT = ("word_pieces", "part_of_speech")
"""Covariates in which the two words of a pair are the same unless told."""

CALIPERS: Mapping[str, float] = MappingProxyType({"characters": 1.0, "zipf": 0.3})
"""The most by which the two words of a pair differ unless told."""

# Zipf frequencies have two decimals, whose differences are not exact in binary.
_TOLERANCE = 1e-9

# A level of a covariate that is no number has its own row in the balance table from this share of the words on.
_SHARE = 0.05


@dataclass(frozen=True)
class Matching:
    """Pairs of words, and how alike the two sides are before and after.

    Attributes
    ----------
    pairs : pandas.DataFrame
        One row per pair, in the order of the first word:

        * ``a``, ``b`` : str, the two words
        * ``distance`` : float64, mean over the calipers of the difference in units of the caliper, 0 to 1
    balance_before, balance_after : pandas.DataFrame
        `metastable.stats.balance.balance_table` of all candidates and of the paired words. A covariate
        that is no number has one row per level, the share of words that have it.
    notes : tuple of str
        What a reader must know: how many candidates there were, and how many found no partner.
    """

    pairs: pd.DataFrame
    balance_before: pd.DataFrame
    balance_after: pd.DataFrame
    notes: tuple[str, ...]


def match_words(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    exact: Sequence[str] = EXACT,
    calipers: Mapping[str, float] = CALIPERS,
) -> Matching:
    """Pair words of two lists that are alike in their covariates.

    No other choice of pairs within the calipers has more pairs, and none with as many has a smaller sum
    of distances. The result does not depend on the order of the words.

    Parameters
    ----------
    a, b : pandas.DataFrame
        The candidates of each side: the word as index, one column per covariate.
    exact : sequence of str
        Columns in which the words of a pair are the same. A word whose part of speech is not known has
        no partner if ``"part_of_speech"`` is among them.
    calipers : mapping of str to float
        For each column the most by which the words of a pair differ.

    Returns
    -------
    Matching

    Raises
    ------
    InputError
        If a column is missing, a caliper is negative or its column not a number, a word stands on both
        sides or twice on one, or fewer than two pairs can be made.

    References
    ----------
    Rosenbaum, P. R. (1989). Optimal matching for observational studies. Journal of the American
    Statistical Association, 84, 1024-1032.
    """
    import pandas as pd

    a, b = a.sort_index(), b.sort_index()
    _check(a, b, exact, calipers)
    rows, columns, distances = [], [], []
    for block_a, block_b in _blocks(a, b, exact):
        i, j, distance = _within_calipers(a.iloc[block_a], b.iloc[block_b], calipers)
        chosen = assign_pairs(i, j, distance, (len(block_a), len(block_b)))
        rows.append(block_a[i[chosen]])
        columns.append(block_b[j[chosen]])
        distances.append(distance[chosen])
    row, column = np.concatenate([*rows, np.zeros(0, np.intp)]), np.concatenate([*columns, np.zeros(0, np.intp)])
    if len(row) < 2:
        raise InputError(
            f"of {len(a):,} and {len(b):,} words {len(row)} can be paired within the calipers "
            f"({_describe(exact, calipers)}); give wider calipers or more words"
        )
    order = np.argsort(row, kind="stable")
    paired_a, paired_b = a.iloc[row[order]], b.iloc[column[order]]
    used = [*exact, *calipers]
    return Matching(
        pairs=pd.DataFrame(
            {"a": paired_a.index, "b": paired_b.index, "distance": np.concatenate(distances)[order]}
        ).astype({"a": "str", "b": "str"}),
        balance_before=_balance(a, b, a, b, used),
        balance_after=_balance(paired_a, paired_b, a, b, used),
        notes=(
            f"{len(row):,} pairs of {len(a):,} and {len(b):,} candidates, as many as the calipers allow "
            f"({_describe(exact, calipers)}); the other words have no partner and are left out",
            *_unknown_notes(a, b, exact),
        ),
    )


def assign_pairs(
    rows: NDArray[np.intp], columns: NDArray[np.intp], cost: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.intp]:
    """Choose, among the pairs allowed, as many as possible, and of these the cheapest choice.

    Parameters
    ----------
    rows, columns : ndarray of int, shape (n_allowed,)
        The pairs allowed; each once.
    cost : ndarray of float64, shape (n_allowed,)
        Cost of each, from 0 to 1.
    shape : pair of int
        How many rows and columns there are.

    Returns
    -------
    ndarray of int, shape (n_chosen,)
        Positions of the chosen pairs in `rows`, in ascending order: no row and no column is in two.

    Notes
    -----
    Every row gets a partner of its own beside the real ones, so that a full matching exists and the sparse
    form of the algorithm of Jonker and Volgenant (1987) applies. A real pair costs 1 to 2, the row's own
    partner more than all that real pairs could save, so no real pair is given up for a cheaper choice.
    """
    from scipy.sparse import coo_array, csr_array, hstack
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if rows.size == 0:
        return np.zeros(0, dtype=np.intp)
    n_rows = shape[0]
    # Costs are moved from 0, which a sparse matrix would take for a pair that is not allowed.
    real = csr_array(coo_array((1.0 + cost, (rows, columns)), shape=shape))
    own = csr_array(coo_array((np.full(n_rows, 2.0 * n_rows + 2.0), (np.arange(n_rows), np.arange(n_rows)))))
    row, column = min_weight_full_bipartite_matching(hstack([real, own], format="csr"))
    matched = np.full(n_rows, -1, dtype=np.intp)
    matched[row] = column
    return np.flatnonzero(matched[rows] == columns)


def _blocks(
    a: pd.DataFrame, b: pd.DataFrame, exact: Sequence[str]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Positions of the words of each side that are the same in all columns of `exact`."""
    if not exact:
        yield np.arange(len(a)), np.arange(len(b))
        return
    groups_a, groups_b = (table.groupby(list(exact), sort=True).indices for table in (a, b))
    for key, positions in groups_a.items():
        levels = dict(zip(exact, key if isinstance(key, tuple) else (key,), strict=True))
        if key in groups_b and levels.get("part_of_speech") != UNKNOWN:
            yield np.asarray(positions, dtype=np.intp), np.asarray(groups_b[key], dtype=np.intp)


def _within_calipers(
    a: pd.DataFrame, b: pd.DataFrame, calipers: Mapping[str, float]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """All pairs of positions that no caliper forbids, and their distances."""
    from scipy.spatial import KDTree

    if not calipers:
        i, j = np.indices((len(a), len(b))).reshape(2, -1)
        return i, j, np.zeros(i.size)
    # A caliper of 0 asks for equality; any unit will do for it.
    unit = np.array([width or 1.0 for width in calipers.values()])
    width = np.array([1.0 if value else 0.0 for value in calipers.values()])
    scaled_a, scaled_b = (table[list(calipers)].to_numpy(dtype=np.float64) / unit for table in (a, b))
    near = KDTree(scaled_a).sparse_distance_matrix(KDTree(scaled_b), 1.0 + _TOLERANCE, p=np.inf, output_type="ndarray")
    i, j = near["i"], near["j"]
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    difference = np.abs(scaled_a[i] - scaled_b[j])
    allowed = (difference <= width + _TOLERANCE).all(axis=1)
    return i[allowed], j[allowed], np.minimum(difference[allowed], 1.0).mean(axis=1)


def _balance(
    a: pd.DataFrame, b: pd.DataFrame, all_a: pd.DataFrame, all_b: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    import pandas as pd

    from metastable.stats.balance import balance_table

    table, everyone = pd.concat([a, b]), pd.concat([all_a, all_b])
    columns: dict[str, NDArray[np.float64]] = {}
    for name in names:
        if pd.api.types.is_numeric_dtype(everyone[name]):
            columns[name] = table[name].to_numpy(dtype=np.float64)
            continue
        shares = everyone[name].value_counts(normalize=True)
        for level in sorted(shares.index[shares >= _SHARE]):
            columns[f"{name} {level or 'unknown'}"] = (table[name] == level).to_numpy(dtype=np.float64)
    return balance_table(pd.DataFrame(columns), np.arange(len(table)) < len(a))


def _unknown_notes(a: pd.DataFrame, b: pd.DataFrame, exact: Sequence[str]) -> tuple[str, ...]:
    if "part_of_speech" not in exact:
        return ()
    unknown = [int((table["part_of_speech"] == UNKNOWN).sum()) for table in (a, b)]
    if not any(unknown):
        return ()
    return (f"{unknown[0]:,} and {unknown[1]:,} candidates are not in the lexicon of parts of speech and are left out",)


def _describe(exact: Sequence[str], calipers: Mapping[str, float]) -> str:
    parts = [f"same {name}" for name in exact] + [f"{name} within {width:g}" for name, width in calipers.items()]
    return ", ".join(parts).replace("_", " ")


def _check(a: pd.DataFrame, b: pd.DataFrame, exact: Sequence[str], calipers: Mapping[str, float]) -> None:
    import pandas as pd

    for name in (*exact, *calipers):
        if name not in a.columns or name not in b.columns:
            raise InputError(
                f"words cannot be matched by {name!r}: there is no such column; "
                f"choose among {', '.join(map(str, a.columns.intersection(b.columns)))}"
            )
    for name, width in calipers.items():
        if not 0 <= width < np.inf:
            raise InputError(f"the caliper of {name} is {width}; give 0 or more")
        for table in (a, b):
            if not pd.api.types.is_numeric_dtype(table[name]) or not np.isfinite(table[name].to_numpy(float)).all():
                raise InputError(
                    f"{name} is not a finite number for every word; give it no caliper, or ask for the same"
                )
    words = a.index.append(b.index)
    if words.has_duplicates:
        raise InputError(f"the word {words[words.duplicated()][0]!r} is a candidate twice; give each word once")
