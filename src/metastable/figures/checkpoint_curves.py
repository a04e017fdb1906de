"""Effects along the checkpoints of one training, drawn as curves."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.head_tables import require_columns
from metastable.figures.style import FONT, LINES, MUTED, alt_of, chart, drawing, fixed, wrap

__all__ = ["training_curves", "training_curves_alt"]

_PANELS = (("size", "size of the typical head"), ("mean", "mean signed effect"))


def _curves(checkpoints: pd.DataFrame) -> dict[str, pd.DataFrame]:
    limits = [f"{name}{end}" for name, _ in _PANELS for end in ("", "_low", "_high")]
    require_columns(checkpoints, ["training", "checkpoint", *limits], "the table of checkpoints")
    found = {str(name): rows for name, rows in checkpoints.groupby("training", sort=False)}
    if len(found) > len(LINES):
        raise InputError(f"{len(found)} trainings were given; at most {len(LINES)} can be told apart")
    return found


@drawing
def training_curves(checkpoints: pd.DataFrame, *, effect: str = "Hedges' g") -> Figure:
    """Show how effects change along trainings.

    Parameters
    ----------
    checkpoints : pandas.DataFrame
        One row per checkpoint, in order: ``training, checkpoint``, and ``size`` and ``mean`` with ``_low`` and
        ``_high``.
    effect : str
        What the effect is called.

    Returns
    -------
    matplotlib.figure.Figure
        Bands reach over draws of sequences; the checkpoints are what they are.

    Raises
    ------
    InputError
        Where a column is missing, or there are more trainings than can be told apart.
    """
    curves = _curves(checkpoints)
    figure, axes = chart(3.5, columns=2)
    names = list(dict.fromkeys(checkpoints["checkpoint"].astype(str)))
    for panel, (quantity, title) in zip(axes, _PANELS, strict=True):
        for (color, style, marker), (name, rows) in zip(LINES, curves.items(), strict=False):
            x = [names.index(str(one)) for one in rows["checkpoint"]]
            low, high = (rows[f"{quantity}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
            panel.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
            label = wrap(name, 3.0, FONT - 1)
            panel.plot(x, rows[quantity], color=color, linestyle=style, marker=marker, markersize=4.5, label=label)
        panel.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
        step = max(1, len(names) // 6)
        panel.set_xticks(range(0, len(names), step), [wrap(name, 1.0, FONT - 1) for name in names[::step]])
        panel.set_xlabel("checkpoint")
        panel.set_ylabel(effect)
        panel.set_title(title, loc="left")
    axes[0].set_ylim(bottom=0)
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2)
    return figure


@alt_of(training_curves)
def training_curves_alt(checkpoints: pd.DataFrame, *, effect: str = "Hedges' g") -> str:
    """Say in words what `training_curves` shows; parameters as there."""
    parts = []
    for name, rows in _curves(checkpoints).items():
        first, last = rows.iloc[0], rows.iloc[-1]
        parts.append(
            f"{name} from {fixed(first['size'])} ({first['checkpoint']}) to {fixed(last['size'])} "
            f"({last['checkpoint']}), {len(rows)} checkpoints"
        )
    return f"Size of the typical head ({effect}) along training: {'; '.join(parts)}."
