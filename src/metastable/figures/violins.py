"""The founding figure: one violin of the count per head, on the colour of its operating mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.figures.grid import axes_at, cell_corners, inches, label_axes, one_map, outline_cells
from metastable.figures.style import (
    FONT,
    INK,
    MODE_COLORS,
    MUTED,
    SMALL,
    WIDTH,
    NotebookFigure,
    alt_of,
    drawing,
    text_width,
    wrap,
)
from metastable.heads.modes import MODES, count_mode_changes, median_counts, operating_modes

__all__ = ["violin_grid", "violin_grid_alt", "violin_pair", "violin_pair_alt"]

_LEFT, _RIGHT, _GAP = 0.58, 0.1, 0.4


def _checked(histograms: ArrayLike, n: int | None) -> tuple[NDArray[np.int64], int]:
    table = np.asarray(histograms)
    if table.ndim != 3 or table.shape[-1] < 2:
        raise InputError(f"histograms must have the shape (n_layers, n_heads, n_max + 1); this has {table.shape}")
    length = table.shape[-1] - 1 if n is None else n
    if table[..., length + 1 :].any():
        raise InputError(f"histograms hold counts above n = {length}; give n as the largest possible count")
    padded = np.zeros((*table.shape[:2], length + 1), dtype=np.int64)
    shared = min(length + 1, table.shape[-1])
    padded[..., :shared] = table[..., :shared]
    return padded, length


def _numbers(layers: Sequence[int] | None, n_layers: int) -> Sequence[int]:
    if layers is not None and len(layers) != n_layers:
        raise InputError(f"layers names {len(layers)} layers and the histograms hold {n_layers}; name each")
    return range(1, n_layers + 1) if layers is None else layers


def _density(counts: NDArray[np.int64], points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth one histogram of the counts 1..n; return `points` places and heights, the largest height 1."""
    values = np.arange(1, len(counts) + 1, dtype=np.float64)
    total = counts.sum()
    mean = (counts * values).sum() / total
    deviation = np.sqrt((counts * (values - mean) ** 2).sum() / total)
    # Silverman's rule, but never so narrow that the gaps between whole numbers show as waves
    width = max(0.55, 0.9 * deviation * float(total) ** -0.2)
    seen = values[counts > 0]
    places = np.linspace(seen[0] - 0.5, seen[-1] + 0.5, points)
    kernel = np.exp(-0.5 * ((places[:, None] - values) / width) ** 2)
    heights = kernel @ counts
    return places, heights / heights.max()


def _draw(
    axes: Axes,
    histograms: NDArray[np.int64],
    medians: NDArray[np.float64],
    modes: NDArray[np.str_],
    layers: Sequence[int] = (),
) -> None:
    """Fill one axes with a violin per head, and number its layers if their numbers are given."""
    n_layers, n_heads, length = histograms.shape
    n = length - 1
    label_axes(axes, (n_layers, n_heads), layers)
    width, height = inches(axes)
    cell_width, cell_height = width / n_heads, height / n_layers
    gap_x, gap_y = 0.025 / cell_width, 0.025 / cell_height
    for mode, color in MODE_COLORS.items():
        corners = cell_corners(modes == mode, gap_x, gap_y)
        axes.add_collection(
            PolyCollection(list(corners), facecolors=color, edgecolors="#8c8c8c", linewidths=0.5),
            autolim=False,
        )
    size = next(
        (
            float(s)
            for s in np.arange(FONT, SMALL - 0.1, -0.5)
            if text_width("0" * len(str(n)), float(s)) < 0.8 * cell_width
            and s / 72 < (0.34 if s > SMALL else 0.45) * cell_height
        ),
        None,
    )
    # the number stands above the violin, so that neither hides the other
    head_room = 0.0 if size is None else (size / 72 + 0.02) / cell_height
    centre, half = (1 - head_room) / 2, 0.5 * (1 - head_room - 2 * gap_y) * 0.94
    inner = 1 - 2 * gap_x - 0.04
    # as many points as the eye can tell apart in a cell; thousands of cells make a heavy svg
    points = 61 if cell_width > 0.4 else 33
    shapes, lines = [], []
    for row, column in zip(*np.nonzero(modes != ""), strict=True):
        places, heights = _density(histograms[row, column, 1:], points)
        x = column + gap_x + 0.02 + inner * (places - 0.5) / n
        middle = row + centre
        shapes.append(
            np.column_stack(
                [
                    np.concatenate([x, x[::-1]]),
                    np.concatenate([middle + half * heights, middle - half * heights[::-1]]),
                ]
            )
        )
        at = column + gap_x + 0.02 + inner * (medians[row, column] - 0.5) / n
        tall = half * np.interp(medians[row, column], places, heights)
        lines.append([(at, middle - tall), (at, middle + tall)])
        if size is not None:
            median = medians[row, column]
            axes.text(
                column + 1 - gap_x - 0.03 / cell_width,
                row + 1 - gap_y - 0.015 / cell_height,
                f"{median:g}" if n < 100 and cell_width > 0.4 else f"{np.floor(median + 0.5):.0f}",
                ha="right",
                va="top",
                fontsize=size,
                color=INK,
            )
    thin = 0.6 if cell_width > 0.4 else 0.4
    axes.add_collection(
        PolyCollection(shapes, facecolors="#8a8a8a", edgecolors="#3d3d3d", linewidths=thin), autolim=False
    )
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=2 * thin), autolim=False)


