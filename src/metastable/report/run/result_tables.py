"""The tables of a run's report: results in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from metastable.heads.modes import MODES, Mode
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_interval, format_log_bf, format_p, format_share, unbroken
from metastable.report.run.scene import Scene
from metastable.report.sections import table
from metastable.report.sides import units_text
from metastable.report.words import covariate_name
from metastable.stats.analysis import Analysis, primary
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE, VERDICTS

__all__ = [
    "balance_table",
    "contrasts_table",
    "heads_table",
    "layers_table",
    "modes_table",
    "omnibus_table",
    "views_table",
]

Column = tuple[str, str, str]
"""Header, alignment, and the name of the cell."""


def _of_columns(columns: Iterable[Column], rows: Sequence[dict[str, str]]) -> str:
    headers, align, names = zip(*columns, strict=True)
    return table(headers, [[row[name] for name in names] for row in rows], "".join(align))


def _interval(low: float, high: float, digits: int = 2) -> str:
    return unbroken(format_interval(low, high, digits))


def _site(scene: Scene) -> list[Column]:
    return [("site", "l", "site")] if scene.several_sites else []


def _verdict(word: str) -> str:
    return {DIFFERENT: f"**{DIFFERENT}**", NEGLIGIBLE: f"{DIFFERENT}, {NEGLIGIBLE}"}.get(word, word)


def heads_table(scene: Scene, rows: Sequence[int] | None = None, *, whole: bool = False) -> str:
    """Return one row per head.

    Parameters
    ----------
    scene : Scene
    rows : sequence of int or None
        Rows of the table of heads, in this order; all of them where None.
    whole : bool
        Whether the conditions' means and the uncorrected p are shown too.

    Returns
    -------
    str
    """
    effect, digits = scene.effect, scene.measure.digits
    heads, details = (part if rows is None else part.loc[list(rows)] for part in (scene.heads, scene.details))
    cells = [
        {
            "site": str(head["site"]),
            "layer": str(head["layer"]),
            "head": str(head["head"]),
            "mean_a": format_g(head["mean_a"], digits, sign=False),
            "mean_b": format_g(head["mean_b"], digits, sign=False),
            "estimate": f"{format_g(head[effect.estimate], digits)} "
            f"{_interval(head['ci_low'], head['ci_high'], digits)}",
            "size": f"{format_g(head[effect.size])} {_interval(detail[effect.size_low], detail[effect.size_high])}",
            "p": unbroken(format_p(head["p_perm"])),
            "p_fdr": unbroken(format_p(head["p_perm_fdr"])),
            "p_fwer": unbroken(format_p(head["p_perm_fwer"])),
            "p_lmm": unbroken(format_p(head["lmm_p_fdr"])),
            "bf": unbroken(format_log_bf(head["log10_bf10"])),
            "verdict": _verdict(str(head["verdict"])),
        }
        for head, detail in zip(heads.to_dict("records"), details.to_dict("records"), strict=True)
    ]
    means = [(f"mean {name}", "r", f"mean_{side}") for name, side in zip(scene.conditions, "ab", strict=True)]
    columns: list[Column] = [
        *_site(scene),
        ("layer", "r", "layer"),
        ("head", "r", "head"),
        *(means if whole else []),
        (f"{effect.name} [95%\u00a0CI]", "r", "estimate"),
        (f"*{effect.symbol}* [95%\u00a0CI]", "r", "size"),
        *([("*p*", "r", "p")] if whole else []),
        ("*p*, FDR", "r", "p_fdr"),
        ("*p*, FWER", "r", "p_fwer"),
        ("*p*, mixed model, FDR", "r", "p_lmm"),
        ("BF₁₀", "r", "bf"),
        ("verdict", "l", "verdict"),
    ]
    return _of_columns(columns, cells)


def layers_table(scene: Scene) -> str:
    """Return one row per layer."""
    effect, digits = scene.effect, scene.measure.digits
    cells = [
        {
            "site": str(row["site"]),
            "layer": str(row["layer"]),
            "mean_a": format_g(row["mean_a"], digits, sign=False),
            "mean_b": format_g(row["mean_b"], digits, sign=False),
            "estimate": format_g(row[effect.estimate], digits),
            "size": format_g(row[effect.mean_size], sign=False),
            "p": unbroken(format_p(row["p_sum_squares"])),
            **{name: str(row[f"n_{name}"]) for name in VERDICTS},
        }
        for row in scene.layers.to_dict("records")
    ]
    a, b = scene.conditions
    columns: list[Column] = [
        *_site(scene),
        ("layer", "r", "layer"),
        (f"mean {a}", "r", "mean_a"),
        (f"mean {b}", "r", "mean_b"),
        (effect.name, "r", "estimate"),
        (f"mean \\|*{effect.symbol}*\\|", "r", "size"),
        ("omnibus *p*", "r", "p"),
        *((name, "r", name) for name in VERDICTS),
    ]
    return _of_columns(columns, cells)


def omnibus_table(scene: Scene) -> str:
    """Return one row for the model, and one per site where there are several."""
    header = ["heads", "*p*, sum of squares", "*p*, largest statistic", "*p*, number below α", "below α, uncorrected"]
    rows = [
        [
            "all heads" if row["site"] == "all" else f"site {row['site']}",
            format_p(row["p_sum_squares"]),
            format_p(row["p_max"]),
            format_p(row["p_count"]),
            format_share(row["n_below_alpha"], row["n_heads"]),
        ]
        for row in scene.omnibus.to_dict("records")
        if scene.several_sites or row["site"] == "all"
    ]
    return table(header, rows, "lrrrr")


def _omnibus_p(analysis: Analysis) -> str:
    omnibus = primary(analysis.omnibus)
    return format_p(float(omnibus.loc[omnibus["site"] == "all", "p_sum_squares"].iloc[0]))


def _share_different(analysis: Analysis, alpha: float) -> str:
    heads = primary(analysis.heads)
    return format_share(int((heads["p_perm_fdr"] < alpha).sum()), len(heads))


def views_table(scene: Scene) -> str:
    """Return one row per view: what is looked at, its omnibus test, and how its heads differ."""
    symbol, size = scene.effect.symbol, scene.effect.size
    rows = []
    for view, analysis in zip(scene.result.study.views, scene.result.views, strict=True):
        heads = primary(analysis.heads)
        largest: dict[Any, Any] = heads.iloc[int(heads[size].abs().to_numpy().argmax())].to_dict()
        rows.append(
            [
                view.name.replace("_", " "),
                view.description,
                call_measure(view.measure),
                _omnibus_p(analysis),
                _share_different(analysis, scene.alpha),
                str(int((heads["verdict"] == "equivalent").sum())),
                f"{heads[size].abs().median():.2f}",
                f"layer {largest['layer']}, head {largest['head']}: {format_g(largest[size])}",
            ]
        )
    header = ["view", "what is looked at", "measure", "omnibus *p*", f"heads {scene.effect.with_effect}", "equivalent"]
    return table([*header, f"median \\|*{symbol}*\\|", f"largest *{symbol}*"], rows, "lllrrrrl")


def contrasts_table(scene: Scene) -> str:
    """Return one row per contrast: what is compared, its omnibus test, and how many heads differ."""
    rows = [
        [
            contrast.name + (" (primary)" if contrast is scene.contrast else ""),
            contrast.a.name,
            contrast.b.name,
            units_text(contrast),
            _omnibus_p(analysis),
            _share_different(analysis, scene.alpha),
            format_g(primary(analysis.heads)[scene.effect.size].abs().median(), sign=False),
        ]
        for contrast, analysis in zip(scene.result.contrasts, scene.result.analyses, strict=True)
    ]
    header = ["contrast", "a", "b", "units", "omnibus *p*", f"heads {scene.effect.with_effect}"]
    return table([*header, f"median \\|*{scene.effect.symbol}*\\|"], rows, "lllrrrr")


def modes_table(scene: Scene) -> str:
    """Return one row per operating mode: how many heads are in it on either side."""
    if scene.result.spread is None:
        return ""
    n = scene.visible_keys
    rows = [
        [
            mode.name,
            f"averages over {mode.words}",
            _limits(mode, n),
            *(str(int((modes == mode.name).sum())) for modes in scene.modes),
        ]
        for mode in reversed(MODES)
    ]
    of = "median of *k*/*N*" if n is None else "median of *k*"
    return table(["mode", "what a head does", of, *(f"heads, {name}" for name in scene.conditions)], rows, "lllrr")


def _limits(mode: Mode, n: int | None) -> str:
    """Return the limits of a mode as shares of the keys, or in keys where every query sees n."""
    low, high = (f"{100 * x:g}%" if n is None else f"{x * n:g}" for x in (mode.low, mode.high))
    if mode.low == 0:
        return f"up to {high}"
    return f"above {low}" if mode.high == 1 else f"above {low}, up to {high}"


def balance_table(scene: Scene) -> str:
    """Return one row per covariate."""
    rows = [
        [
            covariate_name(row["covariate"]),
            f"{row['mean_a']:.2f} ± {row['sd_a']:.2f}",
            f"{row['mean_b']:.2f} ± {row['sd_b']:.2f}",
            f"{format_g(row['smd'])} {_interval(row['smd_low'], row['smd_high'])}",
            format_g(row["variance_ratio"], sign=False),
            "yes" if row["balanced"] else "**no**",
        ]
        for row in scene.result.balance.to_dict("records")
    ]
    header = [
        "covariate",
        *scene.conditions,
        "standardized difference [95%\u00a0CI]",
        "variance ratio",
        "within chance or ±0.1",
    ]
    return table(header, rows, "lrrrrc")
