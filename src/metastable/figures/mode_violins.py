"""The paper's figure: the heads of each layer sorted by the median of their count, coloured by operating mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from metastable.figures.style import FONT, MODE_COLORS, WIDTH, alt_of, drawing, wrap
from metastable.figures.violin_cells import Cells, Look, axis_sentence, checked_pair, note_and_legend, pair_of_grids
from metastable.heads.modes import MODES, count_mode_changes, operating_modes

__all__ = ["mode_pair", "mode_pair_alt"]


def _sorted(cells: Cells) -> tuple[Cells, NDArray[np.intp]]:
    """Sort the heads of each layer by their median; those that a layer lacks come last."""
    order = np.argsort(cells.medians, axis=1, kind="stable")  # NaN sorts last
    return (
        Cells(
            np.take_along_axis(cells.histograms, order[..., None], axis=1),
            np.take_along_axis(cells.quartiles, order[..., None], axis=1),
            cells.usual_keys,
            cells.layers,
        ),
        order,
    )


def _look(modes: NDArray[np.str_], order: NDArray[np.intp]) -> Look:
    # the cell has the colour: a violin of few patterns is too thin to show one
    colors = np.vectorize(lambda name: MODE_COLORS.get(name, "#ffffff"), otypes=[str])(modes)
    heads = np.char.add("h", (order + 1).astype(str))
    return Look(colors, heads, "the heads of each layer, sorted by their median")


def _entries(modes: Sequence[NDArray[np.str_]]) -> list[tuple[str, str]]:
    tallies = [" / ".join(str(int((side == mode.name).sum())) for side in modes) for mode in MODES]
    named = [
        (MODE_COLORS[mode.name], f"{mode.name} {mode.words}: {tally}")
        for mode, tally in zip(MODES, tallies, strict=True)
    ]
    return named[::-1]


def _note(cells: Cells, conditions: Sequence[str]) -> str:
    of = f"N = {cells.n} keys" if cells.usual_keys is None else "the N keys that a query sees"
    sentences = (
        axis_sentence(cells),
        f"Colour: operating mode, by the median of k against {of}: I above N/2, II above N/8, III above N/32, "
        f"IV below; with the heads in {conditions[0]} / {conditions[1]}. h: number of the head, where there is room.",
    )
    return "\n".join(wrap(sentence, WIDTH - 0.3, FONT - 1) for sentence in sentences)


@drawing
def mode_pair(
    histograms_a: ArrayLike,
    histograms_b: ArrayLike,
    *,
    n: int | None = None,
    conditions: Sequence[str] = ("a", "b"),
    quartiles: tuple[ArrayLike, ArrayLike] | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> Figure:
    """Show both conditions' violins, the heads of each layer sorted by their median, coloured by operating mode.

    Parameters
    ----------
    histograms_a, histograms_b : array_like of int, shape (n_layers, n_heads, n_max + 1)
        Number of query tokens with count k at position k; position 0 is left out.
    n : int, optional
        Number of keys that a query sees in both; the larger ``n_max`` unless given.
    conditions : pair of str, default ("a", "b")
        Names of the conditions: arrays have none.
    quartiles : pair of array_like, shape (n_layers, n_heads, 3), optional
        Quartiles on the axis, where the histograms are rounded; those of the histograms unless given.
    usual_keys : float, optional
        Where queries see different numbers of keys, usually this one: position k then holds the tokens whose count is
        k percent of their keys, and n is 100.
    layers : sequence of int, optional
        Numbers of the layers in the model, from the first row on; 1, 2, ... unless given.

    Returns
    -------
    matplotlib.figure.Figure
        The first layer at the bottom, the smallest median at the left; the median at the top right of each cell, the
        head's number at the top left where there is room.

    Raises
    ------
    InputError
        Where the conditions hold different layers or heads.

    Notes
    -----
    Ramsauer et al. (2021), "Hopfield Networks is All You Need", figure 2. Densities as in `violin_pair`.
    """
    pair = checked_pair((histograms_a, histograms_b), n, quartiles, usual_keys, layers)
    sorted_pair = tuple(_sorted(cells) for cells in pair)
    modes = [operating_modes(cells.medians, cells.n) for cells, _ in sorted_pair]
    note = _note(pair[0], conditions)
    (a, order_a), (b, order_b) = sorted_pair
    figure = pair_of_grids((a, b), (_look(modes[0], order_a), _look(modes[1], order_b)), conditions, note)
    note_and_legend(figure, _entries(modes), note)
    return figure


@alt_of(mode_pair)
def mode_pair_alt(
    histograms_a: ArrayLike,
    histograms_b: ArrayLike,
    *,
    n: int | None = None,
    conditions: Sequence[str] = ("a", "b"),
    quartiles: tuple[ArrayLike, ArrayLike] | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> str:
    """Say in words what `mode_pair` shows; parameters as there."""
    pair = checked_pair((histograms_a, histograms_b), n, quartiles, usual_keys, layers)
    modes = [operating_modes(cells.medians, cells.n) for cells in pair]
    parts = [
        f"{name}: "
        + ", ".join(f"{int((found == mode.name).sum())} in {mode.name} ({mode.words})" for mode in reversed(MODES))
        for name, found in zip(conditions, modes, strict=True)
    ]
    return (
        "Violins of the count per head, the heads of each layer sorted by their median, coloured by operating mode. "
        f"{'. '.join(parts)}. {count_mode_changes(*modes)} of {int((modes[0] != '').sum())} heads change operating "
        "mode."
    )
