"""The verdict on every head in each random packing of the words, and of the words over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.grid import cell_corners
from metastable.figures.head_tables import HEADS, condition_names, require_columns
from metastable.figures.style import FONT, MUTED, WIDTH, alt_of, chart, drawing
from metastable.figures.verdicts import VERDICT_ORDER, verdict_kinds, verdict_legend, verdict_states
from metastable.stats.effect_kinds import effect_of

__all__ = ["packings_plot", "packings_plot_alt"]

_ROW = 0.24  # inches a packing
_POOLED = "all"


def _states(verdicts: pd.DataFrame, site: str | None, alpha: float) -> tuple[list[str], NDArray[np.object_]]:
    """Return the packings, and the verdicts of shape (n_packings + 1, n_heads), heads by their effect over words."""
    effect = effect_of(verdicts)
    require_columns(
        verdicts, ["packing", *HEADS, effect.estimate, effect.size, "p_perm_fdr", "verdict"], "the table of packings"
    )
    rows = verdicts if site is None else verdicts[verdicts["site"] == site]
    names = [str(name) for name in rows["packing"].unique()]
    if _POOLED not in names or len(names) < 2:
        raise InputError(
            f"the table of packings has rows of {', '.join(names) or 'no packing'}; give those of single packings, and "
            f"those of the words over all packings as {_POOLED!r}"
        )
    parts = [rows[rows["packing"] == name] for name in (*(name for name in names if name != _POOLED), _POOLED)]
    if len({len(part) for part in parts}) > 1:
        raise InputError("the table of packings has other heads in one packing than in another; give all of each")
    order = np.argsort(-parts[-1][effect.size].to_numpy(), kind="stable")
    return names, np.stack([verdict_states(part, alpha)[order] for part in parts])


@drawing
def packings_plot(
    verdicts: pd.DataFrame,
    *,
    site: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Show how the verdict on each head moves over the packings of the words.

    Parameters
    ----------
    verdicts : pandas.DataFrame
        As packings.csv holds it: one row per packing and head, those of the words over all packings as "all".
    site : str, optional
        The attention site; all heads unless given.
    conditions : sequence of str, optional
        Names of a and b; those of the table unless given.
    alpha : float, default 0.05
        For the significance of heads.

    Returns
    -------
    matplotlib.figure.Figure
        One row per packing and, apart from them, one of the words; one column per head, from the largest positive
        effect over words to the largest negative one.

    Raises
    ------
    InputError
        Where a column is missing, or the packings have different heads.
    """
    _, states = _states(verdicts, site, alpha)
    n_packings, n_heads = len(states) - 1, states.shape[1]
    figure, (axes,) = chart(1.3 + _ROW * (n_packings + 1.5))
    # the rows of single packings from the top, a gap, and the words
    place = np.array([n_packings + 1.4 - row for row in range(n_packings)] + [0.0])
    kinds = verdict_kinds("", "")
    for code in VERDICT_ORDER:
        corners = [
            cell + np.array([0, place[row]])
            for row in range(n_packings + 1)
            for cell in cell_corners(states[[row]] == code)
        ]
        if corners:
            kind = kinds[code]
            axes.add_collection(
                PolyCollection(
                    corners, facecolors=kind.face, edgecolors=kind.edge, hatch=kind.hatch or None, linewidths=0.3
                ),
                autolim=False,
            )
    for row, bottom in enumerate(place):
        differs = int(np.isin(states[row], ["a", "b"]).sum())
        axes.annotate(f"{differs}", (n_heads, bottom + 0.5), (5, 0), textcoords="offset points", va="center",
                      fontsize=FONT - 1)  # fmt: skip
    axes.annotate(
        "different", (n_heads, n_packings + 2.4), (0, 3), textcoords="offset points", fontsize=FONT - 1, color=MUTED
    )
    axes.set_xlim(0, n_heads)
    axes.set_ylim(0, n_packings + 2.4)
    axes.set_yticks(place + 0.5, [*(f"packing {number}" for number in range(1, n_packings + 1)), "words, all packings"])
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    effect = effect_of(verdicts)
    axes.set_xlabel(f"{n_heads} heads, by their {effect.size_name} over words")
    entries = verdict_legend(states[-1], condition_names(verdicts, conditions), 1.35, effect)
    figure.legend(
        handles=entries, loc="outside lower center", ncols=len(entries), handleheight=1.4, handlelength=2.2,
        title="words, all packings", title_fontsize=FONT - 1,
    )  # fmt: skip
    figure.set_size_inches(WIDTH, figure.get_size_inches()[1])
    return figure


@alt_of(packings_plot)
def packings_plot_alt(
    verdicts: pd.DataFrame,
    *,
    site: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `packings_plot` shows; parameters as there."""
    _, states = _states(verdicts, site, alpha)
    single, words = states[:-1], states[-1]
    differ = np.isin(single, ["a", "b"]).sum(axis=1)
    same = (single == single[0]).all(axis=0)
    effect = effect_of(verdicts)
    plus, minus = effect.directions_in_text(*condition_names(verdicts, conditions))
    called = f"{differ[0]}" if differ.min() == differ.max() else f"{differ.min()} to {differ.max()}"
    return (
        f"Verdicts on {len(words)} heads in {len(single)} random packings: single packings call {called} heads "
        f"different, and agree in {int(same.sum())}. Over words {int((words == 'a').sum())} "
        f"{plus} and {int((words == 'b').sum())} {minus}."
    )
