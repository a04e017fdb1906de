"""Puts words, tables and figures together into report.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from metastable.files import write_text
from metastable.modes import operating_modes
from metastable.report import prose
from metastable.report.apa import plural
from metastable.report.claims import claim_sentences
from metastable.report.examples import examples
from metastable.report.gallery import draw_plates
from metastable.report.methods import methods_paragraph
from metastable.report.names import COVARIATE_NAMES
from metastable.report.plates import Plate, markdown, save_plate
from metastable.report.slope import slope_context
from metastable.report.tables import balance_rows, contrast_row, head_rows, layer_rows, omnibus_rows
from metastable.report.verdict import imbalance_sentence, primary, verdict_sentences

if TYPE_CHECKING:
    from metastable.pipeline import RunResult

__all__ = ["render_report", "template_environment", "write_report"]


def template_environment() -> jinja2.Environment:
    """Return the environment of the reports' templates."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("metastable.report", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown: what comes from users is escaped where it enters
        keep_trailing_newline=True,
    )


def _material_rows(result: RunResult) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    sides = result.contrast.sides
    by_condition = [
        [s for s, side in zip(result.material.sequences, sides, strict=True) if side == wanted] for wanted in (0, 1)
    ]
    numbers: list[tuple[str, Callable[[list[Any]], int]]] = [
        ("sequences", len),
        ("words", lambda mine: sum(len(s.words) for s in mine)),
        ("tokens, special ones included", lambda mine: sum(len(s.token_ids) for s in mine)),
    ]
    for name, count in numbers:
        a, b = (f"{count(mine):,}" for mine in by_condition)
        rows.append((name, a, b))
    contrast = result.contrast
    if contrast.unit != "sequence":
        rows.insert(0, (f"{contrast.unit}s", f"{contrast.n_a:,}", f"{contrast.n_b:,}"))
    return rows


def _recipe_rows(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("finished", recipe["finished"]),
        ("model", f"{recipe['model']['id']}, weights SHA-256 `{recipe['model']['weights_sha256']}`"),
        ("device, numbers", f"{recipe['device']}, {recipe['model']['dtype'].removeprefix('torch.')}"),
        ("attention reached by", str(recipe["extraction"]["capture"])),
        ("seed", str(recipe["options"]["seed"])),
        ("packages", ", ".join(f"{name} {number}" for name, number in recipe["packages"].items())),
        ("Python", f"{recipe['python']}, {recipe['platform']}"),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in recipe["seconds"].items())),
    ]
    rows[2:2] = [(name, f"`{value}`") for name, value in recipe["sources"].items()]
    return rows


def _sites(recipe: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{plural(site['layers'], 'layer')} of {plural(site['heads'], 'head')}"
        + (f" ({site['name']})" if len(recipe["model"]["sites"]) > 1 else "")
        for site in recipe["model"]["sites"]
    )


