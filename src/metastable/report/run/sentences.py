"""Sentences of the report that depend on what was found, the same of every effect but for its words."""

from __future__ import annotations

import numpy as np

from metastable.heads.modes import MODES, count_mode_changes
from metastable.heads.packings import directed
from metastable.measures import measure_named
from metastable.report.apa import format_g, format_level, format_r, format_share, listed, p_phrase, plural
from metastable.report.run.context_words import contexts_mixed
from metastable.report.run.difference_words import DIFFERENCE_WORDS
from metastable.report.run.effect_words import EffectWords
from metastable.report.run.methods import (
    measured_clause,
    mixed_clause,
    model_clause,
    number_type,
    ratings_clause,
)
from metastable.report.run.scene import Scene
from metastable.report.run.slope_words import SLOPE_WORDS
from metastable.stats.corrections import CORRECTIONS
from metastable.stats.effect_kinds import DIFFERENCE, SLOPE, Effect
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE

__all__ = [
    "absence",
    "axis_clause",
    "heads_sentence",
    "joint_sentence",
    "layers_sentence",
    "lengths_warning",
    "limitations",
    "methods_paragraph",
    "modes",
    "omnibus_sentence",
    "packings_sentences",
    "thresholds_sentence",
    "violins",
    "words_of",
]

_WORDS = {DIFFERENCE.name: DIFFERENCE_WORDS, SLOPE.name: SLOPE_WORDS}

# Sequences that a warning names.
_MOST_NAMED = 3
# A correlation over fewer heads says nothing.
_LEAST_TO_CORRELATE = 3


def words_of(effect: Effect) -> EffectWords:
    """Return the words of an effect."""
    return _WORDS[effect.name]


def omnibus_sentence(scene: Scene) -> str:
    """Say the result of the test that comes before any head is looked at."""
    whole = scene.whole
    n_heads = int(whole["n_heads"])
    return (
        f"Before anyone looks at single heads: {words_of(scene.effect).together(scene)} "
        f"({p_phrase(float(whole['p_sum_squares']))} for the sum of squared statistics, "
        f"{p_phrase(float(whole['p_max']))} for the largest). "
        f"By chance alone {scene.alpha * n_heads:.1f} of {plural(n_heads, 'head')} would fall below "
        f"α = {format_level(scene.alpha)} without correction; {int(whole['n_below_alpha'])} did."
    )


def layers_sentence(scene: Scene) -> str:
    """Say in which layers the effect lies."""
    layers, alpha, effect = scene.layers, scene.alpha, scene.effect
    found = layers[layers["p_sum_squares"] < alpha]
    if found.empty:
        return f"No layer's omnibus test falls below α = {format_level(alpha)}."
    strongest = layers.iloc[int(layers[effect.mean_size].to_numpy().argmax())]
    size = f"(mean |*{effect.symbol}*| = {format_g(strongest[effect.mean_size], sign=False)})"
    if len(layers) == 1:
        return f"The one layer is the whole model {size}."
    site = f" of {strongest['site']}" if scene.several_sites else ""
    return (
        f"{format_share(len(found), len(layers))} layers have an omnibus *p* below {format_level(alpha)}; "
        f"as measured, the effect is largest in layer {strongest['layer']}{site} {size}."
    )


def joint_sentence(scene: Scene) -> str:
    """Say whether the effect varies over layers and over the heads of a layer, by one model of all heads."""
    joint = scene.result.joint
    if joint is None:
        return ""
    test = joint.interaction
    finds = "finds" if test.p_value < scene.alpha else "does not find"
    varies = "varies" if joint.slope_p < scene.alpha else "does not vary demonstrably"
    return (
        f"One mixed model over all heads, log {scene.measure.name} ~ condition * layer + (1 + condition | head) + (1 | "
        f"sequence) + (1 | sequence:layer), {finds} that the effect varies over layers (*F*({test.dof_numerator}, "
        f"{test.dof_denominator:.1f}) = {test.statistic:.2f}, {p_phrase(float(test.p_value))}) and that it {varies} "
        f"over the heads of a layer ({p_phrase(float(joint.slope_p))})."
        + (" The fit is singular: a variance lies at zero." if joint.singular else "")
        + ("" if joint.converged else " **The fit did not converge; do not rely on it.**")
    )


