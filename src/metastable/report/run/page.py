"""The sections of a run's report, and report.md made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from metastable.figures.head_tables import layer_numbers
from metastable.figures.save import save_figure
from metastable.files import write_text
from metastable.heads.record import RunRecord, SiteRecord
from metastable.heads.results import RunResult
from metastable.report.apa import listed, plural
from metastable.report.markdown import as_text, code, with_escaped_names
from metastable.report.measure_words import row_clauses
from metastable.report.plate import PlacedPlate, save_plates
from metastable.report.references import bibliography
from metastable.report.run import result_tables, sentences, where
from metastable.report.run.claims import claim_sentences, frozen_sentence
from metastable.report.run.context_words import context_blocks
from metastable.report.run.examples import examples
from metastable.report.run.glossary import glossary
from metastable.report.run.methods import inference_clause, number_type, observation_clause, own_measure_clause
from metastable.report.run.plates import run_plates
from metastable.report.run.scene import Scene
from metastable.report.run.sentences import words_of
from metastable.report.run.verdict_sentences import verdict_sentences
from metastable.report.sections import Section, bullets, table, with_plates
from metastable.report.templating import environment

if TYPE_CHECKING:
    from metastable.figures.saving_beside import Save

__all__ = ["SECTIONS", "render_page", "save_early", "write_page"]

Blocks = Sequence[str]


def _claims(scene: Scene) -> Blocks:
    claims = claim_sentences(scene)
    if not claims:
        return ()
    return (
        bullets(claims),
        f"{frozen_sentence(scene)} Everything else below is exploration: it may suggest the next claim, and does not "
        "confirm one.",
    )


def _sites(scene: Scene) -> str:
    sites = scene.result.record.model.sites
    return "; ".join(
        f"{plural(site.layers, 'layer')} of {plural(site.heads, 'head')}"
        + (f" ({site.name})" if len(sites) > 1 else "")
        + _numbers_of_a_hybrid(scene, site)
        for site in sites
    )


def _numbers_of_a_hybrid(scene: Scene, site: SiteRecord) -> str:
    """Say which of the model's layers attend, where others are no softmax attention."""
    numbers = layer_numbers(scene.heads[scene.heads["site"] == site.name])
    if numbers == tuple(range(1, len(numbers) + 1)):
        return ""
    return f", the model's {'layer' if len(numbers) == 1 else 'layers'} {listed([*map(str, numbers)])}"


def _material_rows(scene: Scene) -> list[list[str]]:
    contrast, sequences = scene.contrast, scene.result.material.sequences
    read = scene.result.read_sides
    sides = [[s for s, side in zip(sequences, read, strict=True) if side == wanted] for wanted in (0, 1)]
    tokens = "tokens, special ones included" if scene.has_special_tokens else "tokens"
    counted: list[tuple[str, Callable[[list[Any]], int]]] = [
        (f"sequences of all {scene.packings} packings" if scene.packings > 1 else "sequences", len),
        ("words in them" if scene.packings > 1 else "words", lambda mine: sum(len(s.words) for s in mine)),
        (tokens, lambda mine: sum(len(s.token_ids) for s in mine)),
    ]
    rows = [[name, *(f"{count(mine):,}" for mine in sides)] for name, count in counted]
    if contrast.unit != "sequence":
        rows.insert(0, [f"{contrast.unit}s", f"{contrast.n_a:,}", f"{contrast.n_b:,}"])
    return rows


def _compared(scene: Scene) -> Blocks:
    record, contrast, measure = scene.result.record, scene.contrast, scene.measure
    model = record.model
    revision = f" (revision {model.revision})" if model.revision else ""
    asked, changes = row_clauses(scene.options)
    defined = f"For every {asked} of every head, the **{measure.name}** is {measure.definition}."
    (a, b), notes = (contrast.a, contrast.b), scene.result.material.notes
    described = []
    for side, condition in enumerate((a, b)):
        read = examples(scene.result.material, scene.result.read_sides, side)
        described += [f"*{condition.name}*: {condition.description}. For instance:", bullets(read)]
    return (
        f"The model is **{model.id}**{revision}: {_sites(scene)}.\n"
        f"{' '.join([defined, *changes, own_measure_clause(scene)]).rstrip()}\n"
        f"{inference_clause(scene)} {observation_clause(scene)}",
        table(["", f"{a.name} (a)", f"{b.name} (b)"], _material_rows(scene), "lrr"),
        *described,
        *(("How they were made:", bullets(notes)) if notes else ()),
    )


def _fairness(scene: Scene) -> Blocks:
    words = words_of(scene.effect)
    return words.fairness(scene), result_tables.balance_table(scene), words.adjustment(scene)


def _contrasts(scene: Scene) -> Blocks:
    if len(scene.result.contrasts) == 1:
        return ()
    return (
        result_tables.contrasts_table(scene),
        "Each contrast has its own tables: `heads_NAME.csv` and so on. "
        "All other sections are about the primary contrast.",
    )


def _views(scene: Scene) -> Blocks:
    views = scene.result.study.views
    if not views:
        return ()
    links = ", ".join(f"[heads_{view.name}.csv](heads_{view.name}.csv)" for view in views)
    return (
        result_tables.views_table(scene),
        f"Each view has its own tables, corrected over its own heads: {links}.",
    )


def _layers(scene: Scene) -> Blocks:
    told = [sentences.layers_sentence(scene), sentences.joint_sentence(scene)]
    return " ".join(filter(None, told)), result_tables.layers_table(scene)


def _heads(scene: Scene) -> Blocks:
    return (
        sentences.heads_sentence(scene),
        result_tables.heads_table(scene, scene.shown),
        f"<details>\n<summary>All {len(scene.heads)} heads</summary>",
        result_tables.heads_table(scene, whole=True),
        "</details>",
    )


