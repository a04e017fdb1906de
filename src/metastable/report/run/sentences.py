"""Sentences of the report that depend on what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.modes import count_mode_changes
from metastable.report.apa import (
    format_g,
    format_interval,
    format_level,
    format_r,
    format_share,
    listed,
    p_phrase,
    plural,
)
from metastable.report.measure_words import MeasureWords
from metastable.report.sides import Sides
from metastable.stats.mixed_models.joint import JointModel
from metastable.stats.simulation.sensitivity import Sensitivity

__all__ = [
    "adjustment",
    "fairness",
    "joint_sentence",
    "layers_sentence",
    "limitations",
    "omnibus_sentence",
    "sensitivity_sentence",
    "thresholds_sentence",
    "violins",
]


def fairness(balance: pd.DataFrame, names: dict[str, str]) -> str:
    """Say which covariates are balanced."""
    unequal = [
        names.get(row["covariate"], row["covariate"]) for row in balance.to_dict("records") if not row["balanced"]
    ]
    if balance.empty:
        return "No covariate was recorded, so nothing can be said about what else differs."
    if not unequal:
        return (
            "Yes, as far as was measured: every covariate lies within the usual line of 0.1 standard deviations, "
            "so a difference between the conditions is not explained by any of them alone."
        )
    return (
        f"**No.** {format_share(len(unequal), len(balance))} covariates lie outside the usual line of 0.1 standard "
        f"deviations: {listed(unequal)}. A difference between the conditions may be due to any of these."
    )


# Beyond this standardized difference the two conditions hardly overlap (less than a third of each).
_LITTLE_OVERLAP = 2.0


def adjustment(
    heads: pd.DataFrame,
    details: pd.DataFrame,
    balance: pd.DataFrame,
    names: dict[str, str],
    alpha: float,
    reason: str,
    units: str,
) -> str:
    """Say what adjusting for the covariates does to the heads' differences; `units` says how many units there are."""
    if reason:
        return f"The differences could not be adjusted for the covariates: {reason}."
    before, after = details["p_unadjusted_fdr"] < alpha, details["p_adjusted_fdr"] < alpha
    turned = int((np.sign(details["difference_adjusted"]) != np.sign(heads["difference"])).sum())
    text = (
        f"Adjusting every head's difference for all these covariates at once (least squares on {units}, HC3 errors; "
        f"MacKinnon & White, 1985) leaves {int((before & after).sum())} of the {plural(int(before.sum()), 'head')} "
        f"significant (FDR {format_level(alpha)}), makes {plural(int((after & ~before).sum()), 'other')} so, moves "
        "the median "
        f"|*g*| from {format_g(heads['hedges_g'].abs().median(), sign=False)} to "
        f"{format_g(details['g_adjusted'].abs().median(), sign=False)}, and turns "
        f"the sign of {turned}."
    )
    far = [
        names.get(str(row["covariate"]), str(row["covariate"]))
        for row in balance.to_dict("records")
        if abs(row["smd"]) > _LITTLE_OVERLAP
    ]
    if far:
        text += (
            f" **But the conditions hardly overlap in {listed(far)}**: there the adjustment extrapolates a straight "
            "line to "
            "values that the other condition does not have, and no statistics can repair that; only matched material "
            "can."
        )
    return text


def sensitivity_sentence(found: Sensitivity | None, alpha: float) -> str:
    """Say which effect the sample would have found."""
    if found is None:
        return "The sample is too small, or varies too little, to say by drawing from itself what it could find."
    if not np.isfinite(found.detectable):
        return (
            f"No effect up to |*g*| = {found.curve['effect'].max():.2f} is found with {100 * found.target:.0f}% power: "
            "what was not found here may well be there."
        )
    return (
        f"A head whose true effect is |*g*| = **{found.detectable:.2f}** (Monte Carlo 95% CI "
        f"{format_interval(found.detectable_low, found.detectable_high)}) is found with {100 * found.target:.0f}% "
        f"power if one head in {1 / found.share:.0f} has such an effect: by {found.n_simulations} simulated samples "
        f"drawn from the study's own units, tested and corrected as here (FDR {format_level(alpha)}). Smaller "
        "effects are likely to be missed."
    )


def omnibus_sentence(omnibus: pd.DataFrame, alpha: float) -> str:
    """Say the result of the test that comes before any head is looked at."""
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    p = float(whole["p_sum_squares"])
    found = (
        "the heads taken together tell the two conditions apart"
        if p < alpha
        else "the heads taken together do not demonstrably tell the two conditions apart"
    )
    return (
        f"Before anyone looks at single heads: {found} ({p_phrase(p)} for the sum of squared statistics, "
        f"{p_phrase(float(whole['p_max']))} for the largest). By chance alone {alpha * whole['n_heads']:.1f} of "
        f"{plural(int(whole['n_heads']), 'head')} would fall below α = {format_level(alpha)} without correction; "
        f"{int(whole['n_below_alpha'])} did."
    )


