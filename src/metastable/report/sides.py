"""What the two sides of a contrast are called in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from metastable.heads.contrasts import Contrast
from metastable.report.apa import plural

__all__ = ["Sides", "sides_of", "units_text"]


@dataclass(frozen=True)
class Sides:
    """Both sides of a contrast.

    Attributes
    ----------
    a, b : str
        Their names.
    both : str
        Both together: "concrete and abstract sequences".
    thing : str
        What stands behind a name: " sequences", or nothing where a side is itself a difference.
    """

    a: str
    b: str
    both: str
    thing: str


def sides_of(contrast: Contrast, things: str = "sequences") -> Sides:
    """Name the sides of a contrast.

    Parameters
    ----------
    contrast : Contrast
    things : str
        What is compared: sequences, or words.

    Returns
    -------
    Sides
        Those of an interaction are differences, and stand in quotation marks.
    """
    if contrast.name == "interaction":
        a, b = (f"“{condition.name}”" for condition in (contrast.a, contrast.b))
        return Sides(a, b, f"{a} and {b}", "")
    a, b = contrast.a.name, contrast.b.name
    return Sides(a, b, f"{a} and {b} {things}", f" {things}")


def units_text(contrast: Contrast) -> str:
    """Say how many units there are: "309 and 471 sequences", or for pairs "312 word pairs"."""
    if contrast.pair is None:
        return f"{contrast.n_a:,} and {plural(contrast.n_b, contrast.unit)}"
    return plural(contrast.n_a, contrast.unit)
