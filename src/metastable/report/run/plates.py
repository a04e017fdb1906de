"""The table of figures of a run's report: a figure is one line here and a file of `metastable.figures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import metastable.figures as figures
from metastable.figures.head_tables import layer_numbers
from metastable.heads.results import RunResult
from metastable.heads.spread import STEPS
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_level, p_phrase, plural
from metastable.report.plate import Given, Part, PlacedPlate, Plate, given, placed_plates
from metastable.report.run import sentences
from metastable.report.run.scene import Scene
from metastable.report.run.sentences import words_of
from metastable.report.words import covariate_name, predictor_of
from metastable.stats.analysis import primary
from metastable.stats.correlation import slope_design
from metastable.stats.effect_kinds import SLOPE
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = ["PLATES", "run_plates"]

# Heads that the figures of slopes show.
_SHOWN = 9


def _sites(scene: Scene) -> list[Part[Scene]]:
    """Return one part for each site; the sites are told apart where there are several."""
    if not scene.several_sites:
        return [Part(replace(scene, site=site)) for site in scene.sites]
    return [Part(replace(scene, site=site), f"_{site}", f" Site: {site}.") for site in scene.sites]


def _caption(stem: str) -> Callable[[Scene], str]:
    """Return the caption that the effect's own words have for a figure."""
    return lambda scene: words_of(scene.effect).captions[stem](scene)


def _site_heads(scene: Scene, *more: Any, **options: Any) -> Given:
    """Return the arguments of a figure that shows the heads of a site."""
    return given(scene.heads, *more, site=scene.site, conditions=scene.conditions, **options)


def _tested_heads(scene: Scene, *more: Any) -> Given:
    """Return the same arguments for a figure that shows what is significant."""
    return _site_heads(scene, *more, alpha=scene.alpha)


def _site_layers(scene: Scene) -> pd.DataFrame:
    return scene.layers[scene.layers["site"] == scene.site].reset_index(drop=True)


def _of_side(side: int) -> Callable[[Scene], str]:
    return lambda scene: (
        f"Mean {scene.measure.name} of every head for {scene.conditions[side]} {scene.things}; "
        "both conditions share the scale."
    )


def _grid(values: NDArray[Any], heads: pd.DataFrame, site: str, missing: float = 0) -> NDArray[Any]:
    """Values of one condition, shape (n_features, width), as (n_layers, n_heads, width)."""
    mine = (heads["site"] == site).to_numpy()
    numbers, row = np.unique(heads.loc[mine, "layer"], return_inverse=True)
    head = heads.loc[mine, "head"].to_numpy() - 1
    grid = np.full((len(numbers), head.max() + 1, values.shape[-1]), missing, dtype=values.dtype)
    grid[row, head] = values[mine]
    return grid


def _violins(scene: Scene) -> Given:
    """Return the counts of both conditions on an axis of keys, or of percents where queries see different numbers."""
    spread, n = scene.spread, scene.visible_keys
    of = scene.result.histograms[0] if n and scene.result.histograms is not None else spread.histograms
    grids = [_grid(of[side], scene.heads, scene.site) for side in (0, 1)]
    layers = layer_numbers(scene.heads[scene.of_site])
    if n:
        return given(*(grid[..., : n + 1] for grid in grids), n=n, conditions=scene.conditions, layers=layers)
    quartiles = [_grid(STEPS * spread.quartiles[side], scene.heads, scene.site, np.nan) for side in (0, 1)]
    usual = float(np.median(spread.usual[scene.of_site]))
    return given(
        *grids, n=STEPS, conditions=scene.conditions, quartiles=tuple(quartiles), usual_keys=usual, layers=layers
    )


def _counts_clause(scene: Scene) -> str:
    a, b = scene.conditions
    at = "" if scene.options.measure == "count" else f"at {scene.threshold} of the attention, "
    return f"The count {at}over all query tokens of {a} and of {b} sequences, head by head"


def _violins_caption(scene: Scene) -> str:
    return (
        f"{_counts_clause(scene)}: distribution, quartiles, and the founding experiment's bands of the median."
        f"{sentences.axis_clause(scene)}"
    )


def _modes_caption(scene: Scene) -> str:
    return (
        f"{_counts_clause(scene)}, the heads of each layer sorted by their median and coloured by operating mode, as "
        f"in figure 2 of Ramsauer et al. (2021).{sentences.axis_clause(scene)}"
    )


def _balance(scene: Scene) -> Given:
    return given(scene.result.balance, names=COVARIATE_NAMES, conditions=scene.conditions)


def _matching(scene: Scene) -> Given:
    if scene.result.material.matched is None:
        raise TypeError("the material was not matched")
    before, after = scene.result.material.matched
    return given(after, before=before, names=COVARIATE_NAMES, conditions=scene.conditions)


