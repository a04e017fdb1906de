"""What the report says where the predictor is continuous instead of two groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metastable.heads.contrasts import Contrast
from metastable.heads.record import RunRecord
from metastable.report.apa import (
    format_g,
    format_interval,
    format_level,
    format_r,
    format_share,
    listed,
    p_phrase,
    plural,
    with_article,
)
from metastable.report.measure_words import measure_words
from metastable.report.run.head_sentences import absence, mixed_finds, ten_largest
from metastable.report.run.sentences import layers_sentence, thresholds_sentence
from metastable.report.run.slope_methods import slope_methods
from metastable.report.words import covariate_name, held_clause, per_unit, predictor_of, short_name
from metastable.stats.correlation import detectable_effect, slope_design
from metastable.study import Options

if TYPE_CHECKING:
    from metastable.heads.results import RunResult

__all__ = ["slope_context", "slope_verdict"]

# A correlation with the predictor below this is balance for practical purposes.
_WORTH_TELLING = 0.1


def slope_verdict(
    contrast: Contrast,
    heads: pd.DataFrame,
    details: pd.DataFrame,
    whole: Mapping[Any, Any],
    word: str,
    record: RunRecord,
) -> list[str]:
    """Say in two sentences what was found.

    Parameters
    ----------
    contrast : Contrast
        With its predictor.
    heads, details : pandas.DataFrame
        Rows of the primary threshold.
    whole : mapping
        The omnibus row of all heads.
    word : str
        "different", "equivalent" or "undecided".
    record : RunRecord
        As in run.json.

    Returns
    -------
    list of str
    """
    options = record.options
    alpha, margin, model = options.alpha, options.margin, record.model.id
    noun, held = f"the {covariate_name(contrast.formula)}", held_clause(options)
    verdicts = heads["verdict"].value_counts()
    different, equivalent, undecided = (int(verdicts.get(key, 0)) for key in ("different", "equivalent", "undecided"))
    rising = int(((heads["verdict"] == "different") & (heads["difference"] > 0)).sum())
    p_text = f"omnibus permutation {p_phrase(float(whole['p_sum_squares']), 'p')}"
    measure = measure_words(options)
    rise, fall = ("spreads wider", "narrower") if measure.wider else (f"has a higher {measure.name}", "a lower one")
    # a comma on either side of the clause in the middle of a sentence
    amid = f",{held}," if held else ""
    opening = {
        "different": f"As {noun} rises{amid} attention in {model} {rise} in {rising} of {plural(len(heads), 'head')} "
        f"and {fall} in {different - rising}",
        "equivalent": f"Attention in {model} does not change with {noun}{held} beyond d = ±{margin:g}",
        "undecided": f"No change of attention with {noun}{held} was shown in {model}",
    }[word]
    first = (
        f"{opening} ({p_text}); {equivalent} {'is' if equivalent == 1 else 'are'} equivalent within d = ±{margin:g} "
        f"and {undecided} undecided at a false discovery rate of {format_level(alpha)}."
    )
    strongest = int(heads["hedges_g"].abs().to_numpy().argmax())
    top, extra = heads.iloc[strongest], details.iloc[strongest]
    site = f" of {top['site']}" if len(heads["site"].unique()) > 1 else ""
    second = (
        f"The typical head has |d| = {format_g(float(heads['hedges_g'].abs().median()), sign=False)}; the strongest "
        "slope is in layer "
        f"{top['layer']}, head {top['head']}{site}, whose mean {measure.name} {_moves(top['difference'])} by "
        f"{measure.amount(float(top['difference']))} {per_unit(contrast)} (95% CI "
        f"{format_interval(top['ci_low'], top['ci_high'], measure.digits)}; "
        f"d = {format_g(top['hedges_g'])}, 95% CI {format_interval(extra['g_low'], extra['g_high'])})."
    )
    if held:
        bare = int((details["p_perm_unadjusted_fdr"] < alpha).sum())
        second += f" With nothing held fixed, {plural(bare, 'head')} would have a slope."
    return [first, second]


def _moves(slope: float) -> str:
    return "rises" if slope >= 0 else "falls"


def _correlations(contrast: Contrast) -> dict[str, float]:
    """Correlation of the predictor with every covariate that varies."""
    table, x = contrast.covariates, predictor_of(contrast)
    return {str(name): float(np.corrcoef(x, table[name])[0, 1]) for name in table.columns if np.ptp(table[name]) > 0}


def _left(contrast: Contrast, names: Sequence[str]) -> float:
    """Share of the predictor's variance that covariates leave, between 0 and 1."""
    held = contrast.covariates[list(names)].to_numpy(dtype=np.float64)
    design = slope_design(predictor_of(contrast), held)
    fitted = np.linalg.lstsq(design[:, [0, *range(2, design.shape[1])]], design[:, 1], rcond=None)[0]
    rest = design[:, 1] - design[:, [0, *range(2, design.shape[1])]] @ fitted
    return float((rest**2).sum() / (design[:, 1] ** 2).sum())


