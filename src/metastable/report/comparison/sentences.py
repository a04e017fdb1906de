"""Sentences of a comparison of two reports."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metastable.heads.compared_heads import Comparison, effect_kind, measured_of_a_row, one_scale
from metastable.heads.depth import depth_thirds
from metastable.heads.finished_report import FinishedReport
from metastable.heads.record import ComparisonVerdict
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_level, format_p, format_r, format_share, p_phrase, plural
from metastable.stats.agreement import MapAgreement, noise_share
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = [
    "agreement",
    "compared_in",
    "expected_same_sign",
    "files",
    "heads",
    "layers",
    "limitations",
    "measures",
    "methods",
    "not_held",
    "overlap",
    "reading",
    "shares",
    "verdict",
    "verdict_record",
    "warnings",
    "worst_covariate",
]

# Below this many a correlation of 0.5 is not significant at 0.05 (by Fisher's z, 16).
_FEW_LAYERS = 16


def _p(p: float) -> str:
    text = format_p(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _median(values: pd.Series) -> str:
    return f"{values.abs().median():.2f}"


def worst_covariate(balance: pd.DataFrame) -> str:
    """Name the covariate on which the sides of a report differ most, with its standardized difference."""
    if balance.empty:
        return "none recorded"
    row = balance.iloc[int(balance["smd"].abs().to_numpy().argmax())]
    name = COVARIATE_NAMES.get(str(row["covariate"]), str(row["covariate"]))
    return f"{name}, {format_g(float(row['smd']))}"


def not_held(report: FinishedReport) -> pd.DataFrame | None:
    """Rows of the balance table for the covariates that the tests do not hold fixed; None if there are none."""
    if report.balance.empty:
        return None
    free: pd.DataFrame = report.balance[~report.balance["covariate"].isin(report.record.options.covariates)]
    return None if free.empty else free


# Two maps that correlate by so much share half of their variance.
_LARGELY = 0.7


def expected_same_sign(table: pd.DataFrame) -> float:
    """Heads that would have the same sign if the signs of both maps were dealt out at random."""
    known = table[np.isfinite(table["size_first"]) & np.isfinite(table["size_second"])]
    x, y = (np.sign(known[f"size_{side}"]) for side in ("first", "second"))
    n = max(len(known), 1)
    return float(((x > 0).sum() * (y > 0).sum() + (x < 0).sum() * (y < 0).sum()) / n)


def _agreement_opening(first: str, second: str, agreed: MapAgreement, alpha: float) -> str:
    whole, within = agreed.p < alpha, agreed.p_within < alpha
    if (whole and agreed.r < 0) or (within and agreed.r_within < 0):
        return f"Where the effect in {first} is larger, that in {second} tends to be smaller"
    if within and agreed.r_within >= _LARGELY:
        return f"Largely the same heads stand out in {first} and in {second}"
    if within:
        return f"In part, and within layers too, the effect maps of {first} and {second} agree"
    if whole:
        return f"In part, but not demonstrably within layers, the effect maps of {first} and {second} agree"
    return f"No agreement between the effect maps of {first} and {second} was shown"


def _correlations(agreed: MapAgreement) -> str:
    within = (
        f"; within layers r = {format_r(agreed.r_within)}, {_p(agreed.p_within)}"
        if np.isfinite(agreed.r_within)
        else ""
    )
    return f"r = {format_r(agreed.r)} over {plural(agreed.n, 'head')}, permutation {_p(agreed.p)}{within}"


def _one_model(found: Comparison) -> list[str]:
    (first, second), table, alpha = found.names, found.primary, found.alpha
    agreed = found.agreement.get(found.thresholds[0])
    if agreed is None or not np.isfinite(agreed.r):
        opening = f"The effect maps of {first} and {second} cannot be correlated: too few heads have effects that vary"
    else:
        opening = (
            f"{_agreement_opening(first, second, agreed, alpha)} {compared_in(found)} ({_correlations(agreed)}); the "
            f"sign agrees in {agreed.same_sign} of them"
        )
    both = table[table["significant"] == "both"]
    counts = table["significant"].value_counts()
    differ = int((table["p_difference_fdr"] < alpha).sum())
    known = table[np.isfinite(table["size_difference"])]
    largest = ""
    if len(known):
        row = known.iloc[int(known["size_difference"].abs().to_numpy().argmax())]
        largest = (
            f", the most in layer {row['layer']}, head {row['head']} ({format_g(row['size_first'])} against "
            f"{format_g(row['size_second'])})"
        )
    return [
        f"{opening}.",
        f"At a false discovery rate of {format_level(alpha)}, {len(both)} of {plural(len(table), 'head')} are "
        f"different in both ({int(both['same_sign'].sum())} with the same sign), {int(counts.get('first', 0))} only in "
        f"{first}, {int(counts.get('second', 0))} only in {second} and {int(counts.get('neither', 0))} in neither; the "
        f"median size of the effect is {_median(table['size_first'])} in {first} and "
        f"{_median(table['size_second'])} in {second}, and the two effects of a head differ in {differ}{largest}.",
    ]


def _side(report: FinishedReport, threshold: float, alpha: float) -> tuple[pd.DataFrame, str]:
    rows = report.heads[np.isclose(report.heads["threshold"], threshold)]
    return rows, format_share(int((rows["p_perm_fdr"] < alpha).sum()), len(rows))


def _two_models(found: Comparison) -> list[str]:
    (first, second), threshold, alpha = found.names, found.thresholds[0], found.alpha
    (x, in_x), (y, in_y) = (_side(report, threshold, alpha) for report in (found.first, found.second))
    numbers = (
        f"at a false discovery rate of {format_level(alpha)}, {in_x} heads are different in {first} and {in_y} in "
        f"{second}, and the median size of the effect is {_median(x['size'])} and {_median(y['size'])}"
    )
    agreed = found.agreement.get(threshold)
    if found.relation == "other weights":
        profile = found.size_profile
        layers = (
            f"; the layers' mean sizes of the effect correlate at r = {format_r(profile.r)} over "
            f"{plural(profile.n, 'layer')} (permutation {_p(profile.p)})"
            if profile is not None and np.isfinite(profile.r)
            else ""
        )
        heads = (
            f"; paired by their numbers nevertheless, their effects correlate at {_correlations(agreed)}"
            if agreed is not None and np.isfinite(agreed.r)
            else ""
        )
        return [
            f"The models have the same shape but other weights: {numbers}{layers}.",
            f"Head 1 of one is not head 1 of the other unless one was trained further from the other{heads}.",
        ]
    largest = [_largest_third(found, name) for name in found.names]
    return [
        f"The models have other shapes, so no head of one is a head of the other: {numbers}.",
        f"The size of the effect is largest in the {largest[0]} third of the layers in {first} and in the {largest[1]} "
        f"third in {second}.",
    ]


def verdict(found: Comparison) -> list[str]:
    """Say in two sentences whether the reports agree and where they differ."""
    return _one_model(found) if found.relation == "same heads" else _two_models(found)


def _largest_third(found: Comparison, name: str) -> str:
    table = depth_thirds(found.effects)
    mine = table[table["series"] == name]
    return str(mine.iloc[int(mine["mean_abs"].to_numpy().argmax())]["third"])


def _conditions_warning(found: Comparison) -> str:
    (first, second), (x, y) = found.names, (report.record.contrast for report in (found.first, found.second))
    if (x.a, x.b) == (y.a, y.b):
        return ""
    if (x.a, x.b) == (y.b, y.a):
        return (
            f"{first} takes {x.a} − {x.b} and {second} {y.a} − {y.b}: the signs are turned, and agreement "
            "shows as a negative correlation. Run one of them again with its conditions the other way round."
        )
    return (
        f"{first} compares {x.a} with {x.b}, and {second} {y.a} with {y.b}: a sign means something else in "
        "each, and so does a difference of their effects."
    )


def _measured(found: Comparison) -> str:
    """Name the options by which the two measure other things."""
    x, y = (measured_of_a_row(report) for report in (found.first, found.second))
    parts = [f"--{name} {here} against {y[name]}" for name, here in x.items() if here != y[name]]
    return f"; {', '.join(parts)}" if parts else ""


def warnings(found: Comparison) -> list[str]:
    """Return what a reader must know before believing the verdict."""
    texts = []
    if found.relation == "other weights":
        texts.append(
            "the models have the same shape and other weights. An independent training puts what a head does into any "
            "head of any layer, so that the heads of two models do not correspond; profiles over layers and "
            "distributions can be compared, and what is said of single heads below holds only if one model was "
            "trained further from the other."
        )
    if conditions := _conditions_warning(found):
        texts.append(conditions)
    if found.relation == "same heads" and not one_scale(found.first, found.second):
        of = [
            f"{effect_kind(report)} of about {report.tokens_per_unit:.0f} tokens in {name}"
            for name, report in zip(found.names, (found.first, found.second), strict=True)
        ]
        texts.append(
            f"the effects are not on one scale: {of[0]}, {of[1]}"
            f"{_measured(found)}. Signs and correlations can be compared; the difference of two effects says little."
        )
    unequal = {
        name: worst_covariate(free)
        for name, report in zip(found.names, (found.first, found.second), strict=True)
        if (free := not_held(report)) is not None and not free["balanced"].all()
    }
    if unequal:
        alike = len(unequal) == 2 and len(set(unequal.values())) == 1
        named = {"both reports": next(iter(unequal.values()))} if alike else unequal
        listed = " and of ".join(f"{name} (worst: {worst} standard deviations)" for name, worst in named.items())
        texts.append(f"the conditions are not alike in covariates of {listed}; an effect there may be due to these.")
    return texts


def overlap(found: Comparison) -> str:
    """Say how many words the two studies share."""
    first, second = found.names
    x, y = found.first.words, found.second.words
    shared = len(x & y)
    return (
        f"Of {len(x):,} distinct words in the texts of {first}, {shared:,} ({100 * shared / max(len(x), 1):.0f}%) "
        f"occur in those of {second} as well, which have {len(y):,}."
    )


def agreement(found: Comparison) -> str:
    """Say how to read the correlations, and what the differences as measured say."""
    table, agreed = found.primary, found.agreement.get(found.thresholds[0])
    if agreed is None:
        return "Fewer than three heads have an effect in both reports; nothing can be correlated."
    text = (
        "Permuting heads over the whole map asks whether the maps are alike at all, for which a profile over layers in "
        "common is enough; permuting them within layers, with each layer's mean taken out, asks whether the same heads "
        f"of a layer stand out in both. The sign agrees in {format_share(agreed.same_sign, agreed.n)} heads; "
        f"{expected_same_sign(table):.0f} would be expected from the number of positive and negative effects alone."
    )
    raw = found.difference_agreement
    if raw is not None and np.isfinite(raw.r):
        text += (
            f" The differences as measured, before they are divided by a standard deviation, correlate at *r* = "
            f"{format_r(raw.r)}."
        )
    return text


def layers(found: Comparison) -> str:
    """Say how the profiles over layers compare."""
    profile = found.size_profile
    if found.relation == "other shape":
        return "Layers are placed by their relative depth, (layer − ½) / layers." + (
            " The table pools the sites of a model." if len(found.effects["site"].unique()) > 1 else ""
        )
    if profile is None or not np.isfinite(profile.r):
        return "With fewer than three layers, or sizes that do not vary, the profiles cannot be correlated."
    text = (
        f"The layers' mean sizes of the effect correlate at *r* = {format_r(profile.r)} over "
        f"{plural(profile.n, 'layer')} (permutation {p_phrase(profile.p)})."
    )
    few = " With so few layers only a strong agreement can show." if profile.n < _FEW_LAYERS else ""
    return text + few


def shares(found: Comparison) -> str:
    """Say how the distributions of effects compare."""
    parts = []
    for name in found.names:
        values = found.effects.loc[found.effects["series"] == name, "size"]
        parts.append(
            f"{100 * (values > 0).mean():.0f}% of the heads lie above zero in {name}, half of them between "
            f"{format_g(float(values.quantile(0.25)))} and {format_g(float(values.quantile(0.75)))}"
        )
    return (
        f"What can be compared without pairing heads: {'; '.join(parts)}. No test is made: heads of a model are not "
        "independent draws."
    )


def heads(found: Comparison, n_shown: int) -> str:
    """Say how many heads' effects differ and how the table is ordered."""
    table, alpha = found.primary, found.alpha
    differ = table[table["p_difference_fdr"] < alpha]
    known = int(np.isfinite(table["p_difference"]).sum())
    return (
        f"The two effects differ in {format_share(len(differ), known)} heads (FDR {format_level(alpha)}): in "
        f"{int((differ['size_first'].abs() > differ['size_second'].abs()).sum())} the effect is larger in size in "
        f"{found.names[0]}, in {int((differ['size_first'].abs() < differ['size_second'].abs()).sum())} in "
        f"{found.names[1]}. The {plural(n_shown, 'head')} that differ most:"
    )


