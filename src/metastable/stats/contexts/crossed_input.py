"""The input of the tests over items and contexts, checked, and which mixed model its design asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.determined import independent_columns
from metastable.stats.mixed_models.two_factors import Factor
from metastable.stats.samples import ROUNDING, covariate_matrix, is_constant

__all__ = ["CrossedDesign", "Outcome", "check_crossed_input", "check_crossed_slope_input", "level_means"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Outcome = Literal["auto", "differences", "observations"]


@dataclass(frozen=True)
class CrossedDesign:
    """Rows of a test over items and contexts.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features)
        Differences a - b within the cells of item and context, or the observations themselves.
    condition : ndarray of bool, shape (n_rows,), or None
        Side of each row; None for differences, and where there is a predictor.
    item, context : Factor
        Codes and random effects.
    in_both : tuple of ndarray of bool, shapes (n_items,) and (n_contexts,)
        Which items, and which contexts, occur in both conditions, or at several values of the predictor.
    sides : ndarray of float64, shape (n_observations, n_features)
        The observations, for what is described beside the test.
    side_condition : ndarray of bool, shape (n_observations,)
        Their conditions.
    side_item : ndarray of int64, shape (n_observations,)
        Their items.
    covariates : ndarray of float64, shape (n_rows, n_held)
        What is held fixed, about its mean; of differences, the differences of the covariates.
    held : tuple of str
        Names of these.
    determined : tuple of str
        Covariates that vary and are left out, since those before them determine them.
    predictor : ndarray of float64, shape (n_rows,), or None
        A continuous predictor in the place of the condition, about its mean and in units of `unit`.
    unit : float
        Standard deviation of the predictor; 1 where there is none.
    """

    values: Floats
    condition: Bools | None
    item: Factor
    context: Factor
    in_both: tuple[Bools, Bools]
    sides: Floats
    side_condition: Bools
    side_item: Ints
    covariates: Floats
    held: tuple[str, ...] = ()
    determined: tuple[str, ...] = ()
    predictor: Floats | None = None
    unit: float = 1.0

    @property
    def effect(self) -> Floats | None:
        """Column of the effect: the predictor, or the condition as 0 and 1; None for differences."""
        if self.predictor is not None:
            return self.predictor
        return None if self.condition is None else self.condition.astype(np.float64)

    @property
    def formula(self) -> str:
        """The mixed model, in lme4's notation."""
        effect = "condition" if self.predictor is None else "predictor"
        terms = [
            f"({f'1 + {effect}' if factor.width == 2 else '1'} | {name})"
            for name, factor in (("item", self.item), ("context", self.context))
            if factor.width
        ]
        return " + ".join(["difference ~ 1" if self.effect is None else f"value ~ {effect}", *self.held, *terms])


def level_means(values: Floats, codes: Ints) -> Floats:
    """Mean of every column over the rows of each code.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows, n_columns)
        Rows to average.
    codes : ndarray of int64, shape (n_rows,)
        From 0, all in use.

    Returns
    -------
    ndarray of float64, shape (n_levels, n_columns)
    """
    order = np.argsort(codes, kind="stable")
    size = np.bincount(codes)
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    means: Floats = np.add.reduceat(values[order], first, axis=0) / size[:, None]
    return means


def check_crossed_input(
    values: ArrayLike,
    condition: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    outcome: Outcome = "auto",
    covariates: ArrayLike | pd.DataFrame | None = None,
) -> CrossedDesign:
    """Turn the arguments of `crossed_test` into rows and factors.

    Parameters
    ----------
    values, condition, item, context, outcome, covariates
        As `metastable.stats.contexts.crossed_test.crossed_test` takes them.

    Returns
    -------
    CrossedDesign

    Raises
    ------
    InputError
        For everything that `crossed_test` lists.
    """
    if outcome not in ("auto", "differences", "observations"):
        raise InputError(f"outcome is {outcome!r}; choose 'auto', 'differences' or 'observations'")
    y = _values(values)
    side = _sides(condition, len(y))
    names, table = _covariates(covariates, len(y))
    items, contexts = _codes(item, len(y), "item"), _codes(context, len(y), "context")
    both = (_in_both(items, side), _in_both(contexts, side))
    for name, codes, mine in (("item", items, both[0]), ("context", contexts, both[1])):
        _check_levels(name, codes, side, mine)
    _check_apart(items, contexts, "permutation_test")
    cells = pd.factorize(items * len(both[1]) + contexts, sort=True)[0].astype(np.int64)
    size = np.column_stack([np.bincount(cells, weights=s) for s in (side, ~side)])
    lone = (size == 0).any(axis=1)
    if outcome == "auto":
        outcome = "differences" if (size == size[0, 0]).all() else "observations"
    if outcome == "differences":
        if not both[0].any():
            raise InputError(
                "items lie in one condition each, which leaves no differences; give outcome='observations'"
            )
        if lone.any():
            row = int(np.argmax(lone[cells]))
            raise InputError(
                f"item {np.asarray(item)[row]!s} meets context {np.asarray(context)[row]!s} in one condition only (row "
                f"{row}; {int(lone.sum())} such cells); give outcome='observations', or the missing observations"
            )
        return _of_differences(y, side, items, contexts, cells, both, names, table)
    widths = _widths(side, items, contexts, both)
    base = np.column_stack([np.ones(len(y)), side])
    held, named, determined = _held(names, table - table.mean(axis=0), is_constant(table), base)
    return CrossedDesign(
        y, side, Factor(items, widths[0]), Factor(contexts, widths[1]), both, y, side, items, held, named, determined
    )