def _warning(contrast: Contrast) -> str:
    noun = covariate_name(contrast.formula)
    strong = [
        f"{covariate_name(name)} (r = {format_r(r)})"
        for name, r in _correlations(contrast).items()
        if abs(r) >= _WORTH_TELLING
    ]
    return f"The {noun} goes along with {listed(strong)}." if strong else ""


def _fairness(contrast: Contrast, options: Options) -> str:
    noun, found = covariate_name(contrast.formula), _correlations(contrast)
    if not found:
        return "No covariate was recorded, so nothing can be said about what else goes along with the predictor."
    strong = [f"{covariate_name(name)} (*r* = {format_r(r)})" for name, r in found.items() if abs(r) >= _WORTH_TELLING]
    if strong:
        text = (
            f"**No, not as it stands.** The {noun} of {with_article(contrast.unit)} goes along with {listed(strong)}."
        )
    else:
        text = (
            f"Yes, as far as was measured: no covariate correlates with the {noun} by *r* = "
            f"{format_r(_WORTH_TELLING)} or "
            "more."
        )
    if options.covariates:
        left = _left(contrast, options.covariates)
        text += (
            f" The tests hold {listed([short_name(name) for name in options.covariates])} fixed, which leaves "
            f"{100 * left:.0f}% of the variance of the {noun}, and the slopes stand on that part."
        )
    else:
        text += " The tests hold nothing fixed."
    return text + (
        f" The figure and the table compare the two halves, above and below the middle of the {noun}, for description; "
        "nothing is tested on halves."
    )


def _adjustment(contrast: Contrast, heads: pd.DataFrame, details: pd.DataFrame, options: Options, reason: str) -> str:
    if reason:
        return f"The slopes could not be adjusted for the covariates: {reason}."
    alpha = options.alpha
    held = options.covariates or tuple(contrast.covariates.columns)
    chosen = "the tests of this report" if options.covariates else "not the tests of this report"
    before, after = (details[f"p_perm_{name}_fdr"] < alpha for name in ("unadjusted", "adjusted"))
    slope, adjusted = details["difference_unadjusted"], details["difference_adjusted"]
    turned = np.sign(slope) != np.sign(adjusted)
    return (
        f"Unadjusted, {format_share(int(before.sum()), len(heads))} heads have a slope (permutation test, FDR "
        f"{format_level(alpha)}; median |*d*| = {details['g_unadjusted'].abs().median():.2f}). With "
        f"{listed([short_name(name) for name in held])} held fixed (Freedman and Lane; {chosen}), "
        f"{format_share(int(after.sum()), len(heads))} have one (median |*d*| = "
        f"{details['g_adjusted'].abs().median():.2f}); {int((before & after).sum())} have both, and "
        f"{int((before & after & turned).sum())} of these change their sign. Over all heads the adjustment turns the "
        f"sign of {int(turned.sum())} and shrinks {int((adjusted.abs() < slope.abs()).sum())} of {len(heads)} slopes."
    )


def _omnibus(contrast: Contrast, omnibus: pd.DataFrame, alpha: float) -> str:
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    p = float(whole["p_sum_squares"])
    found = "change" if p < alpha else "do not demonstrably change"
    return (
        f"Before anyone looks at single heads: the heads taken together {found} with the "
        f"{covariate_name(contrast.formula)} ({p_phrase(p)} for the sum of squared statistics, "
        f"{p_phrase(float(whole['p_max']))} for the largest). By chance alone {alpha * whole['n_heads']:.1f} of "
        f"{plural(int(whole['n_heads']), 'head')} would fall below α = {format_level(alpha)} without correction; "
        f"{int(whole['n_below_alpha'])} did."
    )


def _heads(contrast: Contrast, heads: pd.DataFrame, details: pd.DataFrame, alpha: float) -> str:
    sloped = heads["verdict"] == "different"
    rising = int((sloped & (heads["difference"] > 0)).sum())
    within = int((details["within_margin"] & sloped).sum())
    noun = covariate_name(contrast.formula)
    text = (
        f"{format_share(int(sloped.sum()), len(heads))} heads have a slope at a false discovery rate of "
        f"{format_level(alpha)}, {int((heads['p_perm_fwer'] < alpha).sum())} also by the family-wise test over all "
        f"heads; {mixed_finds(heads, alpha)}, and layers tested before their heads (Yekutieli, 2008) leave "
        f"{int((details['p_layers_first'] < alpha).sum())}."
    )
    if sloped.any():
        text += f" Of those with a slope, {rising} rise with the {noun} and {int(sloped.sum()) - rising} fall."
    if within:
        text += (
            f" {plural(within, 'of them is', 'of them are')} shown to lie inside the smallest effect of interest: "
            "real, and too small to matter by that standard."
        )
    return text + (
        f" The slope is the change {per_unit(contrast)}, with its HC3 interval; *d* is that of the partial "
        f"correlation. {ten_largest(len(heads), 'd')}"
    )