def layers_sentence(layers: pd.DataFrame, alpha: float, symbol: str = "g") -> str:
    """Say in which layers the effect lies; `symbol` is that of the effect."""
    found = layers[layers["p_sum_squares"] < alpha]
    if found.empty:
        return f"No layer's omnibus test falls below α = {format_level(alpha)}."
    strongest = layers.iloc[int(layers["mean_abs_g"].to_numpy().argmax())]
    site = f" of {strongest['site']}" if len(layers["site"].unique()) > 1 else ""
    if len(layers) == 1:
        return (
            f"The one layer is the whole model (mean |*{symbol}*| = {format_g(strongest['mean_abs_g'], sign=False)})."
        )
    return (
        f"{format_share(len(found), len(layers))} layers have an omnibus *p* below {format_level(alpha)}; the effect "
        f"is largest in layer {strongest['layer']}{site} (mean |*{symbol}*| = "
        f"{format_g(strongest['mean_abs_g'], sign=False)})."
    )


def joint_sentence(joint: JointModel | None, alpha: float, measure: str) -> str:
    """Say whether the effect varies over layers and over the heads of a layer, by one model of all heads."""
    if joint is None:
        return ""
    test = joint.interaction
    varies = test.p_value < alpha
    spread = joint.slope_p < alpha
    return (
        f"One mixed model over all heads, log {measure} ~ condition * layer + (1 + condition | head) + (1 | sequence), "
        f"{'finds' if varies else 'does not find'} that the effect varies over layers "
        f"(*F*({test.dof_numerator}, {test.dof_denominator:.1f}) = {test.statistic:.2f}, "
        f"{p_phrase(float(test.p_value))}) and that it "
        f"{'varies' if spread else 'does not vary demonstrably'} over the heads of a layer "
        f"({p_phrase(float(joint.slope_p))})."
        + (" The fit is singular: a variance lies at zero." if joint.singular else "")
        + ("" if joint.converged else " **The fit did not converge; do not rely on it.**")
    )


def violins(modes_a: NDArray[np.str_], modes_b: NDArray[np.str_], sides: Sides, measure: str, threshold: str) -> str:
    """Say what the founding figure shows and how many heads change operating mode."""
    changed = count_mode_changes(modes_a, modes_b)
    other = "" if measure == "count" else f" (at {threshold}; not of the {measure}, which this report tests)"
    return (
        f"The distribution of the count{other} over all query tokens, head by head, as in the founding experiment and "
        "in "
        "figure 2 of Ramsauer et al. (2021). The number in each cell is the median; the colour is the operating mode, "
        "from I (averages over very many) to IV (over few). "
        f"{format_share(changed, len(modes_a))} heads change their mode between {sides.both}. Medians are whole "
        "numbers, "
        "so a mode may stay where a mean moves."
    )


def thresholds_sentence(heads: pd.DataFrame, alpha: float, effect: str = "differ", symbol: str = "g") -> str:
    """Say how the result moves along the thresholds."""
    parts = [
        f"{int((rows['p_perm_fdr'] < alpha).sum())} at {threshold:g}"
        for threshold, rows in heads.groupby("threshold", sort=True)
    ]
    ordered = heads.sort_values(["site", "layer", "head"], kind="stable")
    effects = [rows["hedges_g"].to_numpy() for _, rows in ordered.groupby("threshold", sort=True)]
    text = f"The number of heads that {effect}: {listed(parts)}."
    if len(effects[0]) < _LEAST_TO_CORRELATE or any(np.ptp(one) == 0 for one in effects):
        return text
    low = float(np.corrcoef(effects)[np.triu_indices(len(effects), 1)].min())
    return f"{text} The maps of *{symbol}* correlate by *r* = {format_r(low)} or more between any two thresholds."


# A correlation over fewer heads says nothing.
_LEAST_TO_CORRELATE = 3


def limitations(
    *, caveat: str, units: str, exact: bool, adjusted: tuple[str, ...], measure: MeasureWords, special: bool
) -> list[str]:
    """Return what the design cannot show; `special` tells whether special tokens query and are keys."""
    texts = [f"{caveat[0].upper()}{caveat[1:]}"] if caveat else []
    if measure.wider:
        texts.append(
            f"The {measure.name} describes how widely a head spreads its attention, not what it attends to, and not "
            "whether the model uses it."
        )
    else:
        texts.append(f"The {measure.name} describes where a head's attention lies, not whether the model uses it.")
    texts.append(
        f"The result holds for this model, these texts and {units} made in this way; another draw or shuffle (another "
        "seed) gives others."
    )
    if special and measure.wider:
        texts.append(
            "Special tokens are queries and keys like any other; heads that park their attention on them spread little "
            "in both conditions."
        )
    if adjusted:
        texts.append(
            f"Adjusting for {listed(adjusted)} assumes that they act linearly and were measured without error."
        )
    if not exact:
        texts.append("Permutation p-values are drawn at random; near α they would move with another seed.")
    return texts
