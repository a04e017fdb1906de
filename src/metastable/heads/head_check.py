"""The numbers of one head beside those of the standard tools: pingouin, statsmodels and scipy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import one_line
from metastable.heads.one_head import OneHead
from metastable.heads.side_by_side import ERRORS, SideBySide, cell, permutation_p, relabelings_drawn, seeded
from metastable.stats.analysis import Settings
from metastable.stats.effects import small_sample_factor, welch
from metastable.stats.intraclass import intraclass_correlation
from metastable.stats.samples import sample_moments, split_samples

__all__ = ["check_head"]

Floats = NDArray[np.float64]

_RESAMPLES, _OURS = 4000, Settings().n_resamples
# The optimizer of statsmodels stops this close to the optimum, in standard errors of the estimate.
_OPTIMIZER, _STEPS = 0.02, 3000
# Rows and levels above which statsmodels takes minutes: it holds a matrix of all rows of a group.
_MIXED_ROWS, _CROSSED_ROWS = 60_000, 1_200
_FDR_METHODS = {"bh": "fdr_bh", "by": "fdr_by", "holm": "holm"}


def check_head(one: OneHead) -> pd.DataFrame:
    """Run the standard tools on one head, and set their numbers beside those of the report.

    Parameters
    ----------
    one : OneHead

    Returns
    -------
    pandas.DataFrame
        One row per quantity: ``quantity``; ``ours``, as the tables have it; ``theirs``, NaN where no standard tool has
        it; ``tool``, with its version; ``difference``; ``tolerance``, how far apart the two may be; ``agrees``, None
        where the tools have no such quantity or answer another question; ``why``: where the tolerance comes from, or
        what the tools lack.

    Notes
    -----
    Nothing of what is compared is taken from our own code but the values of the units: t, p and degrees of freedom are
    pingouin's ``ttest``, ``tost``, ``bayesfactor_ttest`` and ``compute_effsize``, intervals scipy's, regressions and
    mixed models statsmodels', and permutations and bootstraps scipy's, with statistics written in numpy.
    """
    import statsmodels.regression.mixed_linear_model  # noqa: F401 - it sets filters of its own when it is imported

    rows = SideBySide()
    contrast = one.contrast
    with warnings.catch_warnings():
        # the tools warn of what is no fault here: an approximation, a variance at its bound
        warnings.simplefilter("ignore")
        if one.observations is not None:
            _over_contexts(rows, one)
        elif contrast.predictor is not None:
            _slope(rows, one)
        else:
            _difference(rows, one)
        _clusters(rows, one)
        _factorial(rows, one)
        _mixed(rows, one)
    _corrected(rows, one)
    return rows.table()


def _groups(one: OneHead) -> tuple[Floats, Floats]:
    """Return the values of a and of b, partners in the same order."""
    condition, values = one.contrast.condition, one.tested[:, 0]
    a, b = values[condition], values[~condition]
    if one.contrast.pair is not None:
        pair = one.contrast.pair
        a, b = a[np.argsort(pair[condition], kind="stable")], b[np.argsort(pair[~condition], kind="stable")]
    return a, b


def _difference(rows: SideBySide, one: OneHead) -> None:
    import pingouin
    from scipy import stats

    row, (a, b) = one.row, _groups(one)
    paired, held = one.contrast.pair is not None, bool(one.options.covariates)
    rows.add(f"mean, {one.contrast.a.name}", row["mean_a"], a.mean(), "numpy mean")
    rows.add(f"mean, {one.contrast.b.name}", row["mean_b"], b.mean(), "numpy mean")
    if row["flat"] or (np.ptp(a) == 0 and np.ptp(b) == 0) or (paired and np.ptp(a - b) == 0):
        rows.none("p", row["p_perm"], "the values do not vary, and the tools return NaN")
        return
    suffix = "_unadjusted" if held else ""
    what = "paired t" if paired else "Welch's t"
    table = pingouin.ttest(a, b, paired=paired, correction=not paired)
    moments = sample_moments(split_samples(one.tested, one.contrast.condition, pair=one.contrast.pair))
    found = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
    interval = found.confidence_interval()
    estimate = row[f"difference{suffix}"]
    rows.add("difference", estimate, a.mean() - b.mean(), "numpy mean")
    rows.add("difference, 95% CI, low", row[f"ci_low{suffix}"], interval.low, f"scipy {_name(paired)}")
    rows.add("difference, 95% CI, high", row[f"ci_high{suffix}"], interval.high, f"scipy {_name(paired)}")
    if not held:
        rows.add(what, row["statistic"], cell(table, "T"), "pingouin ttest")
    rows.add(f"degrees of freedom of {what}", float(welch(moments)[1][0]), cell(table, "dof"), "pingouin ttest")
    rows.add(f"p of {what}", row["p_unadjusted"], cell(table, "p-val"), "pingouin ttest")
    _sizes(rows, one, a, b, suffix)
    _superiority(rows, one, a, b)
    _bayes(rows, one, a, b)
    _equivalence(rows, one, a, b)
    if held:
        rows.none("p by permutation", row["p_perm"], _FLIPPED_RESIDUALS)
    else:
        _permuted_difference(rows, one, a, b)
    _regression(rows, one)


_FLIPPED_RESIDUALS = (
    "no tool of pingouin, statsmodels or scipy flips the residuals of a model without the effect, with HC3 errors; the "
    "p of its t stands above"
)


def _name(paired: bool) -> str:
    return "ttest_rel" if paired else "ttest_ind(equal_var=False)"


def _sizes(rows: SideBySide, one: OneHead, a: Floats, b: Floats, suffix: str) -> None:
    """Hedges' g; of pairs also without the small-sample factor, for pingouin takes another."""
    import pingouin
    from scipy import stats

    row, paired = one.row, one.contrast.pair is not None
    moments = sample_moments(split_samples(one.tested, one.contrast.condition, pair=one.contrast.pair))
    g = row[f"g{suffix}"] if suffix else row["hedges_g"]
    theirs = pingouin.compute_effsize(a, b, paired=paired, eftype="hedges")
    if paired:
        factor = float(small_sample_factor(moments)[0])
        d = pingouin.compute_effsize(a, b, paired=True, eftype="cohen")
        rows.add("Cohen's d (both sides' mean variance)", g / factor, d, "pingouin compute_effsize(cohen, paired)")
        rows.other(
            "Hedges' g", g, theirs, "pingouin compute_effsize(hedges, paired)",
            "the same d times another small-sample factor: ours is that of partners (Cousineau 2020), pingouin's that "
            "of two groups",
        )  # fmt: skip
    else:
        rows.add("Hedges' g", g, theirs, "pingouin compute_effsize(hedges)")
    if suffix or not np.isfinite(row["g_low"]):
        return

    def statistic(x: Floats, y: Floats, axis: int = -1) -> Floats:
        """Hedges' g with the factor of two groups, or d of partners."""
        n, m = x.shape[axis], y.shape[axis]
        var_x, var_y = x.var(axis=axis, ddof=1), y.var(axis=axis, ddof=1)
        weight = 0.5 if paired else (n - 1) / (n + m - 2)
        scale = np.sqrt(weight * var_x + (1 - weight) * var_y)
        factor = 1.0 if paired else 1 - 3 / (4 * (n + m - 2) - 1)
        return np.asarray(factor * (x.mean(axis=axis) - y.mean(axis=axis)) / scale)

    found = stats.bootstrap(
        (a, b), statistic, paired=paired, vectorized=True, method="BCa", n_resamples=_RESAMPLES, batch=500,
        **seeded(stats.bootstrap, one.options.seed),
    )  # fmt: skip
    factor = float(small_sample_factor(moments)[0]) if paired else 1.0
    _bootstrapped(rows, one, "g", found, factor)


