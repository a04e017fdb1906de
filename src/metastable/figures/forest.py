"""Models under one another: each with its interval, their means, and where the next one is expected."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon

from metastable.figures.head_tables import require_columns
from metastable.figures.style import COLOR_A, COLOR_B, FONT, INK, MUTED, alt_of, chart, drawing, fixed, signed, wrap

__all__ = ["forest_plot", "forest_plot_alt"]

_ROW = 0.27  # inches a model
_LABEL = 2.3  # inches, the most that a label takes
_PANELS = (("size", "size of the typical head"), ("mean", "mean signed effect"))
_FACES = {"draw": INK, "checkpoint": "#9a9a9a", "untrained": "white"}
_CALLED = {"draw": "model", "checkpoint": "earlier checkpoint", "untrained": "untrained network"}


def _checked(models: pd.DataFrame, means: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    limits = [f"{name}{end}" for name, _ in _PANELS for end in ("", "_low", "_high")]
    require_columns(models, ["model", "role", *limits], "the table of models")
    columns = ["models", "n_models", "part", "quantity", "estimate", "low", "high"]
    require_columns(means, columns, "the table of means over models")
    return models, means[(means["part"] == "all") & (means["n_models"] > 1) & means["low"].notna()]


@drawing
def forest_plot(models: pd.DataFrame, means: pd.DataFrame, *, effect: str = "Hedges' g") -> Figure:
    """Show the effects of every model, and below them the means over models.

    Parameters
    ----------
    models : pandas.DataFrame
        One row per model of one measure: ``model, role``, and ``size`` and ``mean`` with ``_low`` and ``_high``, as
        `metastable.heads.model_tables.over_models` returns it.
    means : pandas.DataFrame
        Means over models of the same measure, likewise.
    effect : str
        What the effect is called.

    Returns
    -------
    matplotlib.figure.Figure
        Bars of models reach over draws of sequences; diamonds over draws of models and sequences together, and the
        bands around them to where the next model is expected.

    Raises
    ------
    InputError
        Where a column is missing.
    """
    models, pooled = _checked(models, means)
    sizes, signed_means = (set(pooled.loc[pooled["quantity"] == name, "models"]) for name, _ in _PANELS)
    sets = [name for name in pooled["models"].unique() if name in sizes & signed_means]
    labels = [wrap(str(label), _LABEL, FONT - 1) for label in models["model"]]
    labels += [wrap("mean of all" if name == "all" else f"mean, {name}", _LABEL, FONT - 1) for name in sets]
    row = _ROW + 0.14 * max(label.count("\n") for label in labels)
    figure, axes = chart(1.3 + row * len(labels), columns=2, sharey=True)
    for panel, (quantity, title) in zip(axes, _PANELS, strict=True):
        _draw_models(panel, models, quantity)
        for place, name in enumerate(sets, start=len(models)):
            mine = pooled[(pooled["models"] == name) & (pooled["quantity"] == quantity)].iloc[0]
            _draw_mean(panel, mine, place)
        panel.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        panel.set_title(title, loc="left")
        panel.set_xlabel(effect)
        panel.grid(axis="x", color="#e3e3e3", linewidth=0.8)
    if sets:
        for panel in axes:
            panel.axhline(len(models) - 0.5, color=MUTED, linewidth=0.8)
    # a little room, for the marks of networks that show nothing
    axes[0].set_xlim(left=-0.02 * axes[0].get_xlim()[1])
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].tick_params(axis="y", length=0)
    axes[1].tick_params(axis="y", length=0, labelleft=False)
    roles = [role for role in _FACES if (models["role"] == role).any()]
    handles: list[Line2D | Patch] = [
        Line2D([], [], marker="o", color=INK, markerfacecolor=_FACES[role], label=_CALLED[role]) for role in roles
    ]
    if sets:
        handles += [
            Patch(color=COLOR_A, label="mean over models"),
            Patch(color="#e8d3c2", label="where the next model is expected"),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_models(panel: Axes, models: pd.DataFrame, quantity: str) -> None:
    for place, row in enumerate(models.to_dict("records")):
        panel.hlines(place, row[f"{quantity}_low"], row[f"{quantity}_high"], color=INK, linewidth=1.3)
        panel.plot(row[quantity], place, "o", color=INK, markerfacecolor=_FACES[row["role"]], markersize=5.5)


def _draw_mean(panel: Axes, row: pd.Series, place: int) -> None:
    # a family of two predicts no third
    if np.isfinite(row.get("prediction_low", np.nan)):
        panel.hlines(place, row["prediction_low"], row["prediction_high"], color="#e8d3c2", linewidth=7, zorder=1)
    low, middle, high = row["low"], row["estimate"], row["high"]
    corners = [(low, place), (middle, place - 0.24), (high, place), (middle, place + 0.24)]
    panel.add_patch(Polygon(corners, closed=True, facecolor=COLOR_A, edgecolor=COLOR_B, linewidth=0.5, zorder=2))


@alt_of(forest_plot)
def forest_plot_alt(models: pd.DataFrame, means: pd.DataFrame, *, effect: str = "Hedges' g") -> str:
    """Say in words what `forest_plot` shows; parameters as there."""
    models, pooled = _checked(models, means)
    ordered = models.sort_values("size", kind="stable")
    least, most = ordered.iloc[0], ordered.iloc[-1]
    text = (
        f"Forest plot of {len(models)} models, {effect}: the size of the typical head runs from "
        f"{fixed(least['size'])} ({least['model']}) to {fixed(most['size'])} ({most['model']})"
    )
    for name in pooled["models"].unique():
        mine = pooled[pooled["models"] == name].set_index("quantity")
        if {"size", "mean"} <= set(mine.index):
            size, mean = mine.loc["size"], mine.loc["mean"]
            called = "all models" if name == "all" else name
            text += (
                f"; the mean of {called} is {fixed(size['estimate'])} [{fixed(size['low'])}, {fixed(size['high'])}], "
                f"signed {signed(mean['estimate'])} [{fixed(mean['low'])}, {fixed(mean['high'])}]"
            )
    return f"{text}."
