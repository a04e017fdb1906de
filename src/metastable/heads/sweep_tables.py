"""The tables of a sweep: all heads of all settings corrected together, and what is stable over settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.sweep_axes import Axis
from metastable.heads.sweep_run import FinishedRun
from metastable.stats.corrections import adjust_p_values
from metastable.stats.effect_kinds import effect_of
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE, VERDICTS, verdicts

__all__ = ["KIND_AXES", "corrected_heads", "head_table", "map_correlations", "settings_table"]

KIND_AXES = ("model", "revision", "measure")
"""Axes along which a head is not the same head, or its effect not the same quantity."""

Levels = Mapping[str, Any]


def corrected_heads(
    runs: Sequence[tuple[Levels, FinishedRun]], *, alpha: float = 0.05, correction: str = "bh"
) -> pd.DataFrame:
    """Put the heads of all settings under one another and correct them as one family.

    Parameters
    ----------
    runs : sequence of (levels, FinishedRun)
        In the order of the settings.
    alpha : float
        Significance level, after correction.
    correction : str
        False discovery rate method, as `adjust_p_values` names it.

    Returns
    -------
    pandas.DataFrame
        ``setting`` (from 1), the axes but threshold and measure, the columns of a table of heads
        (`metastable.stats.effect_kinds.head_columns`), the interval of the standardized size, ``p_perm_fdr_setting``
        and ``p_tost_fdr``. ``p_perm_fdr``, ``lmm_p_fdr``, ``p_tost_fdr`` and the
        verdict are corrected over all rows; ``p_perm_fdr_setting`` over the setting's own heads, as its own report
        would have it; ``p_perm_fwer`` holds within the setting.
    """
    tables = []
    number = 0
    for levels, finished in runs:
        for threshold in finished.omnibus["threshold"]:
            number += 1
            rows = finished.heads[finished.heads["threshold"] == threshold]
            axes = {name: level for name, level in levels.items() if name not in rows.columns}
            tables.append(pd.DataFrame({"setting": number, **axes}, index=rows.index).join(rows))
    heads = pd.concat(tables, ignore_index=True)
    p_tost_fdr = adjust_p_values(heads["p_tost"], method="bh")
    heads = heads.assign(
        p_perm_fdr_setting=heads["p_perm_fdr"],
        p_perm_fdr=adjust_p_values(heads["p_perm"], method=correction, alpha=alpha),
        lmm_p_fdr=_adjusted_where_known(heads["lmm_p"].to_numpy(dtype=np.float64), correction, alpha),
        p_tost_fdr=p_tost_fdr,
    )
    heads["verdict"] = verdicts(heads["p_perm_fdr"].to_numpy(), p_tost_fdr, alpha)
    return heads


def _adjusted_where_known(p: NDArray[np.float64], correction: str, alpha: float) -> NDArray[np.float64]:
    """Adjust the p-values that there are; a setting with one token per sequence has no mixed model."""
    known = np.isfinite(p)
    adjusted = np.full(len(p), np.nan)
    if known.any():
        adjusted[known] = adjust_p_values(p[known], method=correction, alpha=alpha)
    return adjusted


def settings_table(
    runs: Sequence[tuple[Levels, FinishedRun]], heads: pd.DataFrame, axes: Sequence[Axis]
) -> pd.DataFrame:
    """Return one row per setting.

    Parameters
    ----------
    runs : sequence of (levels, FinishedRun)
        In the order of the settings.
    heads : pandas.DataFrame
        As `corrected_heads` returns it.
    axes : sequence of Axis
        All of them.

    Returns
    -------
    pandas.DataFrame
        ``setting``, the axes, sizes (``unit, n_a, n_b, n_sequences, tokens_per_sequence, n_heads``), the omnibus test
        of the setting (``omnibus_p``, sum of squared statistics; ``omnibus_p_holm``, after Holm over the settings;
        ``omnibus_p_max``, largest statistic), the relabelings, the number of heads of each verdict over the sweep and
        ``n_different_setting``, corrected within the setting, the medians of the absolute effect and of its size
        (``median_abs_g, median_abs_difference``, of slopes ``median_abs_d, median_abs_slope``), ``share_positive``,
        the head with the largest absolute size with its interval (``largest_g, largest_g_low, largest_g_high``), and
        the covariate on which the conditions differ most (``worst_covariate, worst_smd``) and the number of those
        whose difference chance does not give (``n_unbalanced``).
    """
    effect = effect_of(heads)
    rows: list[dict[str, Any]] = []
    for levels, finished in runs:
        for test in finished.omnibus.to_dict("records"):
            number = len(rows) + 1
            mine = heads[heads["setting"] == number]
            counts = mine["verdict"].value_counts()
            largest = mine.iloc[int(mine[effect.size].abs().to_numpy().argmax())]
            facts = finished.facts
            along = {**levels, "threshold": test["threshold"]}
            rows.append(
                {
                    "setting": number,
                    **{axis.name: along[axis.name] for axis in axes},
                    **{name: facts[name] for name in ("unit", "n_a", "n_b", "n_sequences", "tokens_per_sequence")},
                    "n_heads": len(mine),
                    "n_permutations": facts["n_permutations"],
                    "exact": facts["exact"],
                    "omnibus_p": test["p_sum_squares"],
                    "omnibus_p_max": test["p_max"],
                    **{f"n_{word}": int(counts.get(word, 0)) for word in VERDICTS},
                    "n_different_setting": int((mine["p_perm_fdr_setting"] < facts["alpha"]).sum()),
                    f"median_abs_{effect.symbol}": float(mine[effect.size].abs().median()),
                    f"median_abs_{effect.name}": float(mine[effect.estimate].abs().median()),
                    "share_positive": float((mine[effect.size] > 0).mean()),
                    **{f"largest_{name}": largest[name] for name in ("site", "layer", "head")},
                    f"largest_{effect.symbol}": largest[effect.size],
                    f"largest_{effect.size_low}": largest[effect.size_low],
                    f"largest_{effect.size_high}": largest[effect.size_high],
                    "worst_covariate": facts["worst_covariate"],
                    "worst_smd": facts["worst_smd"],
                    "n_unbalanced": facts["n_unbalanced"],
                }
            )
    table = pd.DataFrame(rows)
    place = list(table.columns).index("omnibus_p") + 1
    table.insert(place, "omnibus_p_holm", adjust_p_values(table["omnibus_p"], method="holm"))
    return table


def _kinds(heads: pd.DataFrame) -> list[str]:
    return [name for name in KIND_AXES if name in heads.columns]


_SPREAD = {"least": "min", "median": "median", "most": "max"}


def head_table(heads: pd.DataFrame) -> pd.DataFrame:
    """Return one row per head: in how many settings it differs, and whether its sign stays.

    Parameters
    ----------
    heads : pandas.DataFrame
        As `corrected_heads` returns it.

    Returns
    -------
    pandas.DataFrame
        ``model, revision`` where they are axes, ``measure, site, layer, head``, ``n_settings, n_different,
        n_equivalent, n_positive, n_negative, same_sign`` and ``g_least, g_median, g_most`` (of slopes ``d_least`` and
        so on). A head is followed over the settings of one model and measure alone.
    """
    effect = effect_of(heads)
    keys = [*_kinds(heads), "site", "layer", "head"]
    signs = np.sign(heads[effect.size])
    marked = heads.assign(
        different=heads["verdict"].isin([DIFFERENT, NEGLIGIBLE]),
        equivalent=heads["verdict"] == "equivalent",
        positive=signs > 0,
        negative=signs < 0,
    )
    table = marked.groupby(keys, sort=False, dropna=False).agg(
        n_settings=("setting", "size"),
        n_different=("different", "sum"),
        n_equivalent=("equivalent", "sum"),
        n_positive=("positive", "sum"),
        n_negative=("negative", "sum"),
        **{f"{effect.symbol}_{name}": (effect.size, how) for name, how in _SPREAD.items()},
    )
    same = table[["n_positive", "n_negative"]].max(axis=1) == table["n_settings"]
    table.insert(5, "same_sign", same)
    return table.reset_index()


def map_correlations(heads: pd.DataFrame) -> NDArray[np.float64]:
    """Correlate the maps of the standardized size of every two settings of one model and measure.

    Parameters
    ----------
    heads : pandas.DataFrame
        As `corrected_heads` returns it.

    Returns
    -------
    ndarray of float64, shape (n_pairs,)
        Pearson correlations over heads; pairs with a map that does not vary are left out.
    """
    kinds, size = _kinds(heads), effect_of(heads).size
    found: list[NDArray[np.float64]] = [np.empty(0)]
    for _, group in heads.groupby(kinds, sort=False, dropna=False) if kinds else [((), heads)]:
        maps = group.pivot_table(index=["site", "layer", "head"], columns="setting", values=size).to_numpy().T
        maps = maps[maps.std(axis=1) > 0]
        if len(maps) > 1 and maps.shape[1] > 2:
            found.append(np.corrcoef(maps)[np.triu_indices(len(maps), 1)])
    return np.concatenate(found)
