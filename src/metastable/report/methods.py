"""The methods paragraph, ready to paste, with the references that references.bib holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metastable.report.apa import plural

__all__ = ["CORRECTIONS", "methods_paragraph"]

#: How each correction is cited.
CORRECTIONS = {
    "bh": "Benjamini and Hochberg (1995)",
    "by": "Benjamini and Yekutieli (2001)",
    "tsbh": "Benjamini, Krieger and Yekutieli (2006, two-stage)",
    "storey": "Storey (2002)",
}


def methods_paragraph(
    recipe: Mapping[str, Any], *, n_a: int, n_b: int, a: str, b: str, unit: str, paired: bool, n_heads: int, model: str
) -> str:
    """Write the methods as a journal wants them.

    Parameters
    ----------
    recipe : mapping
        As in run.json.
    n_a, n_b : int
        Units of each condition.
    a, b : str
        Names of the conditions.
    unit : str
        "sequence" or "cluster".
    paired : bool
        Whether the design is paired.
    n_heads : int
        Heads tested.
    model : str
        The mixed model, as lme4 writes it.

    Returns
    -------
    str
    """
    options = recipe["options"]
    thresholds = ", ".join(f"{value:g}" for value in options["threshold"])
    permutations = recipe["permutations"]
    relabelings = (
        f"all {permutations['used']:,} distinct relabelings"
        if permutations["exact"]
        else f"{permutations['used']:,} random relabelings, p = (b + 1) / (m + 1) (Phipson & Smyth, 2010)"
    )
    test = (
        "the paired t statistic, by flipping the signs of the pair differences"
        if paired
        else "Welch's t statistic (Welch, 1947), by exchanging the condition labels of whole " + unit + "s"
    )
    adjusted = (
        f" Nuisance covariates ({', '.join(options['covariates'])}) entered by the method of Freedman and Lane "
        "(Winkler et al., 2014); Bayes factors and equivalence tests hold them fixed by regression, while means, "
        "differences and g are as observed."
        if options["covariates"]
        else ""
    )
    rows = "sequence means" if model.startswith("mean ") else "token counts"
    weights = recipe["model"]["weights_sha256"][:12]
    return (
        f"We read {plural(n_a, f'{a} {unit}')} and {plural(n_b, f'{b} {unit}')} with {recipe['model']['id']} "
        f"(weights SHA-256 {weights}…; transformers {recipe['packages']['transformers']}, torch "
        f"{recipe['packages']['torch']}) and, for every attention head and query token, counted the softmax entries "
        f"needed, from the largest down, to reach {thresholds} of the row's mass (the size of the metastable state; "
        f"Ramsauer et al., 2021). Padding was neither key nor query. The mean count of each {unit} was the unit of "
        f"analysis. Each of the {n_heads} heads was tested two-sidedly by a permutation test on {test}, with "
        f"{relabelings} that all heads shared, so that the maximum over heads gave family-wise p-values (Westfall & "
        f"Young, 1993) and sums over heads gave one omnibus p per layer and for the model.{adjusted} As a second "
        f"analysis, {rows} entered the linear mixed model {model} (REML, "
        f"Satterthwaite degrees of freedom, as lme4 and lmerTest fit it; Bates et al., 2015; Kuznetsova et al., "
        f"2017). The false discovery rate was held at {options['alpha']:g} over the heads of a site by the method of "
        f"{CORRECTIONS[options['correction']]}. We report Hedges' g (Hedges, 1981) with noncentral-t 95% intervals, "
        f"JZS Bayes factors with a Cauchy prior of scale 0.707 (Rouder et al., 2009), and two one-sided tests against "
        f"a smallest effect of interest of g = ±{options['margin']:g} (Lakens, 2017). Balance of covariates was judged "
        f"by standardized mean differences with a line at 0.1 (Austin, 2009). The seed was {options['seed']}."
    )