def _bootstrapped(rows: SideBySide, one: OneHead, symbol: str, found: Any, factor: float = 1.0) -> None:
    """Compare BCa limits: quantiles of what either side drew, at levels that depend on what it drew."""
    from scipy import stats

    drawn = np.sort(factor * np.asarray(found.bootstrap_distribution).ravel())
    # of few units a resample may not vary at all
    drawn = drawn[np.isfinite(drawn)]
    draws = np.sqrt(1 / _OURS + 1 / len(drawn))
    limits = factor * found.confidence_interval.low, factor * found.confidence_interval.high
    for side, limit in zip(("low", "high"), limits, strict=True):
        ours = one.row[f"{symbol}_{side}"]
        if not np.isfinite(limit):
            rows.none(f"{symbol}, 95% BCa CI, {side}", ours, "scipy's is not finite: resamples do not vary")
            continue
        level = float(np.clip(np.searchsorted(drawn, limit) / len(drawn), 1 / len(drawn), 1 - 1 / len(drawn)))
        # of the level: that of a share of the draws, and twice that of the bias correction, z of the share below
        density = float(stats.norm.pdf(stats.norm.ppf(level)))
        error = ERRORS * draws * np.hypot(np.sqrt(level * (1 - level)), density * np.sqrt(2 * np.pi))
        around = np.quantile(drawn, np.clip([level - error, level + error], 0, 1))
        within = float(np.abs(around - limit).max())
        rows.add(
            f"{symbol}, 95% BCa CI, {side}", ours, limit, "scipy bootstrap(BCa)", within=within,
            why=f"both draw: {ERRORS:g} Monte Carlo standard errors of a quantile of {_OURS:,} and of {_RESAMPLES:,} "
            "resamples",
        )  # fmt: skip