def heads_sentence(scene: Scene) -> str:
    """Say how many heads have an effect, by which correction, and in which direction."""
    heads, details, alpha, effect = scene.heads, scene.details, scene.alpha, scene.effect
    words, n = words_of(effect), int(scene.different.sum())
    within = scene.verdicts[NEGLIGIBLE]
    mixed = (
        f"there is no mixed model, since {without_tokens(scene) or _one_value(scene)}"
        if heads["lmm_p_fdr"].isna().all()
        else f"the mixed model finds {int((heads['lmm_p_fdr'] < alpha).sum())}"
    )
    parts = [
        f"{format_share(n, len(heads))} heads {effect.verb} at a {scene.rate} of {format_level(alpha)}, "
        f"{int((heads['p_perm_fwer'] < alpha).sum())} also by the family-wise test over all heads; {mixed}, "
        "and layers tested before their heads (Yekutieli, 2008) leave "
        f"{int((details['p_layers_first'] < alpha).sum())}."
    ]
    if n:
        parts.append(f"Of those {effect.with_effect}, {words.directions(scene)}.")
    if within:
        parts.append(
            f"{plural(within, f'head {effect.verb_one}', f'heads {effect.verb}')} "
            f"and yet {'is' if within == 1 else 'are'} negligible: the interval lies within the smallest effect of "
            "interest. That is real, and too small to matter by that standard."
        )
    largest = "The ten largest" if len(heads) > len(scene.shown) else f"All {len(heads)}"
    return " ".join(
        [
            *parts,
            *filter(None, [_chosen_intervals(scene), words.columns(scene)]),
            f"{largest} by |*{effect.symbol}*|, each interval of its head by itself:",
        ]
    )


def _chosen_intervals(scene: Scene) -> str:
    """Say where the intervals are that allow for the choice of the heads; empty where none was chosen."""
    n, of_all, effect = int(scene.different.sum()), len(scene.heads), scene.effect
    if not n:
        return ""
    level = "" if scene.several_sites else f", {100 * (1 - scene.alpha * n / of_all):.3g}% each,"
    return (
        f"Intervals that allow for the choice of those {effect.with_effect}{level} are in [details.csv](details.csv) "
        f"(`ci_low_fcr`, `ci_high_fcr`): at most {100 * scene.alpha:g}% of them are expected to miss (Benjamini & "
        "Yekutieli, 2005)."
    )


def _one_value(scene: Scene) -> str:
    return "a word gives one value, its mean over packings" if scene.packings > 1 else "a sequence gives one value"


def packings_sentences(scene: Scene) -> tuple[str, ...]:
    """Say how the verdicts move over packings, and what the words say over all of them; empty for one packing."""
    found = scene.result.packings
    if found is None:
        return ()
    n, heads, several = scene.packings, len(found.pooled), found.n_different
    single, same, words = found.single, found.agreeing, directed(found.pooled)
    n_words = int(found.pooled["verdict"].isin([DIFFERENT, NEGLIGIBLE]).sum())
    small = ", negligibly or not" if (found.table["verdict"] == NEGLIGIBLE).any() else ""
    some = found.differing.any(axis=1) & ~found.differing.all(axis=1)
    called = f"{several[0]}" if min(several) == max(several) else f"{min(several)} to {max(several)}"
    moved = (
        f"{plural(int(some.sum()), 'head is', 'heads are')} different in some packings and not in others: there one "
        "shuffle would have decided."
        if some.any()
        else "no head is different in some packings and not in others."
    )
    unit = str(found.table["unit"].iloc[0])
    effects = found.pooled["design_effect"]
    everywhere = "the rows of special tokens included, " if scene.options.queries == "all" else ""
    return (
        f"The words were read in {n} random packings. Each packing was also tested by itself, as a run of one packing "
        f"is: with the {unit} as the unit, {everywhere}and its own correction over heads. "
        f"Single packings call {called} of {plural(heads, 'head')} different{small} "
        f"(median {np.median(several):g}); the {scene.contrast.unit}s over all packings, which is what this report is "
        f"about, {n_words}.",
        f"All {n} packings give the same verdict on {format_share(int(same.sum()), heads)} heads, and it is that of "
        f"the words in {int((same & (single.iloc[:, 0].to_numpy() == words)).sum())} of them; "
        f"{moved} Packings are no independent draws: they shuffle the same words.",
        "Words of one sequence share its noise, and a word moves its neighbours in every packing. "
        f"In means over {n} packings that makes the variance of the {scene.effect.name} {effects.median():.2f} times "
        f"that of words that share nothing (median over heads; largest {effects.max():.2f}); the tests, intervals and "
        "sizes of this report count with it. [packings.csv](packings.csv) has every head in every packing.",
    )


