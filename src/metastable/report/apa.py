"""Numbers as the American Psychological Association prints them (Publication Manual, 7th ed., 6.36)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metastable.errors import plural

__all__ = [
    "format_bf",
    "format_g",
    "format_interval",
    "format_level",
    "format_log_bf",
    "format_p",
    "format_r",
    "format_share",
    "in_100",
    "listed",
    "p_phrase",
    "plural",
    "still_significant",
    "unbroken",
    "with_article",
]

# Bayes factors of a larger or smaller power of ten are printed as such.
_MOST_DIGITS = 3
# Powers of ten that a float holds with all its digits.
_FLOAT_POWERS = 300


def _no_zero(text: str) -> str:
    """Drop the zero before the point of a number that cannot exceed 1."""
    return text.replace("0.", ".", 1) if text.lstrip("+−").startswith("0.") else text


def format_p(p: float) -> str:
    """Return a p-value to three digits without a leading zero, never as zero.

    Examples
    --------
    >>> format_p(0.0001), format_p(0.0314), format_p(1.0)
    ('< .001', '.031', '1.000')
    """
    if math.isnan(p):
        return "–"
    if p < 0.001:
        return "< .001"
    return _no_zero(f"{p:.3f}")


def p_phrase(p: float, symbol: str = "*p*") -> str:
    """Return ``p = .031`` or ``p < .001``, with the symbol in italics.

    Examples
    --------
    >>> p_phrase(0.0001), p_phrase(0.2)
    ('*p* < .001', '*p* = .200')
    """
    text = format_p(p)
    return f"{symbol} {text}" if text.startswith("<") else f"{symbol} = {text}"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def format_g(value: float, digits: int = 2, *, sign: bool = True) -> str:
    """Return a number with sign, a true minus and fixed digits; zero without a sign, a dash for none.

    Examples
    --------
    >>> format_g(-0.314), format_g(0.314), format_g(-0.0001), format_g(float("nan"))
    ('−0.31', '+0.31', '0.00', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return _minus(text) if float(text) else f"{0:.{digits}f}"


def format_r(r: float, digits: int = 2) -> str:
    """Return a correlation: no zero before the point, a true minus.

    Examples
    --------
    >>> format_r(0.314), format_r(-0.5), format_r(1.0)
    ('.31', '−.50', '1.00')
    """
    return _no_zero(format_g(r, digits, sign=False))


def format_level(level: float) -> str:
    """Return a significance level with all digits that it was given, without a zero before the point.

    Examples
    --------
    >>> format_level(0.05), format_level(0.001)
    ('.05', '.001')
    """
    return _no_zero(f"{level:.10f}".rstrip("0"))


def in_100(chance: float) -> str:
    """Return how often in 100 something happens, never as certain or impossible.

    Examples
    --------
    >>> in_100(0.724), in_100(0.9991), in_100(0.002)
    ('72 times in 100', 'more than 99 times in 100', 'less than once in 100')
    """
    if chance > 0.995:
        return "more than 99 times in 100"
    if chance < 0.005:
        return "less than once in 100"
    times = f"{100 * chance:.0f}"
    return "once in 100" if times == "1" else f"{times} times in 100"


def format_interval(low: float, high: float, digits: int = 2) -> str:
    """Return a confidence interval in square brackets, with a dash for a limit that there is not.

    Examples
    --------
    >>> format_interval(-0.5, 0.25), format_interval(float("nan"), float("nan"))
    ('[−0.50, 0.25]', '[–, –]')
    """
    return f"[{format_g(low, digits, sign=False)}, {format_g(high, digits, sign=False)}]"


def format_bf(bf10: float) -> str:
    """Return a Bayes factor for the alternative with two significant digits, or whole where it is larger.

    Examples
    --------
    >>> format_bf(0.031), format_bf(0.2), format_bf(3.14), format_bf(53.2), format_bf(1.2e9)
    ('0.031', '0.20', '3.1', '53', '1.2 × 10⁹')
    """
    if math.isnan(bf10):
        return "–"
    if math.isinf(bf10) or bf10 == 0:
        return "> 10³⁰⁰" if bf10 else "< 10⁻³⁰⁰"
    mantissa, power = f"{bf10:.1e}".split("e")  # rounded first: the power of 9.96 is 1
    exponent = int(power)
    if abs(exponent) > _MOST_DIGITS:
        digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} × 10{digits}"
    return f"{bf10:,.{max(0, 1 - exponent)}f}"


def format_log_bf(log10_bf10: float) -> str:
    """Return a Bayes factor as `format_bf` does, from its logarithm to base 10, whatever its size.

    Examples
    --------
    >>> format_log_bf(0.5), format_log_bf(335.36), format_log_bf(-400.0)
    ('3.2', '2.3 × 10³³⁵', '1.0 × 10⁻⁴⁰⁰')
    """
    if not math.isfinite(log10_bf10):
        return format_bf(math.inf if log10_bf10 > 0 else 0.0) if math.isinf(log10_bf10) else "–"
    if abs(log10_bf10) < _FLOAT_POWERS:
        return format_bf(10.0**log10_bf10)
    power = math.floor(log10_bf10)
    mantissa = f"{10 ** (log10_bf10 - power):.1f}"
    if mantissa == "10.0":
        mantissa, power = "1.0", power + 1
    digits = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{digits}"


def format_share(part: int, whole: int) -> str:
    """Return ``3 of 12 (25%)``."""
    return f"{part} of {whole} ({100 * part / whole:.0f}%)" if whole else "0 of 0"


def listed(names: Sequence[str]) -> str:
    """Return names as an English list.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def still_significant(before: NDArray[np.bool_], after: NDArray[np.bool_], level: str = "") -> str:
    """Say how many heads are significant with something held fixed, of those that are without it.

    Examples
    --------
    >>> still_significant(np.array([True, True, False]), np.array([True, False, True]))
    'leaves 1 of the 2 heads significant, makes 1 other so'
    >>> still_significant(np.array([False, False]), np.array([False, False]), " (FDR .05)")
    'makes no head significant (FDR .05), as none is without it'
    """
    found = int((after & ~before).sum())
    if not before.any():
        return f"makes {plural(found, 'head') if found else 'no head'} significant{level}, as none is without it"
    kept = f"leaves {int((before & after).sum())} of the {plural(int(before.sum()), 'head')} significant{level}"
    return f"{kept}, makes {plural(found, 'other')} so"


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article.

    Examples
    --------
    >>> with_article("sequence"), with_article("answer")
    ('a sequence', 'an answer')
    """
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def unbroken(text: str) -> str:
    """Return a text that no line break divides, for the cell of a table."""
    return text.replace(" ", "\u00a0")
