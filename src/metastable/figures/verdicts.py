"""Significance per head: which condition needs more, equivalent, or undecided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from metastable.figures.grid import axes_at, cell_corners, label_axes, one_map
from metastable.figures.head_tables import condition_names, head_matrix, layer_numbers, select_heads, significant
from metastable.figures.style import FONT, WIDTH, alt_of, drawing, level, wrap
from metastable.stats.effect_kinds import Effect, effect_of

__all__ = ["significance_mask", "significance_mask_alt"]


@dataclass(frozen=True)
class _Kind:
    label: str
    face: str
    edge: str
    hatch: str


def verdict_kinds(plus: str, minus: str) -> dict[str, _Kind]:
    """Return how each verdict is called and drawn."""
    return {
        "a": _Kind(plus, "#f6c48b", "#7f3b08", "/////"),
        "b": _Kind(minus, "#c9c3e0", "#3b1a63", "\\\\\\\\\\"),
        "equivalent": _Kind("equivalent", "#d9eeee", "#1d7f8c", "---"),
        "undecided": _Kind("undecided", "#fafafa", "#bdbdbd", ""),
        "untested": _Kind("not significant", "#fafafa", "#bdbdbd", ""),
    }


def verdict_states(frame: pd.DataFrame, alpha: float) -> NDArray[np.object_]:
    """Return for each head the sign of its effect, "a" or "b", or "equivalent", "undecided", or "untested" for that."""
    found, estimate = significant(frame, alpha), effect_of(frame).estimate
    states = np.where(
        found, np.where(frame[estimate] > 0, "a", "b"), "undecided" if "verdict" in frame else "untested"
    ).astype(object)
    if "verdict" in frame:
        states[~found & (frame["verdict"] == "equivalent").to_numpy(bool)] = "equivalent"
    return states


VERDICT_ORDER = ("a", "b", "equivalent", "undecided", "untested")


def draw_verdicts(axes: Axes, frame: pd.DataFrame, states: NDArray[np.object_], layers: Sequence[int] = ()) -> None:
    """Fill and hatch the cells by verdict, and label the axes, that of the layers if given."""
    codes = head_matrix(frame, np.array([VERDICT_ORDER.index(state) for state in states], dtype=float))
    for code, kind in enumerate(verdict_kinds("", "").values()):
        cells = codes == code
        if cells.any():
            axes.add_collection(
                PolyCollection(
                    list(cell_corners(cells)),
                    facecolors=kind.face,
                    edgecolors=kind.edge,
                    hatch=kind.hatch or None,
                    linewidths=0.0,
                ),
                autolim=False,
            )
    present = np.isfinite(codes)
    axes.add_collection(
        PolyCollection(
            list(cell_corners(present)),
            facecolors="none",
            edgecolors="#9a9a9a" if codes.shape[1] <= 16 else "#b5b5b5",
            linewidths=0.5,
            clip_on=False,
        ),
        autolim=False,
    )
    label_axes(axes, (codes.shape[0], codes.shape[1]), layers)


def verdict_legend(
    states: NDArray[np.object_], conditions: tuple[str, str], width: float, effect: Effect
) -> list[Patch]:
    """Return an entry per verdict with its number of heads, `width` inches wide at most."""
    kinds = verdict_kinds(*effect.directions(*conditions))
    shown = [name for name in VERDICT_ORDER if name in ("a", "b") or (states == name).any()]
    return [
        Patch(
            facecolor=kinds[name].face,
            edgecolor=kinds[name].edge,
            hatch=kinds[name].hatch,
            linewidth=0.6,
            label=wrap(f"{kinds[name].label}: {int((states == name).sum())}", width, FONT - 1),
        )
        for name in shown
    ]


@drawing
def significance_mask(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
    title: str | None = None,
) -> Figure:
    """Show the verdict per head: which condition needs more, equivalent, or undecided.

    Parameters
    ----------
    heads : pandas.DataFrame
        With the difference or slope and ``p_perm_fdr``; ``verdict``, if there, tells the equivalent heads from the
        undecided.
    site, threshold, measure, conditions, alpha, title
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
        The direction and angle of the hatching say what the colours say.
    """
    effect = effect_of(heads)
    frame = select_heads(heads, [effect.estimate, "p_perm_fdr"], site=site, threshold=threshold, measure=measure)
    states = verdict_states(frame, alpha)
    shape = head_matrix(frame, effect.estimate).shape
    entries = verdict_legend(states, condition_names(heads, conditions), 1.35, effect)
    footer = 0.66 + 0.16 * max(str(entry.get_label()).count("\n") + 1 for entry in entries)
    figure, axes = one_map(
        (shape[0], shape[1]), title or f"heads {effect.with_effect} after FDR correction at {level(alpha)}", footer
    )
    draw_verdicts(axes, frame, states, layer_numbers(frame))
    under = axes_at(figure, 0, 0.04, WIDTH, footer - 0.5)
    under.set_axis_off()
    under.legend(handles=entries, loc="center", ncols=len(entries), handleheight=1.4, handlelength=2.2)
    return figure


@alt_of(significance_mask)
def significance_mask_alt(
    heads: pd.DataFrame,
    *,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `significance_mask` shows; parameters as there."""
    effect = effect_of(heads)
    frame = select_heads(heads, [effect.estimate, "p_perm_fdr"], site=site, threshold=threshold, measure=measure)
    states = verdict_states(frame, alpha)
    n = {name: int((states == name).sum()) for name in VERDICT_ORDER}
    found = n["a"] + n["b"]
    plus, minus = effect.directions_in_text(*condition_names(heads, conditions))
    text = f"Of {len(frame)} heads, {found} {effect.verb} after FDR correction at {level(alpha)}"
    text += f": {n['a']} {plus}, {n['b']} {minus}."
    small = int((frame["verdict"] == "negligible").sum()) if "verdict" in frame else 0
    if small:
        text += f" {small} of them {'is' if small == 1 else 'are'} negligible."
    if "verdict" in frame and found < len(frame):
        text += f" Of the others {n['equivalent']} are equivalent and {n['undecided']} undecided."
    layers = frame.loc[(states == "a") | (states == "b"), "layer"]
    if found:
        text += f" They lie in {layers.nunique()} of {frame['layer'].nunique()} layers."
    return text
