"""What a report says of a difference of two groups."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from metastable.report.apa import (
    format_g,
    format_interval,
    format_level,
    format_share,
    in_100,
    listed,
    p_phrase,
    plural,
    still_significant,
    with_article,
)
from metastable.report.run.context_words import contexts_sensitivity, contexts_tested
from metastable.report.run.effect_words import EffectWords, MethodClauses
from metastable.report.run.left_out import left_out_sentences
from metastable.report.run.methods import observation_clause, relabelings_clause
from metastable.report.run.scene import Scene
from metastable.report.sides import units_text
from metastable.report.words import covariate_name, held_clause
from metastable.stats.balance import unbalanced
from metastable.stats.difference import relabelings_beside
from metastable.stats.simulation.sensitivity import Sensitivity

__all__ = ["DIFFERENCE_WORDS"]

# Beyond this standardized difference the two conditions hardly overlap (less than a third of each).
_LITTLE_OVERLAP = 2.0


def _verdict(scene: Scene) -> list[str]:
    sides, alpha, margin, top = scene.sides, scene.alpha, scene.margin, scene.largest
    different, negligible, equivalent, undecided = scene.verdicts.values()
    opening = {
        "different": f"Attention differs between {sides.both}",
        "equivalent": f"Attention does not differ between {sides.both} beyond g = ±{margin:g}",
        "undecided": f"No difference in attention between {sides.both} was shown",
    }[scene.verdict]
    over = scene.contrast.crossing if scene.analysis.over_contexts else None
    held = held_clause(scene.options)
    tested = "permutation" if over is None else f"over {over.item_name}s and {over.context_name}s,"
    p_text = f"omnibus {tested} {p_phrase(float(scene.whole['p_sum_squares']), 'p')}"
    size = f"|g| = {format_g(scene.median_size, sign=False)}"
    median = f"the median head's difference is {scene.measure.amount(float(scene.estimates.abs().median()))} ({size})"
    more, fewer = (sides.a, sides.b) if top["difference"] >= 0 else (sides.b, sides.a)
    interval = format_interval(top["g_low"], top["g_high"])
    return [
        f"{opening} in {scene.result.record.model.id}{f',{held}' if held else ''} ({p_text}){_whither(scene)}; "
        f"{median}.",
        f"Of {plural(len(scene.heads), 'head')}, {different} {'is' if different == 1 else 'are'} different, "
        f"{_negligible(negligible, margin)}{equivalent} equivalent within g = ±{margin:g}, and {undecided} undecided "
        f"at a {scene.rate} of {format_level(alpha)}; "
        f"the largest difference is in {scene.place(top)}, "
        f"{scene.measure.more_in(more, fewer, float(top['difference']))}{sides.thing} "
        f"(g = {format_g(top['hedges_g'])}, 95% CI {interval}).",
    ]


def _negligible(n: int, margin: float) -> str:
    return f"{n} different but negligible (g within ±{margin:g}), " if n else ""


def _whither(scene: Scene) -> str:
    """Say as a clause whether the heads that differ do so in one direction; empty where none does."""
    up = int((scene.estimates[scene.different] > 0).sum())
    down = int(scene.different.sum()) - up
    if scene.verdict != "different" or not up + down:
        return ""
    a, b, more = scene.sides.a, scene.sides.b, scene.measure.have_more
    if up and down:
        return f", in no one direction: some heads {more} in {a} and others in {b}{scene.sides.thing}"
    return f": the heads that differ {more} in {a if up else b}{scene.sides.thing}"


def _means(row: Mapping[Hashable, Any]) -> str:
    """Write both means of a covariate with as many digits as the smaller one needs."""
    a, b = float(row["mean_a"]), float(row["mean_b"])
    digits = 1 if min(abs(a), abs(b)) >= 2 else 2
    return f"{a:.{digits}f} against {b:.{digits}f}"


def _warning(scene: Scene) -> str:
    """Name the covariates on which the conditions differ by more than chance gives; empty if none."""
    balance = scene.result.balance
    unequal = balance[~balance["balanced"].astype(bool)]
    if unequal.empty:
        return ""
    a, b = scene.conditions
    rows = unequal.sort_values("smd", key=lambda smd: -smd.abs(), kind="stable").to_dict("records")
    parts = [
        f"{covariate_name(row['covariate'])} {_means(row)} "
        f"(d = {format_g(row['smd'])}, 95% CI {format_interval(row['smd_low'], row['smd_high'])})"
        for row in rows
    ]
    return f"The conditions are not alike ({a} against {b}): {', '.join(parts)}."


def _fairness(scene: Scene) -> str:
    balance = scene.result.balance
    if balance.empty:
        return "No covariate was recorded, so nothing can be said about what else differs."
    unequal = [covariate_name(name) for name in unbalanced(balance)]
    if not unequal:
        return (
            "As far as was measured: no covariate differs by 0.1 standard deviations or more and by more than chance "
            f"gives (Holm over {plural(len(balance), 'covariate')}). The intervals say how large a difference may have "
            "gone unseen."
        )
    return (
        f"**No.** {format_share(len(unequal), len(balance))} covariates differ by 0.1 standard deviations or more, and "
        f"by more than chance gives (Holm over the covariates): {listed(unequal)}. "
        "A difference between the conditions may be due to any of these."
    )


def _adjustment(scene: Scene) -> str:
    if scene.analysis.no_adjustment:
        return f"The differences could not be adjusted for the covariates: {scene.analysis.no_adjustment}."
    details, alpha = scene.details, scene.alpha
    before, after = (details[f"p_perm_{name}_fdr"] < alpha for name in ("unadjusted", "adjusted"))
    turned = int((np.sign(details["difference_adjusted"]) != np.sign(details["difference_unadjusted"])).sum())
    crossing = scene.contrast.crossing if scene.analysis.over_contexts else None
    chosen = (
        f"{listed(scene.held_names)}, as the tests of this report do" if scene.held else "all these covariates at once"
    )
    few = relabelings_beside(scene.options.permutations, len(scene.heads), alpha)
    drawn = "" if scene.held else f" with at most {few:,} relabelings"
    tested = (
        f"permutation test{drawn} on {units_text(scene.contrast)}, HC3 errors; DiCiccio & Romano, 2017"
        if crossing is None
        else f"the mixed model and rotations over {crossing.item_name}s and {crossing.context_name}s, as without them"
    )
    text = (
        f"Adjusting every head's difference for {chosen} ({tested}) "
        f"{still_significant(before.to_numpy(), after.to_numpy(), f' (FDR {format_level(alpha)})')}, "
        f"moves the median |*g*| from {format_g(details['g_unadjusted'].abs().median(), sign=False)} "
        f"to {format_g(details['g_adjusted'].abs().median(), sign=False)}, "
        f"and turns the sign of {turned}.{left_out_sentences(scene, covariate_name)}"
    )
    far = [
        covariate_name(str(row["covariate"]))
        for row in scene.result.balance.to_dict("records")
        if abs(row["smd"]) > _LITTLE_OVERLAP
    ]
    if far:
        text += (
            f" **But the conditions hardly overlap in {listed(far)}**: "
            "there the adjustment extrapolates a straight line to values that the other condition does not have, "
            "and no statistics can repair that; only matched material can."
        )
    return text


def _sensitivity(scene: Scene) -> str:
    found = scene.result.sensitivity
    if scene.analysis.over_contexts:
        return contexts_sensitivity(scene)
    if found is None:
        return "The sample is too small, or varies too little, to say by drawing from itself what it could find."
    power = f"{100 * found.target:.0f}% power"
    if not np.isfinite(found.detectable):
        return (
            f"No effect up to |*g*| = {found.curve['effect'].max():.2f} is found with {power}: "
            "what was not found here may well be there."
        )
    interval = format_interval(found.detectable_low, found.detectable_high)
    return (
        f"A head whose true effect is |*g*| = **{found.detectable:.2f}** (Monte Carlo 95% CI {interval}) "
        f"is found with {power} if one head in {1 / found.share:.0f} has such an effect: "
        f"by {found.n_simulations} simulated samples drawn from the study's own units, "
        f"tested and corrected as here ({scene.controls} {format_level(scene.alpha)}). "
        f"{_halfway(found)}"
    )


def _halfway(found: Sensitivity) -> str:
    """Say below which effect a head is more likely missed than found."""
    below = found.curve[found.curve["power"] < 0.5]
    if below.empty:
        return "Even the smallest effect simulated is more likely found than missed."
    above = found.curve[found.curve["power"] >= 0.5]
    bound = f"between |*g*| = {below['effect'].max():.2f} and {above['effect'].min():.2f}" if len(above) else ""
    return (
        f"A head is as likely missed as found somewhere {bound}, and likelier missed below."
        if bound
        else ("Every effect simulated is likelier missed than found.")
    )


def _effect_size(scene: Scene) -> str:
    """Put the largest and the median effect into words."""
    sides, measure, unit, top = scene.sides, scene.measure, scene.contrast.unit, scene.largest
    more, fewer = (sides.a, sides.b) if top["difference"] >= 0 else (sides.b, sides.a)
    # both ways round, so that every head is read in the direction of its own difference
    chance = scene.details["superiority"].where(scene.estimates >= 0, 1 - scene.details["superiority"])
    of = f" of about {scene.row_length:.0f}" if measure.in_entries else ""
    number, _, noun = measure.amount(float(top["difference"])).partition(" ")
    by = f"{number}{of}{' ' + noun if noun else ''}"
    middle, largest = in_100(float(chance.median())), in_100(float(chance.iloc[int(scene.by_size[0])]))
    if scene.contrast.pair is not None:
        one = with_article(unit)
        first = f"In the median head the two sides of {one} differ in the direction of the mean difference {middle}"
        second = f"the {more} side of {one} {measure.has_more} than its {fewer} side {largest}"
    else:
        noun = unit if sides.thing else f"{unit}, as a difference,"
        first = (
            f"In the median head a random {sides.a} {noun} and a random {sides.b} {noun} "
            f"differ in the direction of the mean difference {middle}"
        )
        second = f"a random {more} {noun} {measure.has_more} than a random {fewer} one {largest}"
    median = measure.amount(float(scene.estimates.abs().median()))
    return (
        f"{first} (chance is 50; the probability of superiority of Vargha & Delaney, 2000). In the head that differs "
        f"most ({scene.place(top)}, |*g*| = {format_g(abs(top['hedges_g']), sign=False)}) {second}, by {by} on "
        f"average. The median difference over heads is {median}. Differences are of {unit} means; single tokens "
        "overlap far more."
    )


def _together(scene: Scene) -> str:
    tell = "tell" if scene.whole["p_sum_squares"] < scene.alpha else "do not demonstrably tell"
    return f"the heads taken together {tell} the two conditions apart"


def _directions(scene: Scene) -> str:
    up, n = int((scene.estimates[scene.different] > 0).sum()), int(scene.different.sum())
    sides = scene.sides
    return f"{up} {scene.measure.have_more} in {sides.a} and {n - up} in {sides.b}{sides.thing}"


def _presented(scene: Scene) -> str:
    """Say how many sequences were read, of how many units."""
    study, contrast = scene.result.study, scene.contrast
    a, b = (contrast.a, contrast.b) if contrast.name != "interaction" else study.conditions
    seq_a, seq_b = (int(np.sum(scene.result.read_sides == side)) for side in (0, 1))
    unit = contrast.unit
    both = f"{seq_a:,} {a.name} and {plural(seq_b, f'{b.name} sequence')}"
    if scene.packings > 1:
        return f"{units_text(contrast)}, each read in {scene.packings} random packings ({both}),"
    if contrast.pair is not None:
        pairs = plural(contrast.n_a, unit)
        return f"{both}, {f'joined in {pairs}' if unit.endswith('pair') else f'both from each of {pairs}'},"
    if unit == "sequence":
        return both
    return (
        f"{plural(seq_a, 'sequence')} of {plural(contrast.n_a, f'{a.name} {unit}')} "
        f"and {plural(seq_b, 'sequence')} of {plural(contrast.n_b, f'{b.name} {unit}')}"
    )


def _statistic(scene: Scene) -> str:
    """Say by which statistic, and which relabelings, each head was tested over units."""
    unit, paired = scene.contrast.unit, scene.contrast.pair is not None
    if scene.held:
        return (
            "the adjusted difference over its HC3 standard error (MacKinnon & White, 1985; DiCiccio & Romano, 2017), "
            f"by flipping the signs of the residuals of {'differences' if paired else f'whole {unit}s'} from the model "
            "without the condition, each of which keeps its variance (Davidson & Flachaire, 2008; Hemerik et al., 2020)"
        )
    if paired:
        return f"the paired *t* statistic, by flipping the signs of the differences of whole {unit}s"
    return f"Welch's *t* statistic (Welch, 1947), by exchanging the condition labels of whole {unit}s"


def _tested(scene: Scene) -> str:
    if scene.analysis.over_contexts:
        return contexts_tested(scene)
    return (
        f"Each of the {len(scene.heads)} heads was tested two-sidedly by a permutation test on {_statistic(scene)}, "
        f"with {relabelings_clause(scene)}"
    )


def _held_fixed(scene: Scene) -> str:
    if not scene.held:
        return ""
    names = listed(scene.held_names)
    if scene.analysis.over_contexts:
        return (
            f" Nuisance covariates ({names}) entered the mixed model as fixed effects, and rotations left out what "
            "they explain; difference, interval, *g*, Bayes factors and equivalence tests are of the adjusted "
            "difference, while means are as observed."
        )
    return (
        f" Nuisance covariates were {names}; difference, interval, *g*, Bayes factors and equivalence tests hold them "
        "fixed by regression, while means are as observed."
    )


def _standardized(scene: Scene) -> str:
    """Say what Hedges' g, its intervals and the Bayes factors are of."""
    if scene.analysis.over_contexts:
        return (
            "Hedges' *g* (Hedges, 1981), the mixed model's difference in standard deviations of the units' means, with "
            "95% intervals that join the errors of both, JZS Bayes factors of the same *t* with as many units as would "
            "give its standard error"
        )
    if scene.contrast.pair is not None:
        return (
            "Hedges' *g* (Hedges, 1981) in units of the root mean square of both sides' standard deviations, as in "
            "unpaired designs, with the small-sample factor of Cousineau (2020) and BCa bootstrap intervals over pairs "
            "(Efron, 1987), JZS Bayes factors of the paired *t*"
        )
    return "Hedges' *g* (Hedges, 1981) with 95% BCa bootstrap intervals (Efron, 1987), JZS Bayes factors"


