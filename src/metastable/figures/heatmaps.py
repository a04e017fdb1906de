"""Maps of layers by heads: means, differences, significance, and all of them in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.grid import (
    axes_at,
    cell_corners,
    cell_text,
    color_bar,
    draw_cells,
    head_matrix,
    label_axes,
    outline_cells,
    select_heads,
)
from metastable.figures.style import (
    CONDITIONS,
    DIVERGING,
    FONT,
    SEQUENTIAL,
    TITLE,
    WIDTH,
    NotebookFigure,
    signed,
    styled,
    wrap,
)

__all__ = [
    "difference_map",
    "difference_map_alt",
    "heatmap",
    "heatmap_alt",
    "interaction_plot",
    "interaction_plot_alt",
    "shared_limits",
    "significance_mask",
    "significance_mask_alt",
    "summary_figure",
    "summary_figure_alt",
]

Limits = tuple[float, float]

_LEFT, _RIGHT, _GAP = 0.62, 0.12, 0.14
_TWINS = {
    "mean_a": ("mean_a", "mean_b"),
    "mean_b": ("mean_a", "mean_b"),
    "median_a": ("median_a", "median_b"),
    "median_b": ("median_a", "median_b"),
}


@dataclass(frozen=True)
class _Kind:
    label: str
    face: str
    edge: str
    hatch: str


def _kinds(conditions: Sequence[str]) -> dict[str, _Kind]:
    return {
        "a": _Kind(f"{conditions[0]} needs more", "#f6c48b", "#7f3b08", "/////"),
        "b": _Kind(f"{conditions[1]} needs more", "#c9c3e0", "#3b1a63", "\\\\\\\\\\"),
        "equivalent": _Kind("equivalent", "#d9eeee", "#1d7f8c", "---"),
        "open": _Kind("undecided", "#fafafa", "#bdbdbd", ""),
    }


def _row_height(n_layers: int) -> float:
    return 0.36 if n_layers <= 12 else 0.27 if n_layers <= 24 else 0.2


def shared_limits(heads: pd.DataFrame, columns: Sequence[str]) -> Limits:
    """Return the least and the largest value over several columns, the limits of what is compared."""
    values = heads[list(columns)].to_numpy(float)
    if not np.isfinite(values).any():
        raise InputError(f"column {columns[0]!r} holds no number; nothing can be drawn")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _symmetric(values: NDArray[np.float64]) -> Limits:
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    return (-largest, largest) if largest > 0 else (-1.0, 1.0)


def _share(threshold: float) -> str:
    return f"{100 * threshold:g}%"


def _measure_label(measure: str, threshold: float) -> str:
    if measure == "count":
        return f"mean count k: tokens that hold {_share(threshold)} of a head's attention"
    return f"mean {measure.replace('_', ' ')}"


def _one_map(shape: tuple[int, int], title: str, *, footer: float = 1.06) -> tuple[NotebookFigure, Axes, Axes]:
    """Return a figure with axes for one grid and for what is under it."""
    n_layers, n_heads = shape
    room = WIDTH - _LEFT - _RIGHT
    cell = min(0.62, room / n_heads)
    width, height = cell * n_heads, _row_height(n_layers) * n_layers
    text = wrap(title, WIDTH - 0.3, TITLE)
    top = 0.16 + 0.2 * (text.count("\n") + 1)
    figure = NotebookFigure(figsize=(WIDTH, height + footer + top))
    left = _LEFT + (room - width) / 2
    figure.text(left / WIDTH, 1 - 0.08 / (height + footer + top), text, va="top", size=TITLE, weight="bold")
    axes = axes_at(figure, left, footer, width, height)
    bar = min(4.2, room)
    under = axes_at(figure, left + (width - bar) / 2 if width > bar else _LEFT + (room - bar) / 2, 0.46, bar, 0.12)
    return figure, axes, under


def _numbers(matrix: NDArray[np.float64], digits: int) -> NDArray[np.object_]:
    rounded = np.round(matrix, digits) + 0.0  # no minus before a zero
    return np.array([[f"{value:.{digits}f}".replace("-", "−") for value in row] for row in rounded], dtype=object)


def _bare(texts: NDArray[np.object_]) -> list[NDArray[np.object_]]:
    """Return the same numbers without the zero before the point, where no number reaches 1."""
    flat = [str(text) for text in texts.ravel()]
    if any(not text.lstrip("−").startswith(("0", "nan")) for text in flat):
        return []
    return [np.array([text.replace("0.", ".") for text in flat], dtype=object).reshape(texts.shape)]


@styled
def heatmap(
    heads: pd.DataFrame,
    value: str = "mean_a",
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    limits: Limits | None = None,
    title: str | None = None,
) -> Figure:
    """Show one value per head, with the number in its cell where it can be read.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head and threshold.
    value : str, default "mean_a"
        The column to show. The means (and the medians) of both conditions share their limits.
    site, threshold
        Which rows; may be left out where the table holds one.
    conditions : pair of str
        Names of the conditions a and b.
    measure : str, default "count"
        What was measured, for the label.
    limits : pair of float, optional
        Ends of the colour scale.
    title : str, optional
        Instead of one made from `value`.

    Returns
    -------
    matplotlib.figure.Figure
        830 px wide at 100 dpi.

    Raises
    ------
    InputError
        Where a column is missing or the choice of rows is ambiguous.
    """
    frame = select_heads(heads, [value], site=site, threshold=threshold)
    matrix = head_matrix(frame, value)
    low, high = limits or shared_limits(frame, [c for c in _TWINS.get(value, (value,)) if c in frame])
    names = {"mean_a": conditions[0], "mean_b": conditions[1]}
    if title is None:
        kind = "median" if value.startswith("median") else "mean"
        names |= {"median_a": conditions[0], "median_b": conditions[1]}
        title = f"{names[value]}: {kind} {measure} of each head" if value in names else value
    figure, axes, under = _one_map((matrix.shape[0], matrix.shape[1]), title)
    norm = Normalize(low, high)
    colors = draw_cells(axes, matrix, norm, SEQUENTIAL)
    digits = 1 if max(abs(low), abs(high)) >= 2 else 2
    forms = [_numbers(matrix, digits)] if high < 100 else [_numbers(matrix, 1), _numbers(matrix, 0)]
    cell_text(axes, matrix, colors, norm, forms)
    label = _measure_label(measure, float(frame["threshold"].iloc[0])) if value.startswith("mean") else value
    color_bar(under, norm, SEQUENTIAL, label.replace("_", " "))
    return figure


def _where(row: pd.Series) -> str:
    return f"layer {row['layer']} head {row['head']}"


def heatmap_alt(
    heads: pd.DataFrame,
    value: str = "mean_a",
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
) -> str:
    """Say in words what `heatmap` shows; parameters as there."""
    frame = select_heads(heads, [value], site=site, threshold=threshold).dropna(subset=[value])
    if frame.empty:
        raise InputError(f"column {value!r} holds no number; nothing can be drawn")
    least, most = frame.loc[frame[value].idxmin()], frame.loc[frame[value].idxmax()]
    whose = conditions[0] if value.endswith("_a") else conditions[1] if value.endswith("_b") else None
    kind = "median" if value.startswith("median") else "mean"
    what = value.replace("_", " ") if whose is None else f"{kind} {measure} for {whose}"
    return (
        f"Heatmap of the {what}, {frame['layer'].max()} layers by {frame['head'].max()} heads: from "
        f"{least[value]:.1f} ({_where(least)}) to {most[value]:.1f} ({_where(most)}), "
        f"on average {frame[value].mean():.1f}."
    )


def _significant(frame: pd.DataFrame, alpha: float) -> NDArray[np.bool_]:
    return (frame["p_perm_fdr"] < alpha).to_numpy(bool)


def _mask_states(frame: pd.DataFrame, alpha: float) -> NDArray[np.object_]:
    """Return for each head "a", "b", "equivalent" or "open"."""
    found = _significant(frame, alpha)
    states = np.where(found, np.where(frame["difference"] > 0, "a", "b"), "open").astype(object)
    if "verdict" in frame:
        states[~found & (frame["verdict"] == "equivalent").to_numpy(bool)] = "equivalent"
    return states


_ORDER = ("a", "b", "equivalent", "open")


def _draw_mask(axes: Axes, frame: pd.DataFrame, states: NDArray[np.object_], *, layers: bool = True) -> None:
    """Fill and hatch the cells by state."""
    codes = head_matrix(frame, np.array([_ORDER.index(state) for state in states], dtype=float))
    for code, kind in enumerate(_kinds(CONDITIONS).values()):
        cells = codes == code
        if cells.any():
            axes.add_collection(
                PolyCollection(
                    list(cell_corners(cells)),
                    facecolors=kind.face,
                    edgecolors=kind.edge,
                    hatch=kind.hatch or None,
                    linewidths=0.0,
                ),
                autolim=False,
            )
    present = np.isfinite(codes)
    axes.add_collection(
        PolyCollection(
            list(cell_corners(present)),
            facecolors="none",
            edgecolors="#9a9a9a" if codes.shape[1] <= 16 else "#b5b5b5",
            linewidths=0.5,
        ),
        autolim=False,
    )
    label_axes(axes, (codes.shape[0], codes.shape[1]), layers=layers)


def _mask_legend(states: NDArray[np.object_], conditions: Sequence[str], width: float) -> list[Patch]:
    kinds = _kinds(conditions)
    shown = [name for name in _ORDER if name != "equivalent" or (states == name).any()]
    if "equivalent" not in shown:
        kinds["open"] = _Kind("not significant", kinds["open"].face, kinds["open"].edge, "")
    return [
        Patch(
            facecolor=kinds[name].face,
            edgecolor=kinds[name].edge,
            hatch=kinds[name].hatch,
            linewidth=0.6,
            label=wrap(f"{kinds[name].label}: {int((states == name).sum())}", width, FONT - 1),
        )
        for name in shown
    ]


@styled
def difference_map(
    heads: pd.DataFrame,
    value: str = "difference",
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    alpha: float = 0.05,
    limits: Limits | None = None,
    title: str | None = None,
) -> Figure:
    """Show the difference a - b per head, centred at zero; outlined where it is significant.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head and threshold, with `value` and ``p_perm_fdr``.
    value : str, default "difference"
        Any signed column, for instance ``"hedges_g"``.
    site, threshold, conditions, measure, title
        As in `heatmap`.
    alpha : float, default 0.05
        Heads with ``p_perm_fdr < alpha`` are outlined.
    limits : pair of float, optional
        Ends of the colour scale; symmetric about zero unless given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing or the choice of rows is ambiguous.
    """
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold)
    matrix = head_matrix(frame, value)
    low, high = limits or _symmetric(matrix)
    found = head_matrix(frame, _significant(frame, alpha)) == 1
    named = {"difference": f"difference in mean {measure}", "hedges_g": "Hedges' g"}.get(value, value.replace("_", " "))
    figure, axes, under = _one_map(
        (matrix.shape[0], matrix.shape[1]),
        title or f"{named}, {conditions[0]} − {conditions[1]}; outlined: significant (FDR {alpha:g})",
    )
    norm = Normalize(low, high)
    colors = draw_cells(axes, matrix, norm, DIVERGING)
    outline_cells(axes, found)
    texts = _numbers(matrix, 2)
    cell_text(axes, matrix, colors, norm, [texts, *_bare(texts)])
    color_bar(under, norm, DIVERGING, f"{named}   (−: {conditions[1]} more,  +: {conditions[0]} more)")
    return figure


def difference_map_alt(
    heads: pd.DataFrame,
    value: str = "difference",
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    alpha: float = 0.05,
) -> str:
    """Say in words what `difference_map` shows; parameters as there."""
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold)
    known = frame.dropna(subset=[value])
    named = "Hedges' g" if value == "hedges_g" else f"mean {measure}"
    if known.empty:
        return f"Difference map of the {named}; no head has a value."
    a, b = conditions
    largest = known.loc[known[value].abs().idxmax()]
    return (
        f"Map of the difference in {named}, {a} minus {b}: positive in {(known[value] > 0).sum()} and negative in "
        f"{(known[value] < 0).sum()} of {len(known)} heads; {int(_significant(frame, alpha).sum())} significant after "
        f"FDR correction at {alpha:g}. The largest is {signed(largest[value])} in {_where(largest)}."
    )


@styled
def significance_mask(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    alpha: float = 0.05,
    title: str | None = None,
) -> Figure:
    """Show the verdict per head: which condition needs more, equivalent, or undecided.

    Parameters
    ----------
    heads : pandas.DataFrame
        With ``difference`` and ``p_perm_fdr``; ``verdict`` adds the equivalent heads.
    site, threshold, conditions, alpha, title
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
        The direction and angle of the hatching say what the colours say.
    """
    frame = select_heads(heads, ["difference", "p_perm_fdr"], site=site, threshold=threshold)
    states = _mask_states(frame, alpha)
    shape = head_matrix(frame, "difference").shape
    figure, axes, under = _one_map(
        (shape[0], shape[1]), title or f"heads that differ after FDR correction at {alpha:g}", footer=0.86
    )
    _draw_mask(axes, frame, states)
    under.set_axis_off()
    entries = _mask_legend(states, conditions, 1.7)
    under.set_position((0, 0.02, 1, 0.3 / figure.get_size_inches()[1]))
    under.legend(handles=entries, loc="center", ncols=len(entries), handleheight=1.4, handlelength=2.2)
    return figure


def significance_mask_alt(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    alpha: float = 0.05,
) -> str:
    """Say in words what `significance_mask` shows; parameters as there."""
    frame = select_heads(heads, ["difference", "p_perm_fdr"], site=site, threshold=threshold)
    states = _mask_states(frame, alpha)
    n = {name: int((states == name).sum()) for name in _ORDER}
    found = n["a"] + n["b"]
    text = (
        f"Of {len(frame)} heads, {found} differ after FDR correction at {alpha:g}: {conditions[0]} needs more in "
        f"{n['a']}, {conditions[1]} in {n['b']}."
    )
    if n["equivalent"]:
        text += f" {n['equivalent']} are equivalent and {n['open']} undecided."
    layers = frame.loc[(states == "a") | (states == "b"), "layer"]
    if found:
        text += f" They lie in {layers.nunique()} of {frame['layer'].nunique()} layers."
    return text


def _panel_row(
    titles: Sequence[str], shape: tuple[int, int], footer: float
) -> tuple[NotebookFigure, list[Axes], float]:
    """Return a figure with grids side by side, their axes, and the width of each in inches."""
    n_layers = shape[0]
    cell = 0.15 if n_layers <= 12 else 0.105 if n_layers <= 24 else 0.075
    height = max(0.34, n_layers * cell)
    width = (WIDTH - _LEFT - _RIGHT - _GAP * (len(titles) - 1)) / len(titles)
    texts = [wrap(title, width, FONT + 1) for title in titles]
    top = 0.14 + 0.18 * max(text.count("\n") + 1 for text in texts)
    figure = NotebookFigure(figsize=(WIDTH, footer + height + top))
    panels = []
    for i, text in enumerate(texts):
        axes = axes_at(figure, _LEFT + i * (width + _GAP), footer, width, height)
        axes.set_title(text, fontsize=FONT + 1, pad=5)
        panels.append(axes)
    return figure, panels, width


@styled
def summary_figure(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    alpha: float = 0.05,
) -> Figure:
    """Show both conditions' means on one scale, their difference and the verdicts, in a row.

    Parameters
    ----------
    heads : pandas.DataFrame
        With ``mean_a, mean_b, difference, p_perm_fdr`` and, if there, ``verdict``.
    site, threshold, conditions, measure, alpha
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = ["mean_a", "mean_b", "difference", "p_perm_fdr"]
    frame = select_heads(heads, columns, site=site, threshold=threshold)
    a, b, difference = (head_matrix(frame, column) for column in columns[:3])
    states = _mask_states(frame, alpha)
    titles = [*conditions, f"{conditions[0]} − {conditions[1]}", f"verdict (FDR {alpha:g})"]
    figure, panels, width = _panel_row(titles, (a.shape[0], a.shape[1]), footer=1.22)
    same = Normalize(*shared_limits(frame, columns[:2]))
    centred = Normalize(*_symmetric(difference))
    draw_cells(panels[0], a, same, SEQUENTIAL)
    draw_cells(panels[1], b, same, SEQUENTIAL, layers=False)
    draw_cells(panels[2], difference, centred, DIVERGING, layers=False)
    _draw_mask(panels[3], frame, states, layers=False)
    what = f"mean {measure}".replace("_", " ")
    color_bar(axes_at(figure, _LEFT + 0.5 * width, 0.56, width + _GAP, 0.1), same, SEQUENTIAL, what)
    third = _LEFT + 2 * (width + _GAP)
    color_bar(axes_at(figure, third + 0.1, 0.56, width - 0.2, 0.1), centred, DIVERGING, f"difference in {what}")
    under = axes_at(figure, third + width + _GAP, 0.0, width, 0.74)
    under.set_axis_off()
    entries = _mask_legend(states, conditions, width - 0.45)
    under.legend(
        handles=entries,
        loc="upper left",
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.35,
        handleheight=1.1,
        handlelength=1.8,
    )
    return figure


