"""The report of a comparison: Markdown, figures, tables and recipe in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metastable import figures
from metastable.files import write_text
from metastable.heads.compared_heads import Comparison, effect_kind, option_differences
from metastable.heads.comparison_options import ComparisonOptions
from metastable.heads.finished_report import FinishedReport
from metastable.heads.record import (
    ComparedModel,
    ComparedReport,
    ComparisonRecord,
    ComparisonVerdict,
    write_record,
)
from metastable.heads.recording import software_record
from metastable.report.apa import format_g, format_interval, format_level, format_p, format_r, format_share
from metastable.report.comparison import sentences
from metastable.report.plate import Plate, markdown, save_plate
from metastable.report.references import bibliography
from metastable.report.templating import environment

__all__ = ["comparison_plates", "comparison_record", "render_comparison", "write_comparison"]

_SHOWN = 10


def _effect_name(found: Comparison) -> str:
    """Return what figures call the effect: d where both are slopes, Hedges' g where neither is."""
    slopes = {report.record.contrast.predictor is not None for report in (found.first, found.second)}
    if slopes == {True}:
        return "d of the slope"
    return "hedges_g" if slopes == {False} else "effect (g or d)"


def comparison_plates(found: Comparison, alpha: float) -> dict[str, list[Plate]]:
    """Draw the figures: one of each kind for every site.

    Parameters
    ----------
    found : Comparison
    alpha : float
        Heads below it are outlined.

    Returns
    -------
    dict of str to list of Plate
        ``maps`` and ``scatter`` where heads were joined, ``profiles``, and ``shares`` where the models differ.
    """
    first, second = found.names
    effect = _effect_name(found)
    value = "hedges_g" if effect == "hedges_g" else effect
    sites = list(dict.fromkeys(found.effects["site"])) if found.relation != "other shape" else [None]
    drawn: dict[str, list[Plate]] = {}
    for site in sites:
        stem, ending = ("", "") if len(sites) == 1 else (f"_{site}", f" Site: {site}.")

        def add(name: str, draw: Any, tell: Any, caption: str, *args: Any, **kwargs: Any) -> None:
            plate = Plate(name + stem, draw(*args, **kwargs), tell(*args, **kwargs), caption + ending)  # noqa: B023
            drawn.setdefault(name, []).append(plate)

        if found.relation != "other shape":
            table = found.primary[found.primary["site"] == site].reset_index(drop=True)
            add(
                "maps", figures.joined_effect_maps, figures.joined_effect_maps_alt,
                f"Effect of every head in {first} and in {second}, and the difference {first} − {second}, on one "
                "scale. Layer 1 is at the bottom.",
                table, names=found.names, alpha=alpha, effect=effect,
            )  # fmt: skip
            sides = [
                table[["site", "layer", "head", "threshold"]].assign(
                    **{value: table[f"hedges_g_{side}"].replace([np.inf, -np.inf], np.nan)},
                    p_perm_fdr=table[f"p_perm_fdr_{side}"],
                )
                for side in ("first", "second")
            ]
            if len(table.dropna(subset=["g_difference"])):
                # over all sites the test is in the text; beside one of several sites its p would mislead
                agreed = found.agreement.get(found.thresholds[0]) if len(sites) == 1 else None
                add(
                    "scatter", figures.study_scatter, figures.study_scatter_alt,
                    f"Every head's effect in {second} over its effect in {first}; on the dashed line both are equal.",
                    *sides, names=found.names, value=value, alpha=alpha, p=None if agreed is None else agreed.p,
                )  # fmt: skip
        add(
            "profiles", figures.effect_profiles, figures.effect_profiles_alt,
            "Mean effect and mean size of the effect by "
            + ("relative depth" if found.relation == "other shape" else "layer")
            + "; thin lines hold the middle half of a layer's heads.",
            found.effects, site=site, relative=found.relation == "other shape", effect=effect,
        )  # fmt: skip
        if found.relation != "same heads":
            add(
                "shares", figures.effect_shares, figures.effect_shares_alt,
                "Share of the heads whose effect lies below each value.", found.effects, site=site, effect=effect,
            )  # fmt: skip
    return drawn


def _sizes(report: FinishedReport) -> str:
    heads = report.heads
    return f"{heads['n_a'].iloc[0]:,} / {heads['n_b'].iloc[0]:,} {report.record.contrast.unit}s"


