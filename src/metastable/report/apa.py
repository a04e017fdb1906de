"""Numbers as the American Psychological Association prints them (Publication Manual, 7th ed., 6.36)."""

from __future__ import annotations

import math

__all__ = ["format_bf", "format_g", "format_interval", "format_p", "format_share", "p_phrase", "plain_r", "plural"]


def _no_zero(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


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
    return _no_zero(p, 3)


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
    """Return a number with sign, a true minus and fixed digits; a dash for none.

    Examples
    --------
    >>> format_g(-0.314), format_g(0.0001), format_g(float("nan"))
    ('−0.31', '+0.00', '–')
    """
    if math.isnan(value):
        return "–"
    return _minus(f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}")


def format_interval(low: float, high: float, digits: int = 2) -> str:
    """Return a confidence interval in square brackets, with a dash for a limit that there is not.

    Examples
    --------
    >>> format_interval(-0.5, 0.25), format_interval(float("nan"), float("nan"))
    ('[−0.50, 0.25]', '[–, –]')
    """
    return f"[{format_g(low, digits, sign=False)}, {format_g(high, digits, sign=False)}]"


def format_bf(bf10: float) -> str:
    """Return a Bayes factor for the alternative with two significant digits.

    Examples
    --------
    >>> format_bf(0.031), format_bf(3.14), format_bf(1.2e9)
    ('0.031', '3.1', '1.2 × 10⁹')
    """
    if math.isnan(bf10):
        return "–"
    if math.isinf(bf10) or bf10 >= 1e4 or bf10 < 1e-3:
        if math.isinf(bf10):
            return "> 10³⁰⁰"
        mantissa, exponent = f"{bf10:.1e}".split("e")
        digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} × 10{digits}"
    return f"{bf10:.2g}" if bf10 < 100 else f"{bf10:.0f}"


def format_share(part: int, whole: int) -> str:
    """Return ``3 of 12 (25%)``."""
    return f"{part} of {whole} ({100 * part / whole:.0f}%)" if whole else "0 of 0"


def plain_r(value: float) -> str:
    """Return a correlation in APA style: ``.63``, ``−.05``, ``1.00``.

    Examples
    --------
    >>> plain_r(0.634), plain_r(-0.05), plain_r(1.0), plain_r(float("nan"))
    ('.63', '−.05', '1.00', '–')
    """
    return format_g(value, sign=False).replace("0.", ".", 1) if abs(value) < 0.995 else format_g(value, sign=False)


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return the number with its noun in the right form.

    Examples
    --------
    >>> plural(1, "head"), plural(72, "head")
    ('1 head', '72 heads')
    """
    return f"{n:,} {one if n == 1 else (many or one + 's')}"