def methods(found: Comparison) -> str:
    """Write the methods as a journal wants them."""
    first, second = found.names
    x, y = (report.record for report in (found.first, found.second))
    thresholds = ", ".join(f"{value:g}" for value in found.thresholds)
    text = (
        f"We compared the effects of {plural(len(found.first.heads) // len(found.first.thresholds), 'attention head')} "
        f"in {first} ({effect_kind(found.first)}; {x.model.id}, weights SHA-256 "
        f"{x.model.weights_sha256[:12]}…) with those in {second} ({effect_kind(found.second)}; "
        f"{y.model.id}, weights SHA-256 {y.model.weights_sha256[:12]}…) at the threshold "
        f"{thresholds}."
    )
    if found.relation == "other shape":
        return (
            f"{text} The models have other shapes; layers were placed by their relative depth, and effects are "
            "described by layer, by third of the depth and as distributions, without a test."
        )
    return (
        f"{text} Agreement of the two maps is Pearson's correlation over heads, tested two-sidedly by permuting heads "
        "over the whole map and, with each layer's mean taken out of both, within layers (Good, 2005), "
        f"{found.n_permutations:,} random permutations each, p = (b + 1) / (m + 1) (Phipson & Smyth, 2010); the "
        "permutations take heads as exchangeable. Significance of a head in either study is that of its report "
        f"(permutation test, false discovery rate {format_level(found.alpha)}). The difference of a head's two effects "
        "has the 95% interval that the method of variance estimates recovery gives from the two effects' own intervals "
        "(Zou & Donner, 2008) and a p-value from the normal quantile of the arm that points to zero, which takes the "
        "effects as independent; the false discovery rate over the heads of a site was held by the method of Benjamini "
        f"and Hochberg (1995). The seed was {found.seed}."
    )


