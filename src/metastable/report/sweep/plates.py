"""The figures of a sweep's report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

import metastable.figures as figures
from metastable.heads.sweep_axes import Axis, level_text
from metastable.heads.sweep_result import SweepResult
from metastable.heads.sweep_tables import KIND_AXES
from metastable.report.apa import format_level
from metastable.report.plate import Given, Part, Plate, given

__all__ = ["PLATES", "kind_axes", "short_levels"]


def short_levels(axis: Axis) -> dict[str, str]:
    """Return what a figure calls the values of an axis, by what `level_text` calls them: of a path the last part."""
    texts = [level_text(value) for value in axis.levels]
    short = [text.rstrip("/").rpartition("/")[2] or text for text in texts]
    return dict(zip(texts, short if len(set(short)) == len(short) else texts, strict=True))


def kind_axes(result: SweepResult) -> list[str]:
    """Return the axes along which a head is not followed."""
    return [axis.name for axis in result.axes if axis.name in KIND_AXES]


def _shared(result: SweepResult) -> dict[str, Any]:
    return {"alpha": result.record.options.alpha}


def _settings(result: SweepResult) -> Given:
    shared = _shared(result)
    rows = result.settings.to_dict("records")
    short = {axis.name: short_levels(axis) for axis in result.axes}
    labels = [" · ".join(texts[level_text(row[name])] for name, texts in short.items()) for row in rows]
    found = [bool(row["omnibus_p_holm"] < shared["alpha"]) for row in rows]
    title = " · ".join(axis.title for axis in result.axes)
    return given(result.heads, labels, found, **shared).looking(title=title)


def _settings_caption(result: SweepResult) -> str:
    level = format_level(_shared(result)["alpha"])
    return (
        "Every setting: how large the effects of its heads are, "
        "whether its omnibus test finds a difference (Holm over the settings), "
        f"and how many heads are significant (FDR {level} over the whole sweep)."
    )


def _along_parts(result: SweepResult) -> list[Part[SweepResult]]:
    return [Part(replace(result, axes=(axis,)), f"_{axis.name}", section=f"along {axis.name}") for axis in result.axes]


def _along(result: SweepResult) -> Given:
    (axis,), heads = result.axes, result.heads
    # a seed is a name: nothing lies between two of them
    if axis.name == "seed" or not pd.api.types.is_numeric_dtype(heads[axis.name]):
        short = short_levels(axis)
        heads = heads.assign(**{axis.name: [short[level_text(value)] for value in heads[axis.name]]})
    conditions = (result.contrast.a.name, result.contrast.b.name)
    return given(heads, axis.name, name=axis.title, conditions=conditions, **_shared(result))


def _along_caption(result: SweepResult) -> str:
    (axis,) = result.axes
    several = len(result.settings) > len(axis.levels)
    others = " One bar a setting; the settings of a level stand in the order of the table." if several else ""
    return (
        "Effects of all heads (above) and the significant ones, corrected over the whole sweep (below), "
        f"along {axis.title}.{others}"
    )


def _kinds(result: SweepResult) -> list[str]:
    """Columns that tell the maps of a sweep apart."""
    return [*kind_axes(result), *(("site",) if len(result.heads["site"].unique()) > 1 else ())]


def _map_parts(result: SweepResult) -> list[Part[SweepResult]]:
    names = _kinds(result)
    if not names:
        return [Part(result)]
    groups = result.stability.groupby(names, sort=False, dropna=False)
    return [Part(replace(result, stability=group), f"_{number}") for number, (_, group) in enumerate(groups, start=1)]


def _which(result: SweepResult) -> str:
    """Name the model, the measure and the site of one map."""
    short = {axis.name: short_levels(axis) for axis in result.axes}
    texts = {name: level_text(result.stability[name].iloc[0]) for name in _kinds(result)}
    return ", ".join(short.get(name, {}).get(text, text) for name, text in texts.items())


def _stability_caption(result: SweepResult) -> str:
    which = _which(result)
    ending = f"; {which}." if which else f". Layer {result.stability['layer'].min()} is at the bottom."
    return f"In how many settings each head is different after correction over the whole sweep{ending}"


PLATES: tuple[Plate[SweepResult], ...] = (
    Plate("settings", "lead", figures.settings_plot, _settings, _settings_caption),
    Plate("sweep", "along", figures.sweep_plot, _along, _along_caption, parts=_along_parts),
    Plate(
        "stability",
        "heads",
        figures.stability_map,
        lambda result: given(result.stability, which=_which(result)),
        _stability_caption,
        parts=_map_parts,
    ),
)
"""In the order of the page."""
