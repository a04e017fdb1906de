"""The figures of a sweep's report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metastable import figures
from metastable.heads.sweep_axes import Axis, level_text
from metastable.heads.sweep_tables import KIND_AXES
from metastable.report.apa import format_level, format_share
from metastable.report.plate import Plate

if TYPE_CHECKING:
    from metastable.heads.sweep_result import SweepResult

__all__ = ["axis_plate", "kind_axes", "settings_plate", "short_levels", "stability_plates"]


def short_levels(axis: Axis) -> dict[str, str]:
    """Return what a figure calls the values of an axis, by what `level_text` calls them: of a path the last part."""
    texts = [level_text(value) for value in axis.levels]
    short = [text.rstrip("/").rpartition("/")[2] or text for text in texts]
    return dict(zip(texts, short if len(set(short)) == len(short) else texts, strict=True))


def kind_axes(result: SweepResult) -> list[str]:
    """Return the axes along which a head is not followed."""
    return [axis.name for axis in result.axes if axis.name in KIND_AXES]


def _shared(result: SweepResult) -> dict[str, Any]:
    slope = result.contrast.predictor is not None
    return {"alpha": result.record.options.alpha, "effect": "d of the slope" if slope else None}


def settings_plate(result: SweepResult) -> Plate:
    """Draw all settings under one another."""
    shared = _shared(result)
    rows = result.settings.to_dict("records")
    short = {axis.name: short_levels(axis) for axis in result.axes}
    labels = [" · ".join(texts[level_text(row[name])] for name, texts in short.items()) for row in rows]
    found = [bool(row["omnibus_p_holm"] < shared["alpha"]) for row in rows]
    return Plate(
        "settings",
        figures.settings_plot(
            result.heads, labels, found, title=" · ".join(axis.title for axis in result.axes), **shared
        ),
        figures.settings_plot_alt(result.heads, labels, found, **shared),
        "Every setting: how large the effects of its heads are, whether its omnibus test finds a difference (Holm over "
        f"the settings), and how many heads are significant (FDR {format_level(shared['alpha'])} over the "
        f"whole sweep).",
    )


def axis_plate(result: SweepResult, axis: Axis) -> Plate:
    """Draw effects and significance along one axis, all settings at a level together."""
    shared = _shared(result)
    heads = result.heads
    # a seed is a name: nothing lies between two of them
    if axis.name == "seed" or not pd.api.types.is_numeric_dtype(heads[axis.name]):
        short = short_levels(axis)
        heads = heads.assign(**{axis.name: [short[level_text(value)] for value in heads[axis.name]]})
    conditions = (result.contrast.a.name, result.contrast.b.name)
    others = (
        " One bar a setting; the settings of a level stand in the order of the table." if len(result.axes) > 1 else ""
    )
    return Plate(
        f"sweep_{axis.name}",
        figures.sweep_plot(heads, axis.name, name=axis.title, conditions=conditions, **shared),
        figures.sweep_plot_alt(heads, axis.name, name=axis.title, conditions=conditions, **shared),
        f"Effects of all heads (above) and the significant ones, corrected over the whole sweep (below), along "
        f"{axis.title}.{others}",
    )


def stability_plates(result: SweepResult) -> list[Plate]:
    """Draw in how many settings each head differs: a map for each model, measure and site."""
    table = result.stability
    short = {axis.name: short_levels(axis) for axis in result.axes}
    names = [*kind_axes(result), *(("site",) if len(table["site"].unique()) > 1 else ())]
    plates = []
    groups = table.groupby(names, sort=False, dropna=False) if names else [((), table)]
    for number, (levels, group) in enumerate(groups, start=1):
        n_settings = int(group["n_settings"].iloc[0])
        told = zip(names, map(level_text, levels), strict=True)
        which = ", ".join(short.get(name, {}).get(text, text) for name, text in told)
        found = group["n_different"].to_numpy()
        column = f"settings in which a head differs, of {n_settings}"
        heads = group.assign(threshold=np.nan)
        heads[column] = found
        always, never = int((found == n_settings).sum()), int((found == 0).sum())
        plates.append(
            Plate(
                f"stability_{number}" if names else "stability",
                figures.heatmap(
                    heads,
                    column,
                    limits=(0, n_settings),
                    title=f"in how many of {n_settings} settings a head differs" + (f": {which}" if which else ""),
                ),
                f"Map of the number of settings in which each head differs{f' ({which})' if which else ''}: "
                f"{format_share(always, len(group))} in all {n_settings} settings, {format_share(never, len(group))} "
                "in none.",
                "In how many settings each head is different after correction over the whole sweep"
                + (f"; {which}." if which else ". Layer 1 is at the bottom."),
            )
        )
    return plates