def _superiority(rows: SideBySide, one: OneHead, a: Floats, b: Floats) -> None:
    from scipy import stats

    ours = one.row["superiority"]
    if one.contrast.pair is None:
        u = float(stats.mannwhitneyu(a, b).statistic)
        rows.add("probability of superiority", ours, u / (len(a) * len(b)), "scipy mannwhitneyu")
    else:
        d = a - b
        rows.add("probability of superiority", ours, (d > 0).mean() + (d == 0).mean() / 2, "numpy mean")


def _bayes(rows: SideBySide, one: OneHead, a: Floats, b: Floats) -> None:
    import pingouin

    ours = one.row["log10_bf10"]
    if one.options.covariates:
        rows.none(
            "log10 BF10", ours, "no tool of pingouin or statsmodels has it beside covariates; R's BayesFactor has"
        )
        return
    paired = one.contrast.pair is not None
    t = cell(pingouin.ttest(a, b, paired=paired, correction=False), "T")
    theirs = float(pingouin.bayesfactor_ttest(t, len(a), None if paired else len(b), paired=paired, r=0.707))
    if not np.isfinite(theirs) or theirs <= 0:
        rows.none("log10 BF10", ours, "beyond what pingouin's float holds")
        return
    rows.add(
        "log10 BF10 (Student's t, scale 0.707)", ours, np.log10(theirs), "pingouin bayesfactor_ttest", within=1e-4,
        why="the same integral, by another quadrature",
    )  # fmt: skip


def _equivalence(rows: SideBySide, one: OneHead, a: Floats, b: Floats) -> None:
    import pingouin

    ours, margin, paired = one.row["p_tost"], one.options.margin, one.contrast.pair is not None
    if one.options.covariates:
        rows.none("p of equivalence (TOST)", ours, "no tool of pingouin or statsmodels has it beside covariates")
        return
    n, m = len(a), len(b)
    weight = 0.5 if paired else (n - 1) / (n + m - 2)
    scale = np.sqrt(weight * a.var(ddof=1) + (1 - weight) * b.var(ddof=1))
    found = cell(pingouin.tost(a, b, bound=float(margin * scale), paired=paired, correction=True), "pval")
    what = f"p of equivalence (TOST, ±{margin:g} SD)"
    if paired:
        rows.other(
            what, ours, found, "pingouin tost(paired)",
            "pingouin takes the standard deviation of the margin as known; ours counts its error too",
        )  # fmt: skip
    else:
        rows.add(what, ours, found, "pingouin tost")


def _permuted(rows: SideBySide, one: OneHead, theirs: float, drawn: float, tool: str) -> None:
    ours, m = float(one.row["p_perm"]), one.analysis.n_permutations
    rows.permuted("p by permutation", ours, m, theirs, drawn, tool)


def _permuted_difference(rows: SideBySide, one: OneHead, a: Floats, b: Floats) -> None:
    paired = one.contrast.pair is not None

    def statistic(x: Floats, y: Floats, axis: int = -1) -> Floats:
        """Size of Welch's or of the paired t."""
        n, m = x.shape[axis], y.shape[axis]
        if paired:
            d = x - y
            return np.asarray(np.abs(d.mean(axis=axis)) / np.sqrt(d.var(axis=axis, ddof=1) / n))
        error = x.var(axis=axis, ddof=1) / n + y.var(axis=axis, ddof=1) / m
        return np.asarray(np.abs(x.mean(axis=axis) - y.mean(axis=axis)) / np.sqrt(error))

    drawn = relabelings_drawn(len(one.tested), exact=one.analysis.exact)
    kind = "samples" if paired else "independent"
    p = permutation_p((a, b), statistic, kind, drawn, one.options.seed + 1)
    _permuted(rows, one, p, drawn, "scipy permutation_test (|t|)")


def _held(one: OneHead) -> tuple[list[str], str]:
    """Return the covariates that the adjusted estimates of the details hold fixed, and their suffix there."""
    if f"p_{_ADJUSTED}" not in one.row.index or one.analysis.no_adjustment:
        return [], _ADJUSTED
    names = list(one.options.covariates) or [str(name) for name in one.contrast.covariates.columns]
    table = one.contrast.covariates[names]
    left_out = {*one.analysis.determined, *one.analysis.single}
    return [name for name in names if name not in left_out and np.ptp(table[name].to_numpy(dtype=float)) > 0], _ADJUSTED


_ADJUSTED = "adjusted"


