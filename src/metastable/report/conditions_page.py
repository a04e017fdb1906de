"""What a report says of more than two conditions: all at once, and pair by pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import pandas as pd

from metastable.report.apa import format_g, format_level, format_p, listed, plural
from metastable.report.conditions_plates import SeveralConditions
from metastable.report.markdown import as_text
from metastable.report.measure_words import measure_words
from metastable.report.plate import PlacedPlate, markdown
from metastable.report.sections import table
from metastable.report.words import covariate_name

__all__ = ["condition_sentences", "render_conditions"]

_SHOWN = 10


def condition_sentences(found: SeveralConditions, contrasts: pd.DataFrame, p_all: float) -> tuple[str, ...]:
    """Say what was found of several conditions.

    Parameters
    ----------
    found : SeveralConditions
        The tests of all of them and of every pair.
    contrasts : pandas.DataFrame
        As `metastable.runs.conditions.ConditionsResult` holds them.
    p_all : float

    Returns
    -------
    tuple of str
    """
    omnibus, options, tested = found.omnibus, found.options, found.tested
    named, measure = listed(list(found.conditions)), measure_words(options).name
    if tested.reason:
        first = f"{named} could not be tested all at once: {tested.reason}."
    else:
        differ = int((omnibus["p_perm_fdr"] < options.alpha).sum())
        word = "differ" if p_all < options.alpha else "were not shown to differ"
        first = (
            f"{named} {word} in the {measure} ({tested.statistic} summed over {len(omnibus)} heads, permutation "
            f"p {_equal(p_all)}); {plural(differ, 'head')} of {len(omnibus)} {'differs' if differ == 1 else 'differ'} "
            f"over the conditions (false discovery rate {format_level(options.alpha)})."
        )
    clear = [row for row in contrasts.to_dict("records") if row["p_all_heads_holm"] < options.alpha]
    pairs = listed([f"{row['a']} from {row['b']}" for row in clear])
    second = (
        f"Pair by pair, {pairs} {'differs' if len(clear) == 1 else 'differ'} (omnibus p over all heads, Holm over "
        f"{len(contrasts)} pairs)."
        if clear
        else f"Pair by pair, none of the {len(contrasts)} pairs was shown to differ (omnibus p over all heads, Holm)."
    )
    return first, second


def _equal(p: float) -> str:
    shown = format_p(p)
    return shown if shown.startswith("<") else f"= {shown}"


def render_conditions(
    found: SeveralConditions,
    contrasts: pd.DataFrame,
    sentences: Sequence[str],
    command: str,
    folders: Mapping[tuple[str, str], str],
    plates: Sequence[PlacedPlate[SeveralConditions]] = (),
) -> str:
    """Return the page over several conditions as Markdown.

    Parameters
    ----------
    found : SeveralConditions
        The tests of all of them and of every pair.
    contrasts : pandas.DataFrame
        As `metastable.runs.conditions.ConditionsResult` holds them.
    sentences : sequence of str
        As `condition_sentences` gives them.
    command : str
        What was typed.
    folders : mapping of (str, str) to str
        The folder of each pair's report.
    plates : sequence of PlacedPlate
        The figures, as `metastable.report.conditions_plates.PLATES` has them.

    Returns
    -------
    str
    """
    conditions, omnibus, tested = found.conditions, found.omnibus, found.tested
    digits = measure_words(found.options).digits
    rows = [
        [
            f"[{as_text(row['a'])} − {as_text(row['b'])}](../{quote(folders[row['a'], row['b']])}/report.md)",
            f"{row['n_a']:,}",
            f"{row['n_b']:,}",
            format_p(row["p_all_heads"]),
            format_p(row["p_all_heads_holm"]),
            str(row["heads_different"]),
            listed([as_text(covariate_name(name)) for name in row["unlike"]]) or "–",
        ]
        for row in contrasts.to_dict("records")
    ]
    blocks = [
        f"# {listed([as_text(name) for name in conditions])}",
        " ".join(as_text(sentence) for sentence in sentences),
        *(markdown(plate) for plate in plates if plate.section == "lead"),
        "## Pair by pair",
        table(
            ["pair (its report)", "units a", "units b", "p, all heads", "p, Holm over pairs", "heads that differ",
             "not alike in"],
            rows, "lrrrrrl",
        ),
        "The heads that differ are those of all pairs corrected together (the run's correction over the heads of every "
        "pair of a site). A pair's own report corrects over its own heads alone. A difference between two conditions "
        "that are not alike in a covariate may be due to it: the reports of the pairs say how much they differ in it.",
        *(markdown(plate) for plate in plates if plate.section == "pairs"),
    ]  # fmt: skip
    if not omnibus.empty:
        shown = omnibus.sort_values(["p_perm", "F"], ascending=[True, False], kind="stable").head(_SHOWN)
        header = ["layer", "head", *(f"mean, {as_text(name)}" for name in conditions), "F", "p", "p (FWER)", "p (FDR)"]
        several = len(set(omnibus["site"])) > 1
        body = [
            [
                *([as_text(str(row["site"]))] if several else []),
                str(row["layer"]),
                str(row["head"]),
                *(format_g(row[f"mean_{name}"], digits, sign=False) for name in conditions),
                f"{row['F']:.2f}" if math.isfinite(row["F"]) else "∞",
                *(format_p(row[name]) for name in ("p_perm", "p_perm_fwer", "p_perm_fdr")),
            ]
            for row in shown.to_dict("records")
        ]
        header = ["site", *header] if several else header
        blocks += [
            "## Head by head, over all conditions",
            f"The {min(_SHOWN, len(omnibus))} heads with the smallest p; all are in [omnibus.csv](omnibus.csv).",
            table(header, body, ("l" if several else "") + "r" * (len(header) - several)),
            f"F is that of Hotelling's T-squared of the differences between conditions, which takes no two of them for "
            f"equally variable. p is by permutation: conditions are exchanged within {tested.unit}s."
            if tested.within
            else "F is Welch's (1951), which holds with unequal variances. p is by permutation: conditions are "
            f"exchanged between {tested.unit}s.",
        ]
    blocks += [
        "## Run it again",
        f"```\n{command}\n```",
        "Beside this page: [omnibus.csv](omnibus.csv), [pairs.csv](pairs.csv) (every head of every pair, `p_all_pairs` "
        "corrected together), [contrasts.csv](contrasts.csv), [conditions.json](conditions.json).",
    ]
    return "\n\n".join(blocks) + "\n"
