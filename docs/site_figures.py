"""What the site has to know of its examples: which figures they show, and where their pages are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

__all__ = ["link_examples", "scrape_figures", "setup"]

_SHOWN: WeakSet[Figure] = WeakSet()


def scrape_figures(_: object, variables: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Save the figure that the last line of a cell gives, as a notebook shows it, and return the text that shows it.

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


def link_examples(_: object, __: str, source: list[str]) -> None:
    """Lead links to the files of examples, which readers of the source follow, to their pages in the site.

    Parameters
    ----------
    _ : Sphinx
    __ : str
        Name of the page.
    source : list of str
        Its text, which is changed in place.
    """
    source[0] = re.sub(r"\(examples/(example_\w+)\.py\)", r"(gallery/\1.rst)", source[0])


def setup(app: Sphinx) -> None:
    """Let Sphinx know of it."""
    app.connect("source-read", link_examples)
