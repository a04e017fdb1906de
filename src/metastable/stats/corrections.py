"""The table of corrections of p-values for the number of tests, and their use within families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import label_codes

__all__ = ["CORRECTIONS", "Correction", "adjust_p_values", "null_proportion"]

Floats = NDArray[np.float64]


def _ordered(p: Floats, factors: Floats, *, step_up: bool) -> Floats:
    """Multiply the sorted p by factors and make them monotone, from the largest down or the smallest up."""
    order = np.argsort(p, kind="stable")
    scaled = p[order] * factors
    running = np.minimum.accumulate(scaled[::-1])[::-1] if step_up else np.maximum.accumulate(scaled)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(running, 1.0)
    return adjusted


def _benjamini_hochberg(p: Floats, alpha: float) -> Floats:  # noqa: ARG001 - one signature for all methods
    m = len(p)
    return _ordered(p, m / np.arange(1, m + 1), step_up=True)


def _benjamini_yekutieli(p: Floats, alpha: float) -> Floats:  # noqa: ARG001
    m = len(p)
    ranks = np.arange(1, m + 1)
    return _ordered(p, m * np.sum(1 / ranks) / ranks, step_up=True)


def _holm(p: Floats, alpha: float) -> Floats:  # noqa: ARG001
    m = len(p)
    return _ordered(p, np.arange(m, 0, -1.0), step_up=False)


def _two_stage(p: Floats, alpha: float) -> Floats:
    """Benjamini, Krieger & Yekutieli (2006, definition 6); the first stage runs at `alpha`."""
    m = len(p)
    first = _benjamini_hochberg(p, alpha)
    level = alpha / (1 + alpha)
    accepted = m - int(np.sum(first <= level))
    # The paper stops after the first stage where it rejects nothing or everything.
    share = accepted / m if 0 < accepted < m else 1.0
    return np.minimum(first * (1 + alpha) * share, 1.0)


def _storey(p: Floats, alpha: float) -> Floats:  # noqa: ARG001
    """Benjamini-Hochberg times the estimated proportion of true nulls."""
    return np.minimum(_benjamini_hochberg(p, 0.0) * null_proportion(p), 1.0)


@dataclass(frozen=True)
class Correction:
    """A correction for the number of tests: all that anything knows of it.

    Attributes
    ----------
    name : str
        On the command line and in tables: ``"bh"``.
    adjust : callable
        ``adjust(p, alpha)`` takes the p-values of one family and gives the adjusted ones.
    called : str
        Whose method it is, as a sentence names it: "Benjamini and Hochberg (1995)"; the report's references find the
        paper by the first author's name and the year.
    controls : {"FDR", "FWER"}
        The rate that it holds: of false discoveries, or of families with any.
    dependence : {"any", "positive", "independent"}
        Which tests that is proved for: all, those that are independent or positively dependent, or independent ones.
    help : str
        One line for the command line.
    price : str
        What it costs, after "This correction holds under any dependence between the tests"; ``{harmonic}`` is the sum
        1 + 1/2 + ... + 1/m over the number m of tests.
    bibtex : str
        The paper's BibTeX entry, where the references of the reports do not have it.
    uses_alpha : bool
        Whether the adjusted values depend on the level that they are compared with.
    for_heads : bool
        Whether it can be chosen for the heads of a study.
    calibrated : bool
        Whether a calibration tries it.
    """

    name: str
    adjust: Callable[[Floats, float], Floats] = field(repr=False)
    called: str
    controls: Literal["FDR", "FWER"]
    dependence: Literal["any", "positive", "independent"]
    help: str
    price: str = ""
    bibtex: str = ""
    uses_alpha: bool = False
    for_heads: bool = True
    calibrated: bool = True

    @property
    def rate(self) -> str:
        """What it holds, in words."""
        return {"FDR": "false discovery rate", "FWER": "family-wise error rate"}[self.controls]


_TABLE = (
    Correction(
        name="bh",
        adjust=_benjamini_hochberg,
        called="Benjamini and Hochberg (1995)",
        controls="FDR",
        dependence="positive",
        help="false discovery rate, for tests that are independent or positively dependent",
    ),
    Correction(
        name="by",
        adjust=_benjamini_yekutieli,
        called="Benjamini and Yekutieli (2001)",
        controls="FDR",
        dependence="any",
        help="false discovery rate under any dependence",
        price=", and pays for it with power: its p-values are {harmonic:.1f} times those of Benjamini and Hochberg",
    ),
    Correction(
        name="tsbh",
        adjust=_two_stage,
        called="Benjamini, Krieger and Yekutieli (2006, two-stage)",
        controls="FDR",
        dependence="independent",
        help="bh in two stages, with the number of true nulls estimated, for independent tests",
        uses_alpha=True,
    ),
    Correction(
        name="storey",
        adjust=_storey,
        called="Storey (2002)",
        controls="FDR",
        dependence="independent",
        help="bh times the estimated share of true nulls, for independent tests",
    ),
    Correction(
        name="holm",
        adjust=_holm,
        called="Holm (1979)",
        controls="FWER",
        dependence="any",
        help="family-wise error rate under any dependence",
        for_heads=False,
    ),
)

CORRECTIONS: Mapping[str, Correction] = {correction.name: correction for correction in _TABLE}
"""The corrections by their names, in the order in which they are listed."""


def null_proportion(p: ArrayLike, *, cut: float = 0.5) -> float:
    """Estimate the proportion of true null hypotheses.

    Parameters
    ----------
    p : array_like of float, shape (n_tests,)
        Unadjusted p-values.
    cut : float
        Storey's lambda: p-values above it are taken to come from null hypotheses.

    Returns
    -------
    float
        ``(#{p > cut} + 1) / (n_tests * (1 - cut))``, at most 1: the finite-sample form of Storey,
        Taylor & Siegmund (2004, eq. 6 with the +1 of Theorem 3), under which the adaptive
        procedure controls the false discovery rate for independent p-values.

    Examples
    --------
    >>> null_proportion([0.001, 0.002, 0.01, 0.2, 0.4, 0.45, 0.8, 0.9])
    0.75
    """
    values = np.asarray(p, dtype=np.float64)
    return float(min(1.0, (np.sum(values > cut) + 1) / (len(values) * (1 - cut))))


def _checked(p: ArrayLike, family: ArrayLike | None) -> tuple[Floats, NDArray[np.intp]]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"p must have one dimension, but its shape is {values.shape}; pass one p-value a test.")
    outside = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(outside):
        raise InputError(
            f"p[{outside[0]}] is {values[outside[0]]}, but p-values lie in 0..1; "
            "drop the tests that could not be computed."
        )
    if family is None:
        return values, np.zeros(len(values), dtype=np.intp)
    return values, label_codes("family", family, len(values), each="test")


def adjust_p_values(
    p: ArrayLike, *, method: str = "bh", family: ArrayLike | None = None, alpha: float = 0.05
) -> Floats:
    """Adjust p-values for the number of tests in each family.

    A test is significant at level q where its adjusted p is at most q.

    Parameters
    ----------
    p : array_like of float, shape (n_tests,)
        Unadjusted p-values in 0..1.
    method : str
        Name in `CORRECTIONS`, whose entry says what it controls and under which dependence. Those for independent
        tests estimate the proportion of true nulls: where tests go together, as heads do, it is estimated too low in
        some samples, and the rate comes out above its level (`calibrate` shows by how much).
    family : array_like or None, shape (n_tests,)
        Code of the family that a test belongs to; each family is corrected on its own. One family if None.
    alpha : float
        Level that the adjusted p will be compared with, for the methods whose entry says `uses_alpha`.

    Returns
    -------
    ndarray of float64, shape (n_tests,)
        Adjusted p-values, in the order given; never above 1.

    Raises
    ------
    InputError
        If a p-value is NaN or outside 0..1, the method is unknown, alpha is outside (0, 1), or the
        family codes do not fit or one is missing.

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03, 0.5])
    array([0.04      , 0.05333333, 0.05333333, 0.5       ])
    """
    if method not in CORRECTIONS:
        raise InputError(f"method is {method!r}, but it must be one of {', '.join(CORRECTIONS)}.")
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}, but it must lie between 0 and 1.")
    values, codes = _checked(p, family)
    adjusted = np.empty_like(values)
    for code in np.unique(codes):
        members = codes == code
        adjusted[members] = CORRECTIONS[method].adjust(values[members], alpha)
    return adjusted