def _effect_size(
    contrast: Contrast, heads: pd.DataFrame, details: pd.DataFrame, n_keys: float, options: Options
) -> str:
    measure = measure_words(options)
    of = f" (a row has about {n_keys:.0f} {measure.unit})" if measure.wider and measure.unit != "nats" else ""
    left = "of the variance that the covariates leave" if options.covariates else "of the variance of its means"
    x, noun, unit = predictor_of(contrast), covariate_name(contrast.formula), contrast.unit
    index = int(heads["hedges_g"].abs().to_numpy().argmax())
    top, extra = heads.iloc[index], details.iloc[index]
    typical = float(heads["hedges_g"].abs().median())
    r = typical / np.sqrt(typical**2 + 4)
    return (
        f"*d* compares {unit}s one standard deviation above the mean of the {noun} with {unit}s one below it, in "
        "standard deviations of what is left of the measure (of the part of the predictor that the covariates leave, "
        f"where some are held fixed). The typical head has |*d*| = {typical:.2f}: the {noun} explains "
        f"{100 * r**2:.1f}% {left}. The strongest (layer {top['layer']}, head "
        f"{top['head']}, *r* = {format_r(extra['correlation'])}) has {100 * extra['correlation'] ** 2:.1f}% explained, "
        f"and over the {noun}s observed, {x.min():.2f} to {x.max():.2f}, its line {_moves(top['difference'])} by "
        f"{measure.amount(float(top['difference']) * np.ptp(x))}{of}. The median over heads is "
        f"{measure.amount(float(heads['difference'].abs().median()) * np.ptp(x))}. These are slopes of {unit} means; "
        "single tokens overlap far more."
    )


def _sensitivity(result: RunResult, n_heads: int) -> str:
    options = result.record.options
    n_units = len(predictor_of(result.contrast))
    found = detectable_effect(n_units, len(options.covariates), n_heads, alpha=options.alpha)
    return (
        f"By formula, not by simulation: with {n_units:,} {result.contrast.unit}s a head whose true effect is |*d*| = "
        f"**{found:.2f}** is found with 80% power even if it is the only one (Fisher's *z* at "
        f"α = {format_level(options.alpha)} / {n_heads}; where more heads have a slope, the false discovery rate "
        "correction "
        "finds smaller ones). Smaller effects are likely to be missed. Studies of two groups say this by simulation "
        "from their own units, which has no counterpart where the predictor goes along with the covariates."
    )


def _limitations(limitations: Sequence[str], contrast: Contrast) -> list[str]:
    return [
        *limitations,
        f"The test is of a straight line: a head that spreads widest at the middle of the "
        f"{covariate_name(contrast.formula)} would show no slope, and a curve shows as the line through it. The figure "
        "of binned means tells.",
        "*d* depends on how far the words' ratings are apart: another list with the same slopes has another *d*.",
    ]


def slope_context(
    result: RunResult,
    heads: pd.DataFrame,
    details: pd.DataFrame,
    primary_layers: pd.DataFrame,
    omnibus: pd.DataFrame,
    n_keys: float,
    limitations: Sequence[str],
    model: str,
) -> dict[str, Any]:
    """Return what the report's template takes for a slope in place of the sentences about two groups.

    Parameters
    ----------
    result : RunResult
        Whose primary contrast has a continuous predictor.
    heads, details, primary_layers, omnibus : pandas.DataFrame
        Rows of the primary threshold.
    n_keys : float
        Mean number of tokens of a sequence.
    limitations : sequence of str
        Those of any study.
    model : str
        The mixed model, as lme4 writes it; empty if there is none.

    Returns
    -------
    dict of str to object
    """
    contrast, options = result.contrast, result.record.options
    alpha = options.alpha
    return {
        "effect": "slope",
        "symbol": "d",
        "warnings": [text for text in (_warning(contrast), result.study.caveat) if text],
        "fairness": _fairness(contrast, options),
        "adjustment": _adjustment(contrast, heads, details, options, result.analysis.no_adjustment),
        "sensitivity": _sensitivity(result, len(heads)),
        "omnibus_sentence": _omnibus(contrast, omnibus, alpha),
        "heads_sentence": _heads(contrast, heads, details, alpha),
        "effect_size": _effect_size(contrast, heads, details, n_keys, options),
        "absence": absence(heads, alpha, options.margin, effect="slope", symbol="d"),
        "layers_sentence": layers_sentence(primary_layers, alpha, "d"),
        "thresholds_sentence": thresholds_sentence(result.analysis.heads, alpha, "have a slope", "d")
        if len(result.analysis.heads["threshold"].unique()) > 1
        else "",
        "methods": slope_methods(result, len(heads), model),
        "limitations": _limitations(limitations, contrast),
    }
