"""The figures of a report, each with its alt text and caption."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metastable import figures
from metastable.report.apa import format_level
from metastable.report.measure_words import measure_words, row_length
from metastable.report.names import COVARIATE_NAMES
from metastable.report.plate import Plate
from metastable.report.run.slope_plates import slope_plates
from metastable.report.run.verdict_sentences import primary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metastable.heads.results import RunResult

__all__ = ["draw_plates", "longest_count"]

Drawing = Callable[..., "Figure"]


def _grid(histograms: np.ndarray[Any, Any], heads: pd.DataFrame, site: str) -> np.ndarray[Any, Any]:
    """Histograms of one condition, shape (n_features, width), as (n_layers, n_heads, width)."""
    mine = (heads["site"] == site).to_numpy()
    layer, head = heads.loc[mine, "layer"].to_numpy() - 1, heads.loc[mine, "head"].to_numpy() - 1
    grid = np.zeros((layer.max() + 1, head.max() + 1, histograms.shape[-1]), dtype=histograms.dtype)
    grid[layer, head] = histograms[mine]
    return grid


def longest_count(result: RunResult) -> int:
    """Return the largest count that a head can have in a run, or has: the operating modes are shares of it."""
    options = result.record.options
    possible = max(row_length(sequence, options) for sequence in result.material.sequences)
    # an image has more regions than its caption has words
    return max(possible, int(np.flatnonzero(result.histograms.any(axis=(0, 1, 2))).max()))


def _site_plates(result: RunResult, site: str, ending: str, caption: str) -> dict[str, Plate]:
    """Draw the figures that show one site; `ending` and `caption` tell the sites apart."""
    contrast, options = result.contrast, result.record.options
    heads, layers = primary(result.analysis.heads), primary(result.analysis.layers)
    conditions = (contrast.a.name, contrast.b.name)
    alpha = options.alpha
    layers = layers[layers["site"] == site].reset_index(drop=True)
    measure = options.measure
    measured: dict[str, Any] = {"site": site, "conditions": conditions, "measure": measure}
    tested: dict[str, Any] = {"site": site, "conditions": conditions, "alpha": alpha}
    words, fdr = measure_words(options), f"FDR {format_level(alpha)}"
    plates: dict[str, Plate] = {}

    def add(name: str, draw: Drawing, tell: Callable[..., str], text: str, *args: Any, **kwargs: Any) -> None:
        plates[name] = Plate(
            stem=name + ending,
            figure=draw(*args, **kwargs),
            alt=tell(*args, **kwargs),
            caption=text + caption,
        )

    a, b = conditions
    named = words.name
    add(
        "summary", figures.summary_figure, figures.summary_figure_alt,
        f"Mean {named} of every head for {a} and {b} sequences on one scale, their difference, and the verdict of "
        "every head. Layer 1 is at the bottom.", heads, **measured, alpha=alpha,
    )  # fmt: skip
    for side, name in zip("ab", conditions, strict=True):
        add(
            f"heatmap_{side}", figures.heatmap, figures.heatmap_alt,
            f"Mean {named} of every head for {name} sequences; both conditions share the scale.",
            heads, f"mean_{side}", **measured,
        )  # fmt: skip
    add(
        "difference", figures.difference_map, figures.difference_map_alt,
        f"Difference of the mean {named}, {a} minus {b}; outlined where significant ({fdr}).", heads,
        **measured, alpha=alpha,
    )  # fmt: skip
    add(
        "significance", figures.significance_mask, figures.significance_mask_alt,
        "The verdict of every head; hatching tells what colour tells.", heads, **tested,
    )  # fmt: skip
    plates["layers"] = Plate(
        "layers" + ending,
        figures.layer_plot(heads, layers, **tested),
        figures.layer_plot_alt(heads, layers, **tested),
        "Every head's Hedges' g, layer by layer, with the layers' omnibus tests." + caption,
    )
    n_keys = longest_count(result)
    at = "" if measure == "count" else f"at {100 * options.threshold[0]:g}% of the attention, "
    first, second = (_grid(result.histograms[0, index], heads, site) for index in (0, 1))
    plates["violins"] = Plate(
        "violins" + ending,
        figures.violin_pair(first, second, n=n_keys, conditions=conditions),
        figures.violin_pair_alt(first, second, n=n_keys, conditions=conditions),
        f"The count {at}over all query tokens of {a} and of {b} sequences, head by head: distribution, median, and "
        "mode." + caption,
    )
    if len(result.analysis.heads["threshold"].unique()) > 1:
        every = result.analysis.heads
        plates["thresholds"] = Plate(
            "thresholds" + ending,
            figures.thresholds_plot(every, **tested),
            figures.thresholds_plot_alt(every, **tested),
            "Effect of every head and number of significant heads along the thresholds." + caption,
        )
    return plates


def _whole_plates(result: RunResult) -> dict[str, Plate]:
    """Draw the figures of all sites together."""
    heads, alpha = primary(result.analysis.heads), result.record.options.alpha
    measure = result.record.options.measure
    conditions = (result.contrast.a.name, result.contrast.b.name)
    plates = {
        "p_values": Plate(
            "p_values",
            figures.p_value_histogram(heads, alpha=alpha),
            figures.p_value_histogram_alt(heads, alpha=alpha),
            "Permutation p-values of all heads, uncorrected; without any difference they would be level at the line.",
        )
    }
    details = primary(result.analysis.details)
    if not result.analysis.no_adjustment:
        keys = heads[["site", "layer", "head", "threshold"]]
        before = keys.assign(difference=heads["difference"], p_perm_fdr=details["p_unadjusted_fdr"])
        after = keys.assign(difference=details["difference_adjusted"], p_perm_fdr=details["p_adjusted_fdr"])
        plates["adjustment"] = Plate(
            "adjustment",
            figures.adjustment_plot(before, after, measure=measure, alpha=alpha),
            figures.adjustment_plot_alt(before, after, measure=measure, alpha=alpha),
            "Every head's difference before and after adjusting for all covariates at once (HC3 errors, FDR).",
        )
    if result.sensitivity is not None:
        table = result.sensitivity.curve.assign(
            test=f"permutation test, {result.sensitivity.correction.upper()} {format_level(alpha)}"
        )
        plates["sensitivity"] = Plate(
            "sensitivity",
            figures.sensitivity_curve(table, target=result.sensitivity.target),
            figures.sensitivity_curve_alt(table, target=result.sensitivity.target),
            "Share of planted effects of each size that a sample like this one finds, by simulation from its own data.",
        )
    if result.material.matched is not None:
        before, after = result.material.matched
        plates["matching"] = Plate(
            "matching",
            figures.balance_plot(after, before=before, names=COVARIATE_NAMES, conditions=conditions),
            figures.balance_plot_alt(after, before=before, names=COVARIATE_NAMES, conditions=conditions),
            "Standardized mean difference of every covariate of the words, before matching (all candidates) and after.",
        )
    if not result.balance.empty:
        plates["balance"] = Plate(
            "balance",
            figures.balance_plot(result.balance, names=COVARIATE_NAMES, conditions=conditions),
            figures.balance_plot_alt(result.balance, names=COVARIATE_NAMES, conditions=conditions),
            "Standardized mean difference of every covariate; the usual line for balance is 0.1.",
        )
    return plates


def _effect_plates(result: RunResult, site: str, ending: str, caption: str) -> dict[str, Plate]:
    """Draw the contrasts of a two-by-two design and the views of the sequences, at one site."""
    options = result.record.options
    shared: dict[str, Any] = {"site": site, "measure": options.measure, "alpha": options.alpha}
    plates = {}
    if len(result.analyses) > 1:
        tables = {
            contrast.name: primary(analysis.heads)
            for contrast, analysis in zip(result.contrasts, result.analyses, strict=True)
        }
        plates["contrasts"] = Plate(
            "contrasts" + ending,
            figures.effect_maps(tables, value="difference", **shared),
            figures.effect_maps_alt(tables, value="difference", **shared),
            "The effects of the design, head by head, on one scale." + caption,
        )
    if result.views:
        tables = {"whole sequence": primary(result.analysis.heads)} | {
            view.name.replace("_", " "): primary(analysis.heads)
            for view, analysis in zip(result.study.views, result.views, strict=True)
        }
        plates["views"] = Plate(
            "views" + ending,
            figures.effect_maps(tables, **shared),
            figures.effect_maps_alt(tables, **shared),
            "Hedges' g of the whole sequences and of each view, head by head, on one scale." + caption,
        )
    return plates


def draw_plates(result: RunResult) -> dict[str, list[Plate]]:
    """Draw every figure of the report.

    Parameters
    ----------
    result : RunResult
        What the run found.

    Returns
    -------
    dict of str to list of Plate
        By the name that the template gives them; several plates of a name where the model has several
        attention sites.
    """
    sites = list(dict.fromkeys(result.analysis.heads["site"]))
    plates: dict[str, list[Plate]] = {name: [plate] for name, plate in _whole_plates(result).items()}
    for site in sites:
        several = len(sites) > 1
        ending = f"_{site}" if several else ""
        caption = f" Site: {site}." if several else ""
        for draw in (_site_plates, _effect_plates):
            for name, plate in draw(result, site, ending, caption).items():
                plates.setdefault(name, []).append(plate)
    if result.contrast.predictor is not None:
        tables = (result.analysis.heads, result.analysis.details, result.analysis.layers)
        return slope_plates(result, plates, *map(primary, tables))
    return plates
