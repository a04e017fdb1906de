"""The methods paragraph, ready to paste: who read what, what was measured, and how it was tested."""

from __future__ import annotations

import numpy as np

from metastable.heads.contrasts import Contrast
from metastable.heads.record import RunRecord
from metastable.report.apa import format_level, listed, plural, with_article
from metastable.report.measure_words import count_clause, measure_words, row_clauses
from metastable.report.words import short_name
from metastable.study import Options, Study

__all__ = [
    "CORRECTIONS",
    "measured_clause",
    "methods_paragraph",
    "mixed_clause",
    "model_clause",
    "observation_clause",
    "ratings_clause",
    "relabelings_clause",
]

#: How each correction is cited.
CORRECTIONS = {
    "bh": "Benjamini and Hochberg (1995)",
    "by": "Benjamini and Yekutieli (2001)",
    "tsbh": "Benjamini, Krieger and Yekutieli (2006, two-stage)",
    "storey": "Storey (2002)",
}


def model_clause(record: RunRecord) -> str:
    """Name the model and the packages that ran it."""
    model, packages = record.model, record.packages
    revision = f"revision {model.revision}, " if model.revision else ""
    return (
        f"{model.id} ({revision}weights SHA-256 {model.weights_sha256[:12]}…; transformers "
        f"{packages['transformers']}, torch {packages['torch']})"
    )


def ratings_clause(record: RunRecord) -> str:
    """Say where questions and ratings come from, as far as the material's sources tell."""
    sources, said = record.sources, []
    if str(sources.get("questions", "")).startswith("TVQA"):
        said.append(" Questions and answers were those of TVQA (Lei et al., 2018).")
    norms = str(sources.get("norms", ""))
    if "Brysbaert" in norms:
        said.append(" Concreteness ratings were those of Brysbaert et al. (2014).")
    elif norms:
        said.append(f" Ratings were the {norms}.")
    return "".join(said)


def measured_clause(options: Options) -> str:
    """Say what was taken of each attention row, as a sentence in the past."""
    measure = measure_words(options)
    asked, changes = row_clauses(options)
    if options.measure == "count":
        first, *others = (f"{100 * value:g}%" for value in options.threshold)
        thresholds = listed([f"{first} (the primary threshold)", *others]) if others else first
        what = (
            f"the count: {count_clause(options, thresholds)}, which is the size of the head's metastable state "
            "(Ramsauer et al., 2021)"
        )
    else:
        cited = f" ({measure.cited})" if measure.cited else ""
        what = f"the {measure.name}: {measure.definition}{cited}"
    changed = "".join(f" {change}" for change in changes)
    return f"For every attention head and every {asked} we took {what}. Padding was neither key nor query.{changed}"


def _reading_clause(study: Study, contrast: Contrast) -> str:
    """Say how many sequences were read, of how many units."""
    a, b = (contrast.a, contrast.b) if contrast.name != "interaction" else study.conditions
    seq_a, seq_b = (int(np.sum(contrast.sides == side)) for side in (0, 1))
    unit = contrast.unit
    if contrast.pair is not None:
        joined = (
            f"joined in {plural(contrast.n_a, unit)}"
            if unit.endswith("pair")
            else f"both from each of {plural(contrast.n_a, unit)}"
        )
        return f"{seq_a:,} {a.name} and {plural(seq_b, f'{b.name} sequence')}, {joined},"
    if unit == "sequence":
        return f"{seq_a:,} {a.name} and {plural(seq_b, f'{b.name} sequence')}"
    return (
        f"{plural(seq_a, 'sequence')} of {plural(contrast.n_a, f'{a.name} {unit}')} and {plural(seq_b, 'sequence')} of "
        f"{plural(contrast.n_b, f'{b.name} {unit}')}"
    )


def observation_clause(study: Study, contrast: Contrast, measure: str) -> str:
    """Say what one observation is, as a sentence in the past; `measure` is its name."""
    unit, factor = contrast.unit, study.design.factor
    if contrast.name == "interaction" and factor is not None:
        first, second = (level.name for level in factor.levels)
        return f"The difference of the mean {measure} between {first} and {second} of one {unit} was one observation."
    if contrast.pair is not None:
        return (
            f"The mean {measure} of each side of {with_article(unit)} was one observation, and sides were compared "
            "within "
            f"{unit}s."
        )
    if unit == "sequence":
        return f"The mean {measure} of a sequence was one observation."
    return f"The mean {measure}s of the sequences of one {unit} were averaged to one observation."


