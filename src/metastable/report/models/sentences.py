"""What a report over many models says in sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from metastable.heads.many_models_result import ManyModelsResult
from metastable.heads.model_names import UNTRAINED
from metastable.heads.record import ManyModelsVerdict, MeasureOverModels
from metastable.measures import call_measure
from metastable.report.apa import (
    format_g,
    format_interval,
    format_level,
    format_p,
    listed,
    p_phrase,
    plural,
)
from metastable.report.markdown import as_text
from metastable.stats.sign_flips import least_models

__all__ = [
    "against_untrained",
    "by_depth",
    "checkpoints",
    "families",
    "files",
    "limitations",
    "methods",
    "percent",
    "reading",
    "same_and_other",
    "sorted_within_layers",
    "verdict",
    "verdict_record",
    "warnings",
    "without_each",
]


def percent(share: float) -> str:
    """Return a share as a percentage without digits."""
    return "–" if np.isnan(share) else f"{100 * share:.0f}%"


def _confidence(result: ManyModelsResult) -> str:
    return f"{100 * (1 - result.record.options.alpha):g}%"


def _row(means: pd.DataFrame, models: str, quantity: str, part: str = "all") -> pd.Series | None:
    rows = means[(means["models"] == models) & (means["quantity"] == quantity) & (means["part"] == part)]
    return None if rows.empty else rows.iloc[0]


def _amount(row: pd.Series, *, sign: bool = True) -> str:
    return f"{format_g(row['estimate'], sign=sign)} {format_interval(row['low'], row['high'])}"


def _draws(result: ManyModelsResult) -> pd.DataFrame:
    models = result.models
    return models[models["role"] == "draw"]


def _conditions(result: ManyModelsResult) -> str:
    return f"{as_text(result.record.a)} and {as_text(result.record.b)} sequences"


def verdict(result: ManyModelsResult) -> list[str]:
    """Say how large the effect is over models, which sign it has, and whether untrained networks show it too."""
    said = [_size(result), _sign(result), _next(result), against_untrained(result)]
    return [sentence for sentence in said if sentence]


def _size(result: ManyModelsResult) -> str:
    drawn = _draws(result)
    measure = call_measure(result.measure)
    if len(drawn) == 1:
        one = drawn.iloc[0]
        return (
            f"One trained model is one draw: in {as_text(one['model'])} the typical head's {measure} differs between "
            f"{_conditions(result)} by |g| = {format_g(one['size'], sign=False)} "
            f"{format_interval(one['size_low'], one['size_high'])} (an interval over sequences alone), and "
            f"{one['n_different']} of {one['heads']} heads differ. Nothing is said of other models."
        )
    if drawn.empty:
        return "No trained model was read, so nothing is said of any."
    size, share = _row(result.means, "all", "size"), _row(result.means, "all", "share")
    if size is None or share is None:
        return ""
    kinds = drawn["family"].nunique()
    of = (
        f" of {plural(kinds, 'family', 'families')}"
        if kinds > 1
        else f" of the family {as_text(drawn['family'].iloc[0])}"
    )
    return (
        f"Over {plural(len(drawn), 'model')}{of}, the typical head's {measure} differs between {_conditions(result)} "
        f"by |g| = {_amount(size, sign=False)}, a {_confidence(result)} interval over models and sequences together; "
        f"of a model's heads {percent(share['estimate'])} [{percent(max(share['low'], 0))}, "
        f"{percent(min(share['high'], 1))}] differ."
    )


def _sign(result: ManyModelsResult) -> str:
    mean = _row(result.means, "all", "mean")
    if mean is None or mean["n_models"] < 2:
        return ""
    alpha = result.record.options.alpha
    if mean["low"] > 0 or mean["high"] < 0:
        side = as_text(result.record.a if mean["estimate"] > 0 else result.record.b)
        found = f"the mean over heads is larger in {side} sequences"
    else:
        found = "no sign of the mean over heads is shown"
    p = mean.get("p_flip", np.nan)
    if np.isfinite(p):
        flips = f"sign flips over {int(mean['n_models'])} models, on these sequences, {p_phrase(float(p), 'p')}"
    else:
        flips = (
            f"{int(mean['n_models'])} models are too few for a test by sign flips, which needs {least_models(alpha)} "
            f"to reach {format_level(alpha)}"
        )
    return f"Signed, {found} (g = {_amount(mean)}; {flips})."


def _next(result: ManyModelsResult) -> str:
    size = _row(result.means, "all", "size")
    if size is None or not np.isfinite(size.get("prediction_low", np.nan)):
        return ""
    return (
        f"Of the variation of the squared size between models {percent(size['i_squared'])} is more than noise (I²), "
        f"and the next model of this kind is expected at |g| = {format_g(size['prediction_low'], sign=False)} to "
        f"{format_g(size['prediction_high'], sign=False)}."
    )


def against_untrained(result: ManyModelsResult) -> str:
    """Say whether networks that were never trained show the effect too; empty where none was read."""
    models = result.models
    untrained, drawn = models[models["role"] == "untrained"], _draws(result)
    if untrained.empty or drawn.empty:
        return ""
    sizes = untrained["size"].to_numpy(dtype=float)
    n = len(sizes)
    least_size, most_size = (format_g(float(size), sign=False) for size in (sizes.min(), sizes.max()))
    span = least_size if least_size == most_size else f"{least_size} to {most_size}"
    begin = f"In {plural(n, 'untrained network')} of the first model's architecture the typical head's size is {span}"
    beyond = _row(result.means, f"all − {UNTRAINED}", "size2")
    if beyond is not None and np.isfinite(beyond["low"]):
        if beyond["low"] > 0:
            found = "trained models show a larger one"
        elif beyond["high"] < 0:
            found = "trained models show a smaller one"
        else:
            found = "that trained models show another one is not shown"
        return (
            f"{begin}; {found} (mean g² of the trained less that of the untrained {_amount(beyond)}, over models and "
            "sequences together)."
        )
    one = drawn.iloc[0]
    reached = int((sizes >= one["size"]).sum())
    p = (reached + 1) / (n + 1)
    least = 1 / (n + 1)
    alpha = result.record.options.alpha
    weak = f", which {n} cannot bring below {format_p(least)}" if least >= alpha else ""
    who = "none" if reached == 0 else f"{reached}"
    return (
        f"{begin}; {who} of them {'reaches' if reached < 2 else 'reach'} that of {as_text(one['model'])} "
        f"({format_g(one['size'], sign=False)}; {p_phrase(p, 'p')} by its rank among them{weak})."
    )


def warnings(result: ManyModelsResult) -> list[str]:
    """Return what a reader must know before believing the verdict."""
    found = [
        f"{as_text(one.label)} could not be read and is left out: {as_text(one.reason)}" for one in result.record.failed
    ]
    drawn = _draws(result)
    if len(set(drawn["reading"])) > 1:
        letters = [
            f"{listed([as_text(name) for name in rows['model']])} one set"
            for _, rows in drawn.groupby("reading", sort=False)
        ]
        found.append(
            "not all models read the same sequences, because their tokenizers cut and fill them otherwise "
            f"({'; '.join(letters)}): sequences are drawn together within a set and independently between sets."
        )
    if result.study.caveat:
        found.append(as_text(result.study.caveat))
    return found


def reading(result: ManyModelsResult) -> str:
    """Say how to read the table of models."""
    return (
        f"*a* is {as_text(result.record.a)}, *b* {as_text(result.record.b)}. The size of the typical head is the root "
        "of the mean of *g*² over heads less what noise adds to it; a mean of |*g*| would grow with noise. Intervals "
        "in this table are over sequences alone and tell of the model as it is. Models of one letter read the same "
        "sequences. *Draws* stand for the models that there could be; an earlier *checkpoint* of a training that is "
        "drawn once, and *untrained* networks, do not."
    )


def by_depth(result: ManyModelsResult) -> str:
    """Say where along the depth the effect is largest."""
    means = result.means
    rows = means[(means["models"] == "all") & (means["quantity"] == "size") & (means["part"] != "all")]
    if len(rows) < 2:
        return ""
    ordered = rows.sort_values("estimate", kind="stable")
    least, most = ordered.iloc[0], ordered.iloc[-1]
    apart = most["low"] > least["high"]
    text = (
        f"The typical head's size is largest at a relative depth of {most['part']} ({_amount(most, sign=False)}) and "
        f"least at {least['part']} ({_amount(least, sign=False)})"
    )
    ending = (
        "; their intervals do not overlap."
        if apart
        else (
            "; their intervals overlap, so that no order of the depths is shown." if np.isfinite(most["low"]) else "."
        )
    )
    return text + ending


def families(result: ManyModelsResult) -> str:
    """Say how families are compared."""
    names = [run.name.family for run in result.runs if not run.name.is_untrained]
    several = list(dict.fromkeys(names))
    if len(several) < 2:
        return ""
    single = [as_text(name) for name in several if names.count(name) == 1]
    text = (
        "A family is a factor: its models are draws from those that it could have, and two families are compared by "
        "the difference of their means, in which what they share by reading the same sequences cancels."
    )
    if single:
        has = "has" if len(single) == 1 else "have"
        text += f" {listed(single)} {has} one model, and one model cannot stand for a family."
    return text


def same_and_other(result: ManyModelsResult) -> str:
    """Say what the table of differences from the first model is."""
    return (
        f"Each model less {as_text(result.runs[0].name.label)}, both taken as they are: the interaction of condition "
        "and model. Where both read the same sequences these are drawn together. A difference here is one of two "
        "checkpoints, not of the kinds of model that they belong to."
    )


def without_each(result: ManyModelsResult) -> str:
    """Say whether the mean rests on one model."""
    table = result.found.without
    if table.empty:
        return ""
    mine = table[(table["measure"] == result.measure) & (table["quantity"] == "size")]
    ordered = mine.sort_values("estimate", kind="stable")
    least, most = ordered.iloc[0], ordered.iloc[-1]
    return (
        f"Without one model at a time the typical size runs from {_amount(least, sign=False)} (without "
        f"{as_text(least['without'])}) to {_amount(most, sign=False)} (without {as_text(most['without'])})."
    )


def sorted_within_layers() -> str:
    """Say why heads are sorted."""
    return (
        "Training puts what a head does into any head of a layer, so that head 3 of two models is not the same head. "
        "Within each layer heads are therefore sorted by their effect, and ranks are looked at; of the largest and the "
        "least rank noise makes a part, more of it where sequences are few."
    )


def checkpoints(result: ManyModelsResult) -> str:
    """Say what the curves along trainings are; empty where no training has several checkpoints."""
    if not result.trainings:
        return ""
    names = listed([as_text(name) for name in result.trainings])
    return (
        f"Checkpoints of one training are in the order in which they were given ({names}). They are one draw, not "
        "several: of each training only the last one given stands in the means over models."
    )


def methods(result: ManyModelsResult) -> str:
    """Say how it was computed."""
    record = result.record
    return (
        f"Each model was tested by itself (its report is linked above). Over models, models and {record.unit}s were "
        f"drawn together, {record.chosen.resamples:,} times (the multi-bootstrap; Sellam et al., 2022), {record.unit}s "
        "once for all models that read the same. The variance of a mean over models is the variance between their "
        f"estimates over their number plus their mean covariance over draws of {record.unit}s, so that what both ways "
        "of drawing have in common is not counted twice (Owen, 2007); limits are those of *t* with Satterthwaite's "
        "degrees of freedom, because percentiles of few models are too narrow. Heterogeneity is that of Paule and "
        "Mandel (1982), with the variance that a model does not share with the others; the interval for the next model "
        "is that of Higgins et al. (2009). The mean signed effect was also tested by flipping the signs of whole "
        "models, corrected over the parts of the depth by the largest statistic (Westfall & Young, 1993)."
    )


def limitations(result: ManyModelsResult) -> list[str]:
    """Return what the report cannot show."""
    found = [
        "The models that were read are those at hand, not a random sample of the models that there could be.",
        "Models that share data, code or a tokenizer are more alike than independent draws; no interval knows of that.",
        "Sign flips turn models, not sequences: they are of the sequences that were read.",
        "An untrained network is a random initialisation as transformers makes it for the architecture.",
    ]
    if len(_draws(result)) == 2:
        found.append(
            "Two models that happen to be alike make an interval narrow, and two that are not make it very wide: how "
            "much models vary is hardly known from two."
        )
    contexts = {str(run.facts["context"]) for run in result.runs if run.facts["context"]}
    found += [
        f"Every {result.record.unit} is averaged over its {context}s, which are taken as they are here: intervals over "
        f"models are of these {context}s. Each model's own report tests over {context}s too."
        for context in sorted(contexts)
    ]
    found += [
        f"{call_measure(name).capitalize()} is not compared over models: {as_text(reason)}."
        for name, reason in result.found.left_out.items()
    ]
    lost = result.models[result.models["left_out"] > 0]
    found += [
        f"{plural(row['left_out'], 'head')} of {as_text(row['model'])} with an infinite effect (constant in both "
        "conditions, but not the same) stand in no mean."
        for row in lost.to_dict("records")
    ]
    return found


def files() -> str:
    """Say what lies beside the report."""
    return (
        "Beside this report: [models.csv](models.csv) (one row per measure and model), "
        "[over_models.csv](over_models.csv) (means over models by family and depth), "
        "[without_each.csv](without_each.csv), [interactions.csv](interactions.csv), [profiles.csv](profiles.csv), "
        "[sorted_heads.csv](sorted_heads.csv) and [run.json](run.json). Every model's folder holds its own report and "
        "`units.parquet`, the values of its units in every head and measure, from which all of this can be computed "
        "anew."
    )


def verdict_record(result: ManyModelsResult) -> ManyModelsVerdict:
    """Return the verdict for programs: the sentence, and every measure's numbers, the run's own first."""
    means = result.found.means
    names = list(means["measure"].unique())
    ordered = [result.measure, *(name for name in names if name != result.measure)]
    return ManyModelsVerdict(
        sentence=_size(result),
        measures=tuple(_measure(means[means["measure"] == name], name) for name in ordered),
    )


def _measure(means: pd.DataFrame, name: str) -> MeasureOverModels:
    def number(row: pd.Series | None, key: str) -> float | None:
        value = np.nan if row is None else row.get(key, np.nan)
        return float(value) if np.isfinite(value) else None

    def limits(row: pd.Series | None, called: str) -> dict[str, Any]:
        keys = ((called, "estimate"), (f"{called}_low", "low"), (f"{called}_high", "high"))
        return {field: number(row, key) for field, key in keys}

    size, share, mean = (_row(means, "all", quantity) for quantity in ("size", "share", "mean"))
    untrained, beyond = _row(means, UNTRAINED, "size"), _row(means, f"all − {UNTRAINED}", "size2")
    return MeasureOverModels(
        measure=name,
        n_models=0 if size is None else int(size["n_models"]),
        **limits(size, "size"),
        **limits(share, "share"),
        **limits(mean, "mean"),
        p_flip=number(mean, "p_flip"),
        i_squared=number(size, "i_squared"),
        n_untrained=0 if untrained is None else int(untrained["n_models"]),
        untrained_size=number(untrained, "estimate"),
        untrained_low=number(untrained, "low"),
        untrained_high=number(untrained, "high"),
        beyond_untrained_low=number(beyond, "low"),
        beyond_untrained_high=number(beyond, "high"),
    )
