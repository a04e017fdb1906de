"""The founding figure: one violin of the count per head, on the colour of its band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from metastable.figures.grid import one_map
from metastable.figures.style import BAND_COLORS, FONT, WIDTH, alt_of, drawing, wrap
from metastable.figures.violin_cells import (
    Cells,
    Look,
    axis_sentence,
    checked_cells,
    checked_pair,
    draw_violins,
    footer,
    note_and_legend,
    pair_of_grids,
    row_height,
)
from metastable.heads.modes import FOUNDING_BANDS, founding_bands

__all__ = ["violin_grid", "violin_grid_alt", "violin_pair", "violin_pair_alt"]


def _bands(cells: Cells) -> NDArray[np.int64]:
    return founding_bands(cells.medians, cells.n)


def _look(bands: NDArray[np.int64]) -> Look:
    colors = np.array(["#ffffff", *BAND_COLORS])
    return Look(colors[bands])


def _entries(bands: Sequence[NDArray[np.int64]]) -> list[tuple[str, str]]:
    tallies = [" / ".join(str(int((side == band.number).sum())) for side in bands) for band in FOUNDING_BANDS]
    return [
        (color, f"{band.words}: {tally}")
        for color, band, tally in zip(BAND_COLORS, FOUNDING_BANDS, tallies, strict=True)
    ]


def _note(cells: Cells, tally: str, extra: str) -> str:
    """Return what a reader must know to read the violins, in lines that fit the page."""
    limits = ", ".join(f"{band.high:g}" for band in FOUNDING_BANDS[:-1])
    of = f"{cells.n} keys" if cells.usual_keys is None else "the keys that a query sees"
    sentences = (
        axis_sentence(cells),
        f"Colour: the founding experiment's bands of the median as a share of {of} (limits {limits}), with {tally}."
        f"{extra}",
    )
    return "\n".join(wrap(sentence, WIDTH - 0.3, FONT - 1) for sentence in sentences)


@drawing
def violin_grid(
    histograms: ArrayLike,
    *,
    n: int | None = None,
    condition: str | None = None,
    title: str | None = None,
    quartiles: ArrayLike | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> Figure:
    """Show the distribution of the count in every head, coloured by the founding bands of its median.

    Parameters
    ----------
    histograms : array_like of int, shape (n_layers, n_heads, n_max + 1)
        Number of query tokens with count k at position k; position 0 is left out. A head without
        tokens stays blank.
    n : int, optional
        Number of keys that a query sees; ``n_max`` unless given.
    condition : str, optional
        Name of the condition, for the title.
    title : str, optional
        Instead of one made from `condition`.
    quartiles : array_like of float, shape (n_layers, n_heads, 3), optional
        Quartiles on the axis, where the histograms are rounded; those of the histograms unless given.
    usual_keys : float, optional
        Where queries see different numbers of keys, usually this one: position k then holds the tokens whose count is
        k percent of their keys, and n is 100.
    layers : sequence of int, optional
        Numbers of the layers in the model, from the first row on; 1, 2, ... unless given.

    Returns
    -------
    matplotlib.figure.Figure
        The first layer at the bottom; the median at the top right of each cell.

    Raises
    ------
    InputError
        Where the shape is wrong or a count lies above `n`.

    Notes
    -----
    After the founding experiment's figure, whose bands are cut at 4, 8, 12 and 16 of 20 tokens
    (`metastable.heads.modes.FOUNDING_BANDS`); `mode_pair` has the classes of Ramsauer et al. (2021). Densities are
    Gaussian kernel estimates with Silverman's bandwidth, at least 0.55 patterns, cut at the counts seen, each scaled
    to the same height.
    """
    cells = checked_cells(histograms, n, quartiles, usual_keys, layers)
    bands = _bands(cells)
    what = "how many tokens each head attends to"
    named = f"{condition}: {what}" if condition else what
    note = _note(cells, "the number of heads", "")
    figure, axes = one_map(cells.shape, title or named, footer(note), row=row_height(cells.shape[0]))
    draw_violins(axes, cells, _look(bands))
    note_and_legend(figure, _entries([bands]), note)
    return figure


def _band_counts(bands: NDArray[np.int64]) -> str:
    """List the heads of each band by the limits of their median as a share of the keys."""
    edges = [f"{100 * band.high:.0f}%" for band in FOUNDING_BANDS[:-1]]
    words = [f"below {edges[0]}", *(f"from {edge}" for edge in edges)]
    return ", ".join(
        f"{int((bands == band.number).sum())} {text}" for band, text in zip(FOUNDING_BANDS, words, strict=True)
    )


def _range(cells: Cells) -> str:
    low, high = np.nanmin(cells.medians), np.nanmax(cells.medians)
    if cells.usual_keys is None:
        return f"Medians run from {low:g} to {high:g} of {cells.n} keys."
    return f"Medians run from {low:.0f}% to {high:.0f}% of the keys that a query sees, usually {cells.usual_keys:g}."


@alt_of(violin_grid)
def violin_grid_alt(
    histograms: ArrayLike,
    *,
    n: int | None = None,
    condition: str | None = None,
    title: str | None = None,
    quartiles: ArrayLike | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> str:
    """Say in words what `violin_grid` shows; parameters as there."""
    cells = checked_cells(histograms, n, quartiles, usual_keys, layers)
    whose = f" in condition {condition}" if condition else ""
    n_layers, n_heads = cells.shape
    return (
        f"{title + '. ' if title else ''}Violins of the count per head{whose}, {n_layers} layers by {n_heads} heads. "
        f"Heads by their median's share of the keys: {_band_counts(_bands(cells))}. {_range(cells)}"
    )


@drawing
def violin_pair(
    histograms_a: ArrayLike,
    histograms_b: ArrayLike,
    *,
    n: int | None = None,
    conditions: Sequence[str] = ("a", "b"),
    quartiles: tuple[ArrayLike, ArrayLike] | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> Figure:
    """Show both conditions' violins, with an outline around each head whose median changes its band.

    Parameters
    ----------
    histograms_a, histograms_b : array_like of int, shape (n_layers, n_heads, n_max + 1)
        As in `violin_grid`; `n_max` may differ between the conditions.
    n : int, optional
        Number of keys that a query sees in both; the larger ``n_max`` unless given.
    conditions : pair of str, default ("a", "b")
        Names of the conditions: arrays have none.
    quartiles : pair of array_like, optional
    usual_keys : float, optional
        As in `violin_grid`.
    layers : sequence of int, optional
        Numbers of the layers in the model, from the first row on; 1, 2, ... unless given.

    Returns
    -------
    matplotlib.figure.Figure
        One above the other, side by side where few heads leave the room.

    Raises
    ------
    InputError
        Where the conditions hold different layers or heads.
    """
    pair = checked_pair((histograms_a, histograms_b), n, quartiles, usual_keys, layers)
    a, b = (_bands(cells) for cells in pair)
    changed = (a != b) & (a > 0) & (b > 0)
    extra = f" Outlined: heads that change band ({int(changed.sum())})." if changed.any() else " No head changes band."
    note = _note(pair[0], f"the heads in {conditions[0]} / {conditions[1]}", extra)
    figure = pair_of_grids(pair, (_look(a), _look(b)), conditions, note, changed)
    note_and_legend(figure, _entries([a, b]), note)
    return figure


@alt_of(violin_pair)
def violin_pair_alt(
    histograms_a: ArrayLike,
    histograms_b: ArrayLike,
    *,
    n: int | None = None,
    conditions: Sequence[str] = ("a", "b"),
    quartiles: tuple[ArrayLike, ArrayLike] | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> str:
    """Say in words what `violin_pair` shows; parameters as there."""
    pair = checked_pair((histograms_a, histograms_b), n, quartiles, usual_keys, layers)
    a, b = (_bands(cells) for cells in pair)
    both = (a > 0) & (b > 0)
    parts = [
        f"{name}: {_band_counts(bands)}; {_range(cells)[0].lower()}{_range(cells)[1:]}"
        for name, bands, cells in zip(conditions, (a, b), pair, strict=True)
    ]
    return (
        f"Violins of the count per head in both conditions. {int((both & (a != b)).sum())} of {int(both.sum())} heads "
        f"change the founding band of their median. Heads by their median's share of the keys in {' In '.join(parts)}"
    )
