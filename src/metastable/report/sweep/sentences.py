"""What a sweep's report says in sentences."""

from __future__ import annotations

import numpy as np

from metastable.heads.record import VerdictRecord
from metastable.heads.sweep_axes import Axis, level_text, setting_text
from metastable.heads.sweep_result import SweepResult
from metastable.heads.sweep_tables import KIND_AXES, map_correlations
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_level, format_p, format_share, listed, p_phrase, plural
from metastable.stats.balance import BALANCE_LINE
from metastable.stats.corrections import CORRECTIONS
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE, VERDICTS
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = [
    "along",
    "combinations",
    "corrections",
    "files",
    "heads",
    "limitations",
    "methods",
    "reuse",
    "settings",
    "symbol",
    "verdict",
    "verdict_record",
    "warnings",
]

# Sizes that differ by less than this factor along an axis are the same for practical purposes.
_WORTH_TELLING = 1.1


def symbol(result: SweepResult) -> str:
    """Return the letter of the effect: g of two conditions, d of a slope."""
    return result.effect.symbol


def _compared(result: SweepResult) -> str:
    contrast = result.contrast
    if contrast.predictor is not None:
        return f"a change with the {COVARIATE_NAMES.get(contrast.formula, contrast.formula)}"
    return f"a difference between {contrast.a.name} and {contrast.b.name} sequences"


def _all_settings(result: SweepResult) -> str:
    """Name the settings that a head is followed over."""
    kinds = listed([axis.title for axis in result.axes if axis.name in KIND_AXES])
    return f"all settings of its own {kinds}" if kinds else "all settings"


def verdict(result: SweepResult) -> list[str]:
    """Say in two sentences how stable the result is over the sweep."""
    settings, table, options = result.settings, result.stability, result.record.options
    alpha, letter, n = options.alpha, symbol(result), len(settings)
    found = int((settings["omnibus_p_holm"] < alpha).sum())
    sizes = settings[f"median_abs_{letter}"]
    largest_p = float(settings["omnibus_p_holm"].max())
    same, always = int(table["same_sign"].sum()), int((table["n_different"] == table["n_settings"]).sum())
    tests = int((result.heads["verdict"].isin([DIFFERENT, NEGLIGIBLE])).sum())
    share = f"all {n}" if found == n else f"{found or 'none'} of the {n}"
    axes = listed([axis.title for axis in result.axes])
    every = _all_settings(result)
    # no bars for absolute values: the sentence also stands in a table
    return [
        f"The omnibus test finds {_compared(result)} in {share} settings of {axes} (permutation p after Holm's "
        f"correction over the settings, the largest {p_phrase(largest_p, 'p')}; α = {format_level(alpha)}), and the "
        f"median absolute {letter} over heads runs from {sizes.min():.2f} to {sizes.max():.2f}.",
        f"The effect keeps its sign over {every} in {format_share(same, len(table))} heads, and "
        f"{format_share(always, len(table))} are different in all of them: at a false discovery rate of "
        f"{format_level(alpha)} over the whole sweep, {tests:,} of {len(result.heads):,} tests are significant.",
    ]


def verdict_record(result: SweepResult) -> VerdictRecord:
    """Return the verdict for programs: a word, a sentence, and the verdicts counted over all settings and heads."""
    alpha = result.record.options.alpha
    found = result.settings["omnibus_p_holm"] < alpha
    counts = result.heads["verdict"].value_counts()
    return VerdictRecord(
        word="different" if found.all() else "mixed" if found.any() else "undecided",
        sentence=verdict(result)[0],
        **{name: int(counts.get(name, 0)) for name in VERDICTS},
    )


def warnings(result: SweepResult) -> list[str]:
    """Return what a reader must know before believing the verdict."""
    return [text for text in (_imbalance(result), result.study.caveat) if text]


def combinations(result: SweepResult) -> str:
    """Say how many settings there are, and how often attention was counted for them."""
    n_cubes = len({run.counts for run in result.record.runs})
    measures = [call_measure(name) for name in result.heads["measure"].unique()]
    chosen = any(axis.name == "measure" for axis in result.axes)
    by_model = "" if len(measures) == 1 or chosen else ", as each model shows what it takes"
    return (
        f"Compared {'is' if len(measures) == 1 else 'are'} the {listed(measures)} of each attention row{by_model}. "
        f"All combinations make {plural(len(result.settings), 'setting')}, from "
        f"{plural(n_cubes, 'extraction')} of attention counts; thresholds and measures share one."
    )


def settings(result: SweepResult) -> str:
    """Say how to read the table of settings."""
    return (
        f"*a* is {result.contrast.a.name}, *b* {result.contrast.b.name}. "
        "Heads are counted by their verdict after correction over the whole sweep. "
        "The imbalance is the covariate with the largest standardized mean difference between the conditions."
    )


