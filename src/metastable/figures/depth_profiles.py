"""Effects over models by the relative depth of the layer: the mean with its band, each model as a thin line."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.head_tables import require_columns
from metastable.figures.style import FONT, LINES, MUTED, alt_of, chart, drawing, fixed, wrap

__all__ = ["depth_bands", "depth_bands_alt"]

_PANELS = (("size", "size of the typical head"), ("mean", "mean signed effect"))


def _sets(profiles: pd.DataFrame, means: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Means by part of the depth of every set of models: families where there are several, else all; the untrained."""
    require_columns(profiles, ["model", "depth", "part", "quantity", "estimate"], "the table of profiles")
    require_columns(means, ["models", "part", "quantity", "estimate", "low", "high"], "the table of means over models")
    depth = profiles.drop_duplicates("part").set_index("part")["depth"]
    rows = means[means["part"].isin(depth.index) & means["quantity"].isin([name for name, _ in _PANELS])]
    names = [str(name) for name in rows["models"].unique() if "−" not in str(name)]
    families = [name for name in names if name not in ("all", "untrained")]
    shown = [
        *(families if 1 < len(families) < len(LINES) else ["all"]),
        *(["untrained"] if "untrained" in names else []),
    ]
    found = {
        name: rows[rows["models"] == name].assign(depth=rows["part"].map(depth)).sort_values("depth") for name in shown
    }
    found = {name: table for name, table in found.items() if len(table)}
    if not found:
        raise InputError("the table of means over models has no part of the depth; give models of two layers or more")
    return found


@drawing
def depth_bands(profiles: pd.DataFrame, means: pd.DataFrame, *, effect: str = "Hedges' g") -> Figure:
    """Show the effects by relative depth over models.

    Parameters
    ----------
    profiles : pandas.DataFrame
        One row per model, part of the depth and quantity: ``model, part, depth, quantity, estimate``.
    means : pandas.DataFrame
        One row per set of models, part and quantity: ``models, part, quantity, estimate, low, high``.
    effect : str
        What the effect is called.

    Returns
    -------
    matplotlib.figure.Figure
        Bands reach over draws of models and sequences together; a set of one model has none.

    Raises
    ------
    InputError
        Where a column is missing or there is no part of the depth.
    """
    sets = _sets(profiles, means)
    figure, axes = chart(3.5, columns=2)
    for panel, (quantity, title) in zip(axes, _PANELS, strict=True):
        for _, mine in profiles[profiles["quantity"] == quantity].groupby("model", sort=False):
            ordered = mine.sort_values("depth")
            panel.plot(100 * ordered["depth"], ordered["estimate"], color="#bdbdbd", linewidth=0.8, zorder=1)
        for (color, style, marker), (name, rows) in zip(LINES, sets.items(), strict=False):
            mine = rows[rows["quantity"] == quantity]
            x = 100 * mine["depth"].to_numpy(dtype=float)
            panel.fill_between(
                x, mine["low"].to_numpy(float), mine["high"].to_numpy(float), color=color, alpha=0.18, linewidth=0
            )
            panel.plot(
                x,
                mine["estimate"],
                color=color,
                linestyle=style,
                marker=marker,
                markersize=4.5,
                label=wrap("all models" if name == "all" else name, 3.0, FONT - 1),
            )
        panel.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
        panel.set_xlim(0, 100)
        panel.set_xlabel("depth of the layer (%)")
        panel.set_ylabel(effect)
        panel.set_title(title, loc="left")
    axes[0].set_ylim(bottom=0)
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3)
    return figure


@alt_of(depth_bands)
def depth_bands_alt(profiles: pd.DataFrame, means: pd.DataFrame, *, effect: str = "Hedges' g") -> str:
    """Say in words what `depth_bands` shows; parameters as there."""
    parts = []
    for name, rows in _sets(profiles, means).items():
        mine = rows[rows["quantity"] == "size"]
        steps = [
            f"{fixed(row['estimate'])} [{fixed(row['low'])}, {fixed(row['high'])}]"
            if np.isfinite(row["low"])
            else fixed(row["estimate"])
            for row in mine.to_dict("records")
        ]
        parts.append(f"{'all models' if name == 'all' else name} {', '.join(steps)}")
    return f"Size of the typical head ({effect}) by depth, from the input to the output: {'; '.join(parts)}."
