"""Maps side by side: the summary of a study, and the contrasts of a two-by-two design."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.grid import (
    GAP,
    LEFT,
    RIGHT,
    axes_at,
    bar_footer,
    bar_under,
    color_bar,
    draw_cells,
    outline_cells,
    row_of_maps,
)
from metastable.figures.style import (
    CONDITIONS,
    DIVERGING,
    FONT,
    SEQUENTIAL,
    WIDTH,
    fixed,
    level,
    signed,
    styled,
    text_width,
    wrap,
)
from metastable.figures.tables import (
    call_measure,
    call_value,
    digits_for,
    head_matrix,
    place,
    select_heads,
    shared_limits,
    significant,
    strongest,
    symmetric_limits,
)
from metastable.figures.verdicts import draw_verdicts, significance_mask_alt, verdict_legend, verdict_states

__all__ = ["interaction_plot", "interaction_plot_alt", "summary_figure", "summary_figure_alt"]


@styled
def summary_figure(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    alpha: float = 0.05,
    effect: str | None = None,
) -> Figure:
    """Show both conditions' means on one scale, their difference and the verdicts, in a row.

    Parameters
    ----------
    heads : pandas.DataFrame
        With ``mean_a, mean_b, difference, p_perm_fdr`` and, if there, ``verdict``.
    site, threshold, conditions, measure, alpha
        As in `difference_map`.
    effect : str, optional
        What ``difference`` is, where it is not that of the two conditions: a slope.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = ["mean_a", "mean_b", "difference", "p_perm_fdr"]
    frame = select_heads(heads, columns, site=site, threshold=threshold)
    a, b, difference = (head_matrix(frame, column) for column in columns[:3])
    states = verdict_states(frame, alpha)
    titles = [*conditions, effect or f"{conditions[0]} − {conditions[1]}", f"verdict (FDR {level(alpha)})"]
    quarter = (WIDTH - LEFT - RIGHT - 3 * GAP) / 4
    entries = verdict_legend(states, conditions, quarter - 0.42, effect)
    lines = sum(str(entry.get_label()).count("\n") + 1 for entry in entries)
    footer = max(1.12, 0.52 + 0.165 * lines)
    figure, panels, width = row_of_maps(titles, (a.shape[0], a.shape[1]), footer=footer)
    same = Normalize(*shared_limits(frame, columns[:2]))
    centred = Normalize(*symmetric_limits(difference))
    draw_cells(panels[0], a, same, SEQUENTIAL)
    draw_cells(panels[1], b, same, SEQUENTIAL, layers=False)
    draw_cells(panels[2], difference, centred, DIVERGING, layers=False)
    draw_verdicts(panels[3], frame, states, layers=False)
    what = f"mean {call_measure(measure)}"
    color_bar(axes_at(figure, LEFT + 0.5 * width, footer - 0.66, width + GAP, 0.1), same, SEQUENTIAL, what)
    label = f"difference in {what}" if effect is None else f"{effect} of {what}"
    third = LEFT + 2 * (width + GAP)
    color_bar(
        axes_at(figure, third + 0.1, footer - 0.66, width - 0.2, 0.1),
        centred,
        DIVERGING,
        label if text_width(label, FONT) <= width else effect or "difference",
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


def summary_figure_alt(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    measure: str = "count",
    alpha: float = 0.05,
    effect: str | None = None,
) -> str:
    """Say in words what `summary_figure` shows; parameters as there."""
    frame = select_heads(heads, ["mean_a", "mean_b"], site=site, threshold=threshold)
    a, b = conditions
    digits = digits_for(frame[["mean_a", "mean_b"]].to_numpy(float), 0.1)
    means = [fixed(frame[column].mean(), digits) for column in ("mean_a", "mean_b")]
    start = f"Mean {call_measure(measure)} per head: {a} {means[0]} and {b} {means[1]} on average. "
    return start + significance_mask_alt(frame, conditions=conditions, alpha=alpha, effect=effect)


@styled
def interaction_plot(
    first: pd.DataFrame,
    second: pd.DataFrame,
    interaction: pd.DataFrame,
    *,
    value: str = "difference",
    site: str | None = None,
    threshold: float | None = None,
    names: Sequence[str] = ("question", "pool", "interaction"),
    measure: str = "count",
    alpha: float = 0.05,
) -> Figure:
    """Show the two main effects and the interaction of a two-by-two design, head by head.

    Parameters
    ----------
    first, second, interaction : pandas.DataFrame
        Tables of heads, one for each contrast, with `value` and ``p_perm_fdr``.
    value : str, default "difference"
        The contrast's estimate; all three maps share one scale, centred at zero.
    site, threshold, measure, alpha
        As in `difference_map`.
    names : three str
        What each contrast is called.

    Returns
    -------
    matplotlib.figure.Figure
        Significant heads are outlined and counted in the titles.
    """
    frames = [
        select_heads(table, [value, "p_perm_fdr"], site=site, threshold=threshold)
        for table in (first, second, interaction)
    ]
    matrices = [head_matrix(frame, value) for frame in frames]
    if len({matrix.shape for matrix in matrices}) > 1:
        raise InputError("the three contrasts must hold the same layers and heads; check the tables")
    counts = [int(significant(frame, alpha).sum()) for frame in frames]
    titles = [f"{name}: {n} of {len(frames[0])}" for name, n in zip(names, counts, strict=True)]
    shape = (matrices[0].shape[0], matrices[0].shape[1])
    label = wrap(
        f"{call_value(value, measure)}; outlined and counted: significant (FDR {level(alpha)})", WIDTH - 0.8, FONT
    )
    figure, panels, _ = row_of_maps(titles, shape, footer=bar_footer(label))
    norm = Normalize(*symmetric_limits(np.stack(matrices)))
    for i, (axes, frame, matrix) in enumerate(zip(panels, frames, matrices, strict=True)):
        draw_cells(axes, matrix, norm, DIVERGING, layers=i == 0)
        outline_cells(axes, head_matrix(frame, significant(frame, alpha)) == 1)
    bar_under(figure, norm, DIVERGING, label, width=5.2)
    return figure


def interaction_plot_alt(
    first: pd.DataFrame,
    second: pd.DataFrame,
    interaction: pd.DataFrame,
    *,
    value: str = "difference",
    site: str | None = None,
    threshold: float | None = None,
    names: Sequence[str] = ("question", "pool", "interaction"),
    measure: str = "count",
    alpha: float = 0.05,
) -> str:
    """Say in words what `interaction_plot` shows; parameters as there."""
    parts = []
    for name, table in zip(names, (first, second, interaction), strict=True):
        frame = select_heads(table, [value, "p_perm_fdr"], site=site, threshold=threshold)
        largest = strongest(frame, value)
        parts.append(
            f"{name} in {int(significant(frame, alpha).sum())} of {len(frame)} heads "
            f"(largest {signed(largest[value])} in {place(largest)})"
        )
    return (
        f"Maps of the {call_value(value, measure)} in a two-by-two design; significant after FDR correction at "
        f"{level(alpha)}: {'; '.join(parts)}."
    )
