"""The effects of models of any shape by the relative depth of their layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from metastable.heads.finished_report import FinishedReport, rows_at

__all__ = ["THIRDS", "depth_thirds", "effects_by_depth"]

THIRDS = ("first", "middle", "last")
"""The thirds of the depth, from the input on."""


def effects_by_depth(reports: Sequence[FinishedReport], names: Sequence[str], threshold: float) -> pd.DataFrame:
    """Return the effects of several reports in one long table.

    Returns
    -------
    pandas.DataFrame
        Columns ``series`` (of `names`), ``site, layer, head, size, p_perm_fdr`` and ``depth``, the middle of the
        layer as a share of its site's attention layers: (place - 1/2) / layers, the place counted from 1.
    """
    parts = []
    for report, name in zip(reports, names, strict=True):
        rows = rows_at(report.heads, threshold)
        layers = rows["site"].map({site: n for site, n, _ in report.shape})
        place = rows.groupby("site")["layer"].rank("dense")
        parts.append(
            rows[["site", "layer", "head", "size", "p_perm_fdr"]].assign(depth=(place - 0.5) / layers, series=name)
        )
    return pd.concat(parts, ignore_index=True)


def depth_thirds(effects: pd.DataFrame) -> pd.DataFrame:
    """Summarize effects by third of the depth.

    Parameters
    ----------
    effects : pandas.DataFrame
        As `effects_by_depth` returns it.

    Returns
    -------
    pandas.DataFrame
        Columns ``series, third`` ("first", "middle", "last"), ``layers`` (as ``1-4``, of the deepest site),
        ``mean, mean_abs`` and ``p`` (the p-values of its heads, for counting).
    """
    finite = effects[np.isfinite(effects["size"])]
    third = np.minimum((finite["depth"] * 3).astype(int), 2)
    rows = []
    for (name, number), part in finite.groupby([finite["series"], third], sort=False):
        low, high = part["layer"].min(), part["layer"].max()
        rows.append(
            {
                "series": name,
                "third": THIRDS[int(number)],
                "layers": str(low) if low == high else f"{low}–{high}",
                "mean": part["size"].mean(),
                "mean_abs": part["size"].abs().mean(),
                "p": part["p_perm_fdr"].to_numpy(),
            }
        )
    return pd.DataFrame(rows)
