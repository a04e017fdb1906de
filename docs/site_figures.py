"""How the gallery finds the figures of an example: as a notebook does, by the last line of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

__all__ = ["scrape_figures"]

_SHOWN: WeakSet[Figure] = WeakSet()


def scrape_figures(_: object, variables: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Save the figure that the last line of a cell gives, and return the text that shows it.

    Parameters
    ----------
    _ : Block
        The cell.
    variables : mapping
        What sphinx-gallery knows of the example: its names, and where its pictures go.
    settings : mapping
        Of the gallery.

    Returns
    -------
    str
        reStructuredText; empty if the cell shows no figure.
    """
    # the name that sphinx-gallery gives to the value of a cell's last line; it stays until another cell has one
    figure = variables["example_globals"].get("___")
    if not isinstance(figure, Figure) or figure in _SHOWN:
        return ""
    _SHOWN.add(figure)
    path = next(variables["image_path_iterator"])
    figure.savefig(path, dpi=160)
    shown: str = figure_rst([path], settings["src_dir"])
    return shown
