"""The reference engine of the mixed models: a loop of statsmodels fits."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.mixed_models.crossed import criterion_at
from metastable.stats.mixed_models.random_terms import RandomTerms, term_sums
from metastable.stats.mixed_models.satterthwaite import CriterionFit

__all__ = ["fit_statsmodels"]

Floats = NDArray[np.float64]

# How far above its minimum statsmodels may leave the deviance.
GAIN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Fit:
    """What is taken over from one statsmodels fit."""

    theta: Floats
    sigma: float
    beta: Floats
    criterion: float
    converged: bool


def fit_statsmodels(
    x: Floats, y: Floats, terms: RandomTerms, *, method: Literal["reml", "ml"] = "reml"
) -> CriterionFit:
    """Fit every feature with `statsmodels.regression.mixed_linear_model.MixedLM`.

    Parameters
    ----------
    x : ndarray of float64, shape (n_obs, p)
        Design.
    y : ndarray of float64, shape (n_obs, n_features)
        Outcomes.
    terms : RandomTerms
        The random effects.
    method : {"reml", "ml"}
        Criterion.

    Returns
    -------
    CriterionFit
        Fixed effects, variances and criterion are those of statsmodels. The fixed effects' covariance and the
        derivatives that Satterthwaite's degrees of freedom need are ours, at these variances: statsmodels
        inverts the whole observed information instead, which lets standard errors of models with two factors
        differ from lme4's by a few per cent. `converged` holds where statsmodels says so and is right: it also
        reports some fits that stopped well above the minimum. A fit that it gives up with a singular matrix
        is not converged and has a criterion of NaN; the rest of its row means nothing.

    Raises
    ------
    InputError
        For a random slope of a factor that crosses another one, which MixedLM has no correlation for.
    """
    if not terms.nested and terms.slope is not None:
        raise InputError("engine='statsmodels' cannot fit a random slope with crossed factors; use engine='profile'")
    arguments = _arguments(terms)
    fits = [_fit_one(x, column, terms, arguments, method) for column in y.T]
    theta = np.stack([fit.theta for fit in fits])
    ours = criterion_at(term_sums(x, y, terms), theta, method=method, tolerance=GAIN_TOLERANCE)
    return replace(
        ours,
        sigma=np.array([fit.sigma for fit in fits]),
        beta=np.stack([fit.beta for fit in fits]),
        criterion=np.array([fit.criterion for fit in fits]),
        converged=np.array([fit.converged for fit in fits]) & ours.converged,
    )


def _arguments(terms: RandomTerms) -> dict[str, Any]:
    """Random effects as MixedLM takes them."""
    from statsmodels.regression.mixed_linear_model import VCSpec

    components = {} if terms.inner is None else {"inner": terms.inner}
    groups = terms.outer
    if not terms.nested:
        components["outer"] = terms.outer
        groups = np.zeros_like(terms.outer)
    arguments: dict[str, Any] = {"groups": groups}
    if terms.nested:
        intercept = np.ones(terms.outer.size)
        arguments["exog_re"] = intercept[:, None] if terms.slope is None else np.column_stack([intercept, terms.slope])
    if components:
        members = [np.flatnonzero(groups == level) for level in np.unique(groups)]
        matrices = [
            [(codes[m][:, None] == np.unique(codes[m])).astype(np.float64) for m in members]
            for codes in components.values()
        ]
        names = [[[str(j) for j in range(m.shape[1])] for m in of_one] for of_one in matrices]
        arguments["exog_vc"] = VCSpec(list(components), names, matrices)
    return arguments


def _fit_one(
    x: Floats, y: Floats, terms: RandomTerms, arguments: dict[str, Any], method: Literal["reml", "ml"]
) -> _Fit:
    """One MixedLM fit."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    with warnings.catch_warnings():
        # What they say is in `converged` and `singular`.
        warnings.simplefilter("ignore")
        try:
            result = MixedLM(y, x, **arguments).fit(reml=method == "reml")
        except np.linalg.LinAlgError:
            return _Fit(np.zeros(terms.n_theta), 1.0, np.zeros(x.shape[1]), np.nan, converged=False)
    scale = float(result.scale)
    relative = np.sqrt(np.maximum(np.asarray(result.vcomp) / scale, 0.0))
    inner = relative[:1] if terms.inner is not None else relative[:0]
    outer = _cholesky(np.asarray(result.cov_re) / scale) if terms.nested else relative[1:]
    return _Fit(
        theta=np.concatenate([inner, outer]),
        sigma=float(np.sqrt(scale)),
        beta=np.asarray(result.fe_params),
        criterion=-2.0 * float(result.llf),
        converged=bool(result.converged),
    )


def _cholesky(covariance: Floats) -> Floats:
    """Lower triangle, by columns, of the Cholesky factor of a covariance that may be singular."""
    a = float(np.sqrt(max(covariance[0, 0], 0.0)))
    if covariance.shape[0] == 1:
        return np.array([a])
    b = covariance[0, 1] / a if a > 0.0 else 0.0
    return np.array([a, b, float(np.sqrt(max(covariance[1, 1] - b**2, 0.0)))])
