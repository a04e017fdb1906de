"""What a report says where its tests are over items and over the contexts that carry them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from metastable.heads.crossings import Crossing
from metastable.report.apa import format_g, format_level, format_share, plural
from metastable.report.run.scene import Scene
from metastable.report.sections import table
from metastable.report.words import covariate_name, held_clause

__all__ = ["context_blocks", "contexts_mixed", "contexts_sensitivity", "contexts_tested"]

_POWER = 0.8


def _over(crossing: Crossing) -> str:
    return f"{plural(crossing.n_items, crossing.item_name)} and {plural(crossing.n_contexts, crossing.context_name)}"


def _amid(scene: Scene) -> str:
    """Name what is held fixed, as a clause at the end of a sentence; empty where nothing is."""
    held = held_clause(scene.options)
    return f",{held}" if held else ""


def _what(scene: Scene) -> str:
    """Return what is tested: the condition, the predictor by its name, or the contrast of a two-by-two design."""
    return scene.contrast.name if scene.contrast.predictor is None else covariate_name(scene.contrast.formula)


def _why_untold(crossing: Crossing) -> str:
    """Say why there is no interaction with the context, as a clause."""
    item, context = crossing.item_name, crossing.context_name
    if crossing.predictor is not None:
        several = int((pd.Series(crossing.predictor).groupby(crossing.context).agg(np.ptp) > 0).sum())
        lacking = "have several values of the predictor"
    else:
        a, b = (set(crossing.context[side].tolist()) for side in (crossing.condition, ~crossing.condition))
        several, lacking = len(a & b), "are in both conditions"
    if several < 2:
        return f"no two {context}s {lacking}"
    return f"the {item}s and the {context}s leave no observations over to judge it by"


def _averaged(scene: Scene) -> Sequence[str]:
    """Say that contexts are averaged away, and why; nothing where there are none."""
    contrast, context = scene.contrast, scene.result.study.design.context
    if not contrast.averaged:
        return ()
    return (
        f"The tests are over {contrast.unit}s alone, {context}s averaged away, since {contrast.averaged}: the result "
        f"is one of these {context}s, and others may give another.",
    )


def context_blocks(scene: Scene) -> Sequence[str]:
    """Say over what the result generalizes, and what items alone and contexts alone would say.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    sequence of str
        Nothing where the design has no contexts.
    """
    crossing = scene.contrast.crossing
    if crossing is None:
        return _averaged(scene)
    item, context = crossing.item_name, crossing.context_name
    heads, alpha = scene.heads, scene.alpha
    n = len(heads)
    below = {name: (heads[f"p_{name}_fdr"] < alpha) for name in ("items", "contexts", "min_f", "interaction")}

    def share(name: str) -> str:
        missing = heads[f"p_{name}"].isna().any()
        return "no test: a covariate cannot be told from it" if missing else format_share(int(below[name].sum()), n)

    rows = [
        [f"over {item}s and {context}s: the verdict", format_share(int(scene.different.sum()), n)],
        ["over both, by the mixed model", format_share(int((heads["lmm_p_fdr"] < alpha).sum()), n)],
        ["over both, by min *F*′", share("min_f")],
        [f"over {item}s alone (*F*₁), {context}s averaged away", share("items")],
        [f"over {context}s alone (*F*₂), {item}s averaged away", share("contexts")],
    ]
    only = int((below["items"] & ~scene.different).sum())
    told = (
        f"Both the {item}s and the {context}s are draws from more that might have been drawn, and every test, interval "
        f"and verdict of this report is over both unless it says otherwise: {_over(crossing)}{_amid(scene)}. "
    )
    told += (
        ""
        if heads["p_items"].isna().any()
        else f"{plural(only, f'head {scene.effect.verb_one}', f'heads {scene.effect.verb}')} over {item}s when the "
        f"{context}s are averaged away, but not over both. "
    )
    if heads["p_interaction"].isna().any():
        told += f"Whether an effect depends on the {context} cannot be told, for {_why_untold(crossing)}."
    else:
        told += (
            f"In {format_share(int(below['interaction'].sum()), n)} heads the effect depends on the {context} "
            f"({_what(scene)} by {context}, FDR {format_level(alpha)})."
        )
    return told, table([f"heads {scene.effect.with_effect}", "of all"], rows, "lr")


def contexts_tested(scene: Scene) -> str:
    """Say in the past how heads were tested, for the methods paragraph; a sentence without its end.

    Parameters
    ----------
    scene : Scene
        Whose tests are over items and contexts.

    Returns
    -------
    str
    """
    crossing, n = _crossing(scene), scene.result.record.permutations.used
    return (
        f"Each of the {len(scene.heads)} heads was tested two-sidedly over {_over(crossing)}, both of them taken as "
        f"random, by the *t* of the linear mixed model {scene.analysis.over_contexts} (REML, Satterthwaite degrees of "
        f"freedom, as lme4 and lmerTest fit it; Bates et al., 2015; Kuznetsova et al., 2017{_as_differences(scene)}); "
        f"its *p* was compared with those of {n:,} random rotations of the effects of {crossing.item_name}s and of "
        f"{crossing.context_name}s (Langsrud, 2005), *p* = (*b* + 1) / (*m* + 1) (Phipson & Smyth, 2010)"
    )


def _as_differences(scene: Scene) -> str:
    """Say in what form covariates enter a model of differences; empty where it has none, or is of observations."""
    if not scene.held or " ~ 1 +" not in scene.analysis.over_contexts:
        return ""
    return "; covariates as the differences of their values within a cell"


def contexts_mixed(scene: Scene) -> str:
    """Name the tests that stand beside, for the methods paragraph; empty where tests are over units."""
    if not scene.analysis.over_contexts:
        return ""
    crossing = _crossing(scene)
    return (
        f" Beside these stand *F*₁ over {crossing.item_name}s, *F*₂ over {crossing.context_name}s, min *F*′ of both "
        f"(Clark, 1973), and the *F* of {_what(scene)} by {crossing.context_name} with {crossing.item_name}s as fixed."
        + _how_beside(scene, crossing)
    )


def _how_beside(scene: Scene, crossing: Crossing) -> str:
    """Say how F1 and F2 come about, where they are no plain comparisons of means."""
    item, context = crossing.item_name, crossing.context_name
    if scene.contrast.predictor is not None:
        beside = f" and on the covariates, which the {context}s' regressions hold fixed too" if scene.held else ""
        return (
            f" *F*₁ is that of the regression of the {item}s' means on the predictor{beside} (HC3 errors; MacKinnon & "
            f"White, 1985), *F*₂ that of the slopes in the {context}s (Lorch & Myers, 1990), or of the regression of "
            f"their means where the {context}s cannot carry one of their own."
        )
    if not scene.held:
        return ""
    return (
        f" They hold the covariates fixed too: *F*₁ by those of the {item}s (HC3 errors; MacKinnon & White, 1985), "
        f"*F*₂ by a regression in each {context} (Lorch & Myers, 1990), or by the means of {context}s where these "
        "cannot carry one."
    )


def contexts_sensitivity(scene: Scene) -> str:
    """Say what effect tests over items and contexts could find, from the standard errors that they had."""
    heads = scene.heads
    size, error, dof = (heads[name].to_numpy(float) for name in (scene.effect.size, "lmm_se", "lmm_dof"))
    # an effect of zero or of no standard deviation does not tell what a standard deviation is
    known = np.isfinite(size) & (size != 0) & np.isfinite(error) & (error > 0)
    symbol = scene.effect.symbol
    scale = np.abs(heads["lmm_estimate"].to_numpy(float)[known] / size[known])
    reach = special.stdtrit(dof[known], 1 - scene.alpha / 2) + special.stdtrit(dof[known], _POWER)
    detectable = reach * error[known] / scale
    crossing = _crossing(scene)
    if detectable.size == 0:
        return "No head varies, so there is nothing that could be found."
    low, middle, high = np.quantile(detectable, [0.0, 0.5, 1.0])
    return (
        f"With the standard errors that were found over {_over(crossing)}, a single test at α = "
        f"{format_level(scene.alpha)} finds an effect of |*{symbol}*| = **{format_g(middle, sign=False)}** with "
        f"{100 * _POWER:.0f}% power in the median head (from {format_g(low, sign=False)} to "
        f"{format_g(high, sign=False)} over heads); the correction for the number of heads asks for more. "
        f"To find smaller ones takes more {crossing.context_name}s, and not only more {crossing.item_name}s."
    )


def _crossing(scene: Scene) -> Crossing:
    crossing = scene.contrast.crossing
    if crossing is None:
        raise ValueError("the design has no contexts")
    return crossing
