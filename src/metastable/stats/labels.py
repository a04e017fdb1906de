"""Labels of units and features, checked in one place: one that is missing is refused, never made a label of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError

__all__ = ["check_condition", "check_labels", "label_codes"]


def check_labels(name: str, labels: ArrayLike, n: int, *, each: str = "unit") -> NDArray[Any]:
    """Return labels as an array, and refuse another shape or a label that is missing.

    Parameters
    ----------
    name : str
        What the argument is called.
    labels : array_like, shape (n,)
        Labels of any type that can be sorted. None, NaN, NaT, pandas.NA and masked entries are missing, whatever
        the type of the array that holds them.
    n : int
        Labels that there must be.
    each : str
        What has a label: "unit", "feature", "test".

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    InputError
        If the shape is another, a label is missing (the message names the first row), or labels are of types that
        have no order among them, such as numbers beside strings.

    Examples
    --------
    >>> check_labels("cluster", ["a", "b", "a"], 3).tolist()
    ['a', 'b', 'a']
    >>> check_labels("cluster", ["a", None, float("nan")], 3)
    Traceback (most recent call last):
    metastable.errors.InputError: cluster[1] is None (2 such rows); give every unit a label, or leave it out
    """
    # numpy would write a NaN among strings as the string "nan": what is not an array yet is looked at entry by entry.
    entries = labels if hasattr(labels, "dtype") else np.asarray(labels, dtype=object)
    given = np.asarray(entries)
    if given.shape != (n,):
        raise InputError(f"{name} has shape {given.shape}; give one label for each of the {n} {each}s")
    missing = np.ma.getmaskarray(entries) if isinstance(entries, np.ma.MaskedArray) else _missing(given)
    if missing.any():
        row = int(missing.argmax())
        value = "masked" if isinstance(entries, np.ma.MaskedArray) else given[row]
        raise InputError(
            f"{name}[{row}] is {value} ({int(missing.sum())} such rows); give every {each} a label, or leave it out"
        )
    if given.dtype == object:
        _check_order(name, given)
    return given if hasattr(labels, "dtype") else np.asarray(labels)


def label_codes(name: str, labels: ArrayLike, n: int, *, each: str = "unit") -> NDArray[np.intp]:
    """Give each distinct label a number from 0, in their order; arguments and errors as in `check_labels`."""
    return np.asarray(np.unique(check_labels(name, labels, n, each=each), return_inverse=True)[1], dtype=np.intp)


def check_condition(condition: ArrayLike, n: int) -> NDArray[np.bool_]:
    """Return the condition of every unit, and refuse what is no boolean, or missing.

    Parameters
    ----------
    condition : array_like of bool, shape (n,)
        True for condition a, False for b.
    n : int
        Units that there must be.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    InputError
        If the shape or type is another, or an entry is missing.
    """
    labels = np.asarray(condition)
    if labels.shape == (n,) and labels.dtype != np.bool_ and n:
        # A missing entry is the likelier reason for another type, and the better one to tell.
        check_labels("condition", condition, n)
    if labels.dtype != np.bool_ or labels.shape != (n,):
        raise InputError(
            f"condition has dtype {labels.dtype} and shape {labels.shape}; give {n} booleans, one a "
            "row of values, True for condition a"
        )
    return labels


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels are missing; types that can hold none are not searched."""
    if array.dtype.kind in "biuSUV":
        return np.zeros(len(array), dtype=bool)
    import pandas as pd  # slow to load, and the table of corrections is read wherever options are listed

    return np.asarray(pd.isna(array), dtype=bool)


def _check_order(name: str, array: NDArray[Any]) -> None:
    try:
        np.unique(array)
    except TypeError as error:
        kinds = [type(label).__name__ for label in array.tolist()]
        other = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), 0)
        raise InputError(
            f"{name}[{other}] is {array[other]!r}, of the type {kinds[other]}, and {name}[0] of the type {kinds[0]}; "
            "give labels of one type that can be put in order"
        ) from error
