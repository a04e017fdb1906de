"""The verdict in plain words with its numbers."""

from __future__ import annotations

import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.heads.record import RunRecord, RunVerdict
from metastable.report.apa import format_g, format_interval, format_level, p_phrase, plural
from metastable.report.measure_words import measure_words
from metastable.report.names import COVARIATE_NAMES
from metastable.report.run.slope_context import slope_verdict
from metastable.report.sides import sides_of
from metastable.stats.analysis import Analysis

__all__ = ["imbalance_sentence", "primary", "verdict_record", "verdict_sentences", "verdict_word"]


def primary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the primary threshold, the first that was given."""
    rows: pd.DataFrame = table[table["threshold"] == table["threshold"].iloc[0]]
    return rows.reset_index(drop=True)


def verdict_word(analysis: Analysis, alpha: float) -> str:
    """Return "different", "equivalent" or "undecided" for the model as a whole.

    The model is different where the omnibus p (sum of squared statistics over all heads) is below
    alpha; equivalent where every head is; undecided otherwise.
    """
    heads, omnibus = primary(analysis.heads), primary(analysis.omnibus)
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    if whole["p_sum_squares"] < alpha:
        return "different"
    return "equivalent" if (heads["verdict"] == "equivalent").all() else "undecided"


def verdict_sentences(contrast: Contrast, analysis: Analysis, record: RunRecord) -> list[str]:
    """Say in two sentences what was found.

    Parameters
    ----------
    contrast : Contrast
        What was compared.
    analysis : Analysis
    record : RunRecord
        As in run.json: its options and the model's id.

    Returns
    -------
    list of str
    """
    heads, details = primary(analysis.heads), primary(analysis.details)
    omnibus = primary(analysis.omnibus)
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    alpha, margin = record.options.alpha, record.options.margin
    if contrast.predictor is not None:
        return slope_verdict(contrast, heads, details, whole.to_dict(), verdict_word(analysis, alpha), record)
    sides, measure = sides_of(contrast), measure_words(record.options)
    counts = heads["verdict"].value_counts()
    different, equivalent, undecided = (int(counts.get(name, 0)) for name in ("different", "equivalent", "undecided"))
    opening = {
        "different": f"Attention differs between {sides.both}",
        "equivalent": f"Attention does not differ between {sides.both} beyond g = ±{margin:g}",
        "undecided": f"No difference in attention between {sides.both} was shown",
    }[verdict_word(analysis, alpha)]
    first = (
        f"{opening} in {record.model.id} (omnibus permutation {p_phrase(float(whole['p_sum_squares']), 'p')}): "
        f"of {plural(len(heads), 'head')}, {different} {'is' if different == 1 else 'are'} different, {equivalent} "
        f"equivalent within g = ±{margin:g}, and {undecided} undecided at a false discovery rate of "
        f"{format_level(alpha)}."
    )
    largest = int(heads["hedges_g"].abs().to_numpy().argmax())
    top, extra = heads.iloc[largest], details.iloc[largest]
    more, fewer = (sides.a, sides.b) if top["difference"] >= 0 else (sides.b, sides.a)
    site = f" of {top['site']}" if len(heads["site"].unique()) > 1 else ""
    second = (
        f"The typical head differs by |g| = {format_g(float(heads['hedges_g'].abs().median()), sign=False)}; the "
        "largest difference is in "
        f"layer {top['layer']}, head {top['head']}{site}, {measure.more_in(more, fewer, float(top['difference']))}"
        f"{sides.thing} (g = {format_g(top['hedges_g'])}, 95% CI {format_interval(extra['g_low'], extra['g_high'])})."
    )
    return [first, second]


def verdict_record(contrast: Contrast, analysis: Analysis, record: RunRecord) -> RunVerdict:
    """Return the verdict for programs: a word, a sentence, and the number of heads of each kind."""
    heads = primary(analysis.heads)
    counts = heads["verdict"].value_counts()
    return RunVerdict(
        word=verdict_word(analysis, record.options.alpha),
        sentence=verdict_sentences(contrast, analysis, record)[0],
        heads=len(heads),
        **{name: int(counts.get(name, 0)) for name in ("different", "equivalent", "undecided")},
    )


def imbalance_sentence(contrast: Contrast, balance: pd.DataFrame) -> str:
    """Name the covariates on which the conditions differ by more than the 0.1 line; empty if none."""
    unequal = balance[~balance["balanced"].astype(bool)]
    if unequal.empty:
        return ""
    a, b = contrast.a, contrast.b
    rows = unequal.sort_values("smd", key=lambda smd: -smd.abs(), kind="stable").to_dict("records")
    parts = [
        f"{COVARIATE_NAMES.get(row['covariate'], row['covariate'])} {row['mean_a']:.1f} against {row['mean_b']:.1f} "
        f"(d = {format_g(row['smd'])})"
        for row in rows
    ]
    return f"The conditions are not alike ({a.name} against {b.name}): {', '.join(parts)}."