def absence(scene: Scene) -> str:
    """Say what is known of the heads without a significant effect."""
    heads, details, effect, level = scene.heads, scene.details, scene.effect, format_level(scene.alpha)
    equivalent, undecided = scene.verdicts["equivalent"], scene.verdicts["undecided"]
    for_null, for_effect = int((heads["bf10"] < 1 / 3).sum()), int((heads["bf10"] > 3).sum())
    if not equivalent + undecided:
        text = f"Every head {effect.verb_one}, so there is no absence to judge."
    else:
        within = f"show the {effect.name} to lie within *{effect.symbol}* = ±{scene.margin:g} (FDR {level})"
        text = (
            f"{plural(equivalent, 'head is', 'heads are')} *equivalent*: two one-sided tests {within}. "
            if equivalent
            else f"No head is *equivalent*: in none do two one-sided tests {within}. "
        )
        text += (
            f"{plural(undecided, 'head is', 'heads are')} *undecided*: "
            f"neither a {effect.name} nor its absence was shown."
            if undecided
            else "No head is *undecided*."
        )
        flat = int(details["flat"].sum())
        if flat:
            text += (
                f" {plural(flat, 'head does', 'heads do')} not vary at all in this sample, so that nothing can be "
                "tested there, with more data of this kind neither."
            )
    rest = len(heads) - for_null - for_effect
    return (
        f"{text} Bayes factors above 3 favour a {effect.name} in {plural(for_effect, 'head')}, "
        f"below 1/3 its absence in {for_null}; {rest} {'says' if rest == 1 else 'say'} little either way."
    )


def axis_clause(scene: Scene) -> str:
    """Say on what axis the counts of figures stand where queries see different numbers of keys; empty where not."""
    if scene.visible_keys is not None:
        return ""
    spread = scene.spread
    fewest, most = int(spread.fewest[scene.of_site].min()), int(spread.most[scene.of_site].max())
    longest = scene.result.outlying
    by = f" {longest.identifiers[0]} alone has {longest.lengths[0]} tokens." if longest else ""
    return f" Queries see {fewest} to {most} keys, so that each count is a share of the keys that its query sees.{by}"


def without_tokens(scene: Scene) -> str:
    """Say that a run kept no values of tokens; empty where it did."""
    return "" if scene.result.spread is not None else "the values of tokens were not kept (`--keep means`)"


def _of_count(scene: Scene) -> str:
    measure = scene.measure.name
    return "" if measure == "count" else f" (at {scene.threshold}; not of the {measure}, which this report tests)"


