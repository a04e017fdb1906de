"""The summary of a study: both conditions, their difference and the verdicts, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from metastable.figures.grid import (
    GAP,
    LEFT,
    RIGHT,
    axes_at,
    color_bar,
    draw_cells,
    row_of_maps,
)
from metastable.figures.head_tables import (
    call_value,
    condition_names,
    digits_for,
    head_matrix,
    layer_numbers,
    measure_of,
    select_heads,
    shared_limits,
    symmetric_limits,
)
from metastable.figures.style import (
    DIVERGING,
    FONT,
    SEQUENTIAL,
    WIDTH,
    alt_of,
    drawing,
    fixed,
    level,
    text_width,
)
from metastable.figures.verdicts import draw_verdicts, significance_mask_alt, verdict_legend, verdict_states
from metastable.measures import call_measure
from metastable.stats.effect_kinds import effect_of

__all__ = ["summary_figure", "summary_figure_alt"]


@drawing
def summary_figure(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] | None = None,
    measure: str | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Show both conditions' means on one scale, their difference or the slope, and the verdicts, in a row.

    Parameters
    ----------
    heads : pandas.DataFrame
        With ``mean_a, mean_b``, the difference or slope, ``p_perm_fdr`` and, if there, ``verdict``.
    site, threshold, measure, conditions, alpha
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    effect, names = effect_of(heads), condition_names(heads, conditions)
    columns = ["mean_a", "mean_b", effect.estimate, "p_perm_fdr"]
    frame = select_heads(heads, columns, site=site, threshold=threshold, measure=measure)
    a, b, difference = (head_matrix(frame, column) for column in columns[:3])
    states = verdict_states(frame, alpha)
    titles = [*names, effect.between(*names) or effect.name, f"verdict (FDR {level(alpha)})"]
    quarter = (WIDTH - LEFT - RIGHT - 3 * GAP) / 4
    entries = verdict_legend(states, names, quarter - 0.42, effect)
    lines = sum(str(entry.get_label()).count("\n") + 1 for entry in entries)
    footer = max(1.12, 0.52 + 0.165 * lines)
    figure, panels, width = row_of_maps(titles, (a.shape[0], a.shape[1]), footer=footer)
    same = Normalize(*shared_limits(frame, columns[:2]))
    centred = Normalize(*symmetric_limits(difference))
    draw_cells(panels[0], a, same, SEQUENTIAL, layer_numbers(frame))
    draw_cells(panels[1], b, same, SEQUENTIAL)
    draw_cells(panels[2], difference, centred, DIVERGING)
    draw_verdicts(panels[3], frame, states)
    measured = measure_of(frame)
    what = f"mean {call_measure(measured)}"
    color_bar(axes_at(figure, LEFT + 0.5 * width, footer - 0.66, width + GAP, 0.1), same, SEQUENTIAL, what)
    label = call_value(effect.estimate, measured)
    third = LEFT + 2 * (width + GAP)
    color_bar(
        axes_at(figure, third + 0.1, footer - 0.66, width - 0.2, 0.1),
        centred,
        DIVERGING,
        label if text_width(label, FONT) <= width else effect.name,
    )
    under = axes_at(figure, third + width + GAP, 0.0, width, footer - 0.5)
    under.set_axis_off()
    under.legend(
        handles=entries,
        loc="upper left",
        borderpad=0,
        borderaxespad=0,
        labelspacing=0.35,
        handleheight=1.1,
        handlelength=1.8,
    )
    return figure


@alt_of(summary_figure)
def summary_figure_alt(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] | None = None,
    measure: str | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `summary_figure` shows; parameters as there."""
    frame = select_heads(heads, ["mean_a", "mean_b"], site=site, threshold=threshold, measure=measure)
    a, b = condition_names(heads, conditions)
    digits = digits_for(frame[["mean_a", "mean_b"]].to_numpy(float), 0.1)
    means = [fixed(frame[column].mean(), digits) for column in ("mean_a", "mean_b")]
    start = f"Mean {call_measure(measure_of(frame))} per head: {a} {means[0]} and {b} {means[1]} on average. "
    return start + significance_mask_alt(frame, conditions=(a, b), alpha=alpha)
