"""Figures to files: svg and png, whole or not at all, the same bytes for the same figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.style import settings
from metastable.files import written_whole

__all__ = ["save_figure"]

_DPI = 200  # twice the pixels of a page 830 px wide, for dense screens


def save_figure(
    figure: Figure | Callable[[], Figure], folder: str | Path, stem: str, *, alt: str | None = None
) -> tuple[Path, Path]:
    """Save a figure as svg and png.

    Parameters
    ----------
    figure : matplotlib.figure.Figure or callable
        Any figure, or a function that draws it; the background is saved opaque, so that it can be read on a dark page.
    folder : str or Path
        Made where it is missing.
    stem : str
        Name of the two files without ending.
    alt : str, optional
        What the figure shows; written into both files as their description.

    Returns
    -------
    tuple of Path
        The svg and the png.

    Raises
    ------
    InputError
        If `stem` holds a path or an ending, or the folder cannot be written.

    Notes
    -----
    Neither file holds a date, a version or a random identifier: the same figure gives the same bytes.
    """
    if not stem or Path(stem).name != stem or stem.startswith("."):
        raise InputError(f"stem {stem!r} must be a plain file name without folder; give for instance 'heatmap'")
    drawn = figure if isinstance(figure, Figure) else figure()
    description = {} if alt is None else {"Description": alt}
    svg, png = Path(folder) / f"{stem}.svg", Path(folder) / f"{stem}.png"
    kinds: tuple[tuple[Path, dict[str, Any]], ...] = (
        (svg, {"metadata": {"Date": None, "Creator": None, **description}}),
        (png, {"dpi": _DPI, "metadata": {"Software": None, **description}}),
    )
    try:
        with settings():
            for path, options in kinds:
                with written_whole(path) as temporary:
                    drawn.savefig(temporary, format=path.suffix[1:], facecolor="white", transparent=False, **options)
    except OSError as error:
        raise InputError(
            f"cannot write {stem} to {folder} ({error.strerror}); choose a folder that you may write to"
        ) from None
    return svg, png