def modes(scene: Scene) -> str:
    """Say what operating modes are, of which keys, and how many heads change theirs."""
    if scene.result.spread is None:
        return (
            "This run kept the means of sequences alone (`--keep means`), and no values of tokens. So the report has "
            "no operating modes, no founding figure and no mixed model of tokens, the browser draws no distributions, "
            "and medians are over units; a run with `--keep tokens` has them all."
        )
    (modes_a, modes_b), spread = scene.modes, scene.result.spread
    fewest, usual, most = int(spread.fewest.min()), float(np.median(spread.usual)), int(spread.most.max())
    seen = (
        f"Every query sees *N* = {most} keys."
        if fewest == most
        else f"Queries see between {fewest} and {most} keys, usually {usual:g}, so a head's mode is that of the median "
        "of *k*/*N* over its tokens, each with its own *N*: a few long texts do not change it."
    )
    # a count is at least 1: of fewer keys than that no head can be in class IV
    unseen = (
        " With so few keys no head can be in class IV, since *k* is at least 1; the paper read 512 tokens, as the "
        "study `running_text` does."
        if usual < 1 / MODES[0].high
        else ""
    )
    return (
        f"A head's operating mode is its class by the median of its count *k*{_of_count(scene)} over the *N* keys that "
        "a query sees (Ramsauer et al., 2021, figure 2): I above *N*/2, II above *N*/8, III above *N*/32, IV below. "
        f"{seen}{unseen} {format_share(count_mode_changes(modes_a, modes_b), len(modes_a))} heads change their mode "
        f"between {scene.sides.both}. No test stands behind these changes: modes are coarse, so that one may stay "
        "where a mean moves, and a median near a border may cross it by chance. [modes.csv](modes.csv) has every head."
    )


def violins(scene: Scene) -> str:
    """Say what the founding figure shows and how many heads change the band of their median."""
    if scene.result.spread is None:
        return ""
    bands_a, bands_b = scene.bands
    return (
        f"The distribution of the count{_of_count(scene)} over all query tokens, head by head, as in the founding "
        "experiment. The number in each cell is the median; the colour is the founding experiment's band of it, cut at "
        "4, 8, 12 and 16 of 20 keys, which is not the paper's class. "
        f"{format_share(int((bands_a != bands_b).sum()), len(bands_a))} heads change their band between "
        f"{scene.sides.both}; no test stands behind that either."
    )


def lengths_warning(scene: Scene) -> str:
    """Name the sequences that are far longer than the others, and say what they do to the effects, without Markdown.

    Empty where no sequence is.
    """
    found, measure, unit = scene.result.outlying, scene.measure, scene.contrast.unit
    if found is None:
        return ""
    named = [
        f"{name} ({length} tokens)"
        for name, length in list(zip(found.identifiers, found.lengths, strict=True))[:_MOST_NAMED]
    ]
    n, more = len(found.lengths), len(found.lengths) - len(named)
    named += [f"{more} more"] if more else []
    text = (
        f"{'One sequence is' if n == 1 else f'{n} sequences are'} far longer than the others: {listed(named)}, where "
        f"the other sequences have {found.shortest:g} to {found.longest:g} tokens (median {found.typical:g})."
    )
    # a share of the attention does not grow with the length
    if not measure.unit:
        return text
    its, widens = ("it", "widens") if n == 1 else ("them", "widen")
    left_out = its if unit == "sequence" else f"{'its' if n == 1 else 'their'} {plural(found.n_units, unit)}"
    grows = (
        f"The {measure.name} grows with the number of keys, so {'it' if n == 1 else 'they'} alone {widens} the spread "
        "within a condition, by which effects are standardized"
    )
    if np.isfinite(found.size_without):
        grows += (
            f": the median |{scene.effect.symbol}| is {format_g(scene.median_size, sign=False)} with {its} and "
            f"{format_g(found.size_without, sign=False)} without {left_out}"
        )
    return (
        f"{text} {grows}. With --measure share each count is divided by the number of keys that its query sees, so "
        "that long and short texts compare."
    )


