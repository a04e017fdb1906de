"""What a report says of a slope over a continuous predictor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from metastable.heads.contrasts import Contrast
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
from metastable.report.run.context_words import contexts_sensitivity, contexts_tested
from metastable.report.run.effect_words import EffectWords, MethodClauses
from metastable.report.run.left_out import left_out_sentences
from metastable.report.run.methods import observation_clause, relabelings_clause
from metastable.report.run.scene import Scene
from metastable.report.words import covariate_name, held_clause, per_unit, predictor_of, short_name
from metastable.stats.corrections import adjust_p_values
from metastable.stats.correlation import detectable_effect, slope_design

__all__ = ["SLOPE_WORDS"]

# A correlation with the predictor below this is balance for practical purposes.
_WORTH_TELLING = 0.1
# The chance that any correlation of covariates that go along with nothing is told.
_CHANCE = 0.05


def _noun(scene: Scene) -> str:
    """Return what the predictor is called."""
    return covariate_name(scene.contrast.formula)


def _amid(scene: Scene) -> str:
    """Return what is held fixed as a clause in the middle of a sentence; empty if nothing is."""
    held = held_clause(scene.options)
    return f",{held}" if held else ""


def _moves(slope: float) -> str:
    return "rises" if slope >= 0 else "falls"


def _verdict(scene: Scene) -> list[str]:
    model, margin, measure, top = scene.result.record.model.id, scene.margin, scene.measure, scene.largest
    noun, held, amid = f"the {_noun(scene)}", held_clause(scene.options), _amid(scene)
    different, negligible, equivalent, undecided = scene.verdicts.values()
    different += negligible
    rising = int((scene.estimates[scene.different] > 0).sum())
    over = scene.contrast.crossing if scene.analysis.over_contexts else None
    tested = "permutation" if over is None else f"over {over.item_name}s and {over.context_name}s,"
    p_text = f"omnibus {tested} {p_phrase(float(scene.whole['p_sum_squares']), 'p')}"
    rise, fall = ("spreads wider", "narrower") if measure.wider else (f"has a higher {measure.name}", "a lower one")
    # a comma on either side of the clause in the middle of a sentence
    amid += "," if amid else ""
    opening = {
        "different": f"As {noun} rises{amid} attention in {model} {rise} "
        f"in {rising} of {plural(len(scene.heads), 'head')} and {fall} in {different - rising}",
        "equivalent": f"Attention in {model} does not change with {noun}{held} beyond d = ±{margin:g}",
        "undecided": f"No change of attention with {noun}{held} was shown in {model}",
    }[scene.verdict]
    first = (
        f"{opening} ({p_text}); {equivalent} {'is' if equivalent == 1 else 'are'} equivalent within d = ±{margin:g} "
        f"and {undecided} undecided at a {scene.rate} of {format_level(scene.alpha)}."
    )
    second = (
        f"The median |d| over heads is {format_g(scene.median_size, sign=False)}; "
        f"the strongest slope is in {scene.place(top)}, whose mean {measure.name} {_moves(top['slope'])} by "
        f"{measure.amount(float(top['slope']))} {per_unit(scene.contrast)} "
        f"(95% CI {format_interval(top['ci_low'], top['ci_high'], measure.digits)}; "
        f"d = {format_g(top['partial_d'])}, 95% CI {format_interval(top['d_low'], top['d_high'])})."
    )
    if held:
        bare = int((scene.details["p_perm_unadjusted_fdr"] < scene.alpha).sum())
        second += f" With nothing held fixed, {plural(bare, 'head')} would have a slope."
    return [first, second]


def _correlations(contrast: Contrast) -> dict[str, float]:
    """Correlation of the predictor with every covariate that varies."""
    table, x = contrast.covariates, predictor_of(contrast)
    return {str(name): float(np.corrcoef(x, table[name])[0, 1]) for name in table.columns if np.ptp(table[name]) > 0}


def _beyond_chance(contrast: Contrast) -> dict[str, float]:
    """Correlations of `_WORTH_TELLING` or more that chance does not give, after Holm over the covariates at 5%."""
    found = _correlations(contrast)
    if not found:
        return {}
    r, dof = np.clip(np.array(list(found.values())), -1, 1), max(len(predictor_of(contrast)) - 2, 1)
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(dof / (1 - r**2))
    p = adjust_p_values(2 * special.stdtr(dof, -t), method="holm")
    pairs = zip(found.items(), p, strict=True)
    return {name: value for (name, value), one in pairs if abs(value) >= _WORTH_TELLING and one < _CHANCE}


def _left(contrast: Contrast, names: Sequence[str]) -> float:
    """Share of the predictor's variance that covariates leave, between 0 and 1."""
    held = contrast.covariates[list(names)].to_numpy(dtype=np.float64)
    design = slope_design(predictor_of(contrast), held)
    fitted = np.linalg.lstsq(design[:, [0, *range(2, design.shape[1])]], design[:, 1], rcond=None)[0]
    rest = design[:, 1] - design[:, [0, *range(2, design.shape[1])]] @ fitted
    return float((rest**2).sum() / (design[:, 1] ** 2).sum())