def relabelings_clause(record: RunRecord) -> str:
    """Say how many relabelings there were, and how p came of them."""
    permutations = record.permutations
    if permutations.exact:
        return f"all {permutations.used:,} distinct relabelings"
    return f"{permutations.used:,} random relabelings, *p* = (*b* + 1) / (*m* + 1) (Phipson & Smyth, 2010)"


def mixed_clause(model: str) -> str:
    """Say which mixed model was fitted, in lme4's notation; empty if `model` is."""
    if not model:
        return ""
    rows = "sequence means" if model.startswith("mean ") else "the values of single tokens"
    return (
        f" As a second analysis, {rows} entered the linear mixed model {model} (REML, Satterthwaite degrees of "
        "freedom, "
        "as lme4 and lmerTest fit it; Bates et al., 2015; Kuznetsova et al., 2017)."
    )


def methods_paragraph(
    record: RunRecord, study: Study, contrast: Contrast, *, n_heads: int, model: str, balanced: bool
) -> str:
    """Write the methods as a journal wants them.

    Parameters
    ----------
    record : RunRecord
        As in run.json.
    study : Study
    contrast : Contrast
        What was compared, of two sides.
    n_heads : int
        Heads tested.
    model : str
        The mixed model, as lme4 writes it; empty if there is none.
    balanced : bool
        Whether any covariate was recorded, whose balance was judged.

    Returns
    -------
    str
    """
    options, unit = record.options, contrast.unit
    paired = contrast.pair is not None
    test = (
        f"the paired *t* statistic, by flipping the signs of the differences of whole {unit}s"
        if paired
        else f"Welch's *t* statistic (Welch, 1947), by exchanging the condition labels of whole {unit}s"
    )
    adjusted = (
        f" Nuisance covariates ({listed([short_name(name) for name in options.covariates])}) entered by the method "
        "of Freedman and Lane (1983; Winkler et al., 2014); Bayes factors and equivalence tests hold them fixed by "
        "regression, while means, differences and *g* are as observed."
        if options.covariates
        else ""
    )
    size = (
        "Hedges' *g* (Hedges, 1981) in units of the root mean square of both sides' standard deviations, as in "
        "unpaired "
        "designs, with approximate 95% intervals from the noncentral *t* (Algina & Keselman, 2003), JZS Bayes "
        "factors of "
        "the paired *t*"
        if paired
        else "Hedges' *g* (Hedges, 1981) with 95% intervals from the noncentral *t* (Steiger & Fouladi, 1997), JZS "
        "Bayes "
        "factors"
    )
    balance = (
        " Balance of covariates was judged by standardized mean differences with a line at 0.1 (Austin, 2009)."
        if balanced
        else ""
    )
    return (
        f"We presented {_reading_clause(study, contrast)} to {model_clause(record)}.{ratings_clause(record)} "
        f"{measured_clause(options)} {observation_clause(study, contrast, measure_words(options).name)} Each of the "
        f"{n_heads} "
        f"heads was tested two-sidedly by a permutation test on {test}, with {relabelings_clause(record)}; all heads "
        "shared the relabelings, so that the maximum over heads gave family-wise *p*-values (Westfall & Young, 1993) "
        "and "
        f"sums of squares over heads gave one omnibus *p* per layer and for the model.{adjusted}{mixed_clause(model)} "
        "The "
        f"false discovery rate was held at {format_level(options.alpha)} over the heads of a site by the method of "
        f"{CORRECTIONS[options.correction]}. We report {size} with a Cauchy prior of scale 0.707 (Rouder et al., "
        f"2009), and two one-sided tests against a smallest effect of interest of *g* = ±{options.margin:g} "
        "(Lakens, "
        f"2017), whose false discovery rate was held at the same level (Benjamini & Hochberg, 1995).{balance} The "
        "seed of "
        f"all random choices was {options.seed}; the analysis was run with metastable "
        f"{record.packages['metastable']}."
    )