def _sensitivity(scene: Scene) -> Given:
    found = scene.result.sensitivity
    if found is None:
        raise TypeError("the run has no sensitivity curve")
    table = found.curve.assign(test=f"permutation test, {found.correction.upper()} {format_level(scene.alpha)}")
    return given(table, target=found.target)


def _contrasts(scene: Scene) -> Given:
    tables = {
        contrast.name: primary(analysis.heads)
        for contrast, analysis in zip(scene.result.contrasts, scene.result.analyses, strict=True)
    }
    return given(tables, value=scene.effect.estimate, site=scene.site, alpha=scene.alpha)


def _packings(scene: Scene) -> Given:
    found = scene.result.packings
    if found is None:
        raise TypeError("the words were read in one packing")
    return given(found.table, site=scene.site, conditions=scene.conditions, alpha=scene.alpha)


def _measures(scene: Scene) -> Given:
    tables = {call_measure(name): primary(analysis.heads) for name, analysis in scene.result.measured.items()}
    return given(tables, site=scene.site, alpha=scene.alpha)


def _views(scene: Scene) -> Given:
    tables = {"whole sequence": scene.heads} | {
        view.name.replace("_", " "): primary(analysis.heads)
        for view, analysis in zip(scene.result.study.views, scene.result.views, strict=True)
    }
    return given(tables, site=scene.site, alpha=scene.alpha)


def _slopes(scene: Scene, which: str) -> Given:
    """Return the strongest heads over the predictor, as they are or what the covariates leave of both."""
    contrast, details, effect = scene.contrast, scene.details, scene.effect
    x, order, noun = predictor_of(contrast), scene.by_size[:_SHOWN], covariate_name(contrast.formula)
    shown = scene.result.unit_values[:, order]
    if which == "adjusted":
        held = contrast.covariates[list(scene.held)].to_numpy(dtype=np.float64)
        design = slope_design(x, held)
        nuisance = design[:, [0, *range(2, design.shape[1])]]
        x = x.mean() + x - nuisance @ np.linalg.lstsq(nuisance, x, rcond=None)[0]
        shown = shown.mean(axis=0) + shown - nuisance @ np.linalg.lstsq(nuisance, shown, rcond=None)[0]
    labels = [
        f"layer {row['layer']}, head {row['head']}" + (f", {row['site']}" if scene.several_sites else "")
        for row in scene.heads.loc[order].to_dict("records")
    ]
    rows = details.loc[order].to_dict("records")
    notes = [p_phrase(float(row[f"p_perm_{which}_fdr"]), "p") for row in rows]
    slopes = [format_g(float(row[f"{effect.estimate}_{which}"]), scene.measure.digits) for row in rows]
    corners = [f"{slope}, {note}" for slope, note in zip(slopes, notes, strict=True)]
    arguments = given(
        x,
        shown,
        labels,
        predictor_label=f"{noun}, adjusted" if which == "adjusted" else noun,
        measure=scene.measure.name,
        notes=notes,
    )
    # the alternative text states the slopes itself
    return arguments.looking(notes=corners)


def _in_the_corner(scene: Scene) -> str:
    crossing = scene.contrast.crossing if scene.analysis.over_contexts else None
    how = "permutation test" if crossing is None else f"over {crossing.item_name}s and {crossing.context_name}s"
    return f" In the corner the slope that is tested and its p ({how}, FDR)."


def _slopes_caption(scene: Scene) -> str:
    unit, n = scene.contrast.unit, min(_SHOWN, len(scene.heads))
    return (
        f"The {plural(n, 'head')} with the strongest slopes: "
        f"means of ten equal groups of {unit}s along the {covariate_name(scene.contrast.formula)} with 95% intervals, "
        f"nothing held fixed, and the straight line through all {unit}s.{_in_the_corner(scene)}"
    )


def _adjusted_slopes_caption(scene: Scene) -> str:
    line = "slope of the means" if scene.analysis.over_contexts else "slope that is tested"
    return (
        "The same heads with the covariates taken out of both axes (an added-variable plot): "
        f"the line is the {line}, covariates held fixed.{_in_the_corner(scene)}"
    )


# the summary figure shows them side by side
_PANELS = "The panels of the first figure, one by one"