def _material_rows(found: Comparison, alpha: float) -> list[tuple[str, str, str]]:
    def column(report: FinishedReport) -> dict[str, str]:
        record = report.record
        contrast, model = record.contrast, record.model
        rows = report.heads[np.isclose(report.heads["threshold"], found.thresholds[0])]
        return {
            "study": f"{record.title} (`{record.study}`)",
            "report": f"`{report.folder}`",
            "model": str(model.id),
            "weights": f"SHA-256 `{model.weights_sha256[:12]}…`, {model.dtype.removeprefix('torch.')}",
            "attention": "; ".join(f"{name}: {layers} × {heads} heads" for name, layers, heads in report.shape),
            "compared": f"{contrast.a} − {contrast.b}",
            "effect": effect_kind(report),
            "measure": str(record.options.measure).replace("_", " "),
            "sizes (a / b)": _sizes(report),
            "tokens a unit averages over": f"{report.tokens_per_unit:.1f}",
            "worst covariate, standardized difference": sentences.worst_covariate(report.balance),
            "covariates held fixed": ", ".join(record.options.covariates) or "none",
            f"heads different (FDR {format_level(alpha)})": format_share(
                int((rows["p_perm_fdr"] < alpha).sum()), len(rows)
            ),
            "median size of the effect": f"{rows['hedges_g'].abs().median():.2f}",
        }

    first, second = column(found.first), column(found.second)
    return [(name, first[name], second[name]) for name in first]


def _agreement_rows(found: Comparison) -> list[list[str]]:
    return [
        [
            f"{threshold:g}",
            str(agreed.n),
            format_r(agreed.r),
            format_r(agreed.rho),
            format_p(agreed.p),
            format_r(agreed.r_within),
            format_p(agreed.p_within),
            format_share(agreed.same_sign, agreed.n),
        ]
        for threshold, agreed in found.agreement.items()
    ]


def _several_sites(found: Comparison) -> bool:
    return len(found.effects["site"].unique()) > 1


def _layer_rows(found: Comparison, alpha: float) -> list[list[str]]:
    if found.relation == "other shape":
        return _third_rows(found, alpha)
    rows = []
    for (site, layer), part in found.primary.groupby(["site", "layer"], sort=False):
        sides = [part[f"hedges_g_{side}"] for side in ("first", "second")]
        both = part[part["significant"] == "both"]
        rows.append(
            [
                *([str(site)] if _several_sites(found) else []),
                str(layer),
                *(format_g(float(values.mean())) for values in sides),
                *(f"{values.abs().mean():.2f}" for values in sides),
                *(str(int((part[f"p_perm_fdr_{side}"] < alpha).sum())) for side in ("first", "second")),
                str(int(both["same_sign"].sum())),
                str(int((part["p_difference_fdr"] < alpha).sum())),
            ]
        )
    return rows


def _third_cells(table: pd.DataFrame, name: str, third: str, alpha: float) -> tuple[str, str, str, str]:
    rows = table[(table["series"] == name) & (table["third"] == third)]
    if rows.empty:
        return ("–",) * 4
    row = rows.iloc[0]
    different = format_share(int((row["p"] < alpha).sum()), len(row["p"]))
    return str(row["layers"]), format_g(float(row["mean"])), f"{row['mean_abs']:.2f}", different


def _third_rows(found: Comparison, alpha: float) -> list[list[str]]:
    table = sentences.depth_thirds(found.effects)
    rows = []
    for third in ("first", "middle", "last"):
        sides = [_third_cells(table, name, third, alpha) for name in found.names]
        rows.append([third, *(cell for pair in zip(*sides, strict=True) for cell in pair)])
    return rows


def _head_rows(table: pd.DataFrame, found: Comparison) -> list[list[str]]:
    words = {"both": "**both**", "first": found.names[0], "second": found.names[1], "neither": "neither"}
    rows = []
    for row in table.to_dict("records"):
        cells = [str(row["site"])] if _several_sites(found) else []
        cells += [str(row["layer"]), str(row["head"])]
        for side in ("first", "second"):
            interval = format_interval(row[f"g_low_{side}"], row[f"g_high_{side}"])
            cells += [f"{format_g(row[f'hedges_g_{side}'])} {interval}", format_p(row[f"p_perm_fdr_{side}"])]
        cells += [
            f"{format_g(row['g_difference'])} {format_interval(row['g_difference_low'], row['g_difference_high'])}",
            format_p(row["p_difference"]),
            format_p(row["p_difference_fdr"]),
            words[str(row["significant"])],
        ]
        rows.append(cells)
    return rows


def _recipe_rows(record: ComparisonRecord) -> list[tuple[str, str]]:
    rows = [("finished", str(record.finished))]
    for name, part in record.comparison.items():
        hashes = ", ".join(f"{file} `{digest[:12]}…`" for file, digest in part.sha256.items())
        rows.append((f"SHA-256, {name}", hashes))
        versions = ", ".join(f"{package} {number}" for package, number in part.packages.items())
        rows.append((f"packages of {name}", versions))
    rows.append(("packages now", ", ".join(f"{name} {number}" for name, number in record.packages.items())))
    rows.append(("Python", f"{record.python}, {record.platform}"))
    return rows


