"""Sentences of the report that depend on what was found."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pandas as pd
from scipy.stats import norm

from metastable.report.apa import format_g, format_interval, format_share, p_phrase, plural
from metastable.stats.joint import JointModel
from metastable.stats.sensitivity import Sensitivity

__all__ = [
    "absence",
    "adjustment",
    "effect_size",
    "fairness",
    "heads_sentence",
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
        f"deviations: {', '.join(unequal)}. A difference between the conditions may be due to any of these."
    )


# Beyond this standardized difference the two conditions hardly overlap (less than a third of each).
_LITTLE_OVERLAP = 2.0


def adjustment(
    heads: pd.DataFrame, details: pd.DataFrame, balance: pd.DataFrame, names: dict[str, str], alpha: float, reason: str
) -> str:
    """Say what adjusting for the covariates does to the heads' differences."""
    if reason:
        return f"The differences could not be adjusted for the covariates: {reason}."
    before = int((details["p_unadjusted_fdr"] < alpha).sum())
    after = int((details["p_adjusted_fdr"] < alpha).sum())
    turned = int((np.sign(details["difference_adjusted"]) != np.sign(heads["difference"])).sum())
    text = (
        f"Adjusting every head's difference for all these covariates at once (least squares on {heads['n_a'].iloc[0]} "
        f"and {heads['n_b'].iloc[0]} units, HC3 errors) leaves {after} of the {before} heads significant (FDR "
        f"{alpha:g}), moves the median |*g*| from {heads['hedges_g'].abs().median():.2f} to "
        f"{details['g_adjusted'].abs().median():.2f}, and turns the sign of {turned}."
    )
    far = [
        names.get(str(row["covariate"]), str(row["covariate"]))
        for row in balance.to_dict("records")
        if abs(row["smd"]) > _LITTLE_OVERLAP
    ]
    if far:
        text += (
            f" **But the conditions hardly overlap in {', '.join(far)}**: there the adjustment extrapolates a straight "
            "line to words that do not exist in the other condition, and no statistics can repair that; only matched "
            "words can."
        )
    return text


def sensitivity_sentence(found: Sensitivity | None, alpha: float) -> str:
    """Say which effect the sample would have found."""
    if found is None:
        return "The sample is too small to say, by drawing from itself, what it could find."
    if not np.isfinite(found.detectable):
        return f"No effect on the curve is found with {100 * found.target:.0f}% power."
    return (
        f"A head whose true effect is |*g*| = **{found.detectable:.2f}** (Monte Carlo 95% CI "
        f"{format_interval(found.detectable_low, found.detectable_high)}) is found with {100 * found.target:.0f}% "
        f"power if one head in {1 / found.share:.0f} has such an effect: by {found.n_simulations} simulated samples "
        f"drawn from the study's own units, tested and corrected as here (FDR {alpha:g}). Smaller effects "
        "are likely to be missed."
    )


def omnibus_sentence(omnibus: pd.DataFrame, alpha: float) -> str:
    """Say the result of the test that comes before any head is looked at."""
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    p = float(whole["p_sum_squares"])
    found = (
        "the heads taken together tell the two conditions apart"
        if p < alpha
        else "the heads taken together do not tell the two conditions apart"
    )
    return (
        f"Before anyone looks at single heads: {found} ({p_phrase(p)} for the sum of squared statistics, "
        f"{p_phrase(float(whole['p_max']))} for the largest). By chance alone {alpha * whole['n_heads']:.1f} of "
        f"{plural(int(whole['n_heads']), 'head')} would fall below α = {alpha:g} without correction; "
        f"{int(whole['n_below_alpha'])} did."
    )


def layers_sentence(layers: pd.DataFrame, alpha: float) -> str:
    """Say in which layers the effect lies."""
    found = layers[layers["p_sum_squares"] < alpha]
    if found.empty:
        return f"No layer's omnibus test falls below α = {alpha:g}."
    strongest = layers.iloc[int(layers["mean_abs_g"].to_numpy().argmax())]
    return (
        f"{format_share(len(found), len(layers))} layers have an omnibus *p* below {alpha:g}; the effect is largest "
        f"in layer {strongest['layer']} (mean |*g*| = {strongest['mean_abs_g']:.2f})."
    )


def joint_sentence(joint: JointModel | None, alpha: float) -> str:
    """Say whether the effect varies over layers and over the heads of a layer, by one model of all heads."""
    if joint is None:
        return ""
    test = joint.interaction
    varies = test.p_value < alpha
    spread = joint.slope_p < alpha
    return (
        "One mixed model over all heads, log count ~ condition * layer + (1 + condition | head) + (1 | sequence), "
        f"{'finds' if varies else 'does not find'} that the effect varies over layers "
        f"(*F*({test.dof_numerator}, {test.dof_denominator:.1f}) = {test.statistic:.2f}, "
        f"{p_phrase(float(test.p_value))}) and that it "
        f"{'varies' if spread else 'does not vary demonstrably'} over the heads of a layer "
        f"({p_phrase(float(joint.slope_p))})."
        + (" The fit is singular: a variance lies at zero." if joint.singular else "")
        + ("" if joint.converged else " **The fit did not converge; do not rely on it.**")
    )