def _regression(rows: SideBySide, one: OneHead) -> None:
    """Compare the differences beside covariates with ordinary least squares and HC3 errors."""
    from statsmodels.regression.linear_model import OLS

    names, suffix = _held(one)
    if not names:
        return
    table, condition = one.contrast.covariates[names].to_numpy(dtype=float), one.contrast.condition
    if one.contrast.pair is not None:
        pair = one.contrast.pair
        in_a, in_b = np.flatnonzero(condition), np.flatnonzero(~condition)
        in_a, in_b = in_a[np.argsort(pair[in_a])], in_b[np.argsort(pair[in_b])]
        # the intercept is the difference of partners whose covariates are alike
        outcome, held, at = one.tested[in_a, 0] - one.tested[in_b, 0], table[in_a] - table[in_b], 0
        design = np.column_stack([np.ones(len(outcome)), held[:, np.ptp(held, axis=0) > 0]])
    else:
        outcome, at = one.tested[:, 0], 1
        design = np.column_stack([np.ones(len(outcome)), condition, table - table.mean(axis=0)])
    _robust(rows, one, OLS(outcome, design), at, "difference", suffix, names)


def _robust(rows: SideBySide, one: OneHead, model: Any, at: int, effect: str, suffix: str, names: list[str]) -> None:
    fit = model.fit(cov_type="HC3", use_t=True)
    beside = f" with {', '.join(names)} held fixed" if names else ""
    tool = "statsmodels OLS(cov_type='HC3')"
    low, high = fit.conf_int()[at]
    rows.add(f"{effect}{beside}", one.row[f"{effect}_{suffix}"], fit.params[at], tool)
    rows.add(f"{effect}{beside}, 95% CI, low", one.row[f"ci_low_{suffix}"], low, tool)
    rows.add(f"{effect}{beside}, 95% CI, high", one.row[f"ci_high_{suffix}"], high, tool)
    rows.add(f"p of its t{beside}", one.row[f"p_{suffix}"], fit.pvalues[at], tool)
    if bool(one.options.covariates) == bool(names):
        rows.add(f"t{beside}", one.row["statistic"], fit.tvalues[at], tool)


def _slope(rows: SideBySide, one: OneHead) -> None:
    import pingouin
    from scipy import stats
    from statsmodels.regression.linear_model import OLS

    row, x, y = one.row, one.contrast.predictor, one.tested[:, 0]
    if x is None:
        raise TypeError("the contrast has no continuous predictor")
    if row["flat"]:
        rows.none("p", row["p_perm"], "the values do not vary, and the tools return NaN")
        return
    ones = np.ones(len(y))
    _robust(rows, one, OLS(y, np.column_stack([ones, x])), 1, "slope", "unadjusted", [])
    names, suffix = _held(one)
    table = one.contrast.covariates[names]
    if names:
        design = np.column_stack([ones, x, table.to_numpy(dtype=float)])
        _robust(rows, one, OLS(y, design), 1, "slope", suffix, names)
    held = names if one.options.covariates else []
    frame = table[held].assign(_x=x, _y=y).rename(columns={name: f"c{k}" for k, name in enumerate(held)})
    covar = [f"c{k}" for k in range(len(held))]
    found = (
        pingouin.partial_corr(frame, "_x", "_y", covar or None) if covar else pingouin.corr(frame["_x"], frame["_y"])
    )
    r = float(found["r"].iloc[0])
    tool = f"pingouin {'partial_corr' if covar else 'corr'}"
    rows.add("partial correlation" if covar else "correlation", row["correlation"], r, tool)
    rows.add("d of the slope, 2r / sqrt(1 - r²)", row["partial_d"], 2 * r / np.sqrt(1 - r**2), tool)
    rows.none(
        "log10 BF10", row["log10_bf10"],
        "pingouin's bayesfactor_pearson has another prior; R's BayesFactor has this one (regressionBF)",
    )  # fmt: skip
    rows.none("p of equivalence (TOST)", row["p_tost"], "pingouin's tost is of means; ours is of Fisher's z")
    if held:
        rows.none("d, 95% BCa CI, low", row["d_low"], "scipy's bootstrap would draw the regression anew each time")
        rows.none("p by permutation", row["p_perm"], _FLIPPED_RESIDUALS)
        return

    def size(u: Floats, v: Floats, axis: int = -1) -> Floats:
        """Return the d of a correlation."""
        du, dv = u - u.mean(axis=axis, keepdims=True), v - v.mean(axis=axis, keepdims=True)
        c = (du * dv).sum(axis=axis) / np.sqrt((du**2).sum(axis=axis) * (dv**2).sum(axis=axis))
        return np.asarray(2 * c / np.sqrt(1 - c**2))

    drawn = stats.bootstrap(
        (x, y), size, paired=True, vectorized=True, method="BCa", n_resamples=_RESAMPLES, batch=500,
        **seeded(stats.bootstrap, one.options.seed),
    )  # fmt: skip
    _bootstrapped(rows, one, "d", drawn)
    _permuted_slope(rows, one, np.asarray(x, dtype=float), y)