def _warning(scene: Scene) -> str:
    strong = [f"{covariate_name(name)} (r = {format_r(r)})" for name, r in _beyond_chance(scene.contrast).items()]
    return f"The {_noun(scene)} goes along with {listed(strong)}." if strong else ""


def _fairness(scene: Scene) -> str:
    contrast, noun, found = scene.contrast, _noun(scene), _correlations(scene.contrast)
    if not found:
        return "No covariate was recorded, so nothing can be said about what else goes along with the predictor."
    strong = [f"{covariate_name(name)} (*r* = {format_r(r)})" for name, r in _beyond_chance(contrast).items()]
    if strong:
        text = (
            f"**No, not as it stands.** The {noun} of {with_article(contrast.unit)} goes along with {listed(strong)}."
        )
    else:
        text = (
            f"Yes, as far as was measured: no covariate correlates with the {noun} by *r* = {format_r(_WORTH_TELLING)} "
            "or more and by more than chance gives (Holm over the covariates)."
        )
    if scene.held:
        text += (
            f" The tests hold {listed(scene.held_names)} fixed, "
            f"which leaves {100 * _left(contrast, scene.held):.0f}% of the variance of the {noun}, "
            "and the slopes stand on that part."
        )
    else:
        text += " The tests hold nothing fixed."
    return text + (
        f" The figure and the table compare the two halves, above and below the middle of the {noun}, "
        "for description; nothing is tested on halves."
    )


def _adjustment(scene: Scene) -> str:
    if scene.analysis.no_adjustment:
        return f"The slopes could not be adjusted for the covariates: {scene.analysis.no_adjustment}."
    details, alpha, n = scene.details, scene.alpha, len(scene.heads)
    held = scene.held or tuple(scene.contrast.covariates.columns)
    chosen = "the tests of this report" if scene.held else "not the tests of this report"
    before, after = (details[f"p_perm_{name}_fdr"] < alpha for name in ("unadjusted", "adjusted"))
    slope, adjusted = details["slope_unadjusted"], details["slope_adjusted"]
    turned = np.sign(slope) != np.sign(adjusted)
    over = scene.contrast.crossing if scene.analysis.over_contexts else None
    test = "permutation test" if over is None else f"over {over.item_name}s and {over.context_name}s"
    way = "residuals flipped" if over is None else "as fixed effects of the mixed model over both"
    return (
        f"Unadjusted, {format_share(int(before.sum()), n)} heads have a slope ({test}, FDR "
        f"{format_level(alpha)}; median |*d*| = {details['d_unadjusted'].abs().median():.2f}). With "
        f"{listed([short_name(name) for name in held])} held fixed ({way}; {chosen}), "
        f"{format_share(int(after.sum()), n)} have one (median |*d*| = {details['d_adjusted'].abs().median():.2f}); "
        f"{int((before & after).sum())} have both, and {int((before & after & turned).sum())} of these change their "
        f"sign. Over all heads the adjustment turns the sign of {int(turned.sum())} and shrinks "
        f"{int((adjusted.abs() < slope.abs()).sum())} of {n} slopes."
        f"{left_out_sentences(scene, short_name)}"
    )


