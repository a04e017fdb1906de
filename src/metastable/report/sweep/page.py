"""The report of a sweep: how stable the answer is, and how it moves along each axis."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from metastable.files import write_text
from metastable.heads.record import SweepRecord, VerdictRecord
from metastable.heads.sweep_axes import Axis, level_text
from metastable.report.apa import format_g, format_interval, format_p, format_share, plural
from metastable.report.names import COVARIATE_NAMES
from metastable.report.plate import Plate, markdown, save_plate
from metastable.report.references import bibliography
from metastable.report.sweep import sentences
from metastable.report.sweep.plates import axis_plate, kind_axes, settings_plate, stability_plates
from metastable.report.templating import environment

if TYPE_CHECKING:
    from metastable.heads.sweep_result import SweepResult

__all__ = ["sweep_record", "write_sweep_report"]

# Heads that the report's table shows; stability.csv has them all.
_SHOWN = 15


def sweep_record(result: SweepResult) -> VerdictRecord:
    """Return the verdict for programs: a word, a sentence, and the verdicts counted over all settings and heads."""
    alpha = result.record.options.alpha
    found = result.settings["omnibus_p_holm"] < alpha
    counts = result.heads["verdict"].value_counts()
    return VerdictRecord(
        word="different" if found.all() else "mixed" if found.any() else "undecided",
        sentence=sentences.verdict(result)[0],
        **{name: int(counts.get(name, 0)) for name in ("different", "equivalent", "undecided")},
    )


def _imbalance(row: Mapping[Hashable, Any]) -> str:
    if not isinstance(row["worst_covariate"], str):
        return "–"
    smd = row["worst_smd"]
    number = "not finite" if smd is None or pd.isna(smd) else format_g(float(smd))
    return f"{COVARIATE_NAMES.get(row['worst_covariate'], row['worst_covariate'])} {number}"


def _setting_rows(result: SweepResult) -> list[dict[str, Any]]:
    several = len(result.heads["site"].unique()) > 1
    rows = []
    for row in result.settings.to_dict("records"):
        site = f"{row['largest_site']}, " if several else ""
        place = f"{site}layer {row['largest_layer']}, head {row['largest_head']}"
        interval = format_interval(row["largest_g_low"], row["largest_g_high"])
        rows.append(
            {
                "levels": [level_text(row[axis.name]) for axis in result.axes],
                "units": f"{row['n_a']:,} / {row['n_b']:,}",
                "tokens": f"{row['tokens_per_sequence']:.1f}",
                "p": format_p(row["omnibus_p"]),
                "p_holm": format_p(row["omnibus_p_holm"]),
                "different": format_share(row["n_different"], row["n_heads"]),
                "equivalent": str(row["n_equivalent"]),
                "undecided": str(row["n_undecided"]),
                "g": f"{row['median_abs_g']:.2f}",
                "largest": f"{place}: {format_g(row['largest_g'])} {interval}",
                "imbalance": _imbalance(row),
            }
        )
    return rows


def _axis_rows(result: SweepResult, axis: Axis) -> list[dict[str, str]]:
    alpha = result.record.options.alpha
    texts = result.settings[axis.name].map(level_text)
    # differences of a count and of an entropy have no common unit
    mixed = axis.name != "measure" and any(other.name == "measure" for other in result.axes)
    rows = []
    for value in axis.levels:
        mine = result.settings[texts == level_text(value)]
        least, most = mine["median_abs_g"].min(), mine["median_abs_g"].max()
        reach = f" ({least:.2f} to {most:.2f})" if len(mine) > 1 else ""
        rows.append(
            {
                "level": level_text(value),
                "settings": str(len(mine)),
                "found": f"{int((mine['omnibus_p_holm'] < alpha).sum())} of {len(mine)}",
                "different": format_share(int(mine["n_different"].sum()), int(mine["n_heads"].sum())),
                "g": f"{mine['median_abs_g'].median():.2f}{reach}",
                "difference": "–" if mixed else f"{mine['median_abs_difference'].median():.2f}",
            }
        )
    return rows


def _head_rows(result: SweepResult) -> list[dict[str, Any]]:
    names = kind_axes(result)
    table = result.stability[result.stability["n_different"] > 0]
    order = table.assign(size=table["g_median"].abs(), share=table["n_different"] / table["n_settings"])
    shown = order.sort_values(["share", "size"], ascending=False, kind="stable").head(_SHOWN)
    a, b = result.contrast.a.name, result.contrast.b.name
    return [
        {
            "kinds": [level_text(row[name]) for name in names],
            "site": str(row["site"]),
            "layer": str(row["layer"]),
            "head": str(row["head"]),
            "different": f"{row['n_different']} of {row['n_settings']}",
            "sign": (a if row["g_median"] > 0 else b) + ("" if row["same_sign"] else ", not in all"),
            "g": ", ".join(format_g(row[f"g_{name}"]) for name in ("least", "median", "most")),
        }
        for row in shown.to_dict("records")
    ]


def _recipe_rows(record: SweepRecord) -> list[tuple[str, str]]:
    rows = [("finished", record.finished)]
    rows += [("model", f"{model.id}, weights SHA-256 `{model.weights_sha256}`") for model in record.models]
    rows += [(name, f"`{value}`") for name, value in record.sources.items()]
    fixed = {name: value for name, value in record.fixed.items() if value not in (None, False, (), "")}
    return [
        *rows,
        ("device", record.device),
        (
            "the same in all settings",
            ", ".join(f"{name.replace('_', ' ')} {_option_text(value)}" for name, value in fixed.items()),
        ),
        ("packages", ", ".join(f"{name} {number}" for name, number in record.packages.items())),
        ("Python", f"{record.python}, {record.platform}"),
        ("seconds", f"{sum(record.seconds.values()):.0f} in all"),
    ]


def _option_text(value: Any) -> str:
    return ", ".join(map(level_text, value)) if isinstance(value, tuple) else level_text(value)


def _context(result: SweepResult, plates: Mapping[str, list[Plate]]) -> dict[str, Any]:
    record, contrast = result.record, result.contrast
    heads = _head_rows(result)
    n_cubes = len({run.counts for run in record.runs})
    return {
        "title": record.title,
        "axes_listed": sentences.listed([f"`{axis.title}`" for axis in result.axes]),
        "a": contrast.a,
        "b": contrast.b,
        "g": sentences.symbol(result),
        "unit": contrast.unit,
        "verdict": sentences.verdict(result),
        "warnings": [text for text in (sentences.imbalance(result), result.study.caveat) if text],
        "axes": [
            {
                "title": axis.title,
                "flag": f"--{axis.name.replace('_', '-')}",
                "given": ", ".join(map(level_text, axis.levels)),
                "sentence": sentences.along(result, axis),
                "rows": _axis_rows(result, axis),
                "plate": markdown(plates[axis.name][0]),
            }
            for axis in result.axes
        ],
        "product_sentence": (
            f"All combinations make {plural(len(result.settings), 'setting')}, from "
            f"{plural(n_cubes, 'extraction')} of attention counts; thresholds and measures share one."
        ),
        "setting_rows": _setting_rows(result),
        "kinds": kind_axes(result),
        "several_sites": len(result.heads["site"].unique()) > 1,
        "heads_sentence": sentences.heads(result, len(heads)),
        "head_rows": heads,
        "corrections": sentences.corrections(result),
        "methods": sentences.methods(result),
        "command": record.command,
        "reuse_sentence": sentences.reuse(result),
        "recipe_rows": _recipe_rows(record),
        "limitations": sentences.limitations(result),
        "plates": {name: "\n\n".join(map(markdown, group)) for name, group in plates.items()},
    }


def write_sweep_report(result: SweepResult, advance: Callable[[int, int], None]) -> None:
    """Draw the figures and write report.md and references.bib into the sweep's folder.

    Parameters
    ----------
    result : SweepResult
        What the sweep found.
    advance : callable
        Told of progress as ``f(done, total)``.
    """
    plates = {
        "settings": [settings_plate(result)],
        **{axis.name: [axis_plate(result, axis)] for axis in result.axes},
        "stability": stability_plates(result),
    }
    flat = [plate for group in plates.values() for plate in group]
    for done, plate in enumerate(flat):
        advance(done, len(flat))
        save_plate(plate, result.folder)
    advance(len(flat), len(flat))
    text = environment().get_template("sweep.md.j2").render(_context(result, plates))
    write_text(result.folder / "references.bib", bibliography(text))
    write_text(result.folder / "report.md", text)