def _sizes(scene: Scene) -> str:
    sizes = (
        f"We report {_standardized(scene)} with a Cauchy prior of scale 0.707 (Rouder et al., 2009), and two one-sided "
        f"tests against a smallest effect of interest of *g* = ±{scene.margin:g} (Lakens, 2017), whose false discovery "
        "rate was held at the same level (Benjamini & Hochberg, 1995)."
    )
    if scene.result.balance.empty:
        return sizes
    whose = "Welch's" if scene.contrast.pair is None else "the paired"
    return (
        f"{sizes} Balance of covariates was judged by standardized mean differences, a line at 0.1 (Austin, 2009) and "
        f"{whose} *t* after Holm (1979) together."
    )


def _methods(scene: Scene) -> MethodClauses:
    return MethodClauses(
        presented=_presented(scene),
        observation=observation_clause(scene),
        tested=_tested(scene),
        estimates=_held_fixed(scene),
        sizes=_sizes(scene),
    )


def _summary(scene: Scene) -> str:
    a, b = scene.conditions
    return (
        f"Mean {scene.measure.name} of every head for {a} and {b} {scene.things} on one scale, their difference, "
        f"and the verdict of every head. Layer {scene.heads['layer'].min()} is at the bottom."
    )


def _map(scene: Scene) -> str:
    a, b = scene.conditions
    return (
        f"Difference of the mean {scene.measure.name}, {a} minus {b}; "
        f"outlined where significant ({scene.controls} {format_level(scene.alpha)})."
    )


DIFFERENCE_WORDS = EffectWords(
    verdict=_verdict,
    warning=_warning,
    fairness=_fairness,
    adjustment=_adjustment,
    sensitivity=_sensitivity,
    effect_size=_effect_size,
    together=_together,
    directions=_directions,
    columns=lambda _: "",
    methods=_methods,
    limitations=lambda _: [],
    captions={
        "summary": _summary,
        "difference": _map,
        "significance": lambda _: "The verdict of every head; hatching tells what colour tells.",
        "layers": lambda _: "Every head's Hedges' g, layer by layer, with the layers' omnibus tests.",
        "thresholds": lambda _: "Effect of every head and number of significant heads along the thresholds.",
        "views": lambda _: "Hedges' g of the whole sequences and of each view, head by head, on one scale.",
        "adjustment": lambda scene: (
            "Every head's difference before and after adjusting for the covariates "
            f"({'rotations' if scene.analysis.over_contexts else 'permutation tests'}, FDR)."
        ),
        "balance": lambda _: (
            "Standardized mean difference of every covariate with its 95% interval; the usual line for balance is 0.1."
        ),
    },
)
"""The words of a difference."""
