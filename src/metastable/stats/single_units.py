"""Covariates that a single unit decides: they leave nothing to estimate the error of their coefficients from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from metastable.errors import InputError

__all__ = ["Holdable", "SingleUnitError", "holdable"]


class SingleUnitError(InputError):
    """One unit, or one cluster, alone determines a coefficient of a design: its leverage is 1."""


@dataclass(frozen=True)
class Holdable:
    """Which of the recorded covariates can be held fixed together.

    Attributes
    ----------
    covariates : pandas.DataFrame or None
        Those; None where there are none.
    single : tuple of str
        Names of those that are left out, since beside those before them a single unit determines a coefficient.
    reason : str
        Why there are none; empty if there are.
    """

    covariates: pd.DataFrame | None
    single: tuple[str, ...] = ()
    reason: str = ""


def holdable(recorded: pd.DataFrame | None, fit: Callable[[pd.DataFrame], object]) -> Holdable:
    """Find the recorded covariates that a regression can hold fixed.

    Parameters
    ----------
    recorded : pandas.DataFrame or None
        A column each, in the order in which they are to be kept.
    fit : callable
        Holds the columns of a frame fixed, or raises InputError where the data do not allow it.

    Returns
    -------
    Holdable
        An adjustment that the data do not allow is a finding of its own, which the reason states.

    Examples
    --------
    >>> table = pd.DataFrame({"length": [3.0, 5.0, 4.0, 9.0], "one text alone": [0.0, 0.0, 1.0, 0.0]})
    >>> def fit(held: pd.DataFrame) -> None:
    ...     if "one text alone" in held:
    ...         raise SingleUnitError("unit 2 alone determines a coefficient of the design")
    >>> found = holdable(table, fit)
    >>> list(found.covariates), found.single
    (['length'], ('one text alone',))
    """
    if recorded is None or recorded.empty:
        return Holdable(None, reason="no covariate was recorded")
    try:
        fit(recorded)
    except SingleUnitError as error:
        return _without_single(recorded, fit, str(error))
    except InputError as error:
        return Holdable(None, reason=str(error))
    return Holdable(recorded)


def _without_single(recorded: pd.DataFrame, fit: Callable[[pd.DataFrame], object], reason: str) -> Holdable:
    kept: list[str] = []
    single: list[str] = []
    for name in recorded.columns:
        try:
            fit(recorded[[*kept, name]])
        except SingleUnitError:
            single.append(name)
        except InputError as error:
            return Holdable(None, reason=str(error))
        else:
            kept.append(name)
    left_out = tuple(map(str, single))
    return Holdable(recorded[kept], left_out) if kept else Holdable(None, left_out, reason)