def _legend(figure: Figure, modes: Sequence[NDArray[np.str_]], note: str) -> None:
    """Name the modes with their bands and numbers of heads under the grid."""
    height = figure.get_size_inches()[1]
    under = axes_at(figure, 0, _footer(note) - 0.82, WIDTH, 0.34)
    under.set_axis_off()
    entries = []
    for mode in reversed(MODES):
        counts = " / ".join(str(int((m == mode.name).sum())) for m in modes)
        entries.append(
            Patch(
                facecolor=MODE_COLORS[mode.name],
                edgecolor="#8c8c8c",
                linewidth=0.6,
                label=f"{mode.name} {mode.words}: {counts}",
            )
        )
    under.legend(handles=entries, loc="center", ncols=4, handleheight=1.2, handlelength=1.8)
    figure.text(
        0.5, (_footer(note) - 0.82) / height, note, ha="center", va="top", size=FONT - 1, color=MUTED, linespacing=1.3
    )


def _note(n: int, tally: str, extra: str) -> str:
    """Return what a reader must know to read the violins, in lines that fit the page."""
    sentences = (
        f"Violin: how the count k spreads over tokens, 0 to {n} from left to right; line and number: its median.",
        f"Colour: operating mode by median / {n} (limits 0.2, 0.4, 0.8), with {tally}.{extra}",
    )
    return "\n".join(wrap(sentence, WIDTH - 0.3, FONT - 1) for sentence in sentences)


def _footer(note: str) -> float:
    return 0.87 + 0.155 * (note.count("\n") + 1)


def _row_height(n_layers: int, *, pair: bool = False) -> float:
    if pair:
        return 0.46 if n_layers <= 12 else 0.36 if n_layers <= 24 else 0.29
    return 0.48 if n_layers <= 12 else 0.36 if n_layers <= 24 else 0.28


@drawing
def violin_grid(
    histograms: ArrayLike,
    *,
    n: int | None = None,
    condition: str | None = None,
    title: str | None = None,
    layers: Sequence[int] | None = None,
) -> Figure:
    """Show the distribution of the count in every head, coloured by operating mode.

    Parameters
    ----------
    histograms : array_like of int, shape (n_layers, n_heads, n_max + 1)
        Number of query tokens with count k at position k; position 0 is left out. A head without
        tokens stays blank.
    n : int, optional
        Number of patterns that a head can choose from; ``n_max`` unless given.
    condition : str, optional
        Name of the condition, for the title.
    title : str, optional
        Instead of one made from `condition`.
    layers : sequence of int, optional
        Numbers of the layers in the model, from the first row on; 1, 2, ... unless given.

    Returns
    -------
    matplotlib.figure.Figure
        The first layer at the bottom; the median at the top right of each cell.

    Raises
    ------
    InputError
        Where the shape is wrong, a count lies above `n`, or a layer has no number.

    Notes
    -----
    After Ramsauer et al. (2021), figure 2. Densities are Gaussian kernel estimates with Silverman's
    bandwidth, at least 0.55 patterns, cut at the counts seen, each scaled to the same height.
    """
    table, length = _checked(histograms, n)
    n_layers, n_heads = table.shape[:2]
    medians = median_counts(table)
    modes = operating_modes(medians, length)
    what = "how many tokens each head attends to"
    named = f"{condition}: {what}" if condition else what
    note = _note(length, "the number of heads", "")
    figure, axes = one_map((n_layers, n_heads), title or named, _footer(note), row=_row_height(n_layers))
    _draw(axes, table, medians, modes, _numbers(layers, n_layers))
    _legend(figure, [modes], note)
    return figure


def _mode_counts(modes: NDArray[np.str_]) -> str:
    return ", ".join(f"{int((modes == mode.name).sum())} in {mode.name} ({mode.words})" for mode in reversed(MODES))