def files() -> str:
    """Say what lies beside the report."""
    return (
        "Beside this report: [settings.csv](settings.csv) (one row per setting), "
        "[heads.csv](heads.csv) (one row per setting and head, with the axes; also as parquet), "
        "[stability.csv](stability.csv) (one row per head over all settings) "
        "and [run.json](run.json) (the whole recipe, with the notes of every setting). "
        "Every figure is under [figures/](figures/) as svg and png. "
        "The counts (`cubes/`) and the finished results (`finished/`) are kept for the next run and not kept in git."
    )


def _imbalance(result: SweepResult) -> str:
    """Say in how many settings a covariate differs by more than chance gives; empty if in none."""
    settings = result.settings.dropna(subset=["worst_smd"])
    settings = settings[settings["n_unbalanced"].astype(int) > 0]
    if settings.empty or result.contrast.predictor is not None:
        return ""
    worst = settings.iloc[int(settings["worst_smd"].astype(float).abs().to_numpy().argmax())]
    name = COVARIATE_NAMES.get(worst["worst_covariate"], worst["worst_covariate"])
    place = setting_text({axis.name: worst[axis.name] for axis in result.axes})
    return (
        f"the conditions are not alike: in {len(settings)} of {len(result.settings)} settings a covariate differs by "
        f"{BALANCE_LINE:g} standard deviations or more, and more than chance gives, at most {name} at {place} "
        f"({format_g(float(worst['worst_smd']))})."
    )


def along(result: SweepResult, axis: Axis) -> str:
    """Say how the result moves along an axis, and what else moves with it."""
    settings, letter = result.settings, symbol(result)
    texts = settings[axis.name].map(level_text)
    groups = [settings[texts == level_text(value)] for value in axis.levels]
    sizes = [float(group[f"median_abs_{letter}"].median()) for group in groups]
    least, most = int(np.argmin(sizes)), int(np.argmax(sizes))
    text = (
        f"The median |*{letter}*| is least at {axis.title} = {level_text(axis.levels[least])} ({sizes[least]:.2f}) and "
        f"largest at {level_text(axis.levels[most])} ({sizes[most]:.2f})."
    )
    units = [float((group["n_a"] + group["n_b"]).mean()) for group in groups]
    if max(units) > _WORTH_TELLING * min(units):
        text += (
            f" The number of {result.contrast.unit}s differs along this axis (on average {min(units):,.0f} to "
            f"{max(units):,.0f}), and with it the power: compare |*{letter}*| rather than how many heads are "
            "significant."
        )
    tokens = [float(group["tokens_per_sequence"].mean()) for group in groups]
    if max(tokens) > _WORTH_TELLING * min(tokens):
        text += (
            f" Sequences have {min(tokens):.0f} to {max(tokens):.0f} tokens on average. A mean over more tokens varies "
            f"less, and *{letter}* is measured in units of that variation, while a count can differ by more where "
            f"there are more tokens: neither a larger *{letter}* nor a larger difference is by itself a stronger "
            "effect on a token."
        )
    if axis.name == "model":
        text += (
            " Heads of two models are not the same heads: layers, shares and sizes can be compared, single heads not."
        )
    return text


def heads(result: SweepResult, n_shown: int) -> str:
    """Say which heads stay, and how alike the maps of effects are."""
    table, letter = result.stability, symbol(result)
    always = int((table["n_different"] == table["n_settings"]).sum())
    most = int((2 * table["n_different"] > table["n_settings"]).sum())
    ever = int((table["n_different"] > 0).sum())
    text = (
        f"{format_share(always, len(table))} heads are different in {_all_settings(result)}, {most} in most, {ever} in "
        f"at least one, and {int((table['n_equivalent'] == table['n_settings']).sum())} are equivalent in all."
    )
    found = map_correlations(result.heads)
    if len(found):
        text += (
            f" The maps of *{letter}* of two settings correlate at *r* = {format_g(float(found.min()), sign=False)} to "
            f"{format_g(float(found.max()), sign=False)} (median {format_g(float(np.median(found)), sign=False)})."
        )
    if n_shown:
        text += f" The {plural(n_shown, 'head')} that are different most often, the largest median |*{letter}*| first:"
    return text


