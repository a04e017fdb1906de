"""Sentences of the report about single heads: how many differ, by how much, and what is known of the others."""

from __future__ import annotations

import pandas as pd

from metastable.report.apa import format_g, format_level, format_share, in_100, plural, with_article
from metastable.report.measure_words import MeasureWords
from metastable.report.sides import Sides

__all__ = ["absence", "effect_size", "heads_sentence", "mixed_finds", "ten_largest"]

# Heads of the table that is not folded.
_SHOWN = 10


def heads_sentence(
    heads: pd.DataFrame, details: pd.DataFrame, alpha: float, sides: Sides, measure: MeasureWords
) -> str:
    """Say how many heads differ, by which correction, and in which direction."""
    different = heads[heads["verdict"] == "different"]
    up = int((different["difference"] > 0).sum())
    within = int((details["within_margin"] & (heads["verdict"] == "different")).sum())
    text = (
        f"{format_share(len(different), len(heads))} heads differ at a false discovery rate of {format_level(alpha)}, "
        f"{int((heads['p_perm_fwer'] < alpha).sum())} also by the family-wise test over all heads; "
        f"{mixed_finds(heads, alpha)}, and layers tested before their heads (Yekutieli, 2008) leave "
        f"{int((details['p_layers_first'] < alpha).sum())}."
    )
    if len(different):
        text += (
            f" Of those that differ, {up} {measure.have_more} in {sides.a} and {len(different) - up} in "
            f"{sides.b}{sides.thing}."
        )
    if within:
        text += (
            f" {plural(within, 'head differs', 'heads differ')} and yet {'is' if within == 1 else 'are'} shown to lie "
            "inside the smallest effect of interest: real, and too small to matter by that standard."
        )
    return f"{text} {ten_largest(len(heads), 'g')}"


def mixed_finds(heads: pd.DataFrame, alpha: float) -> str:
    """Say how many heads the mixed model finds."""
    if heads["lmm_p_fdr"].isna().all():
        return "there is no mixed model, since a sequence gives one value"
    return f"the mixed model finds {int((heads['lmm_p_fdr'] < alpha).sum())}"


def ten_largest(n: int, symbol: str) -> str:
    """Announce the table of the largest effects among `n` heads."""
    return f"The ten largest by |*{symbol}*|:" if n > _SHOWN else f"All {n} by |*{symbol}*|:"


def effect_size(
    heads: pd.DataFrame,
    details: pd.DataFrame,
    sides: Sides,
    measure: MeasureWords,
    *,
    unit: str,
    paired: bool,
    n: float,
) -> str:
    """Put the largest and the typical effect into words.

    Parameters
    ----------
    heads, details : pandas.DataFrame
        Rows of the primary threshold.
    sides : Sides
    measure : MeasureWords
    unit : str
        What a unit of inference is called.
    paired : bool
        Whether each unit has both sides.
    n : float
        Mean number of tokens, or words, that a row is spread over.

    Returns
    -------
    str
    """
    index = int(heads["hedges_g"].abs().to_numpy().argmax())
    top = heads.iloc[index]
    more, fewer = (sides.a, sides.b) if top["difference"] >= 0 else (sides.b, sides.a)
    # both ways round, so that every head is read in the direction of its own difference
    chance = details["superiority"].where(heads["difference"] >= 0, 1 - details["superiority"])
    size = measure.amount(float(top["difference"]))
    of = f" of about {n:.0f}" if measure.in_entries else ""
    number, _, noun = size.partition(" ")
    by = f"{number}{of}{' ' + noun if noun else ''}"
    where = f"layer {top['layer']}, head {top['head']}"
    if len(heads["site"].unique()) > 1:
        where += f" of {top['site']}"
    typical, largest = in_100(float(chance.median())), in_100(float(chance.iloc[index]))
    if paired:
        first = (
            f"In the typical head the two sides of {with_article(unit)} differ in the direction of the mean "
            f"difference {typical}"
        )
        second = f"the {more} side of {with_article(unit)} {measure.has_more} than its {fewer} side {largest}"
    else:
        noun = unit if sides.thing else f"{unit}, as a difference,"
        first = (
            f"In the typical head a random {sides.a} {noun} and a random {sides.b} {noun} differ in the direction of "
            "the "
            f"mean difference {typical}"
        )
        second = f"a random {more} {noun} {measure.has_more} than a random {fewer} one {largest}"
    median = measure.amount(float(heads["difference"].abs().median()))
    return (
        f"{first} (chance is 50; the probability of superiority of Vargha & Delaney, 2000). In the head that differs "
        "most "
        f"({where}, |*g*| = {format_g(abs(top['hedges_g']), sign=False)}) {second}, by {by} on average. The median "
        "difference over heads "
        f"is {median}. Differences are of {unit} means; single tokens overlap far more."
    )


def absence(heads: pd.DataFrame, alpha: float, margin: float, *, effect: str = "difference", symbol: str = "g") -> str:
    """Say what is known of the heads without a significant effect; `symbol` is that of the effect."""
    equivalent, undecided = (int((heads["verdict"] == word).sum()) for word in ("equivalent", "undecided"))
    for_null, for_effect = int((heads["bf10"] < 1 / 3).sum()), int((heads["bf10"] > 3).sum())
    if not equivalent + undecided:
        text = "Every head differs, so there is no absence to judge."
    else:
        within = f"within *{symbol}* = ±{margin:g} (FDR {format_level(alpha)})"
        text = (
            f"{plural(equivalent, 'head is', 'heads are')} *equivalent*: two one-sided tests show the {effect} to lie "
            f"{within}. "
            if equivalent
            else f"No head is *equivalent*: in none do two one-sided tests show the {effect} to lie {within}. "
        )
        text += (
            f"{plural(undecided, 'head is', 'heads are')} *undecided*: neither a {effect} nor its absence was shown, "
            "and it would take more data to tell."
            if undecided
            else "No head is *undecided*."
        )
    rest = len(heads) - for_null - for_effect
    return (
        f"{text} Bayes factors above 3 favour a {effect} in {plural(for_effect, 'head')}, below 1/3 its absence in "
        f"{for_null}; {rest} {'says' if rest == 1 else 'say'} little either way."
    )
