"""Rows of the report's tables: numbers in, strings out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.measures import call_measure
from metastable.report.apa import format_bf, format_g, format_interval, format_p, format_share, unbroken
from metastable.report.run.verdict_sentences import primary
from metastable.report.sides import units_text
from metastable.stats.analysis import Analysis
from metastable.study import View

__all__ = ["balance_rows", "contrast_row", "head_rows", "layer_rows", "omnibus_rows", "view_row"]


def head_rows(heads: pd.DataFrame, details: pd.DataFrame, digits: int = 2) -> list[dict[str, str]]:
    """Return one row per head, in the order given; `details` has the same rows, the measure so many `digits`."""
    rows = []

    def interval(low: float, high: float, digits: int = 2) -> str:
        return unbroken(format_interval(low, high, digits))

    for head, detail in zip(heads.to_dict("records"), details.to_dict("records"), strict=True):
        different = head["verdict"] == "different"
        rows.append(
            {
                "site": str(head["site"]),
                "layer": str(head["layer"]),
                "head": str(head["head"]),
                "mean_a": format_g(head["mean_a"], digits, sign=False),
                "mean_b": format_g(head["mean_b"], digits, sign=False),
                "difference": f"{format_g(head['difference'], digits)} "
                f"{interval(head['ci_low'], head['ci_high'], digits)}",
                "g": f"{format_g(head['hedges_g'])} {interval(detail['g_low'], detail['g_high'])}",
                "p": unbroken(format_p(head["p_perm"])),
                "p_fdr": unbroken(format_p(head["p_perm_fdr"])),
                "p_fwer": unbroken(format_p(head["p_perm_fwer"])),
                "p_lmm": unbroken(format_p(head["lmm_p_fdr"])),
                "bf": unbroken(format_bf(head["bf10"])),
                "verdict": f"**{head['verdict']}**" if different else str(head["verdict"]),
            }
        )
    return rows


def layer_rows(layers: pd.DataFrame, digits: int = 2) -> list[dict[str, str]]:
    """Return one row per layer, the measure with so many `digits`."""
    return [
        {
            "site": str(row["site"]),
            "layer": str(row["layer"]),
            "mean_a": format_g(row["mean_a"], digits, sign=False),
            "mean_b": format_g(row["mean_b"], digits, sign=False),
            "difference": format_g(row["difference"], digits),
            "mean_abs_g": format_g(row["mean_abs_g"], sign=False),
            "p": unbroken(format_p(row["p_sum_squares"])),
            "different": str(row["n_different"]),
            "equivalent": str(row["n_equivalent"]),
            "undecided": str(row["n_undecided"]),
        }
        for row in layers.to_dict("records")
    ]


def omnibus_rows(omnibus: pd.DataFrame) -> list[dict[str, str]]:
    """Return one row for the model, and one per site where there are several."""
    several = len(omnibus) > 2
    rows: list[dict[Hashable, Any]] = omnibus.to_dict("records")
    return [
        {
            "name": "all heads" if row["site"] == "all" else f"site {row['site']}",
            "p_sum_squares": format_p(row["p_sum_squares"]),
            "p_max": format_p(row["p_max"]),
            "p_count": format_p(row["p_count"]),
            "n_heads": format_share(row["n_below_alpha"], row["n_heads"]),
        }
        for row in rows
        if several or row["site"] == "all"
    ]


def view_row(view: View, analysis: Analysis, alpha: float) -> dict[str, str]:
    """Return one view's row: what is looked at, its omnibus test, and how its heads differ."""
    heads, omnibus = primary(analysis.heads), primary(analysis.omnibus)
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    largest = heads.iloc[int(heads["hedges_g"].abs().to_numpy().argmax())]
    return {
        "name": view.name,
        "description": view.description,
        "measure": call_measure(view.measure),
        "p": format_p(float(whole["p_sum_squares"])),
        "heads": format_share(int((heads["p_perm_fdr"] < alpha).sum()), len(heads)),
        "equivalent": str(int((heads["verdict"] == "equivalent").sum())),
        "g": f"{heads['hedges_g'].abs().median():.2f}",
        "largest": f"layer {largest['layer']}, head {largest['head']}: {format_g(largest['hedges_g'])}",
    }


def contrast_row(contrast: Contrast, analysis: Analysis, alpha: float) -> dict[str, str]:
    """Return one contrast's row: what is compared, its omnibus test, and how many heads differ."""
    heads, omnibus = primary(analysis.heads), primary(analysis.omnibus)
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    return {
        "name": contrast.name,
        "a": contrast.a.name,
        "b": contrast.b.name,
        "units": units_text(contrast),
        "p": format_p(float(whole["p_sum_squares"])),
        "heads": format_share(int((heads["p_perm_fdr"] < alpha).sum()), len(heads)),
        "g": format_g(heads["hedges_g"].abs().median(), sign=False),
    }


def balance_rows(balance: pd.DataFrame, names: dict[str, str]) -> list[dict[str, str]]:
    """Return one row per covariate; `names` gives their names for readers."""
    return [
        {
            "covariate": names.get(row["covariate"], row["covariate"]),
            "a": f"{row['mean_a']:.2f} ± {row['sd_a']:.2f}",
            "b": f"{row['mean_b']:.2f} ± {row['sd_b']:.2f}",
            "smd": format_g(row["smd"]),
            "ratio": format_g(row["variance_ratio"], sign=False),
            "balanced": "yes" if row["balanced"] else "**no**",
        }
        for row in balance.to_dict("records")
    ]
