"""The figures of a report where the predictor is continuous instead of two groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metastable import figures
from metastable.report.apa import format_g, format_level, p_phrase, plural
from metastable.report.measure_words import measure_words
from metastable.report.plate import Plate
from metastable.report.words import covariate_name, held_clause, per_unit, predictor_of
from metastable.stats.correlation import slope_design

if TYPE_CHECKING:
    from metastable.heads.results import RunResult

__all__ = ["slope_plates"]

# Heads that the figures of slopes show.
_SHOWN = 9


def _slope_plate(result: RunResult, heads: pd.DataFrame, details: pd.DataFrame, *, adjusted: bool) -> Plate:
    """Draw the strongest heads over the predictor, as they are or what the covariates leave of both."""
    contrast, options = result.contrast, result.record.options
    x, values, noun = predictor_of(contrast), result.unit_values, covariate_name(contrast.formula)
    order = heads["hedges_g"].abs().sort_values(ascending=False, kind="stable").index[:_SHOWN].to_numpy()
    several = len(heads["site"].unique()) > 1
    labels = [
        f"layer {row['layer']}, head {row['head']}" + (f", {row['site']}" if several else "")
        for row in heads.loc[order].to_dict("records")
    ]
    shown = values[:, order]
    which = "adjusted" if adjusted else "unadjusted"
    if adjusted:
        held = contrast.covariates[list(options.covariates)].to_numpy(dtype=np.float64)
        design = slope_design(x, held)
        nuisance = design[:, [0, *range(2, design.shape[1])]]
        x = x.mean() + x - nuisance @ np.linalg.lstsq(nuisance, x, rcond=None)[0]
        shown = shown.mean(axis=0) + shown - nuisance @ np.linalg.lstsq(nuisance, shown, rcond=None)[0]
    notes, slopes = [], []
    for row in details.loc[order].to_dict("records"):
        notes.append(p_phrase(float(row[f"p_perm_{which}_fdr"]), "p"))
        slopes.append(format_g(float(row[f"difference_{which}"]), measure_words(options).digits))
    arguments: dict[str, Any] = {
        "predictor_label": f"{noun}, adjusted" if adjusted else noun,
        "measure": measure_words(options).name,
    }
    corners = [f"{slope}, {note}" for slope, note in zip(slopes, notes, strict=True)]
    caption = (
        "The same heads with the covariates taken out of both axes (an added-variable plot): the line is the slope "
        "that is tested, covariates held fixed."
        if adjusted
        else f"The {plural(len(order), 'head')} with the strongest slopes: means of ten equal groups of "
        f"{contrast.unit}s along the {noun} with 95% intervals, nothing held fixed, and the straight line through all "
        f"{contrast.unit}s."
    )
    return Plate(
        stem="slopes_adjusted" if adjusted else "slopes",
        figure=figures.slope_plot(x, shown, labels, **arguments, notes=corners),
        alt=figures.slope_plot_alt(x, shown, labels, **arguments, notes=notes),
        caption=caption + " In the corner the slope and its p (permutation test, FDR).",
    )


def _adjustment_plate(heads: pd.DataFrame, details: pd.DataFrame, alpha: float) -> Plate:
    keys = heads[["site", "layer", "head", "threshold"]]
    before, after = (
        keys.assign(slope=details[f"difference_{name}"], p_perm_fdr=details[f"p_perm_{name}_fdr"])
        for name in ("unadjusted", "adjusted")
    )
    return Plate(
        "adjustment",
        figures.adjustment_plot(before, after, value="slope", alpha=alpha),
        figures.adjustment_plot_alt(before, after, value="slope", alpha=alpha),
        "Every head's slope with nothing held fixed and with the covariates held fixed (permutation tests, FDR).",
    )


def _site_plates(result: RunResult, heads: pd.DataFrame, layers: pd.DataFrame, site: str) -> dict[str, Plate]:
    """Draw anew the figures of one site that would call a slope a difference of the halves."""
    contrast, options = result.contrast, result.record.options
    noun, alpha, named = covariate_name(contrast.formula), options.alpha, measure_words(options).name
    held, over = held_clause(options), per_unit(contrast)
    amid = f",{held}" if held else ""
    conditions = (contrast.a.name, contrast.b.name)
    table = heads.assign(d=heads["hedges_g"])
    layers = layers[layers["site"] == site].reset_index(drop=True)
    shared: dict[str, Any] = {"site": site, "conditions": conditions, "alpha": alpha, "effect": "slope"}
    measured = {**shared, "measure": options.measure}
    every = result.analysis.heads.assign(d=result.analysis.heads["hedges_g"])
    thresholds = {}
    if len(every["threshold"].unique()) > 1:
        thresholds["thresholds"] = Plate(
            "thresholds",
            figures.thresholds_plot(every, **shared, value="d"),
            figures.thresholds_plot_alt(every, **shared, value="d"),
            f"The d of every head{held} and the number of significant heads along the thresholds.",
        )
    return {
        "summary": Plate(
            "summary",
            figures.summary_figure(table, **measured),
            figures.summary_figure_alt(table, **measured),
            f"Mean {named} of every head for the {conditions[0]} and the {conditions[1]} half on one scale; the slope, "
            f"which is the change {over}{amid}; and the verdict on the slope. Layer 1 is at the bottom.",
        ),
        "difference": Plate(
            "difference",
            figures.difference_map(table, **measured),
            figures.difference_map_alt(table, **measured),
            f"Change of the mean {named} {over}{amid}; outlined where significant (FDR {format_level(alpha)}).",
        ),
        "significance": Plate(
            "significance",
            figures.significance_mask(table, **shared),
            figures.significance_mask_alt(table, **shared),
            f"The verdict on the slope of every head{held}; hatching tells what colour tells.",
        ),
        "layers": Plate(
            "layers",
            figures.layer_plot(table, layers, **shared, value="d"),
            figures.layer_plot_alt(table, layers, **shared, value="d"),
            f"Every head's d of the partial correlation with the {noun}{held}, layer by layer, with the layers' "
            "omnibus tests.",
        ),
    } | thresholds


def slope_plates(
    result: RunResult,
    plates: Mapping[str, list[Plate]],
    heads: pd.DataFrame,
    details: pd.DataFrame,
    layers: pd.DataFrame,
) -> dict[str, list[Plate]]:
    """Return the figures of a slope: those of two groups where they serve, and those that only slopes have.

    Parameters
    ----------
    result : RunResult
        Whose primary contrast has a continuous predictor.
    plates : mapping of str to list of Plate
        As drawn for two groups.
    heads, details, layers : pandas.DataFrame
        Rows of the primary threshold.

    Returns
    -------
    dict of str to list of Plate
    """
    noun, options = covariate_name(result.contrast.formula), result.record.options
    drawn = {name: list(group) for name, group in plates.items()}
    sites = list(dict.fromkeys(heads["site"]))
    for index, site in enumerate(sites):
        ending = f" Site: {site}." if len(sites) > 1 else ""
        for name, plate in _site_plates(result, heads, layers, site).items():
            drawn[name][index] = replace(plate, stem=drawn[name][index].stem, caption=plate.caption + ending)
    if "balance" in drawn:
        caption = (
            f"Standardized mean difference of every covariate between the halves above and below the middle of the "
            f"{noun}; the usual line for balance is 0.1."
        )
        drawn["balance"] = [replace(plate, caption=caption) for plate in drawn["balance"]]
    drawn["slopes"] = [_slope_plate(result, heads, details, adjusted=False)]
    if options.covariates:
        drawn["slopes"].append(_slope_plate(result, heads, details, adjusted=True))
    if not result.analysis.no_adjustment:
        drawn["adjustment"] = [_adjustment_plate(heads, details, options.alpha)]
    return drawn
