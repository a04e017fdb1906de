"""What a calibration's report says in sentences: how often the tests err, and how often they find."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metastable.heads.calibration_result import CalibrationResult, Repacked
from metastable.report.apa import format_level
from metastable.stats.permutations.resolution import resolution
from metastable.stats.simulation.context_splits import VARIES
from metastable.stats.simulation.halves import divide

__all__ = ["beyond", "division", "limitations", "reading", "verdict"]


def verdict(result: CalibrationResult) -> str:
    """Say whether every test and correction keeps the level that it promises, and which do not."""
    level = format_level(result.record.options.alpha)
    kept: list[str] = []
    broken: list[str] = []
    promised = result.table[result.table["nominal"].notna()]
    for row in promised.to_dict("records"):
        correction = "" if row["correction"] == "none" else f", {row['correction']}"
        name = f"{row['test']}{correction} ({row['measure'].replace('_', ' ')}, {row['scenario']})"
        (broken if row["low"] > row["nominal"] else kept).append(name)
    if not broken:
        where = (
            "On random halves, whose units are exchangeable,"
            if result.repacked is None
            else "Where words are drawn at random into two lists, packed and read anew,"
        )
        return (
            f"{where} no test or correction goes beyond the level that it "
            f"promises (α = {level}): of {len(kept)} rates none lies above its nominal level by more than its Monte "
            "Carlo interval. What unequal variances or groups do to them is not tried here."
        )
    n = len(kept) + len(broken)
    lie, their = ("lies", "its") if len(broken) == 1 else ("lie", "their")
    return (
        f"Of {n} promised rates {len(broken)} {lie} above the nominal level α = {level} "
        f"by more than {their} Monte Carlo interval: {'; '.join(broken)}. "
        "Where every promise is kept to the point, chance alone takes one rate in forty there, "
        f"and rates of the same {_times(result)} go together; more of them (`--splits`) tell chance from a broken "
        "promise."
    )


def division(result: CalibrationResult) -> str:
    """Say what was divided, how often, and what was planted."""
    options = result.record.options
    if result.repacked is not None:
        return _drawn(result, result.repacked)
    return (
        f"{_divided(result)}, so that nothing differs between the halves, "
        f"and every test was run with {options.permutations:,} relabelings; "
        f"then once more with a shift of {options.shift:g} standard deviations "
        f"planted in {100 * options.share:g}% of the heads of each site. "
        "No model was run again. A rate is followed by its 95% Monte Carlo interval over splits."
    )


def _times(result: CalibrationResult) -> str:
    return "splits" if result.repacked is None else "draws"


def _drawn(result: CalibrationResult, drawn: Repacked) -> str:
    """Say what was drawn, packed and read, how often, and what was tested."""
    options = result.record.options
    name = result.study.conditions[0 if options.side == "a" else 1].name
    source = (
        f"The words of {drawn.n_words:,} matched pairs were dealt out at random, one of each pair to either list"
        if drawn.paired
        else f"The words of the condition *{name}* were dealt out at random into two lists of {drawn.n_words:,}"
    )
    n_a, n_b = drawn.n_sequences
    several = drawn.packings > 1
    packed = (
        f"packed anew in {drawn.packings} random packings (in the first draw {n_a:,} and {n_b:,} sequences each)"
        if several
        else f"packed anew in random order (in the first draw into {n_a:,} and {n_b:,} sequences)"
    )
    tested = (
        "*Sequences* are those of the first packing, tested as a run of one packing tests them; *words* are tested by "
        "their means over all packings, as a run with `--packings` tests them. "
        if several
        else ""
    )
    return (
        f"{source}, {packed}, and read by the model, {drawn.n_draws:,} times: nothing differs between the lists but "
        "the draw, so that every head called different is a false call of the whole instrument, packing and shuffle "
        f"included. {tested}Every test was run with {options.permutations:,} relabelings. "
        "A rate is followed by its 95% Monte Carlo interval over draws."
    )


def _divided(result: CalibrationResult) -> str:
    contrast, options = result.contrast, result.record.options
    name = (contrast.a if options.side == "a" else contrast.b).name
    times = f"{options.splits} times"
    if contrast.pair is not None:
        return (
            f"The {result.n_units} units of the condition *{name}* were joined in pairs at random {times}, "
            "one of each pair in either half"
        )
    kind = "units" if contrast.unit == "unit" else f"{contrast.unit}s"
    return f"The {result.n_units} {kind} of the condition *{name}* were divided at random {times}"


def beyond(result: CalibrationResult) -> str:
    """Say what else is tried, each where it is false."""
    margin = result.record.options.margin
    return (
        "What else a report says was tried on the same halves, each where it is false, without correction: "
        f"*equivalence* with one half shifted by {margin:g} standard deviations, to the margin's boundary; the "
        "difference beside a *covariate* that lies one standard deviation higher in one half and moves every head by "
        "half a one; the *slope* of a predictor drawn at random, and the same beside a covariate that goes along with "
        f"it and moves every head{_over_contexts(result)}. Each should be α or less."
    )


def _over_contexts(result: CalibrationResult) -> str:
    """Go on with the tests over items and contexts, where they were tried."""
    crossing = result.contrast.crossing
    if crossing is None or not (result.table["test"] == "contexts").any():
        return ""
    return (
        f"; and the tests over {crossing.item_name}s and *contexts* of a difference that is drawn anew for each "
        f"{crossing.context_name}, with a standard deviation of {VARIES:g} and a mean of zero over all that might have "
        "been drawn, also beside a covariate as above"
    )


def reading(result: CalibrationResult) -> str:
    """Say how the rates are to be read."""
    if result.repacked is not None:
        return (
            "The *false positive rate* should be α. *Family-wise error* is the share of draws in which any head is "
            "called although none differs; every correction promises α for it where nothing differs at all. Of the "
            "omnibus tests these are shares of layers, sites (families) or the whole model, each tested as one."
        )
    return (
        "Without correction the *false positive rate* should be α. "
        "*Family-wise error* is the share of splits in which any head is called although none differs; "
        "Holm and max-T promise α, and so does a false discovery rate correction where nothing differs at all. "
        "The *false discovery rate* is the mean share of false calls among the calls. "
        "*Power* is the share of the planted shifts that are found; "
        "compare it between corrections that keep their promise. "
        "Of the omnibus tests these are shares of layers, sites (families) or the whole model, each tested as one; "
        "a layer with a planted head is one to find. "
        "*Layers-first* tests the heads of the layers that their omnibus test rejects; "
        "it bounds the false discovery rate within each step, not over all heads together."
    )


def limitations(result: CalibrationResult) -> list[str]:
    """Return what the rates do not show."""
    options, drawn = result.record.options, result.repacked
    if drawn is not None:
        return [
            "The pool is the study's own words: the rates are over ways to deal them out, and those of other words may "
            "be others. Both lists have the same variances, and the study's mixed models and covariates are left out.",
            *_too_few_relabelings(result),
        ]
    texts = [
        "Both halves come from one condition and have the same variances: "
        "how a test fares where the conditions differ in variance and not in mean is not seen here."
    ]
    if result.contrast.predictor is not None:
        texts.append(
            "The study itself tests a slope over its own predictor; what is tested here is the difference of two "
            "halves and the slope of a random one."
        )
    if options.covariates:
        texts.append(
            "The covariates that the study adjusts for are left out here; halves have them alike on average, and the "
            "covariate that is tried is a made-up one."
        )
    if options.keep == "means" and not (result.table["test"] == "mixed").any():
        texts.append(
            "The run kept the means of sequences alone (`--keep means`), so that no mixed model of tokens is tried."
        )
    return [*texts, *_too_few_relabelings(result)]


def _compared(result: CalibrationResult) -> tuple[NDArray[np.bool_], bool]:
    """Return which of the units that are compared are on the first side, and whether they are partners."""
    repacked = result.repacked
    if repacked is not None:
        n_a, n_b = repacked.n_sequences
        return np.arange(n_a + n_b) < n_a, repacked.paired
    paired = result.contrast.pair is not None
    return divide(result.n_units, paired, np.random.default_rng(0)).condition, paired


def _too_few_relabelings(result: CalibrationResult) -> list[str]:
    """Say so where no single head can pass a correction, and whether more relabelings would do."""
    options = result.record.options
    side, paired = _compared(result)
    drawn, all_there_are = (resolution(side, paired=paired, n_permutations=n) for n in (options.permutations, None))
    if drawn.p * result.n_heads < options.alpha:
        return []
    too_large = (
        f"no permutation p is below {drawn.p:.2g}, which is too large for a single head to pass BH or Holm over "
        f"{result.n_heads} heads: their power is understated."
    )
    if all_there_are.p * result.n_heads < options.alpha:
        enough = int(result.n_heads / options.alpha)
        return [
            f"With {options.permutations:,} relabelings {too_large} More than {enough:,} relabelings "
            "(`--permutations`) would do."
        ]
    n_a, n_b = int(side.sum()), int((~side).sum())
    units = f"{n_a} pairs" if paired else f"{n_a} and {n_b} units"
    return [
        f"The {units} that are compared here can be relabelled in {drawn.n_relabelings:,} ways, so that {too_large} "
        "The study itself compares about twice as many; here only more of them would do."
    ]
