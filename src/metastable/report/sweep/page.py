"""The report of a sweep: how stable the answer is, and how it moves along each axis."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from metastable.files import write_text, written_whole
from metastable.heads.sweep_axes import Axis, level_text
from metastable.heads.sweep_result import SweepResult
from metastable.report.apa import format_g, format_interval, format_p, format_share, listed
from metastable.report.plate import PlacedPlate, placed_plates, save_plates
from metastable.report.references import bibliography
from metastable.report.sections import Section, bullets, table, with_plates
from metastable.report.sweep import sentences
from metastable.report.sweep.plates import PLATES, kind_axes
from metastable.report.templating import environment
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = ["render_page", "write_page"]

# Heads that the report's table shows; stability.csv has them all.
_SHOWN = 15
_REFERENCES = "References are in [references.bib](references.bib)."


def _several_sites(result: SweepResult) -> bool:
    return len(result.heads["site"].unique()) > 1


def _imbalance(row: Mapping[Hashable, Any]) -> str:
    if not isinstance(row["worst_covariate"], str):
        return "–"
    smd = row["worst_smd"]
    number = "not finite" if smd is None or pd.isna(smd) else format_g(float(smd))
    return f"{COVARIATE_NAMES.get(row['worst_covariate'], row['worst_covariate'])} {number}"


def _setting_rows(result: SweepResult) -> list[list[str]]:
    several, g = _several_sites(result), result.effect.symbol
    rows = []
    for row in result.settings.to_dict("records"):
        site = f"{row['largest_site']}, " if several else ""
        place = f"{site}layer {row['largest_layer']}, head {row['largest_head']}"
        interval = format_interval(row[f"largest_{g}_low"], row[f"largest_{g}_high"])
        rows.append(
            [
                *(level_text(row[axis.name]) for axis in result.axes),
                f"{row['n_a']:,} / {row['n_b']:,}",
                f"{row['tokens_per_sequence']:.1f}",
                format_p(row["omnibus_p"]),
                format_p(row["omnibus_p_holm"]),
                format_share(row["n_different"], row["n_heads"]),
                str(row["n_equivalent"]),
                str(row["n_undecided"]),
                f"{row[f'median_abs_{g}']:.2f}",
                f"{place}: {format_g(row[f'largest_{g}'])} {interval}",
                _imbalance(row),
            ]
        )
    return rows


def _axis_rows(result: SweepResult, axis: Axis) -> list[list[str]]:
    alpha, effect = result.recipe["options"]["alpha"], result.effect
    size, estimate = f"median_abs_{effect.symbol}", f"median_abs_{effect.estimate}"
    texts = result.settings[axis.name].map(level_text)
    # differences of a count and of an entropy have no common unit
    mixed = axis.name != "measure" and any(other.name == "measure" for other in result.axes)
    rows = []
    for value in axis.levels:
        mine = result.settings[texts == level_text(value)]
        least, most = mine[size].min(), mine[size].max()
        reach = f" ({least:.2f} to {most:.2f})" if len(mine) > 1 else ""
        rows.append(
            [
                level_text(value),
                str(len(mine)),
                f"{int((mine['omnibus_p_holm'] < alpha).sum())} of {len(mine)}",
                format_share(int(mine["n_different"].sum()), int(mine["n_heads"].sum())),
                f"{mine[size].median():.2f}{reach}",
                "–" if mixed else f"{mine[estimate].median():.2f}",
            ]
        )
    return rows


def _head_rows(result: SweepResult) -> list[list[str]]:
    names, g = kind_axes(result), result.effect.symbol
    found = result.stability[result.stability["n_different"] > 0]
    order = found.assign(size=found[f"{g}_median"].abs(), share=found["n_different"] / found["n_settings"])
    shown = order.sort_values(["share", "size"], ascending=False, kind="stable").head(_SHOWN)
    a, b = result.contrast.a.name, result.contrast.b.name
    several = _several_sites(result)
    return [
        [
            *(level_text(row[name]) for name in names),
            *([str(row["site"])] if several else []),
            str(row["layer"]),
            str(row["head"]),
            f"{row['n_different']} of {row['n_settings']}",
            (a if row[f"{g}_median"] > 0 else b) + ("" if row["same_sign"] else ", not in all"),
            ", ".join(format_g(row[f"{g}_{name}"]) for name in ("least", "median", "most")),
        ]
        for row in shown.to_dict("records")
    ]


def _recipe_rows(recipe: Mapping[str, Any]) -> list[list[str]]:
    rows = [["finished", recipe["finished"]]]
    rows += [["model", f"{model['id']}, weights SHA-256 `{model['weights_sha256']}`"] for model in recipe["models"]]
    rows += [[name, f"`{value}`"] for name, value in recipe["sources"].items()]
    fixed = {name: value for name, value in recipe["options"].items() if value not in (None, False, (), "")}
    return [
        *rows,
        ["device", recipe["device"]],
        [
            "the same in all settings",
            ", ".join(f"{name.replace('_', ' ')} {_option_text(value)}" for name, value in fixed.items()),
        ],
        ["packages", ", ".join(f"{name} {number}" for name, number in recipe["packages"].items())],
        ["Python", f"{recipe['python']}, {recipe['platform']}"],
        ["seconds", f"{sum(recipe['seconds'].values()):.0f} in all"],
    ]


def _option_text(value: Any) -> str:
    return ", ".join(map(level_text, value)) if isinstance(value, tuple) else level_text(value)


def _varied(result: SweepResult) -> Section:
    rows = [[f"`--{axis.name.replace('_', '-')}`", ", ".join(map(level_text, axis.levels))] for axis in result.axes]
    return Section(
        "varied", "What was varied", (table(["option", "values"], rows, "ll"), sentences.combinations(result))
    )


def _settings(result: SweepResult) -> Section:
    g = sentences.symbol(result)
    header = [
        f"{result.contrast.unit}s, a / b", "tokens per sequence", "omnibus *p*", "Holm", "different", "equivalent",
        "undecided", f"median \\|*{g}*\\|", f"largest *{g}* [95% CI]", "largest imbalance",
    ]  # fmt: skip
    axes = [axis.title for axis in result.axes]
    align = "r" * (len(axes) + len(header) - 2) + "ll"
    return Section(
        "settings",
        "The settings",
        (table([*axes, *header], _setting_rows(result), align), sentences.settings(result)),
    )


def _along(result: SweepResult, axis: Axis) -> Section:
    header = [
        axis.title, "settings", "omnibus finds a difference in", "heads different",
        f"median \\|*{sentences.symbol(result)}*\\| (range over settings)", "median \\|difference\\|",
    ]  # fmt: skip
    return Section(
        f"along {axis.name}",
        f"Along {axis.title}",
        (sentences.along(result, axis), table(header, _axis_rows(result, axis), "r" * len(header))),
    )


def _heads(result: SweepResult) -> Section:
    rows = _head_rows(result)
    kinds = [*kind_axes(result), *(["site"] if _several_sites(result) else [])]
    header = [*kinds, "layer", "head", "different in", "more in", f"*{sentences.symbol(result)}*: least, median, most"]
    shown = table(header, rows, "l" * len(kinds) + "rrrlr") if rows else ""
    return Section("heads", "Heads that stay", (sentences.heads(result, len(rows)), shown))


def _again(result: SweepResult) -> Section:
    recipe = result.recipe
    return Section(
        "again",
        "Run it again",
        (
            f"```\n{recipe['command']}\n```",
            sentences.reuse(result),
            table(["", ""], _recipe_rows(recipe), "ll"),
            sentences.files(),
        ),
    )


def _sections(result: SweepResult) -> list[Section]:
    return [
        Section("lead", ""),
        _varied(result),
        _settings(result),
        *(_along(result, axis) for axis in result.axes),
        _heads(result),
        Section("corrections", "What the corrections mean", (bullets(sentences.corrections(result)),)),
        Section("methods", "Methods", (sentences.methods(result), _REFERENCES)),
        _again(result),
        Section("limitations", "Limitations", (bullets(sentences.limitations(result)),)),
    ]


def render_page(result: SweepResult, plates: Sequence[PlacedPlate[SweepResult]]) -> str:
    """Return report.md as text.

    Parameters
    ----------
    result : SweepResult
    plates : sequence of PlacedPlate
        The figures, as `metastable.report.plate.placed_plates` returns them.

    Returns
    -------
    str
    """
    context = {
        "title": result.recipe["title"],
        "axes": listed([f"`{axis.title}`" for axis in result.axes]),
        "verdict": sentences.verdict(result),
        "warnings": sentences.warnings(result),
        "sections": with_plates(_sections(result), plates),
    }
    return environment().get_template("sweep.md.j2").render(context)


def write_page(result: SweepResult, advance: Callable[[int, int], None]) -> None:
    """Write the tables, draw the figures, and write report.md and references.bib into the sweep's folder.

    Parameters
    ----------
    result : SweepResult
        What the sweep found.
    advance : callable
        Told of progress as ``f(done, total)``.
    """
    _write_tables(result)
    plates = placed_plates(PLATES, result)
    save_plates(plates, result.folder, advance)
    text = render_page(result, plates)
    write_text(result.folder / "references.bib", bibliography(text))
    write_text(result.folder / "report.md", text)


def _write_tables(result: SweepResult) -> None:
    for name, rows in (
        ("settings", result.settings),
        ("heads", result.heads),
        ("stability", result.stability),
    ):
        # repr's shortest digits give every float back exactly
        write_text(result.folder / f"{name}.csv", rows.to_csv(index=False, lineterminator="\n"))
    with written_whole(result.folder / "heads.parquet") as path:
        result.heads.to_parquet(path, index=False)