def _permuted_slope(rows: SideBySide, one: OneHead, x: Floats, y: Floats) -> None:
    n = len(y)
    leverage = 1 / n + (x - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()

    def statistic(v: Floats, axis: int = -1) -> Floats:
        """Size of the slope over its HC3 error."""
        u = np.moveaxis(v, axis, -1) if np.ndim(v) > 1 else np.asarray(v)
        dx = x - x.mean()
        slope = u @ dx / (dx @ dx)
        residual = u - u.mean(axis=-1, keepdims=True) - slope[..., None] * dx
        error = np.sqrt(((dx / (dx @ dx) / (1 - leverage)) ** 2 * residual**2).sum(axis=-1))
        return np.asarray(np.abs(slope) / error)

    drawn = relabelings_drawn(len(one.tested), exact=one.analysis.exact)
    p = permutation_p((y,), statistic, "pairings", drawn, one.options.seed + 1)
    _permuted(rows, one, p, drawn, "scipy permutation_test (|slope / HC3 error|)")


def _clusters(rows: SideBySide, one: OneHead) -> None:
    """How alike the sequences of a cluster are; no test of the report rests on it, and plans do."""
    frame = one.frame.dropna(subset=["unit"])
    if one.contrast.pair is not None or "cluster" not in frame or len(frame) == len(one.units):
        return
    import pingouin

    for name, mine in frame.groupby("condition", sort=False):
        sizes = mine["cluster"].value_counts()
        if len(sizes) < 2 or sizes.max() < 2:
            continue
        ours = float(intraclass_correlation(mine["value"].to_numpy(), mine["cluster"].to_numpy())[0])
        what = f"intraclass correlation of clusters, {name}"
        if sizes.min() < sizes.max():
            rows.none(what, ours, "pingouin's intraclass_corr takes clusters of one size, and these differ")
            continue
        table = mine.assign(rater=mine.groupby("cluster").cumcount())
        found = pingouin.intraclass_corr(table, targets="cluster", raters="rater", ratings="value")
        # the first row is ICC(1), of one-way random effects
        rows.add(what, ours, float(found["ICC"].iloc[0]), "pingouin intraclass_corr (ICC1)")


def _factorial(rows: SideBySide, one: OneHead) -> None:
    """Compare the contrasts of two-by-two designs, and paired ones, with analyses of variance."""
    import pingouin

    contrast, row = one.contrast, one.row
    if contrast.predictor is not None or one.observations is not None or one.options.covariates or row["flat"]:
        return
    frame = one.frame.dropna(subset=["unit"])
    if contrast.pair is not None:
        if "level" not in frame:
            found = pingouin.rm_anova(one.units, dv="value", within="condition", subject="unit", detailed=False)
            rows.add("F of the paired difference, t²", row["statistic"] ** 2, cell(found, "F"), "pingouin rm_anova")
            return
        if frame.groupby("unit")["condition"].nunique().max() > 1:
            found = pingouin.rm_anova(
                frame, dv="value", within=["condition", "level"], subject="unit"
            )  # fmt: skip
            at = {"condition": 0, "interaction": 2}.get(contrast.name, 1)
            rows.add(f"F of the {contrast.name}, t²", row["statistic"] ** 2, cell(found, "F", at), "pingouin rm_anova")
        return
    if "level" in frame and contrast.name in {"interaction", "condition"}:
        found = pingouin.mixed_anova(frame, dv="value", within="level", subject="unit", between="condition")
        moments = sample_moments(split_samples(one.tested, contrast.condition))
        d = row["hedges_g"] / float(small_sample_factor(moments)[0])
        f = d**2 * contrast.n_a * contrast.n_b / (contrast.n_a + contrast.n_b)
        at = {"condition": 0, "interaction": 2}[contrast.name]
        rows.add(f"F of the {contrast.name} (equal variances)", f, cell(found, "F", at), "pingouin mixed_anova")


def _mixed(rows: SideBySide, one: OneHead) -> None:
    """Compare the mixed model with statsmodels' MixedLM."""
    row, tokens = one.row, one.tokens
    if tokens is None or not np.isfinite(row["lmm_estimate"]):
        return
    values, design = tokens.read(slice(0, 1))[:, 0], tokens.design
    group, cluster = tokens.group, tokens.cluster
    nested = cluster is None or _nested(group, cluster)
    limit = _MIXED_ROWS if nested else _CROSSED_ROWS
    if len(values) > limit:
        rows.none(
            "mixed model, estimate", row["lmm_estimate"],
            f"statsmodels would take long over its {len(values):,} rows; R's lme4 fits it: "
            + one.contrast.mixed_formula(one.options.measure, one.options.covariates),
        )  # fmt: skip
        return
    from statsmodels.regression.mixed_linear_model import MixedLM

    # in units of what varies, which the optimizer's first steps are of
    unit = float(values.std()) or 1.0
    ones = np.zeros(len(values), dtype=int)
    if cluster is None:
        model = MixedLM(values / unit, design, groups=group)
    elif nested:
        of_cluster = {int(code): np.ones((int((cluster == code).sum()), 1)) for code in np.unique(cluster)}
        components = _components({"cluster": of_cluster, "group": dict(_within(group, cluster))})
        model = MixedLM(values / unit, design, groups=cluster, exog_re=None, exog_vc=components)
    else:
        matrices = {"group": {0: _indicators(group)}, "cluster": {0: _indicators(cluster)}}
        model = MixedLM(values / unit, design, groups=ones, exog_re=None, exog_vc=_components(matrices))
    fit = _fit(rows, one, model)
    if fit is None:
        return
    _fitted(rows, one, fit, 1, unit, "mixed model")
    rows.other(
        "mixed model, p", row["lmm_p"], float(np.asarray(fit.pvalues)[1]), "statsmodels MixedLM",
        "statsmodels takes the t for normal; ours has Satterthwaite's degrees of freedom, as R's lmerTest",
    )  # fmt: skip


def _fit(rows: SideBySide, one: OneHead, model: Any) -> Any:
    """Fit a mixed model with statsmodels; where that fails say so and return None.

    By Nelder and Mead: where a variance is at its bound the optimizers that follow a gradient stop short of it.
    """
    try:
        return model.fit(reml=True, method="nm", maxiter=_STEPS)
    except (np.linalg.LinAlgError, ValueError) as error:
        rows.none("mixed model, estimate", one.row["lmm_estimate"], f"statsmodels fails here: {one_line(error)}")
        return None


def _fitted(
    rows: SideBySide, one: OneHead, fit: Any, at: int, unit: float, name: str, *, errors: Floats | None = None
) -> None:
    """Compare an estimate and its standard error with those of a fit of statsmodels; `errors` if not its own."""
    se, tool = float(one.row["lmm_se"]), "statsmodels MixedLM"
    pairs = {
        "estimate": (one.row["lmm_estimate"], fit.fe_params),
        "standard error": (se, fit.bse_fe if errors is None else errors),
    }
    for what, (ours, theirs) in pairs.items():
        number = unit * float(np.asarray(theirs)[at])
        if fit.converged:
            why = f"another optimizer of the same likelihood: within {_OPTIMIZER:g} standard errors"
            rows.add(f"{name}, {what}", ours, number, tool, within=_OPTIMIZER * se, why=why)
        else:
            rows.other(f"{name}, {what}", ours, number, tool, "statsmodels did not converge here; R's lme4 fits it")


def _nested(group: NDArray[np.integer], cluster: NDArray[np.integer]) -> bool:
    """Whether each group lies in one cluster."""
    return len(np.unique(np.column_stack([group, cluster]), axis=0)) == len(np.unique(group))


def _indicators(codes: NDArray[np.integer]) -> Floats:
    return np.asarray(codes[:, None] == np.unique(codes)[None, :], dtype=np.float64)


def _within(group: NDArray[np.integer], cluster: NDArray[np.integer]) -> list[tuple[int, Floats]]:
    """Return the indicators of the groups of each cluster."""
    return [(int(code), _indicators(group[cluster == code])) for code in np.unique(cluster)]


def _components(matrices: dict[str, dict[int, Floats]]) -> Any:
    """Put indicators as statsmodels takes variance components: by component, then by group."""
    from statsmodels.regression.mixed_linear_model import VCSpec

    names = list(matrices)
    groups = [list(matrices[name]) for name in names]
    columns = [[[f"{name}{k}" for k in range(matrices[name][code].shape[1])] for code in codes]
               for name, codes in zip(names, groups, strict=True)]  # fmt: skip
    return VCSpec(names, columns, [[matrices[name][code] for code in codes]
                                   for name, codes in zip(names, groups, strict=True)])  # fmt: skip


def _over_contexts(rows: SideBySide, one: OneHead) -> None:
    """Compare F1, F2 and min F', and the mixed model over items and contexts where it is small enough."""
    row, seen = one.row, one.observations
    if seen is None:
        raise TypeError("the tests are not over contexts")
    values, side, over = np.asarray(seen.values)[:, 0], seen.condition, _rows_over_both(one)
    ratios: dict[str, _Ratio] = {}
    for name, codes, called in (("items", seen.item, "F1"), ("contexts", seen.context, "F2")):
        if over.names or over.continuous:
            of_rows = over.item if name == "items" else over.context
            own = name == "contexts" and (over.differences or over.continuous or _in_both(side, codes))
            found = _own_ratio(over, of_rows) if own else _means_ratio(over, of_rows)
            missing = "no standard tool has it in this design, beside covariates or of slopes"
        else:
            found, missing = _level_ratio(values, side, codes), "levels are partly in both conditions: no tool tests it"
        if found is None:
            rows.none(f"{called}, over {name}{over.beside}", row[f"f_{name}"], missing)
            continue
        ratios[name] = found
        rows.add(f"{called}, over {name}{over.beside}", row[f"f_{name}"], found.ratio, found.tool)
        rows.add(f"p of {called}{over.beside}", row[f"p_{name}"], found.p, found.tool)
    if len(ratios) == 2:
        f1, f2 = ratios["items"].ratio, ratios["contexts"].ratio
        rows.add("min F′", row["min_f"], f1 * f2 / (f1 + f2), f"{ratios['items'].tool}: F1 F2 / (F1 + F2), Clark 1973")
    rows.none(
        "p over items and contexts", row["p_perm"], "no standard tool rotates the effects of both; lme4 has the t"
    )
    rows.none("log10 BF10", row["log10_bf10"], "no standard tool has that of a mixed model's t")
    if len(values) <= _CROSSED_ROWS:
        _crossed(rows, one, over)
    else:
        rows.none(
            "mixed model over both, estimate", row["lmm_estimate"],
            f"statsmodels would hold a matrix of {len(values):,} by {len(values):,}; R's lme4 fits it: "
            + one.analysis.over_contexts,
        )  # fmt: skip


@dataclass(frozen=True)
class _Ratio:
    """An F over items or over contexts, and who computed it."""

    ratio: float
    p: float
    tool: str


@dataclass(frozen=True)
class _Rows:
    """What the mixed model over both is of: differences within cells, or observations.

    `effect` is the column of the effect, of ones for differences, or the continuous predictor; `held` has the
    covariates that the model has.
    """

    outcome: Floats
    effect: Floats
    held: Floats
    names: list[str]
    item: NDArray[np.intp]
    context: NDArray[np.intp]
    differences: bool
    continuous: bool = False

    @property
    def beside(self) -> str:
        """Which covariates are held fixed, as a clause."""
        return f" with {', '.join(self.names)} held fixed" if self.names else ""

    @property
    def design(self) -> Floats:
        """Fixed effects, that of the effect last."""
        first = [] if self.differences else [np.ones(len(self.outcome))]
        return np.column_stack([*first, self.held, self.effect])


def _rows_over_both(one: OneHead) -> _Rows:
    seen = one.observations
    if seen is None:
        raise TypeError("the tests are not over contexts")
    fixed = one.analysis.over_contexts.partition(" ~ ")[2]
    table = pd.DataFrame(index=range(len(seen.condition))) if seen.covariates is None else seen.covariates
    names = [str(name) for name in table.columns if f" + {name} + " in f"{fixed} + "]
    frame = table[names].reset_index(drop=True).assign(_value=np.asarray(seen.values)[:, 0])
    if not fixed.startswith("1 +"):
        effect = seen.condition.astype(float) if seen.predictor is None else np.asarray(seen.predictor, dtype=float)
        return _Rows(
            frame["_value"].to_numpy(), effect, frame[names].to_numpy(dtype=float), names,
            seen.item, seen.context, differences=False, continuous=seen.predictor is not None,
        )  # fmt: skip

    def cells(mine: NDArray[np.bool_]) -> pd.DataFrame:
        return frame[mine].groupby([seen.item[mine], seen.context[mine]]).mean()

    gap = cells(seen.condition) - cells(~seen.condition)
    item, context = (gap.index.get_level_values(place).to_numpy() for place in (0, 1))
    return _Rows(
        gap["_value"].to_numpy(), np.ones(len(gap)), gap[names].to_numpy(dtype=float), names, item, context,
        differences=True,
    )  # fmt: skip


def _own_ratio(seen: _Rows, codes: NDArray[np.intp]) -> _Ratio | None:
    """F of the effects of a regression in each level; None where a level cannot carry one."""
    from scipy import stats
    from statsmodels.regression.linear_model import OLS

    effects = []
    for code in np.unique(codes):
        mine = codes == code
        columns = seen.design[mine]
        if len(columns) <= columns.shape[1] or np.linalg.matrix_rank(columns) < columns.shape[1]:
            return None
        effects.append(OLS(seen.outcome[mine], columns).fit().params[-1])
    found = stats.ttest_1samp(effects, 0.0)
    return _Ratio(float(found.statistic) ** 2, float(found.pvalue), "statsmodels OLS in each, scipy ttest_1samp (t²)")


def _means_ratio(seen: _Rows, codes: NDArray[np.intp]) -> _Ratio | None:
    """F of levels' means beside those of covariates, HC3 errors; None where levels are partly in both conditions."""
    frame = pd.DataFrame(seen.held).assign(_value=seen.outcome)
    if seen.continuous:
        means = frame.assign(_effect=seen.effect).groupby(codes).mean()
        return _hc3_ratio(means["_value"], [np.ones(len(means)), *means.drop(columns="_value").to_numpy().T])
    means = frame.groupby([codes, seen.effect]).mean()
    both = means.groupby(level=0).size() > 1
    effect = means.index.get_level_values(1).to_numpy()
    if both.all():
        of_a, of_b = (means[effect == one].droplevel(1) for one in (1.0, 0.0))
        means, effect = of_a - of_b, np.ones(len(of_a))
    elif both.any():
        return None
    first = [] if seen.differences or both.all() else [np.ones(len(means))]
    return _hc3_ratio(means["_value"], [*first, *means.drop(columns="_value").to_numpy().T, effect])


def _hc3_ratio(outcome: pd.Series[float], columns_of: list[Floats]) -> _Ratio | None:
    """F of the last column; None where the columns are too many or not independent."""
    from statsmodels.regression.linear_model import OLS

    columns = np.column_stack(columns_of)
    if len(columns) <= columns.shape[1] or np.linalg.matrix_rank(columns) < columns.shape[1]:
        return None
    fit = OLS(outcome.to_numpy(), columns).fit(cov_type="HC3", use_t=True)
    return _Ratio(float(fit.tvalues[-1]) ** 2, float(fit.pvalues[-1]), "statsmodels OLS(cov_type='HC3') of means (t²)")


def _level_ratio(values: Floats, side: NDArray[np.bool_], codes: NDArray[np.intp]) -> _Ratio | None:
    """F and p over the means of levels; None where some levels are in both conditions."""
    import pingouin

    frame = pd.DataFrame({"value": values, "side": side, "level": codes})
    means = frame.pivot_table(index="level", columns="side", values="value")
    both = means.notna().all(axis=1)
    if both.all():
        found = pingouin.ttest(means[True], means[False], paired=True)
    elif not both.any():
        found = pingouin.ttest(means[True].dropna(), means[False].dropna(), correction=True)
    else:
        return None
    return _Ratio(cell(found, "T") ** 2, cell(found, "p-val"), "pingouin ttest (t² of the levels' means)")


def _in_both(side: NDArray[np.bool_], codes: NDArray[np.intp]) -> bool:
    return set(codes[side].tolist()) == set(codes[~side].tolist())


def _crossed(rows: SideBySide, one: OneHead, over: _Rows) -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    row, seen = one.row, one.observations
    if seen is None:
        raise TypeError("the tests are not over contexts")
    fixed = one.analysis.over_contexts.partition(" ~ ")[2]
    if "(1 + " in fixed:
        rows.none(
            "mixed model over both, estimate", row["lmm_estimate"],
            "statsmodels has no correlated random slopes of two crossed factors; R's lme4 fits it: "
            + one.analysis.over_contexts,
        )  # fmt: skip
        return
    matrices = {
        name: {0: _indicators(codes)}
        for name, codes in zip(seen.names, (over.item, over.context), strict=True)
        if f"| {name})" in fixed
    }
    unit = float(over.outcome.std()) or 1.0
    groups, design = np.zeros(len(over.outcome), dtype=int), over.design
    model = MixedLM(over.outcome / unit, design, groups=groups, exog_re=None, exog_vc=_components(matrices))
    fit = _fit(rows, one, model)
    if fit is not None:
        # its own errors count what the variances' estimates share with those of fixed effects; lme4's do not
        spread = fit.scale * np.eye(len(design))
        for name, variance in zip(matrices, fit.vcomp, strict=True):
            spread += variance * matrices[name][0] @ matrices[name][0].T
        errors = np.sqrt(np.diag(np.linalg.inv(design.T @ np.linalg.solve(spread, design))))
        _fitted(rows, one, fit, design.shape[1] - 1, unit, f"mixed model over both{over.beside}", errors=errors)


def _corrected(rows: SideBySide, one: OneHead) -> None:
    """Compare the p that is corrected over heads; the family-wise p by the largest statistic has no counterpart."""
    from statsmodels.stats.multitest import multipletests

    family, method = one.family, one.options.correction
    at = int(np.flatnonzero((family["layer"] == one.row["layer"]) & (family["head"] == one.row["head"]))[0])
    what = f"p corrected over {len(family)} heads ({method})"
    if method in _FDR_METHODS:
        p = multipletests(family["p_perm"].to_numpy(dtype=float), method=_FDR_METHODS[method])[1][at]
        rows.add(what, one.row["p_perm_fdr"], p, f"statsmodels multipletests({_FDR_METHODS[method]})")
    else:
        rows.none(what, one.row["p_perm_fdr"], "no method of statsmodels or pingouin is the same")
    rows.none(
        f"p corrected over {len(family)} heads (largest statistic)", one.row["p_perm_fwer"],
        "no tool of pingouin, statsmodels or scipy; MNE's permutation_t_test and nilearn's permuted_ols have it of "
        "Student's t",
    )  # fmt: skip
