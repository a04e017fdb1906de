"""One head in a paragraph, as a paper would have it: each number is that of the tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from metastable.heads.one_head import OneHead
from metastable.report.apa import (
    format_g,
    format_interval,
    format_level,
    format_log_bf,
    format_p,
    format_r,
    listed,
    p_phrase,
    plural,
)
from metastable.report.measure_words import MeasureWords, measure_words
from metastable.report.sides import sides_of, units_text
from metastable.report.words import covariate_name, per_unit, short_name
from metastable.stats.corrections import CORRECTIONS
from metastable.stats.verdict import DIFFERENT, EQUIVALENT, NEGLIGIBLE, UNDECIDED

__all__ = ["conditions_sentence", "head_sentence"]


def head_sentence(one: OneHead) -> str:
    """Report the tests of one head as a paragraph in the style of the APA, in Markdown.

    Parameters
    ----------
    one : OneHead

    Returns
    -------
    str
        What was found; the tests, each with what it is corrected for or that it is not; the verdict.
    """
    words = measure_words(one.options)
    if one.contrast.predictor is not None:
        parts = [_slope(one, words), *_tested(one)]
    else:
        parts = [_difference(one, words), *_tested(one)]
    return " ".join([*parts, _evidence(one), _mixed(one), _verdict(one)]).replace("  ", " ")


def _opening(one: OneHead, words: MeasureWords) -> str:
    looked = f", looking at the view {one.view}" if one.view else ""
    share = f" at a threshold of {100 * one.options.threshold[0]:g}%" if words.name == "count" else ""
    return f"In {one.place} of {one.model}{looked}, the mean {words.name}{share}"


def _held(one: OneHead) -> str:
    names = [short_name(name) for name in one.options.covariates]
    return f" with {listed(names)} held fixed" if names else ""


def _spread(one: OneHead) -> tuple[float, float]:
    """Return the standard deviations of the units of a and of b."""
    a = one.contrast.condition
    return float(one.tested[a, 0].std(ddof=1)), float(one.tested[~a, 0].std(ddof=1))


def _difference(one: OneHead, words: MeasureWords) -> str:
    row, digits, contrast = one.row, words.digits, one.contrast
    sides, (sd_a, sd_b) = sides_of(contrast, "sequences"), _spread(one)
    unit = f" {words.unit}" if words.unit else ""

    def number(value: float) -> str:
        return format_g(float(value), digits, sign=False)

    if contrast.pair is None:
        whose = f"of {contrast.n_a:,} and {plural(contrast.n_b, contrast.unit)}"
    else:
        whose = f"of {units_text(contrast)}"
    size = row["hedges_g"]
    return (
        f"{_opening(one, words)} was {number(row['mean_a'])}{unit} (*SD* = {number(sd_a)}) for {sides.a} and "
        f"{number(row['mean_b'])} (*SD* = {number(sd_b)}) for {sides.b} ({whose}), a difference of "
        f"{format_g(row['difference'], digits)}{_held(one)}, 95% CI "
        f"{format_interval(row['ci_low'], row['ci_high'], digits)}, Hedges' *g* = {format_g(size)}, 95% CI "
        f"{format_interval(row['g_low'], row['g_high'])}; neither interval is corrected for the number of heads."
    )


def _slope(one: OneHead, words: MeasureWords) -> str:
    row, digits, contrast = one.row, words.digits, one.contrast
    noun = covariate_name(contrast.formula)
    partial = "partial correlation" if one.options.covariates else "correlation"
    return (
        f"{_opening(one, words)} {'rose' if row['slope'] >= 0 else 'fell'} with the {noun}{_held(one)} over "
        f"{plural(len(one.tested), contrast.unit)}, by {words.amount(float(row['slope']))} {per_unit(contrast)} "
        f"(slope = {format_g(row['slope'], digits)}, 95% CI "
        f"{format_interval(row['ci_low'], row['ci_high'], digits)}; {partial} *r* = {format_r(row['correlation'])}, "
        f"*d* = {format_g(row['partial_d'])}, 95% CI {format_interval(row['d_low'], row['d_high'])}); "
        "no interval is corrected for the number of heads."
    )


def _statistic(one: OneHead) -> str:
    """Say which statistic it is, and how its p came about."""
    row, analysis, m = one.row, one.analysis, one.analysis.n_permutations
    t = format_g(row["statistic"], sign=False)
    if analysis.over_contexts:
        return (
            f"Over {_crossed(one)}, both random, the mixed model {analysis.over_contexts} gave *t*"
            f"({format_g(row['lmm_dof'], 1, sign=False)}) = {t}, and {m:,} random rotations of the effects of both"
        )
    if one.contrast.predictor is not None or one.options.covariates:
        what = "The estimate over its HC3 standard error"
    else:
        what = "The paired *t*" if one.contrast.pair is not None else "Welch's *t*"
    moved = (
        "flips of sign" if one.contrast.pair is not None and one.contrast.predictor is None
        else "flips of residuals" if one.options.covariates or one.contrast.predictor is not None
        else "relabelings"
    )  # fmt: skip
    drawn = f"all {m:,} distinct {moved}" if analysis.exact else f"{m:,} random {moved}"
    return f"{what} was {t}, and {drawn}"


def _crossed(one: OneHead) -> str:
    crossing = one.contrast.crossing
    if crossing is None:
        raise TypeError("the design has no contexts")
    items, contexts = plural(crossing.n_items, crossing.item_name), plural(crossing.n_contexts, crossing.context_name)
    return f"{items} and {contexts}"


def _tested(one: OneHead) -> list[str]:
    row, correction, n = one.row, CORRECTIONS[one.options.correction], len(one.family)
    of = f"the {n} heads of site {row['site']}" if one.several_sites else f"all {n} heads"
    return [
        f"{_statistic(one)} gave {p_phrase(row['p_perm'])} uncorrected; corrected over {of} at this threshold and "
        f"measure, {p_phrase(row['p_perm_fdr'])} by the {correction.rate} of {correction.called}, and "
        f"{p_phrase(row['p_perm_fwer'])} by the family-wise error rate of the largest statistic (Westfall & Young, "
        "1993)."
    ]


def _evidence(one: OneHead) -> str:
    row, margin = one.row, one.options.margin
    symbol, scale = one.analysis.effect.symbol, "0.354" if one.contrast.predictor is not None else "0.707"
    return (
        f"A JZS Bayes factor (Cauchy prior of scale {scale}), which is not corrected, was BF₁₀ = "
        f"{format_log_bf(row['log10_bf10'])}. Two one-sided tests against *{symbol}* = ±{margin:g} gave "
        f"{p_phrase(row['p_tost'])} uncorrected and {p_phrase(row['p_tost_fdr'])} with the false discovery rate over "
        "the heads held (Benjamini & Hochberg, 1995)."
    )


def _mixed(one: OneHead) -> str:
    row = one.row
    if not np.isfinite(row["lmm_p"]) or one.analysis.over_contexts:
        return ""
    digits = measure_words(one.options).digits
    formula = one.contrast.mixed_formula(one.options.measure, one.options.covariates)
    return (
        f"The linear mixed model {formula} estimated {format_g(row['lmm_estimate'], digits)} "
        f"(*SE* = {format_g(row['lmm_se'], digits, sign=False)}), "
        f"*t*({format_g(row['lmm_dof'], 1, sign=False)}) = {_ratio(row)}, {p_phrase(row['lmm_p'])} uncorrected and "
        f"{p_phrase(row['lmm_p_fdr'])} corrected."
    )


def _ratio(row: pd.Series[Any]) -> str:
    se = float(row["lmm_se"])
    return format_g(float(row["lmm_estimate"]) / se, sign=False) if se > 0 else "–"


def _verdict(one: OneHead) -> str:
    row, alpha, margin = one.row, format_level(one.options.alpha), one.options.margin
    effect, rate = one.analysis.effect, CORRECTIONS[one.options.correction].rate
    within, word = f"*{effect.symbol}* = ±{margin:g}", str(row["verdict"])
    level = f"at a {rate} of {alpha}"
    thing = "slope" if effect.name == "slope" else "difference"
    below = f"{level} the corrected *p* is below it, and the 95% interval of *{effect.symbol}*"
    said = {
        DIFFERENT: f"{below} reaches beyond ±{margin:g}",
        NEGLIGIBLE: f"{below} lies within ±{margin:g}",
        EQUIVALENT: f"no {thing} was shown {level}, and the corrected equivalence test says that none exceeds {within}",
        UNDECIDED: f"{level} neither a {thing} nor its absence beyond {within} was shown",
    }[word]
    called = f"different but {word}" if word == NEGLIGIBLE else word
    return f"Verdict: **{called}** ({said})."


def conditions_sentence(row: pd.Series[Any], conditions: list[str], place: str, *, blocks: bool, alpha: float) -> str:
    """Report the test of several conditions at once, of one head.

    Parameters
    ----------
    row : pandas.Series
        The head's row of the omnibus table.
    conditions : list of str
    place : str
        "layer 5, head 9 of all-MiniLM-L6-v2".
    blocks : bool
        Whether the units are in every condition.
    alpha : float
        Level of the corrected p.

    Returns
    -------
    str
    """
    means = listed([f"{format_g(row[f'mean_{name}'], sign=False)} for {name}" for name in conditions])
    test = "Hotelling's *T*² of the differences within units" if blocks else "Welch's test"
    shown = "differ" if row["p_perm_fdr"] < alpha else "were not shown to differ"
    return (
        f"In {place} the means were {means}. {test} gave *F*({format_g(row['df1'], 0, sign=False)}, "
        f"{format_g(row['df2'], 1, sign=False)}) = {format_g(row['F'], sign=False)}, {p_phrase(row['p_welch'])} by the "
        f"*F* distribution and {p_phrase(row['p_perm'])} by permutation, both uncorrected; corrected over the heads "
        f"*p* = {format_p(row['p_perm_fdr'])}, and {p_phrase(row['p_perm_fwer'])} by the largest statistic. "
        f"At a level of {format_level(alpha)} after correction the conditions {shown} in this head."
    ).replace("*p* = <", "*p* <")