def limitations(found: Comparison) -> list[str]:
    """Return what a comparison of two reports cannot show."""
    first, second = found.names
    texts = [
        "Heads of a model are not independent: they read the same residual stream and were trained together. What is "
        "said over heads, a permutation p included, is about these two maps, not about what other words, another "
        "sample or another model would give.",
        "An effect is in standard deviations of the units' means, and these depend on the unit: a unit that averages "
        "over more tokens varies less and has a larger effect for the same difference in tokens. (Of pairs it is the "
        "standard deviation of the units too, not that of the differences within pairs.) Studies whose units average "
        "over other numbers of tokens are not on one scale; signs, ranks and correlations can be compared, and the "
        "differences as measured are in heads.csv.",
    ]
    if found.relation == "other shape":
        texts[1] = texts[1].replace("heads.csv", "the reports' own heads.csv")
        texts.append("Relative depth is a convention: layers at the same share of the depth need not do the same work.")
        return texts
    if shared := len(found.first.words & found.second.words):
        texts.append(
            f"The studies share {plural(shared, 'word')}, so the errors of their effects go along: that raises the "
            "correlation of the maps even if nothing else were common, and makes the intervals and p-values of the "
            "differences conservative (too wide, too large), because these take the two effects as independent."
        )
    noise = [
        noise_share(*(found.primary[f"{name}_{side}"].to_numpy() for name in ("size", "size_low", "size_high")))
        for side in ("first", "second")
    ]
    if np.isfinite(noise).all():
        shown = [f"about {100 * share:.0f}%" if share >= 0.01 else "less than 1%" for share in noise]
        top = float(np.sqrt((1 - noise[0]) * (1 - noise[1])))
        texts.append(
            f"Noise draws a correlation towards zero: sampling error makes up {shown[0]} of the variance over "
            f"heads in {first} and {shown[1]} in {second}, so that maps that agree perfectly would correlate at about "
            f"{format_r(top)} (Spearman, 1904)."
        )
    texts.append(
        "That a head is different in one study and not in the other does not show that its effects differ: for that "
        "the difference itself is tested."
    )
    return texts


