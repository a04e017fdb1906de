"""One study, start to finish: words to sequences to counts to tests to a report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from metastable.browser.run_browser import write_run_browser
from metastable.errors import InputError, plural
from metastable.extraction import extract
from metastable.extraction.distributed import current_processes
from metastable.extraction.summarizing import check_model, check_needs, check_sites
from metastable.extraction.threads import fewer_threads
from metastable.figures.saving_beside import Save, processes_beside, saving_beside
from metastable.files import require_writable, take_along, written_together
from metastable.heads.contrasts import Contrast, contrasts_of
from metastable.heads.cube import in_memory
from metastable.heads.decomposition import effects_with_sink_held, learned_sink_shares, sink_of
from metastable.heads.estimable import require_estimable
from metastable.heads.frozen import frozen_note, read_frozen
from metastable.heads.head_tests import (
    adjusting,
    analyse_beside,
    analyse_cube,
    analyse_view,
    directed_test,
    joint_model,
    lone_head,
    power_of,
    require_resolution,
    side_histograms,
    side_spread,
    unit_values,
    view_cube,
)
from metastable.heads.judged_claims import ClaimedOn, JudgedClaim, judge_claims
from metastable.heads.outlying_lengths import outlying_lengths
from metastable.heads.packings import PackingVerdicts, verdicts_over_packings
from metastable.heads.record import with_files, write_record
from metastable.heads.recording import run_record
from metastable.heads.results import Counted, RunResult
from metastable.heads.run_files import write_tables
from metastable.heads.word_units import UnitCube, check_packings, read_sides, unit_cube, word_contrasts
from metastable.material.likeness import MODEL_COVARIATES, with_distinct_pieces, with_word_likeness
from metastable.models.devices import local_rank, resolve_device
from metastable.models.embeddings import input_embeddings
from metastable.models.encoders import Encoder, Tokenizer, fit_lengths, load_encoder, load_tokenizer
from metastable.progress import Advance, Silent, Stages
from metastable.report.index import write_index
from metastable.report.one_file import write_html
from metastable.report.run.page import save_early, write_page
from metastable.report.run.verdict_sentences import verdict_record
from metastable.runs.clock import Clock
from metastable.runs.own_measure import named_measures, settle_measures
from metastable.runs.writing_alone import say_unfinished_cubes, writing_alone
from metastable.stats.analysis import Analysis
from metastable.stats.balance import balance_table
from metastable.stats.permutations.engine import PermutationResult
from metastable.study import Material, Options, Sequence, Study, View
from metastable.study.own_options import check_options

__all__ = ["CUBE", "count_study", "describe_by_model", "prepare_study", "run_study"]

CUBE = "counts.zarr"
"""Name of a study's cube in its folder."""


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
        The primary contrast first; of the words, where they are read in several packings.

    Raises
    ------
    InputError
        For anything that the user can mend.
    """
    check_options(study, options)
    material = with_distinct_pieces(study.build(options, tokenizer))
    check_packings(study, options, material)
    contrasts = _contrasts(study, material)
    known_later = () if material.packings > 1 else MODEL_COVARIATES
    for contrast in contrasts:
        require_estimable(contrast, tuple(name for name in options.covariates if name not in known_later))
    check_needs(named_measures(study, options), material.sequences)
    for contrast in contrasts:
        require_resolution(contrast, options)
    return material, contrasts


def describe_by_model(
    study: Study, options: Options, material: Material, encoder: Encoder
) -> tuple[Material, tuple[Contrast, ...]]:
    """Add the covariates that only the model can tell: how alike the words of a sequence are to it.

    They are of sequences. Words that are read in several packings have none of them.

    Parameters
    ----------
    study : Study
    options : Options
        The covariates to adjust for.
    material : Material
        As `prepare_study` returns it.
    encoder : Encoder
        The model, loaded.

    Returns
    -------
    material : Material
    contrasts : tuple of Contrast
        The primary contrast first.

    Raises
    ------
    InputError
        If a covariate to adjust for is one that this model or material does not have.
    """
    described = with_word_likeness(material, partial(input_embeddings, encoder.model))
    contrasts = _contrasts(study, described)
    if not set(MODEL_COVARIATES).isdisjoint(options.covariates):
        for contrast in contrasts:
            require_estimable(contrast, options.covariates)
    return described, contrasts


def _contrasts(study: Study, material: Material) -> tuple[Contrast, ...]:
    """Return what is compared: the sequences, or the words where they are read in several packings."""
    if material.packings > 1:
        return word_contrasts(study, material.units)
    return contrasts_of(study, material.sequences)


def count_study(study: Study, options: Options, clock: Clock, *, cube: str = CUBE, in_place: bool = True) -> Counted:
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
    in_place : bool
        Whether a new cube takes its place at once, as `metastable.extraction.extract` has it.

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
    material, contrasts = describe_by_model(study, options, material, encoder)
    study, options = settle_measures(study, options, encoder, material.sequences)
    measures = named_measures(study, options)
    check_sites(measures, encoder.sites)
    check_model(measures, encoder)
    if told := lone_head(contrasts[0], options, max(site.n_layers * site.n_heads for site in encoder.sites)):
        clock.stages.say(told)
    require_writable(folder, "--out")  # makes the folder, so only once all else is known to be good
    with clock.stage("extraction", "attention counts") as advance:
        encoder = fit_lengths(encoder, [len(sequence.token_ids) for sequence in material.sequences])
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
            in_place=in_place,
            callback=advance,
        )
    say_unfinished_cubes(folder, extraction.path, clock.stages)
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
    stages, folder = stages or Silent(), Path(options.out) / study.name
    with writing_alone(folder):
        result = _written(study, options, folder, Clock(stages), command)
    if result is not None:
        write_index(folder.parent, stages.say)
    return result


def _written(study: Study, options: Options, folder: Path, clock: Clock, command: str) -> RunResult | None:
    """Run a study and write all of its report aside, from where it takes its place as one."""
    if not current_processes().is_first:
        count_study(study, options, clock, in_place=False)
        return None
    with written_together(folder, "run.json") as staged:
        # begun first, to import what they need while this one loads the model; torchrun's fill the cores already
        with saving_beside(None if local_rank() is None else 0) as save:
            result, cube = _run(study, options, clock, command, staged, save)
        # the figures that were drawn beside are whole from here on
        write_html(staged / "report.md", folder)
        record = with_files(result.record, staged)
        if cube != folder / CUBE:
            take_along(staged, cube, folder / CUBE)
        write_record(record, staged / "run.json")
        # a table that had more than two conditions before has left a report here, whose page is about to go
        (folder / "conditions.json").unlink(missing_ok=True)
    return replace(result, record=record, folder=folder)


def _run(
    study: Study, options: Options, clock: Clock, command: str, staged: Path, save: Save
) -> tuple[RunResult, Path]:
    """Count, test and write all but the record of the run to a folder; also where the cube lies."""
    frozen = read_frozen(Path(options.out) / study.name)
    counted = count_study(study, options, clock, in_place=False)
    note = None if frozen is None else frozen_note(frozen, study, options, counted.material.sequences)
    study, options = counted.study, counted.options
    material, contrasts = counted.material, counted.contrasts
    cube = in_memory(counted.extraction.dataset)
    sides = read_sides(contrasts[0], material)
    with clock.stage("units", "values of the units"):
        tested = unit_cube(cube, material, contrasts[0], counted.encoder.sites, options)
    analyses = []
    with clock.stage("statistics", "tests of every head") as advance:
        histograms = side_histograms(cube, sides, options.threshold)
        for index, contrast in enumerate(contrasts):

            def tell(done: int, total: int, index: int = index, advance: Advance = advance) -> None:
                advance(index * total + done, len(contrasts) * total)

            analyses.append(
                analyse_cube(
                    tested.cube, contrast, tested.sequences, options, histograms, tell,
                    with_mixed_models=tested.has_tokens,
                )
            )  # fmt: skip
    values = unit_values(tested.cube, contrasts[0], options)
    known = RunResult(
        study=study,
        folder=staged,
        contrasts=contrasts,
        analyses=tuple(analyses),
        material=material,
        balance=balance_table(contrasts[0].covariates, contrasts[0].condition, pair=contrasts[0].pair),
        histograms=histograms,
        spread=side_spread(cube, sides, options),
        unit_values=values,
        record=run_record(counted, analyses[0], (), note, seconds=clock.seconds, command=command),
        word_cube=None if tested.has_tokens else tested.cube,
    )
    # drawn beside while the other tests run
    save_early(known, save)
    with clock.stage("beside", "tests of the other measures") as advance:
        beside, lacking = analyse_beside(tested.cube, contrasts[0], tested.sequences, options, histograms, advance)
    packings: PackingVerdicts | None = None
    if tested.design_effect is not None:
        with clock.stage("packings", "tests of each packing") as advance:
            packings = verdicts_over_packings(
                cube, study, material, options, analyses[0], tested.design_effect, advance
            )
    extraction = replace(counted.extraction, left_out={**counted.extraction.left_out, **lacking})
    counted = replace(counted, extraction=extraction)
    sink = sink_of(beside)
    sink_held = None if sink is None else effects_with_sink_held(tested.cube, contrasts[0], options, sink)
    views: list[Analysis] = []
    if study.views:
        with clock.stage("views", "tests of each view") as advance:
            sites = counted.encoder.sites
            views += [
                analyse_view(cube, view, contrasts[0], material.sequences, sites, options, advance)
                for view in study.views
            ]
    claims = _judged(study, options, counted, tested, analyses, views)
    with clock.stage("sensitivity", "what this sample could find") as advance:
        power = power_of(tested.cube, contrasts[0], options, advance)
    joint = None
    if options.joint:
        with clock.stage("joint", "one model of all heads"):
            joint = joint_model(cube, contrasts[0], options)
    record = run_record(counted, analyses[0], claims, note, seconds=clock.seconds, command=command)
    result = replace(
        known,
        beside=beside,
        views=tuple(views),
        sensitivity=power,
        joint=joint,
        record=record,
        claims=claims,
        sink_held=sink_held,
        learned_sink=learned_sink_shares(cube, sides),
        # packed sequences are of one length, and words have none
        outlying=None
        if packings is not None
        else outlying_lengths(contrasts[0], material.sequences, values, adjusting(contrasts[0], options.covariates)),
        packings=packings,
    )
    with clock.stage("report", "figures and report") as advance:
        write_tables(result)
        write_page(result, advance, save)
    # figures are being drawn beside meanwhile
    with clock.stage("browser", "head browser"), fewer_threads(processes_beside()):
        write_run_browser(result, cube, counted.encoder)
    return replace(result, record=replace(record, verdict=verdict_record(result))), counted.extraction.path


def _judged(
    study: Study,
    options: Options,
    counted: Counted,
    tested: UnitCube,
    analyses: list[Analysis],
    views: list[Analysis],
) -> tuple[JudgedClaim, ...]:
    """Judge the study's claims, each on the contrast or view that it names."""
    on = {
        contrast.name: ClaimedOn(options.measure, analysis, partial(directed_test, tested.cube, contrast, options))
        for contrast, analysis in zip(counted.contrasts, analyses, strict=True)
    }
    sequences, sites = counted.material.sequences, counted.encoder.sites
    for view, analysis in zip(study.views, views, strict=True):

        def directed(direction: Literal["greater", "less"], view: View = view) -> PermutationResult:
            looked = view_cube(tested.cube, view, sequences, sites)
            return directed_test(looked, counted.contrasts[0], replace(options, measure=view.measure), direction)

        on[view.name] = ClaimedOn(view.measure, analysis, directed)
    return judge_claims(study.claims, on, alpha=options.alpha, margin=options.margin)


def _what(study: Study, sequences: tuple[Sequence, ...]) -> str:
    parts = []
    for condition in study.conditions:
        mine = [s for s in sequences if s.condition == condition.name]
        words = sum(len(s.words) for s in mine)
        parts.append(f"{plural(len(mine), f'{condition.name} sequence')} of {plural(words, 'word')}")
    return ", ".join(parts)