def _thresholds(scene: Scene) -> Blocks:
    return (sentences.thresholds_sentence(scene),) if scene.several_thresholds else ()


def _methods(scene: Scene) -> Blocks:
    return sentences.methods_paragraph(scene), "References are in [references.bib](references.bib)."


def _recipe_rows(record: RunRecord) -> list[list[str]]:
    model = record.model
    return [
        ["finished", record.finished],
        ["model", f"{model.id}, weights SHA-256 `{model.weights_sha256}`"],
        *([as_text(name), code(value)] for name, value in record.sources.items()),
        ["device, numbers", f"{record.device}, {number_type(record)}"],
        ["attention reached by", str(record.extraction.capture)],
        ["seed", str(record.options.seed)],
        ["packages", ", ".join(f"{name} {number}" for name, number in record.packages.items())],
        ["Python", f"{record.python}, {record.platform}"],
        ["seconds", ", ".join(f"{name} {value:.1f}" for name, value in record.seconds.items())],
    ]


def _again(scene: Scene) -> Blocks:
    record = scene.result.record
    return (
        f"```\n{record.command}\n```",
        table(["recipe", ""], _recipe_rows(record), "ll"),
        "Beside this report: [heads.html](heads.html) (point at a head and see its distributions, its statistics and "
        "the sequences where it differs most; open it in a browser), [heads.csv](heads.csv) (one row per head and "
        "measure; also as parquet), [details.csv](details.csv), [layers.csv](layers.csv), [omnibus.csv](omnibus.csv), "
        "[sequences.parquet](sequences.parquet) (what the model read), `counts.zarr` (every count; not kept in git) "
        "and [run.json](run.json) (the whole recipe). Every figure is under [figures/](figures/) as svg and png.",
    )


def _where(scene: Scene) -> Blocks:
    return (*where.where_sentences(scene), where.maps_table(scene), where.sink_held_sentence(scene))


SECTIONS: Sequence[tuple[str, str, Callable[[Scene], Blocks]]] = (
    ("verdict", "", lambda _: ()),
    ("claims", "What was claimed", _claims),
    ("compared", "What was compared", _compared),
    ("fairness", "Is the comparison fair?", _fairness),
    (
        "whole",
        "The model as a whole",
        lambda scene: (sentences.omnibus_sentence(scene), result_tables.omnibus_table(scene)),
    ),
    ("over", "Over what the result holds", context_blocks),
    ("where", "Where the difference lives", _where),
    ("contrasts", "The contrasts of the design", _contrasts),
    ("views", "Other views of the same sequences", _views),
    ("layers", "Layer by layer", _layers),
    ("heads", "Head by head", _heads),
    ("packings", "Over the packings", sentences.packings_sentences),
    ("size", "What an effect of this size means", lambda scene: (words_of(scene.effect).effect_size(scene),)),
    ("absence", "Absence of an effect", lambda scene: (sentences.absence(scene),)),
    ("sensitivity", "What this sample could find", lambda scene: (words_of(scene.effect).sensitivity(scene),)),
    ("modes", "Operating modes", lambda scene: (sentences.modes(scene), result_tables.modes_table(scene))),
    ("founding", "The founding figure", lambda scene: (sentences.violins(scene),)),
    ("thresholds", "Robustness over thresholds", _thresholds),
    ("methods", "Methods", _methods),
    ("words", "What the words mean", lambda scene: (glossary(scene),)),
    ("again", "Run it again", _again),
    ("limitations", "Limitations", lambda scene: (bullets(sentences.limitations(scene)),)),
)
"""Key, heading and blocks of every section, in the order in which a reader asks; one without blocks and figures is
left out."""


def render_page(result: RunResult, plates: Sequence[PlacedPlate[Scene]]) -> str:
    """Return report.md as text.

    Parameters
    ----------
    result : RunResult
        What the run found.
    plates : sequence of PlacedPlate
        The figures, as `metastable.report.run.plates.run_plates` returns them.

    Returns
    -------
    str
    """
    escaped = with_escaped_names(result)
    scene, study = Scene(escaped), escaped.study
    lengths = as_text(sentences.lengths_warning(scene))
    sections = [Section(key, heading, tuple(blocks(scene))) for key, heading, blocks in SECTIONS]
    return (
        environment()
        .get_template("report.md.j2")
        .render(
            title=study.title,
            question=study.question,
            verdict=verdict_sentences(escaped),
            warnings=[text for text in (words_of(scene.effect).warning(scene), lengths) if text],
            caveat=study.caveat,
            sections=with_plates(sections, plates),
        )
    )


def save_early(result: RunResult, save: Save) -> None:
    """Draw the figures that need no more than the tests of every head, before other tests are done.

    Parameters
    ----------
    result : RunResult
        What is known by then.
    save : callable
        As `write_page` takes it.
    """
    save_plates([placed for placed in run_plates(result) if placed.plate.early], result.folder, lambda *_: None, save)


def write_page(result: RunResult, advance: Callable[[int, int], None], save: Save = save_figure) -> None:
    """Draw the figures that `save_early` has not, and write report.md and references.bib into the run's folder.

    Parameters
    ----------
    result : RunResult
        What the run found.
    advance : callable
        Told of progress as ``f(done, total)``.
    save : callable
        Saves a figure, or hands it to a process that will (`metastable.figures.saving_beside`).
    """
    plates = run_plates(result)
    save_plates([placed for placed in plates if not placed.plate.early], result.folder, advance, save)
    report = render_page(result, plates)
    write_text(result.folder / "references.bib", bibliography(report))
    write_text(result.folder / "report.md", report)