def heads_sentence(heads: pd.DataFrame, details: pd.DataFrame, alpha: float, a: str, b: str) -> str:
    """Say how many heads differ, by which correction, and in which direction."""
    different = heads[heads["verdict"] == "different"]
    up = int((different["difference"] > 0).sum())
    within = int((details["within_margin"] & (heads["verdict"] == "different")).sum())
    text = (
        f"{format_share(len(different), len(heads))} heads differ at a false discovery rate of {alpha:g}, "
        f"{int((heads['p_perm_fwer'] < alpha).sum())} also by the family-wise test over all heads; the mixed model "
        f"finds {int((heads['lmm_p_fdr'] < alpha).sum())}, and layers tested before their heads (Yekutieli, 2008) "
        f"leave {int((details['p_layers_first'] < alpha).sum())}. Of those that differ, {up} spread wider in {a} and "
        f"{len(different) - up} in {b} sequences."
    )
    if within:
        text += (
            f" {plural(within, 'head differs', 'heads differ')} and yet {'is' if within == 1 else 'are'} shown to lie "
            "inside the smallest effect of interest: real, and too small to matter by that standard."
        )
    return text + " The ten largest by |*g*|:"


def effect_size(heads: pd.DataFrame, details: pd.DataFrame, a: str, b: str, n_keys: float) -> str:
    """Put the largest and the typical effect into words."""
    size = heads["hedges_g"].abs()
    typical, largest = float(np.median(size)), float(size.max())
    index = int(size.to_numpy().argmax())
    top, detail = heads.iloc[index], details.iloc[index]
    # for two normal groups of equal variance, the chance that one exceeds the other (McGraw & Wong 1992)
    chance = norm.cdf(typical / sqrt(2))
    more, fewer = (a, b) if top["difference"] >= 0 else (b, a)
    superiority = float(detail["superiority"])
    superiority = superiority if top["difference"] >= 0 else 1 - superiority
    return (
        f"For the typical head (|*g*| = {typical:.2f}) a random {a} sequence and a random {b} sequence fall in the "
        f"direction of the difference {100 * chance:.0f} times in 100; chance is 50. For the head that differs most "
        f"(layer {top['layer']}, head {top['head']}, |*g*| = {largest:.2f}) a random {more} sequence spreads wider "
        f"than a random {fewer} one {100 * superiority:.0f} times in 100, by "
        f"{abs(top['difference']):.2f} of about {n_keys:.0f} tokens on average. The median difference over heads is "
        f"{float(np.median(heads['difference'].abs())):.2f} tokens. Differences are of sequence means; single tokens "
        "overlap far more."
    )


def absence(heads: pd.DataFrame, alpha: float, margin: float) -> str:
    """Say what is known of the heads that did not differ."""
    equivalent = int((heads["verdict"] == "equivalent").sum())
    undecided = int((heads["verdict"] == "undecided").sum())
    for_null = int((heads["bf10"] < 1 / 3).sum())
    for_difference = int((heads["bf10"] > 3).sum())
    return (
        f"{plural(equivalent, 'head is', 'heads are')} *equivalent*: two one-sided tests show the difference to lie "
        f"within *g* = ±{margin:g} (FDR {alpha:g}). {plural(undecided, 'head is', 'heads are')} *undecided*: neither a "
        "difference nor its absence was shown, and more sequences would be needed. Bayes factors above 3 favour a "
        f"difference in {plural(for_difference, 'head')}, below 1/3 its absence in {for_null}; "
        f"{len(heads) - for_null - for_difference} say little either way."
    )


def violins(heads: pd.DataFrame, modes_a: list[str], modes_b: list[str], a: str, b: str) -> str:
    """Say what the founding figure shows and how many heads change operating mode."""
    changed = sum(first != second for first, second in zip(modes_a, modes_b, strict=True))
    return (
        "The distribution of the count over all query tokens, head by head, as in the founding experiment and in "
        "figure 2 of Ramsauer et al. (2021). The number in each cell is the median; the colour is the operating mode, "
        "from I (averages over very many tokens) to IV (over few). "
        f"{format_share(changed, len(heads))} heads change their mode between {a} and {b}: medians hide what means "
        "of hundreds of sequences can show."
    )


def thresholds_sentence(heads: pd.DataFrame, alpha: float) -> str:
    """Say how the result moves along the thresholds."""
    parts = [
        f"{plural(int((rows['p_perm_fdr'] < alpha).sum()), 'head')} at {threshold:g}"
        for threshold, rows in heads.groupby("threshold", sort=True)
    ]
    ordered = heads.sort_values(["site", "layer", "head"], kind="stable")
    effects = [rows["hedges_g"].to_numpy() for _, rows in ordered.groupby("threshold", sort=True)]
    agreement = np.corrcoef(effects)
    low = float(agreement[np.triu_indices(len(effects), 1)].min())
    return (
        f"The number of heads that differ: {', '.join(parts)}. The maps of *g* correlate at least "
        f"{format_g(low, sign=False)} between any two thresholds."
    )


def limitations(*, caveat: str, unit: str, exact: bool, adjusted: tuple[str, ...]) -> list[str]:
    """Return what the design can not show."""
    texts = [caveat] if caveat else []
    texts += [
        "The count describes how widely a head spreads its attention, not what it attends to, and not whether the "
        "model uses it.",
        f"The result holds for this model, these texts and {unit}s made in this way; another draw or shuffle "
        "(another seed) gives other sequences.",
        "Special tokens are queries and keys like any other; heads that park their attention on them give small "
        "counts in both conditions.",
    ]
    if adjusted:
        texts.append(
            f"Adjusting for {', '.join(adjusted)} assumes that they act linearly and were measured without error."
        )
    if not exact:
        texts.append("Permutation p-values are drawn at random; near α they would move with another seed.")
    return texts
