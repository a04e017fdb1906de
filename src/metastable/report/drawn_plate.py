"""A figure drawn by hand, saved beside the report with its alt text and caption; tables of plates take its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metastable.figures.save import save_figure
from metastable.report.markdown import as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DrawnPlate", "markdown", "save_plate"]


@dataclass(frozen=True)
class DrawnPlate:
    """One figure of a report.

    Attributes
    ----------
    stem : str
        Name of its files without ending.
    figure : matplotlib.figure.Figure
    alt : str
        What it shows, for those who cannot see it: the finding, in one or two sentences.
    caption : str
        What the reader looks at.
    """

    stem: str
    figure: Figure
    alt: str
    caption: str


def save_plate(plate: DrawnPlate, folder: Path) -> None:
    """Save the figure as svg and png under ``folder/figures``."""
    save_figure(plate.figure, folder / "figures", plate.stem, alt=plate.alt)


def markdown(plate: DrawnPlate) -> str:
    """Return the Markdown that shows a plate, its caption under it."""
    return f"![{as_text(plate.alt)}](figures/{plate.stem}.png)\n\n*{as_text(plate.caption)}*"