@alt_of(violin_grid)
def violin_grid_alt(
    histograms: ArrayLike,
    *,
    n: int | None = None,
    condition: str | None = None,
    title: str | None = None,
    layers: Sequence[int] | None = None,  # noqa: ARG001 - the figure's
) -> str:
    """Say in words what `violin_grid` shows; parameters as there."""
    table, length = _checked(histograms, n)
    medians = median_counts(table)
    whose = f" in condition {condition}" if condition else ""
    return (
        f"{title + '. ' if title else ''}Violins of the count per head{whose}, {table.shape[0]} layers by "
        f"{table.shape[1]} heads. Operating modes: {_mode_counts(operating_modes(medians, length))}. "
        f"Medians run from {np.nanmin(medians):g} to {np.nanmax(medians):g} of {length} tokens."
    )


@drawing
def violin_pair(
    histograms_a: ArrayLike,
    histograms_b: ArrayLike,
    *,
    n: int | None = None,
    conditions: Sequence[str] = ("a", "b"),
    layers: Sequence[int] | None = None,
) -> Figure:
    """Show both conditions' violins, with an outline around each head that changes mode.

    Parameters
    ----------
    histograms_a, histograms_b : array_like of int, shape (n_layers, n_heads, n_max + 1)
        As in `violin_grid`; `n_max` may differ between the conditions.
    n : int, optional
        Number of patterns to choose from in both; the larger ``n_max`` unless given.
    conditions : pair of str, default ("a", "b")
        Names of the conditions: arrays have none.
    layers : sequence of int, optional
        Numbers of the layers in the model, from the first row on; 1, 2, ... unless given.

    Returns
    -------
    matplotlib.figure.Figure
        Side by side up to 16 heads, one above the other beyond.

    Raises
    ------
    InputError
        Where the conditions hold different layers or heads, or a layer has no number.
    """
    tables, length = _pair(histograms_a, histograms_b, n)
    n_layers, n_heads = tables[0].shape[:2]
    numbers = _numbers(layers, n_layers)
    medians = [median_counts(table) for table in tables]
    modes = [operating_modes(median, length) for median in medians]
    changed = (modes[0] != modes[1]) & (modes[0] != "") & (modes[1] != "")
    beside = n_heads <= 16
    room = WIDTH - _LEFT - _RIGHT
    width = (room - 0.14) / 2 if beside else room
    cell = min(0.64, width / n_heads)
    grid = _row_height(n_layers, pair=beside) * n_layers
    changes = count_mode_changes(modes[0], modes[1])
    extra = f" Outlined: heads that change mode ({changes})." if changes else " No head changes mode."
    note = _note(length, f"the heads in {conditions[0]} / {conditions[1]}", extra)
    foot = _footer(note)
    names = [wrap(name, width, FONT + 1, bold=True) for name in conditions]
    top = 0.16 + 0.18 * max(name.count("\n") + 1 for name in names)
    height = foot + grid + top + (0 if beside else grid + top + _GAP)
    figure = NotebookFigure(figsize=(WIDTH, height))
    for i, name in enumerate(names):
        left = _LEFT + (i * (width + 0.14) if beside else 0) + (width - cell * n_heads) / 2
        bottom = foot + (0 if beside or i == 1 else grid + top + _GAP)
        axes = axes_at(figure, left, bottom, cell * n_heads, grid)
        axes.set_title(name, fontsize=FONT + 1, pad=4)
        _draw(axes, tables[i], medians[i], modes[i], numbers if i == 0 or not beside else ())
        outline_cells(axes, changed)
    _legend(figure, modes, note)
    return figure


def _pair(a: ArrayLike, b: ArrayLike, n: int | None) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int]:
    first, second = np.asarray(a), np.asarray(b)
    if first.shape[:2] != second.shape[:2]:
        raise InputError(
            f"the conditions hold {first.shape[:2]} and {second.shape[:2]} layers and heads; give the same of both"
        )
    length = max(first.shape[-1], second.shape[-1]) - 1 if n is None else n
    return (_checked(first, length)[0], _checked(second, length)[0]), length


@alt_of(violin_pair)
def violin_pair_alt(
    histograms_a: ArrayLike,
    histograms_b: ArrayLike,
    *,
    n: int | None = None,
    conditions: Sequence[str] = ("a", "b"),
    layers: Sequence[int] | None = None,  # noqa: ARG001 - the figure's
) -> str:
    """Say in words what `violin_pair` shows; parameters as there."""
    tables, length = _pair(histograms_a, histograms_b, n)
    modes = [operating_modes(median_counts(table), length) for table in tables]
    changes = count_mode_changes(modes[0], modes[1])
    total = int((modes[0] != "").sum())
    return (
        f"Violins of the count per head in both conditions. {changes} of {total} heads change operating mode. "
        f"{conditions[0]}: {_mode_counts(modes[0])}. {conditions[1]}: {_mode_counts(modes[1])}."
    )
