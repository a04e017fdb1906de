"""Numbers as spreadsheets of any country write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from metastable.errors import InputError

__all__ = ["MISSING", "is_numeric", "numbers", "plain_numbers", "read_number"]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "--", ".", "#n/a", "missing", "nd"})
"""What cells without a number hold, in small letters."""

_COMMA = re.compile(r"[-+]?\d+,\d+(?:e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
_POINTED = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")
# 1.234,5 and 1 234,5
_GROUPED_COMMA = re.compile(r"[-+]?\d{1,3}(?:[.\u00a0\u202f ']\d{3})+,\d+")
_GROUPED_POINT = re.compile(r"[-+]?\d{1,3}(?:[,\u00a0\u202f ']\d{3})+\.\d+")


def _clean(cell: str) -> str:
    return cell.strip().replace("\u2212", "-")


def _plain(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def read_number(cell: str) -> tuple[float, ...]:
    """Return every number that a cell may mean: none, one, or with a comma before three digits two.

    Examples
    --------
    >>> read_number("4.5"), read_number("4,5"), read_number("1,234"), read_number("dog")
    ((4.5,), (4.5,), (1.234, 1234.0), ())
    """
    text = _clean(cell)
    plain = _plain(text)
    if plain is not None:
        return (plain,)
    if _GROUPED_COMMA.fullmatch(text):
        return (float(re.sub(r"[.\u00a0\u202f ']", "", text).replace(",", ".")),)
    if _GROUPED_POINT.fullmatch(text):
        return (float(re.sub(r"[,\u00a0\u202f ']", "", text)),)
    found = []
    if _COMMA.fullmatch(text):
        found.append(float(text.replace(",", ".")))
    if _GROUPED.fullmatch(text):
        found.append(float(text.replace(",", "")))
    return tuple(found)


def _check_points(cells: Sequence[str], where: Sequence[str]) -> None:
    """Refuse a point before three digits in a column of decimal commas, which may set off thousands."""
    texts = [_clean(cell) for cell in cells]
    if not any(_COMMA.fullmatch(text) or _GROUPED_COMMA.fullmatch(text) for text in texts):
        return
    for text, place in zip(texts, where, strict=True):
        if _POINTED.fullmatch(text):
            raise InputError(
                f"{place}: other cells of the column have a decimal comma, so that {text!r} may be {float(text):g} or "
                f"{text.replace('.', '')}; write it with a comma or without the point"
            )


def is_numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers, in all cells but those that say that they hold none."""
    told = [cell for cell in cells if _clean(cell).lower() not in MISSING]
    return bool(told) and all(read_number(cell) for cell in told)


def plain_numbers(cells: Sequence[str]) -> list[float] | None:
    """Return the numbers of a column of which each is written without any comma; None if one is not.

    They are what `numbers` returns, which is slower since it can say what is wrong with a cell.

    Examples
    --------
    >>> plain_numbers(["4.5", " 3 "]), plain_numbers(["4.5", "3,5"]), plain_numbers(["4.5", ""])
    ([4.5, 3.0], None, None)
    """
    try:
        values = list(map(float, cells))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) and not any("_" in cell for cell in cells) else None


def numbers(
    cells: Sequence[str],
    where: Sequence[str],
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Read a column of numbers, all with the same sign for decimals.

    Parameters
    ----------
    cells : sequence of str
        Each a number; a decimal comma will do.
    where : sequence of str
        File and row of each, for what is said of it.
    low, high : float
        Between them every number lies; what lies outside is not what a cell means, where it may mean two numbers.

    Returns
    -------
    list of float
        NaN for a cell that says that it holds none (`MISSING`).

    Raises
    ------
    InputError
        If a cell is no number, or every comma of the column may be a decimal sign or set off thousands; the message
        names both readings.
    """
    read = [(math.nan,) if _clean(cell).lower() in MISSING else read_number(cell) for cell in cells]
    for cell, values, place in zip(cells, read, where, strict=True):
        if not values:
            raise InputError(f"{place}: {cell[:40]!r} is not a number; write digits with a decimal point or comma")
    _check_points(cells, where)
    double = [at for at, values in enumerate(read) if len(values) == 2]
    if not double:
        return [values[0] for values in read]
    # what the other cells of the column show
    texts = [_clean(cell) for cell, values in zip(cells, read, strict=True) if len(values) == 1]
    decimal = any(_COMMA.fullmatch(text) or _GROUPED_COMMA.fullmatch(text) for text in texts)
    grouping = any(_GROUPED.fullmatch(text) or _GROUPED_POINT.fullmatch(text) for text in texts)
    points = any("." in text and "," not in text for text in texts)
    within = [all(low <= read[at][which] <= high for at in double) for which in (0, 1)]
    may = [which for which in (0, 1) if within[which] and not (decimal, grouping or points)[1 - which]]
    if len(may) != 1:
        at = double[0]
        first, second = read[at]
        raise InputError(
            f"{where[at]}: {cells[at].strip()!r} may be {first:g}, with a decimal comma, or {second:,.0f}, with a "
            f"comma for thousands; write {first:g} or {second:.0f}"
        )
    return [values[may[0]] if len(values) == 2 else values[0] for values in read]