def check_crossed_slope_input(
    values: ArrayLike,
    predictor: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    covariates: ArrayLike | pd.DataFrame | None = None,
) -> CrossedDesign:
    """Turn the arguments of `crossed_slope_test` into rows and factors.

    Parameters
    ----------
    values, predictor, item, context, covariates
        As `metastable.stats.contexts.crossed_test.crossed_slope_test` takes them.

    Returns
    -------
    CrossedDesign

    Raises
    ------
    InputError
        For everything that `crossed_slope_test` lists.
    """
    y = _values(values)
    x, unit = _predictor(predictor, len(y))
    names, table = _covariates(covariates, len(y))
    items, contexts = _codes(item, len(y), "item"), _codes(context, len(y), "context")
    within = (_varies_within(items, x), _varies_within(contexts, x))
    for name, mine in (("item", within[0]), ("context", within[1])):
        if mine.sum() < 2 and len(mine) < 3:
            raise InputError(
                f"{name} has {len(mine)} level{'' if len(mine) == 1 else 's'} ({int(mine.sum())} with several values "
                f"of the predictor); to generalize over {name}s takes at least two with several values, or three"
            )
    _check_apart(items, contexts, "permutation_test_contrast")
    base = np.column_stack([np.ones(len(y)), x])
    held, named, determined = _held(names, table - table.mean(axis=0), is_constant(table), base, of="predictor")
    factors = []
    for codes, mine in zip((items, contexts), within, strict=True):
        n_levels = len(mine)
        slopes = mine.sum() >= 2 and len(codes) > 2 * n_levels
        factors.append(Factor(codes, 0 if n_levels == len(codes) else 2 if slopes else 1))
    return CrossedDesign(
        y, None, factors[0], factors[1], within, y, x > 0, items, held, named, determined, predictor=x, unit=unit
    )


def _values(values: ArrayLike) -> Floats:
    y = np.asarray(values, dtype=np.float64)
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or y.shape[0] == 0 or y.shape[1] == 0:
        raise InputError(f"values has shape {y.shape}; give observations, or observations by features")
    if not np.isfinite(y).all():
        row, feature = np.argwhere(~np.isfinite(y))[0]
        raise InputError(f"values row {row}, feature {feature} is {y[row, feature]}; leave that observation out")
    return y


def _predictor(predictor: ArrayLike, n: int) -> tuple[Floats, float]:
    """Take the predictor about its mean in units of its standard deviation; and that."""
    x = np.asarray(predictor, dtype=np.float64)
    if x.shape != (n,):
        raise InputError(f"predictor has shape {x.shape}; give one value for each of the {n} observations")
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x)))
        raise InputError(f"predictor row {row} is {x[row]}; leave that observation out")
    if is_constant(x[:, None])[0]:
        raise InputError(f"predictor is {x[0]} throughout; give observations at several values of it")
    unit = float(x.std(ddof=1))
    return (x - x.mean()) / unit, unit


def _varies_within(codes: Ints, x: Floats) -> Bools:
    """Which levels have several values of the predictor."""
    low, high = np.full((2, int(codes.max()) + 1), [[np.inf], [-np.inf]])
    np.minimum.at(low, codes, x)
    np.maximum.at(high, codes, x)
    varies: Bools = high - low > ROUNDING
    return varies


def _check_apart(items: Ints, contexts: Ints, alone: str) -> None:
    n_cells = len(np.unique(np.column_stack([items, contexts]), axis=0))
    if n_cells == int(items.max()) + 1 == int(contexts.max()) + 1:
        raise InputError(f"context has the same levels as item; with items alone use {alone}")


