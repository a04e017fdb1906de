"""Effects of two studies layer by layer and as distributions, also where their models have other shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.grid import ticks
from metastable.figures.head_tables import require_columns
from metastable.figures.style import FONT, LINES, MUTED, alt_of, chart, drawing, signed, wrap

__all__ = ["effect_profiles", "effect_profiles_alt", "effect_shares", "effect_shares_alt"]

_COLUMNS = ("series", "site", "layer", "depth", "size")


def _series(effects: pd.DataFrame, site: str | None) -> dict[str, pd.DataFrame]:
    """Rows of each series with a finite effect, in the order of the table; a series of several sites is one a site."""
    require_columns(effects, _COLUMNS, "the table of effects")
    rows = effects[np.isfinite(effects["size"])]
    if site is not None:
        rows = rows[rows["site"] == site]
    if rows.empty:
        raise InputError("the table of effects holds no number; nothing can be drawn")
    sites = rows.groupby("series")["site"].nunique()
    found = {
        f"{name}, {place}" if sites[name] > 1 else str(name): part
        for (name, place), part in rows.groupby(["series", "site"], sort=False)
    }
    if len(found) > len(LINES):
        raise InputError(f"{len(found)} series were given; at most {len(LINES)} can be told apart")
    return found


def _by_depth(part: pd.DataFrame, *, size: bool) -> pd.DataFrame:
    values = part["size"].abs() if size else part["size"]
    groups = values.groupby([part["layer"], part["depth"]])
    table = pd.DataFrame({"mean": groups.mean(), "low": groups.quantile(0.25), "high": groups.quantile(0.75)})
    return table.reset_index()


def _places(table: pd.DataFrame, relative: bool) -> NDArray[np.float64]:
    return table["depth"].to_numpy(float) * 100 if relative else table["layer"].to_numpy(float)


@drawing
def effect_profiles(
    effects: pd.DataFrame, *, site: str | None = None, relative: bool = False, effect: str = "standardized effect"
) -> Figure:
    """Show the mean effect and the mean size of the effect by layer, one line per study.

    Parameters
    ----------
    effects : pandas.DataFrame
        With ``series, site, layer, depth, size``, as `metastable.heads.compared_heads.effects_by_depth` returns it.
    site : str, optional
        Only this site; all, each with its own line, where left out.
    relative : bool, default False
        Whether layers are placed by their relative depth, for models of different depths.
    effect : str
        What the effect is called.

    Returns
    -------
    matplotlib.figure.Figure
        Layer 1 at the bottom; thin lines hold the middle half of a layer's heads.

    Raises
    ------
    InputError
        Where a column is missing or there is no finite effect.
    """
    series = _series(effects, site)
    n = max(int(part["layer"].max()) for part in series.values())
    row = 0.34 if n <= 12 else 0.24 if n <= 24 else 0.185
    figure, axes = chart(1.45 + row * max(n, 4), columns=2, sharey=True)
    unit = 100 / n if relative else 1.0
    for panel, size in zip(axes, (False, True), strict=True):
        for index, (name, part) in enumerate(series.items()):
            color, style, marker = LINES[index]
            shift = (index - (len(series) - 1) / 2) * 0.22 * unit
            table = _by_depth(part, size=size)
            y = _places(table, relative) + shift
            panel.hlines(y, table["low"], table["high"], color=color, linewidth=1.1, alpha=0.55)
            panel.plot(
                table["mean"],
                y,
                color=color,
                linestyle=style,
                marker=marker,
                markersize=4.5 if row > 0.2 else 3.5,
                linewidth=1.4,
                label=wrap(name, 3.2, FONT - 1),
            )
        panel.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        panel.set_xlabel(f"size of {effect}" if size else effect)
        panel.set_title("mean size of the effect" if size else "mean effect", loc="left")
    axes[1].set_xlim(left=0)
    if relative:
        axes[0].set_ylim(0, 100)
        axes[0].set_ylabel("depth of the layer (%)")
    else:
        shown = ticks(n, row, 0.17)
        axes[0].set_yticks(shown, [str(i) for i in shown])
        axes[0].set_ylim(0.5, n + 0.5)
        axes[0].set_ylabel("layer")
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2)
    return figure


@alt_of(effect_profiles)
def effect_profiles_alt(
    effects: pd.DataFrame, *, site: str | None = None, relative: bool = False, effect: str = "standardized effect"
) -> str:
    """Say in words what `effect_profiles` shows; parameters as there."""
    parts = []
    for name, part in _series(effects, site).items():
        table = _by_depth(part, size=True)
        means, layers = table["mean"].to_numpy(), table["layer"].to_numpy()
        least, most = means.argmin(), means.argmax()
        parts.append(
            f"in {name} from {means[least]:.2f} (layer {layers[least]}) to {means[most]:.2f} (layer {layers[most]})"
        )
    place = "relative depth" if relative else "layer"
    return f"Mean and mean size of {effect} by {place}: the layers' mean size runs {', '.join(parts)}."


@drawing
def effect_shares(effects: pd.DataFrame, *, site: str | None = None, effect: str = "standardized effect") -> Figure:
    """Show which share of the heads has an effect below each value, one stair a study.

    Parameters
    ----------
    effects, site, effect
        As in `effect_profiles`.

    Returns
    -------
    matplotlib.figure.Figure
        Empirical distribution functions: where one stair lies to the right, its effects are larger.

    Raises
    ------
    InputError
        Where a column is missing or there is no finite effect.
    """
    figure, (axes,) = chart(3.4)
    for index, (name, part) in enumerate(_series(effects, site).items()):
        color, style, _ = LINES[index]
        axes.ecdf(
            part["size"],
            color=color,
            linestyle=style,
            linewidth=1.6,
            label=wrap(f"{name}: {len(part)} heads", 2.2, FONT - 1),
        )
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(effect)
    axes.set_ylabel("share of heads below")
    axes.set_title("distribution of the effects over heads", loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


@alt_of(effect_shares)
def effect_shares_alt(effects: pd.DataFrame, *, site: str | None = None, effect: str = "standardized effect") -> str:
    """Say in words what `effect_shares` shows; parameters as there."""
    parts: Sequence[str] = [
        f"{name} has its middle half from {signed(low)} to {signed(high)}, median {signed(middle)}, "
        f"{100 * (part['size'] > 0).mean():.0f}% above zero"
        for name, part in _series(effects, site).items()
        for low, middle, high in [np.quantile(part["size"], [0.25, 0.5, 0.75])]
    ]
    return f"Distribution of {effect} over heads: {'; '.join(parts)}."