def _context(result: RunResult, plates: Mapping[str, list[Plate]]) -> dict[str, Any]:
    study, recipe, analysis = result.study, result.recipe, result.analysis
    contrast = result.contrast
    a, b = contrast.a, contrast.b
    options = recipe["options"]
    alpha, margin = options["alpha"], options["margin"]
    heads, details = primary(analysis.heads), primary(analysis.details)
    layers, omnibus = primary(analysis.layers), primary(analysis.omnibus)
    order = heads["hedges_g"].abs().sort_values(ascending=False, kind="stable").index[:10]
    n_keys = float(sum(len(s.token_ids) for s in result.material.sequences) / len(result.material.sequences))
    unequal = imbalance_sentence(contrast, result.balance)
    n_thresholds = analysis.heads["threshold"].nunique()
    # as in the figure: the modes are bands of the median over the longest sequence
    longest = max(len(s.token_ids) for s in result.material.sequences)
    modes = [
        [str(mode) for mode in operating_modes(np.minimum(heads[f"median_{side}"], longest), longest)] for side in "ab"
    ]
    context: dict[str, Any] = {
        "study": study,
        "effect": "difference",
        "a": a,
        "b": b,
        "conditions": [
            {
                "name": condition.name,
                "description": condition.description,
                "examples": examples(result.material.sequences, contrast.sides, side),
            }
            for side, condition in enumerate((a, b))
        ],
        "claims": claim_sentences(study.claims, result.contrasts, result.analyses, options),
        "others": [
            contrast_row(contrast, analysis, alpha)
            for contrast, analysis in zip(result.contrasts, result.analyses, strict=True)
        ],
        "joint": prose.joint_sentence(result.joint, alpha),
        "verdict": verdict_sentences(contrast, analysis, recipe),
        "warnings": [text for text in (unequal, study.caveat) if text],
        "plates": {name: "\n\n".join(map(markdown, group)) for name, group in plates.items()},
        "model": {
            "id": recipe["model"]["id"],
            "revision": recipe["model"]["revision"],
            "sites": _sites(recipe),
        },
        "primary_threshold": f"{100 * options['threshold'][0]:g}%",
        "unit": contrast.unit,
        "material_rows": _material_rows(result),
        "notes": result.material.notes,
        "fairness": prose.fairness(result.balance, COVARIATE_NAMES),
        "balance_rows": balance_rows(result.balance, COVARIATE_NAMES),
        "adjustment": prose.adjustment(heads, details, result.balance, COVARIATE_NAMES, alpha, analysis.no_adjustment),
        "sensitivity": prose.sensitivity_sentence(result.sensitivity, alpha),
        "omnibus_sentence": prose.omnibus_sentence(omnibus, alpha),
        "omnibus_rows": omnibus_rows(omnibus),
        "layers_sentence": prose.layers_sentence(layers, alpha),
        "layer_rows": layer_rows(layers),
        "several_sites": heads["site"].nunique() > 1,
        "heads_sentence": prose.heads_sentence(heads, details, alpha, a.name, b.name),
        "top_rows": head_rows(heads.loc[order], details.loc[order]),
        "head_rows": head_rows(heads, details),
        "effect_size": prose.effect_size(heads, details, a.name, b.name, n_keys),
        "absence": prose.absence(heads, alpha, margin),
        "violins": prose.violins(heads, modes[0], modes[1], a.name, b.name),
        "thresholds_sentence": prose.thresholds_sentence(analysis.heads, alpha) if n_thresholds > 1 else "",
        "methods": methods_paragraph(
            recipe,
            n_a=contrast.n_a,
            n_b=contrast.n_b,
            a=a.name,
            b=b.name,
            unit=contrast.unit,
            paired=study.design.paired,
            n_heads=len(heads),
            model=contrast.mixed_formula(options["measure"], tuple(options["covariates"])),
        ),
        "command": recipe["command"],
        "recipe_rows": _recipe_rows(recipe),
        "limitations": prose.limitations(
            caveat=study.caveat,
            unit=contrast.unit,
            exact=analysis.exact,
            adjusted=tuple(options["covariates"]),
        ),
    }
    if contrast.predictor is not None:
        context |= slope_context(result, heads, details, omnibus, n_keys, context["limitations"])
    return context


def render_report(result: RunResult, plates: Mapping[str, list[Plate]]) -> str:
    """Return report.md as text.

    Parameters
    ----------
    result : RunResult
        What the run found.
    plates : mapping of str to list of Plate
        The figures by name, as `metastable.report.gallery.draw_plates` makes them.

    Returns
    -------
    str
    """
    template = template_environment().get_template("report.md.j2")
    return template.render(_context(result, plates))


def write_report(result: RunResult, advance: Callable[[int, int], None]) -> None:
    """Draw the figures and write report.md and references.bib into the run's folder.

    Parameters
    ----------
    result : RunResult
        What the run found.
    advance : callable
        Told of progress as ``f(done, total)``.
    """
    plates = draw_plates(result)
    flat = [plate for group in plates.values() for plate in group]
    for done, plate in enumerate(flat):
        advance(done, len(flat))
        save_plate(plate, result.folder)
    advance(len(flat), len(flat))
    write_text(
        result.folder / "references.bib",
        files("metastable.report").joinpath("templates/references.bib").read_text(encoding="utf-8"),
    )
    write_text(result.folder / "report.md", render_report(result, plates))
