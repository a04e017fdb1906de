"""Pictures of results, each a function of data that returns a matplotlib figure.

Every figure function has an alternative text, ``.alt`` (also as ``..._alt``), that takes the same data and states the
finding in words. What was measured and tested, a figure reads from the table; the names of the conditions it reads from
``heads.attrs["conditions"]``, which a run's tables and heads.parquet have, or is given them.

>>> import metastable
>>> figure = metastable.figures.heatmap(heads, "mean_a")        # doctest: +SKIP
>>> words = metastable.figures.heatmap.alt(heads, "mean_a")     # doctest: +SKIP
"""

from __future__ import annotations

from metastable.figures.calibration_plots import (
    calibration_plot,
    calibration_plot_alt,
    sensitivity_curve,
    sensitivity_curve_alt,
)
from metastable.figures.diagnostics import (
    balance_plot,
    balance_plot_alt,
    p_value_histogram,
    p_value_histogram_alt,
)
from metastable.figures.effect_maps import (
    effect_maps,
    effect_maps_alt,
    joined_effect_maps,
    joined_effect_maps_alt,
)
from metastable.figures.heatmaps import (
    difference_map,
    difference_map_alt,
    heatmap,
    heatmap_alt,
)
from metastable.figures.layers import (
    layer_plot,
    layer_plot_alt,
)
from metastable.figures.profiles import (
    effect_profiles,
    effect_profiles_alt,
    effect_shares,
    effect_shares_alt,
)
from metastable.figures.robustness import (
    sweep_plot,
    sweep_plot_alt,
    thresholds_plot,
    thresholds_plot_alt,
)
from metastable.figures.save import (
    save_figure,
)
from metastable.figures.settings import (
    settings_plot,
    settings_plot_alt,
)
from metastable.figures.slopes import (
    slope_plot,
    slope_plot_alt,
)
from metastable.figures.stability import (
    stability_map,
    stability_map_alt,
)
from metastable.figures.summary import (
    summary_figure,
    summary_figure_alt,
)
from metastable.figures.two_estimates import (
    adjustment_plot,
    adjustment_plot_alt,
    study_scatter,
    study_scatter_alt,
)
from metastable.figures.verdicts import (
    significance_mask,
    significance_mask_alt,
)
from metastable.figures.violins import (
    violin_grid,
    violin_grid_alt,
    violin_pair,
    violin_pair_alt,
)

__all__ = [
    "adjustment_plot",
    "adjustment_plot_alt",
    "balance_plot",
    "balance_plot_alt",
    "calibration_plot",
    "calibration_plot_alt",
    "difference_map",
    "difference_map_alt",
    "effect_maps",
    "effect_maps_alt",
    "effect_profiles",
    "effect_profiles_alt",
    "effect_shares",
    "effect_shares_alt",
    "heatmap",
    "heatmap_alt",
    "joined_effect_maps",
    "joined_effect_maps_alt",
    "layer_plot",
    "layer_plot_alt",
    "p_value_histogram",
    "p_value_histogram_alt",
    "save_figure",
    "sensitivity_curve",
    "sensitivity_curve_alt",
    "settings_plot",
    "settings_plot_alt",
    "significance_mask",
    "significance_mask_alt",
    "slope_plot",
    "slope_plot_alt",
    "stability_map",
    "stability_map_alt",
    "study_scatter",
    "study_scatter_alt",
    "summary_figure",
    "summary_figure_alt",
    "sweep_plot",
    "sweep_plot_alt",
    "thresholds_plot",
    "thresholds_plot_alt",
    "violin_grid",
    "violin_grid_alt",
    "violin_pair",
    "violin_pair_alt",
]