def comparison_record(found: Comparison, options: ComparisonOptions, command: str) -> ComparisonRecord:
    """Return what run.json holds: what was read, with its hashes, what was chosen, and the verdict.

    Parameters
    ----------
    found : Comparison
    options : ComparisonOptions
    command : str
        What was typed.

    Returns
    -------
    ComparisonRecord
    """
    agreed = found.agreement.get(found.thresholds[0])
    studies = {report.record.study for report in (found.first, found.second)}
    common = f"{studies.pop()}: " if len(studies) == 1 else ""

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    software = software_record(("metastable", "numpy", "scipy", "pandas", "matplotlib"))
    same = found.relation == "same heads"
    return ComparisonRecord(
        title=f"{common}{found.names[0]} against {found.names[1]}",
        command=command,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        options=options,
        comparison={
            side: ComparedReport(
                name=name,
                folder=str(report.folder),
                study=report.record.study,
                command=report.record.command,
                model=ComparedModel(report.record.model.id, report.record.model.weights_sha256),
                sha256=dict(report.sha256),
                packages=dict(report.record.packages),
            )
            for side, name, report in zip(("first", "second"), found.names, (found.first, found.second), strict=True)
        },
        relation=found.relation,
        thresholds=found.thresholds,
        packages=software.packages,
        python=software.python,
        platform=software.platform,
        verdict=ComparisonVerdict(
            sentence=sentences.comparison_verdict(found, options.alpha)[0],
            r=None if agreed is None else number(agreed.r),
            p=None if agreed is None else number(agreed.p),
            r_within=None if agreed is None else number(agreed.r_within),
            p_within=None if agreed is None else number(agreed.p_within),
            **{
                name: int((found.primary["significant"] == name).sum()) if same else None
                for name in ("both", "first", "second", "neither")
            },
        ),
    )


def render_comparison(
    found: Comparison, plates: Mapping[str, list[Plate]], record: ComparisonRecord, options: ComparisonOptions
) -> str:
    """Return report.md as text.

    Parameters
    ----------
    found : Comparison
    plates : mapping of str to list of Plate
        As `comparison_plates` draws them.
    record : ComparisonRecord
        As `comparison_record` returns it.
    options : ComparisonOptions

    Returns
    -------
    str
    """
    alpha = options.alpha
    table = found.primary
    order = table["g_difference"].abs().sort_values(ascending=False, kind="stable").index[:_SHOWN]
    joined = found.relation != "other shape"
    named = dict(zip(found.names, record.comparison.values(), strict=True))
    context = {
        "title": record.title,
        "names": found.names,
        "verdict": sentences.comparison_verdict(found, alpha),
        "warnings": sentences.comparison_warnings(found),
        "lead": "maps" if found.relation == "same heads" else "profiles",
        "plates": {name: "\n\n".join(map(markdown, group)) for name, group in plates.items()}
        | ({} if "scatter" in plates or not joined else {"scatter": ""}),
        "material_rows": _material_rows(found, alpha),
        "overlap": sentences.overlap_sentence(found),
        "option_rows": option_differences(found.first.record.options, found.second.record.options),
        "joined": joined,
        "agreement": sentences.agreement_sentence(found) if joined else "",
        "agreement_rows": _agreement_rows(found),
        "layers_sentence": sentences.layers_sentence(found),
        "layer_rows": _layer_rows(found, alpha),
        "several_sites": _several_sites(found),
        "symbol": {"hedges_g": "*g*", "d of the slope": "*d*"}.get(_effect_name(found), "effect"),
        "shares_sentence": sentences.shares_sentence(found),
        "heads_sentence": sentences.heads_sentence(found, alpha, len(order)) if joined else "",
        "top_rows": _head_rows(table.loc[order], found),
        "head_rows": _head_rows(table, found),
        "methods": sentences.methods(found, options),
        "command": record.command,
        "commands": [part.command for part in named.values()],
        "recipe_rows": _recipe_rows(replace(record, comparison=named)),
        "limitations": sentences.limitations(found),
    }
    return environment().get_template("comparison.md.j2").render(context)


def write_comparison(found: Comparison, folder: Path, options: ComparisonOptions, command: str) -> ComparisonRecord:
    """Write report.md, figures, table and run.json of a comparison into a folder.

    Parameters
    ----------
    found : Comparison
    folder : Path
        Made where it is missing.
    options : ComparisonOptions
    command : str
        What was typed.

    Returns
    -------
    ComparisonRecord
        What run.json holds.
    """
    record = comparison_record(found, options, command)
    plates = comparison_plates(found, options.alpha)
    text = render_comparison(found, plates, record, options)
    for plate in (plate for group in plates.values() for plate in group):
        save_plate(plate, folder)
    name, table = ("effects", found.effects) if found.relation == "other shape" else ("heads", found.joined)
    write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "references.bib", bibliography(text))
    write_text(folder / "report.md", text)
    write_record(record, folder / "run.json")
    return record
