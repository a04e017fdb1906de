"""One study, start to finish: words to sequences to counts to tests to a report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metastable.browser.run_browser import write_run_browser
from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.distributed import current_processes
from metastable.extraction.summarizing import check_model, check_needs, check_sites
from metastable.extraction.threads import fewer_threads
from metastable.figures.saving_beside import Save, processes_beside, saving_beside
from metastable.files import require_writable
from metastable.heads.contrasts import Contrast, contrasts_of
from metastable.heads.decomposition import effects_with_sink_held, learned_sink_shares, sink_of
from metastable.heads.frozen import frozen_note, read_frozen
from metastable.heads.head_tests import (
    adjusting,
    analyse_beside,
    analyse_cube,
    analyse_view,
    directed_test,
    joint_model,
    power_of,
    side_histograms,
    side_spread,
    unit_values,
    view_cube,
)
from metastable.heads.judged_claims import ClaimedOn, JudgedClaim, judge_claims
from metastable.heads.outlying_lengths import outlying_lengths
from metastable.heads.record import write_record
from metastable.heads.recording import run_record
from metastable.heads.results import Counted, RunResult
from metastable.heads.run_files import write_tables
from metastable.models.devices import local_rank, resolve_device
from metastable.models.encoders import Tokenizer, load_encoder, load_tokenizer
from metastable.progress import Advance, Silent, Stages
from metastable.report.index import write_index
from metastable.report.run.page import write_page
from metastable.report.run.verdict_sentences import verdict_record
from metastable.runs.clock import Clock
from metastable.runs.own_measure import named_measures, settle_measures
from metastable.stats.analysis import Analysis
from metastable.stats.balance import balance_table
from metastable.stats.permutations.engine import PermutationResult
from metastable.study import Material, Options, Sequence, Study, View
from metastable.study.own_options import check_options

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["count_study", "prepare_study", "run_study"]


def prepare_study(study: Study, options: Options, tokenizer: Tokenizer) -> tuple[Material, tuple[Contrast, ...]]:
    """Make a study's sequences and contrasts, and see that they have what covariates and measures need.

    Parameters
    ----------
    study : Study
    options : Options
    tokenizer : Tokenizer
        The model's.

    Returns
    -------
    material : Material
    contrasts : tuple of Contrast
        The primary contrast first.

    Raises
    ------
    InputError
        For anything that the user can mend.
    """
    check_options(study, options)
    material = study.build(options, tokenizer)
    contrasts = contrasts_of(study, material.sequences)
    for contrast in contrasts:
        adjusting(contrast, options.covariates)
    check_needs(named_measures(study, options), material.sequences)
    return material, contrasts


def count_study(study: Study, options: Options, clock: Clock, *, cube: str = "counts.zarr") -> Counted:
    """Make a study's sequences and count their attention, or take the counts of an earlier run.

    Parameters
    ----------
    study : Study
        What is compared.
    options : Options
    clock : Clock
        Tells the stages and times them.
    cube : str
        Name of the cube in the study's folder.

    Returns
    -------
    Counted

    Raises
    ------
    InputError
        For anything that the user can mend.
    """
    folder = Path(options.out) / study.name
    looking_at_tokens = next((view.name for view in study.views if view.targets_query), None)
    if options.keep == "means" and looking_at_tokens is not None:
        raise InputError(
            f"--keep means: view {looking_at_tokens!r} of study {study.name!r} is of the tokens of target words, "
            "which a cube of means does not hold; leave --keep at tokens"
        )
    resolve_device(options.device)  # a missing one is told before the work, and before anything is written
    with clock.stage("sequences", "words to sequences"):
        tokenizer = load_tokenizer(options.model, revision=options.revision)
        material, contrasts = prepare_study(study, options, tokenizer)
    clock.stages.say(_what(study, material.sequences))
    with clock.stage("model", f"loading {tokenizer.model_id}"):
        encoder = load_encoder(options.model, revision=options.revision, device=options.device, dtype=options.dtype)
    study, options = settle_measures(study, options, encoder, material.sequences)
    measures = named_measures(study, options)
    check_sites(measures, encoder.sites)
    check_model(measures, encoder)
    require_writable(folder, "--out")  # makes the folder, so only once all else is known to be good
    with clock.stage("extraction", "attention counts") as advance:
        extraction = extract(
            encoder,
            material.sequences,
            thresholds=options.threshold,
            path=folder / cube,
            batch_tokens=options.batch_tokens,
            queries=options.queries,
            keys=options.keys,
            unit=options.unit,
            keep=options.keep,
            measures=measures,
            of_every_run=True,
            study=study,
            callback=advance,
        )
    if extraction.reused:
        clock.stages.say(f"the finished extraction in {folder / cube} has the same recipe: reused")
    elif extraction.n_resumed:
        clock.stages.say(f"resumed: {extraction.n_resumed} sequences were already counted")
    return Counted(study, options, folder, material, contrasts, encoder, extraction)


def run_study(
    study: Study,
    options: Options,
    *,
    stages: Stages | None = None,
    command: str = "",
) -> RunResult | None:
    """Run a study and write its report.

    Parameters
    ----------
    study : Study
        What is compared.
    options : Options
    stages : Stages or None
        Listener for progress.
    command : str
        The command that the report tells its readers to type for the same run.

    Returns
    -------
    RunResult or None
        None in the processes that torchrun started beside the first: they share the extraction, and the
        first one tests and writes.

    Raises
    ------
    InputError
        For anything that the user can mend; nothing is left half written.
    """
    # begun first, to import what they need while this one loads the model; torchrun's processes fill the cores already
    with saving_beside(None if local_rank() is None else 0) as save:
        result = _run(study, options, Clock(stages or Silent()), command, save)
    if result is None:
        return None
    # the last thing written says that the report is whole
    write_record(result.record, result.folder / "run.json")
    write_index(result.folder.parent)
    return result


def _run(study: Study, options: Options, clock: Clock, command: str, save: Save) -> RunResult | None:
    """Count, test and write all but the record of the run."""
    frozen = read_frozen(Path(options.out) / study.name)
    counted = count_study(study, options, clock)
    if not current_processes().is_first:
        return None
    note = None if frozen is None else frozen_note(frozen, study, options, counted.material.sequences)
    study, options = counted.study, counted.options
    folder, material, contrasts = counted.folder, counted.material, counted.contrasts
    cube = counted.extraction.dataset
    analyses = []
    with clock.stage("statistics", "tests of every head") as advance:
        histograms = side_histograms(cube, contrasts[0], options.threshold)
        for index, contrast in enumerate(contrasts):

            def tell(done: int, total: int, index: int = index, advance: Advance = advance) -> None:
                advance(index * total + done, len(contrasts) * total)

            analyses.append(analyse_cube(cube, contrast, material.sequences, options, histograms, tell))
    with clock.stage("beside", "tests of the other measures") as advance:
        beside, lacking = analyse_beside(cube, contrasts[0], material.sequences, options, histograms, advance)
    extraction = replace(counted.extraction, left_out={**counted.extraction.left_out, **lacking})
    counted = replace(counted, extraction=extraction)
    sink = sink_of(beside)
    sink_held = None if sink is None else effects_with_sink_held(cube, contrasts[0], options, sink)
    views: list[Analysis] = []
    if study.views:
        with clock.stage("views", "tests of each view") as advance:
            sites = counted.encoder.sites
            views += [
                analyse_view(cube, view, contrasts[0], material.sequences, sites, options, advance)
                for view in study.views
            ]
    claims = _judged(study, options, counted, cube, analyses, views)
    with clock.stage("sensitivity", "what this sample could find") as advance:
        power = power_of(cube, contrasts[0], options, advance)
    joint = None
    if options.joint:
        with clock.stage("joint", "one model of all heads"):
            joint = joint_model(cube, contrasts[0], options)
    values = unit_values(cube, contrasts[0], options)
    record = run_record(counted, analyses[0], claims, note, seconds=clock.seconds, command=command)
    result = RunResult(
        study=study,
        folder=folder,
        contrasts=contrasts,
        analyses=tuple(analyses),
        beside=beside,
        views=tuple(views),
        material=material,
        balance=balance_table(contrasts[0].covariates, contrasts[0].condition),
        sensitivity=power,
        joint=joint,
        histograms=histograms,
        spread=side_spread(cube, contrasts[0], options),
        unit_values=values,
        record=record,
        claims=claims,
        sink_held=sink_held,
        learned_sink=learned_sink_shares(cube, contrasts[0]),
        outlying=outlying_lengths(
            contrasts[0], material.sequences, values, adjusting(contrasts[0], options.covariates)
        ),
    )
    with clock.stage("report", "figures and report") as advance:
        write_tables(result)
        write_page(result, advance, save)
    # figures are being drawn beside meanwhile
    with clock.stage("browser", "head browser"), fewer_threads(processes_beside()):
        write_run_browser(result, cube, counted.encoder)
    return replace(result, record=replace(record, verdict=verdict_record(result)))


def _judged(
    study: Study,
    options: Options,
    counted: Counted,
    cube: xr.Dataset,
    analyses: list[Analysis],
    views: list[Analysis],
) -> tuple[JudgedClaim, ...]:
    """Judge the study's claims, each on the contrast or view that it names."""
    on = {
        contrast.name: ClaimedOn(options.measure, analysis, partial(directed_test, cube, contrast, options))
        for contrast, analysis in zip(counted.contrasts, analyses, strict=True)
    }
    sequences, sites = counted.material.sequences, counted.encoder.sites
    for view, analysis in zip(study.views, views, strict=True):

        def directed(direction: Literal["greater", "less"], view: View = view) -> PermutationResult:
            looked = view_cube(cube, view, sequences, sites)
            return directed_test(looked, counted.contrasts[0], replace(options, measure=view.measure), direction)

        on[view.name] = ClaimedOn(view.measure, analysis, directed)
    return judge_claims(study.claims, on, alpha=options.alpha, margin=options.margin)


def _what(study: Study, sequences: tuple[Sequence, ...]) -> str:
    parts = []
    for condition in study.conditions:
        mine = [s for s in sequences if s.condition == condition.name]
        words = sum(len(s.words) for s in mine)
        parts.append(f"{len(mine)} {condition.name} sequences of {words:,} words")
    return ", ".join(parts)
