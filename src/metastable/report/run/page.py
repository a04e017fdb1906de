"""Puts words, tables and figures together into report.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metastable.files import write_text
from metastable.heads.modes import median_counts, operating_modes
from metastable.heads.record import RunRecord
from metastable.report.apa import plural
from metastable.report.markdown import as_text, code, with_escaped_names
from metastable.report.measure_words import measure_words, row_clauses, row_length
from metastable.report.names import COVARIATE_NAMES
from metastable.report.plate import Plate, markdown, save_plate
from metastable.report.references import bibliography
from metastable.report.run import sentences
from metastable.report.run.claims import claim_sentences
from metastable.report.run.examples import examples
from metastable.report.run.head_sentences import absence, effect_size, heads_sentence
from metastable.report.run.methods import methods_paragraph, observation_clause
from metastable.report.run.plates import draw_plates, longest_count
from metastable.report.run.rows import balance_rows, contrast_row, head_rows, layer_rows, omnibus_rows, view_row
from metastable.report.run.slope_context import slope_context
from metastable.report.run.verdict_sentences import imbalance_sentence, primary, verdict_sentences
from metastable.report.sides import sides_of, units_text
from metastable.report.templating import environment
from metastable.report.words import short_name

if TYPE_CHECKING:
    from metastable.heads.results import RunResult

__all__ = ["render_report", "write_report"]


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


def _recipe_rows(record: RunRecord) -> list[tuple[str, str]]:
    rows = [
        ("finished", record.finished),
        ("model", f"{record.model.id}, weights SHA-256 `{record.model.weights_sha256}`"),
        ("device, numbers", f"{record.device}, {record.model.dtype.removeprefix('torch.')}"),
        ("attention reached by", str(record.extraction.capture)),
        ("seed", str(record.options.seed)),
        ("packages", ", ".join(f"{name} {number}" for name, number in record.packages.items())),
        ("Python", f"{record.python}, {record.platform}"),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in record.seconds.items())),
    ]
    rows[2:2] = [(as_text(name), code(value)) for name, value in record.sources.items()]
    return rows


def _sites(record: RunRecord) -> str:
    return "; ".join(
        f"{plural(site.layers, 'layer')} of {plural(site.heads, 'head')}"
        + (f" ({site.name})" if len(record.model.sites) > 1 else "")
        for site in record.model.sites
    )


def _claims(result: RunResult) -> list[str]:
    names = [*(contrast.name for contrast in result.contrasts), *(view.name for view in result.study.views)]
    options = result.record.options
    measures = dict.fromkeys(names, options.measure) | {view.name: view.measure for view in result.study.views}
    analyses = dict(zip(names, (*result.analyses, *result.views), strict=True))
    return claim_sentences(
        result.study.claims,
        measures,
        analyses,
        alpha=options.alpha,
        slope=result.contrast.predictor is not None,
    )


def _modes(result: RunResult) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Operating mode of every head on either side: bands of the median over the longest row, as in the figure."""
    longest = longest_count(result)
    a, b = median_counts(result.histograms[0])
    return operating_modes(a, longest), operating_modes(b, longest)