def summary_figure_alt(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    alpha: float = 0.05,
) -> str:
    """Say in words what `summary_figure` shows; parameters as there."""
    frame = select_heads(heads, ["mean_a", "mean_b"], site=site, threshold=threshold)
    a, b = conditions
    start = (
        f"Mean {measure} per head: {a} {frame['mean_a'].mean():.2f} and {b} {frame['mean_b'].mean():.2f} on average. "
    )
    return start + significance_mask_alt(frame, conditions=conditions, alpha=alpha)


@styled
def interaction_plot(
    first: pd.DataFrame,
    second: pd.DataFrame,
    interaction: pd.DataFrame,
    *,
    value: str = "difference",
    site: str | None = None,
    threshold: float | None = None,
    names: Sequence[str] = ("question", "pool", "interaction"),
    measure: str = "count",
    alpha: float = 0.05,
) -> Figure:
    """Show the two main effects and the interaction of a two-by-two design, head by head.

    Parameters
    ----------
    first, second, interaction : pandas.DataFrame
        Tables of heads, one for each contrast, with `value` and ``p_perm_fdr``.
    value : str, default "difference"
        The contrast's estimate; all three maps share one scale, centred at zero.
    site, threshold, measure, alpha
        As in `difference_map`.
    names : three str
        What each contrast is called.

    Returns
    -------
    matplotlib.figure.Figure
        Significant heads are outlined and counted in the titles.
    """
    frames = [
        select_heads(table, [value, "p_perm_fdr"], site=site, threshold=threshold)
        for table in (first, second, interaction)
    ]
    matrices = [head_matrix(frame, value) for frame in frames]
    if len({matrix.shape for matrix in matrices}) > 1:
        raise InputError("the three contrasts must hold the same layers and heads; check the tables")
    counts = [int(_significant(frame, alpha).sum()) for frame in frames]
    titles = [f"{name}: {n} of {len(frames[0])}" for name, n in zip(names, counts, strict=True)]
    shape = (matrices[0].shape[0], matrices[0].shape[1])
    figure, panels, width = _panel_row(titles, shape, footer=1.06)
    norm = Normalize(*_symmetric(np.stack(matrices)))
    for i, (axes, frame, matrix) in enumerate(zip(panels, frames, matrices, strict=True)):
        draw_cells(axes, matrix, norm, DIVERGING, layers=i == 0)
        outline_cells(axes, head_matrix(frame, _significant(frame, alpha)) == 1)
    named = "Hedges' g" if value == "hedges_g" else f"difference in mean {measure}"
    label = f"{named}; outlined and counted: significant (FDR {alpha:g})"
    color_bar(axes_at(figure, _LEFT + width / 2, 0.46, 2 * width + 2 * _GAP, 0.12), norm, DIVERGING, label)
    return figure


def interaction_plot_alt(
    first: pd.DataFrame,
    second: pd.DataFrame,
    interaction: pd.DataFrame,
    *,
    value: str = "difference",
    site: str | None = None,
    threshold: float | None = None,
    names: Sequence[str] = ("question", "pool", "interaction"),
    alpha: float = 0.05,
) -> str:
    """Say in words what `interaction_plot` shows; parameters as there."""
    parts = []
    for name, table in zip(names, (first, second, interaction), strict=True):
        frame = select_heads(table, [value, "p_perm_fdr"], site=site, threshold=threshold)
        largest = frame.loc[frame[value].abs().idxmax()]
        parts.append(
            f"{name} in {int(_significant(frame, alpha).sum())} of {len(frame)} heads "
            f"(largest {signed(largest[value])} in {_where(largest)})"
        )
    return f"Maps of a two-by-two design; significant after FDR correction at {alpha:g}: {'; '.join(parts)}."