def corrections(result: SweepResult) -> list[str]:
    """Say what is corrected for, how, and what it means that settings share words."""
    options, settings = result.record.options, result.settings
    alpha, n_tests, n = options.alpha, len(result.heads), len(settings)
    alone, together = int(settings["n_different_setting"].sum()), int(settings["n_different"].sum())
    correction = CORRECTIONS[options.correction]
    harmonic = float(np.sum(1 / np.arange(1, n_tests + 1)))
    dependence = {
        "positive": "This correction is proved for tests that are independent or positively dependent, as the tests "
        "of one head over overlapping words are; that it also holds for two-sided tests of heads that go against each "
        "other is known from simulations, not from a proof. `--correction by` (Benjamini & Yekutieli, 2001) holds "
        f"under any dependence, at the price of p-values {harmonic:.1f} times as large here.",
        "any": f"This correction holds under any dependence between the tests"
        f"{correction.price.format(harmonic=harmonic)}.",
        "independent": "This correction is proved for independent tests, which the settings of one study are not; "
        "`--correction by` holds under any dependence.",
    }[correction.dependence]
    return [
        f"**Heads.** The {n_tests:,} tests of {n} settings are one family, corrected by the method of "
        f"{correction.called}. A discovery is one head in one setting; a false discovery rate of {format_level(alpha)} "
        f"means that of all discoveries of the sweep at most {100 * alpha:g}% are expected to be false, not of each "
        "setting's. Settings with much to find make the bar lower for the others, so a head found in one setting alone "
        f"is weak evidence. Corrected one by one, the settings would call {alone:,} heads different; together they "
        f"call {together:,}.",
        f"**Settings.** Whether a setting shows any difference is decided before its heads by one omnibus permutation "
        f"test each. Holm's correction over the {n} settings holds the chance of even one false alarm in the whole "
        f"sweep at {format_level(alpha)}, under any dependence.",
        f"**Dependence.** The settings of one study share words, and those that differ in the threshold alone read the "
        f"very same attention. They are not independent replications: a difference that chance gave these words would "
        f"show in many settings at once, and {n} settings that agree are not {n} confirmations. {dependence}",
    ]


def methods(result: SweepResult) -> str:
    """Write the methods of the sweep as a journal wants them."""
    record, contrast, settings = result.record, result.contrast, result.settings
    options = record.options
    correction = CORRECTIONS[options.correction]
    varied = "; ".join(f"{axis.title}: {', '.join(map(level_text, axis.levels))}" for axis in result.axes)
    test = (
        "the paired t statistic, by flipping the signs of the pair differences"
        if contrast.pair is not None
        else "the slope over its HC3 standard error, by flipping the signs of the residuals of the model without it"
        if contrast.predictor is not None
        else f"Welch's t statistic (Welch, 1947), by exchanging the labels of whole {contrast.unit}s"
    )
    used = settings["n_permutations"]
    number = f"{used.min():,}" if used.min() == used.max() else f"{used.min():,} to {used.max():,}"
    effect = "Hedges' g (Hedges, 1981)" if contrast.predictor is None else "d of the partial correlation"
    models = listed([f"{model.id} (weights SHA-256 {model.weights_sha256[:12]}…)" for model in record.models])
    return (
        f"We repeated the comparison of {contrast.a.name} and {contrast.b.name} sequences at all {len(settings)} "
        f"combinations of {varied}, with {models}; transformers {record.packages['transformers']}, torch "
        f"{record.packages['torch']}. In each setting the mean of each {contrast.unit} was the unit of analysis, "
        f"and every head was tested two-sidedly by a permutation test on {test}, with {number} relabelings shared by "
        f"all heads, p = (b + 1) / (m + 1) where they were drawn (Phipson & Smyth, 2010). The sum of squared "
        f"statistics over all heads gave one omnibus p per setting, corrected by Holm's (1979) method. The "
        f"{correction.rate} was held at {format_level(options.alpha)} over all heads of all settings by the method "
        f"of {correction.called}. We report {effect} and two one-sided tests against ±"
        f"{options.margin:g} (Lakens, 2017), corrected over the whole sweep by the method of Benjamini and Hochberg "
        "(1995)."
    )


def reuse(result: SweepResult) -> str:
    """Say what of this sweep was there before it was run."""
    n = len(result.record.runs)
    again = "Typed again, it reuses the counts and the finished settings, and a longer list computes only what is new."
    if not result.n_reused:
        return again
    had = f"{result.n_reused} of {plural(n, 'run')} had been finished before with the same recipe and were reused."
    return f"{had} {again}"


def limitations(result: SweepResult) -> list[str]:
    """Return what a sweep cannot show."""
    settings, alpha = result.settings, result.record.options.alpha
    texts = [result.study.caveat] if result.study.caveat else []
    texts += [
        "A sweep shows how far one study's answer hangs on its options. It is no replication: the settings share "
        "words, model or both, and what is wrong with the study is wrong in all of them.",
        "Whoever picks the setting with the clearest result after seeing all of them has used up its p-value; the "
        "numbers above are corrected for all settings, a single setting's report is not.",
        "The count describes how widely a head spreads its attention, not what it attends to, and not whether the "
        "model uses it.",
    ]
    floor = len(settings) / settings["n_permutations"].min()
    if floor > alpha:
        texts.append(
            f"With {settings['n_permutations'].min():,} relabelings the least p after Holm's correction over "
            f"{len(settings)} settings is about {format_p(min(1.0, floor))}, above α = {format_level(alpha)}: no "
            "omnibus test could find a difference. Give more --permutations."
        )
    if not settings["exact"].all():
        texts.append("Permutation p-values are drawn at random; near α they would move with another seed.")
    return texts