def reading(found: Comparison) -> str:
    """Say what the comparison was made from, and which way its differences go."""
    text = "No model was run: everything below comes from the tables of two finished reports."
    if found.relation == "other shape":
        return text
    return f"{text} All differences are {found.names[0]} − {found.names[1]}, {compared_in(found)}."


def compared_in(found: Comparison) -> str:
    """Name the measures in which two reports are compared: "in the count"."""
    here, there = (call_measure(report.measure) for report in (found.first, found.second))
    if here == there:
        return f"in the {here}"
    return f"in the {here} of {found.names[0]} and the {there} of {found.names[1]}"


def measures(found: Comparison) -> str:
    """Say how to read the agreement measure by measure; empty where the reports share one or none."""
    if len(found.by_measure) < 2:
        return ""
    return (
        f"And in each measure that both reports test, at {found.thresholds[0]:g} of the attention where it depends on "
        "that. The count moves with the mass that a row rests on a sink, so maps of the count that agree may agree in "
        "the sink; the other measures say how far."
    )


def files(found: Comparison) -> str:
    """Say what lies beside the report."""
    table = (
        "[effects.csv](effects.csv) (the effects of both models' heads with their depth)"
        if found.relation == "other shape"
        else "[heads.csv](heads.csv) (both effects of every head, "
        "their difference, its interval and *p*, at every threshold that both reports hold)"
    )
    return (
        f"Beside this report: {table}, and [run.json](run.json) (the recipe, with the hashes of what was read). "
        "Every figure is under [figures/](figures/) as svg and png."
    )


def verdict_record(found: Comparison) -> ComparisonVerdict:
    """Return the verdict for programs: a sentence, the correlations, and how many heads differ where."""
    agreed = found.agreement.get(found.thresholds[0])
    counts = found.primary["significant"].value_counts() if found.relation == "same heads" else None

    def agreement(name: str) -> float | None:
        value = float("nan") if agreed is None else float(getattr(agreed, name))
        return value if np.isfinite(value) else None  # NaN has no place in JSON

    return ComparisonVerdict(
        sentence=verdict(found)[0],
        r=agreement("r"),
        p=agreement("p"),
        r_within=agreement("r_within"),
        p_within=agreement("p_within"),
        **{
            name: None if counts is None else int(counts.get(name, 0))
            for name in ("both", "first", "second", "neither")
        },
    )