def _covariates(covariates: ArrayLike | pd.DataFrame | None, n: int) -> tuple[list[str], Floats]:
    """Names and values; columns of an array are z1, z2, ..."""
    if covariates is None:
        return [], np.zeros((n, 0))
    if isinstance(covariates, pd.DataFrame):
        frame = covariates
    else:
        columns = np.asarray(covariates, dtype=np.float64)
        columns = columns[:, None] if columns.ndim == 1 else columns
        if columns.ndim != 2:
            raise InputError(f"covariates has shape {columns.shape}; give observations by covariates, two dimensions")
        frame = pd.DataFrame(columns, columns=[f"z{k + 1}" for k in range(columns.shape[1])])
    return [str(name) for name in frame.columns], covariate_matrix(frame, n)


def _held(
    names: list[str], columns: Floats, idle: Bools, base: Floats, of: str = "condition"
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """Leave out covariates that do not vary and, by name, those that others determine; the effect comes last in base.

    As `metastable.stats.adjustment.difference_design` does of units.
    """
    kept = ~idle
    kept[~idle] = independent_columns(columns[:, ~idle], base[:, :-1])
    determined = tuple(name for name, out in zip(names, ~(kept | idle), strict=True) if out)
    held, named = columns[:, kept], tuple(name for name, one in zip(names, kept, strict=True) if one)
    apart = independent_columns(held, base)
    if not apart.all():
        name = named[int(apart.argmin())]
        raise InputError(f"covariate {name!r} is explained by the {of} and the covariates before it; leave it out")
    return held, named, determined


def _sides(condition: ArrayLike, n: int) -> Bools:
    array = np.asarray(condition)
    if array.shape != (n,):
        raise InputError(f"condition has shape {array.shape}; give one value for each of the {n} observations")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError("condition holds other values than True and False (or 1 and 0); give True for condition a")
    side = array.astype(bool)
    if side.all() or not side.any():
        raise InputError(f"condition is {bool(side[0])} throughout; give observations of both conditions")
    return side


def _codes(labels: ArrayLike, n: int, name: str) -> Ints:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise InputError(f"{name} has shape {array.shape}; give one label for each of the {n} observations")
    codes = np.asarray(pd.factorize(pd.Series(array), sort=False)[0], dtype=np.int64)
    if (codes < 0).any():
        raise InputError(f"{name} row {int(np.argmin(codes))} has no label; give one to every observation")
    return codes


def _in_both(codes: Ints, side: Bools) -> Bools:
    n = int(codes.max()) + 1
    both: Bools = (np.bincount(codes[side], minlength=n) > 0) & (np.bincount(codes[~side], minlength=n) > 0)
    return both


def _check_levels(name: str, codes: Ints, side: Bools, both: Bools) -> None:
    """Raise where a factor has too few levels to generalize over."""
    n_a, n_b = len(np.unique(codes[side])), len(np.unique(codes[~side]))
    if len(both) < 2 or (not both.any() and min(n_a, n_b) < 2):
        raise InputError(
            f"{name} has {len(both)} level{'' if len(both) == 1 else 's'} ({n_a} in condition a, {n_b} in b); to "
            f"generalize over {name}s takes at least two that are in both conditions, or two in each"
        )


def _of_differences(
    y: Floats,
    side: Bools,
    items: Ints,
    contexts: Ints,
    cells: Ints,
    both: tuple[Bools, Bools],
    names: list[str],
    table: Floats,
) -> CrossedDesign:
    """Differences of the means of either side of each cell of item and context."""
    parts, of_table = ([level_means(v[s], cells[s]) for s in (side, ~side)] for v in (y, table))
    _, first = np.unique(cells, return_index=True)
    # a factor with one difference a level is the residual
    rows = tuple(Factor(codes[first], int(codes.max() + 1 < len(first))) for codes in (items, contexts))
    columns = of_table[0] - of_table[1]
    idle = np.abs(columns).max(axis=0) <= ROUNDING * np.abs(table).max(axis=0)
    held, named, determined = _held(names, columns, idle, np.ones((len(first), 1)))
    return CrossedDesign(parts[0] - parts[1], None, rows[0], rows[1], both, y, side, items, held, named, determined)


def _widths(side: Bools, items: Ints, contexts: Ints, both: tuple[Bools, Bools]) -> tuple[int, int]:
    """Random effects of items and contexts: slopes where the design has what they are estimated from."""
    widths: list[int] = []
    for codes, in_both in ((items, both[0]), (contexts, both[1])):
        n_levels = len(in_both)
        if n_levels == len(codes):
            widths.append(0)
        else:
            widths.append(2 if in_both.sum() >= 2 and len(codes) > 2 * n_levels else 1)
    # A factor that is the other one's cells of level and condition repeats the other one's slope.
    for mine, other in ((0, 1), (1, 0)):
        own, cells = (items, contexts)[mine], (items, contexts)[other] * 2 + side
        n_both = len(np.unique(np.column_stack([own, cells]), axis=0))
        if widths[other] == 2 and len(np.unique(own)) == len(np.unique(cells)) == n_both:
            widths[mine] = 0
    return widths[0], widths[1]