def _context(result: RunResult, plates: Mapping[str, list[Plate]]) -> dict[str, Any]:
    study, record, analysis = result.study, result.record, result.analysis
    contrast, options = result.contrast, record.options
    sides, measure = sides_of(contrast), measure_words(options)
    asked, changes = row_clauses(options)
    alpha, margin = options.alpha, options.margin
    heads, details = primary(analysis.heads), primary(analysis.details)
    layers, omnibus = primary(analysis.layers), primary(analysis.omnibus)
    order = heads["hedges_g"].abs().sort_values(ascending=False, kind="stable").index[:10]
    n_keys = float(np.mean([row_length(sequence, options) for sequence in result.material.sequences]))
    several_thresholds = analysis.heads["threshold"].nunique() > 1
    threshold = f"{100 * options.threshold[0]:g}%"
    mixed = contrast.mixed_formula(options.measure, tuple(options.covariates))
    model = "" if heads["lmm_p"].isna().all() else mixed
    paired = contrast.pair is not None
    context: dict[str, Any] = {
        "study": study,
        "effect": "difference",
        "symbol": "g",
        "a": contrast.a,
        "b": contrast.b,
        "conditions": [
            {
                "name": condition.name,
                "description": condition.description,
                "examples": examples(result.material.sequences, contrast.sides, side),
            }
            for side, condition in enumerate((contrast.a, contrast.b))
        ],
        "claims": _claims(result),
        "others": [
            contrast_row(contrast, analysis, alpha)
            for contrast, analysis in zip(result.contrasts, result.analyses, strict=True)
        ],
        "views": [view_row(view, analysis, alpha) for view, analysis in zip(study.views, result.views, strict=True)],
        "joint": sentences.joint_sentence(result.joint, alpha, measure.name),
        "verdict": verdict_sentences(contrast, analysis, record),
        "warnings": [text for text in (imbalance_sentence(contrast, result.balance), study.caveat) if text],
        "plates": {name: "\n\n".join(map(markdown, group)) for name, group in plates.items()},
        "model": {
            "id": record.model.id,
            "revision": record.model.revision,
            "sites": _sites(record),
        },
        "measure": measure,
        "asked": asked,
        "changes": " ".join(changes),
        "unit": contrast.unit,
        "observation": observation_clause(study, contrast, measure.name),
        "material_rows": _material_rows(result),
        "notes": result.material.notes,
        "fairness": sentences.fairness(result.balance, COVARIATE_NAMES),
        "balance_rows": balance_rows(result.balance, COVARIATE_NAMES),
        "adjustment": sentences.adjustment(
            heads, details, result.balance, COVARIATE_NAMES, alpha, analysis.no_adjustment, units_text(contrast)
        ),
        "sensitivity": sentences.sensitivity_sentence(result.sensitivity, alpha),
        "omnibus_sentence": sentences.omnibus_sentence(omnibus, alpha),
        "omnibus_rows": omnibus_rows(omnibus),
        "layers_sentence": sentences.layers_sentence(layers, alpha),
        "layer_rows": layer_rows(layers, measure.digits),
        "several_sites": heads["site"].nunique() > 1,
        "heads_sentence": heads_sentence(heads, details, alpha, sides, measure),
        "top_rows": head_rows(heads.loc[order], details.loc[order], measure.digits),
        "head_rows": head_rows(heads, details, measure.digits),
        "effect_size": effect_size(heads, details, sides, measure, unit=contrast.unit, paired=paired, n=n_keys),
        "absence": absence(heads, alpha, margin),
        "violins": sentences.violins(*_modes(result), sides, measure.name, threshold),
        "thresholds_sentence": sentences.thresholds_sentence(analysis.heads, alpha) if several_thresholds else "",
        "methods": methods_paragraph(
            record, study, contrast, n_heads=len(heads), model=model, balanced=not result.balance.empty
        ),
        "command": record.command,
        "recipe_rows": _recipe_rows(record),
        "limitations": sentences.limitations(
            caveat=study.caveat,
            units=contrast.unit + "s",
            exact=analysis.exact,
            adjusted=tuple(short_name(name) for name in options.covariates),
            measure=measure,
            special=options.queries == options.keys == "all",
        ),
    }
    if contrast.predictor is not None:
        context |= slope_context(result, heads, details, layers, omnibus, n_keys, context["limitations"], model)
    return context


def render_report(result: RunResult, plates: Mapping[str, list[Plate]]) -> str:
    """Return report.md as text.

    Parameters
    ----------
    result : RunResult
        What the run found.
    plates : mapping of str to list of Plate
        The figures by name, as `metastable.report.run.plates.draw_plates` makes them.

    Returns
    -------
    str
    """
    template = environment().get_template("report.md.j2")
    return template.render(_context(with_escaped_names(result), plates))


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
    report = render_report(result, plates)
    write_text(result.folder / "references.bib", bibliography(report))
    write_text(result.folder / "report.md", report)
