"""Permutation tests of many features at once: which units differ between two conditions, or along a contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.permutations.engine import Alternative, PermutationResult, Progress, run_permutations
from metastable.stats.permutations.omnibus import OmnibusResult
from metastable.stats.permutations.permutation_input import (
    Layout,
    check_choice,
    check_clusters,
    check_codes,
    check_freedom,
    check_layout,
    check_matrix,
    check_resolution,
    check_same,
    check_values,
    make_plan,
    make_sampling,
)
from metastable.stats.permutations.relabelings import (
    Relabelings,
    Sampling,
    exchange_labels,
    exchange_rows,
    flip_signs,
    mixed_clusters,
)
from metastable.stats.permutations.statistics import (
    ClusteredTwoSample,
    LinearModel,
    Statistic,
    TwoSample,
    contrast_model,
)
from metastable.stats.samples import is_constant

__all__ = ["OmnibusResult", "PermutationResult", "permutation_test", "permutation_test_contrast"]

Floats = NDArray[np.float64]
Kind = Literal["welch", "student", "mean", "paired"]


def permutation_test(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    statistic: Kind = "welch",
    alternative: Alternative = "two-sided",
    pair: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    block: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    family: ArrayLike | None = None,
    omnibus: Mapping[str, NDArray[np.bool_]] | None = None,
    n_permutations: int = 10_000,
    alpha: float = 0.05,
    rng: int | np.random.Generator | None = None,
    tail: Literal["none", "gpd"] = "none",
    block_bytes: int = 1 << 28,
    device: str = "auto",
    callback: Progress | None = None,
) -> PermutationResult:
    """Test every feature for a difference between two conditions by relabeling units.

    All features share the relabelings, so that maxima and sums over features keep their dependence.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b; statistics are a - b.
    statistic : {"welch", "student", "mean", "paired"}
        Welch's t, Student's t, the difference of means, or the t of the differences within pairs. With
        `pair`, ``"paired"`` and ``"mean"`` apply. With covariates the effect is the adjusted one, and Welch's and
        the paired t become the estimate over its HC3 standard error; with whole clusters Welch's t becomes the
        difference over a standard error that lets the units of a cluster depend on one another
        (`ClusteredTwoSample`).
    alternative : {"two-sided", "greater", "less"}
        Two-sided compares absolute values; ``"greater"`` is a > b.
    pair : array_like or None, shape (n_units,)
        Code shared by one unit of a and one of b. The signs of the pairs' differences are flipped.
    cluster : array_like or None, shape (n_units,)
        Units that depend on one another. A cluster that lies in one condition moves as a whole. A cluster
        with units of both conditions is an exchangeability block: its units trade labels among
        themselves, which tests the difference within clusters. Both kinds may occur side by side. With
        `pair`, the pairs of a cluster flip together.
    block : array_like or None, shape (n_units,)
        Exchangeability block: labels are exchanged within blocks only. The statistic is not adjusted for
        blocks; give indicators as covariates for that. With `pair`, both partners must lie in one
        block, and flips respect the blocks as they are.
    covariates : array_like of float or None, shape (n_units, n_covariates)
        Nuisance covariates (an intercept is added): the signs of the residuals of the model without the
        condition are flipped, so that each keeps its variance (the wild bootstrap with the null imposed, Davidson &
        Flachaire 2008; Hemerik, Goeman & Finos 2020). With ``"student"`` or ``"mean"``, whose errors have one
        variance, with clusters and with blocks the residuals are exchanged instead (Freedman & Lane 1983;
        Winkler et al. 2014). Whole clusters then trade places with clusters of the same size only, and Welch's t
        becomes the estimate over its CR3 standard error. With `pair`, the covariates' differences are used.
    family : array_like of int or None, shape (n_features,)
        Codes of families: the maximum statistic, and with it the family-wise p, runs within each. One
        family if None.
    omnibus : mapping of str to ndarray of bool or None
        Masks over features, shape (n_features,); each group is tested as one, see `OmnibusResult`.
    n_permutations : int
        Relabelings to draw. Where no more distinct ones exist all of them are enumerated instead.
    alpha : float
        Level of the omnibus number of small p-values, below which p must be able to fall where there are clusters.
    rng : int, numpy.random.Generator or None
        Seed or generator of the relabelings. One seed gives one answer, whatever `block_bytes`, the number
        of threads, or the device.
    tail : {"none", "gpd"}
        With ``"gpd"`` p-values below 0.1 come from a generalized Pareto distribution fitted to the tail of the
        null (Winkler et al. 2016; see `tail_p_values`); not the omnibus count, nor exact enumerations, and
        step-down ones only where that makes them smaller.
    block_bytes : int
        Memory for working arrays, in bytes, beside `values` and a few numbers per relabeling and group.
    device : str
        ``"cpu"`` for NumPy; ``"cuda"`` (or ``"cuda:1"``) for torch on a graphics card, ``"torch"`` for torch on
        the processor; ``"auto"`` takes CUDA where torch finds it and the work is large. The products run in
        float64 everywhere.
    callback : callable or None
        Told of progress as ``callback(done, total)``.

    Returns
    -------
    PermutationResult
        p = (b + 1) / (m + 1) for m drawn relabelings of which b reach the observed statistic (Phipson &
        Smyth 2010), b / m where all distinct ones, the observed among them, are enumerated.

    Raises
    ------
    InputError
        - a value or covariate is NaN or infinite;
        - a condition has fewer than two units, a pair lacks its partner or there is one pair only;
        - the condition is collinear with the covariates, these leave no residual degrees of freedom, or one unit
          alone determines a coefficient;
        - clusters allow too few relabelings for p to fall below alpha, or a condition has fewer than two whole
          clusters;
        - no relabeling differs from the observed one; a cluster lies in two blocks;
        - an argument has the wrong shape or an unknown value.

    Notes
    -----
    A feature without variance has statistic 0, p = 1 and ``flat = True``; it takes no part in maxima and
    omnibus tests. Where conditions differ and neither varies, the statistic is a large finite number.
    Statistics that are equal but for rounding count as equal.

    The test is exact where the condition makes no difference at all, whatever the distribution of the values:
    the units (clusters, signs) are then exchangeable. Where only the means are equal, a different variance in
    each condition is enough to break that. Welch's t keeps the level of each feature all the same, the better
    the larger the samples, and so do its maxima nearly (Janssen 1997; Chung & Romano 2013, 2016), and with
    covariates the estimate over its HC3 standard error (DiCiccio & Romano 2017); Student's t
    and the raw difference do so for samples of equal size only. What no studentizing mends is a correlation
    between features that differs between the conditions: sums over features (omnibus) then err by a little,
    in either direction. So a small omnibus p says that the conditions differ, not that their means do.

    References
    ----------
    Chung & Romano (2013), Annals of Statistics 41(2), 484-507; (2016), Journal of Econometrics 193(1), 76-91.
    Davidson & Flachaire (2008), Journal of Econometrics 146(1), 162-169.
    DiCiccio & Romano (2017), Journal of the American Statistical Association 112(519), 1211-1220.
    Freedman & Lane (1983), Journal of Business & Economic Statistics 1(4), 292-298. Janssen (1997), Statistics &
    Probability Letters 36(1), 9-21. Hemerik, Goeman & Finos (2020), Journal of the Royal Statistical Society B
    82(3), 841-864. Phipson & Smyth (2010), Statistical Applications in Genetics and Molecular
    Biology 9(1), 39. Westfall & Young (1993), Resampling-Based Multiple Testing. Winkler, Ridgway, Webster, Smith
    & Nichols (2014), NeuroImage 92, 381-397. Winkler, Ridgway, Douaud, Nichols & Smith (2016), NeuroImage 141,
    502-516.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values, condition = rng.normal(size=(60, 4)), np.arange(60) < 25
    >>> values[condition, 2] += 1.5
    >>> layers = {"layer 1": np.array([True, True, False, False]), "layer 2": np.array([False, False, True, True])}
    >>> result = permutation_test(values, condition, omnibus=layers, n_permutations=999, rng=0)
    >>> print(result.p_fwer < 0.05, result.exact, result.n_permutations)
    [False False  True False] False 999
    >>> print({name: found.p_sum_squares < 0.05 for name, found in result.omnibus.items()})
    {'layer 1': False, 'layer 2': True}

    Six pairs have 64 sign flips, which are enumerated:

    >>> pair = np.tile(np.arange(6), 2)
    >>> result = permutation_test(values[:12], np.arange(12) < 6, pair=pair, statistic="paired")
    >>> print(result.exact, result.n_permutations)
    True 64
    """
    checked = check_values(values)
    layout = check_layout(checked, condition, pair, cluster, block, covariates)
    check_choice("statistic", statistic, ("welch", "student", "mean", "paired"))
    sampling = make_sampling(n_permutations, rng)
    if layout.pair is not None:
        checked, test, relabelings = _paired(checked, layout, statistic, sampling)
    elif statistic == "paired":
        raise InputError("statistic is 'paired', but pair is missing; give a pair code for every unit.")
    elif layout.covariates is None:
        test = _two_samples(layout, statistic)
        relabelings = exchange_labels(layout.condition, sampling, cluster=layout.cluster, block=layout.block)
    else:
        test, relabelings = _adjusted(layout, layout.covariates, statistic, sampling)
    plan = make_plan(checked, relabelings, alternative, family, omnibus, alpha, tail, block_bytes, device, callback)
    check_clusters(layout, relabelings, alpha, alternative)
    return run_permutations(checked, test, relabelings, plan)


def permutation_test_contrast(
    values: ArrayLike,
    design: ArrayLike,
    contrast: ArrayLike,
    *,
    statistic: Literal["hc3", "student", "mean"] = "hc3",
    alternative: Alternative = "two-sided",
    errors: Literal["auto", "exchangeable", "symmetric"] = "auto",
    cluster: ArrayLike | None = None,
    block: ArrayLike | None = None,
    family: ArrayLike | None = None,
    omnibus: Mapping[str, NDArray[np.bool_]] | None = None,
    n_permutations: int = 10_000,
    alpha: float = 0.05,
    rng: int | np.random.Generator | None = None,
    tail: Literal["none", "gpd"] = "none",
    block_bytes: int = 1 << 28,
    device: str = "auto",
    callback: Progress | None = None,
) -> PermutationResult:
    """Test a linear contrast of a design in every feature, by the residuals of the model without it.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    design : array_like of float, shape (n_units, n_columns)
        Design matrix, with its intercept where there is to be one; it may be rank-deficient.
    contrast : array_like of float, shape (n_columns,) or (n_rows, n_columns)
        Weights of the columns; several independent rows are tested jointly by F.
    statistic : {"hc3", "student", "mean"}
        The contrast over its HC3 standard error (for several rows Wald's statistic over their number), which keeps
        its level where the variance changes along the design (DiCiccio & Romano 2017); over the standard error of
        equal variances, t (F for several rows; also for ``"hc3"`` of a mean alone, where it is right whatever the
        variances); or the estimate (one row only).
    alternative : {"two-sided", "greater", "less"}
        Direction, for one row.
    errors : {"auto", "exchangeable", "symmetric"}
        Whether residuals are exchanged, or their signs flipped. Flipped, each keeps its own variance: ``"auto"`` does
        so with ``"hc3"``, unless there are clusters or blocks, which exchanges keep together. The other statistics
        are of errors of one variance, which are exchanged.
    cluster : array_like or None, shape (n_units,)
        Units that move (or flip) together, in their order; clusters of one size trade places. With ``"hc3"`` they
        are studentized by CR3, which lets the units of a cluster depend on one another.
    block : array_like or None, shape (n_units,)
        Exchangeability block; without effect on flips.
    family, omnibus, n_permutations, alpha, rng, tail, block_bytes, device, callback
        As in `permutation_test`.

    Returns
    -------
    PermutationResult

    Raises
    ------
    InputError
        If the design cannot estimate the contrast, leaves no residual degrees of freedom, one unit alone determines
        a coefficient, or for what `permutation_test` refuses.

    Examples
    --------
    The slope of a rating beside word length, in four features:

    >>> rng = np.random.default_rng(0)
    >>> rating, length = rng.normal(size=(2, 80))
    >>> values = rng.normal(size=(80, 4)) + length[:, None]
    >>> values[:, 0] += 0.6 * rating
    >>> design = np.column_stack([np.ones(80), rating, length])
    >>> result = permutation_test_contrast(values, design, [0, 1, 0], n_permutations=999, rng=0)
    >>> print(result.p_fwer < 0.05)
    [ True False False False]
    """
    checked = check_values(values)
    matrix = check_matrix("design", design, len(checked))
    weights = np.atleast_2d(np.asarray(contrast, dtype=np.float64))
    if weights.ndim != 2 or weights.shape[1] != matrix.shape[1] or not np.all(np.isfinite(weights)):
        raise InputError(
            f"contrast has shape {np.shape(contrast)}, but the design has {matrix.shape[1]} columns; "
            "give one finite weight a column."
        )
    check_choice("statistic", statistic, ("hc3", "student", "mean"))
    check_choice("errors", errors, ("auto", "exchangeable", "symmetric"))
    if len(weights) > 1 and (statistic == "mean" or alternative != "two-sided"):
        raise InputError("contrast has several rows, which only the two-sided tests take; give one row.")
    # The t of a mean alone is right whatever the variances.
    of_mean = matrix.shape[1] == 1 and is_constant(matrix)[0]
    model = contrast_model(matrix, weights, "student" if of_mean and statistic == "hc3" else statistic)
    if model is None:
        raise InputError("the design cannot estimate the contrast: its columns are collinear; drop or join some.")
    clusters, blocks = check_codes("cluster", cluster, len(checked)), check_codes("block", block, len(checked))
    if errors == "auto":
        errors = "symmetric" if model.kind == "hc3" and clusters is None and blocks is None else "exchangeable"
    if clusters is not None and errors == "exchangeable":
        model = replace(model, cluster=np.unique(clusters, return_inverse=True)[1])
    check_freedom(model)
    sampling = make_sampling(n_permutations, rng)
    relabelings: Relabelings
    if errors == "symmetric":
        relabelings = flip_signs(clusters, len(checked), sampling)
    else:
        relabelings = exchange_rows(matrix, sampling, cluster=clusters, block=blocks)
    plan = make_plan(checked, relabelings, alternative, family, omnibus, alpha, tail, block_bytes, device, callback)
    if clusters is not None:
        check_resolution(relabelings, alpha, alternative)
    return run_permutations(checked, model, relabelings, plan)


# --- from labels to a statistic and its relabelings -------------------------------------------------


def _paired(
    values: Floats, layout: Layout, statistic: Kind, sampling: Sampling
) -> tuple[Floats, Statistic, Relabelings]:
    """Differences a - b of the pairs, as a one-sample model whose signs flip."""
    if statistic not in ("paired", "mean"):
        raise InputError(
            f"statistic is {statistic!r}, but pairs are compared by 'paired' or 'mean'; choose one, or pass the "
            "pair codes as block."
        )
    in_a, in_b = _partners(layout)
    if len(in_a) < 2:
        raise InputError("there is only one pair; a paired test needs at least two.")
    differences = values[in_a] - values[in_b]
    # The size against which a difference counts as rounding is that of the values, not of the differences.
    largest = np.maximum(_largest(values), np.finfo(np.float64).tiny)
    differences[:, _largest(differences) <= 1e-12 * largest] = 0.0
    design = np.ones((len(in_a), 1))
    if layout.covariates is not None:
        design = np.hstack([design, layout.covariates[in_a] - layout.covariates[in_b]])
    contrast = np.eye(1, design.shape[1])
    robust: Literal["hc3", "student"] = "student" if layout.covariates is None else "hc3"
    model = contrast_model(design, contrast, robust if statistic == "paired" else "mean")
    if model is None:
        raise InputError(
            "a covariate differs by the same amount in every pair, so it is collinear with the condition; drop it."
        )
    check_freedom(model)
    cluster = None
    if layout.cluster is not None:
        cluster = layout.cluster[in_a]
        check_same("cluster", cluster, layout.cluster[in_b])
    if layout.block is not None:
        check_same("block", layout.block[in_a], layout.block[in_b])
    return differences, model, flip_signs(cluster, len(in_a), sampling)


def _largest(values: Floats) -> Floats:
    """Largest absolute value of each feature, shape (n_features,)."""
    return np.asarray(np.maximum(values.max(axis=0), -values.min(axis=0)))


def _two_samples(layout: Layout, statistic: Literal["welch", "student", "mean"]) -> Statistic:
    """Difference of two means, with an error for whole clusters where there are any."""
    if layout.cluster is None or statistic != "welch" or mixed_clusters(layout.condition, layout.cluster).any():
        return TwoSample(layout.condition, statistic)
    return ClusteredTwoSample(layout.condition, np.unique(layout.cluster, return_inverse=True)[1])


def _partners(layout: Layout) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    in_a, in_b = np.flatnonzero(layout.condition), np.flatnonzero(~layout.condition)
    pair = np.asarray(layout.pair)
    names, codes = np.unique(pair, return_inverse=True)
    of_a = np.bincount(codes[in_a], minlength=len(names))
    of_b = np.bincount(codes[in_b], minlength=len(names))
    wrong = np.flatnonzero((of_a != 1) | (of_b != 1))
    if len(wrong):
        k = wrong[0]
        raise InputError(
            f"pair {names[k]} has {of_a[k]} units in condition a and {of_b[k]} in b, but needs one of each; "
            "drop it or find its partner."
        )
    return in_a[np.argsort(codes[in_a])], in_b[np.argsort(codes[in_b])]


def _adjusted(
    layout: Layout, covariates: Floats, statistic: Literal["welch", "student", "mean"], sampling: Sampling
) -> tuple[LinearModel, Relabelings]:
    """Effect of the condition beside covariates: the residuals are exchanged, or flipped where each has a variance."""
    n_units = len(layout.condition)
    # Centered, a covariate with a large mean and a small spread is not mistaken for the intercept.
    centered = covariates - covariates.mean(axis=0)
    design = np.column_stack([layout.condition.astype(np.float64), np.ones(n_units), centered])
    model = contrast_model(design, np.eye(1, design.shape[1]), "hc3" if statistic == "welch" else statistic)
    if model is None:
        raise InputError(f"{_collinear(layout.condition, covariates)} collinear with the condition; drop it.")
    if layout.cluster is not None and not mixed_clusters(layout.condition, layout.cluster).any():
        model = replace(model, cluster=np.unique(layout.cluster, return_inverse=True)[1])
    check_freedom(model)
    if model.kind == "hc3" and layout.cluster is None and layout.block is None:
        return model, flip_signs(None, n_units, sampling)
    whole = None if layout.cluster is None else ~mixed_clusters(layout.condition, layout.cluster)
    return model, exchange_rows(design, sampling, cluster=layout.cluster, block=layout.block, whole=whole)


def _collinear(condition: NDArray[np.bool_], covariates: Floats) -> str:
    label = condition - condition.mean()
    for k, column in enumerate(covariates.T):
        centered = column - column.mean()
        product = np.linalg.norm(label) * np.linalg.norm(centered)
        if product > 0 and abs(label @ centered) > (1 - 1e-10) * product:
            return f"covariate {k} is"
    return "a combination of the covariates is"
