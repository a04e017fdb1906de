"""The methods paragraph of a study along a continuous predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metastable.report.apa import format_level, listed, plural, with_article
from metastable.report.measure_words import measure_words
from metastable.report.run.methods import (
    CORRECTIONS,
    measured_clause,
    mixed_clause,
    model_clause,
    ratings_clause,
    relabelings_clause,
)
from metastable.report.words import covariate_name, predictor_of, short_name

if TYPE_CHECKING:
    from metastable.heads.results import RunResult

__all__ = ["slope_methods"]


def slope_methods(result: RunResult, n_heads: int, model: str) -> str:
    """Write the methods as a journal wants them.

    Parameters
    ----------
    result : RunResult
        Whose primary contrast has a continuous predictor.
    n_heads : int
        Heads tested.
    model : str
        The mixed model, as lme4 writes it; empty if there is none.

    Returns
    -------
    str
    """
    record, contrast = result.record, result.contrast
    options, noun, unit = record.options, covariate_name(contrast.formula), contrast.unit
    held = [short_name(name) for name in options.covariates]
    beside = f" beside {listed(held)}" if held else ""
    name = measure_words(options).name
    many = plural(len(predictor_of(contrast)), unit)
    read = many if unit == "sequence" else f"{plural(len(result.material.sequences), 'sequence')} of {many}"
    return (
        f"We presented {read} to {model_clause(record)}.{ratings_clause(record)} {measured_clause(options)} The mean "
        f"{name} of {with_article(unit)} was one observation, and its {noun} the predictor. In each of the {n_heads} "
        "heads the "
        "slope "
        f"of the mean {name} on the {noun}{beside} was tested two-sidedly by exchanging residuals by the method of "
        f"Freedman and Lane (1983; Winkler et al., 2014) in {relabelings_clause(record)}; all heads shared the "
        "relabelings, so that the maximum over heads gave family-wise *p*-values (Westfall & Young, 1993) and sums of "
        "squares over heads gave one omnibus *p* per layer and for the model. Slopes are those of ordinary least "
        "squares "
        f"with HC3 intervals (MacKinnon & White, 1985).{mixed_clause(model)} The false discovery rate was held at "
        f"{format_level(options.alpha)} over the heads of a site by the method of "
        f"{CORRECTIONS[options.correction]}. "
        "Effects are the *d* of the partial correlation, *d* = 2*r* / √(1 − *r*²) (Borenstein et al., 2009), with "
        "intervals "
        "by Fisher's *z*; two one-sided tests compare *z* with a smallest effect of interest of "
        f"*d* = ±{options.margin:g} (Goertzen & Cribbie, 2010); JZS Bayes factors have a Cauchy prior of scale "
        "0.354 "
        "on "
        "the standardized slope (Liang et al., 2008; Rouder & Morey, 2012), which is the prior of scale 0.707 on d. "
        "The "
        f"seed of all random choices was {options.seed}; the analysis was run with metastable "
        f"{record.packages['metastable']}."
    )
