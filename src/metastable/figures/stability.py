"""In how many settings of a sweep each head differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.figures.grid import bar_footer, bar_under, cell_text, draw_cells, one_map
from metastable.figures.head_tables import head_matrix, layer_numbers, require_columns
from metastable.figures.style import SEQUENTIAL, alt_of, drawing

__all__ = ["stability_map", "stability_map_alt"]


def _settings(stability: pd.DataFrame) -> int:
    require_columns(stability, ["layer", "head", "n_settings", "n_different"], "the table of stability")
    return int(stability["n_settings"].iloc[0])


@drawing
def stability_map(stability: pd.DataFrame, *, which: str = "") -> Figure:
    """Draw in how many settings of a sweep each head differs.

    Parameters
    ----------
    stability : pandas.DataFrame
        One row per head of one site, with ``site, layer, head``, ``n_settings`` and ``n_different``.
    which : str
        The model, the measure or the site that the map is of, where a sweep has several.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing.
    """
    n, matrix = _settings(stability), head_matrix(stability, "n_different")
    title = f"in how many of {n} settings a head differs" + (f": {which}" if which else "")
    label = f"settings in which a head differs, of {n}"
    figure, axes = one_map((matrix.shape[0], matrix.shape[1]), title, bar_footer(label))
    norm = Normalize(0, n)
    colors = draw_cells(axes, matrix, norm, SEQUENTIAL, layer_numbers(stability))
    texts = np.array([[f"{value:.0f}" for value in row] for row in matrix], dtype=object)
    cell_text(axes, matrix, colors, norm, [texts])
    bar_under(figure, norm, SEQUENTIAL, label)
    return figure


@alt_of(stability_map)
def stability_map_alt(stability: pd.DataFrame, *, which: str = "") -> str:
    """State how many heads differ in all settings, and how many in none, as `stability_map` shows them.

    Returns
    -------
    str
    """
    n, found = _settings(stability), stability["n_different"].to_numpy()

    def share(chosen: NDArray[np.bool_]) -> str:
        return f"{int(chosen.sum())} of {len(found)} ({100 * chosen.mean():.0f}%)"

    return (
        f"Map of the number of settings in which each head differs{f' ({which})' if which else ''}: "
        f"{share(found == n)} in all {n} settings, {share(found == 0)} in none."
    )