def thresholds_sentence(scene: Scene) -> str:
    """Say how the result moves along the thresholds."""
    heads, effect = scene.at_every_threshold, scene.effect
    parts = [
        f"{int((rows['p_perm_fdr'] < scene.alpha).sum())} at {threshold:g}"
        for threshold, rows in heads.groupby("threshold", sort=True)
    ]
    ordered = heads.sort_values(["site", "layer", "head"], kind="stable")
    sizes = [rows[effect.size].to_numpy() for _, rows in ordered.groupby("threshold", sort=True)]
    text = f"The number of heads that {effect.verb}: {listed(parts)}."
    if len(sizes[0]) < _LEAST_TO_CORRELATE or any(np.ptp(one) == 0 for one in sizes):
        return text
    low = float(np.corrcoef(sizes)[np.triu_indices(len(sizes), 1)].min())
    return (
        f"{text} The maps of *{effect.symbol}* correlate by *r* = {format_r(low)} or more between any two thresholds."
    )


def methods_paragraph(scene: Scene) -> str:
    """Write the methods as a journal wants them."""
    record, options = scene.result.record, scene.options
    clauses = words_of(scene.effect).methods(scene)
    correction = CORRECTIONS[options.correction]
    return (
        f"We presented {clauses.presented} to {model_clause(record)}.{ratings_clause(record)} "
        f"{measured_clause(options)} {clauses.observation} {clauses.tested}; all heads shared the "
        f"{'rotations' if scene.analysis.over_contexts else 'relabelings'}, so that the maximum over heads gave "
        "family-wise *p*-values (Westfall & Young, 1993) and sums of squares over heads gave one omnibus *p* per layer "
        f"and for the model.{clauses.estimates}{mixed_clause(scene.mixed_model)}{contexts_mixed(scene)} The "
        f"{correction.rate} was held at {format_level(scene.alpha)} over the heads of a site by the method of "
        f"{correction.called}. {clauses.sizes} The seed of all random choices was {options.seed}; the analysis was run "
        f"with metastable {record.packages['metastable']}."
    )


def limitations(scene: Scene) -> list[str]:
    """Return what the design cannot show."""
    caveat, measure = scene.result.study.caveat, scene.measure
    texts = [f"{caveat[0].upper()}{caveat[1:]}"] if caveat else []
    if measure.wider:
        texts.append(
            f"The {measure.name} describes how widely a head spreads its attention, "
            "not what it attends to, and not whether the model uses it."
        )
    else:
        texts.append(f"The {measure.name} describes where a head's attention lies, not whether the model uses it.")
    texts.append(
        f"The result holds for this model, these texts and {scene.contrast.unit}s made in this way; "
        + (
            "another draw of words gives others; another shuffle of the same words (another seed) moves it the less "
            f"the more packings are averaged, here {scene.packings}. Words stood among words of their own condition "
            "alone: that is part of what is compared."
            if scene.packings > 1
            else "another draw or shuffle (another seed) gives others."
        )
    )
    if len(scene.heads) > 1:
        texts.append(
            f"The heads that are named were chosen as the largest of {len(scene.heads)}: another sample would on "
            "average give them smaller effects, and an interval of one head by itself does not allow for that choice."
        )
    special = scene.has_special_tokens
    if special and measure.wider and scene.options.queries == "all" and scene.packings == 1:
        texts.append("Special tokens query like any other: their rows are among those averaged.")
    if measure.wider and scene.options.keys == "all" and not measure_named(scene.options.measure).without_sinks:
        rests = (
            "Special tokens are keys like any other: how much a row rests on them"
            if special
            else "The first token is a key like any other: how much a row rests on it"
        )
        texts.append(f"{rests} moves its {measure.name}, as does how it spreads over the words.")
    if scene.held:
        texts.append(
            f"Adjusting for {listed(scene.held_names)} assumes that they act linearly and were measured without error."
        )
    dtype = number_type(scene.result.record)
    if dtype != "float32":
        texts.append(
            f"The model computed in {dtype}, and only its softmax in float32, so that rounding moves some counts."
        )
    if not scene.analysis.exact:
        drawn = "P-values of rotations" if scene.analysis.over_contexts else "Permutation p-values"
        texts.append(f"{drawn} are drawn at random; near α they would move with another seed.")
    return [*texts, *words_of(scene.effect).limitations(scene)]