def _sensitivity(scene: Scene) -> str:
    if scene.analysis.over_contexts:
        return contexts_sensitivity(scene)
    n_units, n_heads = len(predictor_of(scene.contrast)), len(scene.heads)
    found, half = (
        detectable_effect(n_units, len(scene.held), n_heads, alpha=scene.alpha, power=power) for power in (0.8, 0.5)
    )
    return (
        f"By formula, not by simulation: with {n_units:,} {scene.contrast.unit}s "
        f"a head whose true effect is |*d*| = **{found:.2f}** is found with 80% power even if it is the only one "
        f"(Fisher's *z* at α = {format_level(scene.alpha)} / {n_heads}; "
        "where more heads have a slope, the false discovery rate correction finds smaller ones). "
        f"Below |*d*| = {half:.2f} it is likelier missed than found. "
        "Studies of two groups say this by simulation from their own units, "
        "which has no counterpart where the predictor goes along with the covariates."
    )


def _effect_size(scene: Scene) -> str:
    measure, top, unit, noun = scene.measure, scene.largest, scene.contrast.unit, _noun(scene)
    of = f" (a row has about {scene.row_length:.0f} {measure.unit})" if measure.in_entries else ""
    left = "of the variance that the covariates leave" if scene.held else "of the variance of its means"
    x, r = predictor_of(scene.contrast), top["correlation"]
    median = scene.median_size
    median_r = median / np.sqrt(median**2 + 4)
    return (
        f"*d* compares {unit}s one standard deviation above the mean of the {noun} with {unit}s one below it, "
        "in standard deviations of what is left of the measure "
        "(of the part of the predictor that the covariates leave, where some are held fixed). "
        f"The median |*d*| over heads is {median:.2f}: the {noun} explains {100 * median_r**2:.1f}% {left}. "
        f"The strongest ({scene.place(top)}, *r* = {format_r(r)}) has {100 * r**2:.1f}% explained, "
        f"and over the {noun}s observed, {x.min():.2f} to {x.max():.2f}, "
        f"its line {_moves(top['slope'])} by {measure.amount(float(top['slope']) * np.ptp(x))}{of}. "
        f"The median over heads is {measure.amount(float(scene.estimates.abs().median()) * np.ptp(x))}. "
        f"These are slopes of {unit} means; single tokens overlap far more."
    )


def _together(scene: Scene) -> str:
    change = "change" if scene.whole["p_sum_squares"] < scene.alpha else "do not demonstrably change"
    return f"the heads taken together {change} with the {_noun(scene)}"


def _directions(scene: Scene) -> str:
    rising = int((scene.estimates[scene.different] > 0).sum())
    return f"{rising} rise with the {_noun(scene)} and {int(scene.different.sum()) - rising} fall"


def _columns(scene: Scene) -> str:
    return (
        f"The slope is the change {per_unit(scene.contrast)}, with "
        f"{'the interval of the mixed model' if scene.analysis.over_contexts else 'its HC3 interval'}; "
        "*d* is that of the partial correlation."
    )


def _methods(scene: Scene) -> MethodClauses:
    contrast, noun, unit, name = scene.contrast, _noun(scene), scene.contrast.unit, scene.measure.name
    beside = f" beside {listed(scene.held_names)}" if scene.held else ""
    many = plural(len(predictor_of(contrast)), unit)
    read = many if unit == "sequence" else f"{plural(len(scene.result.material.sequences), 'sequence')} of {many}"
    if scene.packings > 1:
        read = f"{read}, each read in {scene.packings} random packings,"
    return MethodClauses(
        presented=read,
        observation=(
            f"{observation_clause(scene)} The {noun} of the word was the predictor."
            if scene.packings > 1
            else f"{observation_clause(scene)} The {noun} was the predictor."
            if scene.analysis.over_contexts
            else f"The mean {name} of {with_article(unit)} was one observation, and its {noun} the predictor."
        ),
        tested=contexts_tested(scene)
        if scene.analysis.over_contexts
        else (
            f"In each of the {len(scene.heads)} heads the slope of the mean {name} on the {noun}{beside} "
            "was tested two-sidedly by flipping the signs of the residuals of the model without it, each of which "
            f"keeps its variance (Davidson & Flachaire, 2008; Hemerik et al., 2020), in {relabelings_clause(scene)}"
        ),
        estimates=_held_over_both(scene)
        if scene.analysis.over_contexts
        else (
            " Slopes are those of ordinary least squares with HC3 intervals (MacKinnon & White, 1985), and HC3 errors "
            "studentize the flipped ones (DiCiccio & Romano, 2017)."
        ),
        sizes=_sizes_over_both(scene)
        if scene.analysis.over_contexts
        else (
            "Effects are the *d* of the partial correlation, *d* = 2*r* / √(1 − *r*²) (Borenstein et al., 2009), with "
            "95% BCa bootstrap intervals (Efron, 1987); two one-sided tests with jackknife errors compare Fisher's *z* "
            f"with a smallest effect of interest of *d* = ±{scene.margin:g} (Goertzen & Cribbie, 2010); JZS Bayes "
            "factors have a Cauchy prior of scale 0.354 on the standardized slope (Liang et al., 2008; Rouder & Morey, "
            "2012), which is the prior of scale 0.707 on d."
        ),
    )


