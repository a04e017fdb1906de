"""What the head browser shows, as plain JSON values: numbers for the map, words for the statistics, examples."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metastable.browser.attention import Attend
from metastable.browser.checked_results import Comparison, significant
from metastable.browser.example_attention import example_data
from metastable.heads.modes import median_counts
from metastable.report.apa import format_g, format_interval, format_log_bf, format_p
from metastable.stats.effect_kinds import Effect

__all__ = ["STATISTICS", "page_data"]

# Widest histogram in bars, so that long sequences do not fill the file.
_MOST_BARS = 64

STATISTICS = (
    "mean_a",
    "mean_b",
    "median_a",
    "median_b",
    "estimate",
    "estimate_ci",
    "size",
    "size_ci",
    "superiority",
    "p_perm",
    "p_perm_fdr",
    "p_perm_fwer",
    "lmm",
    "lmm_p",
    "lmm_p_fdr",
    "bf10",
    "p_tost",
    "p_tost_fdr",
)
"""Names of the statistics of a head, in the order of their texts in the page's data.

The effect as measured is the ``estimate``, the standardized one the ``size``.
"""


def _map_columns(effect: Effect) -> dict[str, str]:
    """Return the values that the map shows, each with its column."""
    shared = {name: name for name in ("mean_a", "mean_b", "p_perm_fdr")}
    return {"estimate": effect.estimate, "size": effect.size, **shared}


def _effect_words(effect: Effect, conditions: tuple[str, str]) -> dict[str, Any]:
    """Return what the page calls the effect: on the map, in the table with its symbol apart, and by its sign."""
    taken = effect.between(*conditions)
    size = effect.size_name.replace("'", "’")
    before, _, after = size.partition(effect.symbol)
    plus, minus = effect.directions_in_text(*conditions)
    return {
        "name": effect.name,
        "symbol": effect.symbol,
        "estimate": f"{effect.name} {taken}" if taken else effect.name,
        "size": size,
        "around_symbol": [before, after],
        "plus": plus,
        "minus": minus,
    }


def page_data(comparison: Comparison, attend: Attend | None, *, alpha: float, max_bytes: int) -> dict[str, Any]:
    """Gather what the page shows.

    Parameters
    ----------
    comparison : Comparison
    attend : callable or None
        As `metastable.browser.attention_of` makes it; None shows the words of the examples alone.
    alpha : float
        Significance level after correction.
    max_bytes : int
        The most bytes that the examples and their attention may take.

    Returns
    -------
    dict
        Of JSON values without NaN.
    """
    sites = comparison.features.groupby("site", sort=False)
    return {
        "alpha": alpha,
        "conditions": list(comparison.conditions),
        "n": [int(comparison.heads[name].max()) for name in ("n_a", "n_b")],
        "sizes": [int((comparison.codes == side).sum()) for side in (0, 1)],
        "paired": comparison.paired,
        "sites": [{"name": str(site), "layers": sorted(map(int, rows["layer"].unique())),
                   "heads": int(rows["head"].max())} for site, rows in sites],
        "features": [[str(site), int(layer), int(head)]
                     for site, layer, head in comparison.features.itertuples(index=False)],
        "statistics": list(STATISTICS),
        **asdict(comparison.measured),
        "effect": _effect_words(comparison.effect, comparison.conditions),
        "tables": [_table(comparison, index) for index in range(len(comparison.thresholds))],
        **example_data(comparison, attend, max_bytes),
    }  # fmt: skip


def _table(comparison: Comparison, index: int) -> dict[str, Any]:
    threshold = comparison.thresholds[index]
    heads = comparison.heads[comparison.heads["threshold"] == threshold].reset_index(drop=True)
    details = comparison.details[comparison.details["threshold"] == threshold].reset_index(drop=True)
    rows = heads.join(details.drop(columns=["site", "layer", "head", "threshold", "measure"]))
    width = max(1, -(-(comparison.histograms.shape[-1] - 1) // _MOST_BARS))
    bars = [
        [_bars(comparison.histograms[index, side, feature], width) for side in (0, 1)] for feature in range(len(heads))
    ]
    return {
        "threshold": threshold,
        "values": {
            name: [significant(value) for value in heads[column]]
            for name, column in _map_columns(comparison.effect).items()
        },
        # of the counts, whatever was measured: they belong to the bars
        "medians": [
            [significant(value) for value in median_counts(comparison.histograms[index, side])] for side in (0, 1)
        ],
        "verdict": heads["verdict"].tolist(),
        "texts": [_texts(row, comparison.effect, comparison.measured.digits) for row in rows.to_dict("records")],
        "bar": width,
        "bars": bars,
        "most_bars": max((len(side) for pair in bars for side in pair), default=0),
    }  # fmt: skip


def _bars(histogram: NDArray[np.integer[Any]], width: int) -> list[int]:
    counts = histogram[1:]
    bars = np.add.reduceat(counts, np.arange(0, len(counts), width)) if len(counts) else counts
    used = np.flatnonzero(bars)
    return [int(bar) for bar in bars[: used[-1] + 1]] if len(used) else []


def _texts(row: Mapping[Hashable, Any], effect: Effect, digits: int) -> list[str]:
    """Format the statistics of one head as APA style has them, in the order of `STATISTICS`."""
    flag = ", singular" if row["lmm_singular"] == 1 else ""
    texts = {
        "mean_a": _number(row["mean_a"], format_g(row["mean_a"], digits, sign=False)),
        "mean_b": _number(row["mean_b"], format_g(row["mean_b"], digits, sign=False)),
        "median_a": _number(row["median_a"], _median(row["median_a"], digits)),
        "median_b": _number(row["median_b"], _median(row["median_b"], digits)),
        "estimate": _number(row[effect.estimate], format_g(row[effect.estimate], digits)),
        "estimate_ci": _number(row["ci_low"], format_interval(row["ci_low"], row["ci_high"], digits)),
        "size": _number(row[effect.size], format_g(row[effect.size])),
        "size_ci": _number(row[effect.size_low], format_interval(row[effect.size_low], row[effect.size_high])),
        "superiority": _number(row["superiority"], _chance(row["superiority"])),
        "lmm": _number(
            row["lmm_estimate"],
            f"{format_g(row['lmm_estimate'], digits)} ({row['lmm_se']:.{digits}f}), {row['lmm_dof']:.1f}{flag}",
        ),
        "bf10": format_log_bf(row["log10_bf10"]),
    }
    for name in ("p_perm", "p_perm_fdr", "p_perm_fwer", "lmm_p", "lmm_p_fdr", "p_tost", "p_tost_fdr"):
        texts[name] = format_p(row[name])
    return [texts[name] for name in STATISTICS]


def _chance(value: float) -> str:
    """Return a probability without a zero before its point, as APA style has it, and never as certain."""
    if not 0.005 <= value <= 0.995:
        return "> .99" if value > 0.5 else "< .01"
    return f"{value:.2f}".removeprefix("0")


def _median(value: float, digits: int) -> str:
    """Return a median of counts as the whole or half number that it is, another one with its digits."""
    return f"{value:g}" if float(2 * value).is_integer() else format_g(value, digits, sign=False)


def _number(value: float, text: str) -> str:
    """Return the text of a number, or a dash where there is none."""
    return "–" if np.isnan(value) else text
