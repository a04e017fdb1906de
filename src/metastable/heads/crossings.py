"""Items and the contexts that carry them: what tests over both are made from, and which designs have them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from metastable.study.definition import Factor

__all__ = [
    "Crossing",
    "average_weights",
    "contexts_vary",
    "crossing_of",
    "factorial_crossings",
    "unsigned",
    "within_halves",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crossing:
    """Items and the contexts that carry them, row by row: both are draws, and tests are over both.

    A row is a sequence, or in a two-by-two design what a contrast makes of the sequences of one item in one context.

    Attributes
    ----------
    condition : ndarray of bool, shape (n_rows,)
        True for a.
    item, context : ndarray of int, shape (n_rows,)
        Codes.
    item_name, context_name : str
        What one of each is called: "word pair", "carrier".
    covariates : pandas.DataFrame of n_rows rows
        Their covariates.
    predictor : ndarray of float64, shape (n_rows,), or None
        The continuous predictor, where the design has one.
    weights : scipy.sparse array, shape (n_rows, n_sequences), or None
        ``weights @ means`` turns the sequences' means into the rows' values; None where the rows are the sequences.
    outcome : str
        What a row's value is of the measure, for a formula: "difference (near − far) of "; empty for its mean.
    effect : str
        What is tested, as a formula calls it.
    """

    condition: NDArray[np.bool_]
    item: NDArray[np.intp]
    context: NDArray[np.intp]
    item_name: str
    context_name: str
    covariates: pd.DataFrame = field(repr=False)
    predictor: Floats | None = None
    weights: sparse.csr_array | None = field(default=None, repr=False)
    outcome: str = ""
    effect: str = "condition"

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.item.max()) + 1

    @property
    def n_contexts(self) -> int:
        """Number of contexts."""
        return int(self.context.max()) + 1

    @property
    def either(self) -> str:
        """What one draw of either kind is called: "word pair or carrier"."""
        return f"{self.item_name} or {self.context_name}"

    def values(self, means: Floats) -> Floats:
        """Turn sequence means, shape (n_sequences, n), into the rows' values, shape (n_rows, n)."""
        return means if self.weights is None else np.asarray(self.weights @ means)


def average_weights(members: NDArray[np.intp], n_units: int) -> sparse.csr_array:
    """Return weights that average the sequences of each unit; members below 0 belong to none."""
    inside = np.nonzero(members >= 0)[0]
    sizes = np.bincount(members[inside], minlength=n_units)
    return sparse.csr_array((1.0 / sizes[members[inside]], (members[inside], inside)), shape=(n_units, len(members)))


def contexts_vary(contexts: NDArray[np.intp], clusters: NDArray[np.intp]) -> bool:
    """Whether contexts have several sequences and are not just the clusters by another name."""
    n_contexts, n_clusters = int(contexts.max()) + 1, int(clusters.max()) + 1
    n_both = len(np.unique(contexts * n_clusters + clusters))
    return n_contexts < len(contexts) and not n_both == n_contexts == n_clusters


def crossing_of(
    in_a: NDArray[np.bool_],
    items: NDArray[np.intp],
    contexts: NDArray[np.intp] | None,
    names: tuple[str, str],
    covariates: pd.DataFrame,
    predictor: tuple[str, Floats] | None = None,
) -> Crossing | None:
    """Return items and contexts to generalize over; None where there is one context, or one for each item or sequence.

    Parameters
    ----------
    in_a : ndarray of bool, shape (n_rows,)
    items : ndarray of int, shape (n_rows,)
    contexts : ndarray of int, shape (n_rows,), or None
    names : tuple of str
        What an item and what a context is called.
    covariates : pandas.DataFrame of n_rows rows
    predictor : tuple of str and ndarray of float64, shape (n_rows,), or None
        Name and values of a continuous predictor.

    Returns
    -------
    Crossing or None
    """
    if contexts is None or not contexts_vary(contexts, items):
        return None
    for codes in (items, contexts):
        if predictor is not None:
            spread = pd.Series(predictor[1]).groupby(codes).agg(np.ptp)
            # two at several values of the predictor each, or three
            if len(spread) < 3 and (spread > 0).sum() < 2:
                return None
            continue
        sides = [set(codes[side]) for side in (in_a, ~in_a)]
        # two that are in both conditions, or two in each
        if len(sides[0] | sides[1]) < 2 or (not sides[0] & sides[1] and min(map(len, sides)) < 2):
            return None
    made = Crossing(in_a, items, contexts, *names, covariates)
    return made if predictor is None else replace(made, predictor=predictor[1], effect=predictor[0])


