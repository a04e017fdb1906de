"""A measure over a continuous predictor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.figures.style import COLOR_A, FONT, MUTED, alt_of, chart, drawing, signed
from metastable.measures import call_measure

__all__ = ["slope_plot", "slope_plot_alt"]


def _checked(
    predictor: ArrayLike, values: ArrayLike, labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, table = np.asarray(predictor, dtype=float), np.asarray(values, dtype=float)
    if x.ndim != 1 or table.ndim != 2 or table.shape != (len(x), len(labels)) or len(x) < 2 or not labels:
        raise InputError(
            f"values must have the shape (n_units, n_shown) = ({x.size}, {len(labels)}); it has {table.shape}"
        )
    return x, table


@drawing
def slope_plot(
    predictor: ArrayLike,
    values: ArrayLike,
    labels: Sequence[str],
    *,
    bins: int = 10,
    predictor_label: str = "predictor",
    measure: str = "value",
    notes: Sequence[str] | None = None,
) -> Figure:
    """Show a measure over a continuous predictor in a few heads, with the straight line that is tested.

    Parameters
    ----------
    predictor : array_like, shape (n_units,)
        For instance the mean rating of each sequence.
    values : array_like, shape (n_units, n_shown)
        The heads to show, one a column; up to nine can be read.
    labels : sequence of n_shown str
        Names of the heads.
    bins : int, default 10
        Groups of equal size along the predictor, shown as means with 95% intervals. All panels span the
        same range of the measure.
    predictor_label, measure : str
        Names of the axes.
    notes : sequence of n_shown str, optional
        What else to print in each panel, for instance the slope and its p.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where the shapes do not fit.
    """
    x, table = _checked(predictor, values, labels)
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure, axes = chart(0.4 + 2.1 * rows, columns, rows, sharex=True)
    groups = np.array_split(np.argsort(x, kind="stable"), min(bins, len(x)))
    at = [x[group].mean() for group in groups]
    spans = []
    for i, label in enumerate(labels):
        y = table[:, i]
        one = axes[i]
        mean = np.array([y[group].mean() for group in groups])
        half = np.array(
            [1.96 * y[group].std(ddof=1) / np.sqrt(len(group)) if len(group) > 1 else 0.0 for group in groups]
        )
        one.errorbar(at, mean, half, fmt="o", color="#1d7f8c", markersize=4.5, elinewidth=1.2)
        slope, level = _line(x, y)
        ends = np.array([x.min(), x.max()])
        one.plot(ends, level + slope * ends, color=COLOR_A, linewidth=1.6, linestyle="--")
        one.set_title(label, loc="left", fontsize=FONT)
        if notes is not None:
            one.annotate(
                notes[i],
                (1, 1),
                (0, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=FONT - 1,
                color=MUTED,
            )
        one.yaxis.set_major_locator(MaxNLocator(nbins=4))
        seen = np.concatenate([mean - half, mean + half, level + slope * ends])
        spans.append((float(seen.min()), float(seen.max())))
        if i % columns == 0:
            one.set_ylabel(f"mean {call_measure(measure)}")
        if i + columns >= len(labels):
            one.set_xlabel(predictor_label)
            one.tick_params(axis="x", labelbottom=True)
    # one span for all panels, so that equal slopes look equal
    reach = 0.54 * max(high - low for low, high in spans) or 0.5
    for one, (low, high) in zip(axes, spans, strict=False):
        one.set_ylim((low + high) / 2 - reach, (low + high) / 2 + reach)
    for spare in axes[len(labels) :]:
        spare.set_axis_off()
    return figure


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept by least squares."""
    centred = x - x.mean()
    square = float(centred @ centred)
    slope = float(centred @ y) / square if square > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


@alt_of(slope_plot)
def slope_plot_alt(
    predictor: ArrayLike,
    values: ArrayLike,
    labels: Sequence[str],
    *,
    predictor_label: str = "predictor",
    measure: str = "value",
    notes: Sequence[str] | None = None,
) -> str:
    """Say in words what `slope_plot` shows; parameters as there."""
    x, table = _checked(predictor, values, labels)
    extra = [""] * len(labels) if notes is None else [f" ({note})" for note in notes]
    parts = [f"{label} {signed(_line(x, table[:, i])[0])}{extra[i]}" for i, label in enumerate(labels)]
    return f"Mean {call_measure(measure)} over {predictor_label}; slope per unit: {', '.join(parts)}."
