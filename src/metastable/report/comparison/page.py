"""The report of a comparison: tables, words and figures put together, and written into a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from metastable.files import write_text
from metastable.heads.compared_heads import Comparison, effect_kind, option_differences
from metastable.heads.comparison_result import ComparisonResult
from metastable.heads.depth import THIRDS, depth_thirds
from metastable.heads.finished_report import FinishedReport
from metastable.heads.record import ComparisonRecord
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_interval, format_level, format_p, format_r, format_share
from metastable.report.comparison import sentences
from metastable.report.comparison.plates import PLATES
from metastable.report.plate import PlacedPlate, placed_plates, save_plates
from metastable.report.references import bibliography
from metastable.report.sections import Section, bullets, table, with_plates
from metastable.report.templating import environment
from metastable.stats.agreement import MapAgreement

__all__ = ["render_page", "write_page"]

# Heads that the report's table shows above the fold.
_SHOWN = 10
_REFERENCES = "References are in [references.bib](references.bib)."


def _sizes(report: FinishedReport) -> str:
    heads = report.heads
    return f"{heads['n_a'].iloc[0]:,} / {heads['n_b'].iloc[0]:,} {report.record.contrast.unit}s"


def _material_rows(found: Comparison) -> list[list[str]]:
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
            "compared in": call_measure(report.measure),
            "the run's own measure": call_measure(record.options.measure),
            "sizes (a / b)": _sizes(report),
            "tokens a unit averages over": f"{report.tokens_per_unit:.1f}",
            "worst covariate, standardized difference": sentences.worst_covariate(report.balance),
            "covariates held fixed": ", ".join(record.options.covariates) or "none",
            f"heads different (FDR {format_level(found.alpha)})": format_share(
                int((rows["p_perm_fdr"] < found.alpha).sum()), len(rows)
            ),
            "median size of the effect": f"{rows['size'].abs().median():.2f}",
        }

    first, second = column(found.first), column(found.second)
    return [[name, first[name], second[name]] for name in first]


def _agreement_cells(agreed: MapAgreement) -> list[str]:
    return [
        str(agreed.n),
        format_r(agreed.r),
        format_r(agreed.rho),
        format_p(agreed.p),
        format_r(agreed.r_within),
        format_p(agreed.p_within),
        format_share(agreed.same_sign, agreed.n),
    ]


def _agreement_rows(found: Comparison) -> list[list[str]]:
    return [[f"{threshold:g}", *_agreement_cells(agreed)] for threshold, agreed in found.agreement.items()]


def _measure_rows(found: Comparison) -> list[list[str]]:
    return [[call_measure(name), *_agreement_cells(agreed)] for name, agreed in found.by_measure.items()]


def _several_sites(found: Comparison) -> bool:
    return len(found.effects["site"].unique()) > 1


def _layer_rows(found: Comparison) -> list[list[str]]:
    alpha = found.alpha
    rows = []
    for (site, layer), part in found.primary.groupby(["site", "layer"], sort=False):
        sides = [part[f"size_{side}"] for side in ("first", "second")]
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


def _third_rows(found: Comparison) -> list[list[str]]:
    table = depth_thirds(found.effects)
    rows = []
    for third in THIRDS:
        sides = [_third_cells(table, name, third, found.alpha) for name in found.names]
        rows.append([third, *(cell for pair in zip(*sides, strict=True) for cell in pair)])
    return rows


def _head_rows(table: pd.DataFrame, found: Comparison) -> list[list[str]]:
    words = {"both": "**both**", "first": found.names[0], "second": found.names[1], "neither": "neither"}
    rows = []
    for row in table.to_dict("records"):
        cells = [str(row["site"])] if _several_sites(found) else []
        cells += [str(row["layer"]), str(row["head"])]
        for side in ("first", "second"):
            interval = format_interval(row[f"size_low_{side}"], row[f"size_high_{side}"])
            cells += [f"{format_g(row[f'size_{side}'])} {interval}", format_p(row[f"p_perm_fdr_{side}"])]
        cells += [
            f"{format_g(row['size_difference'])} "
            f"{format_interval(row['size_difference_low'], row['size_difference_high'])}",
            format_p(row["p_difference"]),
            format_p(row["p_difference_fdr"]),
            words[str(row["significant"])],
        ]
        rows.append(cells)
    return rows


def _recipe_rows(record: ComparisonRecord, names: Sequence[str]) -> list[list[str]]:
    rows = [["finished", str(record.finished)]]
    for name, part in zip(names, record.comparison.values(), strict=True):
        hashes = ", ".join(f"{file} `{digest[:12]}…`" for file, digest in part.sha256.items())
        rows.append([f"SHA-256, {name}", hashes])
        versions = ", ".join(f"{package} {number}" for package, number in part.packages.items())
        rows.append([f"packages of {name}", versions])
    rows.append(["packages now", ", ".join(f"{name} {number}" for name, number in record.packages.items())])
    rows.append(["Python", f"{record.python}, {record.platform}"])
    return rows


def _symbol(found: Comparison) -> str:
    symbols = {report.effect.symbol for report in (found.first, found.second)}
    return f"*{symbols.pop()}*" if len(symbols) == 1 else "effect"


def _material(found: Comparison) -> Section:
    first, second = found.names
    options = option_differences(found.first.record.options, found.second.record.options)
    differing = (
        "The recipes differ in these options (– where a study has no such option):",
        table(["option", first, second], options, "lll"),
    )
    return Section(
        "material",
        "What was compared",
        (
            sentences.reading(found),
            table(["", first, second], _material_rows(found), "lll"),
            sentences.overlap(found),
            *(differing if options else ("The two recipes have the same options.",)),
        ),
    )


def _agreement(found: Comparison) -> Section:
    header = [
        "threshold", "heads", "*r*", "ρ", "*p*, whole map", "*r* within layers", "*p*, within layers", "same sign"
    ]  # fmt: skip
    align = "l" + "r" * (len(header) - 1)
    return Section(
        "agreement",
        "Do the maps agree?",
        (
            sentences.agreement(found),
            table(header, _agreement_rows(found), "r" * len(header)),
            *(
                (sentences.measures(found), table(["measure", *header[1:]], _measure_rows(found), align))
                if len(found.by_measure) > 1
                else ()
            ),
        ),
    )


def _site_column(found: Comparison) -> tuple[list[str], str]:
    """Header and alignment of the column that tells sites apart, where there are several."""
    return (["site"], "l") if _several_sites(found) else ([], "")


def _layer_table(found: Comparison) -> str:
    (first, second), symbol = found.names, _symbol(found)
    sizes = [
        f"mean {symbol}, {first}", f"mean {symbol}, {second}", f"mean size, {first}", f"mean size, {second}",
        f"different, {first}", f"different, {second}",
    ]  # fmt: skip
    if found.relation == "other shape":
        header = ["third of the depth", f"layers, {first}", f"layers, {second}", *sizes]
        return table(header, _third_rows(found), "l" + "r" * (len(header) - 1))
    site, align = _site_column(found)
    header = ["layer", *sizes, "in both, same sign", "effects differ"]
    return table([*site, *header], _layer_rows(found), align + "r" * len(header))


def _head_table(rows: pd.DataFrame, found: Comparison) -> str:
    (first, second), symbol = found.names, _symbol(found)
    site, align = _site_column(found)
    header = [
        "layer", "head", f"{symbol} [95% CI], {first}", "*p* FDR", f"{symbol} [95% CI], {second}", "*p* FDR",
        "difference [95% CI]", "*p*", "*p* FDR", "different in",
    ]  # fmt: skip
    return table([*site, *header], _head_rows(rows, found), align + "r" * (len(header) - 1) + "l")


def _heads(found: Comparison) -> Section:
    rows = found.primary
    order = rows["size_difference"].abs().sort_values(ascending=False, kind="stable").index[:_SHOWN]
    return Section(
        "heads",
        "Head by head",
        (
            sentences.heads(found, len(order)),
            _head_table(rows.loc[order], found),
            f"<details>\n<summary>All {len(rows)} heads</summary>\n\n{_head_table(rows, found)}\n</details>",
        ),
    )


def _again(result: ComparisonResult) -> Section:
    record = result.record
    first, second = (part.command for part in record.comparison.values())
    return Section(
        "again",
        "Run it again",
        (
            f"```\n{record.command}\n```",
            "It reads what these commands left:",
            f"```\n{first}\n{second}\n```",
            table(["", ""], _recipe_rows(record, result.found.names), "ll"),
            sentences.files(result.found),
        ),
    )


def _sections(result: ComparisonResult) -> list[Section]:
    found = result.found
    joined, same = found.relation != "other shape", found.relation == "same heads"
    return [
        Section("lead", ""),
        _material(found),
        *([_agreement(found)] if joined else []),
        Section("layers", "Layer by layer", (sentences.layers(found),)),
        # below the figure of the layers
        Section("layer table", "", (_layer_table(found),)),
        *([] if same else [Section("shares", "The effects as distributions", (sentences.shares(found),))]),
        *([_heads(found)] if joined else []),
        Section(
            "methods", "Methods", (sentences.methods(found), "References are in [references.bib](references.bib).")
        ),
        _again(result),
        Section("limitations", "Limitations", (bullets(sentences.limitations(found)),)),
    ]


def render_page(result: ComparisonResult, plates: Sequence[PlacedPlate[Comparison]]) -> str:
    """Return report.md as text.

    Parameters
    ----------
    result : ComparisonResult
    plates : sequence of PlacedPlate
        The figures, as `metastable.report.plate.placed_plates` returns them.

    Returns
    -------
    str
    """
    context = {
        "title": result.record.title,
        "verdict": sentences.verdict(result.found),
        "warnings": sentences.warnings(result.found),
        "sections": with_plates(_sections(result), plates),
    }
    return environment().get_template("comparison.md.j2").render(context)


def write_page(result: ComparisonResult, advance: Callable[[int, int], None]) -> None:
    """Draw the figures and write report.md, references.bib and the table of heads into the comparison's folder.

    Parameters
    ----------
    result : ComparisonResult
        What the comparison found.
    advance : callable
        Told of progress as ``f(done, total)``.
    """
    found, folder = result.found, result.folder
    plates = placed_plates(PLATES, found)
    save_plates(plates, folder, advance)
    name, rows = ("effects", found.effects) if found.relation == "other shape" else ("heads", found.joined)
    write_text(folder / f"{name}.csv", rows.to_csv(index=False, lineterminator="\n"))
    text = render_page(result, plates)
    write_text(folder / "references.bib", bibliography(text))
    write_text(folder / "report.md", text)