PLATES: Sequence[Plate[Scene]] = (
    Plate("summary", "verdict", figures.summary_figure, _tested_heads, _caption("summary"), parts=_sites, early=True),
    Plate(
        "matching", "fairness", figures.balance_plot, _matching,
        lambda _: "Standardized mean difference of every covariate of the words, "
        "before matching (all candidates) and after.",
        applies=lambda scene: scene.result.material.matched is not None, early=True,
    ),
    Plate(
        "balance", "fairness", figures.balance_plot, _balance, _caption("balance"),
        applies=lambda scene: not scene.result.balance.empty, early=True,
    ),
    Plate(
        "adjustment", "fairness", figures.adjustment_plot,
        lambda scene: given(*scene.before_and_after(), alpha=scene.alpha), _caption("adjustment"),
        applies=lambda scene: not scene.analysis.no_adjustment, early=True,
    ),
    Plate(
        "measures", "where", figures.effect_maps, _measures,
        lambda scene: f"{scene.effect.size_name} of every head in each measure, on one scale; "
        "outlined where significant.",
        applies=lambda scene: bool(scene.result.beside), parts=_sites,
    ),
    Plate(
        "contrasts", "contrasts", figures.effect_maps, _contrasts,
        lambda _: "The effects of the design, head by head, on one scale.",
        applies=lambda scene: len(scene.result.analyses) > 1, parts=_sites, early=True,
    ),
    Plate(
        "views", "views", figures.effect_maps, _views,
        _caption("views"),
        applies=lambda scene: bool(scene.result.views), parts=_sites,
    ),
    Plate(
        "layers", "layers", figures.layer_plot, lambda scene: _tested_heads(scene, _site_layers(scene)),
        _caption("layers"), parts=_sites, early=True,
    ),
    Plate(
        "slopes", "heads", figures.slope_plot, lambda scene: _slopes(scene, "unadjusted"), _slopes_caption,
        applies=lambda scene: scene.effect == SLOPE, early=True,
    ),
    Plate(
        "slopes_adjusted", "heads", figures.slope_plot, lambda scene: _slopes(scene, "adjusted"),
        _adjusted_slopes_caption, applies=lambda scene: scene.effect == SLOPE and bool(scene.held), early=True,
    ),
    Plate(
        "heatmap_a", "heads", figures.heatmap, lambda scene: _site_heads(scene, "mean_a"), _of_side(0),
        parts=_sites, folded=_PANELS, early=True,
    ),
    Plate(
        "heatmap_b", "heads", figures.heatmap, lambda scene: _site_heads(scene, "mean_b"), _of_side(1),
        parts=_sites, folded=_PANELS, early=True,
    ),
    Plate(
        "difference", "heads", figures.difference_map, _tested_heads, _caption("difference"),
        parts=_sites, folded=_PANELS, early=True,
    ),
    Plate(
        "significance", "heads", figures.significance_mask, _tested_heads, _caption("significance"),
        parts=_sites, folded=_PANELS, early=True,
    ),
    Plate(
        "p_values", "heads", figures.p_value_histogram, lambda scene: given(scene.heads, alpha=scene.alpha),
        lambda scene: f"{'P-values' if scene.analysis.over_contexts else 'Permutation p-values'} of all heads"
        f"{' by rotations' if scene.analysis.over_contexts else ''}, uncorrected; "
        "without any difference they would be level at the line.", early=True,
    ),
    Plate(
        "packings", "packings", figures.packings_plot, _packings,
        lambda scene: "Verdict of every head (a column) in each packing tested by itself (a row), and of the "
        f"{scene.contrast.unit}s over all packings (the lowest row); hatching tells what colour tells.",
        applies=lambda scene: scene.result.packings is not None, parts=_sites,
    ),
    Plate(
        "sensitivity", "sensitivity", figures.sensitivity_curve, _sensitivity,
        lambda _: "Share of planted effects of each size that a sample like this one finds, "
        "by simulation from its own data.",
        applies=lambda scene: scene.result.sensitivity is not None,
    ),
    Plate(
        "modes", "modes", figures.mode_pair, _violins, _modes_caption,
        applies=lambda scene: scene.result.spread is not None, parts=_sites, early=True,
    ),
    Plate(
        "violins", "founding", figures.violin_pair, _violins, _violins_caption,
        applies=lambda scene: scene.result.spread is not None, parts=_sites, early=True,
    ),
    Plate(
        "thresholds", "thresholds", figures.thresholds_plot,
        lambda scene: given(
            scene.at_every_threshold, site=scene.site, conditions=scene.conditions, alpha=scene.alpha
        ),
        _caption("thresholds"), applies=lambda scene: scene.several_thresholds, parts=_sites, early=True,
    ),
)  # fmt: skip
"""Every figure of the report, in the order in which each section shows its own."""


def run_plates(result: RunResult) -> list[PlacedPlate[Scene]]:
    """Return the figures of a run's report, none of them drawn yet.

    Parameters
    ----------
    result : RunResult
        What the run found.

    Returns
    -------
    list of PlacedPlate
    """
    return placed_plates(PLATES, Scene(result))