def within_halves(factor: str) -> dict[str, Floats]:
    """Return what each contrast of two factors within units makes of a unit's four cells.

    Rows: the unit's value on side a and on side b; columns: a first, a second, b first, b second.
    """
    return {
        "interaction": np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]),
        "condition": np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]),
        factor: np.array([[0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5]]),
    }


def unsigned(half: Floats) -> Floats:
    """Return weights that average what others take the difference of, as covariates are."""
    return np.asarray(np.abs(half) / np.abs(half).sum(axis=1)[:, None])


def factorial_crossings(
    factor: Factor,
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    units: NDArray[np.intp],
    contexts: NDArray[np.intp] | None,
    names: tuple[str, str],
    covariates: pd.DataFrame,
    *,
    within: bool,
) -> tuple[dict[str, Crossing], str]:
    """Return items and contexts of each contrast of a two-by-two design.

    Parameters
    ----------
    factor : Factor
        The second factor.
    sides : tuple of ndarray of bool, shapes (n_sequences,)
        Which sequences are of condition a, and which of the factor's first level.
    units : ndarray of int, shape (n_sequences,)
    contexts : ndarray of int, shape (n_sequences,), or None
    names : tuple of str
        What a unit and what a context is called.
    covariates : pandas.DataFrame of n_sequences rows
    within : bool
        Whether the condition varies within units, and not only the factor.

    Returns
    -------
    crossings : dict of str to Crossing
        By the contrast's name. Each row is made of one unit in one context; empty where the design has none.
    averaged : str
        Why contexts are averaged away all the same: a unit in a context that lacks a cell of the design. Else empty.
    """
    if contexts is None or not contexts_vary(contexts, units):
        return {}, ""
    (in_a, on_first), (first, second), (noun, context_name) = sides, (one.name for one in factor.levels), names
    found, rows = np.unique(units * (int(contexts.max()) + 1) + contexts, return_inverse=True)
    n_rows, item, context = len(found), found // (int(contexts.max()) + 1), found % (int(contexts.max()) + 1)
    if within:
        cells = average_weights((rows * 2 + ~in_a) * 2 + ~on_first, 4 * n_rows)
        halves = within_halves(factor.name)
    else:
        cells = average_weights(rows * 2 + ~on_first, 2 * n_rows)
        halves = {
            "interaction": np.array([[1.0, -1.0]]), "condition": np.array([[0.5, 0.5]]), factor.name: np.eye(2)
        }  # fmt: skip
    if (np.diff(cells.indptr) == 0).any():
        both = " in both conditions" if within else ""
        return {}, f"not every {noun} has both levels of {factor.name}{both} in each {context_name} that it is in"
    of_unit = np.zeros(int(units.max()) + 1, dtype=bool)
    of_unit[units[in_a]] = True
    made: dict[str, Crossing] = {}
    for name, half in halves.items():
        two = len(half) == 2
        side = np.arange(2 * n_rows) % 2 == 0 if two else of_unit[item]
        weights = sparse.csr_array(sparse.kron(sparse.eye_array(n_rows), half) @ cells)
        plain = sparse.csr_array(sparse.kron(sparse.eye_array(n_rows), unsigned(half)) @ cells)
        table = pd.DataFrame(plain @ covariates.to_numpy(dtype=np.float64), columns=covariates.columns)
        times = 2 if two else 1
        one = crossing_of(side, np.repeat(item, times), np.repeat(context, times), (noun, context_name), table)
        if one is not None:
            made[name] = replace(
                one,
                weights=weights,
                outcome=f"difference ({first} − {second}) of " if name == "interaction" else "",
                effect=factor.name if name == factor.name else "condition",
            )
    return made, ""