def _held_over_both(scene: Scene) -> str:
    if not scene.held:
        return ""
    return (
        f" Nuisance covariates ({listed(scene.held_names)}) entered the mixed model as fixed effects, and rotations "
        "left out what they explain; slope, interval, *d*, Bayes factors and equivalence tests hold them fixed."
    )


def _sizes_over_both(scene: Scene) -> str:
    return (
        "Effects are the *d* of a partial correlation, *d* = 2*r* / √(1 − *r*²) (Borenstein et al., 2009), here the "
        f"mixed model's slope over what the {_noun(scene)} leaves of the means of {scene.contrast.unit}s, with 95% "
        "intervals that join the errors of both; two one-sided tests of the same *t* compare the slope with a smallest "
        f"effect of interest of *d* = ±{scene.margin:g} (Lakens, 2017); JZS Bayes factors are those of the same *t* "
        "with as many units as would give its standard error, with a Cauchy prior of scale 0.707 on *d* (Rouder et "
        "al., 2009)."
    )


def _limitations(scene: Scene) -> list[str]:
    return [
        f"The test is of a straight line: a head that spreads widest at the middle of the {_noun(scene)} "
        "would show no slope, and a curve shows as the line through it. The figure of binned means tells.",
        "*d* depends on how far the words' ratings are apart: another list with the same slopes has another *d*.",
    ]


def _summary(scene: Scene) -> str:
    a, b = scene.conditions
    return (
        f"Mean {scene.measure.name} of every head for the {a} and the {b} half on one scale; "
        f"the slope, which is the change {per_unit(scene.contrast)}{_amid(scene)}; "
        f"and the verdict on the slope. Layer {scene.heads['layer'].min()} is at the bottom."
    )


def _map(scene: Scene) -> str:
    return (
        f"Change of the mean {scene.measure.name} {per_unit(scene.contrast)}{_amid(scene)}; "
        f"outlined where significant ({scene.controls} {format_level(scene.alpha)})."
    )


def _significance(scene: Scene) -> str:
    return f"The verdict on the slope of every head{held_clause(scene.options)}; hatching tells what colour tells."


def _layers(scene: Scene) -> str:
    return (
        f"Every head's d of the partial correlation with the {_noun(scene)}{held_clause(scene.options)}, "
        "layer by layer, with the layers' omnibus tests."
    )


def _thresholds(scene: Scene) -> str:
    return f"The d of every head{held_clause(scene.options)} and the number of significant heads along the thresholds."


def _balance(scene: Scene) -> str:
    return (
        "Standardized mean difference of every covariate between the halves "
        f"above and below the middle of the {_noun(scene)}, with its 95% interval; the usual line for balance is 0.1."
    )


SLOPE_WORDS = EffectWords(
    verdict=_verdict,
    warning=_warning,
    fairness=_fairness,
    adjustment=_adjustment,
    sensitivity=_sensitivity,
    effect_size=_effect_size,
    together=_together,
    directions=_directions,
    columns=_columns,
    methods=_methods,
    limitations=_limitations,
    captions={
        "summary": _summary,
        "difference": _map,
        "significance": _significance,
        "layers": _layers,
        "thresholds": _thresholds,
        "views": lambda _: "The d of the whole sequences and of each view, head by head, on one scale.",
        "adjustment": lambda scene: (
            "Every head's slope with nothing held fixed and with the covariates held fixed "
            f"({'rotations' if scene.analysis.over_contexts else 'permutation tests'}, FDR)."
        ),
        "balance": _balance,
    },
)
"""The words of a slope."""
